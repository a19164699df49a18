"""Files of predictions that cannot be scored: each is refused by one sentence, and nothing is stored."""

from __future__ import annotations

import io
import os
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from prediction_samples import FOLDS, HEIGHTS, KIND, TASKS, TEST, TREES, csv, sound, with_ids

import bnnbench
from bnnbench.errors import UserError
from bnnbench.predictions import forms, npz, table

Arrays = dict[str, np.ndarray]


def changed(**new: object) -> Callable[[Arrays], Arrays]:
    """The arrays with some replaced, or, by None, left out."""

    def change(arrays: Arrays) -> Arrays:
        return {name: value for name, value in {**arrays, **new}.items() if value is not None}

    return change


def each_of(name: str, f: Callable[[np.ndarray], object]) -> Callable[[Arrays], Arrays]:
    return lambda arrays: {**arrays, name: np.asarray(f(arrays[name].copy()))}


def put(name: str, value: float, *place: int) -> Callable[[Arrays], Arrays]:
    def f(array: np.ndarray) -> np.ndarray:
        array[place] = value
        return array

    return each_of(name, f)


def first_twice(ids: np.ndarray) -> np.ndarray:
    ids[1] = ids[0]
    return ids


TRAIN_ROW = int(bnnbench.splits(HEIGHTS)[0].train.ids[0])

