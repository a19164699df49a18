"""What users have in hand becomes columns, labels and splits; or one sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from bnnbench.data.arrays import Data
from bnnbench.data.scales import standardisation
from bnnbench.errors import UserError
from bnnbench.tasks import TASKS, Task

X = np.random.default_rng(0).normal(size=(50, 2))
Y = X[:, 0] + 0.1
SPLIT = np.arange(40), np.arange(40, 50)


def refused(call: Callable[[], Any], *parts: str) -> None:
    with pytest.raises(UserError) as caught:
        call()
    for part in parts:
        assert part in str(caught.value), str(caught.value)
    assert str(caught.value).endswith((".", "?"))


def task(y: Any, kind: str = "classification", x: Any = X, rule: str = "fixed", **more: Any) -> Task:
    more = {"fixed": SPLIT} | more if rule == "fixed" else more
    return Task("mine", kind, ("mine",), (rule,), loader=lambda: Data.of(x, y, **more))


FRAME = pd.DataFrame(X, columns=["a", "b"])


@pytest.mark.parametrize(
    "x",
    [
        FRAME,
        FRAME.astype("Float64"),
        FRAME.astype(object),
        X.tolist(),
        torch.tensor(X),
        torch.tensor(X, requires_grad=True),
        X[::-1][::-1],
        np.asfortranarray(X),
        X.astype(">f8"),
        X.astype(object),
    ],
)
def test_tables_of_all_types(x: Any) -> None:
    data = Data.of(x, Y)
    np.testing.assert_array_equal(data.x, X)
    assert data.x.dtype == np.float64
    assert data.x.flags.c_contiguous
    assert data.checksum == Data.of(X, Y).checksum
    assert data.features == (("a", "b") if isinstance(x, pd.DataFrame) else ())


@pytest.mark.parametrize(
    "y", [pd.Series(Y, name="price"), Y.tolist(), torch.tensor(Y), Y[:, None], pd.DataFrame({"price": Y}), pd.array(Y)]
)
def test_targets_of_all_types(y: Any) -> None:
    data = Data.of(X, y)
    np.testing.assert_array_equal(data.y, Y)
    assert data.target == ("price" if isinstance(y, pd.Series) else "")


def test_columns_of_several_types() -> None:
    frame = pd.DataFrame(
        {"whole": pd.array([1, 2, 3], dtype="Int64"), "truth": [True, False, True], 7: [1.5, 2.5, 3.5]}
    )
    data = Data.of(frame, [1, 2, 3])
    np.testing.assert_array_equal(data.x, [[1, 1, 1.5], [2, 0, 2.5], [3, 1, 3.5]])
    assert data.features == ("whole", "truth", "7")
    half = torch.tensor([[1.5], [2.5]], dtype=torch.bfloat16)
    assert Data.of(half, [0, 1]).x.tolist() == [[1.5], [2.5]]


def test_data_do_not_share_a_frozen_array() -> None:
    x = X.copy()
    x.flags.writeable = False
    torch.as_tensor(Data.of(x, Y).x)  # would warn


HOLE = X.copy()
HOLE[3, 1] = np.nan
BAD = {
    "nan": (HOLE, Y, "The column 1 (from 0) holds a value that is not finite (nan in row 3)"),
    "nan in a frame": (pd.DataFrame(HOLE, columns=["a", "b"]), Y, "The column 'b' holds a missing value in row 3"),
    "nullable": (FRAME.astype("Float64").mask(FRAME > 2), Y, "holds a missing value"),
    "infinite": (np.where(np.isnan(HOLE), np.inf, X), Y, "not finite (inf in row 3)"),
    "text": (FRAME.assign(b="red"), Y, "The column 'b' holds text; encode it as numbers"),
    "digits as text": (X.astype(str), Y, "The column 0 (from 0) holds text"),
    "mixed": (FRAME.assign(b=[1, "red"] * 25), Y, "The column 'b' holds values of the types int, str"),
    "decimals": (FRAME.assign(b=[Decimal(1)] * 50), Y, "types Decimal"),
    "complex": (X + 1j, Y, "holds complex numbers; give real and imaginary parts as two columns"),
    "dates": (FRAME.assign(b=pd.Timestamp("2020-01-01")), Y, "The column 'b' holds dates; give numbers"),
    "one dimension": (Y, Y, "Data need inputs [N, d] or [N, C, H, W] and targets [N], not [50] and [50]"),
    "no rows": (X[:0], Y[:0], "not [0, 2] and [0]"),
    "no columns": (FRAME[[]], Y, "not [50, 0] and [50]"),
    "ragged": ([[1.0], [1.0, 2.0]], [1.0, 2.0], "cannot be made an array"),
    "nothing": (None, Y, "not objects []"),
    "two targets": (X, X, "not [50, 2] and [50, 2]"),
    "target nan": (X, np.where(Y > 1, np.nan, Y), "The target holds a missing value"),
    "target none": (X, [None, *Y[1:]], "The target holds a missing value in row 0"),
    "target infinite": (X, pd.Series([np.inf, *Y[1:]], name="t"), "The target 't' holds a value that is not finite"),
    "target complex": (X, Y + 1j, "The target holds complex numbers"),
    "target mixed": (X, np.array([1, "a"] * 25, dtype=object), "The target holds values of the types int, str"),
    "huge": (X, np.array([2**70, 1] * 25, dtype=object), "whole numbers of more than 64 bits"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_makes_no_table(name: str) -> None:
    x, y, part = BAD[name]
    refused(lambda: Data.of(x, y), part)
    refused(lambda: task(y, "regression", x).data(), "The data of the task 'mine' cannot be loaded: ", part)


def test_names_of_columns_are_counted() -> None:
    refused(lambda: Data.of(X, Y, features=("a", "b", "c")), "3 names of columns (a, b, c) for 2")


SIDES = (X[:, 0] > 0).astype(int)
LABELS: dict[str, tuple[Any, tuple]] = {
    "0/1": (SIDES, (0, 1)),
    "floats": (SIDES.astype(float), (0.0, 1.0)),
    "truth": (SIDES.astype(bool), (False, True)),
    "-1/+1": (2 * SIDES - 1, (-1, 1)),
    "1/2": (SIDES + 1, (1, 2)),
    "101/102": (SIDES + 101, (101, 102)),
    "identifiers": (SIDES * 5 + 1_000_003, (1_000_003, 1_000_008)),
    "unsigned": (SIDES.astype(np.uint64) + np.uint64(2**63), (2**63, 2**63 + 1)),
    "bytes": (SIDES.astype(np.uint8), (0, 1)),
    "halves": (SIDES + 0.5, (0.5, 1.5)),
    "text": (np.where(SIDES, "yes", "no"), ("no", "yes")),
    "objects": (np.where(SIDES, "yes", "no").astype(object), ("no", "yes")),
    "category": (pd.Series(np.where(SIDES, "yes", "no"), dtype="category"), ("no", "yes")),
    "nullable": (pd.array(SIDES, dtype="Int64"), (0, 1)),
    "tensor": (torch.tensor(SIDES), (0, 1)),
    "list": (SIDES.tolist(), (0, 1)),
}


@pytest.mark.parametrize("style", LABELS)
def test_labels_are_class_indices(style: str) -> None:
    labels, classes = LABELS[style]
    own = task(labels)
    data = own.data()
    np.testing.assert_array_equal(data.y, SIDES)
    assert data.y.dtype == np.int64
    assert data.classes == classes
    assert [type(label) for label in data.classes] == [type(label) for label in classes]
    assert own.likelihood("fixed", len(data.classes)).outputs == 2
    assert data.checksum == task(SIDES).data().checksum


def test_labels_in_the_order_of_the_user() -> None:
    data = task(np.where(SIDES, "yes", "no"), classes=("yes", "no", "never")).data()
    np.testing.assert_array_equal(data.y, 1 - SIDES)
    assert data.classes == ("yes", "no", "never")
    refused(
        lambda: task(SIDES, classes=("yes", "no")).data(), "'mine'", "holds the label 0, which is none of its 2 classes"
    )


def test_what_are_no_labels() -> None:
    refused(lambda: task(Y).data(), "'mine'", "50 different labels in 50 rows", "regression")
    refused(lambda: task(np.repeat(Y[:25], 2)).data(), "25 different labels in 50 rows")
    refused(lambda: task(np.arange(50), target="id").data(), "The target 'id' holds 50 different labels")
    refused(lambda: task(np.full(50, "a")).data(), "The target is 'a' in every row")


@pytest.mark.parametrize(
    "y", [np.arange(50), np.arange(50).tolist(), pd.array(np.arange(50), dtype="Int64"), np.arange(50, dtype=np.uint8)]
)
def test_whole_numbers_of_a_regression_are_numbers(y: Any) -> None:
    data = task(y, "regression").data()
    assert data.y.dtype == np.float64
    assert data.classes == ()
    assert data.checksum == task(np.arange(50.0), "regression").data().checksum


def test_what_no_regression_takes() -> None:
    refused(lambda: task(SIDES.astype(bool), "regression").data(), "truth values; that is a classification")
    refused(lambda: task(["a"] * 50, "regression").data(), "text; that is a classification")
    refused(
        lambda: task(np.full(50, 0.1), "regression").data(), "The target is 0.1 in every row; there is nothing to learn"
    )
    refused(lambda: task(1e9 + 1e-4 * Y, "regression", target="t").data(), "'t' varies by", "subtract an offset")
    refused(lambda: task(1e200 * Y, "regression", target="t").data(), "'t' holds numbers as", "another unit")
    refused(lambda: task(1e-200 * Y, "regression", target="t").data(), "'t' holds numbers as", "another unit")
    with np.errstate(over="raise"):
        refused(lambda: task(1.5e308 * np.sign(Y), "regression", target="t").data(), "another unit")


@pytest.mark.parametrize("value", [0.0, 0.1, -1e9 - 0.1, 1 / 3, 1e-300, 5e-324, 1e90])
def test_a_constant_is_told_by_its_size(value: float) -> None:
    """Whatever rounding makes of its mean; and a few last digits beside it are rounding too."""
    column = np.full(1001, value)
    column[::2] = np.nextafter(value, np.inf) if abs(value) > 1e-200 else value
    for factor in (1.0, 3.0, -7.0):
        shift, scale = standardisation(factor * column[:, None])
        assert scale.tolist() == [np.inf]
        assert abs((factor * value - shift[0]) / scale[0]) == 0
    assert np.isfinite(standardisation(np.array([[1e9], [1e9 + 1e-3]]))[1]).all()


@pytest.mark.data
def test_the_constant_columns_of_naval(data_root) -> None:
    data = TASKS.get("naval").data(data_root)
    scale = standardisation(data.x)[1]
    np.testing.assert_array_equal(np.isinf(scale), np.ptp(data.x, 0) == 0)
    assert np.isinf(scale).any()


def test_rules_that_the_rows_do_not_allow() -> None:
    few = {"x": X[:9], "y": Y[:9], "kind": "regression"}
    refused(lambda: task(rule="10fold", **few).splits("10fold"), "'mine' has 9 rows, too few for 10 folds", "fixed")
    twins = np.repeat(X[:9], 5, 0)
    own = task(np.arange(45.0), "regression", twins, rule="10fold-grouped")
    refused(lambda: own.splits("10fold-grouped"), "'mine' has 9 different inputs, too few for 10 folds")
    coarse = task(np.arange(50), "regression", np.sign(X), rule="gap")
    refused(lambda: coarse.splits("gap"), "'mine' has no 'gap' splits", "10 different values")


def test_splits_that_come_with_the_data() -> None:
    def fixed(train: Any, test: Any) -> Any:
        return task(SIDES, fixed=(train, test)).splits("fixed")[0]

    mask = np.arange(50) < 40
    for train, test in ((mask, ~mask), (range(40), range(40, 50)), (list(range(40)), torch.arange(40, 50))):
        split = fixed(train, test)
        np.testing.assert_array_equal(np.sort(np.r_[split.train, split.validation]), SPLIT[0])
        np.testing.assert_array_equal(split.test, SPLIT[1])
    refused(lambda: fixed(range(40), range(40, 51)), "'mine' names the row 50, but there are the rows 0 to 49")
    refused(lambda: fixed(range(-1, 40), range(40, 50)), "names the row -1")
    refused(lambda: fixed(range(41), range(40, 50)), "names the row 40 twice")
    refused(lambda: fixed(np.arange(40.0), range(40, 50)), "not a pair of row indices")
    refused(lambda: fixed(range(2), range(40, 50)), "'mine' has 1 rows to train on, 1 to validate and 10 to test")
    refused(lambda: fixed(range(40), np.arange(0)), "and 0 to test")


def test_a_loader_that_raises_is_named() -> None:
    def moved() -> Data:
        return Data.of(pd.read_csv("/nowhere/houses.csv"), [])

    refused(
        lambda: replace(task(SIDES), loader=moved).data(), "'mine' cannot be loaded (FileNotFoundError", "houses.csv"
    )
    refused(lambda: replace(task(SIDES), loader=lambda: 1 / 0).data(), "'mine' cannot be loaded (ZeroDivisionError")
    refused(lambda: replace(task(SIDES), loader=lambda: (X, Y)).data(), "'mine'", "returns a tuple", "Data.of(x, y)")


@pytest.mark.parametrize(
    "name", ["../../x", "/etc/x", "a/b", "a\\b", "", ".", ".hidden", "a b", "a,b", "a\n", "x" * 61, "$x$", "-x"]
)
def test_names_that_make_no_file(name: str) -> None:
    refused(lambda: replace(task(SIDES), name=name), "name", repr(name), "letters, digits")
    refused(lambda: replace(task(SIDES), groups=("mine", name)), "group", repr(name), "letters, digits")


def test_fields_of_a_task() -> None:
    refused(lambda: replace(task(SIDES), groups="mine"), "groups", "'mine'", "tuples of names")
    refused(lambda: replace(task(SIDES), rules=()), "rules", "tuples of names")
    refused(lambda: replace(task(SIDES), kind="regresion"), "'regresion'; did you mean regression?")
    assert replace(task(SIDES), name="Häuser_2.v1+k=3").name
