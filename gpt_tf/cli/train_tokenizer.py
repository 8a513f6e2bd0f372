"""`gpt-tf train-tokenizer`: learn a byte-level BPE vocabulary."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click


@click.command("train-tokenizer")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--preset", help="Take the size and the cleaning options of this preset.")
@click.option("--vocab-size", type=int, help="Entries asked for, special tokens included.")
@click.option("--lower-case/--keep-case", default=None, help="Turn text to lower case.")
@click.option("--remove-punctuation/--keep-punctuation", default=None,
              help="Turn ASCII punctuation into blanks.")  # fmt: skip
@click.option("--set", "assignments", multiple=True, metavar="SECTION.KEY=VALUE",
              help="Change a setting of the preset.")  # fmt: skip
@click.option("--output", type=click.Path(path_type=Path),
              help="Where to write it; tokenizers/<corpus>/ where not given.")  # fmt: skip
def train_tokenizer(
    folder: Path | None,
    preset: str | None,
    vocab_size: int | None,
    lower_case: bool | None,
    remove_punctuation: bool | None,
    assignments: tuple[str, ...],
    output: Path | None,
) -> None:
    """Train a tokenizer on the training documents of FOLDER.

    Without FOLDER: the most recently prepared corpus, else sample reviews that gpt-tf writes
    itself. Validation documents are left out.
    """
    from gpt_tf.cli.console import note, progress_bar
    from gpt_tf.cli.workspace import choose_data, document_reader
    from gpt_tf.config import DataConfig
    from gpt_tf.config_files import parse_assignments, read_preset, resolve
    from gpt_tf.tokenizer.bpe import BPETokenizer

    flags: dict[str, Any] = {
        "vocab_size": vocab_size,
        "lower_case": lower_case,
        "remove_punctuation": remove_punctuation,
    }
    overrides = parse_assignments(assignments)
    data = resolve({"data": overrides.get("data", {})}).data if overrides else DataConfig()
    choice = choose_data(Path.cwd(), folder, data)
    given = {key: value for key, value in flags.items() if value is not None}
    config = resolve(read_preset(preset or choice.preset), overrides, {"tokenizer": given})
    settings = config.tokenizer
    read = document_reader(config.data)
    size = {"bytes": 0}

    start = time.perf_counter()
    with progress_bar("reading, then merging", "documents") as advance:

        def texts() -> Iterator[str]:
            for done, path in enumerate(choice.train, 1):
                text = read(path)
                size["bytes"] += len(text.encode())
                advance(done, len(choice.train))
                yield text

        tokenizer = BPETokenizer.train(
            texts(),
            vocab_size=settings.vocab_size,
            lower_case=settings.lower_case,
            remove_punctuation=settings.remove_punctuation,
        )
    elapsed = time.perf_counter() - start
    directory = output or choice.tokenizer_directory(Path.cwd())
    tokenizer.save(directory)
    if tokenizer.vocab_size < settings.vocab_size:
        note(f"the text has no more pairs to merge: asked for {settings.vocab_size:,} entries")
    sample = choice.train[:: max(1, len(choice.train) // 1000)]
    sample_texts = [read(path) for path in sample]
    tokens = sum(map(len, tokenizer.encode_batch(sample_texts)))
    bytes_a_token = sum(len(text.encode()) for text in sample_texts) / max(1, tokens)
    click.echo(
        f"{directory}: {tokenizer.vocab_size:,} entries, {bytes_a_token:.2f} bytes a token, "
        f"{size['bytes'] / 1e6:.1f} MB in {elapsed:.1f} s"
    )
