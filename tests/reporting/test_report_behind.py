"""What ¶ marks: which splits of which methods are behind the baseline, and what is said of why."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from report_data import cell, fill, pages

from bnnbench.records import EvaluationRecord, MethodRecord, Outcome, Score, Status
from bnnbench.reporting.build import build
from bnnbench.reporting.select import select
from bnnbench.reporting.tables.behind import behind_tables

BASE = {"log_likelihood": -3.0, "rmse": 9.0, "crps": 5.0, "calibration_error": 0.01, "coverage_95": 0.95}
BETTER = {"log_likelihood": -2.0, "rmse": 3.0, "crps": 1.5, "calibration_error": 0.3, "coverage_95": 0.9}
SURE = BETTER | {"log_likelihood": -7.0, "coverage_95": 0.4}
FAR = BETTER | {"log_likelihood": -7.0, "coverage_95": 0.94}
OFF = BETTER | {"log_likelihood": -9.0, "rmse": 90.0, "crps": 50.0, "coverage_95": 1.0}
PART = BETTER | {"rmse": 90.0}
NAMES = ("constant", "good", "sure", "mixed", "flagged", "part")
METHODS = [MethodRecord(name, 1, "", (), i, "baseline" if name == "constant" else "method")
           for i, name in enumerate(NAMES)]  # fmt: skip
SPLITS = {  # scores of splits 0 to 3
    "constant": [BASE] * 4,
    "good": [BETTER] * 4,
    "sure": [BETTER, SURE, BETTER, SURE],
    "mixed": [OFF, FAR, BETTER, BETTER],
    "flagged": [OFF, BETTER, OFF, OFF],
    "part": [BETTER, BETTER, PART, BETTER],
}
FLAG = "50% of the draws have exploded; lower flagged.lr"


def outcome(method: str, index: int, scores: dict[str, float], task: str = "housing", seed: int = 0) -> Outcome:
    found = EvaluationRecord("test", 50, tuple(Score(name, value, 0.1) for name, value in scores.items()))
    done = Outcome(cell(task, method, index=index, seed=seed), Status.OK, evaluations=(found,))
    flag = method == "flagged" and index != 2
    return replace(done, status=Status.UNCONVERGED, message=FLAG) if flag else done


def table_of(path, outcomes):
    """The table of the one section, by method; None without one."""
    with fill(path, outcomes, METHODS) as store:
        selection = select(store)
        (section,) = selection.sections
        return next(behind_tables(selection, section), None)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "scores.db"


@pytest.fixture
def lines(path):
    table = table_of(path, [outcome(m, i, s) for m, own in SPLITS.items() for i, s in enumerate(own)])
    assert table is not None
    return {name: [text for text, *_ in texts] for name, texts in table.grid.rows}


def test_it_lists_what_is_behind_and_nothing_else(lines):
    assert list(lines) == ["sure", "mixed", "flagged", "part"]
    assert lines["sure"][:2] == ["housing", "log-likelihood 2/4 (1, 3)"]
    assert lines["mixed"][1] == "CRPS 1/4 (0), log-likelihood 2/4 (0, 1), RMSE 1/4 (0)"
    assert lines["part"][1] == "RMSE 1/4 (2)"


def test_it_tells_what_is_off_from_what_is_too_sure(lines):
    assert lines["sure"][3] == "overconfident, 95 % intervals hold 40%"
    assert lines["mixed"][3] == "inaccurate (0); overconfident, 95 % intervals hold 94%, a few targets far outside (1)"
    assert lines["flagged"][3] == "inaccurate"
    assert lines["part"][3] == "partly inaccurate"


def test_it_quotes_the_diagnosis_of_the_cells_that_are_behind(lines):
    assert lines["flagged"][2] == f"2 of 3 cells: {FLAG}"  # split 1 is flagged, too, and not behind
    assert lines["sure"][2] == "–"


def test_classifications_are_judged_by_error_and_calibration(path):
    base, sure = {"log_likelihood": -2.3, "error": 0.9}, {"log_likelihood": -4.0, "error": 0.02, "ece": 0.234}
    table = table_of(path, [outcome("constant", 0, base, "digits"), outcome("sure", 0, sure, "digits")])
    ((name, (_, (where, *_), _, (why, *_))),) = table.grid.rows
    assert (name, where, why) == ("sure", "log-likelihood 1/1", "overconfident, ECE 0.234")


def test_what_is_not_a_number_is_off(path):
    nan = BETTER | {"log_likelihood": float("nan"), "rmse": float("nan")}
    table = table_of(path, [outcome("constant", 0, BASE), outcome("good", 0, nan)])
    assert [text for text, *_ in table.grid.rows[0][1]][3] == "inaccurate"


def test_seeds_are_averaged_before_they_are_judged(path):
    cells = [outcome("constant", 0, BASE, seed=seed) for seed in (0, 1)]
    assert table_of(path, [*cells, outcome("good", 0, BETTER), outcome("good", 0, BASE, seed=1)]) is None


@pytest.mark.parametrize("method", ["good", "constant"])
def test_without_a_baseline_or_anything_behind_it_there_is_no_table(path, method):
    assert table_of(path, [outcome(method, 0, OFF)]) is None


def test_tables_that_mark_it_name_the_table(path, tmp_path):
    with fill(path, [outcome(m, i, s) for m, own in SPLITS.items() for i, s in enumerate(own)], METHODS) as store:
        build(store, tmp_path / "out", figures=["none"])
    page = pages(tmp_path / "out")
    assert "¶n/k: worse than constant on n of k splits; where and why, in the table “behind the baseline”." in page
    assert "### uci: behind the baseline" in page
    numbers = pd.read_csv(tmp_path / "out/tables/uci-10fold-behind.csv").set_index(["method", "metric"])
    assert numbers.loc[("mixed", "crps"), "splits"] == "10fold-0"
    assert numbers.loc[("sure", "log_likelihood"), "splits"] == "10fold-1 10fold-3"
    headline = pd.read_csv(tmp_path / "out/tables/uci-10fold-log_likelihood.csv").set_index("method")
    assert headline["splits_worse_than_baseline"].to_dict() == {
        "constant": 0, "good": 0, "sure": 2, "mixed": 2, "flagged": 3, "part": 0,
    }  # fmt: skip
    marked = set(headline.index[headline["splits_worse_than_baseline"] > 0])
    assert marked == {method for method, metric in numbers.index if metric == "log_likelihood"}, "a mark without why"
