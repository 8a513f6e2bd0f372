"""Which promised figures are older than the code that they measure. It measures nothing itself.

    python benchmarks/figures.py [--check]

`docs/figures.json` names for each measurement the commit at which it was made and the files and
folders that it depends on. A measurement is stale if one of them has changed since that commit, or
if the commit or the date is not known.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from report import finish, parser


def git(repository: Path, *arguments: str) -> int:
    """Run git and return its exit code: of `diff --quiet`, 0 if nothing differs."""
    command = ["git", "-C", str(repository), *arguments]
    return subprocess.run(command, capture_output=True, check=False).returncode


def why_stale(repository: Path, measurement: dict[str, Any]) -> list[str]:
    """The reasons to measure again: what has changed, or what is not known."""
    commit = measurement["commit"]
    if commit is None or measurement["date"] is None:
        return ["its commit or date is not known"]
    if git(repository, "cat-file", "-e", f"{commit}^{{commit}}"):
        return [f"commit {commit} is not in this repository"]
    changed = [
        path
        for path in measurement["depends"]
        if git(repository, "diff", "--quiet", commit, "--", path)
    ]
    return [f"changed since: {', '.join(changed)}"] if changed else []


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--repository", type=Path, default=Path(__file__).parents[1])
    options = arguments.parse_args()
    file = options.repository / "docs" / "figures.json"
    measurements = json.loads(file.read_text("utf-8"))["measurements"]
    stale = 0
    minutes = 0
    for measurement in measurements:
        reasons = why_stale(options.repository, measurement)
        if reasons:
            stale += 1
            minutes += measurement["minutes"] or 0
            print(f"{measurement['command']}  (about {measurement['minutes'] or '?'} minutes)")
            print(f"    made at {measurement['commit']}, {measurement['date']}")
            print(*(f"    {reason}" for reason in reasons), sep="\n")
            print(*(f"    - {figure['name']}" for figure in measurement["figures"]), sep="\n")
    print(f"{stale} of {len(measurements)} measurements are stale: about {minutes} minutes")
    finish({"stale": stale, "minutes": minutes}, {"no figure is stale": stale == 0}, options.check)


if __name__ == "__main__":
    main()
