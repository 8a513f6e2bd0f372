"""Text in, text out: an engine with its tokenizer, and the cleaning its model was trained with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

from gpt_tf.arguments import several
from gpt_tf.errors import ParameterError, UsageError
from gpt_tf.inference.choosing import AnySampler, listed
from gpt_tf.inference.engine import Engine
from gpt_tf.inference.generate import Continuation, generate, stream
from gpt_tf.inference.options import check
from gpt_tf.inference.samplers import Stops, never
from gpt_tf.inference.text_stream import TextStream, stop_strings
from gpt_tf.streaming.cleaning import clean
from gpt_tf.tokenizer.base import Tokenizer

PROMPTS_REMEDY = "Give a list of texts; of a file, [Path(file).read_text()]."


@dataclass(frozen=True)
class TokenText:
    """One generated token.

    Attributes:
      token: the text of the token alone, or its name where it has none.
      text: what became certain with it; the last one has what was held back.
      log_probability, alternatives: where asked for; alternatives as (id, token,
        log-probability).
    """

    token_id: int
    token: str
    text: str
    log_probability: float | None
    alternatives: list[tuple[int, str, float]]


@dataclass(frozen=True)
class Text:
    """A continuation: its text, which ends before a stop string, and its tokens."""

    text: str
    continuation: Continuation


class TextWriter:
    """An engine that writes.

    Args:
      engine: runs a model.
      tokenizer: the model's.
      replace_breaks: whether prompts are cleaned of `<br />`, as the model's data were.

    Attributes:
      engine: what runs the model; assign another to change it.

    Raises:
      UsageError: for a tokenizer with more entries than the model has.
    """

    def __init__(
        self, engine: Engine, tokenizer: Tokenizer, *, replace_breaks: bool = False
    ) -> None:
        check_fits(tokenizer, engine.vocab_size)
        self.engine = engine
        self.tokenizer = tokenizer
        self._replace_breaks = replace_breaks

    def __repr__(self) -> str:
        engine, tokenizer = type(self.engine).__name__, type(self.tokenizer).__name__
        return f"{type(self).__name__}({tokenizer}, engine={engine})"

    @overload
    def generate(self, prompt: str, sampler: AnySampler | None = ..., **options: Any) -> str: ...

    @overload
    def generate(
        self, prompt: Sequence[str], sampler: AnySampler | None = ..., **options: Any
    ) -> list[str]: ...

    def generate(
        self, prompt: str | Sequence[str], sampler: AnySampler | None = None, **options: Any
    ) -> str | list[str]:
        """The continuation of a prompt, or of each of several, which are one batch.

        Options as of `texts`, which gives several texts of each prompt.

        Raises:
          UsageError: for `num_samples` above 1, too.
        """
        _refuse_several(options)
        prompts = [prompt] if isinstance(prompt, str) else several(prompt, "prompt", PROMPTS_REMEDY)
        prompts = list(prompts)
        found = [texts[0].text for texts in self.texts(prompts, sampler, **options)]
        return found[0] if isinstance(prompt, str) else found

    def texts(
        self,
        prompts: Sequence[str],
        sampler: AnySampler | None = None,
        *,
        stop: str | Sequence[str] = (),
        banned_words: Sequence[str] = (),
        **options: Any,
    ) -> list[list[Text]]:
        """All continuations of each prompt.

        Args:
          sampler, options: as of `gpt_tf.generate`.
          stop: a text ends before the first of these, as `gpt_tf.inference.text_stream` says.
          banned_words: the ways in which the tokenizer writes these, alone or after a blank, are
            never completed; nor are the `banned_sequences` of ids among the options.
        """
        stop = stop_strings(stop)
        several(prompts, "prompts", PROMPTS_REMEDY)
        ids = [self.prompt_ids(prompt) for prompt in prompts]
        found = generate(
            self.engine,
            ids,
            sampler,
            stops=self._stops(ids, stop),
            **self._with_tokenizer(banned_words, options),
        )
        return [
            [Text(self._cut(prompt_ids, one.token_ids, stop), one) for one in continuations]
            for prompt_ids, continuations in zip(ids, found, strict=True)
        ]

    def stream(
        self,
        prompt: str | Sequence[int],
        sampler: AnySampler | None = None,
        *,
        stop: str | Sequence[str] = (),
        banned_words: Sequence[str] = (),
        **options: Any,
    ) -> Iterator[TokenText]:
        """The continuation of one prompt, given as text or ids, while it is made.

        The texts joined are what `generate` gives, and what it refuses is refused.
        """
        _refuse_several(options)
        ids = self.prompt_ids(prompt) if isinstance(prompt, str) else list(prompt)
        text = TextStream(self.tokenizer, ids, stop)
        for chosen in stream(
            self.engine, [ids], sampler, **self._with_tokenizer(banned_words, options)
        ):
            piece = text.feed(chosen.token_id)
            if chosen.finish or text.stopped:
                piece += text.finish()
            named = [(i, self._named(i), value) for i, value in chosen.alternatives]
            name = self._named(chosen.token_id)
            yield TokenText(chosen.token_id, name, piece, chosen.log_probability, named)
            if text.stopped:
                return

    def prompt_ids(self, prompt: str) -> list[int]:
        """The ids of a cleaned prompt, after the begin token if there is one.

        An empty prompt is the begin token, else the end token, else a line feed, else the
        vocabulary's first entry.

        Raises:
          UsageError: if the prompt is no Unicode text, as an argument in another encoding.
        """
        if not isinstance(prompt, str):
            raise UsageError(f"no str in the prompt: {prompt!r:.60}. {PROMPTS_REMEDY}")
        try:
            prompt.encode()
        except UnicodeEncodeError as error:
            raise UsageError(
                f"no Unicode text in the prompt: {prompt[error.start]!r} at character "
                f"{error.start}. Give it in UTF-8."
            ) from error
        tokenizer = self.tokenizer
        ids = tokenizer.encode(clean(prompt, replace_breaks=self._replace_breaks))
        if tokenizer.bos_id is not None:
            ids = [tokenizer.bos_id, *ids]
        if not ids:
            ids = self._first_ids()
        return ids

    def _first_ids(self) -> list[int]:
        tokenizer = self.tokenizer
        if tokenizer.eot_id is not None:
            return [tokenizer.eot_id]
        has_line_feed = tokenizer.takes_any_text or tokenizer.token_to_id("\n") is not None
        return tokenizer.encode("\n") if has_line_feed else [0]

    def _named(self, token_id: int) -> str:
        if self.tokenizer.backend.id_to_token(token_id) is None:  # of a larger model
            return f"[{token_id}]"
        return self.tokenizer.decode([token_id]) or self.tokenizer.tokens([token_id])[0]

    def _with_tokenizer(
        self, banned_words: Sequence[str], options: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The options, and those that the vocabulary decides."""
        tokenizer = self.tokenizer
        of_tokenizer: dict[str, Any] = {
            "end_id": tokenizer.eot_id,
            "banned_ids": tokenizer.never_written(self.engine.vocab_size),
        }
        for name in of_tokenizer.keys() & options.keys():
            raise UsageError(f"no choice in {name}: the tokenizer has it. Leave it out.")
        options = listed(options)
        banned_words = [*several(banned_words, "banned_words", "Give a list: banned_words=[word].")]
        if not all(banned_words):
            raise UsageError("empty banned word. Give at least one character.")
        forms = [form for word in banned_words for form in (word, f" {word}")]
        sequences = {tuple(tokenizer.encode(form)) for form in forms}
        if sequences:
            given = options.get("banned_sequences") or []
            of_tokenizer["banned_sequences"] = [*given, *sorted(sequences)]
        return {**options, **of_tokenizer}

    def _stops(self, prompts: Sequence[Sequence[int]], stop: Sequence[str]) -> Stops:
        if not stop:
            return never
        rows = [_GrowingTexts(TextStream(self.tokenizer, ids, stop)) for ids in prompts]
        return lambda row, token_ids: rows[row].stops(tuple(token_ids))

    def _cut(self, prompt_ids: Sequence[int], token_ids: Sequence[int], stop: Sequence[str]) -> str:
        """The text of generated ids, up to the first stop string: as it would be streamed."""
        text = TextStream(self.tokenizer, prompt_ids, stop)
        for token_id in token_ids:
            text.feed(token_id)
        text.finish()
        return text.text


