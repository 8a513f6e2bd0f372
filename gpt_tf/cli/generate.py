"""`gpt-tf generate`: continue a prompt, or many, with a trained GPT."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpt_tf.cli.options import (
    checkpoint_option,
    engine_option,
    overwrite_option,
    refuse_together,
    refuse_without,
)
from gpt_tf.cli.sampling_options import SamplingCommand, flag, sampling_options
from gpt_tf.cli.values import NAME, PLACE, RUN
from gpt_tf.errors import ParameterError, UsageError
from gpt_tf.inference.options import (
    OPTIONS,
    SAMPLERS,
    check_options,
    default_sampler,
    with_settings,
)

if TYPE_CHECKING:
    from gpt_tf.inference.loading import EngineName


@click.command(cls=SamplingCommand)
@click.option("--prompt", help="Text to continue, - for standard input (without its last "
              "line end); the default is the run's own sample prompt.")  # fmt: skip
@click.option(
    "--prompts-file", type=NAME, help="One prompt per line, empty lines too; - for standard input."
)
@click.option(
    "--run", "run_name", type=RUN, help="Run or its directory; the default is the newest run."
)
@checkpoint_option
@sampling_options
@engine_option
@click.option("--output", type=PLACE, help="Write text, ids and "
              "log-probabilities to this .jsonl file, - for standard output.")  # fmt: skip
@overwrite_option("the file that is in --output, even if gpt-tf did not write it")
@click.option("--show-probabilities", is_flag=True,
              help="Colour each token by its probability, and list the next best.")  # fmt: skip
@click.option("--interactive", is_flag=True, help="Continue what you type, line after line.")
@click.option("--raw", is_flag=True, help="Control characters as they are, also on a terminal.")
def generate(
    prompt: str | None,
    prompts_file: str | None,
    run_name: str | None,
    which: str,
    sampler: str | None,
    engine: EngineName,
    output: Path | None,
    overwrite: bool,
    show_probabilities: bool,
    interactive: bool,
    raw: bool,
    **options: Any,
) -> None:
    """Continue a prompt with a checkpoint of a run, by default the best.

    \b
      gpt-tf generate --prompt "The film" --sampler random --top-p 0.95
      gpt-tf generate --sampler beam --num-beams 3 --no-repeat-ngram 3
    """
    from gpt_tf.cli import console
    from gpt_tf.cli.output import STDOUT, check_output
    from gpt_tf.cli.prompts import prompts_of, refuse_too_long
    from gpt_tf.cli.tensorflow_quietly import import_tensorflow
    from gpt_tf.cli.workspace import current_workspace
    from gpt_tf.config_files import resolve_stored

    refuse_together(prompt=prompt, prompts_file=prompts_file, interactive=interactive or None)
    refuse_together(output=output, show_probabilities=show_probabilities or None,
                     interactive=interactive or None)  # fmt: skip
    refuse_without("output", output, overwrite=overwrite)
    given = {name: value for name, value in options.items() if value not in (None, ())}
    if sampler is None:
        sampler, asks = default_sampler(given)
        if asks is not None:
            console.note(f"sampler: {sampler}, because only drawing uses {flag(OPTIONS[asks])}")
    _refuse_following(
        sampler,
        given["num_samples"],
        {"--show-probabilities": show_probabilities, "--interactive": interactive},
    )
    if output is not None:
        if raw and output != STDOUT:
            raise UsageError(
                f"no effect in --raw: all characters are as they are in {output}. Leave it out."
            )
        check_output(output, overwrite=overwrite)
    run = current_workspace().run(run_name)
    checkpoint = run.checkpoints.find(which, weights_only=True)  # says what is missing early
    sampling = resolve_stored(checkpoint.manifest["config"]).sampling
    prompts = prompts_of(prompt, prompts_file, sampling.prompt or "")
    check_options(sampler, given)
    given = with_settings(sampler, given, sampling)
    from gpt_tf.runs.engines import load_quietly, settled

    engine = settled(engine, checkpoint, console)
    seconds = 0.0 if engine == "numpy" else import_tensorflow()
    from gpt_tf.cli import writing

    console.meanwhile(f"loading {run.name}")
    generator = load_quietly(run, engine, checkpoint, console)
    vocab_size = generator.tokenizer.vocab_size
    if given.get("top_k", 0) > vocab_size:
        raise ParameterError(
            f"too large in top_k: {given['top_k']}. The vocabulary has {vocab_size} entries.",
            "top_k",
        )
    if not interactive:
        refuse_too_long(generator, prompts, given.get("truncate"), prompts_file)
    console.note(f"run: {run.path}  checkpoint: {checkpoint.name}  sampler: {sampler}")
    writer = writing.Writer(generator, sampler, given, raw=raw, import_seconds=seconds)
    if interactive:
        writer.converse()
    elif output is not None:
        writer.write_file(prompts, output, overwrite=overwrite)
    elif show_probabilities:
        writer.show_probabilities(prompts)
    else:
        writer.print_texts(prompts)


def _refuse_following(sampler: str, num_samples: int, flags: Mapping[str, bool]) -> None:
    """Raise for a flag that follows one text, if there are several or none before the end."""
    others = {"--show-probabilities": "--output", "--interactive": "--prompt"}
    for name, is_given in flags.items():
        if is_given and (SAMPLERS[sampler].searches or num_samples > 1):
            raise UsageError(
                f"{name} follows one text token by token: not with --sampler {sampler} and "
                f"{num_samples} texts. Use {others[name]}."
            )
