"""Interrupted trainings end as unbroken ones do; what is no checkpoint of this training is left aside, and not run."""

import errno
import hashlib
import json
import logging
import os
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import BUDGET as TABLE_BUDGET
from helpers import CPU, make_cells, make_pack, replica
from image_samples import PLAIN, image_cells, image_pack
from safetensors import SafetensorError
from safetensors.numpy import load, save
from torch.testing import assert_close

import bnnbench
from bnnbench.data.loaders import cifar
from bnnbench.engine import checkpoint as module
from bnnbench.engine import train as training
from bnnbench.engine.checkpoint import Checkpoint
from bnnbench.engine.precision import FLOAT32
from bnnbench.engine.train import train
from bnnbench.errors import UserError
from bnnbench.experiment import attempt
from bnnbench.experiment.progress import RunProgress
from bnnbench.files import file_faults
from bnnbench.methods.swag import SWAG
from bnnbench.store.artifacts import read_artifact
from bnnbench.store.store import ResultStore

METHODS = ["map", "bbp-gaussian", "sgld", "swag", "ensemble-deep"]


class PowerCut(Exception):
    """The machine is gone."""


@pytest.fixture(autouse=True)
def often(monkeypatch):
    """A checkpoint at every validation check."""
    monkeypatch.setattr(module, "EVERY_S", -1.0)


def broken(pack, folder, checks):
    """Train a pack that is interrupted at the start of a later check; its checkpoint is that of the one before."""
    seen = []

    def progress(steps):
        seen.append(steps)
        if len(seen) == checks:
            raise PowerCut

    with pytest.raises(PowerCut):
        train(pack, False, progress=progress, checkpoint=Checkpoint.of(folder, pack, False))
    return seen


def again(pack, folder):
    """Train it once more; also the steps that were reported."""
    seen = []
    return train(pack, False, progress=seen.append, checkpoint=Checkpoint.of(folder, pack, False)), seen


def same(a, b):
    """All that training leaves, to the bit: pairs of what was fitted and how it went."""
    for r in range(len(a[0].pack.cells)):
        assert_close(replica(*a, r), replica(*b, r), rtol=0, atol=0, equal_nan=True)
    (_, one), (_, other) = a, b
    assert one.steps == other.steps
    np.testing.assert_array_equal(one.diverged_at, other.diverged_at)
    assert set(one.recording) == set(other.recording)
    for name, values in one.recording.items():
        np.testing.assert_array_equal(values, other.recording[name])
        assert values.dtype == other.recording[name].dtype


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("seeds", "checks"), [((0,), 2), ((0, 1), 4)])
def test_an_interrupted_training_ends_as_an_unbroken_one(method, seeds, checks, tmp_path):
    pack = image_pack(method, seeds)
    whole = train(pack, False)
    assert broken(pack, tmp_path, checks) == [3, 6, 9, 12][:checks]
    fit, seen = again(image_pack(method, seeds), tmp_path)
    assert seen == [3, 6, 9, 12][checks - 2 :]
    same(fit, whole)
    assert fit[1].recording
    assert fit[1].earlier_s > 0 == whole[1].earlier_s


@pytest.mark.parametrize("method", METHODS)
def test_again_and_again_on_tables(method, tmp_path):
    pack = make_pack(make_cells(method, "classification", budget=replace(TABLE_BUDGET, steps=40)), torch.float32)
    whole = train(pack, False)
    assert broken(pack, tmp_path, 2) == [10, 20]
    assert broken(pack, tmp_path, 3) == [10, 20, 30]  # of which the first is what it went on from
    fit, seen = again(pack, tmp_path)
    assert seen == [20, 30, 40]
    same(fit, whole)


@pytest.mark.parametrize("checks", [3, 4, 5])
def test_a_training_that_breaks_off_around_the_end_of_its_fit(checks, tmp_path):
    """The fit ends between two checks: the checkpoint is that of the one before, of its end, and of the one after."""
    budget = replace(TABLE_BUDGET, steps=40)
    pack = make_pack(make_cells(SWAG(0.3, burn_in=0.6), "classification", budget=budget), torch.float32)
    whole = train(pack, False)
    assert (whole[1].step_kept < 24).any(), "the best state is not to be the last"
    assert broken(pack, tmp_path, checks) == [10, 20, 24, 30, 40][:checks]
    fit, seen = again(pack, tmp_path)
    assert seen == [10, 20, 24, 30, 40][checks - 2 :]
    same(fit, whole)


