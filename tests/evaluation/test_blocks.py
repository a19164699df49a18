"""What compares methods on one split: scores over blocks of test points, the same for all methods."""

import numpy as np
import pytest
import torch

from bnnbench import api
from bnnbench.evaluation.blocks import BLOCKS, block_scores
from bnnbench.metrics import score
from bnnbench.model import CategoricalPredictive
from bnnbench.reporting.captions import caption
from bnnbench.reporting.points import compared
from bnnbench.reporting.select import select
from bnnbench.store.store import ResultStore


class Cell:
    """As much of a cell as blocks look at."""

    def __init__(self, splits, kind="classification"):
        self.task, self.rule, self.root = self, "fixed", None
        self.name, self.kind, self.count = "letters", kind, splits

    def splits(self, rule, root):
        return [None] * self.count


def predictions(seed, n=203, classes=4):
    draw = np.random.default_rng(seed)
    log_probs = torch.log_softmax(torch.tensor(draw.normal(size=(3, n, classes))), -1)
    return CategoricalPredictive(log_probs), torch.tensor(draw.integers(0, classes, n))


def test_blocks_are_means_of_points_and_average_to_the_score():
    predictive, y = predictions(0)
    found = block_scores(Cell(1), predictive, y, None, score(predictive, y, None, "classification"))
    assert set(found) == {"log_likelihood", "error", "brier"}, "no ece, which is no mean over points"
    sizes = np.array([5] * 3 + [4] * 47)  # 203 points in 50 blocks
    points = predictive.log_prob(y).numpy()
    assert len(found["log_likelihood"]) == BLOCKS
    assert np.average(found["log_likelihood"], weights=sizes) == pytest.approx(points.mean())
    wrong = (predictive.mixture_log_probs().argmax(-1) != y).numpy()
    assert (np.array(found["error"]) * sizes).sum() == pytest.approx(wrong.sum())


def test_all_methods_and_seeds_have_the_same_blocks_and_several_splits_none():
    (one, y), (other, _) = predictions(0), predictions(1)
    marked = y.clone()
    found = [block_scores(Cell(1), p, marked, None, score(p, marked, None, "classification")) for p in (one, other)]
    better = one.log_probs.clone()
    better[:, 17] = torch.log_softmax(torch.tensor([0.0, 0, 0, 50]).double(), -1)
    changed = CategoricalPredictive(better)
    again = block_scores(Cell(1), changed, marked, None, score(changed, marked, None, "classification"))
    differs = np.flatnonzero(np.array(again["log_likelihood"]) != np.array(found[0]["log_likelihood"]))
    assert len(differs) == 1, "a point is in one block"
    assert block_scores(Cell(2), one, y, None, score(one, y, None, "classification")) == {}


def test_a_run_stores_them_and_a_report_compares_over_them(tmp_path):
    db = tmp_path / "r.db"
    api.run("constant,map,mc-dropout", "toy-homoscedastic", budget="smoke", db=db)
    with ResultStore(db, read_only=True) as store:
        stored = store.curves("blocks", evaluation="test")
        scores = store.scores(evaluation="test", metric="log_likelihood").set_index("method")["value"]
    assert len(stored) == 3
    for cell, _, series in stored:
        assert {"log_likelihood"} <= set(series)
        assert "rmse" not in series
        assert series["log_likelihood"].mean() == pytest.approx(scores[cell["method"]], rel=1e-5)
    with ResultStore(db, read_only=True) as store:
        selection = select(store, methods=["map", "mc-dropout"])  # at `smoke` they are behind `constant`
        table = compared(selection, selection.sections[0], "log_likelihood")
        text = caption(selection, selection.sections[0], table)
    assert [len(rows) for rows in table.paired.values()] == [1]
    assert not any(table.unpaired.values())
    assert "a paired test over blocks of test points (" in text
