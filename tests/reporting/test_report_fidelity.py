from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from report_data import cell, outcome, pages
from suite_data import suite, suite_store

from bnnbench.records import EvaluationRecord, MetricRecord, Outcome, Score, Status
from bnnbench.reporting.build import build
from bnnbench.reporting.fidelity import fidelity
from bnnbench.reporting.figures.fidelity import MARKERS, fidelity_figure, lanes
from bnnbench.reporting.figures.style import styles
from bnnbench.reporting.select import select
from bnnbench.reporting.tables.fidelity import fidelity_tables


def compared(method: str, task: str = "housing", index: int = 0, status: Status = Status.OK, **values) -> Outcome:
    """A cell compared with HMC; `rhat` is a score of the test rows, the others of the comparison."""
    o = outcome(cell(task, method, index=index), -1.0)
    rhat = values.pop("rhat", None)
    scores = tuple(Score(k, v, None) for k, v in values.items())
    extra = EvaluationRecord("fidelity", 50, scores)
    found = [replace(e, scores=(*e.scores, Score("rhat", rhat, None))) if rhat and e.name == "test" else e
             for e in o.evaluations]  # fmt: skip
    return replace(o, status=status, evaluations=(*found, extra))


@pytest.fixture
def store(tmp_path):
    """HMC sound on housing and unconverged on yacht; swag is below the noise, gp aims elsewhere."""
    rows = [
        compared("hmc", w1_to_hmc=0.05, log_sd_ratio=-0.01, rhat=1.012),
        compared("hmc", "yacht", status=Status.UNCONVERGED, w1_to_hmc=0.3, log_sd_ratio=0.02, rhat=1.9),
        compared("map", w1_to_hmc=0.4, log_sd_ratio=-0.5, log_epistemic_ratio=-np.inf),
        compared("swag", w1_to_hmc=0.04, log_sd_ratio=0.2),
        compared("sgld", w1_to_hmc=0.03, log_sd_ratio=-0.1),
        compared("sgld", "yacht", w1_to_hmc=0.6, log_sd_ratio=-0.1),
        compared("gp", w1_to_hmc=0.01, log_sd_ratio=0.0),
        outcome(cell("concrete", "map"), -2.0),
    ]
    with suite_store(tmp_path / "f.db", rows) as found:
        yield found


def test_tables(store, tmp_path):
    build(store, tmp_path, formats=["csv", "latex"])
    table = pd.read_csv(tmp_path / "tables/fidelity-w1_to_hmc.csv").set_index(["task", "method"])
    assert "hmc" not in table.index.get_level_values("method")
    assert table.loc[("housing", "map"), "value"] == 0.4
    assert table["noise_floor"].tolist() == [0.05, 0.05, 0.05, 0.05, 0.3]
    assert table.index[table["best"]].tolist() == [("housing", "swag"), ("housing", "sgld"), ("yacht", "sgld")]
    assert table.index[table["other_target"]].tolist() == [("housing", "gp")]
    assert table.index[table["reference_unconverged"]].tolist() == [("yacht", "sgld")]
    text = (tmp_path / "tables/fidelity-w1_to_hmc.tex").read_text()
    assert r"gp & 0.0100$^{\S{}}$ & -- & -- \\" in text
    assert r"sgld & \textbf{0.0300} & \textbf{0.600}$^{\ddag{}}$ & 1.0 \\" in text
    assert r"noise floor (hmc) & 0.0500 & 0.300 & -- \\" in text
    assert r"method & housing 10fold-0 & yacht 10fold-0 \ddag{} & mean rank \\" in text


def test_signed_metrics_are_bold_by_size_and_point_estimates_are_infinitely_sure(store):
    found = fidelity(select(store))
    assert found is not None
    assert found.bold("log_sd_ratio") == {("sgld", "housing 10fold-0"), ("sgld", "yacht 10fold-0")}
    assert found.own("log_epistemic_ratio")["map", "housing 10fold-0"][0] == -np.inf
    assert not found.bold("log_epistemic_ratio")
    grid = fidelity_tables(found)[-1].grid
    assert dict(grid.rows)["map"][0][0] == "−∞"


