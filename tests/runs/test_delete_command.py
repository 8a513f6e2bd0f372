"""`gpt-tf delete`: what was asked for goes, and nothing else; what is refused stays whole."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import called, tree
from made_runs import damage, made_run, three_runs, write_sweep_of

from gpt_tf.storage.atomic import temporary_name
from gpt_tf.storage.lock import locked


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return three_runs(tmp_path / "workspace")


def names(workspace: Path) -> list[str]:
    return sorted(path.name for path in (workspace / "runs").iterdir())


def test_a_run_goes_and_its_neighbours_stay(workspace: Path) -> None:
    before = tree(workspace / "runs" / "base")
    said = called("delete", "other", "--yes", cwd=workspace)
    assert said.stdout == f"deleted: {workspace / 'runs' / 'other'} (0.0 MB)\n"
    assert names(workspace) == ["base", "tuned"]
    assert tree(workspace / "runs" / "base") == before


def test_json_says_what_went(workspace: Path) -> None:
    said = called("delete", "other", "--yes", "--json", cwd=workspace)
    (gone,) = json.loads(said.stdout)["deleted"]
    assert (gone["run"], gone["path"]) == ("other", str(workspace / "runs" / "other"))
    assert gone["bytes"] > 1000


def test_all_runs_go_although_what_is_said_cannot_be_written(workspace: Path) -> None:
    code = "from gpt_tf.cli.main import main; main(['delete', '--yes', 'tuned', 'other'])"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", code], cwd=workspace, stdout=full, check=False)
    assert done.returncode == 1
    assert names(workspace) == ["base"]


def test_a_damaged_run_and_one_without_settings_go(workspace: Path) -> None:
    damage(made_run(workspace, "broken", {10: 1.0}))
    made_run(workspace, "lost", {10: 1.0}).config_file.unlink()
    called("delete", "broken", "runs/lost", "lost", "--yes", cwd=workspace)
    assert names(workspace) == ["base", "other", "tuned"]


def refused(workspace: Path, *arguments: str) -> str:
    before = tree(workspace)
    said = called("delete", *arguments, cwd=workspace, check=False)
    assert said.returncode == 2
    assert tree(workspace) == before
    return said.stderr


def test_without_a_terminal_and_without_yes_nothing_goes(workspace: Path) -> None:
    code = "from gpt_tf.cli.main import main; main(['delete', 'other'])"
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, cwd=workspace, stdin=subprocess.DEVNULL, capture_output=True)
    assert said.returncode == 2
    assert b"no terminal to ask on for `gpt-tf delete`. Add --yes to delete." in said.stderr
    assert "other" in names(workspace)


def test_a_run_in_use_is_refused(workspace: Path) -> None:
    with locked(workspace / "runs" / "other"):
        said = refused(workspace, "base", "other", "--yes", "--origins")
    assert "run directory in use" in said
    assert f"process {os.getpid()}" in said


def test_a_file_of_the_user_in_a_run_is_named_and_nothing_goes(workspace: Path) -> None:
    (workspace / "runs" / "other" / "checkpoints" / "notes.md").write_text("mine")
    said = refused(workspace, "tuned", "other", "--yes")
    assert "not a file of gpt-tf in" in said
    assert "checkpoints/notes.md. Move it away, and delete the run again." in said


@pytest.mark.parametrize(
    "name",
    ["events.out.tfevents.my notes", "plugins/profile/x/diary.pb", "run.log/", "metrics.csv/",
     "loss.png.gpt-tf-12-abcdef.tmp/x"],
)  # fmt: skip
def test_what_only_has_a_name_like_ours_stays(workspace: Path, name: str) -> None:
    path = workspace / "runs" / "other" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir() if name.endswith("/") else path.write_text("mine")
    assert name.split("/")[0] in refused(workspace, "tuned", "other", "--yes")


@pytest.mark.parametrize("name", ["samples.md", "checkpoints", "checkpoints/step-00000010"])
def test_a_run_with_a_link_or_a_pipe_in_it_is_refused(workspace: Path, name: str) -> None:
    path = workspace / "runs" / "other" / name
    path.rename(workspace / "outside")
    path.symlink_to(workspace / "outside")
    assert f"a link in {workspace / 'runs' / 'other'}: {name}." in refused(
        workspace, "tuned", "other", "--yes"
    )
    path.unlink()
    os.mkfifo(path)
    said = called("delete", "other", "--yes", cwd=workspace, check=False)
    assert f"not a plain file in {workspace / 'runs' / 'other'}: {name}." in said.stderr
    assert path.is_fifo()


def test_profiles_events_and_what_a_killed_process_began_go_with_the_run(workspace: Path) -> None:
    run = workspace / "runs" / "other"
    for name in (
        "plugins/profile/2026_11_27_07_03_40/vm.xplane.pb",
        "events.out.tfevents.1795762991.vm.20699.0.v2",
        "events.out.tfevents.0000000000.hparams",
        "events.gpt-tf-12-abcdef.tmp",
        "new.gpt-tf-12-abcdef.tmp/tokenizer/tokenizer.json",
        "checkpoints/step-00000020.gpt-tf-12-abcdef.tmp/model.safetensors",
    ):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).touch()
    called("delete", "other", "--yes", cwd=workspace)
    assert names(workspace) == ["base", "tuned"]


def test_a_run_that_is_not_there_is_refused_before_any_goes(workspace: Path) -> None:
    assert "no such run: othre. Did you mean other?" in refused(
        workspace, "tuned", "othre", "--yes"
    )


def test_a_folder_of_another_program_is_not_a_run(workspace: Path) -> None:
    foreign = workspace / "runs" / "foreign"
    foreign.mkdir()
    (foreign / "config.yaml").write_text("theirs: true")
    assert "not a run of gpt-tf" in refused(workspace, "foreign", "--yes")


def test_a_link_in_place_of_a_run_is_not_followed(workspace: Path) -> None:
    shutil.move(workspace / "runs" / "other", workspace / "elsewhere")
    (workspace / "runs" / "other").symlink_to(workspace / "elsewhere")
    assert "a link in place of a run" in refused(workspace, "other", "--yes")


def test_the_origin_of_another_run_is_refused_by_name(workspace: Path) -> None:
    said = refused(workspace, "base", "--yes")
    assert "origin of another run: base, whose weights tuned began with." in said
    assert "`gpt-tf delete base tuned`, or add --origins" in said
    called("delete", "base", "--yes", "--origins", cwd=workspace)
    assert names(workspace) == ["other", "tuned"]


DAMAGES = {
    "cut": "model:\n  widt",
    "cut in the origin": "origin:\n",
    "cut in the place": "origin:\n  run: runs/ba",
    "no YAML": "origin: {\n  run: ",
    "empty": "",
    "missing": None,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("command", ["delete", "rename"])
def test_an_origin_is_known_though_the_settings_of_the_other_run_are_damaged(
    workspace: Path, command: str, damage: str
) -> None:
    settings = workspace / "runs" / "tuned" / "config.yaml"
    settings.unlink()
    if (text := DAMAGES[damage]) is not None:
        settings.write_text(text)
    word = "--yes" if command == "delete" else "new"
    before = tree(workspace)
    said = called(command, "base", word, cwd=workspace, check=False)
    assert said.returncode == 2 and "origin of another run: base" in said.stderr
    assert tree(workspace) == before
    called("delete", "tuned", "--yes", cwd=workspace)
    called(command, "base", word, cwd=workspace)


def test_a_table_of_the_users_own_is_named_and_nothing_goes(workspace: Path) -> None:
    table = workspace / "runs" / "other" / "metrics.csv"
    for text in ("epoch,loss\n1,2\n", "step,train/loss,notes\n1,2,good\n", "step;loss\n", ""):
        table.write_text(text)
        assert "metrics.csv. Move it away" in refused(workspace, "other", "--yes")
    table.write_text("step,eval/loss\n10,2.0\n")  # as training writes it
    called("delete", "other", "--yes", cwd=workspace)


def test_an_origin_goes_together_with_the_run_that_began_with_it(workspace: Path) -> None:
    called("delete", "base", "tuned", "--yes", cwd=workspace)
    assert names(workspace) == ["other"]


def test_of_a_chain_of_origins_each_link_counts(workspace: Path) -> None:
    made_run(workspace, "again", {10: 1.0}, {"origin": {"run": "runs/tuned"}})
    said = refused(workspace, "base", "tuned", "--yes")
    assert "origin of another run: tuned, whose weights again began with." in said


def test_the_command_that_a_refusal_names_deletes_a_whole_chain(workspace: Path) -> None:
    made_run(workspace, "again", {10: 1.0}, {"origin": {"run": "runs/tuned"}})
    said = refused(workspace, "other", "base", "--yes")
    _, command, _ = said.replace("\n", " ").split("`")
    assert command == "gpt-tf delete other base tuned again"
    called(*command.split()[1:], "--yes", cwd=workspace)
    assert names(workspace) == []


def test_what_a_killed_call_left_goes_with_the_next_one(workspace: Path) -> None:
    run = workspace / "runs" / "other"
    run.rename(temporary_name(run))
    assert "temporary" not in called("runs", cwd=workspace).stdout
    assert len(called("runs", cwd=workspace).stdout.splitlines()) == 3
    said = called("delete", "other", "--yes", cwd=workspace)
    assert said.stderr == "removed what an earlier call had left of: other\n"
    assert names(workspace) == ["base", "tuned"]


def test_it_goes_also_by_the_name_of_its_folder_and_json_says_so(workspace: Path) -> None:
    run = workspace / "runs" / "other"
    run.rename(temporary_name(run))
    said = called("delete", "runs/other", "tuned", "--yes", "--json", cwd=workspace)
    result = json.loads(said.stdout)
    assert result["finished"] == ["runs/other"]
    assert [one["run"] for one in result["deleted"]] == ["tuned"]
    assert names(workspace) == ["base"]


def test_a_cell_of_a_sweep_goes_with_a_word_on_the_sweep(workspace: Path) -> None:
    write_sweep_of(workspace, "other")
    said = called("delete", "other", "--yes", cwd=workspace)
    assert "other is a cell of the sweep grid: `gpt-tf sweep --resume grid`" in said.stderr


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["t*"], ["base", "other"]),
        (["runs/t*", "oth[e]r"], ["base"]),
        (["--all-but", "base"], ["base"]),
        (["--all-but", "base", "--all-but", "runs/tun*"], ["base", "tuned"]),
        (["*e*", "--all-but", "base", "--all-but", "tuned"], ["base", "tuned"]),
        (["tuned", "--all-but", "tuned"], ["base", "other", "tuned"]),
    ],
)
def test_a_pattern_and_all_but_name_the_runs_that_go(
    workspace: Path, words: list[str], left: list[str]
) -> None:
    foreign = workspace / "runs" / "their notes"
    foreign.mkdir()
    (foreign / "config.yaml").write_text("theirs: true")
    called("delete", *words, "--yes", cwd=workspace)
    assert names(workspace) == sorted([*left, "their notes"])


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--all-but", "bsae"], "no such run: bsae. Did you mean base?"),
        (["tuned", "--all-but", "x*"], "no such run: x*."),
        (["tuned", "--all-but", "base"], "no effect in --all-but: base is none of the runs that"),
        (["base", "tuned", "--all-but", "other"], "would go: base, tuned. Give --all-but once for"),
        (["--all-but", "their notes"], "no such run: their notes"),
        (["--all-but", "../elsewhere"], "no effect in --all-but: ../elsewhere is none of the runs"),
        (["tuned", "x*"], "no such run: x*."),
        (["--all-but", "tuned"], "began with. Keep it with --all-but base, or add --origins"),
        ([], "no run to delete. Name runs, or those that stay with --all-but RUN."),
    ],
)
def test_what_cannot_be_meant_is_refused_whole(
    workspace: Path, words: list[str], problem: str
) -> None:
    elsewhere = workspace.parent / "elsewhere" / "checkpoints"
    elsewhere.mkdir(parents=True)
    assert problem in refused(workspace, *words, "--yes")


@pytest.mark.parametrize("word", ["linked", "../linked/runs/base", "runs/linked"])
def test_a_run_that_stays_may_be_named_through_a_link(workspace: Path, word: str) -> None:
    (workspace.parent / "linked").symlink_to(workspace)
    (workspace / "runs" / "linked").symlink_to("base")
    called("delete", "other", "tuned", "base", "--all-but", word, "--yes", cwd=workspace)
    assert names(workspace) == ["base", "linked"]


def test_a_run_in_use_that_a_pattern_matches_is_refused(workspace: Path) -> None:
    with locked(workspace / "runs" / "tuned"):
        assert "run directory in use" in refused(workspace, "*", "--yes")


def test_a_run_whose_name_is_a_pattern_means_itself(workspace: Path) -> None:
    made_run(workspace, "other[a]*", {10: 1.0})
    called("delete", "other[a]*", "--yes", cwd=workspace)
    assert names(workspace) == ["base", "other", "tuned"]


def test_a_pattern_finds_what_a_killed_call_left(workspace: Path) -> None:
    run = workspace / "runs" / "other"
    run.rename(temporary_name(run))
    assert "no terminal to ask on" in refused(workspace, "*")
    said = called("delete", "*", "--all-but", "[bt]*", "--yes", cwd=workspace)
    assert said.stderr == "removed what an earlier call had left of: other\n"
    assert names(workspace) == ["base", "tuned"]


@pytest.mark.parametrize(("answer", "left"), [("y", 2), ("n", 3), ("", 3)])
def test_on_a_terminal_it_says_what_goes_and_asks(workspace: Path, answer: str, left: int) -> None:
    ours, theirs = os.openpty()
    os.write(ours, f"{answer}\n".encode())
    said = subprocess.run(
        [sys.executable, "-m", "gpt_tf", "delete", "other"],
        cwd=workspace, stdin=theirs, capture_output=True, text=True,
    )  # fmt: skip
    os.close(theirs)
    os.close(ours)
    assert "other  stopped    10  2.0000  0.0 MB" in said.stderr
    assert "Delete this run? [y/N]" in said.stderr
    assert len(names(workspace)) == left
    assert ("nothing was deleted" in said.stderr) == (left == 3)
