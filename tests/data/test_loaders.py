"""Loaders on the real files, and the toys' truth."""

from __future__ import annotations

import random
import shutil
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF

from bnnbench.data.arrays import Data
from bnnbench.data.cards import card, names
from bnnbench.data.files import present, read, verify
from bnnbench.data.loaders import LOADERS, load, toy
from bnnbench.data.loaders.describe import describe
from bnnbench.data.splits import groups, splits
from bnnbench.errors import UserError
from bnnbench.tasks import TASKS

ROWS = {"housing": 506, "concrete": 1030, "energy": 768, "power": 9568, "wine": 1599, "yacht": 308}
ROWS |= {"kin8nm": 8192, "naval": 11934, "bandgap": 3896}
# Part of every fingerprint: a change here orphans stored results.
CHECKSUMS = {
    "toy-homoscedastic": "043c1fc63060",
    "toy-heteroscedastic": "c8d781424fe4",
    "toy-antoran": "950020026ab1",
    "diabetes": "e9c1f7559552",
    "digits": "5889d26819cf",
    "breast-cancer": "25e2eb7b7a87",
    "mnist1d": "d2a0683df624",
    "housing": "a452688f7de3",
    "concrete": "95cb952ae1ad",
    "energy": "f1b4ffffca1a",
    "power": "bbe83d856e32",
    "wine": "ab3b807dc4b7",
    "yacht": "2c3a6ae76cfa",
    "kin8nm": "62724b272be0",
    "naval": "b8ffc1b560c3",
    "bandgap": "87b66bd79380",
}
TOYS = ("toy-homoscedastic", "toy-heteroscedastic")


def test_every_card_has_a_loader() -> None:
    assert set(LOADERS) == set(names())


@pytest.mark.data
@pytest.mark.parametrize("name", ROWS)
def test_real_files(name: str, data_root) -> None:
    data = load(name, data_root)
    assert data.x.shape == (ROWS[name], len(data.features))
    assert data.y.shape == (ROWS[name],)
    assert data.x.dtype == data.y.dtype == np.float64
    assert data.notes == card(name).issues
    assert len(data.checksum) == 12
    assert data.checksum == CHECKSUMS[name]


@pytest.mark.parametrize("name", ["diabetes", "digits", "breast-cancer", "mnist1d", *TOYS, "toy-antoran"])
def test_without_files(name: str) -> None:
    data = load(name)
    assert data.checksum == CHECKSUMS[name]
    assert present(card(name), None)  # type: ignore[arg-type]  # nothing to look for
    assert len(data.x) == card(name).rows


@pytest.mark.data
def test_energy_is_the_heating_load(data_root) -> None:
    data = load("energy", data_root)
    assert data.y[0] == 15.55  # heating load of the first row; its cooling load is 21.33
    assert not np.isclose(data.x, 21.33).any()


@pytest.mark.data
def test_naval_predicts_the_compressor(data_root) -> None:
    data = load("naval", data_root)
    assert (data.y.min(), data.y.max()) == (0.95, 1.0)
    assert np.flatnonzero(np.ptp(data.x, axis=0) == 0).tolist() == [8, 11]


@pytest.mark.data
@pytest.mark.parametrize("name", ["concrete", "power", "wine", "bandgap"])
def test_notes_state_the_leak(name: str, data_root) -> None:
    data = load(name, data_root)
    group = groups(data.x)

    def leakage(rule: str) -> float:
        """Share of test rows, over all splits, whose inputs stand among the other rows, too."""
        parts = splits(name, data, rule)
        leaked = [np.isin(group[p.test], group[np.concatenate([p.train, p.validation])]) for p in parts]
        return float(np.concatenate(leaked).mean())

    share = leakage("10fold")
    assert share > 0
    assert f"{100 * share:.1f} % of the test rows" in data.notes[0]
    assert leakage("10fold-grouped") == 0


@pytest.mark.data
def test_reading_is_checked_and_fast(data_root) -> None:
    """Checking all files of a set takes at most 50 ms; the best of three, for the machine is shared."""
    for name in ROWS:
        entry, times = card(name), []
        for _ in range(3):
            start = time.perf_counter()
            for file in entry.files:
                read(entry, data_root, file)
            times.append(time.perf_counter() - start)
        assert min(times) < 0.05, name


