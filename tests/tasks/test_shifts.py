"""Families of test sets of images: what is done to the images, and which sets have which names."""

import numpy as np
import pytest
import torch

from bnnbench.data.arrays import Data
from bnnbench.data.cards import card
from bnnbench.data.files import present
from bnnbench.engine.cell import Cell
from bnnbench.engine.pack import stack
from bnnbench.evaluation.evaluator import samples_within, sets_of
from bnnbench.experiment.definitions import definitions
from bnnbench.experiment.plan import build_plan
from bnnbench.experiment.request import Request
from bnnbench.methods.map import MAP
from bnnbench.tasks import TASKS, base
from bnnbench.tasks.attacks import Attack
from bnnbench.tasks.budget import BUDGETS, Budget
from bnnbench.tasks.images import ImageTask, padded
from bnnbench.tasks.sets import TestSet
from bnnbench.tasks.shifts import DIGITS, rotated

ANGLES = [f"rotation-{angle:03d}" for angle in (15, 30, 45, 60, 75, 90, 105, 120, 135, 150, 165, 180)]
FGSM = ["fgsm-0.05", "fgsm-0.10", "fgsm-0.15", "fgsm-0.20", "fgsm-0.25", "fgsm-0.30"]
PGD = ["pgd-0.10", "pgd-0.30"]
FGSM_NORM = [f"fgsm-norm-0.{k:02d}" for k in range(5, 75, 5)]
FAMILIES = ("rotation", "kmnist", "notmnist", "fgsm", "pgd")


def pictures(n=50, side=28, seed=0):
    return np.random.default_rng(seed).random((n, 1, side, side), dtype=np.float32)


def labels(n=50):
    return np.arange(n) % 10


def made(names, x, y, exhaustive=False, others=None):
    """Test sets of some families, in their order."""
    by_name = {family.name: family for family in DIGITS}
    found = {}
    for name in names:
        found |= by_name[name].make(TestSet(x, y), lambda other: others[other].x, exhaustive)
    return found


@pytest.fixture
def others(monkeypatch):
    """Other alphabets that need no files."""
    other = {"kmnist": Data.of(pictures(30, seed=1), labels(30)), "notmnist": Data.of(pictures(20, seed=2), labels(20))}
    monkeypatch.setattr(base, "load", lambda name, root: other[name])
    return other


@pytest.fixture
def real(data_root):
    def with_sets(*names):
        for name in names:
            if not present(card(name), data_root):
                pytest.skip(f"the files of {name} are not in {data_root}")
        return data_root

    return with_sets


# The images.


@pytest.mark.parametrize("angle", [0, 360, -360, 720])
def test_full_rotations_are_the_identity_to_the_bit(angle):
    x = pictures()
    found = rotated(x, angle)
    assert found.tobytes() == x.tobytes()
    assert not np.shares_memory(found, x)


@pytest.mark.parametrize("quarters", [1, 2, 3])
@pytest.mark.parametrize("side", [28, 31])
def test_quarter_rotations_are_those_of_numpy(quarters, side):
    """Counter-clockwise as one sees it, rows running down."""
    x = pictures(side=side)
    np.testing.assert_allclose(rotated(x, 90 * quarters), np.rot90(x, quarters, (2, 3)), rtol=0, atol=1e-6)


def test_the_right_edge_rotates_to_the_top():
    x = np.zeros((1, 1, 9, 9), np.float32)
    x[0, 0, 4, 8] = 1.0
    assert np.unravel_index(rotated(x, 90).argmax(), (9, 9)) == (0, 4)
    row, column = np.unravel_index(rotated(x, 45).argmax(), (9, 9))
    assert row < 4 < column


@pytest.mark.parametrize("angle", range(15, 181, 15))
def test_bilinear_about_the_centre_black_beyond(angle):
    x = pictures(4, 11)
    found, c = rotated(x, angle), 5.0
    assert (found.dtype, found.shape) == (np.float32, x.shape)
    assert 0 <= found.min() <= found.max() <= 1
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    framed = np.pad(x[:, 0], ((0, 0), (3, 3), (3, 3)))
    for i in range(11):
        for j in range(11):
            # Where the pixel came from: rotated back by the angle, in (right, up).
            right, up = j - c, c - i
            column, row = c + cos * right + sin * up, c - (cos * up - sin * right)
            if not (0 <= row <= 10 and 0 <= column <= 10):
                if not (-1e-9 <= row <= 10 + 1e-9 and -1e-9 <= column <= 10 + 1e-9):
                    assert not found[:, 0, i, j].any()
                continue
            top, left = int(np.floor(row)), int(np.floor(column))
            a, b = row - top, column - left
            corner = framed[:, top + 3 : top + 5, left + 3 : left + 5]
            want = np.tensordot(corner, np.outer([1 - a, a], [1 - b, b]), 2)
            np.testing.assert_allclose(found[:, 0, i, j], want, rtol=0, atol=1e-5)


