"""A figure shows the numbers of the table, all of them, under titles that can be read."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from figure_data import drawn, marks, overlapping_titles, panel, texts, written
from image_data import IMAGE_METHODS, image_store, images
from report_data import UCI, cell, fill, gallery, outcome
from suite_data import suite, suite_store

from bnnbench.methods import METHODS as REGISTERED
from bnnbench.reporting.comparison import comparison
from bnnbench.reporting.figures import calibration
from bnnbench.reporting.figures.palette import OTHERS, family, members
from bnnbench.reporting.figures.scores import score_figure
from bnnbench.reporting.figures.style import styles
from bnnbench.reporting.figures.training import blocked
from bnnbench.reporting.select import select


def table_of(page: str, heading: str) -> dict[str, list[str]]:
    """Cells of the first Markdown table under a heading, by row, without bold."""
    lines = page[page.index(f"### {heading}\n") :].splitlines()[2:]
    body = [line for line in lines[: lines.index("")] if line.startswith("|")]
    cells = [[c.strip().replace("**", "").replace("\\", "") for c in line.strip("|").split(" | ")] for line in body]
    return {"": cells[0][1:]} | {row[0]: row[1:] for row in cells[2:]}


@pytest.fixture
def exploded(tmp_path):
    """Usual methods, one of which lost a fold, and one that explodes."""
    values = {"map": 1.0, "mc-dropout": 1.1, "bbp-gaussian": 1.2, "sgld": 1e30, "constant": 3.0, "ensemble-deep": 0.9}
    rows = [outcome(cell("housing", m, index=i), v * (1 + i / 50), "rmse") for m, v in values.items() for i in range(4)]
    rows = [o for o in rows if (o.cell.method, o.cell.index) != ("bbp-gaussian", 2)]
    with fill(tmp_path / "x.db", rows) as store:
        yield store


def test_dots_arrows_and_rings_are_the_tables(exploded, tmp_path, monkeypatch):
    page = written(exploded, tmp_path / "out", monkeypatch)
    table = {row: cells[0] for row, cells in table_of(page, "uci: RMSE").items() if row}
    numbers = pd.read_csv(tmp_path / "out/tables/uci-10fold-rmse.csv").set_index("method")
    axes = panel(drawn(exploded)["uci-10fold-rmse"], "housing")
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert sorted(names) == sorted(table) == sorted(numbers.index)
    rings = [line.get_ydata()[0] for line in axes.lines if line.get_markersize() == 10]
    assert sorted(rings) == [y for y, name in enumerate(names) if numbers.loc[name, "best"]], "rings are the bold ones"
    low, high = axes.get_xlim()
    beyond = set()
    for y, name in enumerate(names):
        mean = numbers.loc[name, "mean"]
        points = [(x, m) for x, at, m in marks(axes) if at == y]
        if low <= mean <= high:
            assert any(x == pytest.approx(mean, rel=1e-9) for x, _ in points), name
        else:
            beyond.add(name)
            assert ">" in {m for x, m in points if x > 0.9}, "what lies beyond the axis is an arrow at its border"
            assert table[name] in [t.get_text() for t in axes.texts if t.xy[1] == y], "with the table's own text"
    assert "sgld" in beyond
    assert max(map(len, texts(axes.figure))) < 30, "no number of thirty digits"


def test_the_best_has_its_ring_beyond_the_axis_too(exploded):
    (section,) = select(exploded).sections
    table = comparison(section.scores, "rmse", better=-1, rows=list(section.rows))
    told = {key: replace(entry, best=key[0] == "sgld") for key, entry in table.entries.items()}
    figure = score_figure(replace(table, entries=told), table, styles(select(exploded).methods, section.rows), "", "")
    ((x, y),) = [(ln.get_xdata()[0], ln.get_ydata()[0]) for ln in figure.axes[0].lines if ln.get_markersize() == 10]
    assert figure.axes[0].get_yticklabels()[y].get_text() == "sgld"
    assert 0.9 < x <= 1, "at the border, in shares of the axis"


def test_numbers_of_calibration_sheets_are_the_tables(tmp_path, monkeypatch):
    outcomes = [o for o in gallery(4, ("constant", "map", "sgld"), extra=False) if o.cell.task in ("yacht", "digits")]
    with fill(tmp_path / "x.db", outcomes) as store:
        page = written(store, tmp_path / "out", monkeypatch)
        figures = drawn(store)
    for name, heading in (("uci-10fold-calibration-yacht", "uci: calibration error"),
                          ("starter-10fold-reliability-digits", "starter: ECE")):  # fmt: skip
        table = table_of(page, heading)
        assert len(table) == 4
        for row, cells in table.items():
            if row:
                assert [t.get_text() for t in panel(figures[name], row).texts] == [cells[0]], (name, row)


@pytest.mark.parametrize(("most", "sheets"), [(6, 6), (5, 0)])
def test_sheets_of_too_many_panels_and_losses_are_left_out(most, sheets, tmp_path, monkeypatch):
    monkeypatch.setattr(calibration, "SHEETS", most)
    with fill(tmp_path / "x.db", [o for o in gallery(1, ("map",), extra=False) if o.cell.task in UCI]) as store:
        found = drawn(store)
    assert len([stem for stem in found if "10fold-calibration-" in stem]) == sheets + 1
    assert {"uci-10fold-calibration-error", "uci-10fold-training-validation"} <= set(found)
    assert not [name for name in found if "loss" in name], "objectives of different methods do not compare"


LONG = "lr=0.001,sigma=0.005,temperature=0.01,prior_scale=0.333"


def configured(outcomes):
    """The same cells once more under a configuration with a long name."""
    return [replace(o, cell=replace(o.cell, label=LONG, config='{"temperature":0.01}')) for o in outcomes]


NARROW = ("weights", "elbo", "tempered", "reliability", "log-likelihood", "pruning-error", "rotation")


@pytest.mark.parametrize("stems", [NARROW, pytest.param((), marks=pytest.mark.slow)])
def test_no_title_covers_another(stems, tmp_path, monkeypatch):
    few = images("cifar10-sample-lenet", ("bbp-local",))
    with image_store(tmp_path / "images.db", [*few, *configured(few)]) as store:
        found = drawn(store)
    if not stems:
        some = [o for o in suite(1, ("map", "swag")) if o.cell.task in ("toy-heteroscedastic", "energy")]
        with suite_store(tmp_path / "suite.db", [*some, *configured(some)]) as store:
            found |= drawn(store)
    for name, figure in found.items():
        if not stems or any(stem in name for stem in stems):
            assert not overlapping_titles(figure), name


def test_tempered_objectives_are_named_so(tmp_path, monkeypatch):
    cold = [replace(o, evaluations=o.evaluations[:1]) for o in images("mnist", ("bbp-local",))]
    hot = [replace(o, curves={"training": o.curves["training"] | {"kl": o.curves["training"]["kl"] - 571}})
           for o in configured(cold)]  # fmt: skip
    with image_store(tmp_path / "x.db", [*cold, *hot]) as store:
        page = written(store, tmp_path / "out", monkeypatch)
        figures = drawn(store)
    legends = {
        stem: [t.get_text() for t in figures[f"images-official-mnist-{stem}"].legends[0].get_texts()]
        for stem in ("elbo", "tempered")
    }
    assert "KL from the prior" in legends["elbo"]
    assert not [t for t in legends["tempered"] if "ELBO" in t or t.startswith("KL")]
    assert [a.get_title("left") for a in figures["images-official-mnist-elbo"].axes if a.axison] == ["bbp-local"]
    assert "is no bound on the evidence" in page


def registered() -> pd.DataFrame:
    """The methods of the suite as a database holds them."""
    return pd.DataFrame(
        [(m.name, i, list(m.tags), m.implements) for i, m in enumerate(REGISTERED)],
        columns=["name", "order", "tags", "implements"],
    )


# Machado, Oliveira & Fernandes 2009, IEEE TVCG 15, severity 1: what is left of linear RGB.
BLIND = {
    "none": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def lab(color: str, kind: str) -> np.ndarray:
    """CIE L*a*b* of a colour as seen."""
    srgb = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(BLIND[kind]) @ linear, 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    x, y, z = np.cbrt(np.maximum(np.array(to_xyz) @ seen / [0.9505, 1, 1.089], 1e-9))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("kind", BLIND)
def test_methods_are_told_apart_by_colour_or_marker(kind):
    """A difference of 2.3 is just seen; at least 5 between equal markers, and 10 between any two by usual eyes."""
    methods = registered()
    own = [m.name for m in REGISTERED if "adapters" not in m.tags]
    names = [n for n, m in members(methods).items() if m.family.tag != "flow" and n in own]
    assert len(names) >= 24
    found = styles(methods, names)
    for i, one in enumerate(names):
        for other in names[:i]:
            distance = np.linalg.norm(lab(found[one].color, kind) - lab(found[other].color, kind))
            same = found[one].marker == found[other].marker
            assert distance > (10 if kind == "none" else 5 if same else 0), (one, other)


def test_one_hue_a_family_and_no_more_for_what_is_shown():
    methods = registered()
    own = members(methods)
    assert family(["variational", "multiplicative"]).title == "Multiplicative"
    elsewhere = {m.name for m in REGISTERED if "adapters" in m.tags and not m.implements}
    assert {n for n, m in own.items() if m.family == OTHERS} == elsewhere, "all of the suite are of a known family"
    assert own["laplace-torch-kron"].family == own["laplace-kron"].family
    few, many = styles(methods, ["sgld"]), styles(methods, list(own))
    assert few["sgld"] == many["sgld"]
    assert len({own[m.name].color for m in REGISTERED if "adapters" not in m.tags}) == len(own) - sum(
        "adapters" in m.tags for m in REGISTERED
    )
    with_plugin = pd.concat([methods, pd.DataFrame([("mine", 99, ["novel"], "")], columns=methods.columns)])
    found = styles(with_plugin, ["sgld", "mine", "mine [lr=1]", "unheard-of"])
    assert found["sgld"] == few["sgld"]
    for row in ("mine", "unheard-of"):
        assert found[row].color[1:3] == found[row].color[3:5] == found[row].color[5:], "grey"
    assert found["mine [lr=1]"].color == found["mine"].color


def test_figures_share_the_colours(tmp_path, monkeypatch):
    names = [m.name for m in IMAGE_METHODS[1:4]]
    slim = [replace(o, evaluations=o.evaluations[:1]) for o in images("mnist", tuple(names))]
    with image_store(tmp_path / "x.db", slim) as store:
        expected = {row: look.color for row, look in styles(select(store).methods, names).items()}
        figures = drawn(store)
    for name in names:
        for stem in ("reliability-mnist", "weights"):
            assert panel(figures[f"images-official-{stem}"], name)._left_title.get_color() == expected[name]
        (line,) = [
            ln for a in figures["images-official-training-validation"].axes for ln in a.lines if ln.get_label() == name
        ]
        assert line.get_color() == expected[name]


def test_blocks_are_few_and_equal():
    assert [len(block) for block in blocked(list("abcdefgh"))] == [4, 4]
    assert [len(block) for block in blocked(list("abcdefg"))] == [7]
