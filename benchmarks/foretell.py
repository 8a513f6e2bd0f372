"""What `train --dry-run --measure` estimates against what the same training then takes.

    python benchmarks/foretell.py FOLDER [--novels TEXT] [--cases CASE ...] [--check]

Each case is a workspace below FOLDER with its data and a tokenizer: a dry run that measures, then
the whole training, each a process of its own; time and memory are those of the process. TEXT is
novels/train.txt of the shared data, for `kerasnlp-mini`. What is done is kept in FOLDER and not
done again: after a kill, the same command goes on. Run it on a quiet machine.

On two cores `demo` takes about 4 minutes, `kerasnlp-mini` about 20, `kerasnlp-mini-short` 3.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

from report import finish, parser
from runs import gpt_tf, measured, print_markdown

MOST_WRONG = {"seconds": 0.25, "MB": 0.20}
CASES = {
    "demo": ("--preset", "demo"),
    "kerasnlp-mini": ("--preset", "kerasnlp-mini"),
    "kerasnlp-mini-short": ("--preset", "kerasnlp-mini", "--max-steps", "400"),
}
USUAL = ("demo", "kerasnlp-mini")


def estimated_of(printed: str) -> dict[str, float]:
    """The figures of the table that a dry run prints."""
    seconds = re.search(r"time in all, about.*\(([\d,]+) s\)", printed)
    memory = re.search(r"memory at most, measured\D+([\d,]+) MB", printed)
    assert seconds and memory, printed
    return {
        name: float(found[1].replace(",", ""))
        for name, found in (("seconds", seconds), ("MB", memory))
    }


def taken(workspace: Path, *arguments: str) -> tuple[str, dict[str, float]]:
    """Run the command; what it printed, and what it took."""
    start = time.perf_counter()
    printed, megabytes = measured(workspace, *arguments)
    return printed, {"seconds": time.perf_counter() - start, "MB": megabytes}


def figures_of(folder: Path, case: str, novels: Path | None) -> dict[str, Any]:
    """Both figures of a case, from its file if they are known."""
    stored = folder / f"{case}.json"
    known: dict[str, Any] = json.loads(stored.read_text()) if stored.exists() else {}
    workspace = folder / case
    workspace.mkdir(parents=True, exist_ok=True)
    preset, data = CASES[case][1], ("--data", str(novels.resolve())) if novels else ()
    command = ("train", *CASES[case], *data)
    if "estimated" not in known:
        if not novels:
            gpt_tf(workspace, "prepare", "sample-reviews")
        gpt_tf(workspace, "train-tokenizer", *data[1:], "--preset", preset)
        printed, took = taken(workspace, *command, "--dry-run", "--measure")
        known = {"estimated": estimated_of(printed), "estimating took": took}
        stored.write_text(json.dumps(known))
    if "taken" not in known:
        _, known["taken"] = taken(workspace, *command, "--name", "run", "--overwrite")
        stored.write_text(json.dumps(known))
    return known


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--novels", type=Path, help="novels/train.txt")
    arguments.add_argument("--cases", nargs="+", choices=CASES, default=list(USUAL))
    options = arguments.parse_args()
    if options.novels is None and any(case != "demo" for case in options.cases):
        sys.exit("no text for kerasnlp-mini. Give --novels TEXT, or --cases demo.")
    rows, promises, figures = [], {}, {}
    for case in options.cases:
        found = figures_of(options.folder, case, None if case == "demo" else options.novels)
        figures[case] = found
        for unit, most in MOST_WRONG.items():
            estimated, real = found["estimated"][unit], found["taken"][unit]
            wrong = estimated / real - 1
            rows.append([case, unit, f"{estimated:,.0f}", f"{real:,.0f}", f"{wrong:+.0%}"])
            promises[f"{case}, {unit}: {wrong:+.0%}, at most {most:.0%}"] = abs(wrong) <= most
            print(rows[-1], file=sys.stderr, flush=True)
    print_markdown(["case", "", "estimated", "taken", "difference"], rows)
    finish(figures, promises, options.check)


if __name__ == "__main__":
    main()
