"""Training speed: gpt-tf, PyTorch, transformers and KerasHub, in turn on the same machine.

    python benchmarks/training.py [--workloads W1 W2] [--peers torch] [--check]

Random ids in full windows, the preset's dropout, AdamW and clipping with all. Each mode of a peer
is a separate process that is warmed up, then it and gpt-tf are asked in turn, round after round;
a ratio is that of the median times of those rounds. The best of PyTorch's four modes counts, and
KerasHub's better one. Before, the losses of gpt-tf and PyTorch with the same weights must agree.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from report import finish, parser
from runs import print_markdown
from training_worker import Workload
from workers import Worker

from gpt_tf.config_files import read_preset, resolve
from gpt_tf.model.architectures import make_model
from gpt_tf.model.variables import read_values, weight_variables
from gpt_tf.training.precision import product_weights

PRESETS = {"W1": "shakespeare-baseline", "W2": "shakespeare-gpt", "W3": "imdb",
           "W4": "kerasnlp-mini"}  # fmt: skip
STEPS = {"W1": 100, "W2": 2, "W3": 2, "W4": 8}  # of a round
TORCH_MODES = ("float32", "bfloat16", "float32-compile", "bfloat16-compile")
OURS = "training_gpt_tf.py"
PEERS = {
    "torch": ("training_torch.py", TORCH_MODES),
    "transformers": ("training_transformers.py", ("bfloat16",)),
    "kerashub": ("training_kerashub.py", ("float32", "bfloat16")),
}
LEAST_RATIO = {  # to the best mode of a peer
    ("W1", "torch"): 1.2,
    ("W2", "torch"): 1.05,
    ("W3", "torch"): 2.0,
    ("W4", "torch"): 1.25,
    ("W4", "kerashub"): 1.7,
}
MOST_MEMORY = {"W3": 0.4}  # of that of PyTorch's fastest mode
LEAST_PEAK_SHARE = {"W2": 0.55}
MOST_LOSS_DIFFERENCE = 1e-4


class Mode(NamedTuple):
    """What was measured of one mode of a peer, or of gpt-tf."""

    tokens_per_second: float
    ratio: float  # of gpt-tf's speed in the same rounds to this one
    memory: float  # peak, MB
    first_step: float  # seconds from the start of the process


def workload_of(name: str) -> Workload:
    """The preset's model and batch."""
    config = resolve(read_preset(PRESETS[name]))
    return Workload(name, config.training.batch_size, dataclasses.asdict(config.model))


def matrix_peak(bfloat16: bool, width: int = 4096) -> float:
    """The best GFLOP/s of a large product."""
    import tensorflow as tf

    matrix = tf.cast(tf.random.normal((width, width)), tf.bfloat16 if bfloat16 else tf.float32)
    best = float("inf")
    for _ in range(6):
        start = time.perf_counter()
        tf.reduce_sum(tf.matmul(matrix, matrix)[:1]).numpy()
        best = min(best, time.perf_counter() - start)
    return 2 * width**3 / best / 1e9


def matrix_operations(workload: Workload) -> float:
    """Of one token, forward and backward: 6 a weight of a product, and attention's two products.

    Attention is counted whole, 12 * layers * width * context (Chowdhery et al. 2022, appendix B).
    """
    model = resolve({"model": workload.model}).model
    width = model.num_heads * model.head_width
    return 6.0 * product_weights(model) + 12.0 * model.num_layers * width * model.context_length


class Running:
    """A worker that has made its first steps."""

    def __init__(self, workload: Workload, folder: Path, script: str, mode: str) -> None:
        start = time.perf_counter()
        arguments = (str(folder / "workload.json"), str(folder / "weights.npz"), "--mode", mode)
        self.worker = Worker(sys.executable, script, *arguments)
        self.count, self.memory = STEPS[workload.name], 0.0
        self.steps(1)
        self.first_step = time.perf_counter() - start
        self.steps(self.count)

    def steps(self, count: int | None = None) -> float:
        """Seconds per step."""
        count = count or self.count
        answer = self.worker.ask(do="steps", count=count)
        self.memory = answer["memory"]
        return float(answer["seconds"]) / count


def write_inputs(workload: Workload, folder: Path) -> None:
    """What the workers read."""
    model = make_model(resolve({"model": workload.model}).model, seed=1)
    (folder / "workload.json").write_text(json.dumps(workload._asdict()))
    np.savez(folder / "weights.npz", **read_values(weight_variables(model)))


def losses_of(workload: Workload, folder: Path) -> dict[str, float]:
    """In float32, dropout off, with the same weights."""
    found = {}
    for name, script in (("gpt-tf", OURS), ("torch", "training_torch.py")):
        arguments = (str(folder / "workload.json"), str(folder / "weights.npz"))
        worker = Worker(sys.executable, script, *arguments, "--mode", "float32")
        found[name] = float(worker.ask(do="loss")["loss"])
        worker.close()
    return found


