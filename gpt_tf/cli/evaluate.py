"""`gpt-tf evaluate`: loss, perplexity, accuracy and bits per byte of a run on a whole split."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpt_tf.cli.options import engine_option
from gpt_tf.cli.values import DATA, NAME, PLACE, TEXT
from gpt_tf.errors import NoSuchRunError, UsageError

if TYPE_CHECKING:
    from gpt_tf.config import Config
    from gpt_tf.inference.loading import EngineName
    from gpt_tf.runs.data import DataChoice
    from gpt_tf.runs.run_data import Moved
    from gpt_tf.storage.checkpoint import Checkpoint
    from gpt_tf.storage.run_directory import RunDirectory
    from gpt_tf.streaming.batches import Batch
    from gpt_tf.streaming.stream import TokenStream


@click.command()
@click.argument("run_name", metavar="[RUN]", required=False, type=NAME)
@click.argument("data", required=False, type=DATA)
@click.option("--split", type=click.Choice(["validation", "test", "train"]),
              help="The part of the run's own data; validation where not given.")  # fmt: skip
@click.option("--data", "data_now", type=PLACE, metavar="PLACE",
              help="Where the run's own data are now, if they moved.")  # fmt: skip
@click.option("--validation-data", "validation_now", type=PLACE,
              metavar="PLACE", help="The same for data given with --validation-data.")  # fmt: skip
@click.option("--set", "assignments", multiple=True, type=TEXT, metavar="data.KEY=VALUE",
              help="How DATA is read, if not as the run's own data.")  # fmt: skip
@engine_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def evaluate(
    run_name: str | None,
    data: Path | None,
    split: str | None,
    data_now: Path | None,
    validation_now: Path | None,
    assignments: tuple[str, ...],
    engine: EngineName,
    as_json: bool,
) -> None:
    """Measure the best checkpoint of RUN, by default the newest run.

    On the whole split of its own data, or on all of DATA: a file, a folder or a pattern. Windows do
    not overlap, the last one, not full, counts too; padded windows cut long documents, as in
    training, and the share is printed.
    """
    from gpt_tf.cli.console import print_table
    from gpt_tf.config_files import resolve_stored
    from gpt_tf.runs.run_data import Moved
    from gpt_tf.runs.without_effect import given_settings, refuse_idle
    from gpt_tf.storage.run_directory import find_run, newest_run

    moved = Moved(data_now, validation_now)
    if assignments and data is None:
        raise click.UsageError("--set is for DATA; the run's own data are read as in training.")
    if data is not None and moved != Moved():
        raise click.UsageError("--data and --validation-data are for the run's own data, not DATA.")
    if data is not None and split is not None:
        raise click.UsageError("--split is for the run's own data; of DATA all is measured.")
    split = split or "validation"

    workspace = Path.cwd()
    try:
        run = find_run(workspace, run_name) if run_name else newest_run(workspace)
    except NoSuchRunError as error:
        if data is not None or not run_name:
            raise
        raise UsageError(f"{error} {_as_data(workspace, run_name)}") from error
    # says what is missing before TensorFlow is loaded
    checkpoint = run.checkpoints.best(weights_only=True)
    config = resolve_stored(checkpoint.manifest["config"])
    if data is not None:
        config = _reading(config, assignments)
    from gpt_tf.cli.tensorflow_quietly import import_tensorflow

    part = "train" if split == "train" and not data else "validation"
    with tempfile.TemporaryDirectory(prefix="gpt-tf-") as scratch:
        if data is not None:
            choice = _of_other_text(Path(scratch), config, data)
            refuse_idle([config], choice, given_settings(assignments))
        else:
            choice = _of_own_data(workspace, run, checkpoint, config, moved, split)
        import_tensorflow()
        figures = _measure(run, checkpoint, config, choice, part, engine, Path(scratch))
    figures = {"run": run.name, "split": str(data or split), "engine": engine, **figures}
    if as_json:
        click.echo(json.dumps({key: _in_json(value) for key, value in figures.items()}))
    else:
        print_table("", ("what", "value"), [(key, _shown(value)) for key, value in figures.items()])


def _as_data(workspace: Path, name: str) -> str:
    """What to say if the only argument is not a run: it may be meant as DATA."""
    from gpt_tf.storage.run_directory import all_runs

    if not os.path.lexists(name):
        return "There is no file or folder of that name to measure a run on, either."
    runs = all_runs(workspace)
    run = runs[-1].called(workspace) if len(runs) == 1 else "RUN"
    return f"To measure a run on that text: `gpt-tf evaluate {run} {shlex.quote(name)}`."


def _reading(config: Config, assignments: tuple[str, ...]) -> Config:
    """The run's settings with others of how documents are read."""
    from gpt_tf.config_files import parse_assignments, resolve

    given = parse_assignments(assignments)
    if others := given.keys() - {"data"}:
        raise UsageError(f"no effect in --set: {min(others)}. Only the section data is for DATA.")
    return resolve(given, base=dataclasses.asdict(config))


