"""The tokenizer that a run gets: the one that was chosen, with the cleaning that is asked for."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from gpt_tf.config import Config
from gpt_tf.runs.console import Console
from gpt_tf.runs.job import Job
from gpt_tf.runs.own_tokenizers import tell_unlike
from gpt_tf.runs.tokenizer_records import record_of
from gpt_tf.runs.without_effect import refuse_for_ready_tokenizer, refuse_vocabulary
from gpt_tf.storage.manifest import MANIFEST
from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.tokenizer.cleaned import cleaned, settings_of
from gpt_tf.tokenizer.files import copy_tokenizer
from gpt_tf.tokenizer.kinds import CLEANING
from gpt_tf.tokenizer.round_trip import what_is_lost

REMEDY = "Add --train-tokenizer to train the one asked for"


def write_tokenizer(config: Config, source: Path, directory: Path, console: Console) -> Tokenizer:
    """Write a run's copy of a tokenizer; the copy cleans text as `config` asks for.

    The tokenizer is read from the copy, because another process may replace `source` at any time.

    Args:
      source: the folder of the tokenizer.
      directory: of the copy.

    Raises:
      UsageError: if there is no tokenizer, or one that is refused.
      RunError: if it is damaged.
    """
    Tokenizer.load(source)  # an error names this folder, not the copy
    copy_tokenizer(source, directory)
    loaded = Tokenizer.load(directory)
    is_own = (source / MANIFEST).exists()
    if not is_own and (lost := what_is_lost(loaded)):
        console.note(f"warning: the tokenizer in {source}: {lost}")
    asked, does = dataclasses.asdict(config.tokenizer), settings_of(loaded)
    lacking = {key: asked[key] and not does[key] for key in CLEANING}
    if any(lacking.values()):
        named = " and ".join(f"tokenizer.{key}" for key in CLEANING if lacking[key])
        verb = "ask" if all(lacking.values()) else "asks"
        console.note(f"the run's copy of the tokenizer cleans text first, as {named} {verb} for")
        loaded = cleaned(loaded, **lacking)
        loaded.save(directory, overwrite=True, option=None)
    return loaded


def as_followed(config: Config, tokenizer: Tokenizer, console: Console) -> Config:
    """The settings with what the tokenizer does; says what is not as it was asked for."""
    asked = dataclasses.asdict(config.tokenizer)
    for key, value in settings_of(tokenizer).items():
        if asked[key] != value:
            shown = str(value).lower() if isinstance(value, bool) else value
            console.note(f"tokenizer.{key} is {shown} in this run, as in its tokenizer")
            asked[key] = value
    return dataclasses.replace(config, tokenizer=dataclasses.replace(config.tokenizer, **asked))


def as_the_tokenizer(job: Job, tokenizer: Tokenizer) -> Config:
    """The job's settings with the cleaning that the tokenizer does, and its size.

    Raises:
      UsageError: if the user gave the model another size.
    """
    config = as_followed(job.config, tokenizer, job.workspace.console)
    if job.pretrained is not None:  # it may have more entries than its tokenizer
        return config
    refuse_vocabulary(config, job.given, tokenizer.vocab_size, "add --train-tokenizer")
    model = dataclasses.replace(config.model, vocab_size=tokenizer.vocab_size)
    return dataclasses.replace(config, model=model)


def check_ready(job: Job, source: Path) -> None:
    """Refuse settings of a tokenizer if the one at `source`, which is ready, has others.

    Those of a preset or a file are noted, unless the user named the tokenizer.

    Raises:
      UsageError: naming each, and how another tokenizer is trained.
    """
    another = ""
    if job.pretrained is None:
        instead = "add" if job.tokenizer is None else "give, instead of --tokenizer,"
        another = f", or {instead} --train-tokenizer to train another"
    refuse_for_ready_tokenizer(job.config, job.given, record_of(source), another)
    if job.pretrained is None and job.tokenizer is None:
        tell_unlike(source, job.config, job.workspace.console, REMEDY)
