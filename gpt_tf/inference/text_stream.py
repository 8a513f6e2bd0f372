"""Generated ids, one after the other, to pieces of text that are final.

The pieces joined are the `continuation` of the prompt, cut before the first stop string: the one
that is complete first, and of several that end at the same character the longest. Only the
continuation counts: a stop string that begins in the prompt is none. Incomplete characters
are held back, and so is an ending that may begin a stop string.
`tokenizers.decoders.DecodeStream` loses text if bytes are no UTF-8, and holds back U+FFFD.
"""

from __future__ import annotations

import codecs
import copy
from collections.abc import Sequence

from tokenizers import decoders

from gpt_tf.arguments import several
from gpt_tf.errors import UsageError
from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.tokenizer.byte_table import bytes_of

Ids = Sequence[int]
STOP_REMEDY = "Give a text, or a list of texts."
REPLACEMENT = "\ufffd"


def continuation(tokenizer: Tokenizer, prompt_ids: Ids, ids: Ids) -> str:
    """The text that `ids` add to the prompt's.

    WordPiece's blank between the two is part of it. So is a character that the prompt begins and
    `ids` complete; where they do not, its U+FFFD is the prompt's.
    """
    before, whole = tokenizer.decode(prompt_ids), tokenizer.decode([*prompt_ids, *ids])
    if not whole.startswith(before):
        before = before.removesuffix(REPLACEMENT)
    return whole[len(before) :] if whole.startswith(before) else tokenizer.decode(ids)


def stop_strings(stop: str | Sequence[str]) -> tuple[str, ...]:
    """One stop string or several as a tuple. Raises UsageError if one is empty or no text."""
    found = (stop,) if isinstance(stop, str) else tuple(several(stop, "stop", STOP_REMEDY))
    for one in found:
        if not isinstance(one, str):
            raise UsageError(f"no str in stop: {one!r:.60}. {STOP_REMEDY}")
    if not all(found):
        raise UsageError("empty stop string. Give at least one character.")
    return found


class TextStream:
    """The text of a continuation while it is generated.

    Args:
      prompt_ids: the ids before the first that is fed.
      stop: the text ends before the first of these, or before this one; none is empty.

    Attributes:
      text: all text given out so far.
      stopped: no text will follow, because of a stop string.
      num_tokens_used: ids fed, up to and including the one that stopped it.
    """

    def __init__(
        self, tokenizer: Tokenizer, prompt_ids: Ids, stop: str | Sequence[str] = ()
    ) -> None:
        self.stopped, self.num_tokens_used = False, 0
        self._stop = stop_strings(stop)
        self._longest_stop = max(map(len, self._stop), default=0)
        self.text, self._held = "", ""
        decoding = _DECODINGS.get(type(tokenizer.backend.decoder), _AtTheEnd)
        self._decoding = decoding(tokenizer, [int(i) for i in prompt_ids], self._stop)

    def copy(self) -> TextStream:
        """Another stream of the same ids so far."""
        twin = copy.copy(self)
        twin._decoding = copy.copy(self._decoding)
        return twin

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
        begin = _first_stop(held, self._stop)
        self.stopped = begin is not None
        if begin is None:
            begin = len(held) if at_end else self._possible_stop(held)
        given, self._held = held[:begin], "" if self.stopped else held[begin:]
        self.text += given
        return given

    def _possible_stop(self, held: str) -> int:
        """Where a stop string may have begun that later text completes, else the length."""
        places = range(max(0, len(held) - self._longest_stop + 1), len(held))
        begun = (i for i in places if any(stop.startswith(held[i:]) for stop in self._stop))
        return next(begun, len(held))


def _first_stop(text: str, stop: Sequence[str]) -> int | None:
    """Where the first stop string begins: the earliest end wins, then the longest."""
    found = [(i + len(one), i) for one in stop if (i := text.find(one)) >= 0]
    return min(found)[1] if found else None


class _AtTheEnd:
    """Any decoder: all text at the end, as a later id may change the text of earlier ones.

    A stop string ends it, once the text of the ids so far has one before an incomplete character.
    """

    def __init__(self, tokenizer: Tokenizer, prompt_ids: list[int], stop: tuple[str, ...]) -> None:
        self.tokenizer, self.prompt_ids, self.stop = tokenizer, prompt_ids, stop
        self.ids: tuple[int, ...] = ()
        added = tokenizer.backend.get_added_tokens_decoder()
        self.special_ids = {i for i, token in added.items() if token.special}

    def entry(self, token_id: int) -> str | None:
        """What the decoder sees of an id, None where nothing."""
        special = token_id in self.special_ids
        return None if special else self.tokenizer.backend.id_to_token(token_id)

    def text(self, token_id: int | None) -> str:
        """The text that an id makes certain, or that the end does (None)."""
        if token_id is None:
            ids, self.ids = self.ids, ()
            return continuation(self.tokenizer, self.prompt_ids, ids)
        self.ids = (*self.ids, token_id)
        if not self.stop:
            return ""
        text = continuation(self.tokenizer, self.prompt_ids, self.ids).rstrip(REPLACEMENT)
        return text if _first_stop(text, self.stop) is not None else ""


class _EntryByEntry(_AtTheEnd):
    """Decoders to which only an entry itself matters, and whether it is the first."""

    def __init__(self, tokenizer: Tokenizer, prompt_ids: list[int], stop: tuple[str, ...]) -> None:
        super().__init__(tokenizer, prompt_ids, stop)
        self.before = [i for i in prompt_ids if self.entry(i) is not None][-1:]

    def text(self, token_id: int | None) -> str:
        if token_id is None or self.entry(token_id) is None:
            return ""
        before, self.before = self.before, [token_id]
        return self.tokenizer.decode([*before, token_id])[len(self.tokenizer.decode(before)) :]


class _ByteLevel(_AtTheEnd):
    """The byte-level decoder: a character is certain once it has its bytes, or cannot get them."""

    def __init__(self, tokenizer: Tokenizer, prompt_ids: list[int], stop: tuple[str, ...]) -> None:
        super().__init__(tokenizer, prompt_ids, stop)
        self.incomplete = b""
        self.decoded(b"".join(map(self.entry_bytes, prompt_ids)))
        self.in_prompt = self.incomplete.decode(errors="replace")

    def entry_bytes(self, token_id: int) -> bytes:
        entry = self.entry(token_id) or ""  # text where it was added and has other characters
        return bytes_of(entry)

    def decoded(self, data: bytes, *, final: bool = False) -> str:
        """The text of `data` after what was incomplete; broken bytes as the backend replaces."""
        data = self.incomplete + data
        text, used = codecs.utf_8_decode(data, "replace", final)
        self.incomplete = data[used:]
        return text

    def text(self, token_id: int | None) -> str:
        data = b"" if token_id is None else self.entry_bytes(token_id)
        text = self.decoded(data, final=token_id is None)
        # what the prompt begins and nothing completes is U+FFFD in the prompt's text already
        in_prompt, self.in_prompt = self.in_prompt, "" if text else self.in_prompt
        return text.removeprefix(in_prompt)


_DECODINGS: dict[type, type[_AtTheEnd]] = {
    decoders.ByteLevel: _ByteLevel,
    decoders.WordPiece: _EntryByEntry,
    decoders.Fuse: _EntryByEntry,
}
