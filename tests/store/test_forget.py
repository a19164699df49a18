"""What newer versions supersede is forgotten whole, with its files, and nothing else; whatever happens on the way."""

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlalchemy
from click.testing import CliRunner
from store_samples import SESSION, make_cell, make_outcome, prepared
from test_claims import ELSEWHERE, dead_owner

import bnnbench
from bnnbench.cli import main
from bnnbench.errors import UserError
from bnnbench.records import EvaluationRecord, MethodRecord, Score, TaskRecord
from bnnbench.store.claims import owner_id
from bnnbench.store.forget import forget
from bnnbench.store.store import ResultStore

OLD = [make_cell(0), make_cell(1), make_cell(2, config='{"lr": 1}'), make_cell(3, task="yacht", task_version="1+old")]
KEPT = [
    make_cell(0, method_version=2), make_cell(2, method="mcd", method_version=2), make_cell(4, method_version=2),
    make_cell(3, task="yacht", task_version="2+new", method_version=2),
    make_cell(2, method_version=2, config='{"lr": 2}'), make_cell(2, method_version=2, config="{}", label="lr=3"),
]  # fmt: skip
TABLES = ("cell", "attempt", "evaluation", "score", "curve", "artifact")


def outcome(cell, value=0.5):
    own = np.array([float.fromhex(f"0x{cell.fingerprint[:8]}")])
    return make_outcome(cell, value, artifacts={"posterior": {"w": own}, "predictive": {"p": own}},
                        curves={"training": {"step": [1], "loss": [0.5]}})  # fmt: skip


def filled(place, **options) -> None:
    """A database with results of old versions and new ones, and of a default that has changed."""
    store, session = prepared(place, **options)
    with store:
        store.register(tasks=[TaskRecord("yacht", "1+old", "regression", ("uci",), "", 1)])
        store.record(session, [outcome(cell) for cell in OLD])
        store.register([MethodRecord("bbp", 2, "Blundell 2015", (), 0)],
                       [TaskRecord("yacht", "2+new", "regression", ("uci",), "", 1)])  # fmt: skip
        changed = make_cell(2, method_version=2, config='{"lr": 0}')  # superseded by KEPT[4], of the same label
        store.record(session, [outcome(changed)])
        store.record(session, [outcome(cell) for cell in KEPT])
        store.record(session, [outcome(KEPT[0], 0.7)], force=True)  # equal arrays, so the files of both attempts


def files(folder: Path) -> set[str]:
    return {path.stem for path in folder.rglob("*.safetensors")}


def content(place) -> dict[str, pd.DataFrame]:
    with ResultStore(place, read_only=True) as store:
        return {"scores": store.scores(), "all": store.scores(latest_only=False), "attempts": store.attempts()}


def counts(place) -> dict[str, int]:
    with ResultStore(place, read_only=True) as store, store.reading() as connection:
        return {t: connection.execute(sqlalchemy.text(f"SELECT count(*) FROM {t}")).scalar_one() for t in TABLES}


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, path, monkeypatch):
    monkeypatch.chdir(path.parent)
    return path if request.param == "sqlite" else request.getfixturevalue("postgres").new()


@pytest.fixture
def database(path):
    filled(path)
    return path


def test_exactly_what_no_table_shows_is_forgotten(place):
    filled(place)
    before, rows = content(place), counts(place)
    (folder,) = Path.cwd().glob("*.artifacts")
    assert len(files(folder)) == 2 * (len(OLD) + 1 + len(KEPT))
    planned, stored = forget(place, superseded=True, dry_run=True), counts(place)
    assert stored == rows
    found = forget(place, superseded=True)
    after = content(place)
    pd.testing.assert_frame_equal(after["scores"], before["scores"])
    pd.testing.assert_frame_equal(after["attempts"], before["attempts"])
    pd.testing.assert_frame_equal(after["all"], before["scores"])
    assert set(before["all"]["fingerprint"]) - set(after["all"]["fingerprint"]) > {cell.fingerprint for cell in OLD}
    assert counts(place) == {"cell": 6, "attempt": 7, "evaluation": 7, "score": 14, "curve": 14, "artifact": 14}
    for told in (planned, found):
        assert told.cells.values.tolist() == [
            ["wine", "bbp", "default", "another default", 1],
            ["wine", "bbp", "default", "bbp 2", 3],
            ["yacht", "bbp", "default", "yacht 2, bbp 2", 1],
        ]
        assert (told.artifacts, len(told.files)) == (10, 10)
    assert sorted(planned.files) == sorted(found.files)
    assert len(files(folder)) == 2 * len(KEPT)
    with ResultStore(place, read_only=True) as store:
        for cell in KEPT:
            assert len(store.artifact(cell.fingerprint, "posterior")["w"]) == 1
    assert str(forget(place, superseded=True)).startswith("There is nothing to forget in ")


