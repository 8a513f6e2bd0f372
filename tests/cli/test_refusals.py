"""What a run directory refuses, or bears: other trainers, no room to write, older versions."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import TINY_RUN, gpt_tf
from fakes import ByteTokenizer
from places import RELEASES
from workspaces import choose_data

import gpt_tf as package
from gpt_tf.cli.main import main
from gpt_tf.config import Config, DataConfig, ModelConfig, TrainingConfig
from gpt_tf.errors import UsageError
from gpt_tf.runs.streams import Streams
from gpt_tf.storage.run_directory import RunDirectory

RUN = Path("runs", "tiny")
HOLD = (
    "import sys\nfrom pathlib import Path\nfrom gpt_tf.storage.lock import locked\n"
    "with locked(Path(sys.argv[1])):\n    print('held', flush=True); sys.stdin.read()"
)


@pytest.fixture
def command(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Run a command in a copy of the trained workspace; gives its code and what it said."""
    monkeypatch.chdir(workspace)

    def run(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as end:
            main(list(arguments))
        return int(end.value.code or 0), capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    "arguments",
    [["--resume", "tiny"], ["--data", "reviews", "--name", "tiny", "--overwrite", *TINY_RUN,
                            "--max-steps", "20"]],
)  # fmt: skip
def test_a_second_trainer_is_refused_and_readers_are_not(command, arguments: list[str]) -> None:
    """C12."""
    process_of = [sys.executable, "-c", HOLD, str(RUN)]
    before = sorted(path for path in RUN.rglob("*"))
    with subprocess.Popen(process_of, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        code, said = command("train", *arguments)
        assert code == 2
        assert f"in use: {RUN.absolute()}" in said
        assert f"by process {process.pid} on {socket.gethostname()}" in said
        assert set(before) <= set(RUN.rglob("*"))
        code, said = command("generate", "--run", "tiny", "--max-new-tokens", "2")
        assert code == 0, said
        process.communicate()


@pytest.mark.parametrize(
    ("text", "held_out", "split"), [("a word\n", "x", "validation"), ("x\n", "a word", "training")]
)
def test_data_without_a_token_to_predict_are_refused_before_the_first_step(
    text: str, held_out: str, split: str, tmp_path: Path
) -> None:
    (tmp_path / "texts.txt").write_text(text * 40)
    (tmp_path / "one.txt").write_text(held_out)
    config = Config(
        model=ModelConfig(context_length=8),
        training=TrainingConfig(batch_size=2),
        data=DataConfig(windows="padded", document="line"),
    )
    validation = tmp_path / "one.txt"
    choice = choose_data(tmp_path, tmp_path / "texts.txt", config.data, validation)
    one_token = ByteTokenizer(end=False)
    with pytest.raises(
        UsageError, match=f"no token to predict in the {split} data: batches 1 to 1 of"
    ):
        Streams(config, choice, one_token, "bytes")  # type: ignore[arg-type]
    with_end = ByteTokenizer()  # then there is the end token to predict
    assert Streams(config, choice, with_end, "another").evaluated_batches == 1  # type: ignore[arg-type]


def test_more_batches_are_measured_if_the_first_have_no_token_to_predict(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("a word\n" * 9)
    validation = tmp_path / "others.txt"
    validation.write_text("x\n" * 9 + "a word\n")

    def streams(eval_batches: int | None) -> Streams:
        config = Config(
            model=ModelConfig(context_length=8),
            training=TrainingConfig(batch_size=1, eval_batches=eval_batches),
            data=DataConfig(windows="padded", document="line", drop_duplicates=False),
        )
        choice = choose_data(tmp_path, tmp_path / "texts.txt", config.data, validation)
        return Streams(config, choice, ByteTokenizer(end=False), "bytes")  # type: ignore[arg-type]

    with pytest.raises(UsageError, match=r"1 to 1 of 10 are .* --set training\.eval_batches=null"):
        streams(1)
    assert streams(None).evaluated_batches == 10


def test_a_folder_that_cannot_be_written_is_told_before_the_first_step(command) -> None:  # C6
    shutil.move("runs", "elsewhere")
    Path("runs").write_text("in the way")
    code, said = command("train", "--data", "reviews", *TINY_RUN, "--max-steps", "20")
    assert code == 2
    assert "cannot write in" in said
    assert "step" not in said


@pytest.mark.parametrize("words", [["train"], ["sweep"], ["train-tokenizer"]])
def test_help_names_the_command_that_lists_the_presets(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:  # G12
    with pytest.raises(SystemExit):
        main([*words, "--help"])
    shown = "".join(capsys.readouterr().out.split())
    assert "`gpt-tfpresets`liststhem." in shown


def test_an_ascii_terminal_shows_codes(tmp_path: Path) -> None:  # G8
    (tmp_path / "été.txt").write_text("Some text of some words. " * 20)
    result = gpt_tf(
        "train-tokenizer", "été.txt", "--vocab-size", "260", cwd=tmp_path, PYTHONIOENCODING="ascii"
    )
    assert "data: \\xe9t\\xe9.txt" in result.stderr
    assert "260 entries" in result.stdout


def test_files_of_a_run_are_nobody_else_s_to_write_and_hold_no_environment(  # X9
    trained_workspace: Path,
) -> None:
    files = [path for path in (trained_workspace / RUN).rglob("*") if path.is_file()]
    assert len(files) > 10
    for path in files:
        assert path.stat().st_mode & 0o133 == 0, path  # nor executable
        assert os.environ["PATH"].encode() not in path.read_bytes()


@pytest.mark.parametrize(
    "release", sorted(path.name for path in RELEASES.iterdir() if path.is_dir())
)
def test_a_run_of_each_release_loads(release: str, tmp_path: Path) -> None:  # C30
    """A release adds a run: `gpt-tf train` as in `tests/releases/README.md`."""
    shutil.copytree(RELEASES / release, tmp_path / "run")
    checkpoint = RunDirectory(tmp_path / "run").checkpoints.last()
    assert checkpoint.state["loop"]["step"] == 6
    assert checkpoint.manifest["versions"]["gpt_tf"] == release
    writer = package.load(tmp_path / "run")
    assert isinstance(writer.generate("a", max_new_tokens=3), str)