def test_a_finished_training_that_was_not_stored_makes_no_step(tmp_path, monkeypatch):
    pack = image_pack("swag")
    whole, _ = again(pack, tmp_path)
    monkeypatch.setattr(training, "make_step", lambda pack: lambda *_: pytest.fail("a step was made"))
    fit, seen = again(pack, tmp_path)
    assert seen == [12]
    same(fit, whole)


def test_a_frozen_replica_stays_frozen(tmp_path):
    pack = image_pack("map", (0, 1))
    pack = replace(pack, floats={"lr": torch.tensor([1e-2, torch.nan], dtype=torch.float64)})
    whole = train(pack, False)
    broken(pack, tmp_path, 3)
    fit, _ = again(pack, tmp_path)
    same(fit, whole)
    assert fit[0].live.tolist() == [True, False]
    assert fit[1].diverged_at.tolist() == [-1, 1]


def rewritten(path, change):
    """The checkpoint with other metadata and arrays, under a checksum that fits."""
    data = path.read_bytes()[64:]
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    identity, arrays = json.loads(header["__metadata__"]["identity"]), load(data)
    change(identity, arrays)
    path.write_bytes(sealed(save(arrays, metadata={"identity": json.dumps(identity)})))


def sealed(data):
    return hashlib.sha256(data).hexdigest().encode() + data


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def other(**changes):
    return lambda path: rewritten(path, lambda identity, arrays: identity.update(changes))


def head(document):
    text = json.dumps(document).encode()
    return sealed(len(text).to_bytes(8, "little") + text)


FAULTS = {
    "empty": lambda path: path.write_bytes(b""),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-7]),
    "cut to its checksum": lambda path: path.write_bytes(path.read_bytes()[:64]),
    "a bit flipped": lambda path: path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1])),
    "random bytes": lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)),
    "random bytes, sealed": lambda path: path.write_bytes(sealed(np.random.default_rng(0).bytes(5000))),
    "nothing, sealed": lambda path: path.write_bytes(sealed(b"")),
    "a list, sealed": lambda path: path.write_bytes(head([])),
    "no metadata, sealed": lambda path: path.write_bytes(sealed(save({"a": np.zeros(3)}))),
    "no identity, sealed": lambda path: path.write_bytes(sealed(save({"a": np.zeros(3)}, metadata={"b": "c"}))),
    "a text for metadata, sealed": lambda path: path.write_bytes(head({"__metadata__": "mine"})),
    "other cells": other(cells=["0" * 64]),
    "another version": other(versions={"bnnbench": "0.0.0", "torch": torch.__version__}),
    "other threads": other(threads=64),
    "compiled": other(compiled=True),
}


@pytest.fixture(scope="module")
def whole():
    return train(image_pack("map"), False)


def goes_wrong(path, caplog, whole):
    """One sentence that names the file; and training starts again."""
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        fit, seen = again(image_pack("map"), path.parent)
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith(f"The checkpoint {path} is not used (")
    assert said.endswith("; training starts from the beginning.")
    assert "\n" not in said
    assert seen == [3, 6, 9, 12]
    assert fit[1].earlier_s == 0
    same(fit, whole)


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_no_checkpoint_of_this_training_is_not_used(fault, tmp_path, caplog, whole):
    broken(image_pack("map"), tmp_path, 3)
    (path,) = tmp_path.iterdir()
    FAULTS[fault](path)
    goes_wrong(path, caplog, whole)
    assert again(image_pack("map"), tmp_path)[1] == [12]  # it was replaced by a sound one


@pytest.mark.parametrize("wrap", [bytes, sealed])
def test_a_pickle_is_not_run(wrap, tmp_path, caplog, whole):
    folder = tmp_path / "checkpoints"
    broken(image_pack("map"), folder, 3)
    (path,) = folder.iterdir()
    path.write_bytes(wrap(pickle.dumps(Bomb(tmp_path / "executed"))))
    goes_wrong(path, caplog, whole)
    assert not (tmp_path / "executed").exists()


def test_nor_as_an_artifact_or_as_data(tmp_path):
    bomb, executed = pickle.dumps(Bomb(tmp_path / "executed")), tmp_path / "executed"
    pickle.loads(bomb)
    executed.rmdir()  # it does go off
    path, digest = tmp_path / "ab.safetensors", hashlib.sha256(bomb).hexdigest()
    path.write_bytes(bomb)
    with pytest.raises(UserError, match="damaged"):
        read_artifact(path, "0" * 64, "f" * 64)
    with pytest.raises((UserError, SafetensorError)):
        read_artifact(path, digest, "f" * 64)
    with pytest.raises(UserError, match="not a tar archive"):
        cifar.members(bomb, "batches", lambda name: True)
    assert not executed.exists()


