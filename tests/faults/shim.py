"""The fault injector `shim.c`: compiled when it is first needed, preloaded into a process."""

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

KINDS = ("kill", "torn", "short", "ENOSPC", "EIO")
SOURCE = Path(__file__).with_name("shim.c")


def compiled_shim(folder: Path) -> Path:
    """The shared library, made in `folder`; without a compiler the test is skipped, or fails."""
    library = folder / "faults.so"
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        message = "no C compiler (cc or gcc): faults cannot be injected"
        if os.environ.get("GPT_TF_REQUIRE_DATA") == "1":
            pytest.fail(message)
        pytest.skip(message)
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-D_LARGEFILE64_SOURCE"]
    subprocess.run([compiler, *flags, "-o", library, SOURCE, "-ldl"], check=True)
    return library


def arm(prefix: Path, at: int, kind: str, log: Path | None = None) -> None:
    """Let operation `at` (from 1) of this process below `prefix` go wrong; counts from here on."""
    ctypes.CDLL(None).faults_arm(
        os.fsencode(prefix), ctypes.c_long(at), kind.encode(), os.fsencode(log or "")
    )


def hits() -> int:
    """How many operations went wrong and were survived."""
    return int(ctypes.CDLL(None).faults_hits())


def set_clock(path: Path, wrong_by: int) -> None:
    """Let the wall clock of the processes that map `path` be wrong by so many seconds."""
    with path.open("r+b" if path.exists() else "wb") as file:
        file.write(wrong_by.to_bytes(8, sys.byteorder, signed=True))


def operations(log: Path) -> list[tuple[str, str]]:
    """(operation, path) of each line of a log."""
    lines = (line.split("\t") for line in log.read_text().splitlines())
    return [(operation, path) for _, operation, path in lines]
