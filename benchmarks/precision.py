"""Training in bfloat16 against float32: one preset, the same seeds, the validation losses.

    python benchmarks/precision.py WORKSPACE [--preset NAME] [--seeds 1 2 3] [--check]

WORKSPACE is that of benchmarks/shakespeare.py, whose float32 runs are read in place.
"""

import statistics
from pathlib import Path

from report import finish, parser
from runs import Job, all_figures, print_markdown

MOST_NATS = 0.01  # between the two means


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("workspace", type=Path, help="prepared by benchmarks/shakespeare.py")
    arguments.add_argument("--preset", default="shakespeare-baseline")
    arguments.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    arguments.add_argument("--parallel", type=int, default=1, help="runs at a time")
    options = arguments.parse_args()
    names = {
        "float32": [f"{options.preset}-seed-{seed}" for seed in options.seeds],
        "bfloat16": [f"{options.preset}-bfloat16-seed-{seed}" for seed in options.seeds],
    }
    jobs = [
        Job(
            name,
            [
                "--preset",
                options.preset,
                "--set",
                f"training.seed={seed}",
                "--set",
                f"training.precision={precision}",
            ],
        )
        for precision in names
        for name, seed in zip(names[precision], options.seeds, strict=True)
    ]
    found = all_figures(options.workspace, jobs, options.parallel)
    losses = {key: [round(found[name]["loss"], 4) for name in names[key]] for key in names}
    means = {precision: statistics.mean(values) for precision, values in losses.items()}
    print_markdown(
        ("precision", *(f"seed {seed}" for seed in options.seeds), "mean", "spread"),
        [
            (precision, *values, round(means[precision], 4), round(max(values) - min(values), 4))
            for precision, values in losses.items()
        ],
    )
    apart = abs(means["bfloat16"] - means["float32"])
    promise = f"the means are {apart:.4f} nats apart, at most {MOST_NATS}"
    finish({**losses, "apart": round(apart, 4)}, {promise: apart <= MOST_NATS}, options.check)


if __name__ == "__main__":
    main()