def test_other_packs_have_other_checkpoints(tmp_path):
    packs = [image_pack("map"), image_pack("map", (1,)), image_pack("map", (0, 1)), image_pack("sgld")]
    assert len({Checkpoint.of(tmp_path, pack, False).path for pack in packs}) == len(packs)
    broken(packs[0], tmp_path, 3)
    for pack in packs[1:]:
        assert again(pack, tmp_path)[1] == [3, 6, 9, 12]


def test_a_training_does_not_go_on_in_another_precision(tmp_path, caplog):
    pack = image_pack("map")
    Checkpoint.of(tmp_path, pack, False).write({}, {"step": np.array(3)})
    assert Checkpoint.of(tmp_path, pack, False).read() is not None
    assert Checkpoint.of(tmp_path, pack, False, "bf16").read() is None
    assert "precision" in caplog.text


def test_no_checkpoint_before_its_time(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "EVERY_S", 1000.0)
    again(image_pack("map"), tmp_path)
    assert not any(tmp_path.iterdir())


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_said_in_one_sentence(tmp_path, monkeypatch):
    broken(image_pack("map"), tmp_path, 2)
    (path,) = tmp_path.iterdir()
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UserError) as caught:
            again(image_pack("map"), tmp_path)
    assert (
        str(caught.value)
        == f"Cannot write {path} (No space left on device); free some disk space and run again, or use another folder."
    )
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [before]  # the one before stands, and no draft beside it
    assert again(image_pack("map"), tmp_path)[1] == [3, 6, 9, 12]


LIKE = {"budget": "smoke", "splits": "0", "threads": 1, "device": "cpu"}


def test_a_run_goes_on_and_clears_up(tmp_path, monkeypatch):
    """By way of `bnnbench.run`: the checkpoint lies among the artifacts until the cell is stored."""
    db, folder = tmp_path / "results.db", tmp_path / "results.artifacts" / "checkpoints"
    unbroken = tmp_path / "unbroken.db"
    bnnbench.run("map,sgld", "digits", db=unbroken, **LIKE)
    original = Checkpoint.write

    def write(self, trees, arrays):
        original(self, trees, arrays)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "write", write)
        with pytest.raises(KeyboardInterrupt):
            bnnbench.run("map,sgld", "digits", db=db, **LIKE)
    assert [path.suffix for path in folder.iterdir()] == [".checkpoint"]
    with ResultStore(db, read_only=True) as store:
        assert store.attempts().empty
    begun, read = [], Checkpoint.read
    monkeypatch.setattr(Checkpoint, "read", lambda self: begun.append(read(self)) or begun[-1])
    assert bnnbench.run("map,sgld", "digits", db=db, **LIKE).statuses == {"ok": 2}
    assert [int(module.stored("", found)["step"]) for found in begun if found] == [10]
    assert not any(folder.iterdir())
    assert bnnbench.scores(db).equals(bnnbench.scores(unbroken))


def test_a_run_on_a_full_disk_stores_no_failure(tmp_path, monkeypatch):
    db = tmp_path / "results.db"

    def write(path, data):
        with file_faults("write", path):
            full()

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_file", write)
        with pytest.raises(UserError, match=r"^Cannot write .* \(No space left on device\); free some"):
            bnnbench.run("map", "digits", db=db, **LIKE)
    with ResultStore(db, read_only=True) as store:
        assert store.attempts().empty
        assert store.running().empty
    assert bnnbench.run("map", "digits", db=db, **LIKE).statuses == {"ok": 1}


def test_time_spent_before_counts(tmp_path):
    """`wall_s` is that of the whole training."""
    cells = image_cells("map", task=PLAIN)
    pack = image_pack("map", task=PLAIN, dtype=torch.float32)
    broken(pack, tmp_path, 3)
    (path,) = tmp_path.iterdir()
    rewritten(path, lambda identity, arrays: arrays.update({"array:spent": np.array(1000.0)}))
    (outcome,), *_ = attempt.attempt(
        cells, FLOAT32, attempt.Settings(CPU, checkpoints=tmp_path), RunProgress(None, 1, 1, quiet=True).line()
    )
    assert 1000 < outcome.wall_s < 1100