def _of_other_text(scratch: Path, config: Config, data: Path) -> DataChoice:
    """All of `data`, to measure on as "validation"; its token store is made in `scratch`."""
    from gpt_tf.runs.data import choose_data

    choice = choose_data(scratch, data, dataclasses.replace(config.data, validation_share=0.0))
    return dataclasses.replace(choice, validation=choice.train, distinct=True)


def _of_own_data(
    workspace: Path,
    run: RunDirectory,
    checkpoint: Checkpoint,
    config: Config,
    moved: Moved,
    split: str,
) -> DataChoice:
    """The documents of a split of the run's data; those of "test" stand as "validation"."""
    from gpt_tf.cli.console import note
    from gpt_tf.runs.resuming import data_changes
    from gpt_tf.runs.run_data import Moved, data_of_run
    from gpt_tf.streaming.corpora.corpus import load_corpus

    command = f"gpt-tf evaluate {run.called(workspace)}"
    choice = data_of_run(workspace, run, config.data, moved, command)
    changed = data_changes(run, checkpoint, choice, keep_digests=False)
    if changed and moved == Moved():
        note(f"{changed}\nWhat is measured is not what the run was trained and validated on.")
    elif changed:
        raise UsageError(
            f"{changed}\nGive the place of the same files, or measure on others: `{command} DATA`."
        )
    if split == "test":
        if choice.source is not None:
            raise UsageError("no test part in a corpus of your own: test. Give its file as DATA.")
        choice = dataclasses.replace(
            choice, validation=load_corpus(choice.directory).documents("test")
        )
    if not (choice.train if split == "train" else choice.validation):
        raise UsageError(f"no documents in the part of {choice.name}: {split}. Give DATA.")
    return choice


def _measure(
    run: RunDirectory,
    checkpoint: Checkpoint,
    config: Config,
    choice: DataChoice,
    split: str,
    engine: EngineName,
    scratch: Path,
) -> dict[str, Any]:
    """The figures by name, exact and in float32, or with int8 weights.

    Args:
      scratch: a folder for what cannot be kept where it belongs.
    """
    from gpt_tf.cli.console import note, progress_bar
    from gpt_tf.cli.engines import load_quietly
    from gpt_tf.inference import scoring
    from gpt_tf.runs.streams import open_stream, unknown_words
    from gpt_tf.tokenizer.files import tokenizer_sha256
    from gpt_tf.training.evaluator import evaluate, make_scores_of

    generator = load_quietly(run, engine, checkpoint)
    stream = open_stream(
        config,
        choice,
        split,
        generator.tokenizer,
        tokenizer_sha256(run.tokenizer),
        windows="padded" if config.data.windows == "padded" else "packed",
        shuffle=False,
        epochs=1,
        allow_partial=True,
        scratch_directory=scratch,
    )
    if unknown := unknown_words(stream, generator.tokenizer):
        note(f"warning: {unknown}. The figures measure little else.")
    shape = (config.training.batch_size, config.model.context_length)
    if engine != "tensorflow":
        scores_of = scoring.make_scores_of(generator.engine)
    else:
        scores_of = make_scores_of(generator.model, shape, xla=config.training.xla == "on")
    with stream, progress_bar("evaluating", "batches") as advance:
        result = evaluate(
            scores_of, _counted(stream, advance), token_bytes_V=generator.tokenizer.token_bytes()
        )
    assert result is not None, "nothing stops this evaluation"
    contents = stream.contents()
    return {
        "loss": result.loss,
        "perplexity": result.perplexity,
        "accuracy": result.accuracy,
        "bits_per_byte": result.bits_per_byte,
        "tokens": result.tokens,
        "documents": contents.documents,
        "cut_share": contents.cut,
    }


def _in_json(value: Any) -> Any:
    """The value, or None for a number that JSON has no way to write."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _counted(stream: TokenStream, advance: Any) -> Iterator[Batch]:
    for done, batch in enumerate(stream, 1):
        yield batch
        advance(done, len(stream))


def _shown(value: Any) -> Any:
    return f"{value:.4f}" if isinstance(value, float) else value
