"""`gpt-tf generate`: continue a prompt with a trained GPT."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import click

POSITIVE = click.IntRange(min=1)


class FiniteRange(click.FloatRange):
    """A range of numbers that refuses nan and infinity, which compare their way through."""

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """The number, or a usage error."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


@click.command()
@click.option("--prompt", help="Text to continue; the run's own sample prompt where not given.")
@click.option("--run", "run_name", help="Run or its directory; the newest run where not given.")
@click.option("--sampler", type=click.Choice(["greedy", "beam", "random"]), default="greedy",
              show_default=True, help="How the next token is chosen.")  # fmt: skip
@click.option("--max-new-tokens", type=POSITIVE, help="Tokens to generate.")
@click.option("--num-beams", type=click.IntRange(min=1, max=64), help="Beams of the beam sampler.")
@click.option("--length-penalty", type=FiniteRange(),
              help="A beam scores log-probability / length ** this.")  # fmt: skip
@click.option("--temperature", type=FiniteRange(min=0, min_open=True),
              help="Random: below 1 sharper, above 1 flatter.")  # fmt: skip
@click.option("--top-k", type=POSITIVE, help="Random: only the k most likely tokens.")
@click.option("--top-p", type=FiniteRange(min=0, max=1, min_open=True),
              help="Random: only the most likely tokens that reach this probability.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0, max=2**63 - 1), help="Random: names the draw.")
@click.option("--truncate", type=click.Choice(["left"]),
              help="Shorten a prompt longer than the context instead of refusing it.")  # fmt: skip
def generate(
    prompt: str | None,
    run_name: str | None,
    sampler: str,
    max_new_tokens: int | None,
    truncate: str | None,
    **options: Any,
) -> None:
    """Continue a prompt with the best checkpoint of a run."""
    from gpt_tf.cli.console import note, printable
    from gpt_tf.config_files import read_config_file, resolve
    from gpt_tf.errors import UsageError
    from gpt_tf.storage.run_directory import find_run, newest_run

    given = {name: value for name, value in options.items() if value is not None}
    _refuse_unused(sampler, given)
    workspace = Path.cwd()
    run = find_run(workspace, run_name) if run_name else newest_run(workspace)
    sampling = resolve(read_config_file(run.config_file)).sampling
    if prompt is None:
        prompt = sampling.prompt
    run.checkpoints.best(weights_only=True)  # says what is missing before TensorFlow is loaded
    from gpt_tf.cli.tensorflow_quietly import import_tensorflow

    import_tensorflow()
    from gpt_tf.inference.loading import load

    generator = load(run)
    if "top_k" in given and given["top_k"] > generator.tokenizer.vocab_size:
        raise UsageError(
            f"too large in --top-k: {given['top_k']}. The vocabulary has "
            f"{generator.tokenizer.vocab_size} entries."
        )
    length, context = len(generator.prompt_ids(prompt)), generator.decoder.context_length
    if length > context and truncate is None:
        raise UsageError(
            f"prompt too long in --prompt: {length} tokens, the context has {context}. Shorten it, "
            "or use --truncate left to keep its end."
        )
    note(f"run: {run.path}  sampler: {sampler}")
    if sampler == "beam":
        given.setdefault("num_beams", sampling.num_beams)
        given.setdefault("length_penalty", sampling.length_penalty)
    text = generator.generate(
        prompt,
        sampler=sampler,
        max_new_tokens=max_new_tokens or sampling.max_new_tokens,
        **given,
    )
    shown = prompt + text
    click.echo(printable(shown) if sys.stdout.isatty() else shown)


def _refuse_unused(sampler: str, given: dict[str, Any]) -> None:
    """Raise where an option means nothing to this sampler."""
    used = {
        "greedy": set(),
        "beam": {"num_beams", "length_penalty"},
        "random": {"temperature", "top_k", "top_p", "seed"},
    }[sampler]
    for name, value in given.items():
        if name not in used:
            option = "--" + name.replace("_", "-")
            raise click.UsageError(f"{option} {value} has no effect with --sampler {sampler}.")
