"""Files of other programs that have the names of ours: nothing of them is removed or moved."""

from pathlib import Path
from typing import Any

import pytest
from commands import BIGRAM_RUN, in_process, tree

from gpt_tf.errors import UsageError
from gpt_tf.inference.litert import prepared
from gpt_tf.storage.run_contents import SET_ASIDE, foreign_files

TRAIN = ["train", "--data", "reviews", "--max-steps", "10", *BIGRAM_RUN]
TINY = Path("runs", "tiny")


def theirs(folder: Path) -> None:
    """A run of another program, which writes to runs/ too."""
    for name in (
        "checkpoints/step-00001000/model.safetensors",
        "config.yaml",
        "run.log",
        "loss.png",
        "events.out.tfevents.1700000000.host.42.0",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine")


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_a_run_of_another_program_is_refused_by_name(workspace: Path, overwrite, capsys) -> None:
    theirs(workspace / "runs" / "exp1")
    before = tree(workspace / "runs")
    assert in_process(*TRAIN, "--name", "exp1", *overwrite, cwd=workspace, check=False) == 2
    assert "not a run of gpt-tf" in capsys.readouterr().err
    assert tree(workspace / "runs") == before


def test_the_number_of_another_programs_run_is_not_free(workspace: Path) -> None:
    theirs(workspace / "runs" / "demo-001")
    before = tree(workspace / "runs" / "demo-001")
    in_process(*TRAIN, cwd=workspace)
    assert (workspace / "runs" / "demo-002" / "checkpoints").is_dir()
    assert tree(workspace / "runs" / "demo-001") == before


def test_an_import_does_not_take_the_place_of_another_programs_run(workspace: Path) -> None:
    in_process("export", "tiny", "--to", "hf", cwd=workspace)
    theirs(workspace / "runs" / "exp2")
    before = tree(workspace / "runs")
    assert in_process("import", "hf", "--name", "exp2", cwd=workspace, check=False) == 2
    assert tree(workspace / "runs") == before


@pytest.mark.parametrize("name", ["out.2024.tmp", "out.old.tmp", "out.9.tmp"])
def test_temporary_names_of_others_stay(workspace: Path, name: str) -> None:
    (workspace / name).mkdir()
    (workspace / name / "thesis.txt").write_text("mine")
    (workspace / "plot.png.7.tmp").write_text("mine")
    before = {name: tree(workspace / name), "plot": "mine"}
    in_process("export", "tiny", "--to", "out", cwd=workspace)
    in_process("plot", "tiny", cwd=workspace)
    assert before == {
        name: tree(workspace / name),
        "plot": (workspace / "plot.png.7.tmp").read_text(),
    }


@pytest.mark.parametrize(
    "names", [["thesis.md"], ["config.yaml", "metrics.jsonl"], ["checkpoints/thesis.md"]]
)
def test_a_previous_run_of_the_users_own_stays(workspace: Path, names: list[str]) -> None:
    for name in names:
        path = workspace / TINY / "previous-run" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    before = tree(workspace / "runs")
    in_process("plot", "tiny", cwd=workspace)
    in_process("generate", "--max-new-tokens", "1", cwd=workspace)
    assert in_process(*TRAIN, "--name", "tiny", "--overwrite", cwd=workspace, check=False) == 2
    assert tree(workspace / "runs") == before


def test_a_table_of_the_users_own_in_a_run_that_was_set_aside_is_theirs(tmp_path: Path) -> None:
    previous = tmp_path / "previous-run"
    previous.mkdir()
    (previous / SET_ASIDE).touch()
    (previous / "config.yaml").write_text("model: {}\n")
    table = previous / "metrics.csv"
    for text, theirs in (("step,train/loss\n1,2.5\n", []), ("epoch,loss\n1,2.5\n", [table])):
        table.write_text(text)
        assert [tmp_path / name for name in foreign_files(tmp_path)] == theirs


@pytest.mark.parametrize(
    "folder", ["engines/int8-step-00000020", "plugins/profile/2026_01_02_03_04_05"]
)
def test_a_users_file_among_engines_or_profiles_is_named(
    workspace: Path, folder: str, capsys
) -> None:
    (workspace / TINY / folder).mkdir(parents=True)
    (workspace / TINY / folder / "thesis.docx").write_text("mine")
    before = tree(workspace / "runs")
    code = in_process(*TRAIN, "--name", "tiny", "--overwrite", cwd=workspace, check=False)
    assert code == 2
    assert f"{folder}/thesis.docx" in capsys.readouterr().err
    assert tree(workspace / "runs") == before


def test_a_users_file_in_the_place_of_an_engine_is_refused_before_the_conversion(
    tmp_path: Path,
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    nothing: Any = None  # the model is not even looked at
    with pytest.raises(UsageError, match=r"holds notes\.txt, .*\. Move it away\."):
        prepared(tmp_path, nothing, "int8", "")
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("option", ["--dry-run", "--print-config"])
def test_what_only_looks_does_not_go_on_with_a_run(workspace: Path, option: str) -> None:
    before = tree(workspace)
    assert in_process("train", "--resume", "tiny", option, cwd=workspace, check=False) == 2
    assert tree(workspace) == before


@pytest.mark.parametrize("name", ["newest", "-x", "a.gpt-tf-1-abcdef.tmp"])
def test_names_that_could_not_be_found_again_are_refused(workspace: Path, name: str) -> None:
    assert in_process(*TRAIN, f"--name={name}", cwd=workspace, check=False) == 2
    grid = ["sweep", "--data", "reviews", "--grid", "model.num_layers=1,2", f"--name={name}"]
    assert in_process(*grid, cwd=workspace, check=False) == 2
    assert not (workspace / "sweeps").exists()