def test_colours_rotate_together():
    x = np.random.default_rng(0).random((3, 3, 8, 8), dtype=np.float32)
    found = rotated(x, 30)
    for channel in range(3):
        np.testing.assert_array_equal(found[:, [channel]], rotated(x[:, [channel]], 30))


# The sets.


def test_sweeps_use_2000_fixed_images():
    x, y = pictures(5000, 4), labels(5000)
    found = made(("rotation", "fgsm", "pgd", "fgsm-norm"), x, y)
    rows = np.linspace(0, 4999, 2000).astype(int)
    assert len(set(rows.tolist())) == 2000
    for name, points in found.items():
        if name == "rotated-digit":
            continue
        assert points.samples == 30
        assert not points.out_of_distribution
        np.testing.assert_array_equal(points.y, y[rows])
        want = rotated(x[rows], int(name[-3:])) if name.startswith("rotation") else x[rows]
        np.testing.assert_array_equal(points.x, want)


def test_exhaustive_sweeps_use_all():
    x, y = pictures(2500, 4), labels(2500)
    found = made(("rotation", "fgsm", "pgd"), x, y, exhaustive=True)
    names = [*ANGLES, "rotated-digit", *FGSM, *PGD]
    assert list(found) == [name if name == "rotated-digit" else f"{name}-all" for name in names]
    for name, points in found.items():
        if name != "rotated-digit":
            assert points.samples is None
            np.testing.assert_array_equal(points.y, y)


def test_fewer_images_than_a_sweep_are_all_used():
    x, y = pictures(77, 4), labels(77)
    np.testing.assert_array_equal(made(("fgsm",), x, y)["fgsm-0.05"].x, x)


def test_attacks_of_the_names():
    found = {name: p.attack for name, p in made(("fgsm", "pgd", "fgsm-norm"), pictures(), labels()).items()}
    assert list(found) == [*FGSM, *PGD, *FGSM_NORM]
    for name, attack in found.items():
        assert attack.strength == pytest.approx(float(name.rpartition("-")[2]))
        assert attack.steps == (10 if name in PGD else 1)
        assert attack.standardised == (name in FGSM_NORM)
    assert Attack(0.1).step == 0.1
    assert Attack(0.1, 10).step == pytest.approx(0.025)


def test_other_alphabets_are_whole_and_without_labels(others):
    for exhaustive in (False, True):
        found = made(("kmnist", "notmnist"), pictures(), labels(), exhaustive, others)
        assert list(found) == ["kmnist", "notmnist"]
        for name in ("kmnist", "notmnist"):
            points = found[name]
            assert points.out_of_distribution
            assert points.y is points.samples is points.attack is None
            np.testing.assert_array_equal(points.x, others[name].x)


def test_the_rotated_digit_is_the_first_nine():
    x, y = pictures(), labels()
    points = made(("rotation",), x, y)["rotated-digit"]
    assert points.y.tolist() == [9] * 10
    assert points.samples == 500
    for image, angle in zip(points.x, range(0, 181, 20), strict=True):
        np.testing.assert_array_equal(image, rotated(x[9:10], angle)[0])


def test_samples_granted():
    """Of a sweep at most 30, of the digit five times what the budget grants, up to 500."""

    assert [samples_within(n, 30) for n in (2, 100)] == [2, 30]
    assert [samples_within(n, 500) for n in (2, 100)] == [10, 500]
    assert [samples_within(n, None) for n in (2, 100)] == [2, 100]


def test_no_rotated_digit_without_a_nine():
    assert "rotated-digit" not in made(("rotation",), pictures(), labels() % 9)


def test_padding_is_black_and_centred(others):
    x = pictures(40)
    framed = padded(x)
    assert framed.shape == (40, 1, 32, 32)
    np.testing.assert_array_equal(framed[:, :, 2:30, 2:30], x)
    assert framed.sum(dtype=np.float64) == pytest.approx(x.sum(dtype=np.float64))
    assert not framed[:, :, [0, 1, 30, 31]].any()
    assert not framed[:, :, :, [0, 1, 30, 31]].any()
    assert padded(framed).tobytes() == framed.tobytes()
    data = Data.of(x, labels(40), fixed=(np.arange(30), np.arange(30, 40)))
    task = ImageTask(
        "p", "classification", ("p",), ("official",), loader=lambda: data, pad=True, test_set_families=DIGITS
    )
    (split,) = task.splits("official")
    sets = task.test_sets(task.data(), split, FAMILIES)
    for name, points in sets.items():
        assert points.x.shape[1:] == (1, 32, 32), name
    np.testing.assert_array_equal(sets["kmnist"].x, padded(others["kmnist"].x))
    np.testing.assert_array_equal(sets["rotation-045"].x, rotated(padded(x[30:]), 45))


