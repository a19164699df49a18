"""Ours beside published numbers of the stored splits: a small made-up database whose differences are done by hand."""

from __future__ import annotations

import csv
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from report_data import cell, fill, pages

from bnnbench.records import EvaluationRecord, MethodRecord, Outcome, Score, Status
from bnnbench.reporting import stored_splits
from bnnbench.reporting.build import build
from bnnbench.reporting.literature import FILE
from bnnbench.reporting.select import select
from bnnbench.reporting.stored_splits import EXPLAINED, METRICS, NOISE, SOURCES, explanation, published
from bnnbench.reporting.tables.stored_splits import UNEXPLAINED, stored_splits_tables

NAMES = ("constant", "map", "ensemble-deep", "mc-dropout", "bbp-local", "swag")
METHODS = [MethodRecord(name, 1, "", (), i) for i, name in enumerate(NAMES)]


def outcomes(method, task, values, rule="gal", metric="log_likelihood", **options):
    """One cell a split; a second metric stands beside if it is given with the values of the first."""
    for index, value in enumerate(values):
        scores = (Score(metric, float(value), 0.1),)
        found = EvaluationRecord("test", 31, scores)
        yield Outcome(cell(task, method, rule, index, **options), Status.OK, evaluations=(found,))


def spread(mean, sd, n=20):
    """n numbers of this mean and standard deviation (of samples)."""
    values = np.linspace(-1, 1, n)
    return mean + sd * values / values.std(ddof=1)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "scores.db"


def tables_of(path, found):
    with fill(path, found, METHODS) as store:
        selection = select(store)
        return [table for section in selection.sections for table in stored_splits_tables(selection, section)]


def numbers_of(path, found):
    (table,) = tables_of(path, found)
    return table.numbers.set_index(["method", "task", "metric", "published"])


def test_differences_are_in_combined_standard_errors(path):
    """energy: MC dropout -1.99 +- 0.02 and -1.211517 +- 0.005319 (errors), ensemble 1.38 +- 0.22 (deviation of 20)."""
    found = numbers_of(path, [
        *outcomes("mc-dropout", "energy", spread(-1.5, 0.2)),
        *outcomes("ensemble-deep", "energy", spread(-1.5, 0.2)),
    ])  # fmt: skip
    ours, rounding = 0.2 / math.sqrt(20), 0.01 / math.sqrt(12)
    first = found.loc[("mc-dropout", "energy", "log_likelihood", "MC dropout")]
    assert first["difference_in_se"] == pytest.approx(0.49 / math.sqrt(ours**2 + 0.02**2 + rounding**2))
    assert first["gap"]
    second = found.loc[("mc-dropout", "energy", "log_likelihood", "MC dropout (2018 grid search)")]
    assert second["difference_in_se"] == pytest.approx(-0.288483 / math.sqrt(ours**2 + 0.005319**2), rel=1e-6)
    third = found.loc[("ensemble-deep", "energy", "log_likelihood", "Deep ensemble (5 nets, NLL)")]
    assert third["theirs"] == -1.38, "a negative log-likelihood as it was printed"
    theirs = 0.22 / math.sqrt(20)
    assert third["difference_in_se"] == pytest.approx(-0.12 / math.sqrt(ours**2 + theirs**2 + rounding**2))
    assert not third["gap"]
    assert third["explanation"] == ""


def test_smaller_errors_are_better(path):
    found = numbers_of(path, outcomes("mc-dropout", "energy", spread(1.0, 0.1), metric="rmse"))
    difference = found.loc[("mc-dropout", "energy", "rmse", "MC dropout"), "difference_in_se"]
    assert difference > 2
    assert found.loc[("mc-dropout", "energy", "rmse", "MC dropout (2018 grid search)"), "difference_in_se"] < -2


def test_noise_models_and_splits_are_told(path):
    found = numbers_of(path, [*outcomes("bbp-local", "yacht", spread(-1.4, 0.1)),
                              *outcomes("mc-dropout", "yacht", spread(-1.4, 0.1))])  # fmt: skip
    assert set(found["noise_ours"]) == {"homoscedastic"}
    by_name = found.reset_index().set_index("published")
    assert by_name["noise_theirs"].to_dict() == {
        "MCVI (Monte Carlo mean-field VI, EB prior)": "heteroscedastic",
        "hoDVI (homoscedastic DVI)": "homoscedastic",
        "MC dropout": "homoscedastic",
        "MC dropout (2018 grid search)": "homoscedastic",
    }
    assert by_name["stored_splits"].to_dict()["MC dropout"]
    assert not by_name["stored_splits"].to_dict()["hoDVI (homoscedastic DVI)"]


