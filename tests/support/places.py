"""Where the tests find what lies beside them."""

from pathlib import Path

SUPPORT = Path(__file__).parent
TESTS = SUPPORT.parent
RELEASES = TESTS / "releases"  # runs of earlier versions
REPOSITORY = TESTS.parent