def check_fits(tokenizer: Tokenizer, vocab_size: int, place: str = "") -> None:
    """Raise UsageError for a tokenizer that makes ids which the model does not have.

    Args:
      vocab_size: the model's.
      place: " in " and the folder of the tokenizer, if it is in one.
    """
    if tokenizer.vocab_size > vocab_size:
        raise UsageError(
            f"tokenizer larger than the model{place}: {tokenizer.vocab_size} entries, the model "
            f"has {vocab_size}. Use the tokenizer that the model was made for."
        )


def _refuse_several(options: Mapping[str, Any]) -> None:
    """Raise ParameterError if more than one text of a prompt is asked for."""
    count = options.get("num_samples", 1)
    check("num_samples", count)
    if count > 1:
        raise ParameterError(
            f"more than one text of a prompt in num_samples: {count}. Use `texts` of the run or of "
            "gpt_tf.TextGenerator, which gives all of them.",
            "num_samples",
        )


class _GrowingTexts:
    """The texts of a prompt's samples or beams, each of which grows by a token at a time."""

    def __init__(self, empty: TextStream) -> None:
        self._empty = empty
        self._known: dict[tuple[int, ...], TextStream] = {}  # of the newest two lengths
        self._newest = 0

    def stops(self, ids: tuple[int, ...]) -> bool:
        """Whether the text of `ids` has a stop string; it was asked of all but the last before."""
        if len(ids) > self._newest:
            self._known = {old: s for old, s in self._known.items() if len(old) == self._newest}
            self._newest = len(ids)
        if ids not in self._known:
            known = self._known.get(ids[:-1])
            text, fresh = (self._empty, ids) if known is None else (known, ids[-1:])
            text = text.copy()
            for token_id in fresh:
                text.feed(token_id)
            self._known[ids] = text
        return self._known[ids].stopped