def test_captions_say_what_qualifies(store):
    found = fidelity(select(store))
    assert found is not None
    for table in fidelity_tables(found):
        assert "its R-hat, largest over test points: housing 10fold-0 1.012, yacht 10fold-0 1.900" in table.caption
        assert "HMC is flagged by its own convergence diagnostics there (yacht 10fold-0)" in table.caption
        assert "§: the method's target is another" in table.caption


def test_reference_qualifies_comparisons_even_when_it_is_not_selected(store):
    found = fidelity(select(store, methods=["sgld", "map"]))
    assert found is not None
    assert found.flagged == {"yacht 10fold-0"}
    assert found.floor["w1_to_hmc", "housing 10fold-0"] == 0.05
    assert found.rows == ("map", "sgld")


def test_seeds_are_averaged_and_an_unconverged_method_is_marked(tmp_path):
    one = compared("sgld", w1_to_hmc=0.2, status=Status.UNCONVERGED)
    two = compared("sgld", w1_to_hmc=0.4)
    two = replace(two, cell=replace(two.cell, seed=1))
    with suite_store(tmp_path / "f.db", [one, two]) as store:
        found = fidelity(select(store))
    assert found is not None
    (table,) = fidelity_tables(found)
    assert [name for name, _ in table.grid.rows] == ["sgld"], "no floor without HMC"
    assert table.grid.rows[0][1] == (("0.300", True, "‡"), ("1.0", False, ""))


def test_a_metric_of_a_plugin_stands_beside_the_others(tmp_path):
    own = MetricRecord("surprise", 0, "", "surprise beside HMC", order=99)
    with suite_store(tmp_path / "f.db", [compared("map", w1_to_hmc=0.4, surprise=0.1)]) as store:
        store.register((), (), (own,))
        found = fidelity(select(store))
        build(store, tmp_path / "out")
    assert found is not None
    assert list(found.metrics) == ["w1_to_hmc", "surprise"]
    assert [t.title for t in fidelity_tables(found)] == ["Distance from HMC", "surprise"]
    assert fidelity_tables(found)[1].caption.startswith("Surprise beside HMC. ")


def test_nothing_without_comparisons(tmp_path):
    with suite_store(tmp_path / "f.db", [outcome(cell("housing", "map"), -1.0)]) as store:
        assert fidelity(select(store)) is None
        build(store, tmp_path / "out")
    assert "fidelity.md" not in pages(tmp_path / "out")


def test_page_and_figure_across_sections(tmp_path):
    wanted = {"toy-heteroscedastic", "energy"}
    outcomes = [o for o in suite(1, ("map", "bbp-laplace", "sgld", "hmc")) if o.cell.task in wanted]
    slim = [replace(o, curves={}, evaluations=tuple(replace(e, curves={}) for e in o.evaluations)) for o in outcomes]
    with suite_store(tmp_path / "f.db", slim) as store:
        build(store, tmp_path / "out")
    assert "* [How near to the HMC posterior?](fidelity.md)" in (tmp_path / "out/index.md").read_text()
    page = (tmp_path / "out/fidelity.md").read_text()
    header = next(line for line in page.splitlines() if "energy 10fold-0" in line and line.startswith("| method"))
    columns = [c.strip() for c in header.strip("|").split("|")]
    assert columns == ["method", "toy-heteroscedastic", "energy 10fold-0 ‡", "mean rank"]
    assert page.startswith("# How near to the HMC posterior?\n")
    assert (tmp_path / "out/figures/fidelity.svg").is_file()


RANKED = ("housing", "concrete", "energy", "yacht")
FLOORS = dict(zip(RANKED, (0.01, 0.02, 0.08, 0.3), strict=True))
DISTANCES = {  # of the columns above; HMC is unconverged on yacht, and swag has not run on energy
    "map": (0.5, 0.9, 0.05, 0.01),
    "swag": (0.3, 0.2, None, 0.9),
    "sgld": (0.1, 0.4, 0.9, 1e9),
    "gp": (0.0, 0.0, 0.0, 0.0),
}


