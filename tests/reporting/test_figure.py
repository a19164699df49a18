"""One chart for a paper: what is drawn is what was stored, at the size asked for, in files that journals take."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import combinations, pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner
from density_data import densities, density_store, stored
from image_data import image_store, images
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.colors import to_hex
from matplotlib.text import Text
from report_data import cell, fill, gallery, lost, outcome
from scipy.stats import rankdata
from suite_data import suite, suite_store

import bnnbench
from bnnbench.cli import main
from bnnbench.errors import UserError
from bnnbench.methods import METHODS
from bnnbench.names import parse_split
from bnnbench.records import Origin
from bnnbench.reporting.figures.paper.catalogue import CHARTS
from bnnbench.reporting.figures.paper.critical_difference import Ranked
from bnnbench.reporting.figures.paper.size import SIZES
from bnnbench.reporting.figures.style import Style, distinct
from bnnbench.store.store import ResultStore

SUITE = ("constant", "map", "swag", "bbp-local", "hmc")
IMAGES = ("map", "mc-dropout", "bbp-local", "sgld")
FLOWS = ("flow-gaussian", "flow-realnvp")
EXAMPLES = {  # chart -> database, methods, tasks
    "scores": ("suite", "constant,map,swag,bbp-local", "uci"),
    "critical-difference": ("suite", "constant,map,swag,bbp-local", "uci"),
    "reliability": ("suite", "map,swag,bbp-local", "digits"),
    "pit": ("suite", "constant,map,swag,bbp-local", "yacht,wine"),
    "rotation": ("images", None, "mnist"),
    "entropy": ("images", None, "mnist"),
    "attacks": ("images", None, "mnist"),
    "rotated-digit": ("images", "map,sgld", "mnist"),
    "toy": ("suite", "map,swag", "toy-heteroscedastic"),
    "fidelity": ("suite", "constant,map,swag,bbp-local", "toy,yacht"),
    "pruning": ("suite", "map,swag,bbp-local", "yacht,wine"),
    "bound": ("images", None, "mnist"),
    "flow-maps": ("densities", None, "moons"),
}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    suite_store(folder / "suite.db", suite(2, SUITE)).close()
    image_store(folder / "images.db", images("mnist", IMAGES)).close()
    density_store(folder / "densities.db", densities(FLOWS, ("moons",))).close()
    return {name: folder / f"{name}.db" for name in ("suite", "images", "densities")}


def example(places, name, **changes):
    db, methods, tasks = EXAMPLES[name]
    return bnnbench.figure(name, places[db], **({"methods": methods, "tasks": tasks} | changes))


def scores_of(places, db, **filters):
    with ResultStore(places[db], read_only=True) as store:
        return store.scores(**filters)


def curves_of(places, db, name, method, task, evaluation):
    with ResultStore(places[db], read_only=True) as store:
        found = store.curves(name, evaluation=evaluation, task=task, method=method)
    found.sort(key=lambda each: parse_split(each[0]["split"])[1])
    return [series for _, _, series in found]


def panel(figure, title):
    (found,) = [a for a in figure.axes if title in (a.get_title("left"), a.get_title())]
    return found


def line(axes, color, longest=True):
    """x and y of the line of a colour that has most points."""
    own = [one for one in axes.lines if to_hex(one.get_color()) == color]
    best = max(own, key=lambda one: len(np.atleast_1d(one.get_xdata())))
    return np.asarray(best.get_xdata(), float), np.asarray(best.get_ydata(), float)


def color_of(figure, name):
    (found,) = [h for legend in figure.legends for h, t in zip(legend.legend_handles, legend.get_texts(), strict=True)
                if t.get_text() == name]  # fmt: skip
    return to_hex(found.get_color())


def test_every_chart_has_an_example_here():
    assert set(EXAMPLES) == set(CHARTS)


def test_dots_are_the_means_sorted_beside_the_reference(places):
    figure = example(places, "scores", metric="rmse")
    scores = scores_of(places, "suite", metric="rmse", evaluation="test")
    means = scores.groupby(["task", "method"])["value"].mean().unstack()[["constant", "map", "swag", "bbp-local"]]
    uci = means.loc[["housing", "concrete", "energy", "power", "wine", "yacht"]]
    order = uci.rank(axis=1).mean().sort_values(kind="stable").index
    names = [text.get_text().removesuffix(" §") for text in figure.axes[0].get_yticklabels()]
    assert names == list(order)
    for task in uci.index:
        axes = panel(figure, task)
        low, high = axes.get_xlim()
        dots = {float(np.ravel(one.get_ydata())[0]): float(np.ravel(one.get_xdata())[0]) for one in axes.lines
                if one.get_marker() not in ("None", "") and len(np.ravel(one.get_xdata())) == 1}  # fmt: skip
        for y, name in enumerate(names):
            if low <= uci.loc[task, name] <= high:
                assert dots[y] == pytest.approx(uci.loc[task, name]), (task, name)
            else:
                assert dots[y] in (0.985, 0.015), "an arrow at the border"
        upright = [one for one in axes.lines if len(one.get_xdata()) == 2 and len(set(one.get_xdata())) == 1]
        assert [float(one.get_xdata()[0]) for one in upright] == [pytest.approx(uci.loc[task, "map"])]
    assert {"map", "mean ± standard error"} <= {t.get_text() for t in figure.legends[0].get_texts()}


@pytest.mark.parametrize(
    ("metric", "expected"), [("rmse", ["map", "swag", "sgld †"]), ("log_likelihood", ["sgld †", "swag", "map"])]
)
def test_the_best_is_on_top_in_either_direction_and_signs_are_explained(metric, expected, tmp_path):
    values = {"map": 1.0, "swag": 2.0, "sgld": 3.0}
    rows = [outcome(cell("housing", m, index=i), v + i / 100, metric) for m, v in values.items() for i in range(3)]
    suite_store(tmp_path / "x.db", [*rows[:-1], lost(rows[-1].cell)]).close()
    figure = bnnbench.figure("scores", tmp_path / "x.db", metric=metric)
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == expected
    assert "† cells failed or are missing" in figure.get_label()
    assert "mean and standard error over splits." in figure.get_label()


def test_rotation_and_attacks_are_the_stored_scores(places):
    scores = scores_of(places, "images", task="mnist")

    def stored_line(method, metric, family, start="test"):
        own = scores[(scores["method"] == method) & (scores["metric"] == metric)].set_index("evaluation")["value"]
        at = {float(name.split("-")[1]): v for name, v in own.items() if re.fullmatch(rf"{family}-[\d.]+", name)}
        return np.array(sorted((at | {0.0: own[start]}).items())).T

    figure = example(places, "rotation")
    for name in IMAGES:
        color = color_of(figure, name)
        x, error = stored_line(name, "error", "rotation")
        np.testing.assert_allclose(line(panel(figure, "accuracy"), color), [x, 1 - error])
        for part in ("total", "aleatoric", "epistemic"):
            expected = stored_line(name, f"entropy_{part}", "rotation")
            np.testing.assert_allclose(line(panel(figure, f"{part} entropy"), color), expected)
    figure = example(places, "attacks")
    for name in IMAGES:
        for kind in ("fgsm", "pgd"):
            found = line(panel(figure, kind.upper()), color_of(figure, name))
            np.testing.assert_allclose(found, stored_line(name, "error", kind))


def test_entropy_curves_are_shares_of_images_above(places):
    figure = example(places, "entropy")
    for outside in ("kmnist", "notmnist"):
        for part in ("total", "epistemic"):
            axes = panel(figure, f"{outside}, {part}")
            for name in IMAGES:
                (series,) = curves_of(places, "images", "entropy", name, "mnist", outside)
                expected = [series[part], 1 - np.asarray(series["level"])]
                np.testing.assert_allclose(line(axes, color_of(figure, name)), expected)
            assert sum(to_hex(one.get_color()) == "#8a8a8a" for one in axes.lines) == len(IMAGES), "test images behind"
    assert "test images" in [t.get_text() for t in figure.legends[0].get_texts()]


def test_pit_curves_are_means_over_splits(places):
    figure = example(places, "pit")
    for task in ("yacht", "wine"):
        axes = panel(figure, task)
        for name in ("constant", "map", "swag", "bbp-local"):
            cells = curves_of(places, "suite", "pit_ecdf", name, task, "test")
            level = np.asarray(cells[0]["level"])
            off = np.mean([c["ecdf"] for c in cells], axis=0) - level
            np.testing.assert_allclose(line(axes, color_of(figure, name)), [level, off], atol=1e-12)
        (band,) = [p for p in axes.patches if to_hex(p.get_facecolor()) == "#e6e6e6"]
        assert band.get_height() / 2 == pytest.approx(1.358 / np.sqrt(2 * 50), rel=1e-3), "two splits of 50 test rows"


def test_reliability_pools_bins_over_splits(places):
    figure = example(places, "reliability")
    for name in ("map", "swag", "bbp-local"):
        cells = curves_of(places, "suite", "reliability", name, "digits", "test")
        count = np.sum([c["count"] for c in cells], axis=0)
        seen = count > 0
        x, y = (
            sum(np.nan_to_num(c[k]) * c["count"] for c in cells)[seen] / count[seen] for k in ("confidence", "accuracy")
        )
        np.testing.assert_allclose(line(figure.axes[0], color_of(figure, name)), [x, y])


def test_critical_difference_is_that_of_demsar(places):
    names = ("constant", "map", "swag", "bbp-local")
    scores = scores_of(places, "suite", metric="log_likelihood", evaluation="test", method=names)
    means = scores.groupby(["task", "method"])["value"].mean().unstack()[list(names)]
    uci = means.loc[["housing", "concrete", "energy", "power", "wine", "yacht"]]
    expected = dict(zip(names, rankdata(-uci.to_numpy(), axis=1).mean(0), strict=True))
    figure = example(places, "critical-difference", metric="log_likelihood")
    (axes,) = figure.axes
    said = [t.get_text() for t in axes.texts]
    for name, rank in expected.items():
        assert f"{name}  {rank:.1f}" in said or f"{rank:.1f}  {name}" in said
    dots = sorted(float(one.get_xdata()[0]) for one in axes.lines if len(one.get_xdata()) == 1)
    np.testing.assert_allclose(dots, sorted(expected.values()))
    critical = 2.569 * np.sqrt(4 * 5 / (6 * 6))  # q of Demšar's table 5, four methods on six data sets
    assert f"critical difference {critical:.2f}" in said
    ((low, high),) = [one.get_xdata() for one in axes.lines if one.get_marker() == "|"]
    assert high - low == pytest.approx(critical, rel=1e-3)


@pytest.mark.parametrize(
    ("means", "critical", "expected"),
    [
        ((1.0, 2.0, 3.0, 4.0), 1.5, [(0, 1), (1, 2), (2, 3)]),
        ((1.0, 2.0, 3.0, 4.0), 2.5, [(0, 2), (1, 3)]),
        ((1.0, 1.1, 3.9, 4.0), 0.5, [(0, 1), (2, 3)]),
        ((1.0, 2.0, 3.0), 9.0, [(0, 2)]),
        ((1.0, 4.0), 1.0, []),
    ],
)
def test_bars_join_the_largest_groups_within_the_difference(means, critical, expected):
    assert Ranked(tuple("abcd"[: len(means)]), means, critical).cliques == expected


def test_bands_of_toys_are_the_stored_ones(places):
    figure = example(places, "toy")
    for name in ("map", "swag"):
        (series,) = curves_of(places, "suite", "bands", name, "toy-heteroscedastic", "grid")
        axes = panel(figure, name)
        found = [np.array(one.get_data()) for one in axes.lines if len(one.get_xdata()) == len(series["x"])]
        assert any(np.allclose(each, [series["x"], series["mean"]]) for each in found)
        (total, *_) = [np.asarray(c.get_paths()[0].vertices)[:, 1] for c in axes.collections]
        assert total.max() == pytest.approx(np.max(np.asarray(series["mean"]) + 2 * np.asarray(series["total_std"])))
    assert figure.axes[0].get_title("left") == "exact GP posterior"


def test_dots_of_fidelity_are_the_stored_distances(places):
    figure = example(places, "fidelity", metric="w1_to_hmc")
    scores = scores_of(places, "suite", metric="w1_to_hmc", evaluation="fidelity", method=["map", "swag"])
    (axes,) = figure.axes
    drawn = sorted(float(one.get_xdata()[0]) for one in axes.lines
                   if len(one.get_xdata()) == 1 and one.get_marker() not in "<>")  # fmt: skip
    for _, row in scores[scores["task"].str.startswith("toy") | (scores["task"] == "yacht")].iterrows():
        assert np.isclose(drawn, row["value"]).any(), (row["method"], row["task"])


def test_pruning_is_the_difference_from_the_whole(places):
    figure = example(places, "pruning")
    scores = scores_of(places, "suite", metric="log_likelihood", task="yacht", method="swag")
    by_split = scores[scores["evaluation"].str.match("test|pruned")].pivot_table(
        index="split", columns="evaluation", values="value"
    )
    change = by_split.sub(by_split["test"], axis=0).mean()
    _, y = line(panel(figure, "yacht"), color_of(figure, "swag"))
    np.testing.assert_allclose(sorted(y), sorted(change))
    for size in SIZES:  # labels of the last line of panels, which share their axis
        axes = example(places, "pruning", size=size, tasks="uci").axes[5]
        said = [t for t in axes.get_xticklabels() if t.get_text()]
        assert [t.get_text() for t in said][-2:] == ["90 %", "99.5 %"]
        boxes = [t.get_window_extent() for t in said]
        assert all(a.x1 < b.x0 for a, b in pairwise(boxes))


def test_the_title_of_a_digit_is_its_most_probable_class(places):
    figure = example(places, "rotated-digit", size="text")
    (series,) = curves_of(places, "images", "violins", "sgld", "mnist", "rotated-digit")
    frame = {k: np.asarray(v) for k, v in series.items()}
    here = frame["point"] == 0
    means = {int(c): np.trapezoid(frame["quantile"][here & (frame["class"] == c)],
                                  frame["level"][here & (frame["class"] == c)]) for c in range(10)}  # fmt: skip
    top = max(means, key=lambda c: means[c])
    titles = [axes.get_title() for axes in figure.axes]
    assert re.fullmatch(rf"{top}: (\d\.\d\d)", titles[len(titles) // 2])
    assert float(titles[len(titles) // 2][3:]) == pytest.approx(means[top], abs=0.02)
    assert titles[0].startswith("0°\n")
    assert any(isinstance(c, PolyCollection) and c.get_paths() for c in figure.axes[0].collections)


def test_points_of_flows_are_the_stored_ones(places):
    figure = example(places, "flow-maps")
    series = stored("moons", "flow-realnvp", "flow_data")
    clouds = [c for axes in figure.axes[3:6] for c in axes.collections if isinstance(c, PathCollection)]
    np.testing.assert_allclose(clouds[0].get_offsets(), np.stack([series["x0"], series["x1"]], 1), atol=1e-4)
    np.testing.assert_allclose(clouds[1].get_offsets(), np.stack([series["z0"], series["z1"]], 1), atol=1e-4)


def test_the_bound_is_the_stored_loss(places):
    figure = example(places, "bound")
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["bbp-local"], "others have none"
    (series,) = curves_of(places, "images", "training", "bbp-local", "mnist", None)
    np.testing.assert_allclose(line(figure.axes[0], color_of(figure, "bbp-local")), [series["step"], series["loss"]])


SHEETS = [(name, size) for name in CHARTS for size in SIZES if (name, size) != ("fidelity", "slide")]


@pytest.mark.parametrize(("name", "size"), SHEETS)
def test_a_figure_has_its_size_and_nothing_is_cut_or_covered(places, name, size):
    figure = example(places, name, size=size)
    width, height = figure.get_size_inches()
    assert (width, height <= SIZES[size].tallest) == (SIZES[size].width, True)
    assert bool(height == 5.6) is (size == "slide")
    canvas = FigureCanvasAgg(figure)
    renderer = canvas.get_renderer()
    texts = [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible()]
    shown = [t for t in texts if t.axes is None or t.axes.axison]
    allowed = {"slide": {14.0, 12.0}}.get(size, {8.0, 7.0})
    assert {t.get_fontsize() for t in shown} <= allowed
    titles = [t for axes in figure.axes for t in axes.get_children() if isinstance(t, Text)]
    legends = [t for legend in figure.legends for t in legend.get_texts()]
    ticks = [t for axes in figure.axes for t in (*axes.get_xticklabels(), *axes.get_yticklabels())]
    labels = [t for axes in figure.axes for t in (axes.xaxis.label, axes.yaxis.label)]
    inside = [t for t in (*titles, *legends, *labels) if t in shown]
    boxes = {t: t.get_window_extent(renderer) for t in inside}
    for text, box in boxes.items():
        assert box.x0 >= -1, text
        assert box.x1 <= figure.bbox.x1 + 1, text
        assert box.y0 >= -1, text
        assert box.y1 <= figure.bbox.y1 + 1, text
    for one, other in combinations(inside, 2):
        a, b = boxes[one], boxes[other]
        assert min(a.x1, b.x1) - max(a.x0, b.x0) < 2 or min(a.y1, b.y1) - max(a.y0, b.y0) < 2, (one, other)
    assert ticks
    assert all(axes.get_window_extent().width > 0.3 * figure.dpi for axes in figure.axes if axes.axison)


@pytest.mark.parametrize("name", ["scores", "critical-difference", "toy", "flow-maps"])
def test_text_is_text_and_equal_figures_have_equal_bytes(places, name, tmp_path):
    for ending in ("svg", "pdf", "png"):
        for run in "ab":
            example(places, name, out=tmp_path / f"{run}.{ending}")
        assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes(), ending
    drawn = ElementTree.parse(tmp_path / "a.svg").getroot()
    words = " ".join("".join(e.itertext()) for e in drawn.iter("{http://www.w3.org/2000/svg}text"))
    for method in (EXAMPLES[name][1] or "flow-gaussian").split(","):
        assert method in words.replace("- ", "-")
    assert float(drawn.get("width").removesuffix("pt")) == pytest.approx(3.3 * 72)
    assert not list(drawn.iter("{http://purl.org/dc/elements/1.1/}date"))
    pdf = (tmp_path / "a.pdf").read_bytes()
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    assert b"CreationDate" not in pdf


def refused(places, name, **changes) -> str:
    with pytest.raises(UserError) as error:
        example(places, name, **changes)
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("scores", {"methods": "mapp"}, "Did you mean map?"),
        ("scores", {"methods": "map,bbp-local [lr=0.1]"}, "Did you mean bbp-local"),
        ("scores", {"tasks": "ucii"}, "Did you mean uci?"),
        ("scores", {"metric": "rmsee"}, "did you mean rmse?"),
        ("scores", {"budget": "quik"}, "No results at budget 'quik'"),
        ("scores", {"split_rule": "gap"}, "No results of these tasks under --split-rule 'gap'"),
        ("scores", {"reference": "sgld"}, "No results of method 'sgld'"),
        ("scores", {"size": "colum"}, "Unknown --size 'colum'; did you mean column?"),
        ("scores", {"out": "x.jpg"}, "does not end in .pdf, .svg or .png"),
        ("toy", {"metric": "rmse"}, "takes no --metric; leave it out"),
        ("toy", {"reference": "map"}, "takes no --reference; leave it out"),
        ("toy", {"tasks": "toy"}, "shows one data set; name it by --task, from toy-homoscedastic"),
        ("toy", {"tasks": "yacht"}, "needs one task of the group toy"),
        ("rotation", {"methods": "map", "tasks": "mnist"}, ""),
        ("pit", {"methods": None}, "shows at most 4 methods, and these are 5"),
        ("pit", {"tasks": "digits"}, "it needs regression"),
        ("pruning", {"methods": "map,hmc"}, "nothing of hmc for the figure 'pruning', which needs"),
        ("critical-difference", {"tasks": "yacht"}, "was scored on yacht alone"),
        ("critical-difference", {"tasks": "yacht,toy-antoran"}, "are not ranked together"),
        ("critical-difference", {"methods": "map"}, "Fewer than two"),
        ("rotated-digit", {"size": "slide", "methods": "map,sgld,mc-dropout,bbp-local"}, "--size slide has 5.6 in"),
    ],
)
def test_refusals(places, name, changes, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if name == "rotation":  # a database without such test sets
        monkeypatch.setitem(EXAMPLES, "rotation", ("densities", "flow-gaussian", "moons"))
        changes, said = {}, "run with `--test-sets rotation`"
    message = refused(places, name, **changes)
    assert said in message
    assert "\n" not in message
    assert not list(tmp_path.iterdir())


def test_a_method_that_lacks_a_data_set_is_left_out_of_ranks_or_refused(tmp_path):
    rows = [o for o in gallery(2, ("map", "swag", "sgld"), extra=False)
            if not (o.cell.method == "sgld" and o.cell.task == "wine")]  # fmt: skip
    suite_store(tmp_path / "x.db", rows).close()
    figure = bnnbench.figure("critical-difference", tmp_path / "x.db", tasks="uci")
    assert "Left out: sgld (not run on all of them)." in figure.get_label()
    assert not any("sgld" in t.get_text() for t in figure.axes[0].texts)
    with pytest.raises(UserError, match=r"^No mean rank of sgld, not run on all of .*leave out what lacks data sets"):
        bnnbench.figure("critical-difference", tmp_path / "x.db", methods="map,swag,sgld", tasks="uci")


def test_rows_are_chosen_and_ordered_by_their_names(tmp_path):
    bent = {"pit_ecdf": {"level": np.linspace(0, 1, 9), "ecdf": np.linspace(0, 1, 9) ** 2}}
    made = []
    for method, config in (("map", {}), ("sgld", {}), ("sgld", {"lr": 0.01, "floor": 0})):
        o = outcome(cell("housing", method, config=config), 1.0)
        made.append(
            replace(o, evaluations=tuple(replace(e, curves=bent if e.name == "test" else {}) for e in o.evaluations))
        )
    fill(tmp_path / "x.db", made).close()

    def shown(methods):
        figure = bnnbench.figure("pit", tmp_path / "x.db", methods=methods)
        return [t.get_text().replace(", ", ",") for t in figure.legends[0].get_texts()]

    assert shown(None) == ["map", "sgld", "sgld [lr=0.01,floor=0]"]
    assert shown("sgld [lr=0.01,floor=0],map") == ["sgld [lr=0.01,floor=0]", "map"]
    assert shown("sgld") == ["sgld"]


def test_the_command_writes_the_file_and_tells_its_caption(places, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["figure", "scores", "--task", "yacht", "--metric", "rmse", "--db", str(places["suite"])]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert done.output.startswith("Wrote scores.pdf, 3.3 x ")
    assert "Caption: RMSE on the test rows of 1 data set (left is better)" in done.output
    assert (tmp_path / "scores.pdf").read_bytes().startswith(b"%PDF")
    (tmp_path / "folder").mkdir()
    (tmp_path / "old.svg").write_text("mine")
    for out in ("folder", "x.gif", "old.svg/x.svg", str(places["suite"])):
        done = CliRunner().invoke(main, [*words, "--out", out])
        assert (done.exit_code, done.output.count("\n")) == (2, 1), (out, done.output)
    done = CliRunner().invoke(main, ["figure", "rotatoin", "--db", str(places["suite"])])
    assert (done.exit_code, done.output) == (
        2,
        "Error: Unknown figure 'rotatoin'; did you mean rotation, rotated-digit?\n",
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "old.svg", "scores.pdf"]
    assert (tmp_path / "old.svg").read_text() == "mine"


def test_the_list_has_a_sentence_for_each():
    done = CliRunner().invoke(main, ["list", "figures"])
    assert done.exit_code == 0
    for chart in CHARTS.values():
        assert re.search(rf"^ *{chart.name} +\S", done.output, re.MULTILINE)
        assert chart.shows.endswith(".")
        assert chart.shows in done.output


def test_a_caption_says_what_is_old_or_made_elsewhere_and_what_errors_are_over(tmp_path):
    made = [outcome(cell("toy-antoran", "map", "fixed"), 1.0), outcome(cell("toy-antoran", "swag", "fixed"), 2.0)]
    elsewhere = [made[0], replace(made[1], cell=replace(made[1].cell, origin=Origin.EXTERNAL.value))]
    suite_store(tmp_path / "x.db", elsewhere).close()
    caption = bnnbench.figure("scores", tmp_path / "x.db").get_label()
    assert METHODS.get("swag").version > 1, "and these results are of the first"
    assert "Results of older versions than those installed: methods " in caption
    assert "Predictions made elsewhere: swag." in caption
    assert "standard error over test points." in caption


def test_one_split_rule_is_shown_of_each_data_set(tmp_path):
    cells = [cell("housing", "map", index=i) for i in range(3)] + [
        cell("housing", "map", "gal", index=i) for i in (0, 1)
    ]
    cells += [cell("housing", "swag", index=0), cell("housing", "sgld", "gal", index=0)]
    suite_store(tmp_path / "x.db", [outcome(c, 1.0 + (c.rule == "gal")) for c in cells]).close()

    def drawn(**changes):
        (axes,) = bnnbench.figure("scores", tmp_path / "x.db", **changes).axes
        at = {round(float(np.ravel(one.get_xdata())[0])) for one in axes.lines if one.get_marker() not in ("None", "")}
        return [t.get_text().split()[0] for t in axes.get_yticklabels()], at

    assert drawn(methods="map,swag") == (["map", "swag"], {1})
    assert drawn(split_rule="gal") == (["map", "sgld"], {2})
    with pytest.raises(UserError, match=r"^sgld was not run on the splits shown; .* add --split-rule gal\.$"):
        drawn(methods="map,sgld")


def test_long_and_hostile_names_are_wrapped_or_refused_never_cut(tmp_path):
    hostile = "<b>$x$</b> " + "w" * 50
    bent = {"pit_ecdf": {"level": np.linspace(0, 1, 9), "ecdf": np.linspace(0, 1, 9) ** 2}}
    o = outcome(cell("housing", "map"), 1.0)
    o = replace(o, cell=replace(o.cell, label=hostile, config="{}"))
    o = replace(o, evaluations=tuple(replace(e, curves=bent if e.name == "test" else {}) for e in o.evaluations))
    fill(tmp_path / "x.db", [o]).close()
    figure = bnnbench.figure("pit", tmp_path / "x.db", out=tmp_path / "x.svg")
    (text,) = figure.legends[0].get_texts()
    box = text.get_window_extent(FigureCanvasAgg(figure).get_renderer())
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1
    assert "$x$" in text.get_text()
    assert not list(ElementTree.parse(tmp_path / "x.svg").getroot().iter("b"))
    with pytest.raises(UserError, match="leave no room for the panels at --size column"):
        bnnbench.figure("scores", tmp_path / "x.db")


def test_up_to_nine_methods_have_a_marker_each_and_their_own_colour():
    own = {f"m{i}": Style(f"#00000{i}", "osD"[i % 3], "-") for i in range(9)}
    found = distinct(own)
    assert len({style.marker for style in found.values()}) == 9
    assert {name: replace(style, marker="") for name, style in found.items()} == {
        name: replace(style, marker="") for name, style in own.items()
    }
    assert [found[f"m{i}"].marker for i in range(3)] == ["o", "s", "D"]
    many = own | {"more": Style("#000009", "s", "-")}
    assert distinct(many)["more"].marker == "s"
