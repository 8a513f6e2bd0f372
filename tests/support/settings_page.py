"""docs/SETTINGS.md, made from the settings in the code.

python tests/support/settings_page.py    write it again
"""

from pathlib import Path

from gpt_tf.config_files import text_of
from gpt_tf.config_help import Setting, sections, settings_by_key
from gpt_tf.other_names import SETTINGS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "SETTINGS.md"
COMMAND = "python tests/support/settings_page.py"
HEAD = f"""# Settings

Each row is a setting, with its name in its section, its default and what it can be. This page is
made from the code (`{COMMAND}`); the same is in
`gpt-tf settings`.

```
gpt-tf settings                     # all settings
gpt-tf settings training            # those of a section
gpt-tf settings patience            # all about one: range, presets that set it, an example
gpt-tf train --print-config         # the settings of a run, explained, as a file for --config
```

`--set section.key=value` changes one of them; it may be given again. `--config file.yaml` reads
many from a file. If a setting is given more than once, the later of these wins: its default,
`--preset`, `--config`, `--set`, and options such as `--max-steps`. Values are YAML 1.2. A text
needs quotes only if YAML would drop a part of it; the error message then shows them.
"""
COLUMNS = "| setting | default | value | |\n|---|---|---|---|\n"
OTHER_NAMES = """
## Names in other programs

If you type one of these, the error message names the setting here.

| elsewhere | here |
|---|---|
"""


def row(setting: Setting) -> str:
    """A line of a table."""
    default = text_of(setting.default).replace("|", r"\|")
    sentence = setting.help.replace("|", r"\|")
    return f"| `{setting.name}` | `{default}` | {setting.rule} | {sentence} |\n"


def page() -> str:
    """The whole page."""
    text = HEAD
    for section, sentence in sections().items():
        text += f"\n## {section}\n\n{sentence}\n\n{COLUMNS}"
        text += "".join(row(each) for each in settings_by_key().values() if each.section == section)
    others: dict[str, list[str]] = {}
    for name, ours in SETTINGS.items():
        others.setdefault(ours, []).append(f"`{name}`")
    rows = (f"| {', '.join(names)} | `{ours}` |\n" for ours, names in others.items())
    return text + OTHER_NAMES + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
