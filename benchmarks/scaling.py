"""How the cost of a step grows with context, width, vocabulary and batch, and its picture.

    python benchmarks/scaling.py PICTURE.png

From the model of `kerasnlp-mini` (workload W4 of benchmarks/training.py) one size is varied at a
time, the others as they are. The feed-forward is as wide as the model; rows of other lengths and
numbers are other amounts of work, so the time per step is given beside the time per token.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

import matplotlib
from report import finish, parser
from runs import print_markdown
from training import OURS, Running, workload_of, write_inputs
from training_worker import Workload

ROUNDS = 3
VARIED = {
    "context": (32, 64, 128, 256, 512),
    "width": (96, 192, 384, 768),
    "vocabulary": (1_000, 5_000, 20_000, 50_000),
    "batch": (8, 16, 32, 64, 128),
}


def varied(base: Workload, what: str, size: int) -> Workload:
    """The workload with one size changed."""
    if what == "batch":
        return base._replace(batch_size=size)
    settings = {
        "context": {"context_length": size},
        "width": {"embed_dim": size, "ffn_dim": size},
        "vocabulary": {"vocab_size": size},
    }
    return base._replace(model={**base.model, **settings[what]})


def measure(workload: Workload) -> dict[str, float]:
    """Seconds per step, microseconds per token, and peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        write_inputs(workload, Path(folder))
        running = Running(workload, Path(folder), OURS, "auto")
        seconds = statistics.median(running.steps() for _ in range(ROUNDS))
        running.worker.close()
    return {
        "seconds": round(seconds, 4),
        "microseconds per token": round(1e6 * seconds / workload.tokens, 2),
        "peak MB": round(running.memory),
    }


def draw(found: dict[str, dict[int, dict[str, float]]], picture: Path) -> None:
    """A panel for each varied size: time per token, and memory."""
    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(found), figsize=(4 * len(found), 3.2), sharey=True)
    most = 1.1 * max(f["peak MB"] / 1000 for each in found.values() for f in each.values())
    for panel, (what, figures) in zip(panels, found.items(), strict=True):
        sizes = list(figures)
        panel.plot(sizes, [f["microseconds per token"] for f in figures.values()], "o-", color="C0")
        panel.set(xlabel=what, xscale="log", xticks=sizes, xticklabels=[f"{n:,}" for n in sizes])
        panel.minorticks_off()
        memory = panel.twinx()
        memory.plot(sizes, [f["peak MB"] / 1000 for f in figures.values()], "s--", color="C1")
        memory.set_ylim(0, most)
        memory.tick_params(labelright=what == list(found)[-1])
    panels[0].set_ylim(bottom=0)
    panels[0].set_ylabel("µs per token (blue)")
    memory.set_ylabel("peak memory, GB (orange)")
    figure.tight_layout()
    figure.savefig(picture, dpi=100)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("picture", type=Path)
    options = arguments.parse_args()
    base = workload_of("W4")
    found: dict[str, dict[int, dict[str, float]]] = {}
    rows: list[list[Any]] = []
    for what, sizes in VARIED.items():
        for size in sizes:
            figures = found.setdefault(what, {})[size] = measure(varied(base, what, size))
            rows.append([what, f"{size:,}", *figures.values()])
    draw(found, options.picture)
    print_markdown(["varied", "to", "s per step", "µs per token", "peak MB"], rows)
    finish(found, {}, options.check)


if __name__ == "__main__":
    main()
