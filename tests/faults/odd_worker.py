"""Run as a script: workers of which the last one has a fault of its own.

    python odd_worker.py FAULT COUNT -- train ...

Launches the workers as `gpt-tf launch` does. The fault comes with the seventh update: "nan", a
weight of the loss that is not a number; "deaf", from then on all connections between the two
TensorFlows are cut again and again, and those of the watch are not.
"""

import json
import os
import socket
import sys
import threading
import time
from contextlib import suppress
from typing import Any

import numpy as np

AT = 7  # the update


def poisoned(batches: list[Any]) -> list[Any]:
    """The batches, the first of them with NaN."""
    weights = batches[0].weights.copy()
    weights[0, 0] = np.nan
    return [batches[0]._replace(weights=weights), *batches[1:]]


def cut_for_ever(ports: set[int]) -> None:
    """End every connection that has one of these ports on one side."""
    while True:
        for number in range(3, 256):
            # not ours, not a socket, not connected
            with suppress(OSError, IndexError), socket.socket(fileno=os.dup(number)) as one:
                if {one.getsockname()[1], one.getpeername()[1]} & ports:
                    one.shutdown(socket.SHUT_RDWR)
        time.sleep(0.001)


def work(fault: str, words: list[str]) -> None:
    """Be a worker; the last one has the fault."""
    from gpt_tf.cli.main import main
    from gpt_tf.training.train_step import TrainStep

    place = json.loads(os.environ["TF_CONFIG"])
    addresses = place["cluster"]["worker"]
    calls, plain = [0], TrainStep.__call__

    def step(self: TrainStep, batches: Any, *rest: Any) -> Any:
        calls[0] += 1
        if calls[0] == AT and fault == "nan":
            batches = poisoned(list(batches))
        elif calls[0] == AT:
            ports = {int(address.rpartition(":")[2]) for address in addresses}
            threading.Thread(target=cut_for_ever, args=(ports,), daemon=True).start()
        return plain(self, batches, *rest)

    if place["task"]["index"] == len(addresses) - 1:
        TrainStep.__call__ = step  # type: ignore[method-assign]
    main(words)


if __name__ == "__main__":
    fault, *words = sys.argv[1:]
    if "TF_CONFIG" in os.environ:
        work(fault, words)
    from gpt_tf.runs.launching import run

    sys.exit(run(int(words[0]), [sys.executable, __file__, fault, *words[2:]]))
