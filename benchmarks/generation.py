"""Tokens per second of generated text: gpt-tf, transformers on PyTorch, KerasHub on TensorFlow.

    python benchmarks/generation.py [--sizes S M] [--systems gpt-tf kerashub] [--check]

All have the same random fp32 weights and the same prompts of 16 ids, and write 100 new tokens with
a cache of keys and values and without an end token. Each system is a separate process that is
warmed up, then asked in turn, round after round; a speed is that of the median time, the ratio
is to the faster peer. A second table sets the speeds against the memory: a token cannot be faster
than the weights of blocks and head are read. The greedy ids of all with fp32 weights must be equal,
and of gpt-tf's two engines for these the faster one must keep the promised ratio. No network.
"""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from generation_worker import NEW_TOKENS, PROMPT_TOKENS, SIZES, Size, prompts
from report import finish, parser
from runs import print_markdown
from workers import Worker

from gpt_tf.config import ModelConfig
from gpt_tf.model.architectures import make_model
from gpt_tf.model.language_model import LanguageModel
from gpt_tf.model.variables import assign_values, read_values, weight_variables

LEAST_EQUAL = 10  # leading greedy tokens
TINY_MARGIN = 1e-4  # between the logits of two tokens: either may win in fp32
MATRIX_WIDTH = 10240  # 419 MB, beyond any cache


class Task(NamedTuple):
    """A sampler and the number of prompts."""

    sampler: str
    batch: int

    def __str__(self) -> str:
        return f"{self.sampler}, batch {self.batch}"


TASKS = (Task("greedy", 1), Task("top-k", 1), Task("beam", 1), Task("greedy", 16))
FP32_RATIOS = dict(zip(TASKS, (1.1, 1.1, 1.5, 1.1), strict=True))
RATIOS: dict[tuple[str, str], dict[Task, float]] = {  # to the better peer
    **{("fp32", size): FP32_RATIOS for size in SIZES},
    ("int8", "M"): {Task("greedy", 1): 3.0},  # elsewhere its speed is stated
}


@dataclasses.dataclass(frozen=True)
class System:
    """A worker; one that is not a peer is one of our engines."""

    name: str
    script: str
    arguments: tuple[str, ...] = ()
    is_peer: bool = False
    weights: str = "fp32"


SYSTEMS = (
    System("gpt-tf", "generation_gpt_tf.py"),
    System("gpt-tf LiteRT fp32", "generation_gpt_tf.py", ("--engine", "litert-float32")),
    System("gpt-tf int8", "generation_gpt_tf.py", ("--engine", "litert"), weights="int8"),
    System("transformers", "generation_transformers.py", is_peer=True),
    System(
        "transformers short spins",
        "generation_transformers.py",
        ("--engine", "short-spins"),
        is_peer=True,
    ),
    System("KerasHub", "generation_kerashub.py", is_peer=True),
)


class Measured(NamedTuple):
    """What was seen at one size; seconds of every round and the last ids, by task and system."""

    model: LanguageModel
    seconds: dict[tuple[Task, str], list[float]]
    ids: dict[tuple[Task, str], list[list[int]]]
    bandwidth: float

    def speed(self, task: Task, system: str) -> float:
        """New tokens per second."""
        return task.batch * NEW_TOKENS / statistics.median(self.seconds[task, system])


def random_model(size: Size, seed: int) -> LanguageModel:
    """A GPT-2 with random weights, biases and scales as well.

    The scales of the final norm are spread around 0: with those of GPT-2, a tied head and random
    weights every text would repeat its last token, and equal ids would prove little;
    with larger biases too.
    """
    config = ModelConfig(**size._asdict(), activation="gelu_tanh", initial_weights="gpt2")
    model = make_model(config, seed=seed)
    named = weight_variables(model)
    arrays = read_values(named)
    random = np.random.default_rng(seed)
    for name, array in arrays.items():
        if array.ndim == 1:
            noise = random.normal(0, 0.005, array.shape)
            arrays[name] = (array + noise).astype(np.float32)
    spread = random.normal(0, 1, (size.embed_dim,))
    arrays["final_norm/gamma"] = spread.astype(np.float32)
    assign_values(named, arrays, "the random weights")
    return model


