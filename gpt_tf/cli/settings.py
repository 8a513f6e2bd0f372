"""`gpt-tf settings`: what can be set, section by section, or one setting with all about it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from gpt_tf.cli.help import Command
from gpt_tf.cli.values import SECTION_OR_KEY

if TYPE_CHECKING:
    from gpt_tf.config_help import Setting


@click.command(cls=Command)
@click.argument("what", metavar="[SECTION|KEY]", required=False, type=SECTION_OR_KEY)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, by key.")
def settings(what: str | None, as_json: bool) -> None:
    """List the settings with their defaults; of a SECTION, or all about one KEY.

    A KEY is `training.patience`, or its last part. Any other word lists the settings whose name or
    sentence has it.

    \b
      gpt-tf settings training
      gpt-tf settings patience
      gpt-tf settings dropout
    """
    from gpt_tf import config_help
    from gpt_tf.cli.console import note, result

    exact: list[Setting] = []
    if what is None:
        found = [*config_help.settings_by_key().values()]
    elif section := config_help.section_called(what):
        found = config_help.in_section(section)
    else:
        exact = config_help.called(what)
        found = exact or config_help.mentioning(what)
    if not found:
        raise config_help.unknown_setting(str(what))
    if as_json:
        click.echo(json.dumps({each.key: _in_json(each) for each in found}, indent=2))
    elif exact:
        for each in exact:
            _show(each)
        if others := config_help.others_about(exact, str(what)):
            result("see also:")
            _list(others)
    elif what is None or section:
        for name in dict.fromkeys(each.section for each in found):
            result(f"\n{name}: {config_help.sections()[name]}")
            _list([each for each in found if each.section == name])
    else:
        result(f"no setting is called {what}; these are about it:")
        _list(found)
    if not exact:
        note(f"All about one: gpt-tf settings {found[0].key}")


def _list(found: list[Setting]) -> None:
    """A line for each: key, default, sentence with what can be given."""
    from gpt_tf.cli.console import print_list
    from gpt_tf.config_files import text_of

    print_list([(each.key, text_of(each.default), f"{each.help}{_bounds(each)}")
                for each in found])  # fmt: skip


def _bounds(setting: Setting) -> str:
    """What can be given, short; nothing where the kind of the default says it."""
    return f" [{setting.bounds}]" if setting.bounds else ""


def _show(setting: Setting) -> None:
    """All about one setting."""
    from gpt_tf.cli.console import print_list, result
    from gpt_tf.config_files import text_of

    result(f"{setting.key}\n{setting.help}")
    rows = [("default", text_of(setting.default)), ("value", setting.rule)]
    for value, names in _by_value(setting).items():
        rows.append(("presets", f"{value} in {', '.join(names)}"))
    rows.append(("example", _example(setting)))
    print_list(rows)
    result("")


def _example(setting: Setting) -> str:
    from gpt_tf.runs.setting_examples import example

    if setting.is_given:
        return f"gpt-tf train {example(setting)}"
    return "none: gpt-tf writes it"


def _by_value(setting: Setting) -> dict[str, list[str]]:
    """The presets that set it, by the value that they give it."""
    from gpt_tf.config_files import text_of
    from gpt_tf.config_help import values_in_presets

    found: dict[str, list[str]] = {}
    for name, value in values_in_presets()[setting.key].items():
        found.setdefault(text_of(value), []).append(name)
    return found


def _in_json(setting: Setting) -> dict[str, Any]:
    from gpt_tf.config_help import values_in_presets

    facts = {"help": setting.help, "default": setting.default, "kind": setting.kind}
    facts |= {"choices": list(setting.choices)} if setting.choices else {}
    bounds = {"minimum": setting.minimum, "maximum": setting.maximum}
    facts |= {name: bound for name, bound in bounds.items() if bound is not None}
    presets = dict(values_in_presets()[setting.key])
    return {**facts, "optional": setting.optional, "presets": presets,
            "example": _example(setting)}  # fmt: skip
