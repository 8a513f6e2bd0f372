"""The tokenizer contract, over a `tokenizers.Tokenizer`.

Ids are the same after save and load. Control strings in ordinary text (`<|endoftext|>`, `[PAD]`)
are ordinary text: `encode_special_tokens` is a run-time attribute of the backend that its file
does not keep, so it is set here whenever a tokenizer is made.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import decoders, models, processors

from gpt_tf.arguments import check_flags, several
from gpt_tf.errors import UsageError
from gpt_tf.tokenizer.byte_table import bytes_of
from gpt_tf.tokenizer.files import read_files, size_of, write_files
from gpt_tf.tokenizer.given import check_length, check_texts, checked_ids, fitted
from gpt_tf.tokenizer.ordinary_text import UnseenError, instead_of_control
from gpt_tf.tokenizer.unknown import naming_unknown

END_OF_TEXT = "<|endoftext|>"
PAD, UNK, BOS = "[PAD]", "[UNK]", "[BOS]"

T = TypeVar("T", bound="Tokenizer")


class Tokenizer:
    """Encodes text to ids and decodes ids to text.

        tokenizer = BPETokenizer.train(texts, vocab_size=8000)
        ids = tokenizer("some text")  # or tokenizer.encode("some text")
        tokenizer.decode(ids)  # "some text"
        tokenizer.save("my_tokenizer"); Tokenizer.load("my_tokenizer")

    `len(tokenizer)` is the number of its entries.

    Args:
      backend: the trained tokenizer.
      special_tokens: role ("eos", "pad", "bos", "unk") to token; roles may be missing.

    Attributes:
      instead_of_control: control tokens that the model itself may give a text, with the ids of
        their strings as ordinary text.
      eot_id, pad_id, bos_id, unk_id: ids of the special tokens, or None. A pad or begin token
        that is the end token counts as none, but for one that the backend's own template puts
        before every text (OPT's).

    Raises:
      UsageError: if a special token is not in the vocabulary.
    """

    model_class: ClassVar[type[models.Model] | None] = None  # that a kind of tokenizer has

    def __init__(self, backend: tokenizers.Tokenizer, special_tokens: dict[str, str]) -> None:
        backend.encode_special_tokens = True
        backend.no_truncation()  # an imported file may ask for either
        backend.no_padding()
        self.backend = backend
        self.special_tokens = dict(special_tokens)
        ids = {role: self._special_id(token) for role, token in special_tokens.items()}
        self.eot_id: int | None = ids.get("eos")
        self.unk_id: int | None = ids.get("unk")
        self.pad_id: int | None = ids.get("pad") if ids.get("pad") != self.eot_id else None
        begins = ids.get("bos") != self.eot_id or self._begins_with(self.eot_id)
        self.bos_id: int | None = ids.get("bos") if begins else None
        self.instead_of_control = instead_of_control(self)

    def _special_id(self, token: str) -> int:
        token_id = self.backend.token_to_id(token)
        if token_id is None:
            raise UsageError(f"special token not in the tokenizer's vocabulary: {token}.")
        return int(token_id)

    def _begins_with(self, token_id: int | None) -> bool:
        """Whether the backend puts this token before a text."""
        return list(self.backend.encode("", add_special_tokens=True).ids[:1]) == [token_id]

    def __len__(self) -> int:
        return self.vocab_size

    def __repr__(self) -> str:
        return f"{type(self).__name__}(kind={self.kind!r}, vocab_size={self.vocab_size})"

    @property
    def kind(self) -> str | None:
        """What the settings call it: "bpe", "wordpiece", "char", or None for any other."""
        model = self.backend.model
        if isinstance(model, models.WordLevel):
            return "char" if isinstance(self.backend.decoder, decoders.Fuse) else None
        return {models.BPE: "bpe", models.WordPiece: "wordpiece"}.get(type(model))

    @property
    def vocab_size(self) -> int:
        """Entries of the vocabulary, special tokens included."""
        return size_of(self.backend)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that its ids depend on; the same after save and load."""
        parts = json.loads(self.backend.to_str())
        del parts["post_processor"]  # it adds special tokens, which no text has here
        parts["roles"] = [self.eot_id, self.pad_id, self.bos_id, self.unk_id]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def control_ids(self) -> frozenset[int]:
        """Ids of the special tokens that have a role and are never text: all but the end token."""
        ids = (self.pad_id, self.bos_id, self.unk_id)
        return frozenset(i for i in ids if i is not None and i != self.eot_id)

    @property
    def special_ids(self) -> frozenset[int]:
        """Ids of all special tokens, those without a role included, as `[SEP]`."""
        added = self.backend.get_added_tokens_decoder().items()
        special = {token_id for token_id, token in added if token.special}
        return self.control_ids.union(special, [] if self.eot_id is None else [self.eot_id])

    def never_written(self, model_vocab_size: int) -> frozenset[int]:
        """Ids that a model must not choose: special tokens, and rows of the model without an entry.

        The end token may be chosen: it ends a text.
        """
        without_entry = range(self.vocab_size, model_vocab_size)
        return self.special_ids.union(without_entry) - {self.eot_id}

    def _as_text(self, ids: list[int]) -> list[int]:
        """`ids` of a text without those of control tokens, whose strings are ordinary text.

        Raises:
          UsageError: if there is one that the vocabulary has no other entries for.
        """
        if not self.instead_of_control or self.instead_of_control.keys().isdisjoint(ids):
            return ids
        words = dict.fromkeys(i for i in ids if self.instead_of_control.get(i) == [])
        if words:
            raise UnseenError(self.tokens(words))
        return [own for i in ids for own in self.instead_of_control.get(i, [i])]

    @property
    def takes_any_text(self) -> bool:
        """False for a vocabulary of characters or words without an unknown entry."""
        return self.unk_id is not None or not isinstance(self.backend.model, models.WordLevel)

    def __call__(
        self, text: str, *, max_length: int | None = None, padding: bool = False
    ) -> list[int]:
        """The ids of `text`, as `encode` gives them."""
        return self.encode(text, max_length=max_length, padding=padding)

    def encode(
        self, text: str, *, max_length: int | None = None, padding: bool = False
    ) -> list[int]:
        """The ids of `text`, no special token added.

        Args:
          text: any text; control strings in it are ordinary text.
          max_length: the ids after so many are cut off.
          padding: fill up to `max_length` with `pad_id`.

        Raises:
          UsageError: if the vocabulary lacks a character or word of `text` and `[UNK]`, or `text`
            is not text, or padding is asked for without `max_length` or a pad token.
        """
        check_texts([text], "text")
        check_length(max_length, padding, self.pad_id)
        with naming_unknown(self, [text]):
            ids = list(self.backend.encode(text, add_special_tokens=False).ids)
        return fitted(self._as_text(ids), max_length, self.pad_id if padding else None)

    def encode_batch(
        self, texts: Sequence[str], *, max_length: int | None = None, padding: bool = False
    ) -> list[list[int]]:
        """The ids of each text, as `encode`; in one call, which releases Python's lock.

        Raises:
          UsageError: as `encode`, and for one string instead of a list of texts.
        """
        several(texts, "texts", "Give a list of texts, or use encode() for one.")
        texts = list(texts)
        check_texts(texts, "texts")
        check_length(max_length, padding, self.pad_id)
        with naming_unknown(self, texts):
            encodings = self.backend.encode_batch_fast(texts, add_special_tokens=False)
        pad_id = self.pad_id if padding else None
        return [fitted(self._as_text(encoding.ids), max_length, pad_id) for encoding in encodings]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; special tokens are left out, broken UTF-8 becomes U+FFFD.

        An id beyond the vocabulary, of a model with more rows, has no text.

        Raises:
          UsageError: for anything but ids.
        """
        return str(self.backend.decode(checked_ids(ids), skip_special_tokens=True))

    def tokens(self, ids: Iterable[int]) -> list[str]:
        """The vocabulary entry of each id.

        Raises:
          UsageError: for anything but ids of the vocabulary.
        """
        size, found = self.vocab_size, []
        for i in checked_ids(ids):
            entry = self.backend.id_to_token(i)
            if entry is None and i >= size:
                raise UsageError(f"out of range in ids: {i}. Give ids of 0 to {size - 1}.")
            found.append(str(entry))
        return found

    def token_to_id(self, token: str) -> int | None:
        """The id of a vocabulary entry, or None."""
        token_id = self.backend.token_to_id(token)
        return None if token_id is None else int(token_id)

    def normalize(self, text: str) -> str:
        """`text` after the normalizer, `text` itself if there is none.

        It is what `decode(encode(text))` gives back, but with WordPiece, which keeps no blanks.
        """
        return self.backend.normalizer.normalize_str(text) if self.backend.normalizer else text

    def token_bytes(self) -> NDArray[np.int64]:
        """UTF-8 bytes of the text that each id stands for, 0 for special tokens.

        Bits a byte of a text are the sum of its nats / ln 2 / the sum of its ids' bytes. A
        character of a byte-level entry is a byte; a WordPiece entry that starts a word counts
        the blank before it.
        """
        ids = range(self.vocab_size)
        once = self.backend.decode_batch([[i] for i in ids])
        if isinstance(self.backend.decoder, decoders.ByteLevel):
            texts = zip(once, self.tokens(ids), strict=True)
            sizes = [len(bytes_of(entry)) if text else 0 for text, entry in texts]
        else:  # the second of two, because a decoder may treat the first one as a text's begin
            twice = self.backend.decode_batch([[i, i] for i in ids])
            pairs = zip(once, twice, strict=True)
            sizes = [len(both.encode()) - len(one.encode()) for one, both in pairs]
        return np.array(sizes, np.int64)

    def save(
        self,
        directory: str | os.PathLike[str],
        *,
        overwrite: bool | None = False,
        trained_on: Mapping[str, Any] | None = None,
        option: str | None = "directory",
    ) -> None:
        """Write it atomically, with SHA-256, as `transformers.AutoTokenizer` loads it.

        Args:
          directory: a new or empty folder.
          overwrite: it may be one that was saved before; other files in it are never removed.
          trained_on: where it is from, for its manifest.
          option: of the command line that named the folder, for the message if it is refused;
            `overwrite` is None then if the command cannot replace one. None if nobody named the
            folder: it is that of a run which gpt-tf is making.

        Raises:
          UsageError: if the folder may not be replaced, or is part of a run.
          RunError: if the disk is full or fails; what was there is intact.
        """
        if overwrite is not None:
            check_flags(overwrite=overwrite)
        write_files(
            Path(directory),
            self.backend,
            self.special_tokens,
            option=option,
            overwrite=overwrite,
            trained_on=trained_on,
        )

    @classmethod
    def load(cls: type[T], directory: str | os.PathLike[str]) -> T:
        """Read a saved tokenizer, or any folder with a `tokenizer.json`.

        Raises:
          UsageError: if there is no tokenizer, or one of another kind.
          RunError: if a file is damaged.
        """
        backend, special_tokens = read_files(Path(directory))
        if cls.model_class is not None and not isinstance(backend.model, cls.model_class):
            raise UsageError(
                f"no {cls.__name__} in {directory}: its model is {type(backend.model).__name__}. "
                "Load it with Tokenizer.load()."
            )
        return cls(backend, special_tokens)


def put_before_texts(backend: tokenizers.Tokenizer, token: str) -> None:
    """Make `token` the backend's own begin of every text, as other programs encode it."""
    backend.post_processor = processors.TemplateProcessing(
        single=[token, "$A"],
        pair=[token, "$A", token, "$B"],
        special_tokens=[(token, backend.token_to_id(token))],
    )
