"""The command `gpt-tf`, also as `python -m gpt_tf`: Ctrl-C ends it with one line at any moment.

The rest of the command line takes tenths of a second to import, in which Python would answer with a
traceback; and so it would while it tidies up, when the work is done.
"""

from __future__ import annotations

import os
import signal
from types import FrameType


def main() -> None:
    """Run the command line and leave with its exit code."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # a script began it with &
        signal.signal(signal.SIGINT, _stop)
    # NumPy's library reads it when it is imported. Its threads wait for one another in loops: small
    # products take ten times as long while another program keeps a processor busy.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from gpt_tf.cli.main import main as run

    try:
        run()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done


def _stop(number: int, frame: FrameType | None) -> None:
    os.write(2, b"stopped by SIGINT\n")
    os._exit(128 + number)


if __name__ == "__main__":
    main()
