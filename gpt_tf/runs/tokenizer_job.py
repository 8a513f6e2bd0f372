"""What a person asks of `train-tokenizer`, and how it is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpt_tf.config_files import read_preset, resolve
from gpt_tf.errors import UsageError
from gpt_tf.runs.choosing_data import choose_data
from gpt_tf.runs.given import Given
from gpt_tf.runs.own_tokenizers import tell_replaced
from gpt_tf.runs.recent_data import data_meant
from gpt_tf.runs.tokenizer_records import TOKENIZERS, asked_for, tokenizer_directory
from gpt_tf.runs.tokenizer_training import make_tokenizer
from gpt_tf.runs.without_effect import refuse_idle
from gpt_tf.runs.workspace import Workspace
from gpt_tf.storage.targets import check_folder
from gpt_tf.streaming.finding import refuse_users_data
from gpt_tf.tokenizer.kinds import KINDS


@dataclass(frozen=True, kw_only=True)
class TokenizerJob:
    """A tokenizer to train.

    Attributes:
      data: a file, a folder or a pattern; else the newest prepared corpus, else sample reviews.
      preset: whose settings are taken; else that of the corpus.
      overrides: settings of any section laid over it.
      settings: settings of the tokenizer laid over both.
      given: where the user typed each setting.
      output: the folder to write; else the corpus's own, which is replaced.
      overwrite: a tokenizer in `output` is replaced, too.
    """

    workspace: Workspace
    data: Path | None
    preset: str | None
    overrides: Mapping[str, Any]
    settings: Mapping[str, Any]
    given: Given
    output: Path | None
    overwrite: bool


def train_tokenizer(job: TokenizerJob) -> str:
    """Train and save the tokenizer; a line on what came out.

    Raises:
      UsageError: for a mistake in data or settings, or a folder that may not be written.
    """
    workspace, console = job.workspace, job.workspace.console
    reading = [read_preset(job.preset) if job.preset else {}, job.overrides]
    data = resolve(*({"data": each.get("data", {})} for each in reading)).data
    meant = data_meant(workspace, job.data)
    choice = choose_data(workspace, meant.data, data, meant.validation)
    preset = read_preset(job.preset or choice.preset)
    config = resolve(preset, job.overrides, {"tokenizer": job.settings})
    kind, size = config.tokenizer.kind, job.settings.get("vocab_size")
    if size is not None and "vocab_size" not in KINDS[kind].settings:
        raise UsageError(
            f"--vocab-size {size} cannot be given with the kind {kind}, which takes what the text "
            "has. Leave it out, or choose --kind bpe."
        )
    if job.output is None:
        refuse_users_data(workspace.path / TOKENIZERS)
    if others := [key for key in job.given if not key.startswith(("tokenizer.", "data."))]:
        raise UsageError(
            f"no effect in --set: {others[0]} is not of a tokenizer or of data. Leave it out."
        )
    refuse_idle([config], choice, job.given)
    directory = job.output or tokenizer_directory(workspace, choice.name, choice.source)
    may_replace = job.overwrite or job.output is None
    check_folder(directory, "--output", overwrite=may_replace)
    record = asked_for(workspace, choice, config)
    tell_replaced(directory, record, console)
    made = make_tokenizer(
        choice, config, directory, record, option="--output", overwrite=may_replace
    )
    return f"{directory}: {made}"
