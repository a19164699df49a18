"""Tables of what calibration after training brings."""

from dataclasses import replace

import pytest
from report_data import cell, fill, outcome

from bnnbench.records import EvaluationRecord, Score
from bnnbench.reporting.select import select
from bnnbench.reporting.tables.calibrated import calibrated_tables

COVERAGE = {"map": (0.80, 0.90), "sgld": (0.85, 0.91)}  # plain, conformal


def _with_coverage(index, method, calibrated=True):
    plain, conformal = COVERAGE[method]
    done = outcome(cell("energy", method, index=index), -1.0 - index)
    test, *others = done.evaluations
    test = replace(test, scores=(*test.scores, Score("coverage_90", plain + 0.01 * index, 0.1)))
    scores = Score("coverage_90", conformal + 0.01 * index, 0.1), Score("width_90", 2.0 + index, 0.2)
    after = (EvaluationRecord("test-conformal", 50, scores),) if calibrated else ()
    return replace(done, evaluations=(test, *others, *after))


@pytest.fixture
def tables(tmp_path):
    """By name; `map` is calibrated on both splits, `sgld` on none, and nobody is scaled."""
    found = [_with_coverage(i, m, calibrated=m == "map") for i in range(2) for m in COVERAGE]
    with fill(tmp_path / "results.db", found) as store:
        selection = select(store)
        return {table.name: table for table in calibrated_tables(selection, selection.sections[0])}


def test_plain_and_calibrated_stand_beside_each_other(tables):
    table = tables["uci-10fold-conformal-coverage_90"]
    assert table.grid.header == ("method", "energy: plain", "energy: conformal")
    assert dict(table.grid.rows) == {"map": (("0.8050 ± 0.0050", False, ""), ("0.9050 ± 0.0050", False, ""))}
    assert table.numbers[["task", "method", "way", "mean", "n"]].values.tolist() == [
        ["energy", "map", "plain", pytest.approx(0.805), 2], ["energy", "map", "conformal", pytest.approx(0.905), 2],
    ]  # fmt: skip
    assert "Coverage of conformal 90 %" in table.caption


def test_what_was_not_scored_before_has_one_column(tables):
    assert tables["uci-10fold-conformal-width_90"].grid.header == ("method", "energy: conformal")


def test_tables_are_of_what_there_is(tables):
    assert set(tables) == {"uci-10fold-conformal-coverage_90", "uci-10fold-conformal-width_90"}
