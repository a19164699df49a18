"""The section of image tasks: what its tables say, that its figures are drawn, and that nothing need be there."""

import hashlib
import math
from dataclasses import replace

import matplotlib
import numpy as np
import pandas as pd
import pytest
from image_data import IMAGE_METHODS, IMAGE_NAMES, MASKED, image_cell, image_store, images
from report_data import cell, lost, outcome, pages
from scipy import stats

from bnnbench.records import EvaluationRecord, Score
from bnnbench.reporting.averages import averages, look_up, sweeps
from bnnbench.reporting.build import build
from bnnbench.reporting.figures.digit import GRID, density
from bnnbench.reporting.figures.families import REST, families, survival
from bnnbench.reporting.literature import literature
from bnnbench.reporting.select import select
from bnnbench.reporting.tables.attacks import attack_tables, masked
from bnnbench.reporting.tables.covariance import covariance_tables
from bnnbench.reporting.tables.detection import detection_tables
from bnnbench.reporting.tables.summary import summary_tables
from bnnbench.store.store import ResultStore

NAMES = ("map", "ensemble-deep", "bbp-local", "sghmc")
STEMS = ("rotation", "entropy", "attack", "attack-norm", "digit", "elbo", "recording", "activations")


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    path = tmp_path_factory.mktemp("db") / "images.db"
    outcomes = [*images("mnist", NAMES, seeds=2), *images("cifar10-sample-lenet", ("map", "bbp-local"))]
    with image_store(path, outcomes):
        return path


@pytest.fixture(scope="module")
def report(database, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    with ResultStore(database, read_only=True) as store:
        build(store, out)
    return out


@pytest.fixture
def selection(database):
    with ResultStore(database, read_only=True) as store:
        yield select(store)


def digests(out):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(out.rglob("*")) if p.is_file()}


def value(selection, method, evaluation, metric):
    scores = selection.sections[0].scores
    own = scores[(scores["method"] == method) & (scores["evaluation"] == evaluation) & (scores["metric"] == metric)]
    assert len(own) == 2, "two seeds"
    return own["value"].mean()


def test_same_bytes_and_every_figure(report, database, tmp_path):
    with matplotlib.rc_context({"font.size": 20}), ResultStore(database, read_only=True) as store:
        build(store, tmp_path)
    assert digests(tmp_path) == digests(report)
    for stem in STEMS:
        assert f"images-official-mnist-{stem}.svg" in digests(report)


def test_page_says_what_to_see_in_every_figure(report):
    part = (report / "images-official.md").read_text()
    assert "Splits: one split, the official test set" in part
    lines = part.splitlines()
    pictures = [i for i, line in enumerate(lines) if line.startswith("![")]
    assert len(pictures) == 17
    for i in pictures:
        assert len(lines[i - 2]) > 40, lines[i]
        assert lines[i - 2].endswith((".", ".)"))


def test_the_sample_is_never_compared_with_published_numbers(report):
    images, sample = ((report / f"{name}-official.md").read_text() for name in ("images", "images-sample"))
    assert "**Never compare these numbers with published ones" in sample
    assert "Antoran" in images
    assert "Antoran" not in sample
    assert "Never compare" not in images
    for path in (report / "tables").glob("*images-sample-*.tex"):
        assert "Never compare" in path.read_text(), path.name