@pytest.fixture
def ranked(tmp_path):
    rows = [compared("hmc", task, status=Status.UNCONVERGED if task == "yacht" else Status.OK, w1_to_hmc=floor,
                     log_sd_ratio=-floor) for task, floor in FLOORS.items()]  # fmt: skip
    rows += [compared(method, task, w1_to_hmc=value, log_sd_ratio=-value) for method, values in DISTANCES.items()
             for task, value in zip(RANKED, values, strict=True) if value is not None]  # fmt: skip
    with suite_store(tmp_path / "f.db", rows) as store:
        selection = select(store)
        yield selection, fidelity(selection)


def test_ranks_are_over_converged_columns_that_all_have(ranked):
    """By hand, on housing and concrete: sgld 1 and 2, swag 2 and 1, map 3 and 3; gp aims at another posterior."""
    ranking = ranked[1].ranking()
    assert ranking.columns == ("housing 10fold-0", "concrete 10fold-0")
    assert ranking.ranks == {"swag": 1.5, "sgld": 1.5, "map": 3.0}
    assert ranking.unconverged == ("yacht 10fold-0",)
    assert ranking.missing == {"energy 10fold-0": ("swag",)}
    table = fidelity_tables(ranked[1])[0]
    told = {"noise floor (hmc)": "–", "map": "3.0", "swag": "1.5", "sgld": "1.5", "gp": "–"}
    assert {row: texts[-1][0] for row, texts in table.grid.rows} == told
    assert "Not ranked over, for HMC is unconverged there: yacht 10fold-0." in table.caption
    assert "Not ranked over energy 10fold-0, which swag lacks." in table.caption
    assert table.numbers.drop_duplicates("method").set_index("method")["mean_rank"].dropna().to_dict() == ranking.ranks


def test_each_data_set_has_its_own_floor_in_its_own_lane(ranked):
    selection, found = ranked
    figure = fidelity_figure(found, styles(selection.methods, found.rows))
    names = [t.get_text().removesuffix(" §") for t in figure.axes[0].get_yticklabels()]
    assert names == ["swag", "sgld", "map", "gp"], "by rank, then those that have none"
    places = lanes(found)
    for axes, left in ((figure.axes[0], figure.axes[0].get_xlim()[0]), (figure.axes[1], None)):
        spans = {round(line.get_ydata()[0], 6): tuple(line.get_xdata()) for line in axes.lines if line.get_lw() == 4.0}
        assert len(spans) == 3 * len(names), "none where HMC is unconverged"
        for y in range(len(names)):
            for task in RANKED[:3]:
                floor = FLOORS[task]
                start = -floor if left is None else left
                assert spans[round(y + places[f"{task} 10fold-0"], 6)] == pytest.approx((start, floor))


def test_every_value_is_drawn_or_stands_at_the_border(ranked):
    selection, found = ranked
    axes = fidelity_figure(found, styles(selection.methods, found.rows)).axes[0]
    names = [t.get_text().removesuffix(" §") for t in axes.get_yticklabels()]
    low, high = axes.get_xlim()
    points = {round(line.get_ydata()[0], 6): (line.get_xdata()[0], line.get_marker())
              for line in axes.lines if line.get_marker() in (*MARKERS, "<", ">")}  # fmt: skip
    for row, values in DISTANCES.items():
        for i, (task, value) in enumerate(zip(RANKED, values, strict=True)):
            place = round(names.index(row) + lanes(found)[f"{task} 10fold-0"], 6)
            if value is None:
                assert place not in points
            elif low <= value <= high:
                assert points[place] == (value, MARKERS[i])
            else:
                assert points[place] == ((0.02, "<") if value < low else (0.98, ">"))
    assert len(points) == 15
    assert (0.98, ">") in points.values()


def test_no_ranks_without_a_shared_column(tmp_path):
    rows = [compared("map", w1_to_hmc=0.4), compared("sgld", "yacht", w1_to_hmc=0.3)]
    with suite_store(tmp_path / "f.db", rows) as store:
        found = fidelity(select(store))
    assert found is not None
    assert not found.ranking().ranks
    assert "mean rank" not in fidelity_tables(found)[0].grid.header
