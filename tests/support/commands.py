"""The real command line, in a process of its own or in this one."""

import io
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

BRIEFLY = [
    "--set", "training.batch_size=4",
    "--set", "training.warmup_steps=5",
    "--set", "training.log_interval=3",
    "--set", "training.eval_interval=5",
    "--set", "training.eval_batches=2",
    "--set", "training.xla=off",
    "--set", "sampling.max_new_tokens=5",
]  # fmt: skip

# One thread count for all runs that are compared bit for bit.
TINY_RUN = [
    "--set", "model.num_layers=1",
    "--set", "model.embed_dim=32",
    "--set", "model.ffn_dim=64",
    "--set", "model.num_heads=2",
    "--set", "model.context_length=32",
    "--set", "model.dropout.embedding=0.1",
    "--set", "model.dropout.attention_weights=0.1",
    "--set", "model.dropout.head=0.2",
    *BRIEFLY,
]  # fmt: skip

# The same of a bigram, which is compiled in a third of the time: for a test that looks at no layer.
BIGRAM_RUN = [
    "--set", "model.architecture=bigram",
    "--set", "model.context_length=32",
    *BRIEFLY,
]  # fmt: skip


def gpt_tf(*arguments: str, cwd: Path, check: bool = True, **environment: str):
    """Run `gpt-tf` with `arguments` in `cwd`; the result has returncode, stdout and stderr."""
    result = subprocess.run(
        [sys.executable, "-m", "gpt_tf", *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    if check and result.returncode != 0:
        raise AssertionError(f"gpt-tf {' '.join(arguments)}: {result.returncode}\n{result.stderr}")
    return result


def in_process(*arguments: str, cwd: Path, check: bool = True) -> int:
    """The exit code of `gpt-tf` with `arguments` in this process; `capsys` has what it prints."""
    from gpt_tf.cli.main import main

    before = Path.cwd()
    cwd.mkdir(exist_ok=True)
    os.chdir(cwd)
    try:
        main(list(arguments))
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        os.chdir(before)
    if check and code != 0:
        raise AssertionError(f"gpt-tf {' '.join(arguments)}: {code}")
    return code


def called(*arguments: str, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """As `gpt_tf`, in this process: seconds less where nothing of a process itself is tested."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="") for _ in range(2)]
    with redirect_stdout(streams[0]), redirect_stderr(streams[1]):
        code = in_process(*arguments, cwd=cwd, check=False)
    said = []
    for stream in streams:
        stream.flush()
        said.append(stream.buffer.getvalue().decode())  # type: ignore[attr-defined]
    if check and code != 0:
        raise AssertionError(f"gpt-tf {' '.join(arguments)}: {code}\n{said[1]}")
    return subprocess.CompletedProcess(arguments, code, *said)


@contextmanager
def stderr_that_nobody_reads() -> Iterator[None]:
    """Standard error as in `gpt-tf train 2>&1 | head -1`, once head has left."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream, redirect_stderr(stream):
        yield


def tree(folder: Path) -> dict[str, bytes | str | None]:
    """Everything below a folder: a file's bytes, a link's target, None for a folder."""
    found: dict[str, bytes | str | None] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = str(path.readlink())
        else:
            found[name] = path.read_bytes() if path.is_file() else None
    return found


def modes_and_contents(folder: Path) -> dict[str, tuple[int, object]]:
    """Mode and contents of everything below a folder, and of itself."""
    found = {}
    for path in (folder, *sorted(folder.rglob("*"))):
        mode = path.lstat().st_mode
        contents = path.read_bytes() if stat.S_ISREG(mode) else None
        found[str(path)] = (mode, path.readlink() if stat.S_ISLNK(mode) else contents)
    return found
