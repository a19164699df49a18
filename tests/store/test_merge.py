"""Databases into one: everything is taken along, contradictions are named, and nothing is ever half-written."""

import errno
import hashlib
import signal
import sqlite3
import subprocess
import sys
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import datetime

import numpy as np
import pandas as pd
import pytest
import sqlalchemy
from store_samples import METHODS, METRICS, SESSION, TASKS, make_cell, make_outcome, prepared
from test_claims import ELSEWHERE

from bnnbench.errors import StorageError, UserError
from bnnbench.records import EvaluationRecord, MethodRecord, MetricRecord, Score, Status, TaskRecord
from bnnbench.store import merge as module
from bnnbench.store.conflicts import MergeConflict
from bnnbench.store.schema import HEAD
from bnnbench.store.source import source
from bnnbench.store.store import ResultStore

TABLES = (
    "session",
    "method",
    "task",
    "metric",
    "cell",
    "attempt",
    "evaluation",
    "score",
    "curve",
    "artifact",
    "setting",
    "verdict",
)


def merge(sources, into, **options):
    with ExitStack() as stack:
        return module.merge([stack.enter_context(source(db)) for db in sources], into, **options)


def outcome(cell, value=0.5, status=Status.OK, **changes):
    """With arrays and a training curve that no other cell and no other value has."""
    own = np.array([value, int(cell.fingerprint[:8], 16)])
    done = status is Status.OK
    arrays = {"posterior": {"w": own}, "predictive": {"p": own}} if done else {}
    return make_outcome(cell, value, status, artifacts=arrays, curves={"training": {"step": [1], "loss": [value]}},
                        **changes)  # fmt: skip


def made(place, *outcomes, command="bnnbench run", **options):
    store, session = prepared(place, command, **options)
    with store:
        store.record(session, outcomes)
    return place


def count(place) -> dict[str, int]:
    with ResultStore(place, read_only=True) as store, store.reading() as connection:
        return {t: connection.execute(sqlalchemy.text(f"SELECT count(*) FROM {t}")).scalar_one() for t in TABLES}


def shown(place) -> dict[str, pd.DataFrame]:
    """All that can be read, in the order of the content."""
    with ResultStore(place, read_only=True) as store:
        sessions = store.sessions()
        attempts = store.attempts(latest_only=False)
        names = dict(zip(sessions["id"], sessions["command"], strict=True))
        curves = store.curves("pit", latest_only=False) + store.curves("training", latest_only=False)
        return {
            "scores": store.scores(latest_only=False),
            "attempts": attempts.assign(session=attempts["session"].map(names)),
            "sessions": sessions.drop(columns="id").sort_values("command", ignore_index=True),
            "methods": store.methods(latest_only=False),
            "tasks": store.tasks(latest_only=False),
            "metrics": store.metrics(),
            "verdicts": store.verdicts(),
            "curves": pd.DataFrame([(c["fingerprint"], str(e), {k: v.tolist() for k, v in s.items()})
                                    for c, e, s in curves]).sort_values([0, 1], ignore_index=True),
        }  # fmt: skip


def assert_same(one, other, without=()) -> None:
    first, second = shown(one), shown(other)
    for name in first.keys() - set(without):
        pd.testing.assert_frame_equal(first[name], second[name])