def test_a_file_that_is_still_named_stays(database):
    """Two attempts of a kept cell share one, and so might, in theory, a cell that goes."""
    with closing(sqlite3.connect(database)) as connection, connection:
        (kept,) = connection.execute(
            "SELECT path FROM artifact JOIN attempt a ON a.id = attempt_id JOIN cell c ON c.id = cell_id "
            "WHERE fingerprint = ? AND kind = 'posterior' LIMIT 1", (KEPT[1].fingerprint,)
        ).fetchone()  # fmt: skip
        connection.execute(
            "UPDATE artifact SET path = ? WHERE kind = 'posterior' AND attempt_id = "
            "(SELECT a.id FROM attempt a JOIN cell c ON c.id = cell_id WHERE fingerprint = ?)",
            (kept, OLD[0].fingerprint),
        )
    found = forget(database, superseded=True)
    assert kept not in found.files
    assert (database.parent / kept).is_file()


def test_a_dry_run_changes_no_byte(database):
    folder = database.parent
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    told = str(forget(database, superseded=True, artifacts=True, dry_run=True))
    assert told.startswith("Would forget 5 superseded cells and 24 artifacts (22 files, ")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_arrays_go_and_scores_stay(database):
    before = content(database)["all"]
    found = forget(database, artifacts=True)
    assert (found.artifacts, len(found.files), len(found.cells)) == (24, 22, 0)
    pd.testing.assert_frame_equal(content(database)["all"], before)
    assert files(database.parent) == set()
    with ResultStore(database, read_only=True) as store:
        assert len(store.curves("training")) == 6
        with pytest.raises(UserError, match=r"No posterior is stored for cell .*, nothing; train it again"):
            store.artifact(KEPT[0].fingerprint, "posterior")


def test_secondary_scores_of_training_and_validation_rows_go(place):
    filled(place)
    scores = (Score("rmse", 0.5, 0.1), Score("log_likelihood", -0.5, None))  # the second is no headline here
    rows = tuple(EvaluationRecord(name, 160, scores, {}) for name in ("train", "validation", "test"))
    with ResultStore(place) as store:
        store.record(store.start_session(SESSION), [make_outcome(make_cell(9, method_version=2), evaluations=rows)])
    before = content(place)["all"]
    gone = (before["metric"] == "log_likelihood") & before["evaluation"].isin(["train", "validation"])
    assert gone.sum() == 2
    assert forget(place, secondary=True, dry_run=True).scores == 2
    pd.testing.assert_frame_equal(content(place)["all"], before)
    found = forget(place, secondary=True)
    assert str(found).startswith("Forgot 2 secondary scores of ")
    pd.testing.assert_frame_equal(content(place)["all"], before[~gone].reset_index(drop=True))
    assert str(forget(place, secondary=True)).startswith("There is nothing to forget in ")


def test_nothing_is_forgotten_while_somebody_works_on_it(database):
    before = counts(database)
    for owner, sentence in ((ELSEWHERE, "process 1 on another-host"), (owner_id(), r"process \d+ on ")):
        with ResultStore(database) as store:
            assert store.claim([OLD[1]], owner, force=True)
        for options in ({"superseded": True}, {"artifacts": True}):
            with pytest.raises(UserError, match=f"1 of the cells are being trained by {sentence}.*nothing was forgot"):
                forget(database, **options)
        with ResultStore(database) as store:
            store.release(owner)
    assert counts(database) == before
    with ResultStore(database) as store:
        assert store.claim([KEPT[1]], ELSEWHERE, force=True)  # of a cell that stays
        assert store.claim([OLD[1]], dead_owner(), force=True)
    assert forget(database, superseded=True).cells["cells"].sum() == 5


KILLED = """
import os, signal, sys
from pathlib import Path
from bnnbench.store import forget as module

def die(*_): os.kill(os.getpid(), signal.SIGKILL)

moment, db = sys.argv[1:]
if moment == "before the commit":
    module._note = die
elif moment == "before the files":
    module._Forgetting.remove_files = die
elif moment == "among the files":
    unlink, left = Path.unlink, [3]
    def some(path, **more):
        left[0] -= 1
        unlink(path, **more) if left[0] >= 0 else die()
    Path.unlink = some
else:
    module._Forgetting._forget_note = die
module.forget(db, superseded=True)
"""


