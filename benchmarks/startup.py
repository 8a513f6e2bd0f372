"""How long commands take to start: medians of 20 starts.

Three parts: `gpt-tf --help`, `import gpt_tf` and Python's own start; the imports of each command
before it begins its work; the first word of `gpt-tf generate`, and `gpt-tf evaluate`, of a run of
the preset demo that was trained for a few steps.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from report import finish, parser

from gpt_tf.cli.main import COMMANDS

STARTS = 20
GPT_TF = (sys.executable, "-m", "gpt_tf", "--quiet")
TRAIN = ("train", "--preset", "demo", "--train-tokenizer", "--max-steps", "20")


def median_seconds(*command: str, cwd: Path | None = None, starts: int = STARTS) -> float:
    """The median wall time."""
    times = []
    for _ in range(starts):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=cwd)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def import_seconds(module: str) -> float:
    """The median time of Python's start and the import of a module."""
    return median_seconds(sys.executable, "-c", f"import {module}")


def main() -> None:
    options = parser(__doc__).parse_args()
    figures = {
        "help_seconds": median_seconds(sys.executable, "-m", "gpt_tf", "--help"),
        "import_seconds": import_seconds("gpt_tf"),
        "python_seconds": median_seconds(sys.executable, "-c", "pass"),
    }
    for name, (module, _) in COMMANDS.items():
        figures[f"import_seconds of {name}"] = import_seconds(f"gpt_tf.cli.{module}")
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        subprocess.run([*GPT_TF, *TRAIN], check=True, cwd=workspace)
        generate = (*GPT_TF, "generate", "--max-new-tokens", "1")
        figures["first_word_seconds"] = median_seconds(*generate, cwd=workspace)
        figures["evaluate_seconds"] = median_seconds(*GPT_TF, "evaluate", cwd=workspace, starts=5)
    promises = {
        "gpt-tf --help in under 0.3 s": figures["help_seconds"] < 0.3,
        "import gpt_tf in under 0.1 s": figures["import_seconds"] < 0.1,
        "the first word of gpt-tf generate in under 0.8 s": figures["first_word_seconds"] < 0.8,
    }
    finish(figures, promises, options.check)


if __name__ == "__main__":
    main()
