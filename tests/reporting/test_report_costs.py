"""Times stand beside one another only where they compare: one device, number of threads and size of packs."""

from dataclasses import replace

import pytest
from image_data import IMAGE_METHODS, IMAGE_TASKS, images
from report_data import METHODS, METRICS, SESSION, TASKS, cell, outcome, pages

from bnnbench.reporting.build import build
from bnnbench.reporting.select import select
from bnnbench.reporting.tables.costs import cost_tables, costs
from bnnbench.reporting.tables.failures import UNSCORED, troubles
from bnnbench.reporting.tables.summary import summary_tables
from bnnbench.store.store import ResultStore

SESSIONS = (SESSION, replace(SESSION, threads=1), replace(SESSION, device="NVIDIA H200"))


def timed(method: str, wall: float, pack: int, gradients: int, index: int = 0):
    return replace(
        outcome(cell("housing", method, index=index), -1.0), wall_s=wall, pack_size=pack, gradients=gradients
    )


@pytest.fixture
def selection(tmp_path):
    """map on two machines, sgld on the second, mc-dropout alone and in a pack, on three sessions."""
    work = (
        [timed("map", 20.0, 10, 5_000), timed("mc-dropout", 8.0, 1, 4_000)],
        [timed("map", 60.0, 10, 5_000, index=1), timed("sgld", 30.0, 10, 1_000)],
        [timed("mc-dropout", 8.0, 4, 4_000, index=1)],
    )
    with ResultStore(tmp_path / "c.db") as store:
        store.register(METHODS, TASKS, METRICS)
        for session, outcomes in zip(SESSIONS, work, strict=True):
            store.record(store.start_session(session), outcomes)
        yield select(store)


def test_a_table_for_each_of_the_conditions(selection):
    tables = {
        table.title.removeprefix("uci: cost on "): table.grid.markdown() for table in cost_tables(selection.sections[0])
    }
    assert list(tables) == [
        "NVIDIA H200, 2 threads, packs of 4 cells",
        "cpu, 1 thread, packs of 10 cells",
        "cpu, 2 threads, cells alone",
        "cpu, 2 threads, packs of 10 cells",
    ]
    rows = {name: [line.split("|")[1].strip() for line in text.splitlines()[2:]] for name, text in tables.items()}
    assert list(rows.values()) == [["mc-dropout"], ["map", "sgld"], ["mc-dropout"], ["map"]]
    assert "| 6.00 (1.20) |" in tables["cpu, 1 thread, packs of 10 cells"]  # 60 s / 10 cells; 6 s / 5,000 gradients
    assert "| 3.00 (3.00) |" in tables["cpu, 1 thread, packs of 10 cells"]
    assert "2.00 (0.400)" in tables["cpu, 2 threads, packs of 10 cells"]
    assert "8.00 (2.00)" in tables["cpu, 2 threads, cells alone"]


def test_no_mean_over_conditions(selection):
    frame = costs(selection.sections[0]).set_index(["method", "device", "threads", "pack_size"])
    assert frame.loc[("map", "cpu", 2, 10), "seconds_per_cell"] == 2.0
    assert frame.loc[("map", "cpu", 1, 10), "seconds_per_cell"] == 6.0
    assert frame.loc[("mc-dropout", "NVIDIA H200", 2, 4), "ms_per_gradient"] == pytest.approx(0.5)


def test_page_says_on_what(selection, tmp_path):
    build(selection.store, tmp_path / "out", formats=["md"])
    page = pages(tmp_path / "out")
    assert "On NVIDIA H200, 2 threads, packs of 4 cells:\n" in page


@pytest.mark.parametrize("machines", [1, 2])
def test_training_times_name_the_machine_where_there_are_several(machines, tmp_path):
    with ResultStore(tmp_path / "c.db") as store:
        store.register(IMAGE_METHODS, IMAGE_TASKS, METRICS)
        for session, name in zip((SESSION, SESSIONS[2 * (machines - 1)]), ("map", "swag"), strict=True):
            store.record(store.start_session(session), images("mnist", (name,)))
        found = select(store)
        table = next(summary_tables(found, found.sections[0]))
    at = table.grid.header.index("training (s)") - 1
    times = {row: texts[at][0] for row, texts in table.grid.rows}
    if machines == 1:
        assert times == {"map": "75", "swag": "255"}
        assert "on cpu, 2 threads." in table.caption
    else:
        assert times == {"map": "75 (b)", "swag": "255 (a)"}
        assert "on (a) NVIDIA H200, 2 threads, (b) cpu, 2 threads; times of different letters do not" in table.caption


def test_cells_whose_scores_are_gone_are_told(tmp_path):
    rows = [outcome(cell("housing", "map", index=i), -1.0) for i in range(3)]
    rows[1] = replace(rows[1], evaluations=())
    with ResultStore(tmp_path / "c.db") as store:
        store.register(METHODS, TASKS, METRICS)
        store.record(store.start_session(SESSION), rows)
        found = troubles(select(store).sections[0])
    assert found == [["map", "housing", "1", "ok: trained and scored", UNSCORED]]


def test_the_same_splits_missing_of_several_tasks_are_one_line(tmp_path):
    rows = [outcome(cell(task, "map", index=i), -1.0) for task in ("housing", "energy", "yacht") for i in range(4)]
    rows += [outcome(cell(task, "mc-dropout", index=i), -1.0) for task in ("housing", "energy") for i in range(2)]
    rows += [outcome(cell("yacht", "mc-dropout", index=i), -1.0) for i in (0, 1, 2)]
    with ResultStore(tmp_path / "c.db") as store:
        store.register(METHODS, TASKS, METRICS)
        store.record(store.start_session(SESSION), rows)
        found = [line[:3] for line in troubles(select(store).sections[0])]
    assert [(name, set(tasks.split(", ")), splits) for name, tasks, splits in found] == [
        ("mc-dropout", {"housing", "energy"}, "2, 3"),
        ("mc-dropout", {"yacht"}, "3"),
    ]
