"""How long a step takes with many workers: a model fitted to one and two, and what it predicts.

    python benchmarks/multi_worker.py | tee measured.txt
    python benchmarks/simulate_workers.py measured.txt PICTURE.png [--check]

A step is the computation of a worker's own batch, the sum of all gradients in a ring, and the
optimizer's update, which every worker makes whole:

    step = batch + update + 2 (W - 1) (pieces * alpha + bytes / (W * B))

W workers, alpha seconds of latency, B bytes per second on the wire, pieces of 4 MB in turn. alpha
and B are fitted to sums of two workers; batch and update of each model to one worker, with two and
with four batches in an update. The prediction is shown beside every other measurement. Then it goes
on to more workers, networks and models than anyone here has measured: those are estimates, and no
more. They leave out the update, which is short with AdamW.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from report import finish, parser
from runs import print_markdown

PIECE_BYTES = 4 << 20  # of gpt_tf/training/workers.py
GBIT = 1e9 / 8  # bytes per second
NETWORKS = (1, 10, 25, 100)  # Gb/s
MODELS = {"10.8 M": 10.8e6, "124 M": 124e6, "1.5 B": 1.5e9}  # parameters
SCALES = (2, 8, 64, 256, 1000)  # workers
GOOD = 0.9  # efficiency
MOST_ERROR = 0.15


class Wire(NamedTuple):
    """What a sum costs.

    Attributes:
      alpha: seconds of latency of each of the 2 (W - 1) rounds.
      speed: bytes per second.
      piece: bytes that are sent at a time.
    """

    alpha: float
    speed: float
    piece: float = PIECE_BYTES

    def latency(self, size: float, workers: int) -> float:
        """Seconds of waiting in a sum of `size` bytes."""
        return 2 * (workers - 1) * self.alpha * max(1, math.ceil(size / self.piece))

    def transfer(self, size: float, workers: int) -> float:
        """Seconds of sending in a sum of `size` bytes."""
        return 2 * (workers - 1) / workers * size / self.speed

    def seconds(self, size: float, workers: int) -> float:
        """Of a sum of `size` bytes."""
        return self.latency(size, workers) + self.transfer(size, workers)


def fitted(sums: dict[str, float]) -> Wire:
    """From seconds of sums of two workers by their bytes; all sizes count alike."""
    sizes, seconds = np.array([[float(size), value] for size, value in sums.items()]).T
    pieces = np.ceil(sizes / PIECE_BYTES)
    rows = np.stack([2 * pieces, sizes], 1) / seconds[:, None]
    alpha, inverse = np.linalg.lstsq(rows, np.ones(len(rows)), rcond=None)[0]
    if inverse <= 0:
        raise SystemExit("The sums take no longer if there is more to send. Measure larger ones.")
    return Wire(max(0.0, float(alpha)), 1 / float(inverse))


def batch_and_update(one: dict[str, float]) -> tuple[float, float]:
    """Seconds of a batch, and of the rest of an update, from those per batch by their number."""
    (few, of_few), *_, (many, of_many) = sorted((int(n), seconds) for n, seconds in one.items())
    update = max(0.0, (of_few - of_many) / (1 / few - 1 / many))
    return of_few - update / few, update


def predicted(model: dict[str, Any], wire: Wire, workers: int, cores: int) -> float:
    """Seconds of an update; more workers than cores take turns, in computing and in sending."""
    turns = max(1.0, workers / cores)
    sums = wire.seconds(4 * model["parameters"], workers)
    return turns * (sum(batch_and_update(model["one"])) + sums)


def compare(figures: dict[str, Any], wire: Wire) -> dict[str, float]:
    """A table of predictions and measurements; the error of each."""
    errors, rows = {}, []
    for name, model in figures["models"].items():
        for workers, measured in model["all"].items():
            seconds = predicted(model, wire, int(workers), figures["cores"])
            error = seconds / measured - 1
            errors[f"{name}, {workers} workers"] = round(error, 3)
            rows.append([name, workers, f"{measured:.4f}", f"{seconds:.4f}", f"{error:+.1%}"])
    print_markdown(["model", "workers", "measured, s", "predicted, s", "error"], rows)
    return errors


class Host(NamedTuple):
    """The machines of an estimate.

    Attributes:
      flops: floating-point operations per second of one worker.
      tokens: of one worker in an update.
    """

    flops: float
    tokens: int

    def computing(self, parameters: float) -> float:
        """Seconds: 6 operations for each token and parameter."""
        return 6 * parameters * self.tokens / self.flops


def efficiency(host: Host, wire: Wire, parameters: float, workers: int) -> float:
    """The share of a step in which a worker computes."""
    computing = host.computing(parameters)
    return computing / (computing + wire.seconds(4 * parameters, workers))


def first_change(host: Host, wire: Wire, network: float, parameters: float, workers: int) -> str:
    """What limits a step most, and so would have to change first.

    Args:
      wire: as fast as the engine can send, or the network if it is slower.
      network: bytes per second.
    """
    if efficiency(host, wire, parameters, workers) >= GOOD:
        return "–"
    size = 4 * parameters
    if wire.latency(size, workers) > wire.transfer(size, workers):
        return "larger pieces" if size > wire.piece else "more tokens per update (latency)"
    return "the engine's speed" if wire.speed < network else "more tokens per update (network)"


def estimate(host: Host, engine: Wire) -> list[dict[str, Any]]:
    """Every network, model and number of workers."""
    found = []
    for gbits in NETWORKS:
        network = gbits * GBIT
        wire = engine._replace(speed=min(engine.speed, network))
        for name, parameters in MODELS.items():
            for workers in SCALES:
                share = efficiency(host, wire, parameters, workers)
                change = first_change(host, wire, network, parameters, workers)
                found.append({
                    "network": gbits, "model": name, "workers": workers,
                    "step": host.computing(parameters) / share, "efficiency": share,
                    "change": change,
                })  # fmt: skip
    return found


def draw(host: Host, engine: Wire, picture: Path) -> None:
    """Efficiency above, seconds per step below; a column a network."""
    matplotlib.use("agg")
    from matplotlib import pyplot

    counts = np.unique(np.geomspace(1, max(SCALES), 60).astype(int))
    figure, rows = pyplot.subplots(2, len(NETWORKS), figsize=(13, 6), sharex=True, sharey="row")
    for column, gbits in enumerate(NETWORKS):
        top, bottom = rows[:, column]
        network = gbits * GBIT
        wires = {
            "-": engine._replace(speed=min(engine.speed, network)),
            ":": engine._replace(speed=network, piece=math.inf),
        }
        for color, (name, parameters) in enumerate(MODELS.items()):
            for style, wire in wires.items():
                shares = np.array([efficiency(host, wire, parameters, int(n)) for n in counts])
                label = f"{name} parameters" if style == "-" else None
                top.plot(counts, shares, style, color=f"C{color}", label=label)
                seconds = host.computing(parameters) / shares
                bottom.plot(counts, seconds, style, color=f"C{color}")
        top.axhline(GOOD, color="0.8", zorder=0)
        top.set(title=f"{gbits} Gb/s", xscale="log", ylim=(0, 1.02))
        bottom.set(xlabel="workers", yscale="log")
    rows[0, 0].set_ylabel("efficiency")
    rows[1, 0].set_ylabel("seconds per step")
    rows[0, 0].legend(fontsize=8, loc="lower left")
    figure.suptitle(
        f"Estimated, for {host.tokens:,} tokens per worker and update at {host.flops / 1e12:g} "
        f"TFLOP/s. Solid: as it is, TensorFlow sends {engine.speed / 1e9:.2f} GB/s at most in "
        f"pieces of {PIECE_BYTES >> 20} MB.\n"
        "Dotted: if it filled the network, and sent all in one piece",
        fontsize=10,
    )
    figure.tight_layout()
    figure.savefig(picture, dpi=100)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("measured", type=Path, help="what multi_worker.py printed")
    arguments.add_argument("picture", type=Path)
    arguments.add_argument("--tflops", type=float, default=0.4, help="of one estimated worker")
    arguments.add_argument("--tokens", type=int, default=16_384, help="of one, in an update")
    options = arguments.parse_args()
    figures = json.loads(options.measured.read_text("utf-8").splitlines()[-1])
    engine = fitted(figures["sums"]["2"])
    print(f"alpha {1e3 * engine.alpha:.3f} ms, B {engine.speed / 1e9:.3f} GB/s\n")
    errors = compare(figures, engine)
    host = Host(1e12 * options.tflops, options.tokens)
    estimates = estimate(host, engine)
    print("\nEstimated, not measured:\n")
    print_markdown(
        ["Gb/s", "parameters", "workers", "tokens per update", "s per step", "efficiency",
         "what would have to change first"],
        [[each["network"], each["model"], f"{each['workers']:,}",
          f"{each['workers'] * host.tokens:,}", f"{each['step']:.3g}",
          f"{each['efficiency']:.2f}", each["change"]] for each in estimates],
    )  # fmt: skip
    draw(host, engine, options.picture)
    finish(
        {"alpha": engine.alpha, "bytes per second": engine.speed, "errors": errors},
        {f"{name}: within {MOST_ERROR:.0%}": abs(error) <= MOST_ERROR
         for name, error in errors.items()},
        options.check,
    )  # fmt: skip


if __name__ == "__main__":
    main()
