"""The README's tables of samplers and their options, made from those in the code.

python tests/support/readme_tables.py    write it again
"""

from pathlib import Path

from gpt_tf.cli.sampling_options import flag
from gpt_tf.inference.options import OPTIONS, SAMPLERS, users

README = Path(__file__).resolve().parents[2] / "README.md"
BEGIN, END = "<!-- sampling options: begin -->\n", "<!-- sampling options: end -->\n"


def table() -> str:
    """A line for each sampler, then one for each option."""
    lines = ["| sampler | what it writes |", "|---|---|"]
    lines += [f"| `{name}` | {entry.help} |" for name, entry in SAMPLERS.items()]
    lines += ["", "| option | sampler | value | default | |", "|---|---|---|---|---|"]
    for option in OPTIONS.values():
        in_python = option.kind == "sequences"
        name = f"`{option.name}`, in Python" if in_python else f"`{flag(option)}`"
        names = "all" if option.is_for_all else ", ".join(f"`{name}`" for name in users(option))
        value = {
            "texts": "a text; may be given again",
            "biases": "`ID=BIAS`; may be given again",
        }.get(option.kind, option.rule)
        default = option.default_in_words or "–"
        lines.append(f"| {name} | {names} | {value} | {default} | {option.help} |")
    return "".join(f"{line}\n" for line in lines)


def in_readme() -> str:
    """The table that the README has."""
    return README.read_text().partition(BEGIN)[2].partition(END)[0]


if __name__ == "__main__":
    before, begin, rest = README.read_text().partition(BEGIN)
    README.write_text(f"{before}{begin}{table()}{END}{rest.partition(END)[2]}")