@pytest.mark.parametrize("moment", ["before the commit", "before the files", "among the files", "before the note goes"])
def test_whoever_is_killed_leaves_it_undone_or_to_be_finished(database, moment):
    before, kept = counts(database), content(database)["scores"]
    run = subprocess.run([sys.executable, "-c", KILLED, moment, str(database)], check=False)
    assert run.returncode == -signal.SIGKILL
    left = {"before the commit": 10, "before the files": 10, "among the files": 7, "before the note goes": 0}[moment]
    assert counts(database)["cell"] == (before["cell"] if moment == "before the commit" else 6)
    pd.testing.assert_frame_equal(content(database)["scores"], kept)
    assert len(files(database.parent)) == 2 * len(KEPT) + left
    assert len(forget(database, superseded=True).files) == left
    assert len(files(database.parent)) == 2 * len(KEPT)
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT count(*) FROM setting").fetchone() == (0,)
    assert str(forget(database, superseded=True)) == f"There is nothing to forget in {database}."


def test_a_file_that_cannot_be_removed_is_told_and_left_to_a_further_call(database, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        with pytest.raises(UserError, match=r"Cannot remove .*safetensors \(Permission denied\)"):
            forget(database, superseded=True)
    assert counts(database)["cell"] == 6
    assert len(forget(database, superseded=True).files) == 10


def test_a_path_that_leads_elsewhere_is_left_alone(database):
    outside = database.parent.parent / "mine.txt"
    outside.write_text("mine", encoding="utf-8")
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE artifact SET path = '../mine.txt'")
    assert forget(database, superseded=True, artifacts=True).files == []
    assert outside.read_text(encoding="utf-8") == "mine"


def test_the_file_shrinks(database):
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE curve SET content = randomblob(40000) WHERE attempt_id <= 4")
    size = database.stat().st_size
    found = forget(database, superseded=True)
    assert (found.before, found.after) == (size, database.stat().st_size)
    assert found.after < size - 300_000
    assert "MB now instead of" in str(found)
    assert [path.name for path in database.parent.iterdir() if path.is_file()] == [database.name]


def test_a_file_that_somebody_holds_keeps_its_size_until_later(database, caplog):
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE curve SET content = randomblob(40000)")
    size = database.stat().st_size
    with closing(sqlite3.connect(database, isolation_level=None)) as other, ResultStore(database, timeout=0.1) as store:
        with store.writing() as session:
            session.execute(sqlalchemy.text("DELETE FROM curve"))
        other.execute("BEGIN IMMEDIATE")
        store.compact()
        other.rollback()
    assert f"{database} keeps its size for now (another program holds it); forget again later." in caplog.messages
    assert database.stat().st_size == size
    assert forget(database, superseded=True).after < size / 2
    assert counts(database)["curve"] == 0


def test_the_command_says_it_in_a_sentence(database, tmp_path):
    def run(*arguments):
        result = CliRunner().invoke(main, ["forget", *arguments])
        return result.exit_code, result.output

    db = ["--db", str(database)]
    asked = "Error: Say what is to be forgotten: --superseded, --artifacts, --secondary or several of them.\n"
    assert run(*db) == (2, asked)
    status, told = run("--superseded", "--db", str(tmp_path / "none.db"))
    assert (status, "There is no database at" in told) == (2, True)
    assert not (tmp_path / "none.db").exists()
    status, told = run("--superseded", "--dry-run", *db)
    assert (status, "yacht 2, bbp 2" in told) == (0, True)
    assert "Would forget 5 superseded cells and 10 artifacts (10 files, " in told
    status, told = run("--superseded", *db)
    assert status == 0
    assert told.startswith("Forgot 5 superseded cells and 10 artifacts (10 files, ")
    assert len(told.splitlines()) == 1
    assert run("--superseded", *db) == (0, f"There is nothing to forget in {database}.\n")


def test_from_python(database):
    assert bnnbench.forget(database, superseded=True, dry_run=True).dry_run
    assert bnnbench.forget(database, superseded=True).cells["cells"].sum() == 5
    with pytest.raises(UserError, match="Say what is to be forgotten"):
        bnnbench.forget(database)
