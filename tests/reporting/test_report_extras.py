"""What stands beside the headline tables: pruning, weights, samplers, distance from the truth."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from report_data import cell, outcome, pages
from suite_data import SUITE, SUITE_METHODS, suite, suite_store

from bnnbench.reporting.build import build
from bnnbench.reporting.figures.pruning import pruned
from bnnbench.reporting.figures.style import styles
from bnnbench.reporting.figures.toy import exact_picture
from bnnbench.reporting.figures.weights import density
from bnnbench.reporting.select import select
from bnnbench.reporting.tables.samplers import sampler_tables
from bnnbench.reporting.tables.truth import truth_tables
from bnnbench.store.store import ResultStore

NAMES = ("constant", "bbp-mixture", "sgld", "hmc")
WANTED = {"toy-heteroscedastic", "energy"}


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    path = tmp_path_factory.mktemp("db") / "suite.db"
    with suite_store(path, [o for o in suite(2, NAMES) if o.cell.task in WANTED]):
        return path


@pytest.fixture
def sections(database):
    with ResultStore(database, read_only=True) as store:
        selection = select(store)
        return {s.group: (selection, s) for s in selection.sections}


def digests(out):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(out.rglob("*")) if p.is_file()}


def test_same_bytes_and_every_figure_that_has_data(database, tmp_path):
    for name in ("one", "two"):
        with ResultStore(database, read_only=True) as store:
            build(store, tmp_path / name)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    written = set(digests(tmp_path / "one"))
    for stem in ("fidelity", "uci-10fold-pruning-log-likelihood", "uci-10fold-pruning-rmse", "uci-10fold-weights",
                 "toy-fixed-toy-heteroscedastic"):  # fmt: skip
        assert f"{stem}.svg" in written
    assert {"toy-fixed-truth-toy-heteroscedastic.csv", "toy-fixed-samplers.tex", "uci-10fold-samplers.csv"} <= written
    page = pages(tmp_path / "one")
    for title in (
        "### toy-heteroscedastic: distance from the truth",
        "### uci: samplers",
        "First the exact posterior.",
    ):
        assert title in page


def test_old_databases_have_none_of_it(tmp_path):
    with suite_store(tmp_path / "old.db", [outcome(cell("housing", "sgld", index=i), -1.0) for i in range(2)]) as store:
        build(store, tmp_path / "out")
    names = {p.name for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert not [n for n in names if any(word in n for word in ("fidelity", "pruning", "weights", "samplers", "truth"))]


def test_pruning_is_relative_to_the_unpruned_cell(sections):
    lines = pruned(sections["uci"][1], "log_likelihood")
    assert {row for row, _ in lines} == {"bbp-mixture", "sgld"}
    fraction, change = lines["bbp-mixture", "energy"]
    assert fraction.tolist() == [0, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.99, 0.995]
    expected = -0.1 * (0.2 + SUITE.index("bbp-mixture") / 10) * 9**0.8
    assert change[6] == pytest.approx(expected)
    assert pruned(sections["uci"][1], "rmse")["bbp-mixture", "energy"][1][6] == pytest.approx(1 - 0.3 * expected)


def test_density_of_cells_with_different_bins():
    wide = {"lower": np.array([-1.0, 0.0]), "upper": np.array([0.0, 1.0]), "density": np.array([0.5, 0.5])}
    half = {"lower": np.array([0.0]), "upper": np.array([0.5]), "density": np.array([2.0])}
    assert density([wide, half], np.array([-2.0, -0.5, 0.25, 0.75, 1.0])).tolist() == [0, 0.25, 1.25, 0.25, 0]


def test_sampler_table(sections):
    (table,) = sampler_tables(*sections["uci"])
    assert [name for name, _ in table.grid.rows] == ["sgld", "hmc"]
    header, cells = table.grid.header, dict(table.grid.rows)
    assert "configurational temperature" not in header, "nobody measured it"
    assert cells["hmc"][0] == ("1 of 1", False, "‡")
    assert cells["sgld"][0] == ("0 of 2", False, "")
    assert cells["sgld"][header.index("acceptance") - 1][0] == "–"
    scores = sections["uci"][1].scores
    rhat = scores[(scores["row"] == "sgld") & (scores["metric"] == "rhat")]["value"]
    assert table.numbers.set_index("method").loc["sgld", "rhat"] == rhat.max()


def test_truth_table_is_bold_at_the_right_coverage(sections):
    (table,) = truth_tables(*sections["toy"])
    frame: pd.DataFrame = table.numbers
    assert table.grid.header[1:] == ("KL: grid", "KL: inside", "KL: outside", "coverage: inside", "coverage: outside")
    for (_, metric), part in frame.groupby(["evaluation", "metric"]):
        competing = part[~part["unconverged"] & (part["method"] != "constant")]
        distance = (competing["value"] - (0.95 if metric == "truth_coverage_95" else 0.0)).abs()
        assert part.loc[part["best"], "value"].iloc[0] == part.loc[distance.idxmin(), "value"]
        assert part["best"].sum() == (distance == distance.min()).sum()


def test_exact_picture_adds_the_noise():
    exact = {k: np.array([v]) for k, v in {"x": 0.0, "mean": 1.0, "std": 0.3, "truth": 1.1, "truth_std": 0.4}.items()}
    assert exact_picture(exact, None).bands["total_std"] == pytest.approx([0.5])


def test_every_method_of_the_suite_looks_different():
    rows = [(m.name, m.order, m.tags) for m in SUITE_METHODS]
    records = pd.DataFrame(rows, columns=["name", "order", "tags"])
    found = styles(records, SUITE)
    assert len({(look.color, look.marker) for look in found.values()}) == len(SUITE)
    assert len({(look.color, look.line) for look in found.values()}) == len(SUITE)