def files(folder) -> dict[str, str]:
    return {p.stem: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*.safetensors")}


@pytest.fixture
def two(tmp_path):
    """Two databases of different cells, of which they share one that one of them trained after a copy."""
    a = made(tmp_path / "a.db", *(outcome(make_cell(i)) for i in range(3)), command="run a")
    lost = outcome(make_cell(0, method="mcd", method_version=2), status=Status.DIVERGED)
    b = made(tmp_path / "b.db", *(outcome(make_cell(i), 0.75) for i in range(3, 6)), lost, command="run b")
    return a, b


@pytest.fixture(params=["sqlite", "postgresql"])
def target(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "all.db" if request.param == "sqlite" else request.getfixturevalue("postgres").new()


def test_one_database_becomes_an_equal_one(two, target, tmp_path):
    _, b = two
    told = merge([b], target)
    assert_same(b, target)
    assert str(told).startswith("Merged 1 database into ")
    assert ": 4 cells, 4 of them new, 6 artifacts (0.0 MB)." in str(told)
    (folder,) = (f for f in tmp_path.glob("*.artifacts") if f.name not in ("a.artifacts", "b.artifacts"))
    assert files(folder) == files(tmp_path / "b.artifacts") != {}
    with ResultStore(target, read_only=True) as store:
        assert store.artifact(make_cell(4).fingerprint, "posterior")["w"][0] == 0.75


def test_everything_of_all_is_there_and_a_second_time_nothing_happens(two, target):
    told = merge(two, target)
    assert [row[1:] for row in told.rows()] == [(3, 3, 3, 0, 6), (4, 4, 4, 0, 6)]
    counted, content = count(target), shown(target)
    assert counted == {"session": 2, "method": 2, "task": 1, "metric": 2, "cell": 7, "attempt": 7, "evaluation": 6,
                       "score": 12, "curve": 13, "artifact": 12, "verdict": 0,
                       "setting": int(str(target).startswith("postgresql"))}  # fmt: skip
    fingerprints = content["scores"].set_index("fingerprint")["value"]
    for db in two:
        own = shown(db)["scores"].set_index("fingerprint")["value"]
        assert fingerprints[fingerprints.index.isin(own.index)].sort_index().equals(own.sort_index())
    again = merge([*two, *two], target)
    assert count(target) == counted
    assert [row[2:] for row in again.rows()] == [(0, 0, 0, 0)] * 4
    assert merge(two[::-1], target, prefer="last").conflicts == ()


def test_verdicts_join_where_a_configuration_was_not_checked(two, target):
    about = {"name": "mean", "figure": 0.1, "limit": 0.3, "note": "mean 1.0, true 0.9"}
    for db, config, passed in ((two[0], "{}", True), (two[1], "{}", False), (two[1], '{"lr": 1}', False)):
        with ResultStore(db) as store:
            store.add_verdicts(1, METHODS[0], config, config, [{**about, "passed": passed}])
    for _ in range(2):
        merge(two, target)
    assert shown(target)["verdicts"][["method", "config", "passed"]].values.tolist() == [
        ["bbp", '{"lr": 1}', False],
        ["bbp", "{}", True],
    ]


def test_a_server_as_the_source(postgres, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    server, back = postgres.new(), tmp_path / "back.db"
    made(server, *(outcome(make_cell(i)) for i in range(3)))
    merge([server], back)
    assert_same(server, back)
    assert len(files(tmp_path / "back.artifacts")) == 6
    with pytest.raises(UserError, match="cannot be merged into itself"):
        merge([server], server)


def test_claims_and_cells_that_were_only_claimed_stay_behind(two, tmp_path):
    with ResultStore(two[0]) as store:
        assert store.claim([make_cell(0), make_cell(9)], ELSEWHERE, force=True)
    merge(two, tmp_path / "all.db")
    with ResultStore(tmp_path / "all.db") as store:
        assert store.running().empty
        assert make_cell(9).fingerprint not in set(store.attempts()["fingerprint"])
        assert count(tmp_path / "all.db")["cell"] == 7
    with ResultStore(two[0]) as store:
        assert len(store.running()) == 2


def test_a_claim_in_the_target_stands(two, tmp_path):
    a, b = two
    with ResultStore(a) as store:
        assert store.claim([make_cell(3), make_cell(8)], ELSEWHERE)
    merge([b], a)
    with ResultStore(a) as store:
        assert len(store.running()) == 2
        assert store.missing([make_cell(3), make_cell(8)]) == [make_cell(8)]


def test_definitions_of_several_versions_stand_side_by_side(two, tmp_path):
    a, b = two
    with ResultStore(b) as store:
        task = TaskRecord("wine", "2+sha256:bb", "regression", ("uci",), "", 0)
        crps = MetricRecord("crps", -1, "y", "x", order=2)
        store.register([MethodRecord("bbp", 2, "Blundell 2015", (), 0)], [task], [crps])
        new = make_cell(0, method_version=2, task_version="2+sha256:bb")
        store.record(store.start_session(SESSION), [outcome(new, 0.9)])
    for name, order in (("ab", [a, b]), ("ba", [b, a])):  # whichever comes first
        place = tmp_path / f"{name}.db"
        merge(order, place)
        with ResultStore(place, read_only=True) as store:
            current = store.methods(), store.tasks()
            assert [dict(zip(f["name"], f["version"], strict=True)) for f in current] == [
                {"bbp": 2, "mcd": 2}, {"wine": "2+sha256:bb"},
            ]  # fmt: skip
            assert store.scores()["fingerprint"].unique().tolist() == [new.fingerprint]
            assert len(store.attempts(latest_only=False)) == 8
            assert set(store.metrics()["name"]) == {"rmse", "log_likelihood", "crps"}


def test_a_metric_that_nobody_defined_gets_the_definition_that_another_knows(two, tmp_path):
    a, b = two
    extra = (EvaluationRecord("test", 3, (Score("mine", 1.0, None),)),)
    made(a, outcome(make_cell(7), evaluations=extra))
    with ResultStore(b) as store:
        store.register(metrics=[MetricRecord("mine", -1, "m", "my own", order=7)])
    for order in ([a, b], [b, a]):
        place = tmp_path / f"{order[0].stem}-first.db"
        merge(order, place)
        with ResultStore(place, read_only=True) as store:
            (mine,) = store.metrics().set_index("name").loc[["mine"]].to_dict("records")
            assert (mine["better"], mine["summary"]) == (-1, "my own")


def test_two_ways_to_define_one_metric_are_a_conflict(two, tmp_path):
    with ResultStore(two[1]) as store:
        store.register(metrics=[replace(METRICS[0], better=1)])
    with pytest.raises(MergeConflict) as caught:
        merge(two, tmp_path / "all.db")
    assert caught.value.conflicts == [
        f"The metric rmse is defined in two ways: better is -1 in {tmp_path / 'all.db'} and 1 in {two[1]}."
    ]
    for prefer, better in (("first", -1), ("last", 1)):
        merge(two, tmp_path / f"{prefer}.db", prefer=prefer)
        with ResultStore(tmp_path / f"{prefer}.db", read_only=True) as store:
            assert store.metrics().set_index("name")["better"]["rmse"] == better


def trained_twice(tmp_path, later="b", **second):
    """Two databases that have trained one cell each by itself, of other numbers; one of them finished later."""
    a = made(tmp_path / "a.db", outcome(make_cell(0), 0.5), outcome(make_cell(1)), command="run a")
    b = made(tmp_path / "b.db", outcome(make_cell(0), **{"value": 0.25, **second}), command="run b")
    for place, hour in ((a, 2), (b, 3 if later == "b" else 1)):
        with closing(sqlite3.connect(place)) as connection, connection:
            connection.execute("UPDATE attempt SET finished = ?", (f"2026-01-01 0{hour}:00:00.000000",))
    return a, b


def value(place):
    with ResultStore(place, read_only=True) as store:
        own = store.scores(fingerprint=make_cell(0).fingerprint, evaluation="test", metric="rmse")
        assert len(own) == 1
        return own["value"].iloc[0]


def test_other_numbers_of_one_cell_are_named_one_by_one_and_nothing_is_written(tmp_path):
    a, b = trained_twice(tmp_path)
    place = tmp_path / "all.db"
    with pytest.raises(MergeConflict) as caught:
        merge([a, b], place)
    cell = f"bbp on wine 10fold-0 (seed 0, quick, cell {make_cell(0).fingerprint[:12]})"
    assert caught.value.conflicts == [
        f"{cell}: rmse of test is 0.5 in {a} and 0.25 in {b}, and 1 more scores differ."
    ] or caught.value.conflicts == [
        f"{cell}: log_likelihood of test is -0.5 in {a} and -0.25 in {b}, and 1 more scores differ."
    ]
    assert str(caught.value).startswith("The databases contradict each other in 1 conflict, and nothing was merged; ")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.artifacts", "a.db", "b.artifacts", "b.db"]
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(MergeConflict):
        merge([b], a)
    after = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert before.keys() == after.keys()
    assert all(data[100:] == after[p][100:] for p, data in before.items())  # SQLite counts who opened a file


@pytest.mark.parametrize(
    ("prefer", "later", "wins"),
    [("first", "b", 0.5), ("last", "a", 0.25), ("newest", "b", 0.25), ("newest", "a", 0.5)],
)
def test_the_rule_says_which_is_the_current_one_and_the_other_is_history(tmp_path, prefer, later, wins, target):
    a, b = trained_twice(tmp_path, later)
    told = merge([a, b], target, prefer=prefer)
    assert len(told.conflicts) == 1
    assert str(told).endswith(f" 1 conflicts were settled by --prefer {prefer}.")
    assert value(target) == wins
    counted = count(target)
    assert (counted["cell"], counted["attempt"], counted["score"], counted["artifact"]) == (2, 3, 6, 6)
    with ResultStore(target, read_only=True) as store:
        assert store.artifact(make_cell(0).fingerprint, "posterior")["w"][0] == wins
        (training,) = [s for c, _, s in store.curves("training") if c["fingerprint"] == make_cell(0).fingerprint]
        assert training["loss"].tolist() == [wins]
    assert merge([a, b], target).conflicts == ()  # what was decided stays so
    assert (value(target), count(target)) == (wins, counted)


@pytest.mark.parametrize(("mine", "theirs", "wins"), [
    (Status.FAILED, Status.OK, Status.OK), (Status.OK, Status.FAILED, Status.OK),
    (Status.TIMEOUT, Status.OK, Status.OK), (Status.FAILED, Status.TIMEOUT, Status.TIMEOUT),
    (Status.DIVERGED, Status.TIMEOUT, Status.DIVERGED),
])  # fmt: skip
def test_what_did_not_end_gives_way_without_a_conflict(tmp_path, mine, theirs, wins):
    a = made(tmp_path / "a.db", outcome(make_cell(0), status=mine, message="a"))
    b = made(tmp_path / "b.db", outcome(make_cell(0), status=theirs, message="b"))
    assert merge([b], a).conflicts == ()
    with ResultStore(a, read_only=True) as store:
        assert store.attempts()["status"].tolist() == [wins.value]
        assert store.missing([make_cell(0)]) == []
    assert count(a)["attempt"] == 2


def test_another_end_is_a_conflict(tmp_path):
    a, b = trained_twice(tmp_path, status=Status.DIVERGED)
    with pytest.raises(MergeConflict, match=r"ended `ok` in .*a.db and `diverged` in .*b.db\."):
        merge([a, b], tmp_path / "all.db")


def test_equal_numbers_are_no_conflict_and_their_further_evaluations_join(tmp_path):
    more = EvaluationRecord("train", 9, (Score("rmse", 0.125, None),), {"pit": {"x": [0.5]}})
    a = made(tmp_path / "a.db", outcome(make_cell(0)))
    once = outcome(make_cell(0), wall_s=9.0)
    b = made(tmp_path / "b.db", replace(once, evaluations=(*once.evaluations, more)))
    told = merge([b], a)
    assert (told.conflicts, told.taken[0].joined.evaluations) == ((), 1)
    with ResultStore(a, read_only=True) as store:
        assert store.scores()["evaluation"].tolist() == ["test", "test", "train"]
        assert store.attempts()["wall_s"].tolist() == [0.0]  # its own stays
        assert len(store.curves("pit")) == 2
    counted = count(a)
    assert counted["attempt"] == 2
    merge([b], a)
    assert count(a) == counted


@pytest.mark.parametrize("seconds", [0, 1], ids=["within a second", "later"])
def test_who_has_gone_on_from_the_other_is_right(tmp_path, seconds):
    """A copy trained the cell again, by force: that is no contradiction, in whichever direction they are merged."""
    a = made(tmp_path / "a.db", outcome(make_cell(0), 0.5))
    b = tmp_path / "b.db"
    merge([a], b)
    with ResultStore(b) as store:
        store.record(store.start_session(SESSION), [outcome(make_cell(0), 0.75, wall_s=1.0)], force=True)
    for place in (a, b):  # the sessions are alike but for the second in which each began
        with closing(sqlite3.connect(place)) as connection, connection:
            ids = [number for (number,) in connection.execute("SELECT id FROM session ORDER BY id")]
            for later, number in enumerate(ids):
                begun = f"2026-01-01 00:00:0{later * seconds}.000000"
                connection.execute("UPDATE session SET started = ? WHERE id = ?", (begun, number))
    merge([a], b)
    assert (value(b), count(b)["attempt"]) == (0.75, 2)
    merge([b], a)
    assert (value(a), count(a)["attempt"]) == (0.75, 2)


def test_what_was_scored_later_joins_the_attempt(tmp_path):
    """The same attempt in both; one has another test set and a metric more."""
    a = made(tmp_path / "a.db", outcome(make_cell(0)))
    b = tmp_path / "b.db"
    merge([a], b)
    with ResultStore(b) as store:
        store.add_evaluations(make_cell(0).fingerprint, [EvaluationRecord("kmnist", 5, (Score("auroc", 0.75, None),))])
    with closing(sqlite3.connect(b)) as connection, connection:
        connection.execute("INSERT INTO metric (name, better, unit, summary, kinds) VALUES ('crps', -1, '', 'x', '[]')")
        connection.execute(
            "INSERT INTO score SELECT e.id, m.id, 0.375, NULL, NULL FROM evaluation e, metric m "
            "WHERE e.name = 'test' AND m.name = 'crps'"
        )
    told = merge([b], a)
    assert (told.taken[0].joined.evaluations, told.taken[0].joined.scores, count(a)["attempt"]) == (1, 1, 1)
    with ResultStore(a, read_only=True) as store:
        found = store.scores().set_index(["evaluation", "metric"])["value"].to_dict()
    assert found[("kmnist", "auroc")] == 0.75
    assert found[("test", "crps")] == 0.375


def test_another_score_of_one_attempt_is_a_conflict(tmp_path):
    a = made(tmp_path / "a.db", outcome(make_cell(0)))
    b = tmp_path / "b.db"
    merge([a], b)
    with closing(sqlite3.connect(b)) as connection, connection:
        connection.execute("UPDATE score SET value = 7 WHERE metric_id = (SELECT id FROM metric WHERE name = 'rmse')")
    with pytest.raises(MergeConflict, match=r"rmse of test is 0\.5 in .*a.db and 7 in .*b.db\."):
        merge([b], a)
    merge([b], a, prefer="first")
    assert value(a) == 0.5
    merge([b], a, prefer="last")
    assert (value(a), count(a)["score"], count(a)["curve"]) == (7, 2, 2)


def test_rounding_is_no_conflict(tmp_path):
    a = made(tmp_path / "a.db", outcome(make_cell(0), 0.1))
    b = made(tmp_path / "b.db", outcome(make_cell(0), 0.1 * (1 + 1e-12), wall_s=3.0))
    assert merge([a, b], tmp_path / "all.db").conflicts == ()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_an_older_database_is_read_as_a_copy(kind, tmp_path, request, monkeypatch):
    from test_migrations import database_of, every_cell, rows_of  # which load all methods

    monkeypatch.chdir(tmp_path)
    path = tmp_path / "old.db"
    url = f"sqlite:///{path}" if kind == "sqlite" else request.getfixturevalue("postgres").new()
    cells = every_cell()[:6]
    engine = database_of(url.replace("postgresql:", "postgresql+psycopg:"), "0004",
                         rows_of(cells, [cell.record for cell in cells], "citation"))  # fmt: skip
    engine.dispose()
    before = path.read_bytes() if path.exists() else b""
    told = merge([url], tmp_path / "all.db")
    assert told.taken[0].joined.new == len(cells)
    with ResultStore(tmp_path / "all.db") as store:
        assert store.missing([cell.record for cell in cells]) == []
        assert sorted(store.scores(latest_only=False)["value"]) == [i / 7 for i in range(1, 7)]
    assert (path.read_bytes() if path.exists() else b"") == before
    with engine.connect() as connection:
        assert connection.scalar(sqlalchemy.text("SELECT version_num FROM alembic_version")) == "0004"
    engine.dispose()


def test_artifacts_of_an_older_database_are_found(tmp_path):
    a = made(tmp_path / "a.db", outcome(make_cell(0)))
    with closing(sqlite3.connect(a)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '0004'")  # which has the same tables
    assert merge([a], tmp_path / "all.db").warnings == []
    assert len(files(tmp_path / "all.artifacts")) == 2
    with closing(sqlite3.connect(a)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("0004",)


def test_an_older_target_is_upgraded_if_it_is_written_and_only_then(tmp_path):
    a, b = trained_twice(tmp_path)
    with closing(sqlite3.connect(a)) as connection, connection:
        connection.execute("DROP TABLE verdict")
        connection.execute("ALTER TABLE method DROP COLUMN implements")
        connection.execute("ALTER TABLE cell DROP COLUMN purpose")
        connection.execute("UPDATE alembic_version SET version_num = '0006'")
    before = a.read_bytes()
    with pytest.raises(MergeConflict):
        merge([b], a)
    assert merge([b], a, prefer="last", dry_run=True).dry_run
    assert a.read_bytes() == before
    merge([b], a, prefer="last")
    with closing(sqlite3.connect(a)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (HEAD,)
    assert value(a) == 0.25


def test_lost_and_damaged_artifacts_are_said_and_follow_later(two, tmp_path):
    a, _ = two
    (first, second, *_), place = sorted((tmp_path / "a.artifacts").rglob("*.safetensors")), tmp_path / "all.db"
    kept = first.read_bytes(), second.read_bytes()
    first.unlink()
    second.write_bytes(b"no arrays")
    (said,) = merge([a], place).warnings
    assert said.startswith(f"2 artifacts of {a} are missing or damaged and were left out; ")
    assert count(place)["artifact"] == 4
    for path, data in zip((first, second), kept, strict=True):
        path.write_bytes(data)
    assert merge([a], place).rows() == [(str(a), 3, 0, 0, 0, 2)]
    assert count(place)["artifact"] == 6
    assert files(tmp_path / "all.artifacts") == files(tmp_path / "a.artifacts")


def test_a_path_that_leads_elsewhere_is_not_followed(two, tmp_path):
    a, _ = two
    secret = b"secret"
    (tmp_path / "secret.txt").write_bytes(secret)
    with closing(sqlite3.connect(a)) as connection, connection:
        connection.execute("UPDATE artifact SET path = 'secret.txt', sha256 = ?", (hashlib.sha256(secret).hexdigest(),))
    assert len(merge([a], tmp_path / "all.db").warnings) == 1
    assert files(tmp_path / "all.artifacts") == {}


def test_a_dry_run_tells_the_same_and_writes_nothing(two, tmp_path):
    told = merge(two, tmp_path / "all.db", dry_run=True)
    assert str(told).startswith("Would merge 2 databases into ")
    assert [row[:5] for row in told.rows()] == [row[:5] for row in merge(two, tmp_path / "other.db").rows()]
    assert not (tmp_path / "all.db").exists()
    assert not (tmp_path / "all.artifacts").exists()


KILLED = """
import os, signal, sys
from contextlib import ExitStack
from bnnbench.store import joining, merge as module
from bnnbench.store.schema import HEAD
from bnnbench.store.source import source

def die(*_): os.kill(os.getpid(), signal.SIGKILL)

moment, place, *sources = sys.argv[1:]
target = module._Target
if moment == "among the files":
    write, left = module.write_content, [3]
    def some(*args):
        left[0] -= 1
        return write(*args) if left[0] >= 0 else die()
    module.write_content = some
elif moment == "before the rows":
    target.take = die
elif moment == "among the rows":
    take, copied = target.take, joining._Batch._copy_curves
    def partly(self, *args):
        joining._Batch._copy_curves = die
        return take(self, *args)
    target.take = partly
else:
    insert = module.insert_rows
    module.insert_rows = lambda session, *rest: (insert(session, *rest), session.flush(), die())
with ExitStack() as stack:
    module.merge([stack.enter_context(source(db)) for db in sources], place)
"""


@pytest.mark.parametrize("moment", ["among the files", "before the rows", "among the rows", "before the commit"])
@pytest.mark.parametrize("new", [True, False], ids=["new", "old"])
def test_whoever_is_killed_leaves_it_as_it_was_and_a_further_call_does_it(two, tmp_path, moment, new):
    a, b = two
    place, sources = (tmp_path / "all.db", [a, b]) if new else (a, [b])
    before = None if new else shown(place)
    run = subprocess.run([sys.executable, "-c", KILLED, moment, str(place), *map(str, sources)], check=False)
    assert run.returncode == -signal.SIGKILL
    if new:
        with ResultStore(place) as store:  # none, or an empty one
            assert store.attempts(latest_only=False).empty
    else:
        after = shown(place)
        assert all(before[name].equals(after[name]) for name in before)
        for path, digest in files(tmp_path / "a.artifacts").items():
            assert path == digest  # whole, if it is there
    merge(sources, place)
    merge([a, b], tmp_path / "reference.db")
    assert_same(place, tmp_path / "reference.db")
    with closing(sqlite3.connect(place)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


TOGETHER = """
import sys
from contextlib import ExitStack
from bnnbench.store.merge import merge
from bnnbench.store.schema import HEAD
from bnnbench.store.source import source
place, *sources = sys.argv[1:]
with ExitStack() as stack:
    merge([stack.enter_context(source(db)) for db in sources], place)
"""


def test_two_merges_at_once(two, target, tmp_path):
    """Into one that is not there yet; each with both sources, in the other order."""
    both = [
        subprocess.Popen([sys.executable, "-c", TOGETHER, str(target), *map(str, sources)])
        for sources in (two, two[::-1])
    ]
    assert [process.wait(300) for process in both] == [0, 0]
    assert {**count(target), "setting": 0} == {**count_of(two, tmp_path), "setting": 0}
    assert_same(target, tmp_path / "alone.db")


def count_of(two, tmp_path):
    merge(two, tmp_path / "alone.db")
    return count(tmp_path / "alone.db")


def test_an_interrupt_leaves_nothing(two, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    a, b = two
    before = shown(a)
    monkeypatch.setattr(module, "insert_rows", interrupt)
    with pytest.raises(KeyboardInterrupt):
        merge([b], a)
    after = shown(a)
    assert all(before[name].equals(after[name]) for name in before)


def test_a_full_disk_is_one_sentence_and_leaves_nothing(two, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    a, b = two
    before = shown(a)
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(StorageError, match=r"Cannot write .*safetensors \(No space left on device\); free some"):
            merge([b], a)
    after = shown(a)
    assert all(before[name].equals(after[name]) for name in before)
    merge([b], a)
    assert len(shown(a)["attempts"]) == 7


def test_a_full_disk_under_the_database(two, tmp_path):
    a, b = two
    with closing(sqlite3.connect(b)) as connection, connection:
        connection.execute("UPDATE curve SET content = randomblob(400000)")
    before = shown(a)
    with pytest.raises(UserError, match=r"There is no space left for the database .*a\.db; free some"):
        run_with_few_pages(b, a)
    after = shown(a)
    assert all(before[name].equals(after[name]) for name in before)


def run_with_few_pages(b, a):
    """SQLite says the same of a file that may not grow as of a disk that is full."""
    from sqlalchemy import Engine, event

    def limit(connection, _):
        connection.execute("PRAGMA max_page_count = 100")

    event.listen(Engine, "connect", limit)
    try:
        merge([b], a)
    finally:
        event.remove(Engine, "connect", limit)


def test_a_source_that_something_else_has_changed_is_refused(two, tmp_path):
    with closing(sqlite3.connect(two[0])) as connection, connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("UPDATE score SET metric_id = 77 WHERE metric_id = 1")
    with pytest.raises(UserError, match=r"The database .*a.db is not as bnnbench made it \(a value cannot be read"):
        merge(two, tmp_path / "all.db")
    assert not (tmp_path / "all.db").exists()


def test_bad_input_is_one_sentence(two, tmp_path):
    a, b = two
    (tmp_path / "empty.db").touch()
    (tmp_path / "text.db").write_text("no database\n" * 100)
    (tmp_path / "link.db").symlink_to(a)
    for sources, into, options, sentence in [
        ([tmp_path / "none.db"], tmp_path / "all.db", {}, "There is no database at"),
        ([tmp_path / "empty.db"], tmp_path / "all.db", {}, "is empty; fill it"),
        ([tmp_path / "text.db"], tmp_path / "all.db", {}, "is not an SQLite database"),
        ([a], tmp_path / "text.db", {}, "is not an SQLite database"),
        ([a], a, {}, "cannot be merged into itself; name it as --into alone."),
        ([a, b], tmp_path / "link.db", {}, "cannot be merged into itself"),
        ([a], tmp_path / "no folder" / "all.db", {}, "The folder .* does not exist"),
        ([a], tmp_path / "all.db", {"prefer": "best"}, "--prefer is first or last or newest, not 'best'"),
    ]:
        with pytest.raises(UserError, match=sentence):
            merge(sources, into, **options)
    assert not (tmp_path / "all.db").exists()


def test_many_cells_take_little_memory(tmp_path):
    """What is held grows with a batch, not with the database: four thousand scores beside twelve thousand."""
    import tracemalloc

    peaks = []
    for number in (400, 1200):
        db = tmp_path / f"{number}.db"
        store, session = prepared(db)
        with store:
            scores = tuple(Score(f"metric {i}", float(i), 0.5) for i in range(10))
            evaluations = (
                EvaluationRecord("test", 9, scores, {"pit": {"x": list(np.random.default_rng(0).normal(size=99))}}),
            )
            for start in range(0, number, 200):
                store.record(
                    session, [make_outcome(make_cell(i), evaluations=evaluations) for i in range(start, start + 200)]
                )
        merge([db], tmp_path / "warm.db", dry_run=True)
        tracemalloc.start()
        merge([db], tmp_path / f"all-{number}.db")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert count(tmp_path / f"all-{number}.db")["score"] == 10 * number
    assert peaks[1] < 1.5 * peaks[0]


def test_an_older_default_does_not_supersede_a_newer_one(tmp_path):
    """Both are `default` by their label; tables show the one that was trained last, whatever was merged last."""
    new, old = make_cell(0, config='{"lr":2}'), make_cell(0, config='{"lr":1}')
    a, b = made(tmp_path / "a.db", outcome(new)), made(tmp_path / "b.db", outcome(old, 0.25))
    with closing(sqlite3.connect(b)) as connection, connection:
        connection.execute("UPDATE attempt SET finished = '2020-01-01 00:00:00.000000'")
    for order in ([a, b], [b, a]):
        place = tmp_path / f"{order[0].stem}-first.db"
        merge(order, place)
        with ResultStore(place, read_only=True) as store:
            assert store.attempts()["fingerprint"].tolist() == [new.fingerprint]
            assert len(store.attempts(latest_only=False)) == 2


def test_two_sources_that_both_have_one_attempt(tmp_path):
    a = made(tmp_path / "a.db", outcome(make_cell(0)))
    b = tmp_path / "b.db"
    merge([a], b)
    merge([a, b], tmp_path / "all.db")
    assert_same(a, tmp_path / "all.db")
    assert count(tmp_path / "all.db")["artifact"] == 2


def test_the_times_of_attempts_are_kept(tmp_path):
    a, b = trained_twice(tmp_path, "b")
    merge([a, b], tmp_path / "all.db", prefer="newest")
    with ResultStore(tmp_path / "all.db", read_only=True) as store:
        finished = store.attempts().set_index("fingerprint")["finished"]
    assert finished[make_cell(0).fingerprint] == datetime(2026, 1, 1, 3)
    assert {*METHODS, *TASKS}  # as `prepared` registers them
