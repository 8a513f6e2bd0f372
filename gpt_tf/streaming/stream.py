"""`TokenStream`: batches of token ids from text, for training and evaluation."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from gpt_tf.arguments import check_counts, check_flags, path_of, several
from gpt_tf.errors import UsageError
from gpt_tf.storage.names import nearest
from gpt_tf.streaming.batch_stream import BatchStream, Identity, check_threads
from gpt_tf.streaming.given_data import Data, files_of
from gpt_tf.streaming.listing import DIGESTS_FILE, dated_fingerprint, fingerprint, listing
from gpt_tf.streaming.rows import Store, check_kind, open_rows
from gpt_tf.streaming.sources import DocumentReader, UnchangedDocuments
from gpt_tf.streaming.token_store import Progress
from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.tokenizer.given import check_tokenizer

DOCUMENTS_REMEDY = "Give a list of files, such as sorted(Path(folder).rglob('*.txt'))."
NO_STORE = Store()
OPTIONS = ("num_threads", "buffer_size", "allow_partial", "reader", "skipped", "store")


class TokenStream(BatchStream):
    """Batches of token ids, read and tokenized by threads ahead of the training step.

    An iterator of `Batch(inputs, targets, weights)`, each [batch_size, context_length]: int32 ids,
    the ids one place on, and float32 weights that are 0 if no loss counts. Close it, or use
    `with`.

        tokenizer = BPETokenizer.train((file.read_text() for file in files), vocab_size=1000)
        with TokenStream("texts", tokenizer, windows="packed", batch_size=8, epochs=1) as stream:
            for inputs, targets, weights in stream:
                ...

    `as_dataset()` gives the same to `model.fit`; `state_dict()` and `load_state_dict()` are for
    going on later.

    Args:
      data: the name of a folder or a file, or a pattern such as "texts/**/*.txt"; or a list of
        `Path`, which are files; or a list of `str`, which are texts. A list of strings that all
        exist as paths is refused.
      tokenizer: what makes ids of text.
      windows: "padded" (a document a row, cut or padded), "packed" (documents joined, nothing
        thrown away) or "random" (the same at random offsets).
      context_length, batch_size: the shape of a batch.
      shuffle, seed: the order of the documents; without shuffle as given.
      epochs: end after so many; None to continue for ever.
      options: what `BatchStream` takes (`num_threads`, `buffer_size`, `allow_partial`), and
        `reader`, a `DocumentReader` that says how documents are found in the files (a .txt file
        is one by default); `skipped`, numbers of documents that are left out, by file; `store`, a
        `Store` that says where token ids are kept.

    Padded windows of .txt files are tokenized on the fly. Everything else, and a tokenizer of
    characters or words without [UNK], goes through a token store, which is made first: in the
    folder that `store` names, where the next stream of the same data finds it, otherwise in a
    temporary folder, which is removed at once; its disk space is given back with the stream.

    Raises:
      UsageError: if the data give no batch, random windows are asked for in order, or an argument
        has an invalid value.
    """

    def __init__(
        self,
        data: Data,
        tokenizer: Tokenizer,
        *,
        windows: str = "padded",
        context_length: int = 128,
        batch_size: int = 64,
        shuffle: bool = True,
        seed: int = 2023,
        epochs: int | None = None,
        **options: Any,
    ) -> None:
        if unknown := sorted(options.keys() - set(OPTIONS)):
            meant = nearest(unknown[0], OPTIONS) or f" Options: {', '.join(OPTIONS)}."
            raise UsageError(f"unknown argument of TokenStream: {unknown[0]}.{meant}")
        check_tokenizer(tokenizer)
        check_kind(windows)
        check_threads(options.get("num_threads", 2))
        check_counts(batch_size=batch_size, context_length=context_length)
        check_counts(
            buffer_size=options.get("buffer_size", 16), epochs=1 if epochs is None else epochs
        )
        check_counts(0, seed=seed)
        check_flags(shuffle=shuffle)
        reader: DocumentReader = options.pop("reader", None) or DocumentReader()
        skipped: Mapping[Path, Collection[int]] = options.pop("skipped", None) or {}
        store: Store = options.pop("store", None) or NO_STORE
        with files_of(data, reader) as (files, reader):
            cache = store.directory / DIGESTS_FILE if store.directory else None
            entries = listing(files, cache)
            rows = open_rows(
                files,
                UnchangedDocuments(files, reader, entries, skipped),
                tokenizer,
                windows=windows,
                batch_size=batch_size,
                order={"context_length": context_length, "shuffle": shuffle, "seed": seed},
                store=store,
                num_threads=options.get("num_threads", 2),
            )
        super().__init__(
            rows,
            shape=(batch_size, context_length),
            pad_id=tokenizer.pad_id,
            identity=Identity(
                fingerprint(entries),
                dated_fingerprint(entries),
                f"{windows} windows, shuffle {shuffle}, seed {seed}",
                "" if store.tokenizer_sha256 else getattr(tokenizer, "fingerprint", ""),
            ),
            epochs=epochs,
            **options,
        )

    @classmethod
    def from_documents(
        cls,
        documents: Sequence[Path | str],
        tokenizer: Tokenizer,
        *,
        store_directory: Path | str | None = None,
        scratch_directory: Path | str | None = None,
        tokenizer_sha256: str = "",
        progress: Progress | None = None,
        **options: Any,
    ) -> TokenStream:
        """A stream over files, whose token ids may be kept in a folder.

        Args:
          documents: the paths of the files.
          tokenizer: what makes ids of text.
          store_directory: the folder of the token stores; a temporary one if it is not given.
          scratch_directory: for a token store that is missing in a `store_directory` that cannot
            be written.
          tokenizer_sha256: names the tokenizer; its own fingerprint if it is not given.
          progress: called with (bytes done, bytes) while the token store is made.
          options: what `TokenStream` takes.

        Raises:
          UsageError: as the constructor, and if `documents` are a single path.
        """
        files = [Path(path) for path in several(documents, "documents", DOCUMENTS_REMEDY)]
        store = Store(
            directory=path_of(store_directory, "store_directory"),
            scratch_directory=path_of(scratch_directory, "scratch_directory"),
            tokenizer_sha256=tokenizer_sha256,
            progress=progress,
        )
        return cls(files, tokenizer, store=store, **options)
