"""Opening databases: new, old, newer, foreign, locked, read-only, full."""

import contextlib
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from store_samples import make_cell, make_outcome, prepared

from bnnbench.errors import UserError
from bnnbench.store import schema
from bnnbench.store.database import Database
from bnnbench.store.store import ResultStore
from bnnbench.store.tables import Base


@pytest.fixture
def unprivileged():
    """An open folder and rights that end at permission bits, which do not bind root."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    folder = Path(tempfile.mkdtemp(dir="/tmp"))  # pytest's own is root's alone
    yield folder
    if root:
        os.seteuid(0)
    folder.chmod(0o777)
    shutil.rmtree(folder)


def test_head_is_the_models(path):
    Database(path).close()
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []
        # Autogenerate does not see check constraints.
        inspector = sqlalchemy.inspect(connection)
        for table in Base.metadata.tables.values():
            wanted = {c.name for c in table.constraints if isinstance(c, sqlalchemy.CheckConstraint)}
            assert {c["name"] for c in inspector.get_check_constraints(table.name)} == wanted
    engine.dispose()
    assert ScriptDirectory.from_config(schema.alembic_config()).get_current_head() == schema.HEAD


def test_empty_file_and_database_before_the_first_revision_are_brought_to_head(tmp_path):
    (tmp_path / "empty.db").touch()
    with sqlite3.connect(tmp_path / "base.db") as old:
        old.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
    old.close()
    for name in ("empty.db", "base.db"):
        store, session = prepared(tmp_path / name)
        with store:
            assert store.record(session, [make_outcome(make_cell())]) == 1


def test_an_upgrade_keeps_all_rows(path, tmp_path, monkeypatch):
    """Batch mode drops the old table, and must not take along what refers to it."""
    store, session = prepared(path)
    with store:
        store.record(session, [make_outcome(make_cell())])
        before = store.scores()
    shutil.copytree(Path(schema.__file__).parent / "migrations", tmp_path / "migrations")
    (tmp_path / "migrations/versions/9999_next.py").write_text(
        f"from alembic import op\nimport sqlalchemy as sa\nrevision, down_revision = '9999', {schema.HEAD!r}\n"
        "def upgrade():\n    with op.batch_alter_table('cell', recreate='always') as batch:\n"
        "        batch.alter_column('label', type_=sa.String(99))\n"
    )
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", str(tmp_path / "migrations"))
        patch.setattr(schema, "HEAD", "9999")
        with monkeypatch.context() as fixed:
            fixed.setattr("os.access", lambda name, mode, **_: mode != os.W_OK)
            with pytest.raises(UserError, match=r"of an older bnnbench and must be upgraded first, but: .* read-only"):
                ResultStore(path, read_only=True)
        with ResultStore(path, read_only=True) as reader:  # reading upgrades too
            assert reader.scores().equals(before)
    content = path.read_bytes()
    for read_only in (True, False):  # and now this bnnbench is the older one
        with pytest.raises(UserError, match="written by a newer bnnbench; upgrade bnnbench or use another --db"):
            ResultStore(path, read_only=read_only)
    assert path.read_bytes()[100:] == content[100:]


def test_files_that_are_no_database_of_ours_are_left_alone(tmp_path):
    files = {"short.txt": b"x", "notes.txt": b"no database at all\n" * 300, "cut.db": b"SQLite format 3\0" + b"\0" * 9}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        for read_only in (True, False):
            with pytest.raises(UserError, match=r"is not an SQLite database and was left as it is"):
                ResultStore(tmp_path / name, read_only=read_only)
        assert (tmp_path / name).read_bytes() == content
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE photos (id INTEGER)")
    other.close()
    with pytest.raises(UserError, match="belongs to another program"):
        ResultStore(tmp_path / "other.db")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cut.db", "notes.txt", "other.db", "short.txt"]


@pytest.mark.parametrize(
    ("db", "sentence"),
    [
        ("", "is empty"),
        ("mysql://host/name", "cannot be used; give a path"),
        ("sqlite://", "cannot be used; give a path"),
        ("://", "is not a database URL"),
        ("{tmp}", "is not a file"),
        ("{tmp}/absent/results.db", "The folder .* does not exist; create it"),
        ("{tmp}/file/results.db", "The folder .* does not exist; create it"),
        ("{tmp}/pipe", "is not a file"),
        ("{tmp}/socket", "is not a file"),
        ("/dev/null", "is not a file"),
        ("{tmp}/piped.db", "piped.db-wal is not a file, and SQLite needs one of this name; remove it"),
        ("~nosuchuser/results.db", "names a home folder that is not known; write the path out"),
        ("{tmp}/" + 300 * "x" + ".db", "holds a name of 303 bytes, and file systems take 255; shorten it"),
        ("results\0.db", "holds a character that no path can have"),
        ("postgresql://user:secret-pw@host:port/name", r"user:\*\*\*@host:port/name is not a database URL"),
        ("postgresql://user:secret-pw@host", r"user:\*\*\*@host cannot be used"),
        ("postgres://user:secret-pw@host/name", r"user:\*\*\*@host/name cannot be used"),
        ("mysql://u@corp:secret-pw@host/name?password=secret-pw", r"\*\*\*@host/name\?password=\*\*\* cannot be used"),
        ("postgresql://user:secret-pw@host/name?plugin=nosuch", "cannot be used"),
    ],
)
@pytest.mark.parametrize("read_only", [True, False])
def test_bad_places(tmp_path, db, sentence, read_only):
    (tmp_path / "file").touch()
    for name in ("pipe", "piped.db-wal"):
        os.mkfifo(tmp_path / name)
    if "piped" in db:
        (tmp_path / "piped.db").touch()
    with socket.socket(socket.AF_UNIX) as listening:
        if "socket" in db:
            listening.bind(str(tmp_path / "socket"))
        if (read_only and "absent" in db) or "file/" in db:
            sentence = "There is no database|The folder .* does not exist"
        with pytest.raises(UserError, match=sentence) as refused:
            ResultStore(db.format(tmp=tmp_path), read_only=read_only)
    assert "secret" not in str(refused.value)


def test_what_something_else_changed(path):
    """A column or a table is gone, or holds what bnnbench never wrote."""
    store, session = prepared(path)
    store.record(session, [make_outcome(make_cell())])
    store.close()
    changes = {
        "ALTER TABLE score DROP COLUMN stderr": r"not as bnnbench made it \(no such column: .*stderr\)",
        "DROP TABLE curve": r"not as bnnbench made it \(it has no table curve\)",
        "DROP TABLE cell": r"not as bnnbench made it \(it has no table cell\)",
        "UPDATE score SET value = 'many'": r"not as bnnbench made it \(.*many",
        "DELETE FROM alembic_version": "belongs to another program",
        "ALTER TABLE alembic_version RENAME COLUMN version_num TO v": "not as bnnbench made it",
    }
    content = path.read_bytes()
    for change, sentence in changes.items():
        path.write_bytes(content)
        connection = sqlite3.connect(path)
        connection.execute(change)
        connection.commit()
        connection.close()
        with pytest.raises(UserError, match=sentence):
            read(path)


@pytest.mark.parametrize("content", ["{", 5, b"", b"1", b"1no", '{"x": [1.0]}'])
def test_a_curve_that_something_else_changed_has_no_columns(path, content):
    """It costs a report one figure, not the others."""
    store, session = prepared(path)
    store.record(session, [replace(make_outcome(make_cell()), curves={"a": {"x": [1.0]}, "b": {"x": [2.0]}})])
    store.close()
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE curve SET content = ? WHERE name = 'a'", (content,))
    with ResultStore(path, read_only=True) as reader:
        assert [series for _, _, series in reader.curves("a")] == [{}]
        assert [series["x"].tolist() for _, _, series in reader.curves("b")] == [[2.0]]


def read(path) -> None:

    with ResultStore(path, read_only=True) as reader:
        reader.scores()
        reader.curves("pit")


def test_reading_makes_no_file(tmp_path):
    for db in (tmp_path / "absent.db", f"sqlite:///{tmp_path}/absent.db"):
        with pytest.raises(UserError, match=r"There is no database at .*absent.db; make one with `bnnbench run"):
            ResultStore(db, read_only=True)
    (tmp_path / "empty.db").touch()
    with pytest.raises(UserError, match="is empty"):
        ResultStore(tmp_path / "empty.db", read_only=True)
    assert [p.name for p in tmp_path.iterdir()] == ["empty.db"]
    assert (tmp_path / "empty.db").stat().st_size == 0


def test_odd_names_are_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("100% #1?.db", "ü results.db", "no_suffix"):
        prepared(name)[0].close()
        with ResultStore(f"sqlite:///{tmp_path}/no_suffix" if name == "no_suffix" else name, read_only=True) as store:
            assert len(store.methods()) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["100% #1?.db", "no_suffix", "ü results.db"]


def test_close_leaves_a_single_file_in_rollback_mode(path):
    store, session = prepared(path)
    store.record(session, [make_outcome(make_cell())])
    other = ResultStore(path)
    store.close()
    assert len(other.scores()) == 2
    other.close()
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert path.read_bytes()[18:20] == b"\x01\x01"


def test_read_only_folder_and_file(unprivileged):
    path = unprivileged / "results.db"
    store, session = prepared(path)
    store.record(session, [make_outcome(make_cell())])
    store.close()
    unprivileged.chmod(0o555)
    with pytest.raises(UserError, match=r"read-only; use another --db"):
        ResultStore(path)
    with pytest.raises(UserError, match=r"read-only; use another --db"):
        ResultStore(unprivileged / "new.db")
    with ResultStore(path, read_only=True) as reader:
        assert len(reader.scores()) == 2
    unprivileged.chmod(0o777)
    path.chmod(0o444)
    with pytest.raises(UserError, match=r"read-only; use another --db"):
        ResultStore(path)
    path.chmod(0)
    with pytest.raises(UserError, match="may not be read"):
        ResultStore(path, read_only=True)


def test_a_killed_writers_file_is_read_in_a_read_only_folder(unprivileged):
    """It is still in WAL mode; without its log it may be taken as it stands, with one it may not."""
    path = unprivileged / "results.db"
    prepared(path)[0].close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    unprivileged.chmod(0o555)
    with ResultStore(path, read_only=True) as reader:
        assert len(reader.methods()) == 2
    unprivileged.chmod(0o777)
    Path(f"{path}-wal").write_bytes(b"unmerged work")
    unprivileged.chmod(0o555)
    with pytest.raises(UserError, match=r"cannot be (opened|written)"):
        ResultStore(path, read_only=True)


def test_locked(path):
    prepared(path)[0].close()
    other = sqlite3.connect(path, isolation_level=None)
    with ResultStore(path, timeout=0.1) as store:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UserError, match="is locked by another program; wait until that is done"):
            store.release("nobody")
        assert len(store.methods()) == 2  # reading goes on
        other.execute("COMMIT")
        store.release("nobody")
    other.execute("PRAGMA journal_mode = DELETE")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(UserError, match="is locked by another program"):
        ResultStore(path, timeout=0.1)
    other.close()


def test_full_disk_stores_nothing_and_says_so(path):
    store, session = prepared(path)
    with store:
        with store.reading() as connection:  # the pool hands out this connection again
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 2}")
        outcomes = [make_outcome(make_cell(i), message="m" * 1000) for i in range(100)]
        with pytest.raises(UserError, match="There is no space left for the database"):
            store.record(session, outcomes)
        assert store.attempts().empty
        with store.reading() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count = 100000")
        assert store.record(session, outcomes) == 100


def test_opening_needs_no_alembic(path):
    prepared(path)[0].close()
    code = (
        "import sys; from bnnbench.store.store import ResultStore; ResultStore(sys.argv[1]).close(); "
        "ResultStore(sys.argv[1], read_only=True).close(); assert not {'alembic', 'torch'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)


def test_damaged_database(path):
    store, session = prepared(path)
    with store:
        store.record(session, [make_outcome(make_cell(i)) for i in range(200)])
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xff" * (len(content) - 8192)
    path.write_bytes(content)
    with pytest.raises(UserError, match="is damaged"), ResultStore(path, read_only=True) as store:
        store.scores()


def test_postgresql_without_driver_or_server():
    with pytest.raises(UserError, match=r"pip install 'bnnbench\[postgres\]'|cannot be used"):
        ResultStore("postgresql://user:secret@127.0.0.1:1/bnnbench")


def test_a_commit_that_readers_hold_up_is_tried_again(path):
    """In rollback mode a COMMIT waits for readers, and one that has waited too long leaves its transaction open."""
    store, session = prepared(path)
    store.close()
    reader = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM cell").fetchall()
    ends = threading.Timer(1.0, reader.execute, ["COMMIT"])
    with ResultStore(path, timeout=0.2) as writer, contextlib.closing(reader):
        with contextlib.closing(sqlite3.connect(path)) as other:
            assert other.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        ends.start()
        assert writer.record(session, [make_outcome(make_cell())]) == 1
        ends.join()
        assert len(writer.scores()) > 0
