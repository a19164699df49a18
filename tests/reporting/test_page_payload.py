"""What travels in the page is what the database holds, and what tables of the report show."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from image_data import image_store, images
from report_data import cell, fill, gallery, lost, outcome
from suite_data import SUITE_METHODS

from bnnbench.records import Status
from bnnbench.reporting.page.compact import Names, number, packed, unpacked
from bnnbench.reporting.page.payload import payload
from bnnbench.reporting.page.sections import SHOWN
from bnnbench.reporting.points import compared
from bnnbench.reporting.select import select
from bnnbench.reporting.tables.text import cell as told
from bnnbench.store.export import export

ROWS = ("constant", "map", "mc-dropout", "sgld")
TASKS = ("digits", "housing", "wine", "yacht", "power", "toy-heteroscedastic")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "results.db"
    with fill(path, [o for o in gallery(6, ROWS) if o.cell.task in TASKS], SUITE_METHODS) as made:
        yield made


@pytest.fixture(scope="module")
def selection(store):
    return select(store)


@pytest.fixture(scope="module")
def found(selection):
    return unpacked(packed(payload(selection)))


def test_numbers_of_200_random_cells_are_those_of_export(store, found, tmp_path):
    """To the six digits that travel; of every headline metric of the cell."""
    export(store, "csv", tmp_path / "scores.csv")
    table = pd.read_csv(tmp_path / "scores.csv", keep_default_na=False, na_values=[""])
    table = table[table["evaluation"] == "test"]
    places = [
        (s, task, i) for s in found["sections"] for task, own in s["cells"].items() for i in range(len(own["row"]))
    ]
    chosen = np.random.default_rng(0).choice(len(places), size=min(200, len(places)), replace=False)
    compared_ = 0
    for section, task, i in (places[place] for place in chosen):
        own = section["cells"][task]
        stored = table[table["fingerprint"].str.startswith(own["cell"][i])].set_index("metric")["value"]
        for metric, values in own["values"].items():
            wanted = float(stored[metric]) if metric in stored else math.nan
            shown = math.nan if values[i] is None else values[i]
            assert shown == pytest.approx(wanted, rel=5e-6, nan_ok=True), (task, metric)
            compared_ += not math.isnan(wanted)
    assert compared_ > 300


def test_texts_are_those_of_the_tables(selection, found):
    for section, shown in zip(selection.sections, found["sections"], strict=True):
        for metric in section.metrics:
            table = compared(selection, section, metric)
            for task, own in shown["entries"][metric].items():
                for place, text, best, marks in zip(own["row"], own["text"], own["best"], own["marks"], strict=True):
                    assert (text, bool(best), marks) == told(table.entries[section.rows[place], task])


def test_sections_of_one_rule_are_ranked_together_too(found):
    scopes = {scope["name"]: scope for scope in found["scopes"]}
    assert next(iter(scopes)) == "starter+uci-10fold-full"
    union = scopes["starter+uci-10fold-full"]
    assert union["title"] == "starter + uci"
    assert set(union["metrics"]) == {"log_likelihood"}  # what only one of the groups has stands in the group
    assert set(union["metrics"]["log_likelihood"]["tasks"]) == {"digits", "housing", "wine", "yacht", "power"}
    assert {"uci-10fold-full", "starter-10fold-full", "toy-fixed-full"} <= set(scopes)


def test_failed_cells_are_counted_and_told(found):
    scope = next(s for s in found["scopes"] if s["name"] == "uci-10fold-full")
    assert scope["failed"][scope["rows"].index("mc-dropout")] == 6  # power
    assert scope["failed"][scope["rows"].index("sgld")] == 1  # yacht, split 3 of those six
    board = scope["metrics"]["log_likelihood"]
    last = board["ranks"][board["tasks"].index("power")][board["ranked"].index(scope["rows"].index("mc-dropout"))]
    assert last == max(board["ranks"][board["tasks"].index("power")])
    assert "RuntimeError: out of memory | asked for 3 GiB" in found["messages"]


def test_wins_and_losses_mirror_each_other(found):
    for scope in found["scopes"]:
        for board in scope["metrics"].values():
            wins = np.array(board["wins"])
            assert (np.diag(wins) == 0).all()
            assert (wins + wins.T <= len(board["tasks"])).all()


def test_every_cell_has_its_provenance(store, found):
    attempts = store.attempts()
    known = dict(zip(attempts["fingerprint"].str[:SHOWN], attempts["gradients"], strict=True))
    for section in found["sections"]:
        for own in section["cells"].values():
            for name, gradients, session in zip(own["cell"], own["gradients"], own["session"], strict=True):
                assert known[name] == gradients
                assert found["sessions"][session]["revision"] == "0123abc"
    assert found["sessions"][0]["command"] == "bnnbench run --task all --db results.db"  # without folders


def test_one_split_is_compared_over_blocks_or_points(tmp_path):
    with image_store(tmp_path / "i.db", images(names=("map", "mc-dropout", "sghmc"))) as store:
        scope = payload(select(store))["scopes"][0]
    board = scope["metrics"]["log_likelihood"]
    assert board["kinds"] in (["blocks"], ["points"])
    assert board["pairs"]["mnist"]["half"][0] is not None


def test_other_budgets_have_sections_of_their_own(tmp_path):
    found = [outcome(cell("housing", m, index=i, budget=b), v + i / 10) for b in ("full", "quick")
             for m, v in (("map", -2.0), ("sgld", -3.0)) for i in range(3)]  # fmt: skip
    with fill(tmp_path / "b.db", found) as store:
        assert {s["budget"] for s in payload(select(store))["scopes"]} == {"full", "quick"}
        assert {s["budget"] for s in payload(select(store, budget="quick"))["scopes"]} == {"quick"}


@pytest.mark.parametrize(
    "outcomes",
    [
        pytest.param([outcome(cell("housing", "map", index=i), -2.0 - i) for i in range(3)], id="one method"),
        pytest.param([outcome(cell("housing", m), -2.0) for m in ("map", "sgld")], id="one fold"),
        pytest.param([lost(cell("housing", "map", index=i), Status.FAILED, "boom") for i in range(2)], id="failures"),
        pytest.param(
            [
                outcome(cell("housing", m, index=i), v)
                for m, v in (("map", math.nan), ("sgld", math.inf))
                for i in (0, 1)
            ],
            id="no finite score",
        ),
    ],
)
def test_odd_databases(tmp_path, outcomes):
    with fill(tmp_path / "o.db", outcomes) as store:
        found = payload(select(store))
    json.dumps(found, allow_nan=False)
    assert sum(len(own["row"]) for s in found["sections"] for own in s["cells"].values()) == len(outcomes)


def test_numbers_travel_with_six_digits():
    assert number(1234567.0) == 1234570
    assert number(np.float64(-0.123456789)) == -0.123457
    assert number(math.nan) is None
    assert number(pd.NA) is None
    assert (number(math.inf), number(-math.inf)) == ("∞", "−∞")


def test_names_have_places_in_the_order_of_mention():
    names = Names(["", "a"])
    assert [names.place(name) for name in ("b", "a", "b", "c")] == [2, 1, 2, 3]
    assert list(names) == ["", "a", "b", "c"]