# Form, what is done to its arrays, words of the sentence.
ARRAYS = {
    "no ids": ("mean", changed(ids=None), "no ids"),
    "ids of strangers": ("mean", put("ids", 10**6, 0), "is no test row of fixed-0"),
    "id of a training row": ("mean", put("ids", TRAIN_ROW, 0), "one of its training rows"),
    "negative id": ("mean", put("ids", -1, 3), "the id -1 is no test row"),
    "id twice": ("mean", each_of("ids", first_twice), "stands there 2 times"),
    "too few rows": ("mean", lambda a: {n: v[..., :-2] for n, v in a.items()}, "2 of the 12 test rows have no pred"),
    "ids are fractions": ("mean", each_of("ids", lambda v: v + 0.5), "numbers that are not whole"),
    "ids are text": ("mean", each_of("ids", lambda v: v.astype(str)), "ids holds text"),
    "ids are NaN": ("mean", each_of("ids", lambda v: v * np.nan), "numbers that are not whole"),
    "ids of two axes": ("mean", each_of("ids", lambda v: v[:, None]), r"ids has the shape \[12, 1\]"),
    "no id": ("mean", each_of("ids", lambda v: v[:0]), r"ids has the shape \[0\]"),
    "transposed": ("mean", lambda a: {**a, "mean": a["mean"].T, "scale": a["scale"].T}, "is it transposed"),
    "another number of rows": ("mean", each_of("mean", lambda v: v[:, :-1]), r"mean has the shape \[4, 11\]"),
    "three axes": ("mean", each_of("mean", lambda v: v[None]), r"give \[S, N\]"),
    "a single number": ("mean", each_of("mean", lambda v: 1.0), r"mean has the shape \[\]"),
    "no component": ("mean", lambda a: {**a, "mean": a["mean"][:0], "scale": a["scale"][:0]}, "is empty"),
    "shapes differ": ("mean", each_of("scale", lambda v: v[:2]), "give both the same"),
    "NaN": ("mean", put("mean", np.nan, 1, 2), "mean holds nan of the row"),
    "infinite mean": ("mean", put("mean", np.inf, 1, 2), "mean holds inf"),
    "infinite scale": ("mean", put("scale", np.inf, 1, 2), "scale holds inf"),
    "negative scale": ("mean", put("scale", -1, 1, 2), "scale holds -1"),
    "scale zero": ("mean", put("scale", 0, 1, 2), "is above 0"),
    "complex": ("mean", each_of("mean", lambda v: v + 0j), "mean holds complex numbers"),
    "text": ("mean", each_of("mean", lambda v: v.astype(str)), "mean holds text"),
    "truth values": ("mean", each_of("mean", lambda v: v > 0), "mean holds truth values"),
    "dates": ("mean", each_of("mean", lambda v: v.astype("M8[s]")), "mean holds dates"),
    "mean alone": ("mean", changed(scale=None), "holds mean, and a regression"),
    "two forms": ("mean", changed(samples=sound("samples")["samples"]), "holds mean, samples, scale"),
    "an unknown array": ("mean", changed(variance=np.ones(TEST)), "holds mean, scale, variance"),
    "classes of a regression": ("mean", changed(mean=None, scale=None, log_probs=np.zeros((1, TEST, 1))), "log_probs"),
    "nothing but ids": ("mean", changed(mean=None, scale=None), "nothing but ids"),
    "chains that do not divide": ("mean", changed(chains=np.array(3)), "divides the 4 components"),
    "chains are NaN": ("mean", changed(chains=np.array(np.nan)), "divides the 4 components"),
    "several chains": ("mean", changed(chains=np.array([1, 2])), "one whole number"),
    "one draw": ("samples", each_of("samples", lambda v: v[:1]), "at least two"),
    "draws of one axis": ("samples", each_of("samples", lambda v: v[0]), r"samples has the shape \[12\]"),
    "draws transposed": ("samples", each_of("samples", lambda v: v.T), "is it transposed"),
    "draws hold NaN": ("samples", put("samples", np.nan, 39, 11), "samples holds nan"),
    "levels are percent": ("quantiles", each_of("levels", lambda v: 100 * v), "levels lie between 0 and 1"),
    "level zero": ("quantiles", put("levels", 0.0, 0), "levels lie between 0 and 1"),
    "levels fall": ("quantiles", each_of("levels", lambda v: v[::-1]), "levels do not ascend"),
    "level twice": ("quantiles", put("levels", 0.05, 1), "levels do not ascend"),
    "too few levels": ("quantiles", each_of("levels", lambda v: v[1:]), r"levels has the shape \[4\]"),
    "no levels": ("quantiles", changed(levels=None), "holds quantiles, and a regression"),
    "quantiles cross": ("quantiles", each_of("quantiles", lambda v: v[::-1]), "cross"),
    "a mean of components": ("quantiles", changed(mean=np.ones((2, TEST))), "the predictive mean"),
    "bins not normalised": ("bins", each_of("probs", lambda v: 1.01 * v), r"the sum of probs holds 1.01"),
    "densities for probabilities": ("bins", each_of("probs", lambda v: v / 5), "probabilities sum to 1"),
    "negative probability": ("bins", put("probs", -0.5, 0, 0, 0), "holds -0.5"),
    "edges fall": ("bins", each_of("edges", lambda v: v[::-1]), "edges do not ascend"),
    "too few edges": ("bins", each_of("edges", lambda v: v[1:]), "8 edges for 8 bins"),
    "endless bin": ("bins", put("edges", np.inf, -1), "edges holds inf"),
    "edges of other rows": ("bins", each_of("edges", lambda v: np.tile(v, (5, 1))), r"\[1, 5, 9\]"),
    "edges of four axes": ("bins", each_of("edges", lambda v: v[None, None, None]), r"\[B \+ 1\]"),
    "logits for probabilities": ("probs", each_of("probs", lambda v: 5 * v - 2), "a probability is not negative"),
    "classes not normalised": ("probs", each_of("probs", lambda v: 0.99 * v), "probabilities sum to 1"),
    "another number of classes": ("probs", each_of("probs", lambda v: v[..., :2]), "has 2 classes, and the task 3"),
    "labels for probabilities": ("probs", each_of("probs", lambda v: v[0].argmax(-1)), r"give \[S, N, K\]"),
    "logits": ("log_probs", each_of("log_probs", lambda v: v + 3), "at most 0"),
    "unnormalised logs": ("log_probs", each_of("log_probs", lambda v: v - 3), r"the sum of exp\(log_probs\)"),
    "logs hold NaN": ("log_probs", put("log_probs", np.nan, 0, 0, 0), "log_probs holds nan"),
    "normaliser of another shape": ("log_probs", changed(log_normaliser=np.zeros((1, TEST))), "log_normaliser has"),
    "endless normaliser": ("log_probs", changed(log_normaliser=np.full((2, TEST), np.inf)), "log_normaliser holds inf"),
    "regression of classes": ("probs", changed(probs=None, mean=np.ones(TEST)), "a classification"),
}  # fmt: skip


