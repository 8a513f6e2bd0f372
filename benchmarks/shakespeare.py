"""The systems on tiny Shakespeare, three seeds each, against their published validation losses.

Each run trains its preset as it stands; the loss is that of the best checkpoint over the whole
validation part in windows that do not overlap. Runs already finished in the workspace are read,
one cut off is resumed.
"""

from pathlib import Path

from report import finish, parser
from runs import Job, all_figures, gpt_tf, print_markdown

PUBLISHED = {
    "shakespeare-baseline": 1.8235,
    "shakespeare-long": 1.7391,
    "shakespeare-context64": 1.7830,
    "shakespeare-8-heads": 1.8442,
}
COUNTED_BIGRAM = 2.484
BEST, BEST_LOSS, SOON = "shakespeare-best", 1.63, 2_000  # the baseline's loss within SOON steps


def first_step_at(curve: list[tuple[int, float]], loss: float) -> int | None:
    """The first evaluated step whose loss is at most `loss`."""
    return next((step for step, value in curve if value <= loss), None)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("archive", type=Path, help="tinyshakespeare.txt.gz, or the text")
    arguments.add_argument("workspace", type=Path)
    arguments.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    arguments.add_argument("--presets", nargs="+", default=[*PUBLISHED, "bigram", BEST])
    arguments.add_argument("--parallel", type=int, default=1, help="runs at a time")
    options = arguments.parse_args()
    workspace = options.workspace
    workspace.mkdir(parents=True, exist_ok=True)
    if not (workspace / "tokenizers").exists():
        gpt_tf(workspace, "prepare", "tinyshakespeare", "--archive", str(options.archive.resolve()))
        gpt_tf(workspace, "train-tokenizer")
    jobs = [
        Job(f"{preset}-seed-{seed}", ["--preset", preset, "--set", f"training.seed={seed}"])
        for preset in options.presets
        for seed in options.seeds
    ]
    figures = all_figures(workspace, jobs, options.parallel)
    promises, rows, losses = {}, [], {}
    for preset in options.presets:
        found = [figures[f"{preset}-seed-{seed}"] for seed in options.seeds]
        losses[preset] = [round(each["loss"], 4) for each in found]
        last = [round(each["curve"][-1][1], 4) for each in found]
        goal = PUBLISHED.get(preset, BEST_LOSS if preset == BEST else COUNTED_BIGRAM + 0.01)
        promises[f"{preset}: every seed at most {goal}"] = max(losses[preset]) <= goal
        rows.append((preset, goal, *losses[preset], *last))
        if preset == BEST:
            soon = [
                first_step_at(each["curve"], PUBLISHED["shakespeare-baseline"]) for each in found
            ]
            losses["best_passes_the_baseline_at"] = soon
            promises[f"{BEST}: the baseline's loss within {SOON} steps"] = all(
                step is not None and step <= SOON for step in soon
            )
    seeds = [f"seed {seed}" for seed in options.seeds]
    print_markdown(("preset", "at most", *seeds, *(f"last, {seed}" for seed in seeds)), rows)
    finish(losses, promises, options.check)


if __name__ == "__main__":
    main()
