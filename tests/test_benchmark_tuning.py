"""The script of the grids: defaults lie inside them, rows are named as results are, an end that is best is marked."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bnnbench.engine.cell import label
from bnnbench.experiment.request import configurations, parse_overrides
from bnnbench.methods import METHODS
from bnnbench.records import (
    CellRecord,
    EvaluationRecord,
    MethodRecord,
    MetricRecord,
    Outcome,
    Score,
    SessionRecord,
    Status,
    TaskRecord,
    canonical,
)
from bnnbench.store.store import ResultStore
from bnnbench.tasks import TASKS

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "tuning.py"
SPEC = importlib.util.spec_from_file_location("benchmarks_tuning", SCRIPT)
assert SPEC is not None
assert SPEC.loader is not None
script = sys.modules[SPEC.name] = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(script)
every_grid = pytest.mark.parametrize("grid", script.GRIDS, ids=lambda grid: grid.method)


@every_grid
def test_the_default_lies_inside_the_grid(grid):
    default = METHODS.get(grid.method)()
    chosen = {name: getattr(default, name) for name in grid.values}
    assert all(chosen[name] in values for name, values in grid.values.items())
    assert grid.ends(chosen) == []


@every_grid
def test_rows_are_those_of_the_results(grid):
    """What the command line makes of the settings, labelled as cells are."""
    task, cls = TASKS.get(grid.tasks[0]), METHODS.get(grid.method)
    made = [label(method, task) for method in configurations(cls, parse_overrides(grid.settings)[grid.method])]
    rows = [grid.method if text == "default" else f"{grid.method} [{text}]" for text in made]
    assert list(script.configurations(grid)) == rows


@pytest.mark.parametrize(
    ("best", "ends"), [("0.003", "(inside the grid)"), ("0.01", "(at an end of the grid: swa_lr)")]
)
def test_the_best_on_the_validation_rows_is_chosen(tmp_path, capsys, best, ends):
    """Test scores say the opposite, and one configuration that is better still has not converged everywhere."""
    grid = script.Grid("swag", {"swa_lr": (0.0003, 0.001, 0.003, 0.01)}, ("energy", "yacht"))
    db = tmp_path / "tune.db"
    with ResultStore(db) as store:
        store.register(
            [MethodRecord("swag", 1, "", (), 0)],
            [TaskRecord(task, "1", "regression", ("uci",), "", i) for i, task in enumerate(grid.tasks)],
            [MetricRecord("log_likelihood", 1, "", "")],
        )
        session = store.start_session(SessionRecord("", False, {}, "cpu", "h", 1, ""))
        for row, chosen in script.configurations(grid).items():
            text = row.partition("[")[2].rstrip("]") or "default"
            for task, split in [(task, split) for task in grid.tasks for split in script.SPLITS]:
                cell = CellRecord(task, "1", "swag", 1, canonical(chosen), text, "10fold", split, 0, "quick")
                value = {"0.0003": 5.0, best: 1.0}.get(str(chosen["swa_lr"]), 0.0) + 0.1 * split
                found = tuple(EvaluationRecord(name, 9, (Score("log_likelihood", sign * value, 0.1),))
                              for name, sign in (("validation", 1), ("test", -1)))  # fmt: skip
                outcome = Outcome(cell, Status.OK, evaluations=found)
                bad = chosen["swa_lr"] == 0.0003 and (task, split) == ("yacht", 1)
                store.record(session, [replace(outcome, status=Status.UNCONVERGED) if bad else outcome])
    script.show(grid, script.tuned(grid, str(db)))
    row = "swag" if best == "0.003" else f"swag [swa_lr={best}]"
    assert capsys.readouterr().out.splitlines()[-1] == f"chosen: {row} {ends}"
