"""The texts that tell of a training: of a log interval, an evaluation, an epoch; its samples."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

from gpt_tf.training.evaluation import SHOWN

Scalars = Mapping[str, float]
GAP = "  "
SLOW_DATA = 0.05  # share of the time spent waiting for data that is worth a word
LEVELS = "▁▂▃▄▅▆▇█"


def duration(seconds: float) -> str:
    """Hours, minutes and seconds.

    >>> duration(75.4), duration(3675)
    ('01:15', '1:01:15')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"


def short(number: float) -> str:
    """A learning rate in few characters.

    >>> short(0.003), short(0.00029512), short(0.0)
    ('3e-3', '2.95e-4', '0')
    """
    digits, _, exponent = f"{number:.2e}".partition("e")
    digits = digits.rstrip("0").rstrip(".")
    return f"{digits}e{int(exponent)}" if number else "0"


def operations(gflops: float) -> str:
    """Operations per second of the model.

    >>> operations(7.25), operations(71.6), operations(2500.0)
    ('7.2 GFLOP/s', '72 GFLOP/s', '2.5 TFLOP/s')
    """
    if gflops >= 1000:
        return f"{gflops / 1000:.1f} TFLOP/s"
    return f"{gflops:.0f} GFLOP/s" if gflops >= 10 else f"{gflops:.1f} GFLOP/s"


def figures(scalars: Scalars) -> list[str]:
    """The figures of a log interval after the loss, those that matter most first."""
    shown = [
        f"lr {short(scalars['train/learning_rate'])}",
        f"{scalars['perf/tokens_per_second']:,.0f} tok/s",
    ]
    if "perf/model_gflops" in scalars:
        shown.append(operations(scalars["perf/model_gflops"]))
    if scalars["perf/data_wait_fraction"] >= SLOW_DATA:
        shown.append(f"{scalars['perf/data_wait_fraction']:.0%} waiting for data")
    return shown


def fitted(parts: Sequence[str], width: int) -> str:
    """As many of the parts, from the first on, as fit in a line.

    >>> fitted(["loss 2.5", "lr 3e-3", "900 tok/s"], 20)
    'loss 2.5  lr 3e-3'
    """
    line, *rest = [part for part in parts if part] or [""]
    for part in rest:
        if len(line) + len(GAP) + len(part) > width:
            break
        line += GAP + part
    return line


def curve(values: Sequence[float], width: int) -> str:
    """The values as bars of one line, from the lowest to the highest; each bar a mean of some.

    >>> curve([4.0, 3.0, 2.0, 1.0], 4), curve([1.0], 4), curve([4.0, 4.0, 1.0, 1.0], 2)
    ('█▆▃▁', '', '█▁')
    """
    count = min(width, len(values))
    if count < 2:
        return ""
    edges = [round(index * len(values) / count) for index in range(count + 1)]
    means = [sum(values[start:end]) / (end - start) for start, end in itertools.pairwise(edges)]
    low, high = min(means), max(means)
    scale = (len(LEVELS) - 1) / ((high - low) or 1.0)
    return "".join(LEVELS[round((mean - low) * scale)] for mean in means)


class SampleText(str):
    """A sample text as it is written into files: its prompt, a mark, and what the model wrote.

    Attributes:
      prompt, continuation: its two parts.
    """

    prompt: str
    continuation: str

    def __new__(cls, prompt: str, continuation: str) -> SampleText:
        """The prompt and the text with a mark between them, if there is a prompt to be seen."""
        mark = " |" if prompt.strip() else ""
        text = super().__new__(cls, f"{prompt}{mark}{continuation}")
        text.prompt, text.continuation = prompt, continuation
        return text


class Evaluations:
    """What each evaluation gave, and whether it is the best so far; a tie is not."""

    def __init__(self) -> None:
        self._best = math.inf  # of those before

    def texts(self, step: int, scalars: Scalars) -> tuple[str, str]:
        """The loss, compared with the best one; the other figures."""
        loss, best = scalars["eval/loss"], scalars["eval/best_loss"]
        is_better = loss <= best and loss < self._best
        compared = "best so far" if is_better else f"best so far {best:.4f}"
        if step == 0:
            compared = "before training"
        else:
            self._best = best
        others = ", ".join(
            f"{metric.name.replace('_', ' ')} {scalars[f'eval/{metric.name}']:{metric.shown}}"
            for metric in SHOWN
            if metric.name != "loss"
        )
        return (
            f"step {step:,}: validation loss {loss:.4f}, {compared}",
            f"{others}; training loss {scalars['eval/train_loss']:.4f}",
        )


class Epochs:
    """The mean training loss of each epoch that ends, over the log intervals in it."""

    def __init__(self) -> None:
        self._done: int | None = None
        self._losses: list[float] = []

    def text(self, scalars: Scalars) -> str | None:
        """A line if an epoch has ended with this log interval."""
        before, self._done = self._done, int(scalars["train/epoch"])
        self._losses.append(scalars["train/loss"])
        if self._done <= (before or 0):
            return None
        if before is None and self._done > 1:  # a resumed run, in whose first interval none ended
            return None
        mean = sum(self._losses) / len(self._losses)
        self._losses = []
        return f"epoch {self._done:,} done: mean training loss {mean:.4f}"
