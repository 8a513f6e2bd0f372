"""A workspace full of things that no command was told to change, and what became of them."""

import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from commands import in_process

from gpt_tf.storage.manifest import write_manifest
from gpt_tf.tokenizer.char import CharTokenizer

LATIN = os.fsdecode(b"caf\xe9")  # a name that is not UTF-8
# What a command that is told to may replace: the run and the tokenizer that it made before.
REPLACEABLE = ("runs/tiny", "tokenizers/reviews", "ours")


class Thing(NamedTuple):
    """What is at a path; times count only for what is not a folder."""

    mode: int
    device: int
    target: str
    contents: bytes
    time: int


Things = dict[str, Thing]


def things(workspace: Path) -> Things:
    """Everything below a workspace; links are not followed."""
    found: Things = {}
    for root, folders, files in os.walk(workspace):
        for name in (*folders, *files):
            path = Path(root, name)
            status = path.lstat()
            mode = status.st_mode
            found[str(path.relative_to(workspace))] = Thing(
                mode,
                status.st_rdev,
                str(path.readlink()) if stat.S_ISLNK(mode) else "",
                path.read_bytes() if stat.S_ISREG(mode) else b"",
                0 if stat.S_ISDIR(mode) else status.st_mtime_ns,
            )
    return found


def add_bystanders(workspace: Path) -> None:
    """Texts, links, a FIFO, a device, and folders in every place that gpt-tf writes to."""
    for name, text in {
        "texts/a.txt": "so good\nso bad\n" * 40,
        "texts/b.txt": "not so bad\n" * 40,
        "texts/.hidden.txt": "a secret",
        "texts/deep/c.txt": "so long\n" * 40,
        f"{LATIN}/{LATIN}.txt": "so good\n" * 40,
        "notes.md": "years of work",
        ".env": "PASSWORD=hunter2",
        ".git/config": "[core]",
        "precious/will.txt": "my last will",
        "precious/deep/will.txt": "another",
        "app/manifest.json": '{"name": "an app", "icons": []}',
        "app/index.html": "<html>",
        "read-only/file.txt": "not to be written",
        "data/notes.md": "mine",
        "data/own/train.txt": "so good\n" * 40,
        "data/tinyshakespeare/notes.md": "mine",
        "data/imdb/train.txt": "mine",
        "runs/notes.md": "mine",
        "runs/own/config.yaml": "mine: true",
        "runs/own/notes.md": "mine",
        "tokenizers/notes.md": "mine",
        "tokenizers/own/tokenizer.json": "{}",
        "tokenizers/texts/notes.md": "mine",
        "sweeps/own/heatmap.png": "mine",
        "prompts.txt": "so\nnot\n",
        "plot.png": "a picture of mine",
    }.items():
        path = workspace / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (workspace / "precious" / "empty").mkdir()
    (workspace / "empty").mkdir(mode=0o700)
    for name, target in {
        "link to a file": "notes.md",
        "link to a folder": "precious",
        "link to nothing": "nowhere",
        "precious/link.txt": "../notes.md",
        "sweeps/link": "../precious",
        "runs/link": "../precious",
        "tokenizers/link": "../precious",
    }.items():
        (workspace / name).symlink_to(target)
    os.mkfifo(workspace / "fifo")
    with suppress(PermissionError):
        os.mknod(workspace / "device", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (workspace / ".env").chmod(0o600)
    (workspace / "read-only" / "file.txt").chmod(0o444)
    (workspace / "read-only").chmod(0o555)
    CharTokenizer.train(["so good, not so bad"]).save(workspace / "ours")
    CharTokenizer.train(["so good, not so bad"]).save(workspace / "ours and mine")
    (workspace / "ours and mine" / "notes.md").write_text("mine")
    shutil.copytree(workspace / "runs" / "tiny", workspace / "runs" / "other")
    in_process("export", "tiny", "--to", "hf", cwd=workspace)
    (workspace / "hf" / "note.md").write_text("mine")
    write_manifest(workspace / "precious", [], {"somebody": "else"})


class Workspace:
    """The workspace, put back as it was after each command.

    Args:
      path: has the run `tiny` and the tokenizer `reviews`.
      spare: an empty folder for copies of what may be replaced.
    """

    def __init__(self, path: Path, spare: Path) -> None:
        self.path, self._spare = path, spare
        add_bystanders(path)
        for name in REPLACEABLE:
            shutil.copytree(path / name, spare / name)
        self.before = things(path)

    def changed(self, replaced: str = "") -> list[str]:
        """The bystanders that are not as they were; then all is as it was again.

        Args:
          replaced: a file that the command was told to overwrite; it keeps its mode.
        """
        now = things(self.path)
        different = [name for name, thing in self.before.items() if now.get(name) != thing]
        if replaced in different and now[replaced].mode == self.before[replaced].mode:
            different.remove(replaced)
            path, thing = self.path / replaced, self.before[replaced]
            path.write_bytes(thing.contents)
            os.utime(path, ns=(thing.time, thing.time))
        self._put_back(now)
        return [name for name in different if not self._replaceable(name)]

    def new(self) -> list[str]:
        """What was not there before."""
        return [name for name in things(self.path) if name not in self.before]

    def _replaceable(self, name: str) -> bool:
        return any(name == each or name.startswith(f"{each}/") for each in REPLACEABLE)

    def _put_back(self, now: Things) -> None:
        for name in now.keys() - self.before.keys():
            path = self.path / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        for each in REPLACEABLE:
            if any(
                now.get(name) != thing
                for name, thing in self.before.items()
                if name == each or name.startswith(f"{each}/")
            ):
                shutil.rmtree(self.path / each, ignore_errors=True)
                shutil.copytree(self._spare / each, self.path / each)
