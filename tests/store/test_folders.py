"""Artifacts where fsspec reaches: a folder, objects in memory, and an S3 server on this machine."""

import json

import numpy as np
import pytest
from store_samples import make_cell, make_outcome, prepared

import bnnbench
from bnnbench.errors import StorageError, UserError
from bnnbench.store.folders import MARK, folder_of, present
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
        assert present(store.base, {path, "00/none.safetensors"}) == {path}
        file = store.base / path
        data = file.read_bytes()
        file.write_bytes(data[:-1])
        with pytest.raises(UserError, match="is damaged"):
            store.artifact(fingerprint, "posterior")
        file.write_bytes(data)
    forgotten = bnnbench.forget(db, artifacts=True)
    assert (forgotten.artifacts, forgotten.files, forgotten.size) == (1, [path], len(data))
    assert not file.is_file()


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
        ("s3://me:secret@bucket/x", "holds a user or a password, which would be stored"),
        ("https://example.invalid/x", "Cannot write|Cannot read|needs a library"),
    ],
)
def test_what_is_no_place_is_refused_before_a_database_is_made(url, sentence, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "gcsfs", None)
    with pytest.raises(UserError, match=sentence):
        bnnbench.run("map", "diabetes", db=tmp_path / "results.db", artifacts=url, **SMOKE)
    assert not list(tmp_path.glob("*.db")) or "https" in url


def test_an_object_store_that_refuses_is_one_sentence(s3, tmp_path):
    with pytest.raises(StorageError, match=r"Cannot (read|write) s3://no-such-bucket.*check the address, the credent"):
        ResultStore(tmp_path / "results.db", artifacts="s3://no-such-bucket/x")
    assert json.dumps(str(folder_of(f"{s3}/x/", "it"))) == '"s3://bnn/x"'
