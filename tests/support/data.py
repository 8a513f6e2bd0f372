"""The real corpora: files of the folder GPT_TF_DATA, else of ../shared/data."""

import importlib
import os
import tarfile
from pathlib import Path
from types import ModuleType

import pytest
from places import REPOSITORY


def data_file(name: str) -> Path:
    """The path of a real data file; skips the test without it, or fails where it is required."""
    default = REPOSITORY.parent / "shared" / "data"
    path = Path(os.environ.get("GPT_TF_DATA", default)) / name
    if path.is_file():
        return path
    message = f"{name} is not in {str(path.parent)!r}; set GPT_TF_DATA to the folder that has it"
    if os.environ.get("GPT_TF_REQUIRE_DATA") == "1":
        pytest.fail(message)
    pytest.skip(message)


def unpacked(name: str, destination: Path) -> Path:
    """A folder of the real data."""
    with tarfile.open(data_file(f"{name}.tar.xz")) as archive:
        archive.extractall(destination, filter="data")
    return destination / name


def parity_package(name: str) -> ModuleType:
    """A package of the extra `parity`; skips the test without it, or fails where it is required."""
    try:
        return importlib.import_module(name)
    except ImportError:
        message = f"{name} is not installed; `make test-parity` installs it"
        if os.environ.get("GPT_TF_REQUIRE_DATA") == "1":
            pytest.fail(message)
        pytest.skip(message)
