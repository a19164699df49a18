"""Files of arrays beside the database."""

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from store_samples import make_cell, make_outcome, prepared

from bnnbench.errors import UserError
from bnnbench.store import artifacts
from bnnbench.store.store import ResultStore

ARRAYS = {
    "transposed": np.arange(6.0).reshape(2, 3).T,
    "every_second": np.arange(10)[::2],
    "scalar": np.float32(np.pi) * np.ones(()),
    "none": np.zeros((0, 4), dtype=np.float16),
    "odd": np.array([np.nan, -np.inf, -0.0]),
    "mask": np.array([True, False]),
    "keys": np.array([2**32 - 1], dtype=np.uint32),
}


def files(path):
    return sorted(p for p in (path.parent / "results.artifacts").rglob("*") if p.is_file())


def test_round_trip(store, session, path):
    store.record(session, [make_outcome(make_cell(), artifacts={"posterior": ARRAYS, "predictive": {"a": np.ones(2)}})])
    back = store.artifact(make_cell().fingerprint[:10], "posterior")
    assert set(back) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(back[name], array)
        assert (back[name].dtype, back[name].shape) == (array.dtype, array.shape)
    assert store.find(make_cell().fingerprint)["artifacts"] == ["posterior", "predictive"]
    for file in files(path):
        assert file.parent.name == file.name[:2]
        with safe_open(file, "np") as opened:
            assert '"method": "bbp"' in opened.metadata()["bnnbench"]
    with pytest.raises(UserError, match=r"No draws is stored for cell .* only posterior, predictive"):
        store.artifact(make_cell().fingerprint, "draws")


def test_equal_content_is_one_file_and_the_folder_may_move(store, session, path):
    outcome = make_outcome(make_cell(), artifacts={"posterior": ARRAYS})
    store.record(session, [outcome])
    store.record(session, [outcome], force=True)
    assert len(files(path)) == 1
    store.close()
    moved = path.parent.parent / "moved-results"
    path.parent.rename(moved)
    with ResultStore(moved / path.name, read_only=True) as reader:
        assert set(reader.artifact(make_cell().fingerprint, "posterior")) == set(ARRAYS)
    moved.rename(path.parent)


def test_another_root_is_stored_with_the_database(path, tmp_path, monkeypatch):
    """Later commands find it without being told; one beside the database moves with it."""
    outcome = make_outcome(make_cell(), artifacts={"posterior": ARRAYS})
    (tmp_path / "beside").mkdir()
    monkeypatch.chdir(tmp_path)
    for place, root in ((path, tmp_path.parent / "far" / "store"), (tmp_path / "beside/r.db", Path("beside/arrays"))):
        store, session = prepared(place, artifacts=root)
        with store:
            store.record(session, [outcome])
            assert store.checkpoints == root.absolute() / "checkpoints"
        [file] = [file for file in root.rglob("*") if file.is_file()]
        assert file.parent.parent == root
        for read_only in (True, False):
            with pytest.raises(UserError, match=r"The artifacts of .* lie in .*, not in .*/other; leave"):
                ResultStore(place, read_only=read_only, artifacts="other")
            ResultStore(place, read_only=read_only, artifacts=root).close()
    (tmp_path / "beside").rename(tmp_path / "moved")
    for place in (path, tmp_path / "moved/r.db"):
        with ResultStore(place, read_only=True) as reader:
            assert set(reader.artifact(make_cell().fingerprint, "posterior")) == set(ARRAYS)
    shutil.rmtree(tmp_path.parent / "far")


def test_a_root_comes_before_the_first_artifact(store, session, path, tmp_path):
    with pytest.raises(UserError, match="is not a folder"):
        ResultStore(path, artifacts=path)
    with pytest.raises(UserError, match="names a home folder that is not known"):
        ResultStore(path, artifacts="~nosuchuser/x")
    store.record(session, [make_outcome(make_cell(), artifacts={"posterior": ARRAYS})])
    with pytest.raises(UserError, match=r"lie in .*results.artifacts, not in .*late; leave --artifacts out"):
        ResultStore(path, artifacts=tmp_path / "late")
    ResultStore(path, artifacts=tmp_path / "results.artifacts").close()
    with ResultStore(path, read_only=True) as reader:
        assert set(reader.artifact(make_cell().fingerprint, "posterior")) == set(ARRAYS)


def test_a_pipe_in_place_of_an_artifact(store, session, path):
    store.record(session, [make_outcome(make_cell(), artifacts={"posterior": ARRAYS})])
    [file] = files(path)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(UserError, match="is missing"):
        store.artifact(make_cell().fingerprint, "posterior")


def test_damaged_and_missing_files(store, session, path):
    outcome = make_outcome(make_cell(), artifacts={"posterior": ARRAYS})
    store.record(session, [outcome])
    [file] = files(path)
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match=r"is damaged \(its checksum differs\); train cell .* again with --force"):
        store.artifact(make_cell().fingerprint, "posterior")
    file.unlink()
    with pytest.raises(UserError, match="is missing, for artifacts are not kept in git; train cell"):
        store.artifact(make_cell().fingerprint, "posterior")
    file.write_bytes(b"")
    store.record(session, [outcome], force=True)  # heals it
    assert file.read_bytes() == content


@pytest.mark.parametrize(("code", "remedy"), [(errno.ENOSPC, "free some disk space"), (errno.EACCES, "permissions")])
def test_a_failed_write_stores_nothing(store, session, path, monkeypatch, code, remedy):
    def fail(handle):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(artifacts.os, "fsync", fail)
    with pytest.raises(UserError, match=remedy):
        store.record(session, [make_outcome(make_cell(), artifacts={"posterior": ARRAYS})])
    assert store.attempts().empty
    assert files(path) == []


def test_a_file_where_the_folder_should_be(tmp_path):
    store, session = prepared(tmp_path / "results.db")
    (tmp_path / "results.artifacts").touch()
    with store, pytest.raises(UserError, match=r"Cannot (read|write)"):
        store.record(session, [make_outcome(make_cell(), artifacts={"posterior": ARRAYS})])