@pytest.mark.data
def test_an_altered_or_lost_file_is_named(data_root, tmp_path) -> None:
    entry = card("yacht")
    shutil.copytree(data_root / entry.folder, tmp_path / entry.folder)
    assert load("yacht", tmp_path).checksum == CHECKSUMS["yacht"]
    with (tmp_path / entry.folder / "data.txt").open("a") as stream:
        stream.write(" ")
    with pytest.raises(UserError, match=r"data\.txt does not match .*bnnbench data fetch yacht --force"):
        load("yacht", tmp_path)
    (tmp_path / entry.folder / "index_test_3.txt").unlink()
    states = {row.name: row for row in verify(tmp_path)}
    assert states["yacht"].state == "corrupt"
    assert states["yacht"].bad == ("data.txt", "index_test_3.txt")
    assert states["housing"].state == "missing"
    assert states["digits"] == ("digits", "ok", 0, (), "scikit-learn")


@pytest.mark.data
def test_verify_finds_the_real_data_whole(data_root) -> None:
    """Images may be missing, where a machine has the tables alone."""
    for row in verify(data_root):
        assert row.state in (("ok", "missing") if card(row.name).shape else ("ok",)), row.name


def test_a_wrong_number_of_rows_raises() -> None:
    entry = replace(card("diabetes"), rows=441)
    with pytest.raises(UserError, match="442 rows and 10 inputs, but its card states 441 and 10"):
        LOADERS["diabetes"](entry, None)  # type: ignore[arg-type]


def test_values_that_are_not_finite_raise() -> None:
    entry = replace(card("yacht"), rows=1, columns=("a",))
    with pytest.raises(UserError, match="not finite"):
        describe(entry, np.array([[np.nan]]), np.array([1.0]))


def test_digits() -> None:
    data = load("digits")
    assert data.classes == tuple(range(10))
    assert data.y.dtype == np.int64
    assert (data.x.min(), data.x.max()) == (0.0, 1.0)


def test_breast_cancer() -> None:
    from sklearn.datasets import load_breast_cancer

    data, given = load("breast-cancer"), load_breast_cancer()
    assert data.features == tuple(given.feature_names)
    assert (data.y == given.target).all()
    assert list(given.target_names[list(data.classes)]) == ["malignant", "benign"]


def test_mnist1d_is_what_its_package_makes() -> None:
    from mnist1d.data import get_dataset_args, make_dataset

    data, state = load("mnist1d"), np.random.get_state()  # noqa: NPY002
    assert get_dataset_args().seed == 42
    want = make_dataset(get_dataset_args())
    np.random.set_state(state)  # noqa: NPY002
    assert data.fixed is not None
    train, test = data.fixed
    assert (len(train), len(test)) == (4000, 1000)
    for rows, part in ((train, ""), (test, "_test")):
        np.testing.assert_allclose(data.x[rows], want[f"x{part}"], atol=0.5e-6, rtol=0)
        np.testing.assert_array_equal(data.y[rows], want[f"y{part}"])


def test_mnist1d_leaves_the_global_generators_alone() -> None:
    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    load("mnist1d")
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # noqa: NPY002


def test_mnist1d_without_its_package(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "mnist1d.data", None)
    with pytest.raises(UserError, match=r"^mnist1d is made by a package that cannot be .*; pip install mnist1d\.$"):
        load("mnist1d")


def test_other_data_than_the_cards_are_refused() -> None:
    entry = replace(card("breast-cancer"), checksum="0" * 12)
    with pytest.raises(UserError, match=r"has the checksum 25e2eb7b7a87, but its card states 0{12}: .* scikit-learn"):
        LOADERS["breast-cancer"](entry, None)  # type: ignore[arg-type]


def _residuals(data: Data, name: str) -> np.ndarray:
    noise = np.full(len(data.x), 0.3) if name == "toy-homoscedastic" else 0.05 + 0.3 * np.abs(data.x[:, 0] + 2)
    return (data.y - toy.latent(name, data.x[:, 0])) / noise


