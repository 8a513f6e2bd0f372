"""Run as a script: `gpt-tf train` on a disk that answers late once.

Arguments: those of the command.
"""

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from gpt_tf.cli.main import main
from gpt_tf.streaming import prefetch
from gpt_tf.streaming.sources import DocumentReader

prefetch.STALLED = 1.0
read = DocumentReader.text
opened: list[Path] = []


def read_late(self: DocumentReader, path: Path) -> Iterator[str]:
    """As before, but the 30th document read ahead takes a minute."""
    if threading.current_thread().name.startswith("gpt-tf-prefetch"):
        opened.append(path)
        if len(opened) == 30:
            time.sleep(60)
    return read(self, path)


DocumentReader.text = read_late
main(sys.argv[1:])
