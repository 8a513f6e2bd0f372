"""How long `gpt-tf --help` and `import gpt_tf` take: medians of 20 starts, and Python's own."""

import statistics
import subprocess
import sys
import time

from report import finish, parser


def median_seconds(*command: str) -> float:
    """The median wall time of 20 runs."""
    times = []
    for _ in range(20):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    options = parser(__doc__).parse_args()
    figures = {
        "help_seconds": median_seconds(sys.executable, "-m", "gpt_tf", "--help"),
        "import_seconds": median_seconds(sys.executable, "-c", "import gpt_tf"),
        "python_seconds": median_seconds(sys.executable, "-c", "pass"),
    }
    promises = {
        "gpt-tf --help in under 0.3 s": figures["help_seconds"] < 0.3,
        "import gpt_tf in under 0.1 s": figures["import_seconds"] < 0.1,
    }
    finish(figures, promises, options.check)


if __name__ == "__main__":
    main()
