"""Networks that a test can cut."""

import contextlib
import os
import subprocess
from collections.abc import Iterator

import pytest


@contextlib.contextmanager
def namespaces() -> Iterator[list[str]]:
    """Two network namespaces that are connected by a cable."""
    names = [f"gpt-tf-{os.getpid()}-{end}" for end in range(2)]
    commands = f"""
        netns add {names[0]}
        netns add {names[1]}
        -n {names[0]} link add cable0 type veth peer name cable1 netns {names[1]}
        -n {names[0]} addr add 10.214.0.1/24 dev cable0
        -n {names[1]} addr add 10.214.0.2/24 dev cable1
        -n {names[0]} link set cable0 up
        -n {names[1]} link set cable1 up
    """
    try:
        for line in commands.strip().splitlines():
            subprocess.run(["ip", *line.split()], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as problem:
        pytest.skip(f"no network namespaces here: {problem}")
    else:
        yield names
    finally:
        for name in names:
            with contextlib.suppress(OSError):
                subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
