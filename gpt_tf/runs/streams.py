"""The streams of a training run: endless training batches, and fixed ones to evaluate on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gpt_tf.config import Config
from gpt_tf.errors import UsageError
from gpt_tf.runs.data import DataChoice
from gpt_tf.storage.names import counted
from gpt_tf.streaming.duplicates import Numbers, Part, find_duplicates
from gpt_tf.streaming.share import WHOLE, Share, own_batches
from gpt_tf.streaming.stream import TokenStream
from gpt_tf.tokenizer.base import Tokenizer

LOOKED_AT = 4  # batches
MUCH_UNKNOWN = 0.05


class Streams:
    """Opens every stream at once, so that a fault in the data shows before the first step.

    Attributes:
      train: training batches without end.
      validation: one pass over what was set aside; None if nothing was.
    """

    def __init__(
        self, config: Config, choice: DataChoice, tokenizer: Tokenizer, tokenizer_sha256: str
    ) -> None:
        self._config = config
        self._choice = choice
        self._tokenizer = tokenizer
        self._tokenizer_sha256 = tokenizer_sha256
        self._share = WHOLE
        windows = config.data.windows
        self.train = self._open("train", windows=windows, shuffle=config.data.shuffle)
        # Shuffled, so that the first batches of a sorted list are not all of one kind; what is
        # trained on at random offsets is measured whole and in order.
        once: dict[str, Any] = {"windows": windows, "shuffle": True}
        if windows == "random":
            once = {"windows": "packed", "shuffle": False}
        once |= {"epochs": 1, "allow_partial": True}
        self.validation = self._open("validation", **once) if choice.validation else None
        self._train_once = self._open("train", **once)
        if self.validation:
            self._check_targets()

    def tell(self) -> None:
        """Say what an epoch of each split is made of."""
        console = self._choice.console
        console.note(f"train: {self.train.contents().describe()}")
        if self.validation:
            console.note(f"validation: {self.validation.contents().describe()}")

    def take_share(self, workers: int, rank: int) -> None:
        """Give of every stream what one of the workers computes: whole batches of each update."""
        if workers == 1:
            return
        batches = self._config.training.grad_accum_steps
        own = own_batches(batches, workers)
        self.train.take_share(Share(batches, rank * own, own))
        self._share = Share(workers, rank)
        for stream in (self.validation, self._train_once):
            if stream is not None:
                stream.take_share(self._share)

    @property
    def evaluated_here(self) -> int:
        """Those of the batches that an evaluation measures which are this worker's."""
        return self._share.before(self.evaluated_batches)

    @property
    def evaluated_batches(self) -> int:
        """Batches of each split that an evaluation measures."""
        return self._config.training.eval_batches or len(self.validation or ())

    def _check_targets(self) -> None:
        """Raise UsageError if the first evaluation would find no token to predict."""
        for split in ("validation", "training"):
            stream = self._train_once if split == "training" else self.validation
            assert stream is not None, "nothing was set aside for validation"
            count = min(len(stream), self.evaluated_batches)
            if not any(stream.batch_at(number).weights.any() for number in range(count)):
                more = ", or measure all of them with --set training.eval_batches=null"
                raise UsageError(
                    f"no token to predict in the {split} data: batches 1 to {count:,} of "
                    f"{len(stream):,} are measured. Give documents of two tokens or more"
                    f"{more * (split == 'validation' and count < len(stream))}."
                )

    def _open(self, split: str, **options: Any) -> TokenStream:
        return open_stream(
            self._config, self._choice, split, self._tokenizer, self._tokenizer_sha256, **options
        )

    def close(self) -> None:
        """Stop the threads of all of them."""
        for stream in (self.train, self.validation, self._train_once):
            if stream is not None:
                stream.close()

    def __enter__(self) -> Streams:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def evaluation(self, split: str) -> TokenStream:
        """The stream of a split, back at its start: the same batches each time."""
        stream = self.validation if split == "validation" else self._train_once
        assert stream is not None, "nothing was set aside for validation"
        stream.rewind()
        return stream


def unknown_words(stream: TokenStream, tokenizer: Tokenizer) -> str | None:
    """A sentence on the share of [UNK] in the first batches; None if it is small."""
    if tokenizer.unk_id is None or tokenizer.unk_id not in tokenizer.control_ids:
        return None  # another role's token stands for it, which no text has
    batches = [stream.batch_at(number) for number in range(min(LOOKED_AT, len(stream)))]
    targets = np.concatenate([batch.targets[batch.weights > 0] for batch in batches])
    share = float((targets == tokenizer.unk_id).sum() / max(1, len(targets)))
    if share < MUCH_UNKNOWN:
        return None
    (entry,) = tokenizer.tokens([tokenizer.unk_id])
    return (
        f"{100 * share:.0f} % of the tokens are {entry}, which stands for text that the tokenizer "
        "has no entries for"
    )


def open_stream(
    config: Config,
    choice: DataChoice,
    split: str,
    tokenizer: Tokenizer,
    tokenizer_sha256: str,
    **options: Any,
) -> TokenStream:
    """The stream of "train" or "validation" under a run's settings; options as of the stream."""
    files, skipped = choice.train, None
    if split == "validation":
        files, skipped = validation_documents(config, choice)
    with choice.console.progress_bar("tokenizing", "bytes") as progress:
        return TokenStream.from_documents(
            files,
            tokenizer,
            skipped=skipped,
            context_length=config.model.context_length,
            batch_size=config.training.batch_size,
            seed=config.training.seed,
            reader=choice.reader(config.data, split),
            store_directory=choice.store_directory,
            tokenizer_sha256=tokenizer_sha256,
            progress=progress,
            num_threads=config.data.num_threads,
            buffer_size=config.data.buffer_size,
            **options,
        )


def validation_documents(config: Config, choice: DataChoice) -> tuple[list[Path], Numbers]:
    """The files to validate on, and which documents in them are trained on, too.

    Raises:
      UsageError: if all of them are.
    """
    if choice.distinct or not config.data.drop_duplicates:
        return choice.validation, {}
    train, validation = (
        Part(files, choice.reader(config.data, split))
        for split, files in (("train", choice.train), ("validation", choice.validation))
    )
    with choice.console.progress_bar("looking for duplicates", "bytes") as progress:
        found = find_duplicates(train, validation, choice.store_directory, progress)
    if not found:
        return choice.validation, {}
    read = validation.reader
    whole = {path for path in found if read.is_one_document(path)}
    kept = [path for path in choice.validation if path not in whole]
    some_left = any(
        number not in found.get(path, ())
        for path in kept
        for number, _ in enumerate(read.documents(path))
    )
    documents = counted(sum(map(len, found.values())), "document")
    if not some_left:
        raise UsageError(
            f"no validation data: all of it ({documents}) is also trained on. Give other text "
            "with --validation-data, or keep them with --set data.drop_duplicates=false; of "
            "a run that is resumed or evaluated, restore the files instead."
        )
    choice.console.note(f"left out of the validation because it is also trained on: {documents}")
    return kept, found
