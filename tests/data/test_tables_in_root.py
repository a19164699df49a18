"""Tables of one's own in the data root: written whole, read back to the bit, checked, removed."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from own_tables import houses, understood

from bnnbench.data.guessing import Wishes
from bnnbench.data.own import own_card, own_cards, own_data, own_names, own_states, remove_table, write_table
from bnnbench.data.reading import Form
from bnnbench.errors import UserError
from bnnbench.registry import PluginWarning, warn
from bnnbench.tasks.own import all_tasks, from_file, own_tasks

NAMES = {"area": 'area "m²"\\ [\x7f]', "district": "district\n= x"}


def add(root: Path, name: str = "my-houses", **wishes) -> None:
    wishes = wishes or {"drop": "agent", "time": "sold"}
    write_table(root, name, understood(houses(), **wishes), source="houses.csv", time=wishes.get("time", ""))


@pytest.mark.parametrize("wishes", [
    {"drop": ("agent", "sold")}, {"drop": "agent", "time": "sold"}, {"group": "agent", "time": "sold"},
    {"target": "district", "drop": ("agent", "sold", "price")},
])  # fmt: skip
def test_what_is_written_is_read(wishes: dict, tmp_path: Path) -> None:
    frame = houses().rename(columns=NAMES)
    wishes = {"target": "price", **wishes}
    wishes["target"] = NAMES.get(wishes["target"], wishes["target"])
    table = understood(frame, **wishes)
    write_table(tmp_path, "t", table, source='my "file".csv')
    card = own_card("t", tmp_path)
    (task,) = own_tasks(tmp_path)
    data = task.data()
    for name in ("x", "y", "group", "time"):
        np.testing.assert_array_equal(getattr(data, name), getattr(table.data, name))
    for name in ("checksum", "columns", "classes", "features", "target", "notes"):
        assert getattr(data, name) == getattr(table.data, name)
    assert (task.kind, task.rules, task.groups) == (table.kind, table.rules, ("own",))
    assert (card.rows, card.source) == (60, 'my "file".csv')
    assert card.splits == {rule: len(task.splits(rule)) for rule in table.rules}


def test_names_that_are_taken(tmp_path: Path) -> None:
    add(tmp_path)
    path = tmp_path / "t.csv"
    houses().to_csv(path, index=False)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    wishes = Wishes("price", drop=("agent", "sold"))
    for name, fault in {
        "MY-Houses": "table 'my-houses' already", "housing": "'housing' is that of a task", "kmnist": "or a data set",
        "uci": "is that of a task, a group", "all": "give another --name", "own": "give another --name",
        "a/b": "makes no file name", "..": "makes no file name", "x" * 61: "at most 60",
    }.items():  # fmt: skip
        with pytest.raises(UserError, match=fault):
            from_file(path, wishes, Form(), name, tmp_path).write(tmp_path)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
    from_file(path, wishes, Form(), "", tmp_path).write(tmp_path)
    assert own_names(tmp_path) == ["my-houses", "t"]


def test_removed(tmp_path: Path) -> None:
    add(tmp_path)
    add(tmp_path, "other")
    remove_table(tmp_path, "my-houses")
    assert [task.name for task in own_tasks(tmp_path)] == ["other"]
    assert sorted(path.name for path in (tmp_path / "own").iterdir()) == ["other"]
    with pytest.raises(UserError, match=r"no table 'others' in .*; did you mean other"):
        remove_table(tmp_path, "others")
    remove_table(tmp_path, "other")
    with pytest.raises(UserError, match="there is none at all"):
        remove_table(tmp_path, "..")


def test_another_table_of_the_same_name_is_another_task(tmp_path: Path) -> None:
    """Also in one process, which keeps what it has loaded."""
    add(tmp_path)
    (before,) = own_tasks(tmp_path)
    first = before.data()
    remove_table(tmp_path, "my-houses")
    add(tmp_path, drop=("agent", "sold"))
    (after,) = own_tasks(tmp_path)
    assert own_tasks(tmp_path) == [after]
    assert after != before
    assert after.data().checksum != first.checksum


@pytest.mark.parametrize(("file", "change", "fault"), [
    ("table.npz", lambda b: b[:-1] + bytes([b[-1] ^ 1]), "does not match its checksum; remove the table by"),
    ("table.npz", None, "is missing; remove the table by `bnnbench data remove my-houses` and add it again"),
    ("card.toml", lambda b: b.replace(b"rows = 60", b"rows = 61"), "it has 60 rows and 3 inputs"),
])  # fmt: skip
def test_altered_tables(file: str, change, fault: str, tmp_path: Path) -> None:
    add(tmp_path)
    path = tmp_path / "own" / "my-houses" / file
    assert [state.state for state in own_states(tmp_path)] == ["ok"]
    if change is None:
        path.unlink()
    else:
        path.write_bytes(change(path.read_bytes()))
    with pytest.raises(UserError, match=fault) as refused:
        own_data(own_card("my-houses", tmp_path), tmp_path)
    assert "\n" not in str(refused.value)
    if file == "table.npz":
        assert [state.state for state in own_states(tmp_path)] == ["missing" if change is None else "corrupt"]


@pytest.mark.parametrize(
    "card", ["", "title = ", "inputs = 3", 'inputs = [{kind = "date", name = "x"}]', "more = 1\ninputs = []"]
)
def test_a_card_that_cannot_be_read_is_left_out_with_a_sentence(card: str, tmp_path: Path) -> None:
    add(tmp_path)
    add(tmp_path, "broken")
    (tmp_path / "own" / "broken" / "card.toml").write_text(card, encoding="utf-8")
    warn.cache_clear()
    with pytest.warns(PluginWarning, match=r"card.toml cannot be read .*`bnnbench data remove broken`"):
        assert [card.name for card in own_cards(tmp_path)] == ["my-houses"]
    assert [(state.name, state.state) for state in own_states(tmp_path)] == [("broken", "corrupt"), ("my-houses", "ok")]
    remove_table(tmp_path, "broken")


def test_a_table_whose_name_a_task_has_taken_is_left_out(tmp_path: Path) -> None:
    """As after an update of bnnbench."""
    add(tmp_path, "a-yacht")
    (tmp_path / "own" / "a-yacht").rename(tmp_path / "own" / "yacht")
    add(tmp_path)
    warn.cache_clear()
    with pytest.warns(PluginWarning, match="The task 'yacht' cannot be taken"):
        tasks = all_tasks(tmp_path)
    assert tasks.get("yacht").groups == ("uci",)
    assert tasks.groups()["own"] == ["my-houses"]


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="needs permissions that hold")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match=r"Cannot write .*--data-dir"):
        add(tmp_path)


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(UserError, match="free some disk space"):
        add(tmp_path)
    assert not list((tmp_path / "own").iterdir())
    assert re.match("ok|$", "".join(state.state for state in own_states(tmp_path)))
