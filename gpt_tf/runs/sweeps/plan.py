"""A sweep: a grid of settings, a run for each of its cells, and the plan that names them all.

`sweeps/<name>/sweep.yaml` is the plan, written before the first cell is trained; again only if the
data have moved. The results of the cells are in `results`.
"""

from __future__ import annotations

import dataclasses
import logging
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpt_tf.config import Config
from gpt_tf.config_files import build, merge, nested, text_of
from gpt_tf.errors import RunError, UsageError
from gpt_tf.reports.text_table import short_names
from gpt_tf.runs.sweeps.grid import Cell, Grid
from gpt_tf.storage import atomic
from gpt_tf.storage.finding_runs import check_name
from gpt_tf.storage.lock import LOCK_FILES, holder
from gpt_tf.storage.plain import read_plain
from gpt_tf.storage.run_contents import refuse_links_of_sweep
from gpt_tf.storage.run_directory import RUNS
from gpt_tf.storage.targets import check_folder
from gpt_tf.storage.yaml_file import dump_yaml, parse_yaml

SWEEPS = "sweeps"
EXAMPLE = "gpt-tf sweep --grid model.num_layers=2,4 --grid model.num_heads=2,4"
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that a sweep depends on.

    Attributes:
      sequence: above that of every sweep begun before.
      preset, settings: the layers below the grid; `settings` has the preset's in it.
      data, validation, tokenizer: paths, relative to the workspace if inside it; without data it
        is the prepared corpus called `corpus`.
      fingerprint, tokenizer_sha256: of the data and the tokenizer; none in plans of version 0.1.0.
    """

    sequence: int
    preset: str
    corpus: str
    data: str | None
    validation: str | None
    tokenizer: str
    settings: dict[str, Any]
    grid: Grid
    cells: list[Cell]
    fingerprint: str | None = None
    tokenizer_sha256: str | None = None

    def describe(self, cell: Cell) -> str:
        """The cell's values: `num_layers=6 num_heads=12`."""
        names = short_names(self.grid)
        return " ".join(f"{names[key]}={text_of(value)}" for key, value in cell.settings.items())


@dataclass(frozen=True)
class SweepDirectory:
    """The places inside one sweep's directory."""

    path: Path

    @property
    def name(self) -> str:
        """The sweep's name."""
        return self.path.name

    @property
    def called(self) -> str:
        """The name, as it is typed."""
        return shlex.quote(self.name)

    @property
    def plan_file(self) -> Path:
        """The plan, YAML."""
        return self.path / "sweep.yaml"

    @property
    def results_file(self) -> Path:
        """What each cell has come to, JSON."""
        return self.path / "results.json"

    @property
    def table_file(self) -> Path:
        """The same as a table, CSV, best first."""
        return self.path / "results.csv"

    @property
    def picture(self) -> Path:
        """Perplexity by cell."""
        return self.path / "heatmap.png"

    def write_plan(self, plan: Plan) -> None:
        """Store the plan; the sweep exists when this returns."""
        atomic.write_text(self.plan_file, dump_yaml(dataclasses.asdict(plan)))

    def read_plan(self) -> Plan:
        """The stored plan.

        Raises:
          RunError: it is damaged.
          UsageError: a file of the sweep is a link.
        """
        refuse_links_of_sweep(self.path)
        try:
            values = parse_yaml(read_plain(self.plan_file).decode("utf-8"), str(self.plan_file))
            cells = [Cell(**cell) for cell in values.pop("cells")]
            plan = Plan(**values, cells=cells)
            _check_shape(plan)
            return plan
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(
                f"damaged plan in {self.plan_file}: {error}. Restore the file, or begin another "
                "sweep; the runs are kept."
            ) from error


def _check_shape(plan: Plan) -> None:
    """Raise ValueError if a stored plan has values of other types than were written."""
    texts = [plan.preset, plan.corpus, plan.tokenizer, *(cell.run for cell in plan.cells)]
    paths = [plan.data, plan.validation, plan.fingerprint, plan.tokenizer_sha256]
    tables = [plan.settings, plan.grid, *(cell.settings for cell in plan.cells)]
    whole = (
        type(plan.sequence) is int
        and plan.cells
        and all(isinstance(text, str) for text in texts)
        and all(path is None or isinstance(path, str) for path in paths)
        and all(isinstance(table, dict) for table in tables)
        and all(isinstance(values, list) for values in plan.grid.values())
        and all(cell.settings.keys() == plan.grid.keys() for cell in plan.cells)
    )
    if not whole:
        raise ValueError("it is not what was written")


