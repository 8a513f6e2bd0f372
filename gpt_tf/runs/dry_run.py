"""What a dry run finds: data, tokenizer and settings as training would open them.

Everything that training writes before its first step goes to a temporary folder, so that training
would refuse the same with the same words, and nothing stays. To measure takes as much room on the
disk as training does, so that folder is in the workspace.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from gpt_tf.config import Config
from gpt_tf.runs.choosing_data import choose_data
from gpt_tf.runs.claiming import refuse_taken
from gpt_tf.runs.data import DataChoice
from gpt_tf.runs.estimated_data import estimated, has_store, is_large
from gpt_tf.runs.finetuning import first_weights
from gpt_tf.runs.job import Job
from gpt_tf.runs.own_tokenizers import (
    choose_tokenizer,
    naming_remedy,
    ready_tokenizer,
    require_tokenizer,
    train_own,
)
from gpt_tf.runs.resolving import resolve_config
from gpt_tf.runs.run_tokenizer import as_the_tokenizer, check_ready, write_tokenizer
from gpt_tf.runs.streams import Streams
from gpt_tf.runs.tokenizer_records import asked_for
from gpt_tf.runs.without_effect import check_end, refuse_idle
from gpt_tf.storage.atomic import TEMPORARY
from gpt_tf.storage.finding_runs import new_run
from gpt_tf.storage.folders import scratch_directory
from gpt_tf.streaming.corpora.corpus import READY_MADE, newest_corpus
from gpt_tf.streaming.listing import DIGESTS_FILE
from gpt_tf.streaming.windows import Contents
from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.tokenizer.files import tokenizer_sha256
from gpt_tf.training.precision import resolve_precision

MEASURING = "measuring"  # begins the name of the folder that steps are measured in


@dataclass(frozen=True)
class Look:
    """What was found.

    Attributes:
      config: the settings, resolved as far as the data are known.
      train, validation: what an epoch of each split is made of; None if it is not known, or
        nothing was set aside.
      batches_per_epoch: of the training data; None if they are not known.
    """

    config: Config
    train: Contents | None = None
    validation: Contents | None = None
    batches_per_epoch: int | None = None

    @property
    def steps_per_epoch(self) -> int | None:
        """Updates of a pass over the training data; None if they are not known."""
        if self.batches_per_epoch is None:
            return None
        return max(1, self.batches_per_epoch // self.config.training.grad_accum_steps)


class Opened(NamedTuple):
    """All that a training needs before its model is built.

    Attributes:
      job: with its resolved settings.
      folder: a temporary one.
      tokenizer_sha256: of the copy of the tokenizer in it.
    """

    job: Job
    choice: DataChoice
    streams: Streams
    tokenizer: Tokenizer
    tokenizer_sha256: str
    folder: Path


def look(job: Job) -> Look:
    """Open data and tokenizer. In a workspace without any, nothing is made.

    Raises:
      UsageError: if training would refuse them at its start, with the same words.
      DocumentError: if a document cannot be read.
    """
    workspace, job = job.workspace, _checked(job)
    config = job.config
    if job.data is None and newest_corpus(workspace.path) is None:
        workspace.console.note(
            "no data here: training would write sample reviews and take them. Name your own with "
            "--data"
        )
        return Look(_as_far_as_known(_with_vocabulary(job)))
    choice = choose_data(workspace, job.data, config.data, job.validation)
    refuse_idle([config], choice, job.given)
    with tempfile.TemporaryDirectory(prefix="gpt-tf-") as folder:
        choice = _set_apart(choice, Path(folder))
        source = _tokenizer(job, choice, Path(folder) / "trained")
        if source is None:
            workspace.console.note(
                "no tokenizer yet, so no tokens are counted, and the vocabulary is the one that "
                "the preset asks for. Add --train-tokenizer, or give one with --tokenizer"
            )
            return Look(_as_far_as_known(config))
        job, tokenizer, sha256 = _with_tokenizer(job, source, Path(folder) / "copy")
        if is_large(choice) and not has_store(choice, job.config, sha256):
            return _estimated(job, choice, tokenizer)
        with _streams(job, choice, tokenizer, sha256) as streams:
            return _counted(job, streams)


@contextmanager
def opened(job: Job) -> Iterator[tuple[Look, Opened]]:
    """Open data and tokenizer as training does, whatever that takes, in a temporary folder of the
    workspace.

    Raises:
      UsageError: if there is no tokenizer, or training would refuse something at its start.
      DocumentError: if a document cannot be read.
    """
    workspace, job = job.workspace, _checked(job)
    with scratch_directory(workspace.path / MEASURING) as folder:
        place = workspace
        if job.data is None and newest_corpus(workspace.path) is None:
            place = dataclasses.replace(workspace, path=folder)  # for the sample reviews
        choice = choose_data(place, job.data, job.config.data, job.validation)
        refuse_idle([job.config], choice, job.given)
        choice = _set_apart(choice, folder)
        source = _tokenizer(job, choice, folder / "trained")
        if source is None:
            source = choose_tokenizer(workspace, choice, None)  # raises the error of training
        job, tokenizer, sha256 = _with_tokenizer(job, source, folder / "copy")
        with _streams(job, choice, tokenizer, sha256) as streams:
            found = _counted(job, streams)
            job = dataclasses.replace(job, config=found.config)
            yield found, Opened(job, choice, streams, tokenizer, sha256, folder)


def _checked(job: Job) -> Job:
    """The job with the origin of its first weights, if its run may begin."""
    config, _ = first_weights(job.config, job.pretrained)
    if job.name is not None:
        refuse_taken(new_run(job.workspace.path, job.preset, job.name), job.overwrite)
    return dataclasses.replace(job, config=config)


def _with_tokenizer(job: Job, source: Path, copy: Path) -> tuple[Job, Tokenizer, str]:
    """The job with what its tokenizer decides, that tokenizer, and its SHA-256."""
    tokenizer = write_tokenizer(job.config, source, copy, job.workspace.console)
    job = dataclasses.replace(job, config=as_the_tokenizer(job, tokenizer))
    return job, tokenizer, tokenizer_sha256(copy)


def _with_vocabulary(job: Job) -> Config:
    """The config, with the size of a tokenizer that was given or is that of the sample reviews."""
    tokenizer = job.tokenizer or ready_tokenizer(job.workspace, READY_MADE[-1], None)
    if tokenizer is None or job.pretrained is not None:
        return job.config
    require_tokenizer(tokenizer, tokenizer)
    size = Tokenizer.load(tokenizer).vocab_size
    model = dataclasses.replace(job.config.model, vocab_size=size)
    return dataclasses.replace(job.config, model=model)


def _as_far_as_known(config: Config) -> Config:
    """The config with what does not depend on the data, which are not known."""
    if config.training.max_steps:
        return resolve_config(config, None, 0)
    return resolve_precision(config)[0]


def _set_apart(choice: DataChoice, folder: Path) -> DataChoice:
    """The choice with another place for what is made of it; what is there is linked to."""
    apart = dataclasses.replace(choice, directory=folder)
    apart.store_directory.mkdir()
    if choice.store_directory.is_dir():
        for path in choice.store_directory.iterdir():
            if path.name != DIGESTS_FILE and not TEMPORARY.fullmatch(path.name):
                (apart.store_directory / path.name).symlink_to(path.absolute())
    return apart


def _tokenizer(job: Job, choice: DataChoice, scratch: Path) -> Path | None:
    """The folder of the tokenizer that training would take; None if there is none yet.

    Args:
      scratch: where one is trained, if training would do so first.
    """
    workspace, given = job.workspace, job.tokenizer
    if job.pretrained is not None:
        given = job.pretrained.run.tokenizer
    if job.train_tokenizer:
        asked = asked_for(workspace, choice, job.config)
        return train_own(workspace, choice, job.config, asked, scratch, only_look=True)
    if given is not None:
        source = choose_tokenizer(workspace, choice, given)
    elif ready := ready_tokenizer(workspace, choice.name, choice.source):
        source = ready
    else:
        return None
    check_ready(job, source)
    return source


def _streams(job: Job, choice: DataChoice, tokenizer: Tokenizer, sha256: str) -> Streams:
    is_given = job.pretrained is not None or job.tokenizer is not None
    with nullcontext() if is_given else naming_remedy(job.train_tokenizer):
        return Streams(job.config, choice, tokenizer, sha256)


def _counted(job: Job, streams: Streams) -> Look:
    batches = len(streams.train)
    config = resolve_config(job.config, batches, streams.evaluated_batches)
    check_end(config, job.stop_at_step, console=job.workspace.console)
    validation = streams.validation.contents() if streams.validation else None
    return Look(config, streams.train.contents(), validation, batches)


def _estimated(job: Job, choice: DataChoice, tokenizer: Tokenizer) -> Look:
    """The same of large data, from a sample."""
    train, batches = estimated(choice, job.config, tokenizer, "train")
    validation, evaluated = None, 0
    if choice.validation:
        validation, evaluated = estimated(choice, job.config, tokenizer, "validation")
    evaluated = job.config.training.eval_batches or evaluated
    config = resolve_config(job.config, batches, evaluated)
    check_end(config, job.stop_at_step, console=job.workspace.console)
    return Look(config, train, validation, batches)
