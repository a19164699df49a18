"""What the report says of corrupted images: means over corruptions and severities, and the error of each."""

from dataclasses import replace

import numpy as np
import pytest
from image_data import image_cell, image_store
from report_data import outcome

from bnnbench.names import corrupted
from bnnbench.records import EvaluationRecord, Score
from bnnbench.reporting.averages import averages
from bnnbench.reporting.corruptions import by_severity
from bnnbench.reporting.figures.images import image_figures
from bnnbench.reporting.figures.style import styles
from bnnbench.reporting.select import select
from bnnbench.reporting.tables.corruptions import corruption_tables

KINDS = {"fog": 0.1, "snow": 0.2}  # what each adds to the error
CLEAN = {"map": 0.05, "swag": 0.04}


def scored(name, error):
    scores = Score("error", error, 0.01), Score("log_likelihood", -3 * error, 0.02), Score("entropy_total", 0.5, 0.01)
    return EvaluationRecord(name, 2_000, scores)


def cells(severities, left_out=()):
    """`swag` loses a tenth of what `map` loses; errors rise with the severity, where there are several."""
    for method, clean in CLEAN.items():
        share = 1.0 if method == "map" else 0.1
        found = [scored("test", clean)]
        found += [
            scored(corrupted(kind, severity), clean + share * added * (severity or 1))
            for kind, added in KINDS.items()
            for severity in severities
            if (method, kind, severity) not in left_out
        ]
        task = "mnist" if severities == (None,) else "cifar10-sample-lenet"
        yield replace(outcome(image_cell(task, method), -0.1), evaluations=tuple(found))


@pytest.fixture
def sections(tmp_path):
    def made(*args):
        with image_store(tmp_path / "results.db", list(cells(*args))) as store:
            chosen = select(store)
            return chosen, chosen.sections[0]

    return made


def test_means_beside_the_test_images_by_hand(sections):
    selection, section = sections((1, 2, 3, 4, 5))
    table, _ = corruption_tables(selection, section)
    assert table.name == "images-sample-official-corruptions-cifar10-sample-lenet"
    assert table.grid.header == ("method", "error (%): test", "error (%): mean", "log-likelihood: test",
                                 "log-likelihood: mean")  # fmt: skip
    rows = dict(table.grid.rows)
    assert [text for text, *_ in rows["map"]] == ["5.0 ± 1.0", "50.0 ± 1.0", "−0.150 ± 0.020", "−1.500 ± 0.020"]
    assert [(text, best) for text, best, _ in rows["swag"]][:2] == [("4.0 ± 1.0", True), ("8.5 ± 1.0", True)]
    numbers = table.numbers[(table.numbers["metric"] == "error") & (table.numbers["method"] == "map")]
    by_level = numbers.dropna(subset="severity").set_index("severity")["value"]
    assert by_level.to_dict() == pytest.approx({s: 0.05 + 0.15 * s for s in range(1, 6)})
    assert "2 corruptions at 5 severities" in table.caption


def test_each_corruption_by_hand(sections):
    selection, section = sections((None,))
    summary, table = corruption_tables(selection, section)
    assert "2 corruptions (mean)" in summary.caption
    assert table.grid.header == ("method", "fog", "snow", "mean")
    rows = dict(table.grid.rows)
    assert [text for text, *_ in rows["map"]] == ["15.0", "25.0", "20.0"]
    assert all(best for _, best, _ in rows["swag"])
    assert "mean over severities" not in table.caption


def test_lines_begin_at_the_test_images(sections):
    _, section = sections((1, 2, 3, 4, 5))
    lines = by_severity(averages(section, "cifar10-sample-lenet"), ["error", "entropy_total"])
    x, y = lines["map", "error"]
    assert x.tolist() == [0, 1, 2, 3, 4, 5]
    np.testing.assert_allclose(y, [0.05, 0.2, 0.35, 0.5, 0.65, 0.8])
    assert set(lines) == {(m, q) for m in CLEAN for q in ("error", "entropy_total")}


def test_one_severity_makes_no_lines(sections):
    _, section = sections((None,))
    assert by_severity(averages(section, "mnist"), ["error"]) == {}


def test_a_method_that_lacks_some_has_no_mean(sections):
    selection, section = sections((1, 2, 3, 4, 5), [("swag", "fog", 5)])
    table, each = corruption_tables(selection, section)
    assert [row for row, _ in table.grid.rows] == [row for row, _ in each.grid.rows] == ["map"]


def test_the_figure_is_drawn(sections):
    selection, section = sections((1, 2, 3, 4, 5))
    known = styles(selection.methods, section.rows)
    (plot,) = [plot for plot in image_figures(selection, section, known) if plot.name.endswith("-corruptions")]
    assert "2 methods" in plot.alt
    figure = plot.figure()
    assert {axes.get_ylabel() for axes in figure.axes} >= {"error", "total entropy (nats)"}


def test_nothing_where_nothing_was_corrupted(tmp_path):
    with image_store(tmp_path / "x.db", [outcome(image_cell("mnist", "map"), -0.1)]) as store:
        chosen = select(store)
        assert list(corruption_tables(chosen, chosen.sections[0])) == []
