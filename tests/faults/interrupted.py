"""Commands with a fault at each of their file operations, then called again.

A command runs in a copy of a workspace with things that are the user's. After the fault these are
as they were; after the next call the workspace holds what it holds where there was no fault, and
nothing else.
"""

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults import shim
from faults.trainers import TrainerServer

from gpt_tf.storage.manifest import sha256_file

KILLED = -9
# What a second call says of what the first one made.
DONE = "there already|in use|no such run|file exists in --output"
# What is the same in every run of a command; other files have times or sizes of memory in them.
SAME = (
    ".safetensors", ".txt", ".npy", ".bin", ".tflite", "config.yaml", "sweep.yaml", "vocab.json",
    "tokenizer.json", "tokenizer_config.json", "source.json", "state.json", "merges.txt",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Command:
    """What is interrupted.

    Attributes:
      arguments: of `gpt-tf`, or of the function `instead`.
      then: the next call where it differs, once the file `begun` is there.
      replaces: paths in the workspace that the command writes in place of what was there.
      leaves: what may stay when the disk fails; without any harm, and no next call passes there.
      eagerly: compile nothing; the files are the same.
    """

    arguments: list[str]
    then: list[str] = field(default_factory=list)
    begun: str = ""
    instead: str = ""
    replaces: tuple[str, ...] = ()
    leaves: tuple[str, ...] = ()
    eagerly: bool = False


Tree = dict[str, str]  # path -> SHA-256, or what kind of thing it is


def tree(workspace: Path) -> Tree:
    """Every file, link and empty folder below a workspace."""
    found = {}
    for path in workspace.rglob("*"):
        name = path.relative_to(workspace).as_posix()
        if path.is_symlink():
            found[name] = "link"
        elif path.is_file():
            found[name] = sha256_file(path)
        elif not any(path.iterdir()):
            found[name] = "empty folder"
    return found


def comparable(found: Tree) -> Tree:
    """A tree without what differs from call to call: times in names, times and speeds in files."""
    return {
        re.sub(r"(events\.out\.tfevents)\..*(hparams|v2)", r"\1.\2", name): (
            digest if name.endswith(SAME) or len(digest) < 64 else "file"
        )
        for name, digest in found.items()
        if not name.endswith("lock-owner.json")
    }


class Interruptions:
    """Runs a command in copies of `template`, with faults."""

    def __init__(
        self, server: TrainerServer, template: Path, folder: Path, command: Command
    ) -> None:
        self.server = server
        self.template = template
        self.folder = folder
        self.command = command
        self.workspace = folder / "workspace"
        self.ends: Counter[str] = Counter()
        self._begin()
        log = folder / "log"
        code, said = self._run(command.arguments, fault=[str(self.workspace), 0, "log", str(log)])
        assert code == 0, said
        self.operations = shim.operations(log)
        assert self.operations, f"no operation was met: {command.arguments}"
        self.whole = comparable(tree(self.workspace))

    def _begin(self) -> None:
        shutil.rmtree(self.workspace, ignore_errors=True)
        shutil.copytree(self.template, self.workspace, symlinks=True)
        self.before = tree(self.workspace)

    def _run(self, arguments: list[str], **options: Any) -> tuple[int, str]:
        if self.command.instead:
            options["instead"] = self.command.instead
        return self.server.run(
            self.workspace, arguments, output=self.folder, eagerly=self.command.eagerly, **options
        )

    def kill_at(self, number: int) -> None:
        """Leave the workspace as a process leaves it that is killed at an operation."""
        code, said = self.once(number, "kill")
        assert code == KILLED, said

    def once(self, number: int, kind: str) -> tuple[int, str]:
        """A fault at an operation, without a next call: the exit code, and what is said."""
        self._begin()
        fault = [str(self.workspace), number, kind, str(self.folder / "unread")]
        return self._run(self.command.arguments, fault=fault)

    def at(self, number: int, kind: str) -> None:
        """A fault at an operation, and the next call; raises AssertionError for what is wrong."""
        self._begin()
        log = self.folder / "unread"
        log.unlink(missing_ok=True)
        fault = [str(self.workspace), number, kind, str(log)]
        code, said = self._run(self.command.arguments, fault=fault)
        met = len(shim.operations(log)) >= number if log.exists() else False
        try:
            if kind.startswith("signal "):
                self._check_stopped(code, said, int(kind.split()[1]))
            else:
                self._check_end(code, said, kind, met)
            self._check_users_things("after the fault")
            self._call_again()
            self._check_users_things("after the next call")
        except AssertionError as error:
            operation = self.operations[min(number, len(self.operations)) - 1]
            raise AssertionError(f"{kind} at {number}, {operation}: {error}\n{said}") from error

    def _check_end(self, code: int, said: str, kind: str, met: bool) -> None:
        if kind in ("kill", "torn"):
            assert code == (KILLED if met else 0), f"ended with {code}"
            self.ends["killed" if met else "not met"] += 1
            return
        assert "Traceback" not in said
        assert code in (0, 1), f"ended with {code}"
        assert code == 0 or len(re.findall(r"^error: ", said, re.MULTILINE)) == 1, "said nothing"
        self.ends["refused" if code else "absorbed"] += 1

    def _check_stopped(self, code: int, said: str, number: int) -> None:
        """A signal ends a command with a line, and without a next call nothing half-made stays."""
        assert "Traceback" not in said and "Exception ignored" not in said
        assert code in (0, 128 + number), f"ended with {code}"
        assert code == 0 or "stopped" in said.splitlines()[-1], "said nothing"
        litter = comparable(tree(self.workspace)).keys() - self.whole.keys()
        assert not litter, f"litter after the signal: {sorted(litter)}"
        self.ends["stopped" if code else "done"] += 1

    def _check_users_things(self, when: str) -> None:
        now = tree(self.workspace)
        lost = [
            name
            for name, digest in self.before.items()
            if digest != "empty folder"
            and now.get(name) != digest
            and not name.startswith(self.command.replaces or "\0")
        ]
        assert not lost, f"lost or changed {when}: {lost}"

    def _call_again(self) -> None:
        begun = self.command.begun and (self.workspace / self.command.begun).exists()
        code, said = self._run(self.command.then if begun else self.command.arguments)
        now = comparable(tree(self.workspace))
        missing = {name for name, kind in self.whole.items() if now.get(name) != kind}
        litter = now.keys() - self.whole.keys() - set(self.command.leaves)
        # What was made whole before the fault is not made again.
        assert code == 0 or (code == 2 and re.search(DONE, said) and not missing), said
        assert not missing, f"missing or different after the next call: {sorted(missing)}"
        assert not litter, f"litter after the next call: {sorted(litter)}"


def check(interruptions: Interruptions, numbers: Iterable[int], kind: str) -> str:
    """A fault of this kind at each of these operations; what to print."""
    numbers, wrong = list(numbers), []
    for number in numbers:
        try:
            interruptions.at(number, kind)
        except AssertionError as error:
            wrong.append(str(error))
    assert not wrong, f"{len(wrong)} of {len(numbers)}:\n" + "\n".join(wrong[:10])
    ends = interruptions.ends
    assert ends["not met"] <= len(numbers) // 10, ends
    command = interruptions.command
    what = " ".join(command.arguments[:4]) or command.instead
    return (
        f"{what}, {kind}: {len(numbers)} of {len(interruptions.operations)} operations, "
        f"{json.dumps(dict(ends))}, 0 lost, 0 unloadable, 0 litter after the next call"
    )