def refusal(place: object, task: object = HEIGHTS, **more: object) -> str:
    """The sentence by which predictions are refused; no database is made."""
    db = Path("results.db").absolute()
    with pytest.raises(UserError) as caught:
        bnnbench.score(place, task, "mine", db=db, **more)  # type: ignore[arg-type]
    assert not db.exists()
    sentence = str(caught.value)
    assert sentence.endswith((".", "?"))
    assert "\n" not in sentence
    assert len(sentence) < 600
    return sentence


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays(here, name):
    """In a file, and given in Python."""
    form, change, words = ARRAYS[name]
    arrays = change(with_ids(form))
    np.savez(here / "fixed-0.npz", **arrays)
    found = refusal(here / "fixed-0.npz", TASKS[KIND[form]])
    assert found.startswith("fixed-0.npz")
    assert re.search(words, found), found
    found = refusal({"fixed-0": arrays}, TASKS[KIND[form]])
    assert found.startswith("The predictions of fixed-0")


@pytest.mark.parametrize("form", KIND)
def test_what_is_spoilt_is_sound(here, form):
    """Else the refusals above might have another reason."""
    np.savez(here / "fixed-0.npz", **with_ids(form))
    done = bnnbench.score(here / "fixed-0.npz", TASKS[KIND[form]], "mine", db=here / "results.db")
    assert done.splits == {"fixed-0": "scored"}


class Alarm:
    """What runs code where it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("unpickled",)


def npy(shape: tuple[int, ...], dtype: str = "<f8", data: bytes = b"") -> bytes:
    """A .npy file that claims this shape."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape!r}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data


def archive(path: Path, **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in files.items():
            file.writestr(f"{name}.npy", data)
    return path


def saved(**arrays: object) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def test_objects_are_never_unpickled(here):
    arrays = with_ids("mean") | {"mean": np.array([Alarm()] * TEST, dtype=object)}
    (here / "fixed-0.npz").write_bytes(saved(**arrays))
    assert "objects, which are never unpickled" in refusal(here / "fixed-0.npz")
    assert not (here / "unpickled").exists()
    records = np.zeros(TEST, dtype=[("a", "f8")])
    (here / "fixed-0.npz").write_bytes(saved(**(with_ids("mean") | {"mean": records})))
    assert "records" in refusal(here / "fixed-0.npz")


@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.95])
def test_a_truncated_file(here, kept):
    data = saved(**with_ids("mean"))
    (here / "fixed-0.npz").write_bytes(data[: int(kept if kept > 1 else kept * len(data))])
    assert "no sound .npz file" in refusal(here / "fixed-0.npz")


def test_a_flipped_bit(here):
    data = bytearray(saved(**with_ids("mean")))
    data[data.index(b"NUMPY") + 300] ^= 1
    (here / "fixed-0.npz").write_bytes(data)
    assert "no sound .npz file" in refusal(here / "fixed-0.npz")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"no archive at all", "no sound .npz", id="text"),
        pytest.param(npy((3,), data=bytes(24)), "no sound .npz", id="npy"),
        pytest.param(b"\x80\x04\x95", "no sound .npz", id="pickle"),
    ],
)
def test_what_is_no_npz(here, content, words):
    (here / "fixed-0.npz").write_bytes(content)
    assert words in refusal(here / "fixed-0.npz")


def test_a_header_that_claims_too_much(here):
    """numpy would make room for 8 EB, or for all that the numbers of a shape multiply to."""
    for shape in ((10**18,), (2**31, 2**31, 2**31), (4, TEST)):
        archive(here / "fixed-0.npz", ids=npy((TEST,), "<i8", bytes(8 * TEST)), mean=npy(shape), scale=npy((1,)))
        assert "mean claims the shape" in refusal(here / "fixed-0.npz")


