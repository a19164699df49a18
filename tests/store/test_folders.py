"""Artifacts where fsspec reaches: a folder, objects in memory, and an S3 server on this machine."""

import sqlite3
import sys
from contextlib import closing

import fsspec
import numpy as np
import pytest
from store_samples import make_cell, make_outcome, prepared

import bnnbench
from bnnbench.errors import StorageError, UserError
from bnnbench.store.folders import MARK, content, folder_of, mark, remove, size_of, sizes
from bnnbench.store.store import ResultStore

ARRAYS = {"a": np.arange(6.0).reshape(2, 3)}
SMOKE = {"budget": "smoke", "device": "cpu", "splits": "0", "jobs": 1, "quiet": True}


@pytest.fixture(scope="module")
def s3():
    server = pytest.importorskip("moto.server", reason="moto is not installed")
    pytest.importorskip("s3fs", reason="s3fs is not installed (extra `s3`)")
    import boto3

    running = server.ThreadedMotoServer(port=0, verbose=False)
    running.start()
    with pytest.MonkeyPatch.context() as patch:
        host, port = running.get_host_and_port()
        secrets = {"AWS_ACCESS_KEY_ID": "one", "AWS_SECRET_ACCESS_KEY": "two", "AWS_DEFAULT_REGION": "us-east-1"}
        for name, value in {**secrets, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}.items():
            patch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="bnn")
        yield "s3://bnn"
    running.stop()


@pytest.fixture(params=["folder", "file", "memory", "s3"])
def place(request, tmp_path):
    """A folder of artifacts that nobody has used yet, as it is given."""
    match request.param:
        case "folder":
            return tmp_path / "elsewhere"
        case "file":
            return (tmp_path / "with space").as_uri()
        case "memory":
            return f"memory://{tmp_path.name}/arrays"
    return f"{request.getfixturevalue('s3')}/{tmp_path.name}"


def test_arrays_are_written_read_listed_and_forgotten(place, tmp_path):
    db = tmp_path / "results.db"
    store, session = prepared(db, artifacts=place)
    with store:
        store.record(session, [make_outcome(make_cell(), artifacts={"posterior": ARRAYS})])
    fingerprint = make_cell().fingerprint
    with ResultStore(db, read_only=True) as store:  # who opens it again need not say where
        np.testing.assert_array_equal(store.artifact(fingerprint, "posterior")["a"], ARRAYS["a"])
        assert store.stored([fingerprint, "none"], "posterior") == {fingerprint}
        (path,) = (row.path for row in [store._artifact(fingerprint, "posterior")])
        assert path.count("/") == 1, "below the folder, wherever that is"
        file = store.base / path
        data = file.read_bytes()
        assert sizes(store.base, [path, "00/none.safetensors"]) == {path: len(data)}
        assert (size_of(file), size_of(store.base / "00/none.safetensors")) == (len(data), 0)
        file.write_bytes(data[:-1])
        with pytest.raises(UserError, match="is damaged"):
            store.artifact(fingerprint, "posterior")
        file.write_bytes(data)
    forgotten = bnnbench.forget(db, artifacts=True)
    assert (forgotten.artifacts, forgotten.files, forgotten.size) == (1, [path], len(data))
    assert content(file) is None


def test_a_run_is_scored_later_merged_and_submitted_from_there(place, tmp_path):
    db = tmp_path / "results.db"
    bnnbench.run("map", "diabetes", db=db, artifacts=place, **SMOKE)
    plain = tmp_path / "plain.db"
    bnnbench.run("map", "diabetes", db=plain, **SMOKE)
    calibrated = {"calibrate": "temperature", **SMOKE}
    for own in (db, plain):
        assert bnnbench.run("map", "diabetes", db=own, **calibrated).rescored == 1
    assert (
        bnnbench.scores(db)
        .drop(columns="session", errors="ignore")
        .equals(bnnbench.scores(plain).drop(columns="session", errors="ignore"))
    )
    merged = bnnbench.merge(db, into=tmp_path / "all.db")
    assert not merged.warnings
    assert len(list((tmp_path / "all.artifacts").rglob("*.safetensors"))) == 2
    again = str(place).rstrip("/") + "-more"
    assert not bnnbench.merge(tmp_path / "all.db", into=tmp_path / "more.db", artifacts=again).warnings
    assert folder_of(again, "it").is_dir()


def test_where_they_lie_is_said_once(place, tmp_path):
    db = tmp_path / "results.db"
    ResultStore(db, artifacts=place).close()
    ResultStore(db, artifacts=place).close()
    with pytest.raises(UserError, match=r"lie in .*, not in .*other; leave --artifacts out"):
        ResultStore(db, artifacts=str(place) + "other")


