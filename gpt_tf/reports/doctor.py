"""What is wrong with the machine and the installation, each finding with its remedy.

Versions are read from the packages' metadata and the processor's abilities from its flags, so that
TensorFlow, which may be what is broken, is not imported.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import psutil
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from gpt_tf.training.precision import bfloat16_flags, cpu_flags

PACKAGE = "gpt-tf"
# They install over the files of `tensorflow`, and whichever came last is half there.
RIVALS = ("tensorflow-cpu", "tensorflow-intel", "tensorflow-gpu", "tensorflow-macos",
          "tensorflow-rocm", "intel-tensorflow", "tf-nightly", "tf-nightly-cpu")  # fmt: skip
SHADOWED = ("tensorflow", "keras", "numpy", "tokenizers", "transformers")
LITTLE_MEMORY, LITTLE_DISK = 2e9, 1e9  # bytes: the preset demo takes about half of each
GB = 1e9

# Variables of the shell that change what TensorFlow and Python do, and how.
HOSTILE = {
    "KERAS_BACKEND": "The commands put tensorflow in its place; in Python do it yourself.",
    "TF_USE_LEGACY_KERAS": "The commands unset it; in Python do it yourself.",
    "XLA_FLAGS": "Results may differ from those without it; unset it.",
    "TF_XLA_FLAGS": "Results may differ from those without it; unset it.",
    "TF_ENABLE_ONEDNN_OPTS": "0 turns the fast matrix products off; unset it.",
    "ONEDNN_MAX_CPU_ISA": "It may hide AMX and AVX-512 from the matrix products; unset it.",
    "TF_NUM_INTRAOP_THREADS": "Resume with the same value: the bits depend on it.",
    "TF_NUM_INTEROP_THREADS": "Resume with the same value: the bits depend on it.",
    "OMP_NUM_THREADS": "Resume with the same value: the bits depend on it.",
    "PYTHONOPTIMIZE": "It removes the checks that catch mistakes of gpt-tf itself; unset it.",
    "PYTHONWARNINGS": "As `error` it makes TensorFlow's import fail; unset it.",
    "LD_PRELOAD": "It may change what files and memory do; unset it.",
}
HARMLESS = {"KERAS_BACKEND": "tensorflow", "TF_ENABLE_ONEDNN_OPTS": "1"}


class Finding(NamedTuple):
    """One thing looked at."""

    level: Literal["ok", "warning", "broken"]
    what: str
    found: str
    remedy: str = ""


def check_environment(workspace: Path, environment: Mapping[str, str]) -> list[Finding]:
    """The machine, the installation and the shell's variables."""
    return [
        *check_packages(),
        *check_rivals(),
        check_processor(),
        check_memory(),
        check_disk(workspace),
        *check_variables(environment),
        check_encoding(),
    ]


def check_packages() -> Iterator[Finding]:
    """Python and each dependency against the bounds that gpt-tf was installed with."""
    wanted = importlib.metadata.metadata(PACKAGE)["Requires-Python"] or ""
    version = platform.python_version()
    fits = Requirement(f"python{wanted}").specifier.contains(version, prereleases=True)
    remedy = "" if fits else f"Install gpt-tf into an environment of Python {wanted}."
    yield Finding("ok" if fits else "broken", "Python", version, remedy)
    fine = []
    for line in importlib.metadata.requires(PACKAGE) or []:
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        name, bounds = requirement.name, str(requirement.specifier)
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield Finding("broken", name, "not installed", f'pip install "{name}{bounds}"')
            continue
        if requirement.specifier.contains(version, prereleases=True):
            fine.append(f"{name} {version}")
        else:
            yield Finding(
                "broken", name, f"{version}, not {bounds}", f'pip install "{name}{bounds}"'
            )
    yield Finding("ok", "packages", ", ".join(fine))


def check_rivals() -> Iterator[Finding]:
    """Packages that overwrite TensorFlow, packages installed twice, modules that hide others."""
    places: dict[str, set[str]] = defaultdict(set)
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            places[canonicalize_name(name)].add(str(distribution.locate_file("")))
    for name in RIVALS:
        if name in places:
            remedy = f"pip uninstall {name}, then pip install --force-reinstall tensorflow."
            yield Finding("broken", name, "installed beside tensorflow", remedy)
    for name in SHADOWED:
        folders = places.get(name, set())
        if len(folders) > 1:
            found = f"installed {len(folders)} times: {', '.join(sorted(folders))}"
            yield Finding("warning", name, found, "Use a separate environment.")
        spec = importlib.util.find_spec(name)
        origin = spec.origin if spec else None
        if origin and folders and not any(Path(origin).is_relative_to(f) for f in folders):
            yield Finding("broken", name, f"hidden by {origin}", "Rename or remove it.")


def check_processor() -> Finding:
    """Cores, and the precision that the instruction set allows."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    flags = cpu_flags()
    known = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    precision = "bfloat16 where it pays" if bfloat16_flags() else "float32"
    found = f"{cores} cores, {', '.join(known) or platform.machine()}: precision {precision}"
    if flags and platform.machine() == "x86_64" and "avx" not in flags:
        return Finding(
            "broken",
            "processor",
            f"{found}; no AVX",
            "TensorFlow's packages need AVX: use another machine.",
        )
    return Finding("ok", "processor", found)


def check_memory() -> Finding:
    """What is free now."""
    memory = psutil.virtual_memory()
    found = f"{memory.available / GB:.1f} GB free of {memory.total / GB:.1f}"
    if memory.available < LITTLE_MEMORY:
        return Finding("warning", "memory", found, "End other programs, or train a smaller model.")
    return Finding("ok", "memory", found)


def check_disk(workspace: Path) -> Finding:
    """Room for checkpoints, and whether they may be written."""
    free = shutil.disk_usage(workspace).free
    found = f"{free / GB:.1f} GB free in {workspace}"
    if not os.access(workspace, os.W_OK):
        return Finding(
            "warning", "disk", f"{workspace} cannot be written", "Change to a folder of your own."
        )
    if free < LITTLE_DISK:
        return Finding("warning", "disk", found, "Free some, or change to another disk.")
    return Finding("ok", "disk", found)


def check_variables(environment: Mapping[str, str]) -> list[Finding]:
    """The variables of the shell that change what TensorFlow and Python do."""
    set_ones = [
        Finding("warning", name, repr(environment[name]), remedy)
        for name, remedy in HOSTILE.items()
        if environment.get(name) and environment[name] != HARMLESS.get(name)
    ]
    return set_ones or [Finding("ok", "variables", "none that changes what TensorFlow does")]


def check_encoding() -> Finding:
    """Whether the terminal takes every character."""
    encoding = sys.stdout.encoding or "ascii"
    if encoding.lower().replace("-", "") == "utf8":
        return Finding("ok", "encoding", encoding)
    return Finding(
        "warning",
        "encoding",
        f"{encoding}: other characters are shown as codes",
        "Set LC_ALL=C.UTF-8, and no PYTHONIOENCODING.",
    )
