"""Run as a script: forks processes that run `gpt-tf` commands, TensorFlow imported already.

A command costs 3 s less this way. TensorFlow does not survive a fork once it has run anything, so
this process only imports; that a forked trainer computes the same is tested, not believed.

A line of standard input is a request, a JSON object of "arguments", "cwd",
"output" (a folder for the files `stdout` and `stderr`), "fault" (prefix, number, kind and log of
the shim), "file_size" (the limit, as `ulimit -f`), "bound_by_modes" (root, too, is refused what
the modes of files do not allow), "eagerly" (TensorFlow compiles nothing, which takes longer than
a step or two) and "instead" (`module:function`, called with the arguments in place of the command
line). The answers are the child's process number and, when it has ended, its
status.
"""

import ctypes
import importlib
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

from faults import shim

from gpt_tf.cli.main import main

CAPABILITY_VERSION = 0x20080522  # linux/capability.h, as the two below
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"


def import_everything() -> None:
    """What `gpt-tf train` imports."""
    import matplotlib.figure
    import tensorflow
    import transformers

    import gpt_tf.cli.progress
    import gpt_tf.inference.text_generator
    import gpt_tf.model.architectures
    import gpt_tf.reports.plot
    import gpt_tf.runs.assemble
    import gpt_tf.training.evaluator
    import gpt_tf.training.loop
    import gpt_tf.training.writers

    assert matplotlib.figure and tensorflow and transformers and gpt_tf


def forgo_root_rights() -> None:
    """Be bound by the modes of files as every other user."""
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; then the upper halves
    libc = ctypes.CDLL(None)
    assert libc.capget(header, sets) == 0
    for i in range(3):
        sets[i] &= ~(1 << CAP_DAC_OVERRIDE | 1 << CAP_DAC_READ_SEARCH)
    assert libc.capset(header, sets) == 0


def run(request: dict[str, Any]) -> None:
    """Become the command."""
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        path = Path(request["output"]) / name
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), descriptor)
    os.chdir(request["cwd"])
    if "file_size" in request:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_size"],) * 2)
    if request.get("bound_by_modes"):
        forgo_root_rights()
    if "fault" in request:
        prefix, at, kind, log = request["fault"]
        shim.arm(Path(prefix), at, kind, Path(log))
    if request.get("eagerly"):
        import tensorflow as tf

        tf.config.run_functions_eagerly(True)
    if "instead" in request:
        module, _, function = request["instead"].partition(":")
        getattr(importlib.import_module(module), function)(*request["arguments"])
        return
    main(request["arguments"])


def serve() -> None:
    """Answer requests, one after the other, until the input ends."""
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            code = 99
            try:
                run(json.loads(line))
                code = 0
            except SystemExit as ended:
                code = int(ended.code or 0)
            except BaseException:
                sys.excepthook(*sys.exc_info())
                code = 1
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        print(json.dumps(child), flush=True)
        print(json.dumps(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])), flush=True)


if __name__ == "__main__":
    import_everything()
    serve()