def test_gaps_are_bold_and_explained_or_said_not_to_be(path, monkeypatch):
    known = tuple(line for line in stored_splits._explained(stored_splits.EXPLAINED) if "2018" not in line["published"])
    monkeypatch.setattr(stored_splits, "_explained", lambda file: known)
    (table,) = tables_of(path, outcomes("mc-dropout", "energy", spread(-1.5, 0.2)))
    place = {name: i - 1 for i, name in enumerate(table.grid.header)}
    shown = {cells[place["theirs is"]][0]: cells for _, cells in table.grid.rows}
    assert shown["Gal & Ghahramani 2016"][place["difference"]][:2] == ("+10.0", True)
    assert shown["Gal & Ghahramani 2016"][place["why"]][0] == explanation(
        "mc-dropout", "homoscedastic", "energy", "MC dropout", "x"
    )
    assert shown["Gal's repository, 2018"][place["difference"]][:2] == ("−6.4", True)
    assert shown["Gal's repository, 2018"][place["why"]][0] == UNEXPLAINED


def test_configurations_stand_by_themselves_and_what_has_no_number_is_named(path):
    found = [*outcomes("map", "wine", spread(-1.0, 0.1)),
             *outcomes("map", "wine", spread(-1.1, 0.1), config={"lr": 0.5}),
             *outcomes("swag", "wine", spread(-1.0, 0.1))]  # fmt: skip
    (table,) = tables_of(path, found)
    assert [name for name, _ in table.grid.rows] == ["map", "map [lr=0.5]"]
    assert "was found of: swag." in table.caption


def test_only_stored_splits_are_compared(path):
    assert tables_of(path, outcomes("mc-dropout", "energy", spread(-1.5, 0.2, 10), rule="10fold")) == []


def test_methods_without_published_numbers_make_no_table(path):
    assert tables_of(path, outcomes("swag", "energy", spread(-1.5, 0.2))) == []


def test_the_report_holds_it(path, tmp_path):
    found = [*outcomes("mc-dropout", "housing", spread(-2.4, 0.2)), *outcomes("constant", "housing", spread(-3, 0.2))]
    with fill(path, found, METHODS) as store:
        build(store, tmp_path / "out", figures=["none"])
    assert "### uci: beside published numbers" in pages(tmp_path / "out")
    numbers = pd.read_csv(tmp_path / "out/tables/uci-gal-beside-published.csv")
    assert set(numbers["theirs"]) == {-2.46, -2.401936}, "those of boston"


def test_what_is_printed_as_nothing_counts_as_half_of_its_last_digit():
    (found,) = [p for p in published() if p.name.startswith("MCVI") and p.task == "power"]
    assert (found.value, found.se, found.resolution) == (-2.80, 0.005, 0.01)
    (found,) = [p for p in published() if p.name.startswith("ML-1") and (p.task, p.metric) == ("kin8nm", "rmse")]
    assert found.se == pytest.approx(0.005 / math.sqrt(20))
    exact = replace(found, se=0.0, resolution=0.0)
    assert math.isnan(exact.difference(1.0, 0.0, 1))


def test_every_source_and_explanation_is_of_something_that_is_there():
    with FILE.open(encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["task"] == "uci_regression"]
    assert {row["method"] for row in rows} == set(SOURCES)
    assert len(rows) == len(published()), "each at first hand and with a spread"
    assert {row["metric"] for row in rows} == set(METRICS)
    with EXPLAINED.open(encoding="utf-8", newline="") as lines:
        explained = list(csv.DictReader(lines))
    for line in explained:
        assert line["explanation"]
        theirs = [line["published"]] if line["published"] else list(SOURCES)
        assert any(line["method"] in SOURCES[name].ours for name in theirs), line
        assert line["noise"] in ("", *NOISE.values())


def test_the_explanation_that_names_most_is_taken(tmp_path):
    file = tmp_path / "explained.csv"
    header = "method,noise,task,published,metric,explanation"
    lines = ["map,,,,,any", "map,,wine,,,wine", "map,,wine,,rmse,both", "map,heteroscedastic,,,,noise", "swag,,,,,no"]
    file.write_text("\n".join([header, *lines, ""]))
    ours = "map", "homoscedastic"
    assert explanation(*ours, "energy", "x", "rmse", file) == "any"
    assert explanation(*ours, "wine", "x", "log_likelihood", file) == "wine"
    assert explanation(*ours, "wine", "x", "rmse", file) == "both"
    assert explanation("map", "heteroscedastic", "energy", "x", "rmse", file) == "noise"
    assert explanation("hmc", "homoscedastic", "wine", "x", "rmse", file) == ""
