"""The page of implementations: pairs, differences and speed by hand, verdicts, and nothing where there is no pair."""

from dataclasses import replace

import numpy as np
import pytest
from report_data import METHODS, TASKS, cell, fill, outcome
from scipy import stats

from bnnbench.records import MethodRecord
from bnnbench.reporting.build import build
from bnnbench.reporting.implementations import implementations
from bnnbench.reporting.select import select
from bnnbench.reporting.tables.implementations import conclusion, implementation_tables

THEIRS = MethodRecord("peer-sgld", 1, "", ("adapters",), 20, implements="sgld")
OURS = (-1.0, -1.5, -2.0)
OTHER = (-1.1, -1.7, -2.1)


def store_of(place, outcomes, verdicts=()):
    store = fill(place, [], (*METHODS, THEIRS))
    store.record(1, outcomes)
    for method, config, label, lines in verdicts:
        store.add_verdicts(1, method, config, label, lines)
    return store


def cells(method, values, task="housing", **changes):
    return [replace(outcome(cell(task, method, index=i), value), **changes) for i, value in enumerate(values)]


def pair():
    theirs = cells(THEIRS.name, OTHER, wall_s=6.0, pack_size=1, gradients=3000)
    return [*cells("sgld", OURS, wall_s=30.0, pack_size=10, gradients=1000), *theirs, *cells("map", OURS)]


def verdict(name, figure, limit, passed):
    return {"name": name, "figure": figure, "limit": limit, "passed": passed, "note": ""}


def test_differences_and_their_interval_are_those_of_the_corrected_t_test(tmp_path):
    with store_of(tmp_path / "a.db", pair()) as store:
        found = implementations(select(store))
    assert found is not None
    (line,) = found.scores.to_dict("records")
    assert (line["a"], line["b"], line["task"], line["splits"]) == ("peer-sgld", "sgld", "housing", 3)
    difference = np.array(OTHER) - np.array(OURS)
    half = stats.t.ppf(0.975, 2) * np.sqrt((1 / 3 + 1 / 9) * difference.var(ddof=1))  # ten folds: 1/9
    assert line["difference"] == pytest.approx(difference.mean())
    assert (line["low"], line["high"]) == pytest.approx((difference.mean() - half, difference.mean() + half))


def test_speed_is_seconds_a_cell_and_a_gradient(tmp_path):
    with store_of(tmp_path / "a.db", pair()) as store:
        found = implementations(select(store))
        table = {t.name: t for t in implementation_tables(found)}["implementations-speed"]
    (line,) = found.costs.to_dict("records")
    assert (line["seconds_per_cell_a"], line["seconds_per_cell_b"]) == (6.0, 3.0)
    assert line["times_as_long"] == 2.0
    assert line["times_as_long_a_gradient"] == pytest.approx((6.0 / 3000) / (3.0 / 1000))
    ((name, texts),) = table.grid.rows
    assert [name, *(text for text, _, _ in texts)] == [
        "peer-sgld", "sgld", "housing", "6.00", "3.00 (pack of 10)", "2.00", "0.667", "3,000", "1,000",
    ]  # fmt: skip


def test_verdicts_of_both_stand_side_by_side_and_others_do_not(tmp_path):
    kinds = {record.name: record for record in METHODS} | {THEIRS.name: THEIRS}
    verdicts = [
        (kinds["sgld"], "{}", "default", [verdict("mean", 0.1, 0.3, True), verdict("banana", None, None, None)]),
        (THEIRS, "{}", "default", [verdict("mean", 0.6, 0.3, False)]),
        (THEIRS, '{"lr": 1}', "lr=1", [verdict("mean", None, 0.3, False)]),
        (kinds["map"], "{}", "default", [verdict("mean", 0.1, 0.3, True)]),
    ]
    with store_of(tmp_path / "a.db", pair(), verdicts) as store:
        table = list(implementation_tables(implementations(select(store))))[-1]
    assert "not checked" not in str(table.grid)
    assert table.grid.header == ("method", "mean")
    assert dict(table.grid.rows) == {
        "sgld": (("pass", False, ""),),
        "peer-sgld": (("fails: 0.600 > 0.300", True, ""),),
        "peer-sgld [lr=1]": (("fails: – > 0.300", True, ""),),
    }


@pytest.mark.parametrize("checked", [False, True])
def test_what_was_not_checked_is_said_to_be(tmp_path, checked):
    verdicts = [(THEIRS, "{}", "default", [verdict("mean", 0.1, 0.3, True)])] * checked
    with store_of(tmp_path / "a.db", pair(), verdicts) as store:
        table = list(implementation_tables(implementations(select(store))))[-1]
    assert table.grid.header == ("method", "mean" if checked else "checks")
    unknown = {"sgld": (("not checked", False, ""),)}
    theirs = {"peer-sgld": (("pass", False, ""),)} if checked else {"peer-sgld": (("not checked", False, ""),)}
    assert dict(table.grid.rows) == unknown | theirs
    assert "bnnbench check METHOD" in table.caption


def test_the_conclusion_counts(tmp_path):
    with store_of(tmp_path / "a.db", pair()) as store:
        text = conclusion(implementations(select(store)))
    assert text == (
        "By log-likelihood, 0 of 1 pairs of implementations and data sets can be told apart (budget full, 3 splits). "
        "Ours is the faster one a cell in 1 of 1; the median ratio is 2.00."
    )


def test_a_second_check_replaces_the_first_of_its_configuration(tmp_path):
    with store_of(tmp_path / "a.db", []) as store:
        for passed in (False, True):
            store.add_verdicts(1, THEIRS, "{}", "default", [verdict("mean", 0.1, 0.3, passed)])
        store.add_verdicts(1, THEIRS, '{"lr": 1}', "lr=1", [verdict("mean", 0.1, 0.3, False)])
        found = store.verdicts()
    assert found[["method", "config", "name", "passed"]].values.tolist() == [
        ["peer-sgld", "default", "mean", True],
        ["peer-sgld", "lr=1", "mean", False],
    ]


def test_the_page_stands_beside_the_index_which_links_to_it(tmp_path):
    with store_of(tmp_path / "a.db", pair()) as store:
        build(store, tmp_path / "out", figures=("none",))
    assert "(implementations.md)" in (tmp_path / "out" / "index.md").read_text()
    page = (tmp_path / "out" / "implementations.md").read_text()
    assert page.startswith("# The same method, several implementations\n")
    assert "| peer-sgld − sgld |" in page
    assert (tmp_path / "out" / "tables" / "implementations-speed.csv").exists()


@pytest.mark.parametrize("left", ["sgld", "peer-sgld"])
def test_without_the_other_of_a_pair_there_is_no_page(tmp_path, left):
    outcomes = [o for o in pair() if o.cell.method != left]
    with store_of(tmp_path / "a.db", outcomes) as store:
        build(store, tmp_path / "out", figures=("none",))
    assert not (tmp_path / "out" / "implementations.md").exists()
    assert "implementations.md" not in (tmp_path / "out" / "index.md").read_text()


def test_a_task_that_one_of_them_was_not_run_on_is_left_out(tmp_path):
    assert {task.name for task in TASKS} >= {"energy", "housing"}
    with store_of(tmp_path / "a.db", [*pair(), *cells("sgld", OURS, "energy")]) as store:
        found = implementations(select(store))
    assert set(found.scores["task"]) == set(found.costs["task"]) == {"housing"}