def resolve_cells(plan: Plan) -> list[Config]:
    """The checked settings of every cell.

    Raises:
      UsageError: with every problem of every cell, each once, and where it is.
    """
    configs: list[Config] = []
    found: dict[str, list[Cell]] = {}
    for cell in plan.cells:
        problems: list[str] = []
        config = build(Config, merge(plan.settings, nested(cell.settings)), "", problems)
        for problem in problems:
            found.setdefault(problem, []).append(cell)
        if isinstance(config, Config):
            configs.append(config)
    if found:
        lines = [f"  {problem}{_where(plan, cells)}" for problem, cells in found.items()]
        raise UsageError("invalid configuration:\n" + "\n".join(lines))
    return configs


def _where(plan: Plan, cells: Sequence[Cell]) -> str:
    if len(cells) == len(plan.cells):
        return ""
    first = plan.describe(cells[0])
    return f" (in {len(cells)} of {len(plan.cells)} cells, the first {first})"


def all_sweeps(workspace: Path) -> list[SweepDirectory]:
    """Every sweep of the workspace, by name."""
    return [
        SweepDirectory(path.parent) for path in sorted(workspace.glob(f"{SWEEPS}/*/sweep.yaml"))
    ]


def _sequences(workspace: Path) -> list[tuple[int, SweepDirectory]]:
    """Every sweep with its counter; a warning names those whose plan is damaged."""
    found = []
    for sweep in all_sweeps(workspace):
        try:
            found.append((sweep.read_plan().sequence, sweep))
        except RunError as error:
            log.warning("%s", error)
    return found


def unfinished_sweeps(workspace: Path) -> list[SweepDirectory]:
    """Directories of sweeps that ended before their plan was written."""
    folders = [path for path in sorted(workspace.glob(f"{SWEEPS}/*")) if path.is_dir()]
    sweeps = [SweepDirectory(path) for path in folders if holder(path) is None]
    return [sweep for sweep in sweeps if not sweep.plan_file.exists()]


def next_sequence(workspace: Path) -> int:
    """A counter above that of every sweep of the workspace."""
    return 1 + max((sequence for sequence, _ in _sequences(workspace)), default=0)


def newest_sweep(workspace: Path) -> SweepDirectory:
    """The sweep begun last. Raises UsageError if there is none."""
    sweeps = _sequences(workspace)
    if not sweeps:
        raise UsageError(f"no sweep in {workspace / SWEEPS}. Begin one, as with `{EXAMPLE}`.")
    return max(sweeps, key=lambda entry: entry[0])[1]


def find_sweep(workspace: Path, name: str) -> SweepDirectory:
    """The sweep called `name`. Raises UsageError that lists the sweeps there are."""
    sweeps = {sweep.name: sweep for sweep in all_sweeps(workspace)}
    if name not in sweeps:
        names = ", ".join(sweeps) or "none"
        raise UsageError(f"no such sweep: {name}. Sweeps in {workspace / SWEEPS}: {names}.")
    return sweeps[name]


def new_sweep(workspace: Path, name: str | None) -> SweepDirectory:
    """A directory for a new sweep: `name`, else `sweep-NNN` with the next free number.

    Raises:
      UsageError: if the name is not valid, or in use.
    """
    if name is None:
        # Runs are looked at too: those of a sweep whose own directory was removed are still there.
        # A directory without a plan is of a process that was killed before it began.
        begun = [path.parent for path in workspace.glob(f"{SWEEPS}/sweep-*/sweep.yaml")]
        places = [*begun, *workspace.glob(f"{RUNS}/sweep-*")]
        found = [re.match(r"sweep-(\d{3,})(-|$)", path.name) for path in places]
        taken = [int(match.group(1)) for match in found if match]
        name = f"sweep-{max(taken, default=0) + 1:03d}"
    check_name(name, "sweep")
    directory = SweepDirectory(workspace / SWEEPS / name)
    check_unused(directory)
    return directory


def check_unused(directory: SweepDirectory) -> None:
    """Raise UsageError if a sweep was begun there, or somebody's files or links are there."""
    refuse_links_of_sweep(directory.path)
    if directory.plan_file.exists():
        raise UsageError(
            f"sweep directory in use: {directory.path}. Go on with it: `gpt-tf sweep --resume "
            f"{directory.called}`, or choose another --name."
        )
    atomic.sweep(directory.path, directory.plan_file.name)  # killed while it wrote its plan
    check_folder(directory.path, "--name", own=LOCK_FILES)
