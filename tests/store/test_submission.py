"""Results in one file: there and back without a loss, and whatever somebody has done to it is said in a sentence."""

import hashlib
import io
import json
import re
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save
from store_samples import METRICS, SESSION, make_cell
from test_merge import assert_same, files, made, merge, outcome, shown

from bnnbench.errors import UserError
from bnnbench.records import EvaluationRecord, MethodRecord, Status, TaskRecord
from bnnbench.store import merge as merging
from bnnbench.store.store import ResultStore
from bnnbench.store.submission import checksum, is_submission, write_submission
from bnnbench.store.submission_file import Damaged, opened
from bnnbench.store.submission_source import submission_source
from bnnbench.store.validation import Installed, faults

SPLITS = 3


def rescored(record, arrays):
    """As if the first number of the predictive were the error."""
    return {("test", "rmse"): float(arrays["p"][0])}


INSTALLED = Installed(
    methods={"bbp": 1, "mcd": 2},
    task_version={"wine": "1+sha256:aa", "yacht": "1"}.get,
    metrics={record.name: record for record in METRICS},
    splits=lambda record: SPLITS if record.task == "wine" else None,
    rescored=rescored,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A database of three splits of one method, one of which diverged, and its two files."""
    folder = tmp_path_factory.mktemp("submission")
    odd = {"figure": {"count": np.array([1, 2, 3]), "value": np.array([0.1, np.nan, -np.inf])}, "empty": {"x": []}}
    first = outcome(make_cell(0))
    (test,) = first.evaluations
    first = replace(first, evaluations=(replace(test, curves=odd), EvaluationRecord("train", 9, test.scores)))
    lost = outcome(make_cell(2), status=Status.DIVERGED, message="the loss was not finite")
    made(folder / "mine.db", first, outcome(make_cell(1), 0.25), lost)
    for ending in ("json", "zip"):
        with ResultStore(folder / "mine.db", read_only=True) as store:
            write_submission(store, folder / f"mine.{ending}", lambda row: SPLITS)
    return folder


def check(path):
    with opened(path) as submission:
        return faults(submission, INSTALLED)


def merged(path, into, **options):
    with submission_source(path, INSTALLED) as opened_source:
        return merging.merge([opened_source], into, **options)


@pytest.mark.parametrize("ending", ["json", "zip"])
def test_there_and_back(folder, tmp_path, ending):
    """A database that is made of the file is that which it was made of: every score, every digit of every curve."""
    path = folder / f"mine.{ending}"
    assert check(path) == []
    told = merged(path, tmp_path / "all.db")
    assert told.taken[0].joined.new == 3
    assert_same(folder / "mine.db", tmp_path / "all.db", without=["methods"])  # of which one has no cell
    with ResultStore(tmp_path / "all.db", read_only=True) as store:
        assert store.methods()["name"].tolist() == ["bbp"]
    own = files(folder / "mine.artifacts")
    kept = files(tmp_path / "all.artifacts")
    assert (len(kept), len(own)) == (2 if ending == "zip" else 0, 4)
    assert kept.items() <= own.items()
    with ResultStore(tmp_path / "all.db", read_only=True) as store:
        (figure,) = [series for _, _, series in store.curves("figure")]
    assert figure["count"].dtype == np.int64
    np.testing.assert_array_equal(figure["value"], [0.1, np.nan, -np.inf])


def test_the_file_and_its_database_are_one_and_the_same_to_a_merge(folder, tmp_path):
    merged(folder / "mine.json", tmp_path / "all.db")
    before = shown(tmp_path / "all.db")
    told = merge([folder / "mine.db"], tmp_path / "all.db")
    assert told.rows()[0][1:] == (3, 0, 0, 0, 4)  # the arrays, which the file lacks
    after = shown(tmp_path / "all.db")
    assert all(before[name].equals(after[name]) for name in before if name != "methods")


def test_the_file_is_readable_and_holds_provenance(folder):
    content = json.loads((folder / "mine.json").read_text(encoding="utf-8"))
    assert content["format"] == "bnnbench submission"
    assert content["sessions"][0]["revision"] == "abc"
    assert content["cells"][0]["evaluations"][0]["scores"]["rmse"] == [0.5, 0.1]
    assert {len(cell["artifacts"]) for cell in content["cells"]} == {0, 2}
    with zipfile.ZipFile(folder / "mine.zip") as file:
        assert json.loads(file.read("submission.json")) == content | {"written": file_written(file)} | {
            "sha256": json.loads(file.read("submission.json"))["sha256"]
        }
        for name in set(file.namelist()) - {"submission.json"}:
            assert Path(name).stem == hashlib.sha256(file.read(name)).hexdigest()


def file_written(file):
    return json.loads(file.read("submission.json"))["written"]


def test_what_cannot_be_written(folder, tmp_path):
    with ResultStore(folder / "mine.db", read_only=True) as store:
        for out, filters, sentence in [
            (tmp_path / "x.txt", {}, "ends in neither .json nor .zip"),
            (tmp_path / "x.json", {"method": "nobody"}, "has no results of these"),
            (folder / "no folder", {}, "ends in neither"),
        ]:
            with pytest.raises(UserError, match=sentence):
                write_submission(store, out, lambda row: SPLITS, **filters)
    shutil.copytree(folder, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / "mine.artifacts")
    with (
        ResultStore(tmp_path / "copy" / "mine.db", read_only=True) as store,
        pytest.raises(UserError, match=r"The artifact .* is missing"),
    ):
        write_submission(store, tmp_path / "x.zip", lambda row: SPLITS)
    assert not (tmp_path / "x.zip").exists()


def test_names():
    assert is_submission("a.zip")
    assert is_submission(Path("b/a.JSON"))
    assert not is_submission("a.db")
    assert not is_submission("postgresql://h/a.json")


# What somebody may do to the readable part -> the fault. With its checksum made anew, unless it is the checksum's.
def edited(path, tmp_path, change, seal=True):
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    if seal:
        content["sha256"] = checksum(content)
    out = tmp_path / "edited.json"
    out.write_text(json.dumps(content), encoding="utf-8")
    return out


def scores(content, cell=0):
    return content["cells"][cell]["evaluations"][0]["scores"]


FAULTS = {
    "an edited number": (lambda c: scores(c).update(rmse=[0.4, 0.1]), "Its own checksum differs", False),
    "another seed": (lambda c: c["cells"][0].update(seed=5), "has the fingerprint .* and its identity gives", True),
    "another method": (
        lambda c: c["cells"][0].update(method="mcd", method_version=2),
        "which the file does not define",
        True,
    ),
    "no finite number": (
        lambda c: scores(c).update(rmse=["nan", 0.1]),
        "has nan as rmse of test, which is not finite",
        True,
    ),
    "infinity": (lambda c: scores(c).update(rmse=["-inf", None]), "has -inf as rmse of test", True),
    "a number beyond floats": (
        lambda c: scores(c).update(rmse=[0.4, -1.0]),
        "has -1.0 as the standard error of rmse",
        True,
    ),
    "a metric it does not define": (
        lambda c: scores(c).update(mine=[1.0, None]),
        "a metric that the file does not define",
        True,
    ),
    "an unknown metric": (
        lambda c: (c["metrics"].append({**c["metrics"][0], "name": "mine"}), scores(c).update(mine=[1, None])),
        "The metric mine is not known here",
        True,
    ),
    "a metric turned round": (
        lambda c: [m.update(better=-m["better"]) for m in c["metrics"]],
        "is better if higher in it",
        True,
    ),
    "no cells": (lambda c: c["cells"].clear(), "It holds no cell", True),
    "a missing split": (lambda c: c["cells"].pop(1), r"lacks 1 of the 3 splits of 10fold: 1\.", True),
    "a failed split": (
        lambda c: c["cells"][2].update(status="failed"),
        r"lacks 1 of the 3 splits of 10fold: 2\.",
        True,
    ),
    "a split too many": (
        lambda c: c["cells"][2].update(split_index=7),
        "has split 7, and 10fold has 3 splits only",
        True,
    ),
    "a negative split": (lambda c: c["cells"][2].update(split_index=-1), "is of split -1", True),
    "a cell twice": (lambda c: c["cells"].append(c["cells"][0]), "stands 2 times in it", True),
    "an unknown status": (
        lambda c: c["cells"][0].update(status="great"),
        "has the status 'great', which is none",
        True,
    ),
    "a diverged cell with scores": (
        lambda c: c["cells"][0].update(status="diverged"),
        "has the status diverged and 2",
        True,
    ),
    "a scored cell without scores": (lambda c: c["cells"][0].update(evaluations=[]), "has the status ok and 0", True),
    "an evaluation without scores": (lambda c: scores(c).clear(), "has no score of test", True),
    "an evaluation twice": (
        lambda c: c["cells"][0]["evaluations"][1].update(name="test"),
        "has 2 evaluations of the name",
        True,
    ),
    "an evaluation of no points": (
        lambda c: c["cells"][0]["evaluations"][0].update(n=0),
        "of test over 0 points",
        True,
    ),
    "another version of a method": (
        lambda c: (c["methods"][0].update(version=7), [x.update(method_version=7) for x in c["cells"]]),
        "The method bbp is of version 7, and 1 is installed here",
        True,
    ),
    "other data": (
        lambda c: (
            c["tasks"][0].update(version="1+sha256:bb"),
            [x.update(task_version="1+sha256:bb") for x in c["cells"]],
        ),
        r"The task wine is of version 1\+sha256:bb, and 1\+sha256:aa is",
        True,
    ),
    "a session that is not there": (lambda c: c["cells"][0].update(session=9), "refers to session 9", True),
    "costs below zero": (lambda c: c["cells"][0].update(wall_s=-1.0), "has -1.0 as wall_s", True),
    "a configuration that is none": (
        lambda c: c["cells"][0].update(config="[1"),
        "has a configuration that is no JSON",
        True,
    ),
    "a name that leads elsewhere": (
        lambda c: c["cells"][0]["evaluations"][0].update(name="../../x"),
        "evaluations of the name '../../x'",
        True,
    ),
    "a definition twice": (lambda c: c["methods"].append(c["methods"][0]), "The method bbp 1 is defined twice", True),
    "a method whose name is code": (
        lambda c: c["methods"].append({**c["methods"][0], "name": "<script>"}),
        "has no name that",
        True,
    ),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_faults(folder, tmp_path, kind):
    change, sentence, seal = FAULTS[kind]
    path = edited(folder / "mine.json", tmp_path, change, seal)
    found = check(path)
    assert any(re.search(sentence, fault) for fault in found), found
    assert all(fault.endswith(".") for fault in found)
    with pytest.raises(UserError, match=r"and was not taken; `bnnbench validate .*` lists them"):
        merged(path, tmp_path / "all.db")
    assert not (tmp_path / "all.db").exists()


def deep(depth=100_000):
    return b'{"format": "bnnbench submission", "version": 2, "cells": ' + b"[" * depth + b"]" * depth + b"}"


FORMS = {  # of no submission at all
    "empty": lambda text: b"",
    "cut off": lambda text: text[: len(text) // 2],
    "not UTF-8": lambda text: b"\xff\xfe" + text,
    "a byte order mark": lambda text: b"\xef\xbb\xbf" + text,
    "NaN": lambda text: text.replace(b"0.25", b"NaN", 1),
    "half a character": lambda text: text.replace(b'"abc"', rb'"\ud800"', 1),
    "a name twice": lambda text: text.replace(b'"format"', b'"format": 1, "format"', 1),
    "nested deeply": lambda text: deep(),
    "a list": lambda text: b"[1, 2]",
    "another format": lambda text: text.replace(b"bnnbench submission", b"something else"),
    "a newer format": lambda text: text.replace(b'"version": 2', b'"version": 3', 1),
    "an older format": lambda text: text.replace(b'"version": 2', b'"version": 1', 1),
    "a number of many digits": lambda text: text.replace(b'"n": 160', b'"n": ' + b"9" * 5000, 1),
    "a number that no database holds": lambda text: text.replace(b'"n": 160', b'"n": 99999999999999999999', 1),
    "a field missing": lambda text: text.replace(b'"seed": 0,', b"", 1),
    "a field too many": lambda text: text.replace(b'"seed": 0,', b'"seed": 0, "extra": 1,', 1),
    "text for a number": lambda text: text.replace(b'"seed": 0', b'"seed": "0"', 1),
    "true for a number": lambda text: text.replace(b'"seed": 0', b'"seed": true', 1),
    "a date that is none": lambda text: text.replace(b'"finished": "', b'"finished": "x', 1),
    "a curve that is none": lambda text: text.replace(b'"loss": [', b'"loss": [[1], ', 1),
    "a score that is none": lambda text: text.replace(b'"rmse": [', b'"rmse": [[], ', 1),
    "a checksum that leads elsewhere": lambda text: text.replace(b'"posterior": "', b'"posterior": "../', 1),
    "pickle": lambda text: b"\x80\x04\x95" + text,
}


@pytest.mark.parametrize("kind", FORMS)
def test_forms(folder, tmp_path, kind):
    path = tmp_path / "file.json"
    text = (folder / "mine.json").read_bytes()
    path.write_bytes(FORMS[kind](text))
    assert path.read_bytes() != text
    with pytest.raises(Damaged) as caught:
        check(path)
    assert str(caught.value).count("\n") == 0
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 600


def rezipped(folder, path, change):
    """The zip with other members: `change` takes and gives a dict of them."""
    with zipfile.ZipFile(folder / "mine.zip") as file:
        members = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in change(members).items():
            file.writestr(name, data)
    return path


def artifact(members):
    return next(name for name in members if name.startswith("artifacts/"))


def other_arrays(members):
    """Another predictive of the first cell, with a name that fits it, and every checksum made anew."""
    data = save({"p": np.array([9.0, 9.0])})
    digest, old = hashlib.sha256(data).hexdigest(), artifact(members)
    content = json.loads(members["submission.json"].replace(Path(old).stem.encode(), digest.encode()))
    content["sha256"] = checksum(content)
    kept = {name: own for name, own in members.items() if name not in (old, "submission.json")}
    return {"submission.json": json.dumps(content).encode(), f"artifacts/{digest}.safetensors": data, **kept}


ZIPS = {
    "a path that leads out": (lambda m: {**m, "../../evil": b"x"}, "which is no part of a submission"),
    "an absolute path": (lambda m: {**m, "/etc/passwd": b"x"}, "which is no part of a submission"),
    "code": (lambda m: {**m, "setup.py": b"x"}, "'setup.py', which is no part"),
    "an array of objects": (lambda m: {**m, "artifacts/a.npy": b"x"}, "which is no part of a submission"),
    "no content": (lambda m: {n: d for n, d in m.items() if n != "submission.json"}, "holds no submission.json"),
    "changed arrays": (lambda m: {**m, artifact(m): b"no arrays"}, "its checksum differs"),
    "arrays missing": (lambda m: {n: d for n, d in m.items() if n != artifact(m)}, "is not in the file"),
    "arrays too many": (lambda m: {**m, f"artifacts/{'0' * 64}.safetensors": b""}, "which no cell names"),
    "other arrays": (other_arrays, "and its own predictive gives 9"),
}


@pytest.mark.parametrize("kind", ZIPS)
def test_zips(folder, tmp_path, kind):
    change, sentence = ZIPS[kind]
    path = rezipped(folder, tmp_path / "file.zip", change)
    try:
        found = check(path)
    except Damaged as error:
        found = [str(error)]
    assert any(sentence in fault for fault in found), found
    assert [p.name for p in tmp_path.iterdir()] == ["file.zip"]


def test_a_zip_that_is_cut_off_or_none(folder, tmp_path):
    data = (folder / "mine.zip").read_bytes()
    for kind, damaged in {"cut": data[: len(data) // 2], "text": b"no zip", "flipped": _flipped(data)}.items():
        path = tmp_path / f"{kind}.zip"
        path.write_bytes(damaged)
        with pytest.raises(Damaged, match=r"copy it again|copy the file again"):
            check(path)


def _flipped(data):
    middle = data.index(b"submission.json") + 200
    return data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :]


def test_a_bomb_is_never_unpacked(tmp_path):
    path = tmp_path / "bomb.zip"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file, file.open("submission.json", "w") as member:
        for _ in range(300):
            member.write(bytes(2**20))
    path.write_bytes(buffer.getvalue())
    assert path.stat().st_size < 2**20
    with pytest.raises(Damaged, match="more than a submission may"):
        check(path)


def test_a_file_twice_in_a_zip(folder, tmp_path):
    path = tmp_path / "twice.zip"
    shutil.copy(folder / "mine.zip", path)
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as file:
        file.writestr("submission.json", b"{}")
    with pytest.raises(Damaged, match="holds a file twice"):
        check(path)


def test_files_that_are_none(tmp_path):
    (tmp_path / "folder.json").mkdir()
    for name in ("none.json", "folder.json"):
        with pytest.raises(UserError, match="There is no file"):
            check(tmp_path / name)
    with pytest.raises(UserError, match=r"ends in neither \.json nor \.zip"):
        check(tmp_path / "mine.db")


def test_scores_that_do_not_follow_from_the_predictive(folder, tmp_path):
    """A number edited with all checksums made anew: the predictive tells."""

    def change(members):
        content = json.loads(members["submission.json"])
        content["cells"][1]["evaluations"][0]["scores"]["rmse"][0] = 0.01
        content["sha256"] = checksum(content)
        return {**members, "submission.json": json.dumps(content).encode()}

    (fault,) = check(rezipped(folder, tmp_path / "file.zip", change))
    assert "has 0.01 as rmse of test, and its own predictive gives 0.25." in fault


def test_a_task_that_is_not_here_is_counted_by_the_file(tmp_path):
    cells = [make_cell(i, task="boat", task_version="1") for i in range(2)]
    with ResultStore(tmp_path / "mine.db") as store:
        store.register(
            [MethodRecord("bbp", 1, "", (), 0)], [TaskRecord("boat", "1", "regression", ("x",), "", 0)], METRICS
        )
        store.record(store.start_session(SESSION), [outcome(cell) for cell in cells])
        write_submission(store, tmp_path / "two.json", lambda row: 2)
        write_submission(store, tmp_path / "three.json", lambda row: 3)
        write_submission(store, tmp_path / "none.json", lambda row: None)
    assert check(tmp_path / "two.json") == []
    assert "lacks 1 of the 3 splits" in check(tmp_path / "three.json")[0]
    assert "How many splits 10fold of boat has is not known here" in check(tmp_path / "none.json")[0]