def measure(workload: Workload, peers: list[str], rounds: int, folder: Path) -> dict[str, Mode]:
    """gpt-tf and every mode of every peer, in pairs."""
    ours = Running(workload, folder, OURS, "auto")
    our_times: list[float] = []
    found = {}
    for peer in peers:
        script, modes = PEERS[peer]
        for mode in modes:
            theirs = Running(workload, folder, script, mode)
            pairs = [(ours.steps(), theirs.steps()) for _ in range(rounds)]
            theirs.worker.close()
            our_times += [pair[0] for pair in pairs]
            mine, other = (statistics.median(times) for times in zip(*pairs, strict=True))
            print(
                f"{workload.name}: {peer} {mode} {other:.3f} s per step, gpt-tf {mine:.3f}",
                file=sys.stderr,
            )
            speed = workload.tokens / other
            found[f"{peer} {mode}"] = Mode(speed, other / mine, theirs.memory, theirs.first_step)
    our_times = our_times or [ours.steps() for _ in range(rounds)]
    speed = workload.tokens / statistics.median(our_times)
    ours.worker.close()
    return {"gpt-tf": Mode(speed, 1.0, ours.memory, ours.first_step), **found}


def best_of(modes: dict[str, Mode], peer: str) -> Mode | None:
    """The fastest mode of a peer."""
    own = [mode for name, mode in modes.items() if name.split()[0] == peer]
    return min(own, key=lambda mode: mode.ratio, default=None)


def table(
    workload: Workload, modes: dict[str, Mode], peaks: dict[str, float], figures: dict[str, Any]
) -> list[list[Any]]:
    """A row for each mode."""
    rows = []
    for label, mode in modes.items():
        rate = mode.tokens_per_second * matrix_operations(workload) / 1e9
        shares = {kind: round(rate / peak, 3) for kind, peak in peaks.items()}
        rows.append(
            [
                workload.name,
                label,
                round(mode.tokens_per_second),
                round(mode.ratio, 2),
                round(mode.memory),
                *shares.values(),
                round(mode.first_step, 1),
            ]
        )
        figures[label] = {**mode._asdict(), "peak shares": shares}
    return rows


def check(name: str, modes: dict[str, Mode], figures: dict[str, Any]) -> dict[str, bool]:
    """What was promised of a workload, with the figure reached."""
    promises = {}
    for (promised, peer), least in LEAST_RATIO.items():
        best = best_of(modes, peer)
        if promised == name and best:
            promises[f"{name}: {best.ratio:.2f} times {peer}, at least {least}"] = (
                best.ratio >= least
            )
    torch = best_of(modes, "torch")
    if torch and name in MOST_MEMORY:
        share = modes["gpt-tf"].memory / torch.memory
        promises[f"{name}: {share:.2f} of torch's memory, at most {MOST_MEMORY[name]}"] = (
            share <= MOST_MEMORY[name]
        )
    if name in LEAST_PEAK_SHARE:
        share = figures["gpt-tf"]["peak shares"]["bfloat16"]
        promises[f"{name}: {share:.2f} of the bf16 peak, at least {LEAST_PEAK_SHARE[name]}"] = (
            share >= LEAST_PEAK_SHARE[name]
        )
    return promises


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    arguments.add_argument("--workloads", nargs="+", choices=PRESETS, default=list(PRESETS))
    arguments.add_argument("--rounds", type=int, default=3)
    options = arguments.parse_args()
    peaks = {kind: matrix_peak(kind == "bfloat16") for kind in ("bfloat16", "float32")}
    figures: dict[str, Any] = {"GFLOP/s of a large product": peaks}
    promises: dict[str, bool] = {}
    rows = []
    for name in options.workloads:
        workload, entry = workload_of(name), figures.setdefault(name, {})
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            write_inputs(workload, folder)
            if "torch" in options.peers:
                losses = entry["losses"] = losses_of(workload, folder)
                difference = abs(losses["gpt-tf"] - losses["torch"])
                promises[f"{name}: losses differ by {difference:.1e}, at most 1e-4"] = (
                    difference <= MOST_LOSS_DIFFERENCE
                )
            modes = measure(workload, options.peers, options.rounds, folder)
        rows += table(workload, modes, peaks, entry)
        promises |= check(name, modes, entry)
    columns = ["workload", "system", "tokens/s", "gpt-tf / it", "peak MB", "of bf16 peak",
               "of fp32 peak", "first step after s"]  # fmt: skip
    print_markdown(columns, rows)
    finish(figures, promises, options.check)


if __name__ == "__main__":
    main()
