"""Encodings against scikit-learn and pandas, and that nothing of the test rows gets into them."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from own_tables import houses, understood
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder

from bnnbench.data.encoding import MOST_LEVELS, Encoder
from bnnbench.errors import UserError
from bnnbench.tasks import Task

WISHES = {"drop": ("sold", "agent")}
LETTERS = np.array([f"level {k:02d}" for k in range(50)], dtype=object)


def test_imputation_and_levels_are_those_of_scikit_learn() -> None:
    frame, rows = houses(), np.arange(40)
    data = understood(frame, **WISHES).data
    theirs = ColumnTransformer([
        ("number", SimpleImputer(strategy="median", add_indicator=True), ["area"]),
        ("category", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["district", "heating"]),
    ]).fit(frame.iloc[rows])  # fmt: skip
    encoded = data.encoded(rows)
    np.testing.assert_array_equal(encoded.x, theirs.transform(frame))
    assert encoded.features == (
        "area", "area missing", "district centre", "district north", "district south", "heating gas", "heating oil",
        "heating (missing)",
    )  # fmt: skip
    assert np.isnan(data.x).any()
    assert np.isfinite(encoded.x).all()


def test_many_levels_share_a_column_as_in_scikit_learn() -> None:
    counts = np.arange(1, 51)  # no two alike, so that the order of equal ones does not matter
    frame = pd.DataFrame(
        {"city": np.repeat(LETTERS, counts), "price": np.random.default_rng(0).normal(size=counts.sum())}
    )
    train = np.flatnonzero(frame["city"] != "level 49")
    encoded = understood(frame).data.encoded(train)
    theirs = OneHotEncoder(max_categories=MOST_LEVELS, handle_unknown="infrequent_if_exist", sparse_output=False)
    theirs.fit(frame.iloc[train][["city"]])
    assert encoded.x.shape[1] == MOST_LEVELS
    np.testing.assert_array_equal(encoded.x, theirs.transform(frame[["city"]]))
    assert encoded.features[-1] == "city (other)"


def test_a_number_without_gaps_in_the_training_rows_is_filled_by_their_median_alone() -> None:
    frame = pd.DataFrame(
        {"area": [*np.arange(2.0, 32.0) ** 2, np.nan], "price": np.random.default_rng(0).normal(size=31)}
    )
    encoded = understood(frame).data.encoded(np.arange(30))
    assert encoded.features == ("area",)
    assert encoded.x[30, 0] == np.median(frame["area"][:30])


@pytest.mark.parametrize(
    "wishes", [{"drop": ("sold", "agent")}, {"drop": "agent", "time": "sold"}, {"drop": "sold", "group": "agent"}]
)
def test_nothing_of_the_rows_to_validate_and_to_test_is_in_the_training_arrays(wishes) -> None:
    """Their features, gaps and levels change, and the training arrays do not by a bit."""
    frame = houses(120)
    before = Task.from_frame(frame, "price", name="my-table", **wishes)
    rule, rng = before.rules[0], np.random.default_rng(1)
    for index, split in enumerate(before.splits(rule)):
        others, other = np.concatenate([split.validation, split.test]), frame.copy()
        other.loc[others, "area"] = np.where(rng.random(len(others)) < 0.5, np.nan, 1e6 * rng.random(len(others)))
        other.loc[others, "district"] = rng.choice(["a new one", "centre", "another"], len(others))
        other.loc[others, "heating"] = None
        after = Task.from_frame(other, "price", name="my-table", **wishes)
        assert after.loader != before.loader
        np.testing.assert_array_equal(after.splits(rule)[index].train, split.train)
        one, two = before.encoded(rule, index), after.encoded(rule, index)
        assert one.features == two.features
        np.testing.assert_array_equal(one.x[split.train], two.x[split.train])
        assert not np.array_equal(one.x[others], two.x[others])


def test_new_rows_are_encoded_as_the_table_is() -> None:
    frame = houses()
    encoded = understood(frame, **WISHES).data.encoded(np.arange(40))
    assert encoded.encoder is not None
    again = Encoder.from_json(json.loads(json.dumps(encoded.encoder.to_json())))
    assert again == encoded.encoder
    shuffled = frame[["price", "heating", "sold", "district", "area"]]
    for rows in (frame, shuffled, frame.to_dict("list"), frame[["area", "district", "heating"]].to_numpy(object)):
        np.testing.assert_array_equal(again.inputs(rows), encoded.x)
    unknown = again.inputs(frame.assign(district="elsewhere"))
    assert not unknown[:, 2:5].any()
    np.testing.assert_array_equal(unknown[:, 5:], encoded.x[:, 5:])


@pytest.mark.parametrize(("other", "fault"), [
    (lambda f: f.drop(columns="area"), "lacks the column 'area'; it has"),
    (lambda f: f.assign(area="wide"), "'area' holds 'wide' in row 0, which is no number"),
    (lambda f: f.assign(area=np.inf), "not finite in row 0"),
    (lambda f: pd.concat([f, f], axis=1), "holds twice the column 'area'"),
    (lambda f: [[1.0, "north"]], "needs 3 values .area, district, heating., not 2"),
    (lambda f: 3.0, "make no table"),
])  # fmt: skip
def test_new_rows_that_do_not_fit(other, fault: str) -> None:
    frame = houses()
    encoder = understood(frame, **WISHES).data.encoded(np.arange(40)).encoder
    assert encoder is not None
    with pytest.raises(UserError, match=fault):
        encoder.inputs(other(frame))


def test_levels_are_the_same_whatever_read_them() -> None:
    """Whole numbers and truth values are others where a value is missing, and post codes lose a zero."""
    frame = pd.DataFrame(
        {"zip": ["01067", "80331"] * 15, "garden": ["true", "False"] * 15, "price": np.arange(30) ** 1.5}
    )
    encoder = understood(frame, category=("zip",)).data.encoded(np.arange(30)).encoder
    assert encoder is not None
    assert encoder.features == ("zip 1067", "zip 80331", "garden False", "garden True")
    expected = encoder.inputs(frame)
    for zips, garden in (
        ([1067, 80331] * 15, [True, False] * 15),
        ([1067.0, 80331.0] * 15, pd.Series([True, False] * 15, dtype="boolean")),
    ):
        np.testing.assert_array_equal(encoder.inputs(frame.assign(zip=zips, garden=garden)), expected)


def test_the_checksum_tells_tables_apart() -> None:
    frame = houses()
    tables = [
        understood(frame, **WISHES), understood(frame.assign(heating=frame["heating"].replace("gas", "Gas")), **WISHES),
        understood(frame, drop="sold", group="agent"), understood(frame, drop="agent", time="sold"),
        understood(frame.rename(columns={"area": "size"}), **WISHES),
    ]  # fmt: skip
    assert len({table.data.checksum for table in tables}) == len(tables)
    assert understood(frame, **WISHES).data.checksum == tables[0].data.checksum
