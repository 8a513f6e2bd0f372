"""`gpt-tf train-tokenizer`: learn a vocabulary from text."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpt_tf.cli.options import overwrite_option, preset_option, refuse_without
from gpt_tf.cli.values import DATA, PLACE, TEXT
from gpt_tf.errors import UsageError

if TYPE_CHECKING:
    from gpt_tf.config import Config
    from gpt_tf.runs.data import DataChoice


@click.command("train-tokenizer")
@click.argument("data", required=False, type=DATA)
@preset_option("Take the size and the cleaning of a preset")
@click.option("--kind", type=click.Choice(["bpe", "wordpiece", "char"]),
              help="Byte-level BPE, WordPiece, or one entry a character.")  # fmt: skip
@click.option("--vocab-size", type=int, help="Entries asked for, special tokens included.")
@click.option("--lower-case/--keep-case", default=None, help="Turn text to lower case.")
@click.option("--remove-punctuation/--keep-punctuation", default=None,
              help="Turn ASCII punctuation into blanks.")  # fmt: skip
@click.option("--set", "assignments", multiple=True, type=TEXT, metavar="SECTION.KEY=VALUE",
              help="Change a setting of the preset.")  # fmt: skip
@click.option("--output", type=PLACE,
              help="The folder to write; the default is tokenizers/<corpus>/, where the corpus's "
              "own tokenizer is replaced.")  # fmt: skip
@overwrite_option("a tokenizer that is in --output; with any other file in it, it is refused")
def train_tokenizer(
    data: Path | None,
    preset: str | None,
    kind: str | None,
    vocab_size: int | None,
    lower_case: bool | None,
    remove_punctuation: bool | None,
    assignments: tuple[str, ...],
    output: Path | None,
    overwrite: bool,
) -> None:
    """Train a tokenizer on the training documents of DATA, a file, a folder or a pattern.

    Without it: the most recently prepared corpus, else sample reviews that gpt-tf writes
    itself. Validation documents are left out.
    """
    from gpt_tf.cli.console import result
    from gpt_tf.config_files import parse_assignments, read_preset, resolve
    from gpt_tf.runs.data import choose_data
    from gpt_tf.runs.own_tokenizers import TOKENIZERS, asked_for, tell_replaced, tokenizer_directory
    from gpt_tf.runs.without_effect import given_settings, refuse_idle
    from gpt_tf.storage.targets import check_folder
    from gpt_tf.streaming.finding import refuse_users_data

    refuse_without("output", output, overwrite=overwrite)
    flags: dict[str, Any] = {
        "kind": kind,
        "vocab_size": vocab_size,
        "lower_case": lower_case,
        "remove_punctuation": remove_punctuation,
    }
    overrides = parse_assignments(assignments)
    settings_given = (read_preset(preset) if preset else {}, overrides)
    layers = [{"data": each.get("data", {})} for each in settings_given]
    choice = choose_data(Path.cwd(), data, resolve(*layers).data)
    given = {key: value for key, value in flags.items() if value is not None}
    config = resolve(read_preset(preset or choice.preset), overrides, {"tokenizer": given})
    if vocab_size is not None and config.tokenizer.kind == "char":
        raise UsageError(
            f"--vocab-size {vocab_size} cannot be given with the kind char: its entries are the "
            "characters of the text. Leave it out, or choose --kind bpe."
        )
    workspace = Path.cwd()
    if output is None:
        refuse_users_data(workspace / TOKENIZERS)
    typed = given_settings(assignments, kind=kind)
    if others := [key for key in typed if not key.startswith(("tokenizer.", "data."))]:
        raise UsageError(
            f"no effect in --set: {others[0]} is not of a tokenizer or of data. Leave it out."
        )
    refuse_idle([config], choice, typed)
    directory = output or tokenizer_directory(workspace, choice.name, choice.source)
    may_replace = overwrite or output is None
    check_folder(directory, "--output" if output else None, overwrite=may_replace)
    record = asked_for(workspace, choice, config)
    tell_replaced(directory, record)
    line = make_tokenizer(
        choice, config, directory, record, option="--output", overwrite=may_replace
    )
    result(line)


def make_tokenizer(
    choice: DataChoice,
    config: Config,
    directory: Path,
    trained_on: dict[str, Any] | None = None,
    *,
    option: str | None = None,
    overwrite: bool = True,
) -> str:
    """Train a tokenizer on the training documents, save it, and say in a line what came out.

    Args:
      trained_on: the record of it that is saved beside it.
      option: that named `directory`.
      overwrite: one that is in `directory` by then is replaced.

    Raises:
      UsageError: if another process has made one there meanwhile that may not be replaced.
    """
    from gpt_tf.cli.console import note, progress_bar
    from gpt_tf.tokenizer.kinds import train

    settings = config.tokenizer
    size = {"bytes": 0}
    start = time.perf_counter()
    with progress_bar("reading, then counting", "bytes") as advance:

        def texts() -> Iterator[str]:
            for text in choice.training_texts(config.data, advance):
                size["bytes"] += len(text.encode())
                yield text

        tokenizer = train(
            settings.kind,
            texts(),
            vocab_size=settings.vocab_size,
            lower_case=settings.lower_case,
            remove_punctuation=settings.remove_punctuation,
            unknown_characters=settings.unknown_characters,
            num_merges=settings.num_merges,
            min_frequency=settings.min_frequency,
        )
    elapsed = time.perf_counter() - start
    tokenizer.save(directory, option=option, overwrite=overwrite, trained_on=trained_on)
    by_size = settings.kind != "char" and settings.num_merges is None
    if by_size and tokenizer.vocab_size < settings.vocab_size:
        rare = settings.min_frequency > 1
        pairs = f"pairs that occur {settings.min_frequency:,} times" if rare else "pairs to merge"
        note(f"the text has no more {pairs}: asked for {settings.vocab_size:,} entries")
    sample_texts = list(choice.sample_texts(config.data))
    tokens = sum(map(len, tokenizer.encode_batch(sample_texts)))
    bytes_a_token = sum(len(text.encode()) for text in sample_texts) / max(1, tokens)
    return (
        f"{directory}: {tokenizer.vocab_size:,} entries, {bytes_a_token:.2f} bytes a token, "
        f"{size['bytes'] / 1e6:.1f} MB in {elapsed:.1f} s"
    )
