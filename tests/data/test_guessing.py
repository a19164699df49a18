"""What columns are taken for, and tables that are refused in one sentence which names the remedy."""

from __future__ import annotations

import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from own_tables import becomes, houses, understood

from bnnbench.data.values import Unusable, dates_of
from bnnbench.errors import UserError

N = 40
PRICE = np.random.default_rng(0).normal(size=N)
PLAIN = pd.DataFrame({"x": np.random.default_rng(1).normal(size=N), "price": PRICE})
COUNT = np.arange(N)


def column(values) -> pd.DataFrame:
    """A table with one more column, `v`."""
    return PLAIN.assign(v=values)


def test_what_becomes_of_each_column() -> None:
    frame = houses().assign(empty=np.nan, same="x", again=lambda f: f["district"], sure=True)
    frame.loc[3:4, "price"] = np.nan
    table = understood(frame, drop=("agent",), time="sold")
    assert becomes(table) == {
        "area": "number",
        "district": "category, 3 values: centre, north, south",
        "heating": "category, 2 values: gas, oil",
        "agent": "left out (--drop)",
        "sold": "orders the rows in time (--time)",
        "empty": "left out: empty",
        "same": "left out: the same in every row",
        "again": "left out: equals 'district'",
        "sure": "left out: the same in every row",
        "price": becomes(table)["price"],
    }
    assert becomes(table)["price"].startswith("target of a regression, ")
    assert {line.column: line.missing for line in table.lines}["heating"] == frame["heating"][
        frame["price"].notna()
    ].isna().sum()
    assert table.notes == ("2 of 60 rows have no 'price' and are left out.",)
    assert table.rules == ("time", "10fold", "10fold-grouped")
    assert len(table.data.y) == 58


@pytest.mark.parametrize(("values", "said"), [
    (np.where(COUNT % 2, 1.5, np.nan), "number"),
    (COUNT**2, "number"),
    ([f"{1000 * k:,}.5" for k in COUNT], "number"),
    ([f"{k}.000.000,25" for k in COUNT + 1], "number"),
    ([Decimal(int(k)) / 4 for k in COUNT], "number"),
    ([2.0**70 * k for k in COUNT], "number"),
    (np.where(COUNT % 2, "yes", "no"), "category, 2 values: no, yes"),
    (COUNT % 2 == 0, "category, 2 values: False, True"),
    (pd.Categorical(np.where(COUNT % 2, "b", "a")), "category, 2 values: a, b"),
    (pd.array([1, None] * 20, dtype="Int64"), "number"),
    (np.where(COUNT % 2, " a ", "a"), "left out: the same in every row"),
    (np.where(COUNT % 2, "a", "  "), "category, 1 values: a"),
    ([f"{k % 9}" for k in COUNT], "number"),
])  # fmt: skip
def test_types(values, said: str) -> None:
    assert becomes(understood(column(values)))["v"] == said


def test_numbers_with_marks_between_thousands_have_their_values() -> None:
    english = understood(column([f"{1000 * k:,}.5" for k in COUNT])).data.x[:, 1]
    german = understood(column([f"{k}.000.000,25" for k in COUNT + 1])).data.x[:, 1]
    fractions = understood(column([f"{k},5" for k in COUNT])).data.x[:, 1]
    np.testing.assert_array_equal(fractions, COUNT + 0.5)
    np.testing.assert_array_equal(english, 1000 * COUNT + 0.5)
    np.testing.assert_array_equal(german, 1e6 * (COUNT + 1) + 0.25)


def test_kinds_of_target() -> None:
    for values in (PRICE, COUNT % 3):
        assert understood(PLAIN.assign(price=values)).kind == "regression"
    for values in (COUNT % 2, COUNT % 2 == 0, np.where(COUNT % 3, "a", "b")):
        assert understood(PLAIN.assign(price=values)).kind == "classification"
    three = understood(PLAIN.assign(price=COUNT % 3))
    assert three.lines[-1].becomes == "target of a regression, 0 to 2; --kind classification, if these are labels"
    labels = understood(PLAIN.assign(price=COUNT % 3), kind="classification")
    assert labels.data.classes == (0, 1, 2)
    assert labels.lines[-1].becomes == "target of a classification, 3 classes: 0 (14), 1 (13), 2 (13)"
    gaps = PLAIN.assign(price=np.where(COUNT % 5, COUNT % 2, np.nan))
    assert understood(gaps).data.classes == (0, 1)


