"""How every benchmark ends: promises checked, figures by name as one JSON object."""

import argparse
import json
import sys
from typing import Any


def parser(description: str | None) -> argparse.ArgumentParser:
    """An argument parser with `--check`."""
    result = argparse.ArgumentParser(description=description)
    result.add_argument("--check", action="store_true", help="exit 1 if a promise is missed")
    return result


def finish(figures: dict[str, Any], promises: dict[str, bool], check: bool) -> None:
    """Say which promise holds, print the figures last, and exit 1 if one is missed."""
    for promise, kept in promises.items():
        print(f"{'kept' if kept else 'MISSED'}: {promise}")
    print(json.dumps(figures))
    if check and not all(promises.values()):
        sys.exit(1)