def read_speed(matrix: Any) -> float:
    """Bytes of the matrix read per second, in a product of one row or a sum, with all cores."""
    import tensorflow as tf

    row = tf.ones((1, matrix.shape[0]))
    best = float("inf")
    for read in (lambda: tf.matmul(row, matrix), lambda: tf.reduce_sum(matrix)):
        start = time.perf_counter()
        read().numpy()
        best = min(best, time.perf_counter() - start)
    return float(matrix.shape.num_elements() * 4 / best)


def measure(options: Any, systems: list[System], size: str, workspace: Path) -> Measured:
    """Every task with every system in turn."""
    import tensorflow as tf

    model = random_model(SIZES[size], options.seed)
    weights = workspace / f"generation-{size}.npz"
    np.savez(weights, **read_values(weight_variables(model)))
    matrix = tf.ones((MATRIX_WIDTH, MATRIX_WIDTH))
    measured = Measured(model, {}, {}, 0.0)
    bandwidths = [read_speed(matrix)]
    with contextlib.ExitStack() as stack:
        workers = {}
        for system in systems:
            python = options.peer_python if system.is_peer else sys.executable
            workers[system.name] = Worker(
                python, system.script, str(weights), size, *system.arguments
            )
            stack.callback(workers[system.name].close)
        for task in TASKS:
            for name, worker in workers.items():  # the warm-up: compilation is not counted
                measured.ids[task, name] = worker.ask(task=task.sampler, batch=task.batch)["ids"]
            for _ in range(options.rounds):
                bandwidths.append(read_speed(matrix))
                for name, worker in workers.items():
                    answer = worker.ask(task=task.sampler, batch=task.batch)
                    print(f"{size}, {task}: {name} {answer['seconds']:.2f} s", file=sys.stderr)
                    measured.seconds.setdefault((task, name), []).append(answer["seconds"])
                    measured.ids[task, name] = answer["ids"]
    return measured._replace(bandwidth=max(bandwidths))


def speed_rows(
    size: str, measured: Measured, systems: list[System], figures: dict[str, Any]
) -> list[list[Any]]:
    """Speeds of all systems, and the ratio of those that are not peers to the better peer."""
    rows = []
    for task in TASKS:
        speeds = {system.name: measured.speed(task, system.name) for system in systems}
        rounded = {name: round(speed, 1) for name, speed in speeds.items()}
        figures[f"{size}, {task}"] = entry = dict[str, Any](rounded)
        row: list[Any] = [size, task, *rounded.values()]
        best = max((speeds[system.name] for system in systems if system.is_peer), default=0)
        for system in systems:
            if not system.is_peer:
                ratio = round(speeds[system.name] / best, 2) if best else None
                entry[f"{system.name} ratio"] = ratio
                row.append(ratio or "–")
        rows.append(row)
    return rows


def bound_rows(
    size: str, measured: Measured, systems: list[System], figures: dict[str, Any]
) -> list[list[Any]]:
    """The share of the memory-bound speed that each system reaches with one prompt."""
    named = weight_variables(measured.model)
    kernels = [variable for name, variable in named.items() if name.endswith("/kernel")]
    read = 4 * sum(int(np.prod(item.shape)) for item in [*kernels, named["embedding/tokens"]])
    bound = measured.bandwidth / read
    rows = []
    for task in TASKS:
        if task.batch > 1:
            continue
        speeds = [measured.speed(task, system.name) for system in systems]
        shares = [round(speed / bound, 3) for speed in speeds]
        rows.append([size, task, round(bound, 1), *shares])
        names = [system.name for system in systems]
        figures[f"{size}, {task}"]["shares of bound"] = dict(zip(names, shares, strict=True))
    figures[f"{size}, bandwidth GB/s"] = round(measured.bandwidth / 1e9, 2)
    figures[f"{size}, bound tokens/s"] = round(bound, 1)
    return rows


class Equality(NamedTuple):
    """How far the ids of two systems are equal."""

    leading: int  # tokens, in the row that parts first
    margin: float | None  # the largest between the two tokens where a row parts, by the logits


