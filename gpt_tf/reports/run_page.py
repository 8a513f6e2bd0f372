"""The page that `gpt-tf show` prints of one run."""

from __future__ import annotations

from gpt_tf.config_files import text_of
from gpt_tf.reports.drawing import drawable
from gpt_tf.reports.run_facts import RunFacts
from gpt_tf.reports.run_list import megabytes, when
from gpt_tf.reports.run_summary import FINISHED, STOPPED, TRAINING
from gpt_tf.reports.text_curve import text_curve
from gpt_tf.reports.text_table import Column, cut, fitted
from gpt_tf.storage.names import counted, printable
from gpt_tf.training.evaluation import METRICS

LONGEST_VALUE = 40  # characters of a setting
LONGEST_SAMPLE = 600
PARTS = {"train": "to train on", "validation": "to validate on"}


def overview(facts: RunFacts) -> list[tuple[str, str]]:
    """What a run is and what it has come to, by name."""
    summary = facts.summary
    of_data = [
        f"{counted(count, 'file')} {PARTS.get(part, part)}"
        for part, count in facts.files.items()
        if count
    ]
    if (tokens := facts.last_value("train/tokens_seen")) is not None:
        of_data.append(f"{tokens:,.0f} tokens seen")
    if (epochs := facts.last_value("train/epoch")) is not None:
        of_data.append(f"{epochs:.2f} epochs")
    rows = [
        ("run", f"{summary.run.name}: {_state(facts)}"),
        ("best", _best(facts)),
        ("data", ": ".join(filter(None, (summary.data or "unknown", ", ".join(of_data))))),
        ("tokenizer", _tokenizer(facts)),
        ("model", _model(facts)),
        ("begun with", facts.origin() or ""),
        ("rate", "; ".join(facts.rates)),
        ("time", "" if facts.seconds is None else f"{time_in_words(facts.seconds)} of training"),
        ("size", f"{megabytes(facts.bytes)} on the disk"),
        ("folder", str(summary.run.path)),
    ]
    return [(name, text) for name, text in rows if text]


def _state(facts: RunFacts) -> str:
    one = facts.summary
    last = f" of {one.max_steps:,}" if one.max_steps else ""
    at = f" at step {one.step:,}{last}" if one.state in (STOPPED, FINISHED, TRAINING) else ""
    return f"{one.state}{at}, last change {when(one.changed)}"


def _best(facts: RunFacts) -> str:
    one = facts.summary
    shown = [
        f"{metric.name.replace('_', ' ')} {one.figures[metric.name]:{metric.shown or '.3f'}}"
        for metric in METRICS
        if metric.name in one.figures
    ]
    return f"{', '.join(shown)}, at step {one.best_step:,}" if shown else ""


def _tokenizer(facts: RunFacts) -> str:
    kind, entries = (facts.settings.get(key) for key in ("tokenizer.kind", "model.vocab_size"))
    return f"{kind}, {entries:,} entries" if kind and entries else ""


def _model(facts: RunFacts) -> str:
    count, of = facts.summary.parameters, facts.settings
    words = [f"{count:,} parameters"] if count else []
    if of.get("model.architecture") == "gpt":
        words += [
            counted(of["model.num_layers"], "layer"),
            counted(of["model.num_heads"], "head"),
            f"width {of['model.embed_dim']:,}",
            f"context {of['model.context_length']:,}",
        ]
    return ", ".join(words)


def time_in_words(seconds: float) -> str:
    """A time in the two units that matter.

    >>> time_in_words(42), time_in_words(754), time_in_words(7_300)
    ('42 s', '12 min 34 s', '2 h 1 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"


def settings_table(facts: RunFacts, width: int) -> str:
    """The settings that differ from the defaults, a block for each section."""
    blocks: dict[str, list[tuple[str, str, str]]] = {}
    for key, values in facts.changed_settings().items():
        section, _, name = key.partition(".")
        value, default = (cut(printable(text_of(one)), LONGEST_VALUE) for one in values)
        blocks.setdefault(section, []).append((f"  {name}", value, f"(default {default})"))
    texts = []
    for section, rows in blocks.items():
        names, values, defaults = zip(*rows, strict=True)
        columns = [Column("", names), Column("", values), Column("", defaults, 1)]
        lines = fitted(columns, width).split("\n")[1:]
        texts.append("\n".join([section, *lines]))
    return "\n".join(texts)


def curve(facts: RunFacts, width: int, encoding: str | None) -> str:
    """The losses as characters."""
    training, validation = (drawable(facts.rows, name) for name in ("train/loss", "eval/loss"))
    return text_curve(training, validation, width, encoding)


def checkpoints_table(facts: RunFacts, width: int) -> str:
    """The checkpoints, oldest first."""
    rows = facts.checkpoints
    return fitted(
        [
            Column("step", [f"{one.step:,}" for one in rows], right=True),
            Column("loss", ["-" if one.loss is None else f"{one.loss:.4f}" for one in rows],
                   1, right=True),
            Column("size", [megabytes(one.bytes) for one in rows], 2, right=True),
            Column("", [", ".join(one.marks) for one in rows]),
        ],
        width,
    )  # fmt: skip


def sample_text(facts: RunFacts) -> str:
    """The last sample text, shortened."""
    if facts.sample is None:
        return ""
    _, text = facts.sample
    return text if len(text) <= LONGEST_SAMPLE else f"{text[:LONGEST_SAMPLE]} …"
