from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from report_data import cell, outcome
from suite_data import suite, suite_store

from bnnbench.report.build import build
from bnnbench.report.fidelity import fidelity
from bnnbench.report.fidelity_tables import fidelity_tables
from bnnbench.report.select import select
from bnnbench.store.records import EvaluationRecord, Outcome, Score, Status


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
    assert r"gp & 0.0100$^{\S}$ & -- \\" in text
    assert r"sgld & \textbf{0.0300} & \textbf{0.600}$^{\ddag}$ \\" in text
    assert r"noise floor (hmc) & 0.0500 & 0.300 \\" in text
    assert r"method & housing 10fold-0 & yacht 10fold-0 \ddag \\" in text


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
        assert "its R-hat: housing 10fold-0 1.012, yacht 10fold-0 1.900" in table.caption
        assert "HMC itself doubts its convergence there (yacht 10fold-0)" in table.caption
        assert "§: the method's target is another" in table.caption


def test_reference_qualifies_comparisons_even_when_it_is_not_selected(store):
    found = fidelity(select(store, methods=["sgld", "map"]))
    assert found is not None
    assert found.doubted == {"yacht 10fold-0"}
    assert found.floor["w1_to_hmc", "housing 10fold-0"] == 0.05
    assert found.rows == ("map", "sgld")


def test_seeds_are_averaged_and_a_doubting_method_is_marked(tmp_path):
    one = compared("sgld", w1_to_hmc=0.2, status=Status.UNCONVERGED)
    two = compared("sgld", w1_to_hmc=0.4)
    two = replace(two, cell=replace(two.cell, seed=1))
    with suite_store(tmp_path / "f.db", [one, two]) as store:
        found = fidelity(select(store))
    assert found is not None
    (table,) = fidelity_tables(found)
    assert [name for name, _ in table.grid.rows] == ["sgld"], "no floor without HMC"
    assert table.grid.rows[0][1] == (("0.300", True, "‡"),)


def test_nothing_without_comparisons(tmp_path):
    with suite_store(tmp_path / "f.db", [outcome(cell("housing", "map"), -1.0)]) as store:
        assert fidelity(select(store)) is None
        build(store, tmp_path / "out")
    assert "How near" not in (tmp_path / "out/index.md").read_text()


def test_page_and_figure_across_sections(tmp_path):
    wanted = {"toy-heteroscedastic", "energy"}
    outcomes = [o for o in suite(1, ("map", "bbp-laplace", "sgld", "hmc")) if o.cell.task in wanted]
    slim = [replace(o, curves={}, evaluations=tuple(replace(e, curves={}) for e in o.evaluations)) for o in outcomes]
    with suite_store(tmp_path / "f.db", slim) as store:
        build(store, tmp_path / "out")
    page = (tmp_path / "out/index.md").read_text()
    assert "* How near to the HMC posterior?\n" in page
    header = next(line for line in page.splitlines() if "energy 10fold-0" in line and line.startswith("| method"))
    assert [c.strip() for c in header.strip("|").split("|")] == ["method", "toy-heteroscedastic", "energy 10fold-0 ‡"]
    assert page.index("## How near to the HMC posterior?") > page.index("## uci")
    assert (tmp_path / "out/figures/fidelity.png").is_file()