def compare(measured: Measured, task: Task, first: str, second: str) -> Equality:
    """The ids of two systems, row by row."""
    starts = prompts(SIZES["M"], task.batch)
    leading, margins = NEW_TOKENS, []
    for start, ours, theirs in zip(
        starts, measured.ids[task, first], measured.ids[task, second], strict=True
    ):
        pairs = zip(ours, theirs, strict=True)
        where = next((i for i, (one, other) in enumerate(pairs) if one != other), None)
        if where is not None:
            logits_BTV = measured.model(np.array([[*start, *ours[:where]]], np.int32))
            logits_V = logits_BTV[0, -1].numpy()
            margins.append(float(abs(logits_V[ours[where]] - logits_V[theirs[where]])))
            leading = min(leading, where)
    return Equality(leading, max(margins, default=None))


def id_rows(
    size: str,
    measured: Measured,
    systems: list[System],
    figures: dict[str, Any],
    promises: dict[str, bool],
) -> list[list[Any]]:
    """How many leading tokens are those of the first system; promised of greedy texts."""
    rows = []
    first, *others = systems
    for task in TASKS:
        for system in others:
            if task.sampler == "top-k":
                continue
            equal = compare(measured, task, first.name, system.name)
            rows.append(
                [
                    size,
                    task,
                    system.name,
                    equal.leading,
                    "–" if equal.margin is None else f"{equal.margin:.1e}",
                ]
            )
            figures[f"{size}, {task}"][f"{system.name} equal tokens"] = equal.leading
            if task.sampler == "greedy" and first.weights == system.weights:
                promises[f"{size}, {task}: {system.name} writes the tokens of {first.name}"] = (
                    equal.leading >= LEAST_EQUAL and (equal.margin or 0) < TINY_MARGIN
                )
    return rows


def ratio_promises(size: str, systems: list[System], figures: dict[str, Any]) -> dict[str, bool]:
    """Whether the faster of our engines for the weights reaches each ratio, if it was measured."""
    promises = {}
    for (weights, promised_size), wanted in RATIOS.items():
        ours = [system for system in systems if not system.is_peer and system.weights == weights]
        for task, least in wanted.items() if promised_size == size else ():
            ratios = [figures[f"{size}, {task}"][f"{system.name} ratio"] for system in ours]
            if ratios and None not in ratios:
                what = f"{size}, {task}: {weights} at least {least} times the better peer"
                promises[f"{what}: {max(ratios)}"] = max(ratios) >= least
    return promises


def main() -> None:
    arguments = parser(__doc__)
    names = [system.name.lower() for system in SYSTEMS]
    arguments.add_argument("--systems", nargs="+", choices=names, default=names)
    arguments.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument(
        "--workspace", type=Path, help="for the weights; otherwise a temporary one"
    )
    arguments.add_argument(
        "--peer-python", default=sys.executable, help="a Python that has torch and keras-hub"
    )
    options = arguments.parse_args()
    systems = [system for system in SYSTEMS if system.name.lower() in options.systems]
    figures: dict[str, Any] = {"rounds": options.rounds}
    promises: dict[str, bool] = {}
    speeds, bounds, equal = [], [], []
    with tempfile.TemporaryDirectory() as temporary:
        workspace = options.workspace or Path(temporary)
        workspace.mkdir(parents=True, exist_ok=True)
        for size in options.sizes:
            measured = measure(options, systems, size, workspace)
            speeds += speed_rows(size, measured, systems, figures)
            bounds += bound_rows(size, measured, systems, figures)
            equal += id_rows(size, measured, systems, figures, promises)
            promises |= ratio_promises(size, systems, figures)
    titles = [system.name for system in systems]
    ratios = [f"{system.name} / better peer" for system in systems if not system.is_peer]
    print(f"New tokens per second after {PROMPT_TOKENS} of the prompt:")
    print_markdown(["size", "task", *titles, *ratios], speeds)
    print("\nShare of the speed at which all cores can read the fp32 weights of blocks and head:")
    print_markdown(["size", "task", "bound, tokens/s", *titles], bounds)
    print(f"\nOf {NEW_TOKENS} new tokens, leading ones equal to those of {titles[0]}:")
    print_markdown(["size", "task", "system", "equal", "margin where they part"], equal)
    finish(figures, promises, options.check)


if __name__ == "__main__":
    main()