@pytest.mark.parametrize("name", TOYS)
def test_toy_truth(name: str) -> None:
    data = load(name)
    assert data.grid is not None
    assert data.truth is not None
    mean, sd = data.truth
    assert data.grid.shape == (200, 1)
    assert mean.shape == sd.shape == (200,)
    # One function underlies the rows and the grid.
    np.testing.assert_array_equal(toy.latent(name, data.grid[:, 0]), mean)
    near = np.interp(data.x[:, 0], data.grid[:, 0], mean)
    assert np.abs(near - toy.latent(name, data.x[:, 0])).max() < 0.01
    # 450 standardised residuals: chi-square and mean, each outside its bounds by chance once in 100,000.
    r = _residuals(data, name)
    assert 329 < (r**2).sum() < 596
    assert abs(r.mean()) < 4.42 / np.sqrt(450)
    assert sd[0] == pytest.approx(0.3 if name == "toy-homoscedastic" else 0.95)
    train, test = data.fixed  # type: ignore[misc]
    assert (len(train), len(test)) == (250, 200)


@pytest.mark.parametrize("name", TOYS)
def test_the_exact_posterior_is_that_of_scikit_learn(name: str) -> None:
    data = load(name)
    assert data.exact is not None
    assert data.grid is not None
    train = data.fixed[0]  # type: ignore[index]
    x, y = data.x[train], data.y[train]
    noise = np.full(len(x), 0.3) if name == "toy-homoscedastic" else 0.05 + 0.3 * np.abs(x[:, 0] + 2)
    process = GaussianProcessRegressor(RBF(1.0), alpha=noise**2, optimizer=None).fit(x, y)
    mean, sd = process.predict(data.grid, return_std=True)
    np.testing.assert_allclose(data.exact[0], mean, rtol=0, atol=1e-8)
    np.testing.assert_allclose(data.exact[1], sd, rtol=0, atol=1e-6)
    # The true function is a draw from this posterior; on 200 points it strays no further than 5 sd.
    assert data.truth is not None
    assert (np.abs(data.truth[0] - mean) < 5 * sd).all()


@pytest.mark.parametrize("name", TOYS)
def test_the_grid_inside_and_outside_of_the_data(name: str) -> None:
    task = TASKS.get(name)
    data, split = task.data(), task.splits("fixed")[0]
    points, seen = task.test_sets(data, split), data.x[split.train, 0]
    for one, within in (("inside", True), ("outside", False)):
        x, y, truth = points[one][:3]
        assert y is None
        assert (((x[:, 0] >= seen.min()) & (x[:, 0] <= seen.max())) == within).all()
        np.testing.assert_array_equal(truth[0], toy.latent(name, x[:, 0]))  # type: ignore[index]
    assert len(points["inside"].x) + len(points["outside"].x) == len(points["grid"].x) == 200
    antoran = TASKS.get("toy-antoran")
    assert "grid" in antoran.test_sets(antoran.data(), antoran.splits("fixed")[0])
    assert "inside" not in antoran.test_sets(antoran.data(), antoran.splits("fixed")[0])


def test_toy_features_give_the_rbf_kernel() -> None:
    x = np.linspace(-5, 5, 41)
    np.testing.assert_allclose(
        toy.features(x) @ toy.features(x).T, np.exp(-((x[:, None] - x) ** 2) / 2), rtol=0, atol=1e-13
    )


def test_antoran_is_the_table_of_the_seed() -> None:
    """Numbers of the fact sheet on the predecessor; x comes from numpy's frozen legacy generator."""
    data = load("toy-antoran")
    x, y = data.x[:, 0], data.y
    np.testing.assert_array_equal(x, np.sort(np.random.RandomState(2).uniform(-3, 3, 400)))
    train, test = data.fixed  # type: ignore[misc]
    assert (len(train), len(test)) == (250, 150)
    assert (x[train].min(), x[train].max()) == pytest.approx((-1.876, 1.784), abs=1e-3)
    assert (x[train].mean(), x[train].std()) == pytest.approx((-0.178, 1.055), abs=1e-3)
    assert y[train].std() == pytest.approx(1.552, abs=1e-3)
    assert y.mean() == pytest.approx(0, abs=1e-12)
    assert data.grid is not None
    assert data.truth is None