def test_summary_is_that_of_the_data_beside_the_published(selection):
    table, listing = list(summary_tables(selection, selection.sections[0]))
    numbers = table.numbers.set_index("method")
    for method in NAMES:
        for metric in ("log_likelihood", "error", "ece"):
            assert numbers.loc[method, metric] == pytest.approx(value(selection, method, "test", metric))
    assert numbers.loc["map", "train_seconds"] == pytest.approx(60 + 15 * IMAGE_NAMES.index("map") + 0.5)
    assert numbers.loc["map", "antoran_log_likelihood"] == pytest.approx(-0.05729)
    assert numbers.loc["map", "blundell_error"] == pytest.approx(0.0188)
    assert math.isnan(numbers.loc["sghmc", "antoran_error"])
    shown = dict(table.grid.rows)["map"]
    assert shown[1][0].startswith(f"{100 * numbers.loc['map', 'error']:.2f} ± ")
    assert shown[4:] == (("−0.0573", False, ""), ("1.58", False, ""), ("1.88", False, ""))
    assert "5,000" in table.caption
    best = numbers["log_likelihood"].idxmax()
    gap = numbers.loc[best, "log_likelihood"] - numbers["log_likelihood"]
    z = gap / np.hypot(numbers["log_likelihood_se"], numbers.loc[best, "log_likelihood_se"])
    pairs = len(numbers) * (len(numbers) - 1) / 2  # one split without blocks: unpaired, and Bonferroni over all pairs
    assert numbers["log_likelihood_best"].tolist() == (z < stats.norm.isf(0.025 / pairs)).tolist()
    assert len(listing.grid.rows) == 20


def test_times_of_packed_cells_are_no_training_times(tmp_path):
    outcomes = [replace(o, pack_size=3) for o in images("mnist", ("map",))]
    with image_store(tmp_path / "x.db", outcomes) as store:
        chosen = select(store)
        table = next(summary_tables(chosen, chosen.sections[0]))
    assert dict(table.grid.rows)["map"][3][0] == "–"


def test_published_numbers_of_the_own_protocol():
    shipped = literature("mnist")
    assert len(shipped) == len({(q.method, q.metric, q.source) for q in shipped}) == 31
    assert not literature("cifar10-lenet")
    assert {q.metric for q in shipped} == {"log_likelihood", "error"}
    assert all(-0.2 < q.value < 0 if q.metric == "log_likelihood" else 0.01 < q.value < 0.03 for q in shipped)


def test_detection_table(selection):
    (table,) = detection_tables(selection, selection.sections[0])
    numbers = table.numbers.set_index(["evaluation", "metric", "method"])
    assert len(numbers) == 2 * 5 * len(NAMES)
    assert not numbers.loc[(slice(None), "entropy_total"), "best"].any()
    for (evaluation, metric, method), row in numbers.iterrows():
        assert row["value"] == pytest.approx(value(selection, method, evaluation, metric))
    for evaluation, metric, extreme in (("kmnist", "fpr95_total", "min"), ("notmnist", "auroc_total", "max")):
        frame = table.numbers
        column = frame[(frame["evaluation"] == evaluation) & (frame["metric"] == metric)]
        assert column.loc[column["best"], "value"].tolist() == [getattr(column["value"], extreme)()]


def test_covariance_tables(selection):
    tables = list(covariance_tables(selection, selection.sections[0]))
    assert [t.name.split("-")[3] for t in tables] == ["softmax", "normalised"]
    numbers = tables[1].numbers.set_index(["method", "evaluation", "part"])
    expected = value(selection, "sghmc", "fgsm-0.10", "kwon_epistemic_normalised")
    assert numbers.loc[("sghmc", "fgsm-0.10", "epistemic"), "value"] == pytest.approx(expected)
    assert dict(tables[0].grid.rows)["map"][1][0] == "0"


@pytest.mark.parametrize(
    ("own", "transferred", "expected"),
    [
        ((0.10, 0.01), (0.30, 0.01), True),
        ((0.30, 0.01), (0.10, 0.01), False),
        ((0.10, 0.03), (0.18, 0.03), False),  # a gap of 1.9 standard errors
        ((0.10, 0.03), (0.19, 0.03), True),  # of 2.1
        ((0.10, math.nan), (0.30, 0.01), None),
        ((math.nan, math.nan), (0.30, 0.01), None),
    ],
)
def test_masked_gradients(own, transferred, expected):
    assert masked(*own, *transferred) is expected


