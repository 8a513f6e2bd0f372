"""Kills a process at each file operation of saving a tokenizer, in turn; prints what loads then.

A script of its own, so that it may fork: `kill_while_saving.py FOLDER {exchange,renames}`. It
prints one JSON list of "old" and "new"; the last saving was not killed.
"""

import itertools
import json
import os
import signal
import sys
from pathlib import Path

from gpt_tf.storage import atomic
from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.tokenizer.bpe import MINIMUM_VOCAB_SIZE, BPETokenizer


def kill_before(number: int, folder: Path) -> None:
    """Die by SIGKILL before the file operation `number` of this process below `folder`."""
    operations = itertools.count()

    def hook(event: str, arguments: tuple) -> None:
        ours = bool(arguments) and str(folder) in str(arguments[0])
        if (ours or event == "ctypes.dlsym") and next(operations) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def save_in_child(tokenizer: Tokenizer, directory: Path, kill_at: int) -> bool:
    """Save in a forked process; True where it was killed."""
    child = os.fork()
    if child == 0:
        kill_before(kill_at, directory.parent)
        try:
            tokenizer.save(directory)
        finally:
            os._exit(0)
    status = os.waitpid(child, 0)[1]
    return os.WIFSIGNALED(status)


def main(folder: Path, way: str) -> None:
    """Kill at the first operation, the second, …, until the saving ends before it is killed."""
    if way == "renames":
        atomic.exchange = lambda first, second: False  # as on a system without it
    old, new = (
        BPETokenizer.train(["so good, so bad"], vocab_size=MINIMUM_VOCAB_SIZE + extra)
        for extra in (1, 3)
    )
    names = {old.vocab_size: "old", new.vocab_size: "new"}
    directory = folder / "tokenizer"
    loaded = []
    killed = True
    while killed:
        old.save(directory)
        killed = save_in_child(new, directory, kill_at=len(loaded))
        if way == "renames":
            atomic.sweep(folder)
        loaded.append(names[Tokenizer.load(directory).vocab_size])
    print(json.dumps(loaded))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