def test_an_object_store_says_what_the_objects_are(tmp_path):
    db = tmp_path / "results.db"
    with ResultStore(db, artifacts="memory://marked/x/") as store:
        assert (store.root / MARK).read_bytes().startswith(b"Artifacts of bnnbench")
        assert store.checkpoints.is_absolute()  # on the disk of the machine that trains
        store.refuse_output(tmp_path / "out")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("nowhere://x", "is of no store that fsspec knows; give a folder or s3://bucket/name"),
        ("gs://bucket/x", r"needs a library that is not installed; add `pip install 'bnnbench\[gs\]'`"),
        ("s3://me:secret@bucket/x", "holds a user, an account or a password; give these by the environment"),
        ("s3:///x", "names no place"),
        ("memory://", "names no place"),
        ("file://server/x", "names no place"),
        ("s3://bucket/x?sig=secret", "a URL like s3://bucket/name without anything behind it"),
        ("simplecache::s3://me:secret@bucket/x", "a URL like s3://bucket/name without anything behind it"),
    ],
)
def test_what_is_no_place_is_refused_before_a_database_is_made(url, sentence, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=sentence):
        bnnbench.run("map", "diabetes", db=tmp_path / "results.db", artifacts=url, **SMOKE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("url", "is_called"),
    [
        ("S3://bucket/x/", "s3://bucket/x"),
        ("s3://bucket", "s3://bucket"),
    ],
)
def test_places(url, is_called):
    assert str(folder_of(url, "it")).rstrip("/") == is_called


def test_an_object_store_that_refuses_is_one_sentence_and_gets_no_bucket(s3, tmp_path):
    for _ in range(2):
        with pytest.raises(StorageError, match=r"Cannot write s3://no-such-bucket.*check the address, the credent"):
            ResultStore(tmp_path / "results.db", artifacts="s3://no-such-bucket/x")


class Refusing(fsspec.AbstractFileSystem):
    """An object store behind a network that is down."""

    protocol = "refusing"

    def _refuse(self, *_, **__):
        raise OSError("no route to host")

    cat_file = pipe_file = info = ls = rm = open = _refuse


@pytest.mark.filterwarnings("ignore:UPath")
def test_no_network_is_no_missing_file(tmp_path):
    fsspec.register_implementation("refusing", Refusing, clobber=True)
    base = folder_of("refusing://bucket/x", "it")
    for ask in (content, size_of, mark, lambda place: sizes(place, ["ab/c"]), lambda place: remove(place, ["ab/c"])):
        with pytest.raises(StorageError, match=r"refusing://bucket/x.* \(no route to host\); check the address"):
            ask(base)
    with pytest.raises(StorageError, match="no route to host"):
        ResultStore(tmp_path / "results.db", artifacts="refusing://bucket/x")
    assert not list(tmp_path.iterdir())


def test_what_other_machines_write_and_remove_is_seen(s3, tmp_path):
    import boto3

    base, client = folder_of(f"{s3}/{tmp_path.name}", "it"), boto3.client("s3")
    client.put_object(Bucket="bnn", Key=f"{tmp_path.name}/ab/one", Body=b"1")
    assert sizes(base, ["ab/one", "ab/two"]) == {"ab/one": 1}
    client.put_object(Bucket="bnn", Key=f"{tmp_path.name}/ab/two", Body=b"22")
    client.delete_object(Bucket="bnn", Key=f"{tmp_path.name}/ab/one")
    assert sizes(base, ["ab/one", "ab/two"]) == {"ab/two": 2}
    assert (content(base / "ab/one"), content(base / "ab/two"), size_of(base / "ab/one")) == (None, b"22", 0)


def test_a_report_needs_no_object_store_and_not_its_library(tmp_path):
    db = tmp_path / "results.db"
    store, session = prepared(db, artifacts="memory://report/x")
    with store:
        store.record(session, [make_outcome(make_cell(), artifacts={"posterior": ARRAYS})])
    with closing(sqlite3.connect(db)) as connection:
        connection.execute("UPDATE setting SET value = 'gs://bucket/x' WHERE name = 'artifacts'")
        connection.commit()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "gcsfs", None)
        assert len(bnnbench.scores(db)) == 2
        with (
            ResultStore(db, read_only=True) as store,
            pytest.raises(UserError, match=r"add `pip install 'bnnbench\[gs"),
        ):
            store.artifact(make_cell().fingerprint, "posterior")


def test_a_rehearsal_leaves_no_object(tmp_path):
    bnnbench.run("map", "diabetes", db=tmp_path / "a.db", **SMOKE)
    bnnbench.merge(tmp_path / "a.db", into=tmp_path / "b.db", artifacts="memory://rehearsed/x", dry_run=True)
    assert not folder_of("memory://rehearsed/x", "it").exists()