def test_repeated_rows_are_told_and_kept_together() -> None:
    table = understood(pd.concat([PLAIN, PLAIN[:7]]))
    (note,) = table.notes
    assert note == "my-table repeats 7 of its 47 rows; the rule 10fold-grouped keeps rows of equal inputs together."
    assert table.data.notes == (note,)


def test_the_user_has_the_last_word() -> None:
    frame = PLAIN.assign(id=COUNT, zip=10000 + COUNT % 4, name=[f"n{k}" for k in COUNT], when="2020-01-01")
    frame.loc[0, "when"] = "2021-01-01"
    table = understood(frame, number=("id",), category=("zip", "name", "when"))
    assert becomes(table)["id"] == "number"
    assert becomes(table)["zip"] == "category, 4 values: 10000, 10001, 10002, 10003"
    assert becomes(table)["name"].startswith("category, 40 values: n0, n1, n10, n11, ... (the 29 most frequent")
    assert becomes(table)["when"].startswith("category, 2 values")


DAYS = pd.date_range("2019-12-20", periods=N)
HOLE = np.where(COUNT == 2, np.nan, COUNT)
REFUSED = {
    "dates": (column(DAYS.strftime("%d.%m.%Y")), {}, r"'v' holds dates \(--time v .* --drop v"),
    "points in time": (column(pd.date_range("2020", periods=N, tz="UTC")), {}, r"'v' holds dates"),
    "times of the day": (column([f"{k % 24}:30" for k in COUNT]), {}, "'v' holds dates"),
    "date objects": (column([datetime.date(2020, 1, 1 + k % 28) for k in COUNT]), {}, "'v' holds dates"),
    "months": (column([f"3 May {1990 + k}" for k in COUNT]), {}, "'v' holds dates"),
    "spans": (column(pd.to_timedelta(COUNT, "D")), {}, "'v' holds spans of time"),
    "complex": (column(COUNT * 1j), {}, "'v' holds complex numbers"),
    "row numbers": (column(COUNT), {}, r"'v' tells every row apart.*--number v.*--drop v"),
    "an identifier": (PLAIN.assign(**{"customer_id": 7 * COUNT[::-1]}), {}, "'customer_id' tells every row apart"),
    "a shared identifier": (
        PLAIN.assign(customerId=COUNT // 4), {}, r"'customerId' looks like .* that rows share \(--group customerId",
    ),
    "a name to be quoted": (PLAIN.assign(**{"sold on": "2020-01-01"}), {}, "--time 'sold on' .*--drop 'sold on'"),
    "an index": (PLAIN.assign(**{"Unnamed: 0": COUNT * 3}), {}, "'Unnamed: 0' tells every row apart"),
    "names": (column([f"name {k}" for k in COUNT]), {}, r"40 different texts in 40 rows.*--group v.*--category v"),
    "mixed": (column([*map(str, COUNT[:-2]), "n.d.", "n.d."]), {}, r"numbers and 2 texts like 'n.d.' \(--missing n.d."),
    "mixed objects": (column([*COUNT[:-1], "many"]), {}, "numbers and 1 texts like 'many'"),
    "infinite": (column(np.where(COUNT == 3, np.inf, PRICE)), {}, "'v' holds infinite values"),
    "the target again": (column(PRICE), {}, "'v' equals the target"),
    "several": (PLAIN.assign(id=COUNT, when="2020-01-01"), {}, r"'id' tells .*; 'when' holds dates.*--drop id,when"),
    "no such target": (PLAIN, {"target": "pric"}, "--target names .* 'pric', which is not there; did you mean price"),
    "no such group": (PLAIN, {"group": "y"}, "--group names the column 'y', which is not there"),
    "no such column": (PLAIN, {"drop": ("z",)}, "--drop names the column 'z'"),
    "two uses": (column(COUNT), {"drop": ("v",), "time": "v"}, "'v' is named by --time and by --drop; name it once"),
    "the target dropped": (column(COUNT), {"drop": ("price",)}, "'price' is named by --target and by --drop"),
    "unknown kind": (PLAIN, {"kind": "regresion"}, "--kind is 'regresion'; did you mean regression"),
    "no number": (column(np.where(COUNT % 2, "a", "b")), {"number": ("v",)}, "'v' holds 'b', which is no number"),
    "no target at all": (PLAIN.assign(price=np.nan), {}, "'price' is missing in every row"),
    "constant target": (PLAIN.assign(price=7.0), {}, "'price' is 7 in every row; there is nothing to learn"),
    "one class": (PLAIN.assign(price="a"), {}, "'price' is 'a' in every row; there is nothing to tell apart"),
    "text as a regression": (PLAIN.assign(price="a"), {"kind": "regression"}, "holds text; that is a classification"),
    "labels without end": (PLAIN.assign(price=[f"{k}x" for k in COUNT]), {}, "40 different labels in 40 rows"),
    "measured classes": (PLAIN, {"kind": "classification"}, "40 different labels in 40 rows"),
    "infinite target": (PLAIN.assign(price=np.where(COUNT == 3, np.inf, PRICE)), {}, "not finite in row 3"),
    "dates as target": (PLAIN.assign(price="2020-01-01"), {}, "'price' holds dates"),
    "mixed target": (PLAIN.assign(price=["12"] * (N - 1) + ["x"]), {}, "'price' holds numbers and 1 texts"),
    "few rows": (PLAIN[:19], {}, "has 19 rows with a target; ten folds take 20"),
    "no rows": (PLAIN[:0], {}, "'price' is missing in every row"),
    "nothing but a target": (PLAIN[["price"]], {}, "No column is left to learn from"),
    "only constants": (PLAIN.assign(x=1), {}, "No column is left to learn from"),
    "twice": (pd.concat([PLAIN, PLAIN[["x"]]], axis=1), {}, "two columns named 'x'"),
    "gaps in groups": (column(HOLE), {"group": "v"}, "--group v holds a missing value in row 2"),
    "two groups": (column(np.where(COUNT % 2, "a", "b")), {"group": "v"}, "has 2 groups of rows"),
    "gaps in time": (column(HOLE), {"time": "v"}, "--time v holds a missing value in row 2"),
    "no time": (column(np.where(COUNT % 2, "a", "b")), {"time": "v"}, "--time v holds 'b', which is no date"),
    "two readings": (column([f"0{1 + k % 9}/02/2020" for k in COUNT]), {"time": "v"}, "can be read in two ways"),
    "few times": (column(COUNT % 3), {"time": "v"}, "has 3 different times for its 40 rows"),
    "unresolved": (column(1e15 + COUNT * 0.125), {}, "in the last digits of its numbers"),
    "huge": (column(1e200 * PRICE), {}, "give it in another unit"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_tables_that_are_refused(kind: str) -> None:
    frame, wishes, fault = REFUSED[kind]
    with pytest.raises(UserError, match=fault) as refused:
        understood(frame, **wishes)
    sentence = str(refused.value)
    assert "\n" not in sentence
    assert sentence.endswith((".", "?"))


def test_dates_written_in_two_ways_are_named_both() -> None:
    dates = pd.Series(["2023-03-01", "2023-04-02", "03.05.2023"])
    with pytest.raises(Unusable, match=r"several ways, like '2023-03-01' and '03.05.2023'; write"):
        dates_of(dates)


def test_times_are_ordered_as_dates_and_not_as_text() -> None:
    days = pd.date_range("2019-12-20", periods=N)
    for values in (
        days,
        days.strftime("%d.%m.%Y"),
        days.strftime("%m/%d/%Y"),
        days.strftime("%Y-%m-%dT%H:%M"),
        COUNT - 7.5,
    ):
        time = understood(column(np.asarray(values)), time="v").data.time
        np.testing.assert_array_equal(time, COUNT)
