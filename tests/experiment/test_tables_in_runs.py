"""Tables with text and gaps from the command line to stored posteriors: packs, workers, resumes, predictions."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from own_tables import houses

import bnnbench
from bnnbench.cli import main
from bnnbench.engine.cell import Cell
from bnnbench.engine.pack import stack
from bnnbench.engine.packing import all_packs, shape_of
from bnnbench.engine.step import initial_state
from bnnbench.engine.validation import Monitor
from bnnbench.errors import UserError
from bnnbench.evaluation.evaluator import sets_of
from bnnbench.experiment.shipping import packed, unpacked
from bnnbench.methods.map import MAP
from bnnbench.names import parse_split
from bnnbench.store.store import ResultStore
from bnnbench.tasks.budget import BUDGETS
from bnnbench.tasks.own import own_tasks

CPU = torch.device("cpu")
DOCS = Path(__file__).resolve().parents[2] / "docs"
LIKE = {"budget": "smoke", "device": "cpu", "threads": 1}
METHODS_RUN = "constant,map,gp,ensemble-adversarial"  # two of them look into the table themselves


def invoke(line: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, shlex.split(line))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def task() -> bnnbench.Task:
    return bnnbench.Task.from_frame(houses(80), "price", group="agent", drop="sold", name="my-houses", hidden=(7,))


@pytest.fixture(scope="module")
def db(task, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "r.db"
    assert bnnbench.run(METHODS_RUN, task, splits=[0, 1, 2], db=path, jobs=1, **LIKE).statuses == {"ok": 12}
    return path


def test_rows_of_a_pack_are_those_of_each_split(task) -> None:
    """The tables of the splits lie one below the other; a split's cells share one."""
    cells = [Cell(task, MAP(), "grouped", index, seed, BUDGETS["smoke"]) for seed in (0, 1) for index in (0, 1)]
    pack = stack(cells, CPU, torch.float64)
    assert pack.offsets == (0, 80, 0, 80)
    assert len(pack.problem.table.x) == 160
    watched, sets = Monitor(pack, initial_state(pack)), sets_of(pack, shifted=False)
    for r, (cell, split) in enumerate(zip(cells, pack.splits, strict=True)):
        rows = pack.problem.rows
        own = task.encoded("grouped", cell.index)
        index = rows.index[r][rows.weight[r] > 0]
        np.testing.assert_array_equal(pack.problem.table.x[index], own.x[split.train])
        np.testing.assert_array_equal(pack.problem.table.y[index], own.y[split.train])
        np.testing.assert_allclose(rows.x_shift[r], own.x[split.train].mean(0))
        np.testing.assert_array_equal(watched.x[r][watched.mask[r]], own.x[split.validation])
        np.testing.assert_array_equal(watched.y[r][watched.mask[r]], own.y[split.validation])
        np.testing.assert_array_equal(sets[r]["test"].x, own.x[split.test])


def test_a_task_of_a_frame_goes_to_other_processes(task) -> None:
    """Equal to what it was there, so that what is loaded and encoded is kept from one pack to the next."""
    cell = unpacked(packed(Cell(task, MAP(), "grouped", 1, 0, BUDGETS["smoke"])))
    assert cell.task == task
    assert hash(cell.task) == hash(task)
    assert cell.task.encoded("grouped", 1) is task.encoded("grouped", 1)


def test_a_table_that_all_splits_encode_alike_is_kept_once() -> None:
    frame = houses(80).drop(columns=["area", "heating", "sold"])
    task = bnnbench.Task.from_frame(frame, "price", name="my-small")
    pack = stack([Cell(task, MAP(), "10fold", index, 0, BUDGETS["smoke"]) for index in range(3)], CPU)
    assert pack.offsets == (0, 0, 0)
    assert len(pack.problem.table.x) == 80


def test_splits_of_other_widths_are_other_packs() -> None:
    """A level that stands in one row is a column of nine splits of ten."""
    frame = houses(80).assign(district=lambda f: f["district"].where(f.index != 5, "castle"))
    task = bnnbench.Task.from_frame(frame, "price", drop="sold,agent", name="my-castle")
    cells = [Cell(task, MAP(), "10fold", index, 0, BUDGETS["smoke"]) for index in range(10)]
    widths = [shape_of(cell)[0] for cell in cells]
    castle = [bool((split.train == 5).any()) for split in task.splits("10fold")]
    assert 0 < sum(castle) < 10
    assert len({width for width, has in zip(widths, castle, strict=True) if has} & {
        width for width, has in zip(widths, castle, strict=True) if not has}) == 0  # fmt: skip
    for pack in all_packs(cells, CPU):
        assert len({shape_of(cell) for cell in pack}) == 1
        stack(pack, CPU)


def test_numbers_do_not_depend_on_the_pack(task, db: Path, tmp_path: Path) -> None:
    assert bnnbench.run("map,gp", task, splits=[2], db=tmp_path / "r.db", jobs=1, **LIKE).missing == 2
    alone = bnnbench.scores(tmp_path / "r.db", evaluation="test")
    packed = bnnbench.scores(db, evaluation="test", split="grouped-2")
    both = alone.merge(packed, on=["fingerprint", "metric"])
    assert len(both) == len(alone) > 0
    np.testing.assert_allclose(both["value_x"], both["value_y"], rtol=1e-4)


