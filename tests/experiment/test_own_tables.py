"""A user's table from the run to the stored posterior: labels, names of columns, and splits that cannot be fitted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bnnbench
import bnnbench.store.store
from bnnbench.data.arrays import Data
from bnnbench.errors import UserError
from bnnbench.tasks import TASKS, Task

RNG = np.random.default_rng(0)
FRAME = pd.DataFrame({"height": 1.7e9 + RNG.normal(size=60), "weight": RNG.normal(size=60), "same": 0.1})
SPLIT = np.arange(40), np.arange(40, 60)


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch):
    """Registers a task for the time of a test."""
    TASKS.discover()
    monkeypatch.setattr(TASKS, "_entries", dict(TASKS._entries))
    return lambda kind, load, rule="fixed": TASKS.register(Task("mine", kind, ("own",), (rule,), (6,), loader=load))


def test_labels_and_columns_of_a_posterior(own, tmp_path: Path) -> None:
    tall = np.where(FRAME["height"] > 1.7e9, "tall", "small")
    own("classification", lambda: Data.of(FRAME, tall, fixed=SPLIT))
    db = tmp_path / "r.db"
    bnnbench.run("map", "mine", budget="smoke", db=db, threads=1)
    posterior = bnnbench.load(db, bnnbench.scores(db).fingerprint[0])
    assert posterior.classes == ("small", "tall")
    assert posterior.features == ("height", "weight", "same")
    found = posterior.predict(FRAME)["probabilities"]
    assert found.shape == (60, 2)
    for same in (
        FRAME[["weight", "same", "height"]],
        FRAME.assign(more="text"),
        FRAME.to_numpy(),
        FRAME.assign(same=7),
    ):
        np.testing.assert_array_equal(posterior.predict(same)["probabilities"], found)
    with pytest.raises(UserError, match="lacks the column 'weight'; it has 'height', 'same'"):
        posterior.predict(FRAME[["height", "same"]])
    with pytest.raises(UserError, match=r"'weight' holds a missing value in row 3"):
        posterior.predict(FRAME.assign(weight=FRAME["weight"].where(FRAME.index != 3)))


def test_predictions_keep_the_digits_of_large_numbers(own, tmp_path: Path) -> None:
    y = 1.7e9 + FRAME["weight"]
    own("regression", lambda: Data.of(FRAME, y, fixed=SPLIT))
    db = tmp_path / "r.db"
    bnnbench.run("gp", "mine", budget="smoke", db=db, threads=1)
    found = bnnbench.load(db, bnnbench.scores(db).fingerprint[0]).predict(FRAME)
    assert found["mean"].dtype == np.float64
    assert np.abs(found["mean"] - y)[:40].max() < 0.2


def test_splits_that_cannot_be_fitted_are_their_own_cells(own, tmp_path: Path) -> None:
    """One row alone holds another target: where it is tested or validated, nothing is left to learn."""
    y = np.zeros(60)
    y[7] = 1.0
    own("regression", lambda: Data.of(FRAME, y, target="rain"), "10fold")
    db = tmp_path / "r.db"
    bnnbench.run("constant", "mine", budget="smoke", db=db, threads=1)
    task = TASKS.get("mine")
    fitted = {f"10fold-{i}": 7 in split.train for i, split in enumerate(task.splits("10fold"))}
    assert 0 < sum(fitted.values()) < 10
    with bnnbench.store.store.ResultStore(db, read_only=True) as store:
        attempts = store.attempts()
    for _, cell in attempts.iterrows():
        assert cell["status"] == ("ok" if fitted[cell["split"]] else "failed")
        if cell["status"] == "failed":
            assert "task 'mine'" in cell["message"]
            assert "'rain' is 0 in every row" in cell["message"]