@pytest.mark.parametrize("dtype", ["|O", "<f999", "rubbish", "<U1000000"])
def test_a_header_of_a_strange_type(here, dtype):
    archive(here / "fixed-0.npz", ids=npy((TEST,), dtype, bytes(8 * TEST)))
    assert "fixed-0.npz" in refusal(here / "fixed-0.npz")


def test_a_zip_bomb(here, monkeypatch):
    """64 MB of zeros in 64 kB, with a limit to match: nothing is unpacked."""
    monkeypatch.setattr(npz, "MOST_BYTES", 2**25)
    archive(here / "fixed-0.npz", mean=npy((2**23,), data=bytes(2**26)))
    assert (here / "fixed-0.npz").stat().st_size < 2**17
    assert "unpacks to" in refusal(here / "fixed-0.npz")


def test_too_many_numbers(here, monkeypatch):
    monkeypatch.setattr(forms, "MOST", 50)
    np.savez(here / "fixed-0.npz", **with_ids("mean"))
    assert "the arrays hold 96 numbers" in refusal(here / "fixed-0.npz")


def test_archives_of_other_things(here):
    with zipfile.ZipFile(here / "fixed-0.npz", "w") as file:
        file.writestr("../../evil.npy", npy((3,), data=bytes(24)))
        file.writestr("notes.txt", "hello")
    assert "which is no array" in refusal(here / "fixed-0.npz")
    with zipfile.ZipFile(here / "fixed-0.npz", "w") as file:
        file.writestr("mean.npy", npy((3,), data=bytes(24)))
        with pytest.warns(UserWarning, match="Duplicate name"):
            file.writestr("mean.npy", npy((3,), data=bytes(24)))
    assert "2 times" in refusal(here / "fixed-0.npz")
    archive(here / "fixed-0.npz", **{f"a{i}": npy((1,), data=bytes(8)) for i in range(20)})
    assert "20 arrays" in refusal(here / "fixed-0.npz")


IDS = [int(i) for i in bnnbench.splits(HEIGHTS)[0].test.ids]


def lines(*rows: str) -> str:
    return "\n".join(rows) + "\n"


def all_rows(fields: str) -> list[str]:
    return [f"{i},{fields}" for i in IDS]


