"""Curves, shifts, fidelity and further tables of the page: their numbers are those of the database."""

from dataclasses import replace

import numpy as np
import pytest
from image_data import image_store, images
from report_data import TASKS, cell, fill, gallery, outcome
from suite_data import suite, suite_store

from bnnbench.names import TEST
from bnnbench.reporting.build import build
from bnnbench.reporting.page.curves import POINTS, curves_of, thinned
from bnnbench.reporting.page.nearness import nearness
from bnnbench.reporting.page.payload import payload
from bnnbench.reporting.page.shifts import _summary, shifts_of
from bnnbench.reporting.select import select


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    with image_store(
        tmp_path_factory.mktemp("i") / "i.db", images(names=("map", "ensemble-deep", "bbp-local"))
    ) as store:
        yield store


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    with suite_store(tmp_path_factory.mktemp("t") / "t.db", suite(2, ("constant", "map", "sgld", "hmc"))) as store:
        yield store


def test_shifts_hold_the_scores_of_every_level(pictures):
    scores = pictures.scores(task="mnist", method="bbp-local", metric="error").set_index("evaluation")["value"]
    selection = select(pictures)
    (section,) = selection.sections
    rotation = shifts_of(selection, section)["mnist"]["rotation"]
    line = rotation["metrics"]["error"]["bbp-local"]
    assert line["x"] == [0, *range(15, 181, 15)]
    wanted = [scores[TEST], *(scores[f"rotation-{angle:03d}"] for angle in range(15, 181, 15))]
    np.testing.assert_allclose(line["y"], wanted, rtol=1e-3)
    attack = shifts_of(selection, section)["mnist"]["fgsm"]["metrics"]["error"]["map"]["x"]
    assert attack[0] == 0
    assert attack[-1] == pytest.approx(0.3)


def test_data_sets_without_shifts_have_none(tables):
    selection = select(tables)
    assert [shifts_of(selection, section) for section in selection.sections] == [{}] * len(selection.sections)


def test_a_shift_is_summed_up_by_means_beyond_level_zero(pictures):
    selection = select(pictures)
    (section,) = selection.sections
    rotation = shifts_of(selection, section)["mnist"]["rotation"]["summary"]
    scores = pictures.scores(task="mnist", metric="log_likelihood").pivot(
        index="method", columns="evaluation", values="value"
    )
    angles = [f"rotation-{angle:03d}" for angle in range(15, 181, 15)]
    for row, start, mean, end in rotation["log_likelihood"]:
        np.testing.assert_allclose(
            [start, mean, end],
            [scores.loc[row, TEST], scores.loc[row, angles].mean(), scores.loc[row, angles[-1]]],
            1e-3,
        )
    means = {metric: [line[2] for line in lines] for metric, lines in rotation.items()}
    assert means["log_likelihood"] == sorted(means["log_likelihood"], reverse=True)
    assert means["error"] == sorted(means["error"])
    assert means["entropy_total"] == sorted(means["entropy_total"], reverse=True)


def test_a_row_that_lacks_a_level_has_no_mean():
    levels = np.array([0.0, 1.0, 2.0])
    rows = {"short": (levels[:2], levels[:2]), "whole": (levels, levels)}
    assert _summary(rows, -1) == [["whole", 0, 1.5, 2], ["short", 0, None, None]]


def test_calibration_curves_are_means_over_splits(tables):
    selection = select(tables)
    section = next(s for s in selection.sections if "housing" in s.tasks)
    line = curves_of(selection, section)["pit"]["housing"]["map"]
    stored = [s for info, _, s in tables.curves("pit_ecdf", task="housing", method="map", evaluation=TEST)]
    assert len(stored) == 2
    level = np.asarray(stored[0]["level"])
    wanted = np.mean([np.asarray(s["ecdf"]) for s in stored], 0) - level
    np.testing.assert_allclose(line["y"], np.interp(line["x"], level, wanted), atol=2e-3)


def test_reliability_holds_the_bins_that_have_predictions(tables):
    selection = select(tables)
    section = next(s for s in selection.sections if "digits" in s.tasks)
    line = curves_of(selection, section)["reliability"]["digits"]["map"]
    stored = [s for _, _, s in tables.curves("reliability", task="digits", method="map", evaluation=TEST)]
    count = np.sum([s["count"] for s in stored], 0)
    assert len(line["x"]) == (count > 0).sum()
    assert sum(line["share"]) == pytest.approx(1.0, abs=0.02)
    hits = sum(np.nansum(np.asarray(s["count"]) * np.asarray(s["accuracy"])) for s in stored)
    assert np.dot(line["share"], line["y"]) == pytest.approx(hits / count.sum(), abs=0.02)


def test_a_long_curve_is_thinned_to_its_own_points():
    x = np.arange(1000.0)
    few, values = thinned(x, x**2)
    assert len(few) == POINTS
    assert (few[0], few[-1]) == (0, 999)
    np.testing.assert_array_equal(values, few**2)
    assert thinned(x[:3], x[:3])[0].tolist() == [0, 1, 2]


def test_nearness_is_that_of_the_scores(tables):
    found = nearness(select(tables))
    assert found is not None
    scores = tables.scores(evaluation="fidelity", metric="w1_to_hmc", method="sgld", split="10fold-0", task="housing")
    values = {(row, column): value for row, column, value in found["metrics"]["w1_to_hmc"]["values"]}
    assert values["sgld", "housing 10fold-0"] == pytest.approx(scores["value"].iloc[0], rel=1e-3)
    assert "hmc" not in found["rows"]
    assert found["flagged"] == ["energy 10fold-0"]


def test_without_comparisons_there_is_no_nearness(tmp_path):
    with fill(tmp_path / "a.db", gallery(2, ("map", "sgld"))) as store:
        assert nearness(select(store)) is None


def test_every_table_of_the_report_is_on_the_page(tables, pictures, tmp_path):
    for store, name in ((tables, "t"), (pictures, "i")):
        build(store, tmp_path / name, formats=["csv"])
        found = payload(select(store))
        listed = {table["name"] for section in found["sections"] for table in section["tables"]}
        listed |= {table["name"] for table in found["across"]}
        headline = {f"{s['group']}-{s['rule']}-{metric}" for s in found["sections"] for metric in s["metrics"]}
        written = {path.stem for path in (tmp_path / name / "tables").glob("*.csv")}
        elsewhere = {n for n in written if n.startswith("leaderboard-") or "-cost" in n}
        assert written - elsewhere - headline == listed


def test_the_same_data_in_other_settings_are_not_ranked_twice(tmp_path):
    twin = replace(TASKS[5], name="twin", version="9+" + TASKS[5].version.partition("+")[2], groups=("twins",))
    made = [outcome(cell("housing", m, index=i), v - i) for m, v in (("map", -2.0), ("sgld", -3.0)) for i in (0, 1)]
    other = [replace(o, cell=replace(o.cell, task="twin", task_version=twin.version)) for o in made]
    with fill(tmp_path / "a.db", made) as store:
        store.register((), [twin], ())
        store.record(1, other)
        scopes = payload(select(store))["scopes"]
    assert [(scope["title"], scope["tasks"]) for scope in scopes] == [("twins", ["twin"]), ("uci", ["housing"])]
