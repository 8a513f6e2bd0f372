"""Generated ids, one after the other, to pieces of text that are final.

The pieces joined are the `continuation` of the prompt, cut before the first stop string. Held
back are the bytes of an incomplete character and an end that a stop string may begin with.
`tokenizers.decoders.DecodeStream` loses text where bytes are no UTF-8, and holds back U+FFFD.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from tokenizers import decoders, pre_tokenizers

from gpt_tf.errors import UsageError
from gpt_tf.tokenizer.base import Tokenizer

Ids = Sequence[int]
REPLACEMENT = "\ufffd"
# GPT-2's alphabet: a printable Latin-1 character is its own byte, the others follow in order
ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
BYTES = dict(zip(ALPHABET, sorted(range(256), key=lambda b: chr(b) not in ALPHABET), strict=True))


def continuation(tokenizer: Tokenizer, prompt_ids: Ids, ids: Ids) -> str:
    """The text that `ids` add to the prompt's.

    WordPiece's blank between the two is part of it. So is a character that the prompt begins and
    `ids` complete; where they do not, its U+FFFD is the prompt's.
    """
    before, whole = tokenizer.decode(prompt_ids), tokenizer.decode([*prompt_ids, *ids])
    if not whole.startswith(before):
        before = before.removesuffix(REPLACEMENT)
    return whole[len(before) :] if whole.startswith(before) else tokenizer.decode(ids)


class TextStream:
    """The text of a continuation while it is generated.

    Args:
      prompt_ids: the ids before the first that is fed.
      stop: the text ends before the first of these, none empty; one begun in the prompt is none.

    Attributes:
      stopped: no text will follow, because of a stop string.
      num_tokens_used: ids fed, up to and including the one that stopped it.
    """

    def __init__(self, tokenizer: Tokenizer, prompt_ids: Ids, stop: Sequence[str] = ()) -> None:
        if not all(stop):
            raise UsageError("empty stop string. Give at least one character.")
        self.stopped, self.num_tokens_used = False, 0
        self._stop, self._longest_stop = tuple(stop), max(map(len, stop), default=0)
        self._held, self._given = "", list[str]()
        decoding = _DECODINGS.get(type(tokenizer.backend.decoder), _AtTheEnd)
        self._decoding = decoding(tokenizer, [int(i) for i in prompt_ids])

    @property
    def text(self) -> str:
        """All text given out so far."""
        return "".join(self._given)

    def feed(self, token_id: int) -> str:
        """The text that is certain now and was not before; "" once stopped."""
        if self.stopped:
            return ""
        self.num_tokens_used += 1
        return self._give(self._decoding.text(int(token_id)))

    def finish(self) -> str:
        """The text held back, when no id follows; an incomplete character is U+FFFD."""
        return "" if self.stopped else self._give(self._decoding.text(None), at_end=True)

    def _give(self, text: str, *, at_end: bool = False) -> str:
        held = self._held + text
        end = len(held) if at_end else self._possible_stop(held)
        first = min((i for stop in self._stop if (i := held.find(stop)) >= 0), default=len(held))
        # a stop string inside one that may have begun earlier waits for that one
        self.stopped = first < len(held) and first <= end
        given, self._held = (held[:first], "") if self.stopped else (held[:end], held[end:])
        self._given.append(given)
        return given

    def _possible_stop(self, held: str) -> int:
        """Where a stop string may have begun that later text completes, else the length."""
        places = range(max(0, len(held) - self._longest_stop + 1), len(held))
        begun = (i for i in places if any(stop.startswith(held[i:]) for stop in self._stop))
        return next(begun, len(held))


class _AtTheEnd:
    """Any decoder: all text at the end, as a later id may change the text of earlier ones."""

    def __init__(self, tokenizer: Tokenizer, prompt_ids: list[int]) -> None:
        self.tokenizer, self.prompt_ids, self.ids = tokenizer, prompt_ids, list[int]()
        added = tokenizer.backend.get_added_tokens_decoder()
        self.special_ids = {i for i, token in added.items() if token.special}

    def entry(self, token_id: int) -> str | None:
        """What the decoder sees of an id, None where nothing."""
        special = token_id in self.special_ids
        return None if special else self.tokenizer.backend.id_to_token(token_id)

    def text(self, token_id: int | None) -> str:
        """The text that an id makes certain, or that the end does (None)."""
        if token_id is not None:
            self.ids.append(token_id)
            return ""
        ids, self.ids = self.ids, []
        return continuation(self.tokenizer, self.prompt_ids, ids)


class _EntryByEntry(_AtTheEnd):
    """Decoders to which only an entry itself matters, and whether it is the first."""

    def __init__(self, tokenizer: Tokenizer, prompt_ids: list[int]) -> None:
        super().__init__(tokenizer, prompt_ids)
        self.before = [i for i in prompt_ids if self.entry(i) is not None][-1:]

    def text(self, token_id: int | None) -> str:
        if token_id is None or self.entry(token_id) is None:
            return ""
        before, self.before = self.before, [token_id]
        return self.tokenizer.decode([*before, token_id])[len(self.tokenizer.decode(before)) :]


class _ByteLevel(_AtTheEnd):
    """The byte-level decoder: a character is certain once it has its bytes, or cannot get them."""

    def __init__(self, tokenizer: Tokenizer, prompt_ids: list[int]) -> None:
        super().__init__(tokenizer, prompt_ids)
        self.utf8 = codecs.getincrementaldecoder("utf-8")("replace")  # as the backend replaces
        self.utf8.decode(b"".join(map(self.entry_bytes, prompt_ids)))
        self.in_prompt = self.utf8.getstate()[0].decode(errors="replace")

    def entry_bytes(self, token_id: int) -> bytes:
        entry = self.entry(token_id) or ""  # text where it was added and has other characters
        return bytes(BYTES[c] for c in entry) if set(entry) <= BYTES.keys() else entry.encode()

    def text(self, token_id: int | None) -> str:
        data = b"" if token_id is None else self.entry_bytes(token_id)
        text = self.utf8.decode(data, final=token_id is None)
        # what the prompt begins and nothing completes is U+FFFD in the prompt's text already
        in_prompt, self.in_prompt = self.in_prompt, "" if text else self.in_prompt
        return text.removeprefix(in_prompt)


_DECODINGS: dict[type, type[_AtTheEnd]] = {
    decoders.ByteLevel: _ByteLevel, decoders.WordPiece: _EntryByEntry, decoders.Fuse: _EntryByEntry
}  # fmt: skip