def test_posteriors_predict_rows_of_the_original_table(task, db: Path) -> None:
    """Without the task: the encoding, the labels and what makes the network are stored with them."""
    frame, found = houses(80), bnnbench.scores(db, evaluation="test", metric="rmse")
    for row in found[found["method"] != "constant"].itertuples():
        posterior = bnnbench.load(db, row.fingerprint)
        split = task.splits("grouped")[parse_split(row.split)[1]]
        test = frame.iloc[split.test].drop(columns=["price", "sold", "agent"])
        with ResultStore(db, read_only=True) as store:
            mean = store.artifact(row.fingerprint, "predictive")["test/mean"].mean(0)
        np.testing.assert_allclose(posterior.predict(test)["mean"], mean, rtol=1e-5)
        assert posterior.features == ("area", "district", "heating")
        gaps = test.assign(area=np.nan, heating=None, district="elsewhere")
        assert np.ptp(posterior.predict(gaps)["mean"]) < 1e-3  # rows without anything known are alike
        with pytest.raises(UserError, match="lacks the column 'heating'"):
            posterior.predict(test.drop(columns="heating"))


def test_resumed_and_rescored(task, db: Path) -> None:
    again = bnnbench.run(METHODS_RUN, task, splits=[0, 1, 2], calibrate="temperature", db=db, jobs=1, **LIKE)
    assert (again.missing, again.rescored, again.warnings) == (0, 12, ())
    other = bnnbench.Task.from_frame(houses(80).iloc[::-1], "price", group="agent", drop="sold", name="my-houses")
    assert bnnbench.run("constant", other, splits=[0], db=db, dry_run=True, **LIKE).missing == 1


def test_from_the_command_line_and_in_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BNNBENCH_DATA", str(tmp_path / "root"))
    frame = houses(80).assign(kind=lambda f: np.where(f["price"] > f["price"].median(), "dear", "cheap"))
    frame.drop(columns="price").to_csv(tmp_path / "my-houses.csv", index=False, sep=";", decimal=",")
    add = f"data add {tmp_path / 'my-houses.csv'} --target kind"
    status, said = invoke(add)
    assert status == 2
    assert "'sold' holds dates" in said
    assert not (tmp_path / "root").exists()
    status, said = invoke(f"{add} --drop agent --time sold --dry-run")
    assert (status, own_tasks(None)) == (0, [])
    for words in (
        "80 rows",
        "decimal comma",
        "category, 3 values: centre, north, south",
        "2 classes: cheap (40), dear (40)",
    ):
        assert words in said
    status, whole = invoke(f"{add} --drop agent --time sold")
    assert status == 0
    assert whole.startswith(said)
    assert "--task my-houses" in whole
    status, said = invoke(f"{add} --drop agent --time sold")
    assert status == 2
    assert "There is a table 'my-houses' already" in said
    for line in ("list tasks", "data list", "data verify"):
        status, said = invoke(line)
        assert "my-houses" in said
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    run = "run --methods constant,map,sgld --task my-houses --budget smoke --device cpu"
    status, said = invoke(f"{run} --db here.db --jobs 2")
    assert status == 0
    assert "15 ok now" in said
    assert "my-houses" in said.partition("log_likelihood")[2]
    assert "15 finished before" in invoke(f"{run} --db here.db --jobs 1")[1]
    assert invoke(f"{run} --db alone.db --jobs 1")[0] == 0
    one, two = bnnbench.scores("here.db"), bnnbench.scores("alone.db")
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    posterior = bnnbench.load("here.db", one[one["method"] == "map"].fingerprint.iloc[0])
    assert posterior.classes == ("cheap", "dear")
    assert posterior.predict(frame)["probabilities"].shape == (80, 2)
    assert invoke("data remove my-houses") == (0, "my-houses: removed\n")
    status, said = invoke(run)
    assert status == 2
    assert "There is no task 'my-houses'" in said
    np.testing.assert_array_equal(
        bnnbench.load("here.db", one[one["method"] == "map"].fingerprint.iloc[0]).predict(frame)["probabilities"],
        posterior.predict(frame)["probabilities"],
    )


@pytest.mark.parametrize(("given", "fault"), [
    ({"frame": [[1, 2]]}, "made from a DataFrame, not from list"),
    ({"target": "x"}, "--target names the column 'x'"),
    ({"name": "housing"}, "is that of a task"),
    ({"name": "a b"}, "makes no file name"),
    ({"depth": 3}, "no setting 'depth'"),
    ({"drop": 3}, "--drop takes names"),
])  # fmt: skip
def test_frames_that_make_no_task(given: dict, fault: str) -> None:
    with pytest.raises(UserError, match=fault):
        bnnbench.Task.from_frame(**{"frame": houses(), "target": "price", "drop": ["sold"], **given})


def test_the_page_of_the_manual_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its commands, at the smallest budget, and what it shows of the first."""
    page = (DOCS / "tables.md").read_text(encoding="utf-8")
    blocks = [block.splitlines() for block in re.findall(r"^```bash\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)]
    (add, run, report), listed = blocks
    shutil.copy(DOCS / "my-houses.csv", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BNNBENCH_DATA", str(tmp_path / "root"))
    status, said = invoke(add.removeprefix("bnnbench "))
    assert status == 0
    shown = re.findall(r"^```text\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)[0]
    assert [line.split() for line in said.splitlines() if line.strip()] == [
        line.split() for line in shown.splitlines() if line.strip()
    ]
    run = run.removeprefix("bnnbench ").replace("--budget quick", "--budget smoke --jobs 1 --device cpu")
    status, said = invoke(run)
    assert status == 0
    assert "30 cells: 0 finished before, 30 ok now." in said
    methods = run.partition("--methods ")[2].split()[0].split(",")
    assert len(methods) == 6
    assert all(re.search(rf"^ *{name} +\S+ ± ", said, re.MULTILINE) for name in methods)
    assert invoke(f"{report.removeprefix('bnnbench ')} --figures none")[0] == 0
    assert "my-houses" in (tmp_path / "houses" / "index.md").read_text(encoding="utf-8")
    for line in listed:
        status, said = invoke(line.removeprefix("bnnbench "))
        assert status == 0
        assert "my-houses" in said
