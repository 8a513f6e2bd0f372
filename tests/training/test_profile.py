"""`gpt-tf train --profile`: real operations with times, and a trace in the run's directory."""

from pathlib import Path

from commands import TINY_RUN, gpt_tf


def profiled(workspace: Path, name: str, max_steps: int, *options: str, check: bool = True):
    """The command's result."""
    return gpt_tf(
        "train",
        "--data",
        "reviews",
        "--profile",
        "--name",
        name,
        "--max-steps",
        str(max_steps),
        *TINY_RUN,
        *options,
        cwd=workspace,
        check=check,
    )


def test_a_profiled_run_shows_its_operations(workspace: Path) -> None:
    result = profiled(workspace, "seen", 11)
    row = next(line for line in result.stdout.splitlines() if "MatMul" in line)
    _, calls, milliseconds, share = row.split()
    assert float(calls) >= 1
    assert float(milliseconds) > 0
    assert 0 < float(share.rstrip("%")) <= 100
    (trace,) = (workspace / "runs" / "seen" / "plugins" / "profile").glob("*/*.xplane.pb")
    assert trace.stat().st_size > 1000
    assert "all steps done" in result.stdout


def test_several_steps_a_call_are_divided(workspace: Path) -> None:
    intervals = ["--set", "training.log_interval=10", "--set", "training.eval_interval=10"]
    result = profiled(workspace, "seen", 20, "--set", "training.xla=on", *intervals)
    row = next(line for line in result.stdout.splitlines() if "compiled by XLA" in line)
    assert float(row.split()[-3]) == 0.1  # ten steps a call


def test_a_run_too_short_to_profile_says_so(workspace: Path) -> None:
    result = profiled(workspace, "short", 7, check=False)
    assert result.returncode == 2
    assert "--max-steps 20" in result.stderr


def test_a_resumed_run_is_not_profiled(workspace: Path) -> None:
    result = gpt_tf("train", "--resume", "--profile", cwd=workspace, check=False)
    assert result.returncode == 2
    assert "--profile" in result.stderr
