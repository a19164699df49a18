"""The figures of density estimation: each is drawn, shows what is stored, and is left out where nothing is."""

from dataclasses import replace

import numpy as np
import pytest
from density_data import (
    ENERGIES,
    FEW,
    NAMES,
    POINTS,
    ROWS,
    SORTED,
    VAE,
    densities,
    density_outcome,
    density_store,
    figures,
    panels,
    stored,
    truth,
)
from report_data import cell, outcome, pages

from bnnbench.reporting.build import build
from bnnbench.reporting.figures.flow_densities import field
from bnnbench.reporting.figures.flows import chosen
from bnnbench.reporting.figures.style import Style
from bnnbench.reporting.select import select
from bnnbench.reporting.tables.flows import divergence_tables, published_bounds
from bnnbench.store.store import ResultStore

STEMS = {*(f"maps-{t}" for t in POINTS), "energies", "densities", f"{VAE}-images", f"{VAE}-bound"}


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    path = tmp_path_factory.mktemp("db") / "density.db"
    with density_store(path, [*densities(FEW), *densities(FEW[:1], ("moons", VAE), seeds=2)[1::2]]):
        return path


@pytest.fixture(scope="module")
def drawn(database):
    with ResultStore(database, read_only=True) as store:
        return figures(store)


def close(offsets, series, name="x"):
    expected = np.stack([series[f"{name}0"], series[f"{name}1"]], axis=1)
    return np.allclose(offsets, expected[: len(offsets)], atol=1e-5) and len(offsets) == min(len(expected), 2_000)


def test_every_figure_of_every_task(drawn):
    assert set(drawn) == STEMS
    for figure in drawn.values():
        assert figure.alt.endswith(".")
        assert len(figure.text) > 60
        assert figure.text.endswith(".")


@pytest.mark.parametrize("task", POINTS)
def test_maps_show_both_ways(drawn, task):
    lines = panels(drawn[f"maps-{task}"].figure(), 3)
    assert [line[0].get_ylabel().replace("\n", " ") for line in lines] == list(SORTED)
    for line, row in zip(lines, SORTED, strict=True):
        data, draws = stored(task, row, "flow_data"), stored(task, row, "flow_samples")
        x, z, out = (axes.collections[0] for axes in line)
        assert close(x.get_offsets(), data, "x")
        assert close(z.get_offsets(), data, "z")
        assert close(out.get_offsets(), draws, "x")
        assert np.array_equal(x.get_array(), z.get_array()), "a point keeps its colour"
        turns = np.arctan2(draws["z1"], draws["z0"]) / (2 * np.pi) % 1
        assert np.allclose(out.get_array(), turns, atol=1e-4)
        assert [circle.radius for circle in line[1].patches] == [1, 2, 3]
        assert line[0].get_xlim() == line[2].get_xlim() == lines[0][0].get_xlim()


def test_maps_say_what_share_of_the_noise_lies_outside(drawn):
    z = stored("moons", "flow-gaussian", "flow_data")
    outside = np.mean((np.abs(z["z0"]) > 4) | (np.abs(z["z1"]) > 4))
    first = panels(drawn["maps-moons"].figure(), 3)[0][1]
    assert [t.get_text() for t in first.texts] == [f"{100 * outside:.0f} % outside"]
    assert outside > 0.005


@pytest.mark.parametrize(("stem", "tasks"), [("energies", ENERGIES), ("densities", POINTS)])
def test_densities_under_the_truth(drawn, stem, tasks):
    lines = panels(drawn[stem].figure(), len(tasks))
    assert [line[0].get_ylabel().replace("\n", " ") for line in lines] == ["truth", *SORTED]
    for task, column in zip(tasks, lines.T, strict=True):
        truths = {a.images[0].norm.vmax for a in column}
        assert len(truths) == 1, "colours compare"
        for axes, row in zip(column, ("truth", *SORTED), strict=True):
            series = stored(task, SORTED[0] if row == "truth" else row, "flow_density")
            image = axes.images[0].get_array()
            log = series["log_p" if row == "truth" else "log_q"]
            assert np.allclose(image, np.exp(log).reshape(image.shape), atol=1e-6)
        assert column[0].texts[0].get_text() == task


def test_images_of_densities_stand_upright():
    x0, x1 = (a.ravel() for a in np.meshgrid([0.0, 1.0, 2.0], [10.0, 20.0, 30.0]))
    shuffled = np.random.default_rng(0).permutation(9)
    series = {"x0": x0[shuffled], "x1": x1[shuffled], "log_q": np.log(x0 + x1)[shuffled]}
    image, box = field(series, "log_q")
    assert image == pytest.approx(np.array([[10, 11, 12], [20, 21, 22], [30, 31, 32]]))
    assert box == (-0.5, 2.5, 5, 35)


def test_numbers_over_the_panels(drawn, database):
    with ResultStore(database, read_only=True) as store:
        selection = select(store)
        (table,) = divergence_tables(selection, selection.sections[0])
    written = {row: cells[table.grid.header.index("energy-1") - 1][0] for row, cells in table.grid.rows}
    energies, points = panels(drawn["energies"].figure(), 4), panels(drawn["densities"].figure(), 3)
    for i, row in enumerate(SORTED, 1):
        _, mass = (s.value for s in density_outcome("energy-1", row).evaluations[1].scores)
        told, _, rest = energies[i, 0].get_title().removeprefix("KL = ").partition(", ")
        assert told == written[row].partition(" ± ")[0], "what the table says"
        assert rest == f"mass {mass:.2f}" * (mass < 0.995)
        nll, floor = (s.value for s in density_outcome("blobs", row).evaluations[0].scores)
        assert points[i, 1].get_title() == f"nll = {nll:.3f}"
        assert points[0, 1].get_title() == f"floor = {floor:.3f}"
    assert not energies[0, 0].get_title()
    both = [density_outcome("moons", SORTED[0], seed).evaluations[0].scores[0].value for seed in (0, 1)]
    assert points[1, 0].get_title() == f"nll = {np.mean(both):.3f}"