def test_attack_table_by_hand(tmp_path):
    def attacked(name, own, transferred):
        rows = (("test", 0.02), ("fgsm-0.10", own), ("transfer-fgsm-0.10", transferred))
        found = tuple(EvaluationRecord(e, 2_000, (Score("error", v, 0.01),)) for e, v in rows if v is not None)
        return replace(outcome(image_cell("mnist", name), -0.1), evaluations=found)

    cells = [attacked("map", 0.60, 0.40), attacked("sgld", 0.10, 0.40), attacked("swag", 0.37, 0.39)]
    with image_store(tmp_path / "x.db", [*cells, attacked("sghmc", 0.3, None)]) as store:
        chosen = select(store)
        (table,) = attack_tables(chosen, chosen.sections[0])
    assert table.grid.header == ("method", "fgsm-0.10 own", "fgsm-0.10 transferred", "masked")
    verdicts = {row: texts[-1][0] for row, texts in table.grid.rows}
    assert verdicts == {"map": "no", "swag": "no", "sgld": "yes: fgsm-0.10", "sghmc": "–"}
    assert dict(table.grid.rows)["sgld"][:2] == (("10.0 ± 1.0", False, ""), ("40.0 ± 1.0", False, ""))


def test_attack_table_of_the_section(selection):
    (table,) = attack_tables(selection, selection.sections[0])
    verdicts = {row: texts[-1][0] for row, texts in table.grid.rows}
    assert verdicts[MASKED] == "yes: fgsm-0.10, fgsm-0.30, pgd-0.10"


def test_sweeps_begin_at_the_test_images_and_leave_out_the_exhaustive_variants(selection):
    own = averages(selection.sections[0], "mnist")
    assert not [name for name in own["evaluation"] if name.endswith("-all")]
    x, y = sweeps(own, "rotation", ["error"])["map", "error"]
    assert x.tolist() == list(range(0, 181, 15))
    assert y[0] == pytest.approx(value(selection, "map", "test", "error"))
    assert y[6] == pytest.approx(value(selection, "map", "rotation-090", "error"))
    assert sweeps(own, "fgsm", ["error"])["map", "error"][0].tolist() == [0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3]
    assert sweeps(own, "pgd", ["error"], start="")["map", "error"][0].tolist() == [0.1, 0.3]
    assert sweeps(own, "gaussian", ["error"]) == {}


def test_seeds_add_their_own_error(tmp_path):
    """In quadrature to that of the test images, which they share."""
    outcomes = images("mnist", ("map",), seeds=3)
    scores = [s for o in outcomes for e in o.evaluations if e.name == "test" for s in e.scores if s.metric == "error"]
    errors = [s.value for s in scores]
    with image_store(tmp_path / "x.db", outcomes) as store:
        mean, se = look_up(averages(select(store).sections[0], "mnist"), "test", "error")["map"]
    assert len(errors) == 3
    assert mean == pytest.approx(np.mean(errors))
    assert se**2 == pytest.approx(np.mean([s.stderr for s in scores]) ** 2 + np.var(errors, ddof=1) / 3)


def test_an_exhaustive_sweep_stands_in_where_there_is_no_other(tmp_path):
    outcomes = images("mnist", ("map",))
    only = [
        replace(o, evaluations=[replace(e, name=f"{e.name}-all") if e.name.startswith("fgsm") else e
                                for e in o.evaluations if not e.name.endswith("-all")])
        for o in outcomes
    ]  # fmt: skip
    lines = []
    for name, given in (("only", only), ("usual", outcomes)):
        with image_store(tmp_path / f"{name}.db", given) as store:
            found = averages(select(store).sections[0], "mnist")
        lines.append([line.tolist() for line in sweeps(found, "fgsm", ["error"])["map", "error"]])
    assert lines[0] == lines[1]
    assert len(lines[0][0]) == 7


