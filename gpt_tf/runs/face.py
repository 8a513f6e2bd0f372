"""`gpt_tf.train` and `gpt_tf.load`: the commands `train` and `generate` for Python programs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import Any

from gpt_tf.arguments import check_flags, path_of
from gpt_tf.config import Config
from gpt_tf.config_files import resolve
from gpt_tf.errors import UsageError
from gpt_tf.inference.loading import EngineName
from gpt_tf.quiet_libraries import set_up_devices
from gpt_tf.runs.assemble import begin
from gpt_tf.runs.console import SILENT, Console
from gpt_tf.runs.data_names import OWN_DATA, name_of_data, own_corpus
from gpt_tf.runs.finetuning import find_pretrained
from gpt_tf.runs.given import given_in_python
from gpt_tf.runs.in_python import in_python
from gpt_tf.runs.job import Job
from gpt_tf.runs.own_tokenizers import ready_tokenizer
from gpt_tf.runs.printed import Printed
from gpt_tf.runs.python_arguments import (
    OF_JOB,
    check_types,
    checked_writers,
    refuse_together,
    refuse_unknown,
    settings_of,
)
from gpt_tf.runs.recent_data import data_meant
from gpt_tf.runs.run import Run
from gpt_tf.runs.settings import choose_settings
from gpt_tf.runs.stopping import pass_on, tidied_up
from gpt_tf.runs.workspace import Workspace
from gpt_tf.storage import atomic
from gpt_tf.storage.checkpoint_files import Checkpoint
from gpt_tf.storage.manifest import read_manifest
from gpt_tf.storage.plain import read_plain
from gpt_tf.storage.run_directory import RunDirectory
from gpt_tf.streaming.finding import LIST
from gpt_tf.streaming.given_data import REMEDY, Data, listed


@in_python()
def train(
    data: Data | None = None,
    *,
    preset: str | None = None,
    set: Mapping[str, Any] | None = None,
    config: Config | None = None,
    tokenizer: str | PathLike[str] | None = None,
    name: str | None = None,
    workspace: str | PathLike[str] | None = None,
    **others: Any,
) -> Run:
    """Train a new run, and show its losses and sample texts while it is trained.

        run = gpt_tf.train("my_folder", preset="demo", max_steps=500)
        run.generate("Once upon a time", sampler="random", top_p=0.9)

    Args:
      data: a file, a folder or a pattern; a list of str, which are texts; or a list of Path, which
        are files. By default those that were prepared or trained on last, else sample reviews that
        gpt-tf writes itself.
      preset: the settings to begin with; `gpt_tf.presets()` lists them.
      set: settings laid over them: `{"model.num_layers": 4}` or `{"model": {"num_layers": 4}}`.
      config: all settings, in place of a preset.
      tokenizer: the folder of a ready one. By default that of the data, which is trained first if
        there is none.
      name: of the run; by default the preset's with a number.
      workspace: the folder in which data/, tokenizers/ and runs/ lie; by default the present one.
      others: settings of training by name, such as `max_steps`, `batch_size`, `seed`; and
        - `validation`: text to validate on; else a share of the data is set aside,
        - `pretrained`: fine-tune: begin with the weights, the tokenizer and the model of this run,
        - `train_tokenizer=True`: train the tokenizer again if it has other settings,
        - `overwrite=True`: replace the run called `name` when this one has a checkpoint,
        - `stop_at_step`: end earlier; the schedule keeps its horizon,
        - `writers`: objects that receive the numbers and texts, too, with the methods
          `write_scalars(step, scalars)`, `write_text(step, text)` and `close()`,
        - `quiet=True`: print nothing.

    Raises:
      UsageError: for a mistake in data, settings or names.
      RunError: for damage, a full disk, a loss that is not finite.
      KeyboardInterrupt: at Ctrl-C, after a checkpoint is saved; SIGTERM and SIGHUP end the program
        then. `gpt_tf.load(name).resume()` goes on.
    """
    set_up_devices()
    place = Workspace(
        path_of(workspace, "workspace") or Path.cwd(), _console(others.pop("quiet", False))
    )
    if not place.path.is_dir():
        raise UsageError(f"no such folder in workspace: {place.path}. Make it first.")
    of_job = {key: others.pop(key) for key in OF_JOB if key in others}
    refuse_unknown(others)
    check_types(preset, config, name, of_job)
    folder, pretrained = path_of(tokenizer, "tokenizer"), of_job.pop("pretrained", None)
    refuse_together(
        preset=preset, config=config, pretrained=pretrained, tokenizer=folder,
        train_tokenizer=of_job.get("train_tokenizer"),
    )  # fmt: skip
    settings = settings_of(set, others)
    given = given_in_python(config, settings, others)
    overrides = [settings, {"training": others} if others else {}]
    writers = checked_writers(of_job.pop("writers", None))
    validation = path_of(of_job.pop("validation", None), "validation")
    source, content = _source(data, place)
    source, validation = data_meant(place, source, validation)
    first = None if pretrained is None else find_pretrained(place, _name_of_run(pretrained))
    if config is None:
        preset, config = choose_settings(place, preset, source, overrides, first)
    else:
        config = resolve(*overrides, base=dataclasses.asdict(config))
    with _kept_unless_refused(source, content), tidied_up():
        if of_job.get("train_tokenizer") is None:
            has_one = folder is not None or first is not None or _has_tokenizer(place, source)
            of_job["train_tokenizer"] = not has_one
        job = Job(
            config=config,
            workspace=place,
            data=source,
            validation=validation,
            tokenizer=folder,
            pretrained=first,
            preset=preset or "run",
            name=name,
            given=given,
            writers=lambda resolved: writers,
            **of_job,
        )
        directory, outcome = begin(job)
    pass_on(outcome.signal)
    return Run(directory, place, outcome=outcome)


@in_python()
def load(
    run: str | PathLike[str] | RunDirectory | None = None,
    *,
    checkpoint: int | str | Checkpoint = "best",
    engine: EngineName = "tensorflow",
    quiet: bool = False,
) -> Run:
    """A run that was trained, imported or fine-tuned before.

        gpt_tf.load("demo-001").generate("This movie is")

    Args:
      run: its name in the present workspace, or its path; by default the newest.
      checkpoint: a step, also as digits; "best" (else the last), "last", or "stable", at which a
        rate that was held begins to fall.
      engine: what runs the model; "numpy" needs no TensorFlow, and "auto" takes it if it knows
        the model's settings, otherwise TensorFlow; "litert" has int8 weights, "litert-float32"
        exact ones, both converted once and kept in the run if it can be written.
      quiet: print nothing, neither now nor when the run is measured or resumed.

    Raises:
      UsageError: if there is no such run, no such checkpoint, or another tokenizer.
      RunError: if no checkpoint is intact.
    """
    set_up_devices()
    workspace = Workspace(Path.cwd(), _console(quiet))
    if isinstance(run, RunDirectory):
        directory = run
    else:
        path = path_of(run, "run")
        directory = workspace.run(None if path is None else str(path))
    found = _read(directory, checkpoint)
    loaded = Run(directory, workspace, engine=engine, checkpoint=found)
    _ = loaded.generator  # what is missing or damaged is said now
    return loaded


def _read(directory: RunDirectory, checkpoint: int | str | Checkpoint) -> Checkpoint:
    store = directory.checkpoints
    if isinstance(checkpoint, Checkpoint):
        name = checkpoint.name
        if name in store.names() and read_manifest(store.directory / name) == checkpoint.manifest:
            return checkpoint
        raise UsageError(
            f"not a checkpoint of {directory.path}: {name} is that of another run. Give a step, "
            "best or last."
        )
    return store.find(checkpoint, weights_only=True)


def _console(quiet: bool) -> Console:
    check_flags(quiet=quiet)
    return SILENT if quiet else Printed()


def _name_of_run(run: Any) -> str:
    return str(run.path if isinstance(run, Run) else path_of(run, "pretrained"))


def _source(data: Data | None, workspace: Workspace) -> tuple[Path | None, bytes | None]:
    """The place of the data; and what is to be written there, of texts or a list of files."""
    if data is None or isinstance(data, (str, PathLike)):
        return path_of(data, "data"), None
    if isinstance(data, Config):
        raise UsageError("settings in data. Give them as config=.")
    given = listed(data)
    if not given:
        raise UsageError(f"an empty list in data. {REMEDY}")
    if isinstance(given[0], str):
        lines = [json.dumps({"text": text}, ensure_ascii=False) for text in given]
        return _kept(workspace, "texts", ".jsonl", lines)
    folder = workspace.path / OWN_DATA
    paths = [os.path.relpath(path, folder) for path in given]
    if any("\n" in path for path in paths):
        raise UsageError("a line end in the name of a file in data. Rename it.")
    return _kept(workspace, "files", LIST, paths)


def _kept(workspace: Workspace, name: str, suffix: str, lines: Sequence[str]) -> tuple[Path, bytes]:
    """The place of a file with these lines, named by its contents; a later `resume` finds it."""
    content = os.fsencode("".join(f"{line}\n" for line in lines))
    digest = hashlib.sha256(content).hexdigest()[:8]
    return workspace.path / OWN_DATA / f"{name}-{digest}{suffix}", content


@contextmanager
def _kept_unless_refused(place: Path | None, content: bytes | None) -> Iterator[None]:
    """Write what training reads; a mistake that is found before training leaves no trace of it."""
    if place is None or content is None:
        yield
        return
    if os.path.lexists(place):
        _refuse_changed(place, content)
        yield
        return
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"not a folder: {place.parent}. Move it away.") from error
    atomic.write_bytes(place, content)
    try:
        yield
    except UsageError:
        place.unlink(missing_ok=True)
        with suppress(OSError):  # something else is in it
            place.parent.rmdir()
        raise


def _refuse_changed(place: Path, content: bytes) -> None:
    """Raise UsageError if what gpt-tf wrote of such a list is not what it was."""
    try:
        is_same = read_plain(place) == content
    except OSError:
        is_same = False
    if not is_same:
        raise UsageError(
            f"changed since gpt-tf wrote it: {place}, which holds the list in data. Move it away: "
            "it is written again."
        )


def _has_tokenizer(workspace: Workspace, source: Path | None) -> bool:
    """Whether the data have a tokenizer."""
    quietly = Workspace(workspace.path)
    corpus = own_corpus(quietly, source)
    place = None if corpus else source
    return ready_tokenizer(quietly, name_of_data(quietly, source), place) is not None