TABLES = {
    "empty": ("", "is no table"),
    "header alone": ("id,mean,scale\n", r"ids has the shape \[0\]"),
    "no id": (lines("mean,scale", *["1,2"] * TEST), "no column 'id'"),
    "row names": (lines(',"id","mean","scale"', *(f'"1",{i},1,2' for i in IDS)), "row names"),
    "an unknown column": (lines("id,mean,sd", *all_rows("1,2")), "the column 'sd'"),
    "text": (lines("id,mean,scale", *all_rows("low,2")), "'mean' holds 'low' in line 2"),
    "missing": (lines("id,mean,scale", *all_rows("1,2")[1:], f"{IDS[0]},1,"), "holds nothing in line 13"),
    "NA": (lines("id,mean,scale", *all_rows("NA,2")), "holds nothing in line 2"),
    "a short line": (lines("id,mean,scale", *all_rows("1,2")[1:], f"{IDS[0]},1"), "holds nothing in line 13"),
    "a long line": (lines("id,mean,scale", *all_rows("1,2"), f"{IDS[0]},1,2,3"), "is no table with commas"),
    "decimal commas": (lines("id,mean,scale", *all_rows("1,5,2,5")), "is no table with commas"),
    "quoted decimal commas": (lines("id,mean,scale", *all_rows('"1,5","2,5"')), "write decimal points"),
    "semicolons": (lines("id;mean;scale", *(f"{i};1.5;2" for i in IDS)), "separate by commas"),
    "as write.csv2 does": (lines("id;mean;scale", *(f"{i};1,5;2" for i in IDS)), "is no table with commas"),
    "tabs": (lines("id\tmean\tscale", *(f"{i}\t1\t2" for i in IDS)), "separate by commas"),
    "NaN": (lines("id,mean,scale", *all_rows("nan,2")), "mean holds nan"),
    "infinite": (lines("id,mean,scale", *all_rows("1e999,2")), "mean holds inf"),
    "a level that is none": (lines("id,quantile_low", *all_rows("1")), "ends in no number"),
    "percent": (lines("id,quantile_5,quantile_95", *all_rows("1,2")), "levels lie between 0 and 1"),
    "bins with a gap": (lines("id,bin_0_1,bin_2_3", *all_rows("0.5,0.5")), "leave no gap"),
    "bins that are none": (lines("id,bin_low", *all_rows("1")), "ends in no number"),
    "components of draws": (lines("id,component,sample_1", *all_rows("0,1")), "have no components"),
    "a component missing": (lines("id,component,mean,scale", *all_rows("0,1,2"), f"{IDS[0]},1,1,2"), "24 different"),
    "a component twice": (lines("id,component,mean,scale", *all_rows("0,1,2"), *all_rows("0,1,2")), "12 different"),
    "ids are floats": (lines("id,mean,scale", *(f"{i}.5,1,2" for i in IDS)), "numbers that are not whole"),
    "classes of a regression": (lines("id,prob_oak", *all_rows("1")), "is no class of the task"),
    "a formula": (lines("id,mean,scale", *all_rows("=1+1,2")), "holds '=1\\+1'"),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_tables(here, name):
    content, words = TABLES[name]
    (here / "fixed-0.csv").write_text(content)
    found = refusal(here / "fixed-0.csv")
    assert re.search(words, found), found


def test_tables_in_other_encodings(here):
    sound_one = lines("id,mean,scale", *all_rows("1,2"))
    for encoding in ("utf-16", "utf-32"):
        (here / "fixed-0.csv").write_bytes(sound_one.encode(encoding))
        assert "fixed-0.csv" in refusal(here / "fixed-0.csv")
    (here / "fixed-0.csv").write_bytes(b"\xff\xfe\xfaid,mean\n")
    assert "UTF-8" in refusal(here / "fixed-0.csv")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_mark_of_order_and_other_ends_of_lines_are_fine(here, encoding, end):
    """Spreadsheets write them."""
    (here / "fixed-0.csv").write_bytes(lines("id,mean,scale", *all_rows("1,2")).replace("\n", end).encode(encoding))
    assert bnnbench.score(here / "fixed-0.csv", HEIGHTS, "mine", db=here / "x.db").splits == {"fixed-0": "scored"}


def test_classes_of_a_table(here):
    csv(here / "fixed-0.csv", id=IDS, prob_ash=0.5, prob_oak=0.5)
    assert "'beech' has no column" in refusal(here / "fixed-0.csv", TREES)
    csv(here / "fixed-0.csv", id=IDS, prob_ash=0.5, prob_oak=0.5, prob_elm=0.5)
    assert "'elm' is no class" in refusal(here / "fixed-0.csv", TREES)


def test_a_table_that_is_too_large(here, monkeypatch):
    monkeypatch.setattr(table, "MOST_BYTES", 10)
    csv(here / "fixed-0.csv", id=IDS, mean=1.0, scale=1.0)
    assert "write an .npz file" in refusal(here / "fixed-0.csv")


def folder_of_folds(here: Path) -> Path:
    folder = here / "folds"
    folder.mkdir()
    for index in range(10):
        np.savez(folder / f"10fold-{index}.npz", **with_ids("mean", FOLDS, index))
    return folder


def test_folders(here):
    folder = folder_of_folds(here)
    (folder / "10fold-3.npz").rename(here / "10fold-3.npz")
    assert "no predictions of 10fold-3 (1 of 10" in refusal(folder, FOLDS)
    np.savez(folder / "10fold-3.npz", **with_ids("mean", FOLDS, 4))
    assert "but one of the test rows of 10fold-4" in refusal(folder, FOLDS)
    (here / "10fold-3.npz").replace(folder / "10fold-3.npz")
    (folder / "notes.txt").write_text("not looked at")
    (folder / "10fold-3.csv").write_text("id\n")
    assert "There are 10fold-3.csv and 10fold-3.npz" in refusal(folder, FOLDS)
    (folder / "10fold-3.csv").rename(folder / "fold3.csv")
    assert "fold3.csv names no split" in refusal(folder, FOLDS)
    (folder / "fold3.csv").unlink()
    assert len(bnnbench.score(folder, FOLDS, "mine", db="fine.db").splits) == 10


def test_places(here):
    assert "no file and no folder" in refusal(here / "absent")
    np.savez(here / "predictions.npz", **with_ids("mean", FOLDS))
    assert "names no split" in refusal(here / "predictions.npz", FOLDS)
    (here / "fixed-0.pkl").write_bytes(b"x")
    assert "neither .npz nor .csv" in refusal(here / "fixed-0.pkl")
    (here / "empty").mkdir()
    assert "no predictions of fixed-0" in refusal(here / "empty")
    os.mkfifo(here / "fixed-0.npz")
    assert "no file and no folder" in refusal(here / "fixed-0.npz")
    (here / "pipes").mkdir()
    os.mkfifo(here / "pipes" / "fixed-0.npz")
    assert "a pipe" in refusal(here / "pipes")
    (here / "folders" / "fixed-0.npz").mkdir(parents=True)
    assert "Cannot read" in refusal(here / "folders")


@pytest.mark.parametrize(
    ("predictions", "words"),
    [
        ({}, "no predictions of fixed-0"),
        ({7: {}}, "7 is no split"),
        ({"10fold-0": {}}, "'10fold-0' is no split"),
        ({0.0: {}}, "0.0 is no split"),
        ({True: {}}, "True is no split"),
        ({0: [1, 2]}, "no arrays by name, but a list"),
        ({0: None}, "no arrays by name"),
        ({0: {"ids": [[1], [2, 3]]}}, "cannot be made an array"),
        ({0: {"ids": IDS, "mean": ["a"] * TEST, "scale": [1.0] * TEST}}, "mean holds text"),
        ({0: {"ids": IDS, "mean": [None] * TEST, "scale": [1.0] * TEST}}, "mean holds objects"),
    ],
)
def test_arrays_in_python(predictions, words):
    assert words in refusal(predictions)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"method": "map"}, "'map' is a method that this suite trains itself"),
        ({"method": "all"}, "group of methods"),
        ({"method": "references"}, "group of methods"),
        ({"method": ""}, "cannot be taken"),
        ({"method": "a b"}, "cannot be taken"),
        ({"method": "../x"}, "cannot be taken"),
        ({"method": "x" * 61}, "cannot be taken"),
        ({"method": "<script>"}, "cannot be taken"),
        ({"method": 5}, "must be a string"),
        ({"citation": "two\nlines"}, "one line"),
        ({"citation": "x" * 2000}, "at most 1,000"),
        ({"citation": "\udcff"}, "printable"),
        ({"gradients": 0}, "at least 1"),
        ({"gradients": -5}, "at least 1"),
        ({"gradients": 1.5}, "whole number"),
        ({"budget": "quik"}, "did you mean quick"),
        ({"split_rule": "10fold"}, "no split rule '10fold'"),
        ({"splits": [1]}, "has splits 0 to 0"),
        ({"task": "hosing"}, "did you mean housing"),
        ({"task": "moons"}, "of the kind"),
    ],
)
def test_what_is_said_of_predictions(here, more, words):
    np.savez(here / "fixed-0.npz", **with_ids("mean"))
    with pytest.raises(UserError, match=words) as caught:
        bnnbench.score(**{"predictions": here / "fixed-0.npz", "task": HEIGHTS, "method": "mine", "db": "x.db"} | more)
    assert str(caught.value).endswith((".", "?"))
    assert not (here / "x.db").exists()


def test_there_are_enough_kinds():
    assert len(ARRAYS) + len(TABLES) > 80
