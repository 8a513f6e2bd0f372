"""What injects faults, made once for all tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from faults import shim, trainers


@pytest.fixture(scope="session")
def preloaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process with the fault injector in it."""
    return trainers.environment_with(shim.compiled_shim(tmp_path_factory.mktemp("shim")))


@pytest.fixture(scope="session")
def clock_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds by how many seconds the clock of the trainers is wrong."""
    path = tmp_path_factory.mktemp("clock") / "wrong_by"
    shim.set_clock(path, 0)
    return path


@pytest.fixture(scope="session")
def server(preloaded: dict[str, str], clock_file: Path) -> Iterator[trainers.TrainerServer]:
    """Starts trainers in a second or two."""
    with trainers.serving({**preloaded, "FAULTS_CLOCK": str(clock_file)}) as process:
        yield process


@pytest.fixture(scope="session")
def uninterrupted(
    server: trainers.TrainerServer,
    trained_workspace: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A workspace whose run was never interrupted; do not write."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    return trainers.trained(server, trained_workspace, folder, trainers.TRAIN)


@pytest.fixture(scope="session")
def brief(
    server: trainers.TrainerServer,
    trained_workspace: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The same with a run of a fifth of the steps; do not write."""
    folder = tmp_path_factory.mktemp("brief")
    return trainers.trained(server, trained_workspace, folder, trainers.TRAIN_BRIEFLY)