def test_families_follow_the_tags():
    records = pd.DataFrame({"name": [m.name for m in IMAGE_METHODS], "tags": [list(m.tags) for m in IMAGE_METHODS]})
    found = families(records, [*IMAGE_NAMES, "sgld [lr=0.01]", "unknown"])
    assert list(found) == [REST, "Variational", "Laplace", "Sampling"]
    assert found["Sampling"] == ["sgld", "psgld", "sghmc", "csgmcmc", "sgld [lr=0.01]"]
    assert found[REST][-1] == "unknown"
    assert max(len(rows) for rows in found.values()) <= 7


def test_shares_above_and_violins():
    x, y = survival({"level": np.array([0.0, 0.5, 1.0]), "total": np.array([0.1, 0.4, 2.0])}, "total")
    assert (x.tolist(), y.tolist()) == ([0.1, 0.4, 2.0], [1.0, 0.5, 0.0])
    sure = density(np.full(10, 0.5))
    assert GRID[sure.argmax()] == 0.5
    at_border = density(np.zeros(10))
    at_border[0] /= 2  # the grid's first step is half a step
    assert sure.sum() == pytest.approx(at_border.sum(), rel=0.01), "nothing is lost beyond the borders"


@pytest.mark.parametrize("names", [("map",), ("constant",), ("sghmc", "laplace-kron")])
def test_few_methods(names, tmp_path):
    with image_store(tmp_path / "x.db", images("mnist", names)) as store:
        build(store, tmp_path / "out")
    assert (tmp_path / "out/figures/images-official-mnist-rotation.svg").is_file()


@pytest.mark.parametrize("kept", [("test", "kmnist"), ("test", "fgsm-0.10"), ("test", "pgd-0.30"), ()])
def test_missing_evaluations(kept, tmp_path):
    outcomes = [
        replace(o, evaluations=tuple(e for e in o.evaluations if e.name in kept), curves={})
        for o in images("mnist", ("map", "bbp-local"))
    ]
    whole = images("mnist-lenet", ("swag",))  # another task of the section has everything
    with image_store(tmp_path / "x.db", [*outcomes, *whole]) as store:
        build(store, tmp_path / "out")
    names = {p.name for p in (tmp_path / "out/figures").iterdir()}
    assert "images-official-mnist-lenet-entropy.svg" in names
    assert ("images-official-mnist-entropy.svg" in names) == ("kmnist" in kept)
    assert ("images-official-mnist-attack.svg" in names) == ("fgsm-0.10" in kept)


def test_the_bound_falls_back_to_the_loss_alone(tmp_path):
    def poorer(o):
        training = {k: v for k, v in o.curves["training"].items() if k not in ("kl", "nll")}
        return replace(o, curves={**o.curves, "training": training | {"loss": training["loss"] - 100}})

    with image_store(tmp_path / "x.db", [poorer(o) for o in images("mnist", ("bbp-local",))]) as store:
        build(store, tmp_path / "out", formats=["md"])
    page = pages(tmp_path / "out")
    assert "a method whose curve still falls at the end needs more steps" in page
    assert "−ELBO per image of bbp-local on mnist" in page


def test_failed_cells_are_marked(tmp_path):
    outcomes = [*images("mnist", ("map",)), lost(image_cell("mnist", "sgld"))]
    with image_store(tmp_path / "x.db", outcomes) as store:
        build(store, tmp_path / "out", formats=["md"])
        chosen = select(store)
        assert dict(next(summary_tables(chosen, chosen.sections[0])).grid.rows)["sgld"][0] == ("", False, "†")
    assert "NaN at step 7" in pages(tmp_path / "out")


def test_other_sections_know_nothing_of_images(tmp_path):
    outcomes = [outcome(cell("housing", "bbp-gaussian", index=i), -1.0) for i in range(2)]
    with image_store(tmp_path / "x.db", outcomes) as store:
        build(store, tmp_path / "out")
    names = set(digests(tmp_path / "out"))
    assert not [n for n in names if any(stem in n for stem in (*STEMS, "summary", "published", "attacks"))]
