"""The law of units: a benchmark in other units is the same benchmark.

y -> a y + c moves the log-likelihood by -log a and multiplies the rmse by a; x -> a x + c changes nothing. Held for
every regression task, on some of its rows, with scales from 1e-6 to 1e6 and offsets of up to 1e8 standard deviations.
Rounding moves a column by eps |c| / (a sd) standard deviations before anything sees it; scores may move in proportion.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from helpers import CPU

from bnnbench.data.arrays import Data, spread
from bnnbench.engine.cell import Cell
from bnnbench.engine.pack import stack
from bnnbench.engine.train import train
from bnnbench.errors import UserError
from bnnbench.evaluation.evaluate import evaluate_only
from bnnbench.evaluation.evaluator import Evaluator, sets_of
from bnnbench.methods import METHODS
from bnnbench.tasks import TASKS, Task
from bnnbench.tasks.budget import budget_of

ROWS, TEST = 60, 15
EPS, EPS32 = np.finfo(np.float64).eps, np.finfo(np.float32).eps
METHODS_TRIED = ("constant", "gp", "map")
AMPLIFIED = 20  # times the rounding of a column; 5 is the most that was measured (gp on toy-antoran)
FIELDS = {"gp": {"iterations": 10}}
MAPS = [(1e6, 1e4), (1e-6, -1e8)]  # a, and c in standard deviations of a y
REGRESSIONS = [task.name for task in TASKS if task.kind == "regression"]


@lru_cache
def columns(name: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Some rows of a task, in an order without a trend, and the names of its columns."""
    task = TASKS.get(name)
    if not task.present():
        pytest.skip(f"no data of {name}")
    data = task.data()
    rows = np.random.default_rng(0).permutation(spread(len(data.x), ROWS))
    return data.x[rows], data.y[rows], data.features


def scores_of(method: str, x: np.ndarray, y: np.ndarray, kind: str = "regression") -> dict[str, float]:
    """Scores on the test rows, of a small network at the budget `smoke`."""
    fixed = np.arange(TEST, len(x)), np.arange(TEST)
    task = Task("units", kind, ("units",), ("fixed",), (8,), loader=lambda: Data.of(x, y, fixed=fixed))
    cell = Cell(task, METHODS.get(method)(**FIELDS.get(method, {})), "fixed", 0, 0, budget_of("smoke"))
    fitted, _ = train(stack([cell], CPU), compiled=False)
    ((record,),) = evaluate_only(Evaluator(fitted), ("test",), sets_of(fitted.pack, shifted=False))
    return {score.metric: score.value for score in record.scores}


def rounding(method: str, values: np.ndarray, offset: float) -> float:
    """What scores may move by, in standard deviations of the target: by the column that loses most, and by float32 in
    networks that are trained in it."""
    sd = np.where(np.ptp(values, 0) > 0, values.std(0), 1.0)
    lost = EPS * (1 + abs(offset) + (np.abs(values).max(0) / sd).max())
    return AMPLIFIED * (lost + (EPS32 if METHODS.get(method)().num_networks else 0.0))


@pytest.mark.parametrize("name", REGRESSIONS)
@pytest.mark.parametrize("method", METHODS_TRIED)
def test_units(method: str, name: str) -> None:
    x, y, _ = columns(name)
    plain = scores_of(method, x, y)
    sd = np.where(np.ptp(x, 0) > 0, x.std(0), 1.0)
    for (a, offset), (b, shift) in zip(MAPS, MAPS[::-1], strict=True):
        moved = scores_of(method, b * (x + shift * sd), a * (y + offset * y.std()))
        allowed = rounding(method, y, offset) + rounding(method, x, shift)
        assert moved["log_likelihood"] == pytest.approx(plain["log_likelihood"] - np.log(a), abs=allowed)
        for score in ("rmse", "crps"):
            assert moved[score] / a == pytest.approx(plain[score], abs=allowed * y.std())


def test_units_of_the_inputs_of_a_classification() -> None:
    data = TASKS.get("digits").data()
    x, y = data.x[:ROWS], data.y[:ROWS]
    assert (np.ptp(x, 0) == 0).any()
    plain = scores_of("map", x, y, "classification")
    for a, offset in MAPS:
        moved = scores_of("map", a * (x + offset), y, "classification")
        assert moved["log_likelihood"] == pytest.approx(plain["log_likelihood"], abs=rounding("map", x, offset))


@pytest.mark.parametrize("which", ["inputs", "target"])
def test_beyond_the_digits_of_float64(which: str) -> None:
    """One sentence that names task, column and remedy, before anything is computed."""
    x, y, features = columns("diabetes")
    at = x * 1.0, y + 1e14 * y.std()
    if which == "inputs":
        at = x + np.array([0.0, 0.0, 1e12] + [0.0] * (x.shape[1] - 3)), y
    task = Task(
        "units", "regression", ("units",), ("10fold",), loader=lambda: Data.of(*at, features=features, target="t")
    )
    column = features[2] if which == "inputs" else "t"
    with pytest.raises(UserError, match=rf"'units'.*'{column}'.*subtract an offset"):
        task.data()


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, -7e6, 1e9 + 0.1])
@pytest.mark.parametrize("method", ["gp", "map"])
def test_a_column_that_is_constant_where_one_fits(method: str, value: float) -> None:
    """It has no unit, so that nothing depends on what it holds elsewhere; nor on how its mean is rounded."""
    x, y, _ = columns("diabetes")
    zeros = np.zeros((len(x), 1))
    plain = scores_of(method, np.hstack([x, zeros]), y)
    for elsewhere in (value, value + 0.1, 1e5):
        column = zeros + value
        column[:TEST] = elsewhere
        assert scores_of(method, np.hstack([x, column]), y) == plain
