"""`gpt-tf generate`: continue a prompt, or many, with a trained GPT."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpt_tf.cli.options import engine_option, overwrite_option, refuse_without
from gpt_tf.cli.values import NAME, PLACE, TEXT
from gpt_tf.config import FLOAT32_MAX, FLOAT32_MIN, in_float32
from gpt_tf.errors import UsageError

if TYPE_CHECKING:
    from gpt_tf.inference.loading import EngineName
    from gpt_tf.inference.text_generator import TextGenerator

FINITE = f"0, or from {FLOAT32_MIN:g} to {FLOAT32_MAX:g}"
POSITIVE = click.IntRange(min=1)
# also in gpt_tf.inference.options, which needs TensorFlow: a test holds them equal
SAMPLERS = ("greedy", "random", "beam", "diverse-beam", "contrastive")


class FiniteRange(click.FloatRange):
    """A range of numbers that refuses nan, and what float32 has only as infinity or 0."""

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """The number, or a usage error."""
        number = float(super().convert(value, param, ctx))
        if not in_float32(number):
            self.fail(f"{value} is not a finite number: {FINITE}.", param, ctx)
        return number


SHARE = FiniteRange(min=0, max=1, min_open=True)


@click.command()
@click.option("--prompt", help="Text to continue, - for standard input (without its last "
              "line end); the run's own sample prompt where not given.")  # fmt: skip
@click.option(
    "--prompts-file", type=NAME, help="A prompt a line, empty lines too; - for standard input."
)
@click.option(
    "--run", "run_name", type=NAME, help="Run or its directory; the newest run where not given."
)
@click.option("--sampler", type=click.Choice(SAMPLERS), default="greedy", show_default=True,
              help="How the next token is chosen.")  # fmt: skip
@click.option("--max-new-tokens", type=click.IntRange(min=1, max=100_000),
              help="Tokens to generate.")  # fmt: skip
@click.option("--num-samples", type=click.IntRange(min=1, max=1000), default=1,
              help="Texts for each prompt: draws of random, the best of beam.")  # fmt: skip
@click.option(
    "--stop", multiple=True, type=TEXT, help="End a text before this string; may be given again."
)
@click.option("--seed", type=click.IntRange(min=0, max=2**63 - 1), help="Random: names the draw.")
@click.option("--temperature", type=FiniteRange(min=0, min_open=True),
              help="Random: below 1 sharper, above 1 flatter.")  # fmt: skip
@click.option("--top-k", type=POSITIVE, help="Random, contrastive: only the k likeliest tokens.")
@click.option("--top-p", type=SHARE,
              help="Random: only the likeliest tokens that reach this probability.")  # fmt: skip
@click.option("--min-p", type=FiniteRange(min=0, max=1),
              help="Random: only tokens this fraction as likely as the likeliest.")  # fmt: skip
@click.option("--typical", type=SHARE, help="Random: only the tokens nearest to the expected "
              "surprise that reach this probability.")  # fmt: skip
@click.option("--num-beams", type=click.IntRange(min=1, max=64), help="Beam: how many to keep.")
@click.option("--length-penalty", type=FiniteRange(min=-10, max=10),
              help="Beam: the score is log-probability / length ** this.")  # fmt: skip
@click.option("--num-beam-groups", type=POSITIVE, help="Diverse beam: groups that differ.")
@click.option("--diversity-penalty", type=FiniteRange(min=0),
              help="Diverse beam: what a token of another group costs.")  # fmt: skip
@click.option("--alpha", type=FiniteRange(min=0, max=1),
              help="Contrastive: weight of being unlike earlier tokens.")  # fmt: skip
@click.option("--repetition-penalty", type=FiniteRange(min=0, min_open=True),
              help="Above 1: tokens already in the text are less likely.")  # fmt: skip
@click.option("--no-repeat-ngram", type=POSITIVE,
              help="No sequence of so many tokens occurs twice.")  # fmt: skip
@click.option("--ban", "banned_words", multiple=True, type=TEXT, metavar="WORD",
              help="Never write this word; may be given again.")  # fmt: skip
@click.option("--logit-bias", multiple=True, type=TEXT, metavar="ID=BIAS",
              help="Add to a token's logit; may be given again.")  # fmt: skip
@click.option("--past-context", type=click.Choice(["slide", "half"]), default="slide",
              show_default=True, help="Beyond the context: encode the last tokens anew for every "
              "token, exact; or keep the newer half, fast.")  # fmt: skip
@click.option("--truncate", type=click.Choice(["left"]),
              help="Shorten a prompt longer than the context instead of refusing it.")  # fmt: skip
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
    sampler: str,
    engine: EngineName,
    output: Path | None,
    overwrite: bool,
    show_probabilities: bool,
    interactive: bool,
    raw: bool,
    **options: Any,
) -> None:
    """Continue a prompt with the best checkpoint of a run.

    \b
      gpt-tf generate --prompt "The film" --sampler random --temperature 0.8 --top-p 0.95
      gpt-tf generate --sampler beam --num-beams 3 --no-repeat-ngram 3
    """
    from gpt_tf.cli import console
    from gpt_tf.cli.output import STDOUT, check_output
    from gpt_tf.cli.tensorflow_quietly import import_tensorflow
    from gpt_tf.config_files import resolve_stored
    from gpt_tf.runs.workspace import Workspace

    _refuse_together(prompt=prompt, prompts_file=prompts_file, interactive=interactive or None)
    _refuse_together(output=output, show_probabilities=show_probabilities or None,
                     interactive=interactive or None)  # fmt: skip
    refuse_without("output", output, overwrite=overwrite)
    for option, is_given, other in (
        ("--show-probabilities", show_probabilities, "--output"),
        ("--interactive", interactive, "--prompt"),
    ):
        if is_given and ("beam" in sampler or options["num_samples"] > 1):
            raise UsageError(
                f"{option} follows one text token by token: not with --sampler {sampler} and "
                f"{options['num_samples']} texts. Use {other}."
            )
    if output is not None:
        if raw and output != STDOUT:
            raise UsageError(
                f"no effect in --raw: all characters are as they are in {output}. Leave it out."
            )
        check_output(output, overwrite=overwrite)
    run = Workspace(Path.cwd(), console).run(run_name)
    checkpoint = run.checkpoints.best(weights_only=True)  # says what is missing before TensorFlow
    sampling = resolve_stored(checkpoint.manifest["config"]).sampling
    prompts = _prompts(prompt, prompts_file, sampling.prompt)
    given = {name: value for name, value in options.items() if value is not None}
    given["logit_bias"] = _logit_bias(given.pop("logit_bias"))
    seconds = import_tensorflow()
    from gpt_tf.cli import writing
    from gpt_tf.inference.options import check_options
    from gpt_tf.runs.engines import load_quietly

    own = {name: given[name] for name in given if name not in writing.NOT_OF_SAMPLERS}
    check_options(sampler, own)
    if sampler in ("beam", "diverse-beam"):
        given.setdefault("num_beams", sampling.num_beams)
        given.setdefault("length_penalty", sampling.length_penalty)
    given.setdefault("max_new_tokens", sampling.max_new_tokens)
    generator = load_quietly(run, engine, checkpoint, console)
    vocab_size = generator.tokenizer.vocab_size
    if given.get("top_k", 0) > vocab_size:
        raise UsageError(
            f"too large in --top-k: {given['top_k']}. The vocabulary has {vocab_size} entries."
        )
    if not interactive:
        _refuse_too_long(generator, prompts, given.get("truncate"), prompts_file)
    console.note(f"run: {run.path}  sampler: {sampler}")
    writer = writing.Writer(generator, sampler, given, raw=raw, import_seconds=seconds)
    if interactive:
        writer.converse()
    elif output is not None:
        writer.write_file(prompts, output, overwrite=overwrite)
    elif show_probabilities:
        writer.show_probabilities(prompts)
    else:
        writer.print_texts(prompts)


def _prompts(prompt: str | None, prompts_file: str | None, own: str) -> list[str]:
    """The prompts asked for; at least one."""
    from gpt_tf.cli.prompts import STDIN, prompt_of_standard_input, read_prompts

    if prompts_file is not None:
        return read_prompts(prompts_file)
    if prompt == STDIN:
        return [prompt_of_standard_input()]
    return [own if prompt is None else prompt]


def _logit_bias(biases: tuple[str, ...]) -> dict[int, float] | None:
    found: dict[int, float] = {}
    for text in biases:
        token_id, _, bias = text.partition("=")
        try:
            number, value = int(token_id), float(bias)
        except ValueError:
            raise UsageError(
                f"not understood in --logit-bias: {text}. Give ID=BIAS, as in 17=-2.5."
            ) from None
        if not in_float32(value):
            raise UsageError(f"not a finite number in --logit-bias: {text}. Give {FINITE}.")
        if number in found:
            raise UsageError(f"repeated id in --logit-bias: {number}. Give one bias for it.")
        found[number] = value
    return found or None


def _refuse_together(**options: Any) -> None:
    """Raise where more than one is given."""
    given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value is not None]
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given)} exclude each other. Give one.")


def _refuse_too_long(
    generator: TextGenerator, prompts: list[str], truncate: str | None, prompts_file: str | None
) -> None:
    """Raise for a prompt longer than the context, unless it is to be shortened."""
    context = generator.engine.context_length
    for number, prompt in enumerate(prompts, 1):
        length = len(generator.prompt_ids(prompt))
        if length > context and truncate is None:
            place = f"line {number} of --prompts-file" if prompts_file else "--prompt"
            raise UsageError(
                f"prompt too long in {place}: {length} tokens, the context has {context}. Shorten "
                "it, or use --truncate left to keep its end."
            )
