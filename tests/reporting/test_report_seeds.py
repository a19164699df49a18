"""The table of seeds: its numbers by hand, and where there is nothing to compare."""

from dataclasses import replace

import pytest
from report_data import cell, outcome
from suite_data import suite_store

from bnnbench.records import EvaluationRecord, Score
from bnnbench.reporting.select import select
from bnnbench.reporting.tables.seeds import seed_tables


def trained(value, seed=0, index=0, task="toy-antoran", rule="fixed"):
    made = outcome(cell(task, "map", rule, index, seed=seed), value)
    return replace(made, evaluations=(EvaluationRecord("test", 50, (Score("log_likelihood", value, 0.1),)),))


def tables(tmp_path, outcomes):
    with suite_store(tmp_path / "s.db", outcomes) as store:
        selection = select(store)
        return [table for section in selection.sections for table in seed_tables(selection, section)]


def test_the_numbers_of_three_seeds(tmp_path):
    (table,) = tables(tmp_path, [trained(value, seed) for seed, value in enumerate((-1.0, -1.2, -1.7))])
    (line,) = table.numbers.to_dict("records")
    assert (line["method"], line["task"], line["seeds"]) == ("map", "toy-antoran", 3)
    assert line["mean"] == pytest.approx(-1.3)
    assert line["sd_between_seeds"] == pytest.approx(0.13**0.5)
    assert line["ratio"] == pytest.approx(0.13**0.5 / 0.1)
    ((name, texts),) = table.grid.rows
    assert [name, *(text for text, _, _ in texts)] == [
        "map", "toy-antoran", "log-likelihood", "3", "−1.30", "0.361", "3.6",
    ]  # fmt: skip


def test_one_seed_or_several_splits_are_no_such_comparison(tmp_path):
    folds = [trained(-1.0 - seed, seed, index, "housing", "10fold") for seed in (0, 1) for index in (0, 1)]
    assert tables(tmp_path, [trained(-1.0), *folds]) == []