def test_images_are_rotated_before_they_are_standardised():
    """Test sets are in pixel units, whatever the mean of the training images is: black corners stay black."""
    x = 0.4 + 0.6 * pictures(40, 12)
    data = Data.of(x, labels(40), fixed=(np.arange(30), np.arange(30, 40)))
    task = ImageTask(
        "pixels", "classification", ("p",), ("official",), loader=lambda: data, test_set_families=DIGITS[:1],
        budgets=(Budget("smoke", 2, 2, 2, ""),),
    )  # fmt: skip
    pack = _pack(task)
    assert pack.problem.rows.x_shift.item() > 0.5
    (sets,) = sets_of(pack, shifted=True)
    for angle in (15, 45, 75):
        found = sets[f"rotation-{angle:03d}"].x
        assert (found[:, 0, [0, 0, -1, -1], [0, -1, 0, -1]] == 0).all()
        np.testing.assert_array_equal(found, rotated(x[30:], angle))


def _pack(task):
    cell = Cell(task, MAP(), "official", 0, 0, task.budget("smoke"), None, ("rotation",))
    return stack([cell], torch.device("cpu"))


# The names.


def test_both_kinds_of_a_sweep_stand_side_by_side(others):
    """As transferred attacks ask for them."""
    data = Data.of(pictures(), labels(), fixed=(np.arange(30), np.arange(30, 50)))
    task = ImageTask("p", "classification", ("p",), ("official",), loader=lambda: data, test_set_families=DIGITS)
    sets = task.test_sets(task.data(), task.splits("official")[0], ("pgd", "pgd-all", "kmnist-all", "unknown"))
    assert list(sets)[3:] == [*PGD, *(f"{name}-all" for name in PGD), "kmnist"]
    assert [sets[name].samples for name in ("pgd-0.10", "pgd-0.10-all")] == [30, None]


@pytest.mark.data
@pytest.mark.parametrize("name", ["mnist", "mnist-lenet"])
def test_names_of_all_evaluations_of_mnist(name, real):
    root, task = real("mnist", "kmnist", "notmnist"), TASKS.get(name)
    data, (split,) = task.data(root), task.splits("official", root)
    plain = ["test", "train", "validation"]
    assert list(task.test_sets(data, split)) == plain
    every = task.test_sets(data, split, (*FAMILIES, "fgsm-norm"), root)
    assert set(every) == {*plain, *ANGLES, "rotated-digit", "kmnist", "notmnist", *FGSM, *PGD, *FGSM_NORM}
    for own, points in every.items():
        out_of_distribution = own in ("kmnist", "notmnist")
        sizes = {"test": 10_000, "train": 2000, "validation": 5000, "rotated-digit": 10}
        assert len(points.x) == (10_000 if out_of_distribution else sizes.get(own, 2000))
        assert (points.y is None, points.out_of_distribution) == (out_of_distribution, out_of_distribution)
        assert 0 <= points.x.min() <= points.x.max() <= 1
    assert data.y[split.test][np.flatnonzero(data.y[split.test] == 9)[0]] == 9


def plan(tasks, root, test_sets=(), **options):
    return build_plan(Request(["map"], tasks, BUDGETS["smoke"], test_sets, root=root, **options)).cells


@pytest.mark.data
def test_families_join_the_tasks_that_have_them(real):
    root = real("mnist", "kmnist", "notmnist")

    def tasks(names, *test_sets):
        return {cell.task.name: cell.test_sets for cell in plan(names.split(","), root, test_sets)}

    assert tasks("mnist", "rotation") == {"mnist": ("rotation",)}
    assert tasks("mnist", "shift") == tasks("mnist", "all") == {"mnist": FAMILIES}
    assert tasks("mnist", "fgsm-norm", "all") == {"mnist": (*FAMILIES, "fgsm-norm")}
    assert tasks("mnist", "corruption") == {"mnist": ("mnist-c",)}
    assert tasks("mnist", "pgd", "fgsm") == {"mnist": ("fgsm", "pgd")}
    assert tasks("diabetes,mnist-lenet", "fgsm") == {"diabetes": (), "mnist-lenet": ("fgsm",)}
    assert tasks("mnist") == {"mnist": ()}
    assert plan(["mnist"], root, ["fgsm"], exhaustive=True)[0].test_sets == ("fgsm-all",)


@pytest.mark.data
def test_the_sample_of_cifar_stands_outside_and_says_so(real):
    names = ["cifar10-sample-lenet", "cifar10-sample-alexnet", "cifar10-sample-conv3fc3"]
    groups = TASKS.groups()
    assert groups["images-sample"] == names
    assert not set(names) & set(groups["images"])
    root = real("cifar10-sample")
    cells = plan(["images-sample"], root)
    _, records, _ = definitions(cells)
    assert [record.name for record in records] == names
    for record in records:
        assert any("never comparable with published numbers" in note for note in record.notes)
        assert record.groups == ("images-sample",)
