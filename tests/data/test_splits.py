"""Split rules."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from bnnbench.data.arrays import Data, Split
from bnnbench.data.cards import card
from bnnbench.data.loaders import load
from bnnbench.data.splits import count, groups, splits
from bnnbench.errors import UserError
from bnnbench.model import Heteroscedastic, Homoscedastic
from bnnbench.tasks import TASKS

UCI = ("housing", "concrete", "energy", "power", "wine", "yacht", "kin8nm", "naval")


def _check(data: Data, parts: list[Split]) -> None:
    """Train, validation and test rows are disjoint and cover the table; validation has the promised size."""
    for part in parts:
        rows = np.concatenate([part.train, part.validation, part.test])
        np.testing.assert_array_equal(np.sort(rows), np.arange(len(data.x)))
        train = len(part.train) + len(part.validation)
        assert len(part.validation) == min(max(train // 10, 20), train // 2)


def _data(x: np.ndarray, **more) -> Data:
    return Data(x=x, y=np.zeros(len(x)), checksum="", **more)


def _same(a: list[Split], b: list[Split]) -> bool:
    return all(
        np.array_equal(getattr(p, name), getattr(q, name))
        for p, q in zip(a, b, strict=True)
        for name in ("train", "validation", "test")
    )


TOYS = ("toy-homoscedastic", "toy-heteroscedastic", "toy-antoran")


@pytest.mark.parametrize("name", ["diabetes", "digits", "breast-cancer", "mnist1d", *TOYS])
def test_without_files(name: str) -> None:
    data = load(name)
    for rule in card(name).splits:
        parts = splits(name, data, rule)
        assert len(parts) == count(name, rule)
        _check(data, parts)


@pytest.mark.data
@pytest.mark.parametrize("name", [*UCI, "bandgap"])
def test_real_tables(name: str, data_root) -> None:
    data = load(name, data_root)
    for rule in card(name).splits:
        parts = splits(name, data, rule)
        assert len(parts) == count(name, rule)
        _check(data, parts)
        if rule.startswith("10fold"):
            tests = np.concatenate([part.test for part in parts])
            np.testing.assert_array_equal(np.sort(tests), np.arange(len(data.x)))
            sizes = [len(part.test) for part in parts]
            assert max(sizes) - min(sizes) <= 1


@pytest.mark.data
@pytest.mark.parametrize("name", UCI)
def test_gal_is_what_the_files_say(name: str, data_root) -> None:
    folder = data_root / card(name).folder
    for i, part in enumerate(splits(name, load(name, data_root), "gal")):
        np.testing.assert_array_equal(part.test, np.loadtxt(folder / f"index_test_{i}.txt"))
        train = np.sort(np.concatenate([part.train, part.validation]))
        np.testing.assert_array_equal(train, np.sort(np.loadtxt(folder / f"index_train_{i}.txt")))


@pytest.mark.data
@pytest.mark.parametrize("name", UCI)
def test_gap_holds_out_the_middle_third(name: str, data_root) -> None:
    data = load(name, data_root)
    wide = [column for column in data.x.T if len(set(column)) >= 10]
    n = len(data.x)
    for column, part in zip(wide, splits(name, data, "gap"), strict=True):
        train = column[np.concatenate([part.train, part.validation])]
        low, high = column[part.test].min(), column[part.test].max()
        assert not ((train > low) & (train < high)).any()
        assert len(part.test) == 2 * n // 3 - n // 3
        assert (train <= low).sum() >= n // 3
        assert (train >= high).sum() >= n - 2 * n // 3


@pytest.mark.data
def test_heteroscedastic_networks_have_the_stored_splits(data_root) -> None:
    """With the validation rows, and of one hidden layer of 50 whose second output is the noise."""
    task = TASKS.get("yacht")
    for one, other in zip(task.splits("gal", data_root), task.splits("gal-heteroscedastic", data_root), strict=True):
        for name in ("train", "validation", "test"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert isinstance(task.likelihood("gal-heteroscedastic"), Heteroscedastic)
    assert isinstance(task.likelihood("gal"), Homoscedastic)
    shapes = [tuple(p.shape) for p in task.network("gal-heteroscedastic", (6,), 2).parameters()]
    assert shapes == [(50, 6), (50,), (2, 50), (2,)]


@pytest.mark.data
@pytest.mark.parametrize("name", ["concrete", "power", "wine", "bandgap"])
def test_grouped_keeps_duplicates_together(name: str, data_root) -> None:
    data = load(name, data_root)
    group = groups(data.x)
    for part in splits(name, data, "10fold-grouped"):
        for a, b in ((part.train, part.validation), (part.train, part.test), (part.validation, part.test)):
            assert not np.isin(group[a], group[b]).any()


def test_splits_do_not_depend_on_global_seeds() -> None:
    data = load("diabetes")
    torch.manual_seed(0)
    first = splits("diabetes", data, "10fold")
    torch.manual_seed(1)
    assert _same(first, splits("diabetes", data, "10fold"))


def test_splits_depend_on_the_name() -> None:
    data = _data(np.arange(200.0)[:, None])
    assert not _same(splits("mine", data, "10fold"), splits("yours", data, "10fold"))


def test_golden_permutation() -> None:
    """The folds of `diabetes`; a change orphans every stored result."""
    order = np.concatenate([part.test for part in splits("diabetes", load("diabetes"), "10fold")])
    assert hashlib.sha256(order.astype("<i8").tobytes()).hexdigest()[:12] == "39552c166ce5"


def test_gap_is_stable_and_passes_over_few_values() -> None:
    few = np.tile(np.arange(9.0), 10)
    many = np.repeat(np.arange(10.0), 9)
    parts = splits("mine", _data(np.stack([few, many], axis=1)), "gap")
    assert [np.sort(part.test).tolist() for part in parts] == [list(range(30, 60))]  # ties in order of the rows


@pytest.mark.parametrize(("n", "held"), [(1000, 90), (230, 20), (100, 20), (30, 13)])
def test_validation_size(n: int, held: int) -> None:
    part = splits("mine", _data(np.arange(float(n))[:, None]), "10fold")[0]
    assert len(part.validation) == held


def test_an_unknown_rule_names_what_exists() -> None:
    data = load("diabetes")
    with pytest.raises(UserError, match="'diabetes' has no 'gal' splits; it has 10fold"):
        splits("diabetes", data, "gal")
    with pytest.raises(UserError, match="'mine' has no 'gal' splits; it has 10fold, 10fold-grouped, gap"):
        splits("mine", data, "gal")
    with pytest.raises(UserError, match="it has fixed"):
        count("toy-antoran", "10fold")


def _labelled(name: str, values: np.ndarray) -> Data:
    return _data(np.arange(len(values), dtype=float)[:, None], **{name: values})


@pytest.mark.parametrize(
    ("sizes", "folds"), [([10] * 12, 10), ([50, 1, 2, 30, 4], 5), ([90, 80, 70], 3), ([1] * 40, 10)]
)
def test_groups_stay_together(sizes: list[int], folds: int) -> None:
    """In one fold, and either validated or trained on; every row is tested once."""
    group = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    parts = splits("mine", _labelled("group", group), "grouped")
    assert len(parts) == folds
    for part in parts:
        rows = [part.train, part.validation, part.test]
        np.testing.assert_array_equal(np.sort(np.concatenate(rows)), np.arange(len(group)))
        found = [set(group[own]) for own in rows]
        assert all(found)
        assert not (found[0] & found[1])
        assert not (found[0] & found[2])
        assert not (found[1] & found[2])
    np.testing.assert_array_equal(np.sort(np.concatenate([part.test for part in parts])), np.arange(len(group)))


@pytest.mark.parametrize("ties", [1, 3, 7])
def test_trains_on_the_past_and_tests_on_the_future(ties: int) -> None:
    """Of rows in any order; those of one time are never on two sides."""
    time = np.random.default_rng(0).permutation(np.arange(240)) // ties
    parts = splits("mine", _labelled("time", time), "time")
    assert len(parts) == 5
    for k, part in enumerate(parts):
        assert time[part.train].max() < time[part.validation].min()
        assert time[part.validation].max() < time[part.test].min()
        known = len(part.train) + len(part.validation)
        assert abs(known - 40 * (k + 1)) < ties
        assert 0 <= len(part.validation) - min(max(known // 10, 20), known // 2) < ties
    tested = np.concatenate([part.test for part in parts])
    np.testing.assert_array_equal(np.sort(time[tested]), np.sort(time)[-len(tested) :])


def test_rules_that_need_groups_or_times() -> None:
    for rule in ("grouped", "time"):
        with pytest.raises(UserError, match=f"no '{rule}' splits"):
            splits("mine", _data(np.arange(50.0)[:, None]), rule)
    with pytest.raises(UserError, match="has 2 groups of rows"):
        splits("mine", _labelled("group", np.arange(50) % 2), "grouped")
    with pytest.raises(UserError, match="has 2 different times for its 50 rows"):
        splits("mine", _labelled("time", np.arange(50) % 2), "time")


def test_equal_gaps_are_equal_inputs() -> None:
    x = np.array([[1.0, np.nan], [1.0, np.nan], [1.0, 2.0], [np.nan, 2.0], [np.nan, 2.0]])
    assert groups(x)[[0, 3]].tolist() == groups(x)[[1, 4]].tolist()
    assert len(set(groups(x))) == 3
