"""The memory that `train --dry-run` estimates against the memory that training takes.

    python benchmarks/memory.py TEXT FOLDER [--check]

Each case is a workspace below FOLDER with a tokenizer of TEXT (some megabytes), a dry run, and a
run of a few steps with an evaluation and a checkpoint, each a process of its own; what a process
took at most is what the system says of it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from report import finish, parser
from runs import measured, print_markdown

MOST_WRONG = 0.20
# preset, then its settings
CASES = (
    ("demo",),
    ("shakespeare-baseline",),
    ("shakespeare-gpt",),
    ("shakespeare-gpt", "training.batch_size=16"),
    ("shakespeare-gpt", "training.batch_size=16", "training.grad_accum_steps=2"),
    ("shakespeare-gpt", "training.batch_size=16", "training.precision=float32"),
    ("kerasnlp-mini",),
    ("imdb", "data.windows=random"),
    ("imdb", "data.windows=random", "training.batch_size=16", "training.optimizer=adamw"),
    (
        "imdb",
        "data.windows=random",
        "model.num_layers=6",
        "model.embed_dim=512",
        "model.ffn_dim=2048",
    ),
)
SHORT = ("--max-steps", "4", "--set", "training.warmup_steps=1", "--set", "training.eval_batches=2",
         "--set", "training.eval_interval=4", "--set", "sampling.max_new_tokens=2")  # fmt: skip


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("text", type=Path)
    arguments.add_argument("folder", type=Path)
    options = arguments.parse_args()
    rows, promises = [], {}
    for number, (preset, *settings) in enumerate(CASES):
        workspace = options.folder / f"{number}-{preset}"
        workspace.mkdir(parents=True, exist_ok=True)
        common = ["train", "--data", str(options.text.resolve()), "--preset", preset]
        for setting in settings:
            common += ["--set", setting]
        begin = ("--name", "run", "--overwrite", "--train-tokenizer")
        _, taken = measured(workspace, *common, *begin, *SHORT)
        printed, _ = measured(workspace, *common, "--dry-run")
        found = re.search(r"memory at most, estimated\D+([\d,]+) MB", printed)
        assert found, printed
        foretold = float(found[1].replace(",", ""))
        wrong = foretold / taken - 1
        name = " ".join([preset, *settings])
        rows.append([name, round(foretold), round(taken), f"{wrong:+.0%}"])
        promises[f"{name}: {wrong:+.0%}, at most {MOST_WRONG:.0%}"] = abs(wrong) <= MOST_WRONG
        print(rows[-1], file=sys.stderr, flush=True)
    print_markdown(["case", "estimated MB", "used MB", "difference"], rows)
    finish({row[0]: row[1:] for row in rows}, promises, options.check)


if __name__ == "__main__":
    main()