def test_at_most_ten_rows_every_method_first():
    plain = {row: Style("#000000", "o", "-") for row in ROWS}
    rows, told = chosen(ROWS, plain)
    assert rows == [row for row in ROWS if "[" not in row]
    assert told == " Left out for lack of room: flow-planar [layers=2], flow-planar [layers=8]."
    assert chosen(SORTED, plain) == (list(SORTED), "")


def test_page_says_what_to_see_in_every_figure(tmp_path):
    with density_store(tmp_path / "x.db", densities(("flow-planar",))) as store:
        build(store, tmp_path / "out")
    page = pages(tmp_path / "out").splitlines()
    for stem in STEMS:
        assert (tmp_path / f"out/figures/density-fixed-{stem}.svg").is_file()
        (at,) = [i for i, line in enumerate(page) if line.endswith(f"(figures/density-fixed-{stem}.svg)")]
        assert len(page[at - 2]) > 60


def without(o, series):
    test, *rest = o.evaluations
    kept = {name: columns for name, columns in test.curves.items() if name != series}
    return replace(o, evaluations=(replace(test, curves=kept), *rest))


@pytest.mark.parametrize(
    ("series", "stem"),
    [
        ("flow_data", "maps-moons"),
        ("flow_density", "densities"),
        ("vae_images", f"{VAE}-images"),
        ("flow_samples", None),
    ],
)
def test_figures_without_series_are_left_out(series, stem, tmp_path):
    with density_store(tmp_path / "x.db", [without(o, series) for o in densities(FEW[:1], ("moons", VAE))]) as store:
        found = figures(store)
    known = "densities" if series != "flow_data" else "energies"  # what has no points is known by its density alone
    assert set(found) == {"maps-moons", known, f"{VAE}-images", f"{VAE}-bound"} - {stem}
    if "maps-moons" in found:
        assert bool(panels(found["maps-moons"].figure(), 3)[0][2].collections) == (series != "flow_samples")


def test_methods_without_series_are_left_out(tmp_path):
    poor, rich = densities(("flow-gaussian", "flow-maf"), ("moons",))
    for series in ("flow_data", "flow_density"):
        poor = without(poor, series)
    with density_store(tmp_path / "x.db", [poor, rich]) as store:
        found = figures(store)
    named = {stem: [a.get_ylabel() for a in found[stem].figure().axes if a.get_ylabel()] for stem in found}
    assert named["maps-moons"] == ["flow-maf"]
    assert named["densities"] == ["truth", "flow-maf"]


def test_a_task_that_a_method_has_not_run_is_blank(tmp_path):
    outcomes = [*densities(("flow-iaf",), ENERGIES[:2]), *densities(("flow-planar",), ENERGIES[:1])]
    with density_store(tmp_path / "x.db", outcomes) as store:
        lines = panels(figures(store)["energies"].figure(), 2)
    assert [[bool(a.images) for a in line] for line in lines] == [[True, True], [True, True], [True, False]]


def test_several_seeds_are_said_to_be_one(drawn, tmp_path):
    assert "(moons, pictures of the first seed)" in drawn["maps-moons"].figure().get_suptitle().replace("\n", " ")
    with density_store(tmp_path / "x.db", densities(FEW[:1], ("moons",))) as store:
        assert "first seed" not in figures(store)["maps-moons"].figure().get_suptitle()


def test_other_sections_know_nothing_of_densities(tmp_path):
    with density_store(tmp_path / "x.db", [outcome(cell("housing", "flow-gaussian"), -1.0)]) as store:
        build(store, tmp_path / "out", formats=["md"])
    names = [p.name for p in (tmp_path / "out/figures").iterdir()]
    assert names
    assert not [n for n in names if any(f"-{stem}." in n for stem in STEMS)]


def test_made_up_data_are_their_own_truth():
    x = truth("letters").forward(np.random.default_rng(0).normal(size=(5, 2)))
    assert np.allclose(truth("letters").forward(truth("letters").inverse(x)), x)
    assert len(NAMES) == 8


def test_tables_tell_the_divergence_and_what_is_published(database):
    with ResultStore(database, read_only=True) as store:
        chosen = select(store)
        (section,) = chosen.sections
        (distances,), (published,) = (list(t(chosen, section)) for t in (divergence_tables, published_bounds))
    assert distances.grid.header == ("method", *ENERGIES)
    numbers = distances.numbers.set_index(["task", "method"])["kl_reverse"]
    for task in ENERGIES:
        assert numbers[task, "flow-planar"] == pytest.approx(
            next(
                s.value for s in density_outcome(task, "flow-planar").evaluations[1].scores if s.metric == "kl_reverse"
            )
        )
        best = distances.numbers[(distances.numbers["task"] == task) & distances.numbers["best"]]["method"]
        assert list(best) == [min(FEW, key=lambda row, task=task: numbers[task, row])]
    rows = {(method, texts[3][0]): [text for text, _, _ in texts] for method, texts in published.grid.rows}
    assert rows["VAE [planar-flow-pytorch]", "binarised mnist"][:3] == ["−84.60", "–", ""]
    assert rows["VAE + IAF", "mnist"][0] == "−84.20"  # published as a loss
    assert rows["VAE baseline", "dynamic binarised mnist"][:3] == ["−85.61", "−81.31", "second hand"]
