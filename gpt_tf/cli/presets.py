"""`gpt-tf presets`: the ready-made runs, or one of them with all that it sets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from gpt_tf.cli.help import Command
from gpt_tf.cli.values import PRESET

if TYPE_CHECKING:
    from gpt_tf.runs.preset_costs import Time
    from gpt_tf.runs.preset_facts import PresetFacts


LEGEND = (
    "GB: memory that training takes, estimated as by --dry-run",
    "min: measured on two cores; ~ from a measured preset; - depends on your data",
    "on this machine: gpt-tf train --preset NAME --dry-run --measure",
    "all about one: gpt-tf presets NAME",
)


@click.command(cls=Command)
@click.argument("name", required=False, type=PRESET)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, by name.")
def presets(name: str | None, as_json: bool) -> None:
    """List the presets, which are ready-made runs: size, tokenizer, cost and origin of each.

    With NAME: all that this preset sets.

    \b
      gpt-tf presets
      gpt-tf presets shakespeare-best
    """
    from gpt_tf.cli.console import result
    from gpt_tf.config_files import preset_names, read_preset
    from gpt_tf.runs.preset_facts import facts_of

    found = [facts_of(each) for each in ([name] if name else preset_names())]
    if as_json:
        wanted = {each.name: {**each.as_json(), "settings": read_preset(each.name)}
                  for each in found}  # fmt: skip
        click.echo(json.dumps(wanted, indent=2))
    elif name:
        _show(found[0])
    else:
        _list(found)
        result("")
        for line in LEGEND:
            result(line)


def _list(found: list[PresetFacts]) -> None:
    """A line for each."""
    from gpt_tf.cli.console import print_list
    from gpt_tf.reports.run_list import short_count

    rows = [("preset", f"{'size':>6}", "tokenizer", " GB", " min", "from")]
    for each in found:
        size = "RUN's" if each.parameters is None else short_count(each.parameters)
        memory = "  -" if each.memory is None else f"{each.memory / 1e9:3.1f}"
        time = "-" if each.time is None else f"{_about(each.time)}{each.time.minutes}"
        tokenizer = _short(each.tokenizer or "RUN's")
        rows.append((each.name, f"{size:>6}", tokenizer, memory, f"{time:>4}", each.origin))
    print_list(rows)


def _short(tokenizer: str) -> str:
    """A tokenizer with its size in thousands."""
    kind, _, size = tokenizer.partition(" ")
    return f"{kind} {round(int(size) / 1000, 1):g}k" if size else kind


def _about(time: Time) -> str:
    return "" if time.is_measured else "~"


def _time(time: Time | None) -> str:
    """Minutes of a training, and where they are from."""
    if time is None:
        return "depends on your data: add --dry-run --measure to the example"
    return f"{_about(time)}{time.minutes}, on two cores of a Xeon ({time.source})"


def _show(preset: PresetFacts) -> None:
    """All about one: what it is, then each setting that it sets."""
    from gpt_tf.cli.console import print_list, result
    from gpt_tf.config_files import flatten, read_preset, text_of
    from gpt_tf.config_help import settings_by_key

    rows = [("minutes", _time(preset.time))]
    if preset.parameters is not None:
        rows[:0] = [("parameters", f"{preset.parameters:,}"), ("tokenizer", str(preset.tokenizer)),
                    ("memory", f"{(preset.memory or 0) / 1e9:.1f} GB, estimated")]  # fmt: skip
    result(f"{preset.name}\n{preset.about}")
    print_list([*rows, ("example", preset.command)])
    result("")
    known = settings_by_key()
    settings = flatten(read_preset(preset.name))
    print_list([("setting", "value", "default")]
               + [(key, text_of(value), text_of(known[key].default))
                  for key, value in settings.items()])  # fmt: skip
