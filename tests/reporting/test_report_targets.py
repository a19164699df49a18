"""What aims at something else than the task's posterior is marked, wherever it stands and by whatever it does so."""

from dataclasses import replace

import pytest
from image_data import image_store, images
from report_data import cell, outcome
from suite_data import suite_store

from bnnbench.records import EvaluationRecord, Score, canonical
from bnnbench.reporting.comparison import comparison
from bnnbench.reporting.fidelity import fidelity
from bnnbench.reporting.reading import HOW_TO_READ
from bnnbench.reporting.select import select
from bnnbench.reporting.tables.headline import comparison_grid
from bnnbench.reporting.tables.summary import summary_tables
from bnnbench.reporting.targets import is_moved


def configured(found, **settings):
    """The outcome of a cell with these settings, which are the task's defaults."""
    return replace(found, cell=replace(found.cell, config=canonical({"lr": 0.1} | settings)))


@pytest.mark.parametrize(
    ("configuration", "moved"),
    [
        ('{"precision":"300"}', True),
        ('{"precision":"marglik"}', True),
        ('{"precision":"task","temperature":1.0}', False),
        ('{"temperature":0.01}', True),
        ('{"beta":0.1}', True),
        ('{"prior_scale":4.0}', True),
        ('{"prior_scale":1}', False),
        ('{"lr":4.0}', False),
        ("not JSON", False),
        ("[1]", False),
    ],
)
def test_configurations(configuration, moved):
    assert is_moved(configuration) is moved


def test_tables_mark_tags_and_configurations(tmp_path):
    """One name with two targets: the configuration tells, the label does not, and the row does not."""
    rows = [
        outcome(cell("housing", "constant"), -3.0),
        outcome(cell("housing", "laplace-kron"), -2.5),
        configured(outcome(cell("yacht", "laplace-kron"), -2.6), precision="300"),
        outcome(cell("yacht", "sgld", config={"temperature": 0.5}), -2.7),
        outcome(cell("yacht", "sgld"), -2.8),
    ]
    with suite_store(tmp_path / "r.db", rows) as store:
        (section,) = select(store).sections
    table = comparison(section.scores, "log_likelihood", better=1, rows=list(section.rows))
    other = {(task, row) for (row, task), entry in table.entries.items() if entry.other_target}
    assert other == {("housing", "constant"), ("yacht", "laplace-kron"), ("yacht", "sgld [temperature=0.5]")}
    cells = dict(comparison_grid(table).rows)["laplace-kron"]
    assert ["§" in mark for _, _, mark in cells] == [task == "yacht" for task in table.tasks]
    assert "§ marks methods with another target" in " ".join(HOW_TO_READ.split())


def test_images_mark_what_has_one_prior_for_the_mean_and_another_for_the_spread(tmp_path):
    plain, moved = images(names=("map", "laplace-kron"))
    found = [plain, configured(moved, precision="300")]
    with image_store(tmp_path / "i.db", found) as store:
        selection = select(store)
        scores = next(summary_tables(selection, selection.sections[0]))
    assert {name: {mark for *_, mark in cells} - {""} for name, cells in scores.grid.rows} == {
        "map": set(), "laplace-kron": {"§"}
    }  # fmt: skip


def test_a_tempered_sampler_does_not_compete_in_comparisons_with_hmc(tmp_path):
    def compared(method, value, **settings):
        scores = EvaluationRecord("fidelity", 50, (Score("w1_to_hmc", value, 0.01),))
        return configured(replace(outcome(cell("housing", method), -2.0), evaluations=(scores,)), **settings)

    rows = [compared("hmc", 0.001), compared("sgld", 0.1, temperature=0.5), compared("swag", 0.3)]
    with suite_store(tmp_path / "f.db", rows) as store:
        found = fidelity(select(store))
    assert found is not None
    assert found.other == {"sgld"}
    assert found.bold("w1_to_hmc") == {("swag", "housing 10fold-0")}
