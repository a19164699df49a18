"""Predictions made elsewhere: scores that equal those of the cells that made them, and how they stand beside them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from prediction_samples import FOLDS, HEIGHTS, TREES, csv, with_ids

import bnnbench
from bnnbench import names
from bnnbench.cli import main
from bnnbench.errors import UserError
from bnnbench.metrics import METRICS
from bnnbench.store.store import ResultStore
from bnnbench.tasks import TASKS

# Method, task, and the number of chains that the file must tell, since metrics of convergence need it.
TRAINED = [("map", "diabetes", 0), ("sgld", "diabetes", 1), ("mclmc", "diabetes", 4), ("ensemble-deep", "digits", 0)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A database with a cell of each."""
    db = tmp_path_factory.mktemp("trained") / "results.db"
    for task in ("diabetes", "digits"):
        methods = [method for method, own, _ in TRAINED if own == task]
        bnnbench.run(methods, task, splits=[0], budget="smoke", db=db, jobs=1, device="cpu")
    return db


@pytest.fixture
def db(trained, tmp_path) -> Path:
    """A copy of it."""
    shutil.copytree(trained.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / "results.db"


def stored(db: Path, method: str, task: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The predictive that a cell left, as it lies beside the database, with the ids of its rows."""
    with ResultStore(db, read_only=True) as store:
        (cell,) = store.attempts(method=method, task=task)["fingerprint"]
        arrays = store.artifact(cell, "predictive")
    return arrays, TASKS.get(task).splits("10fold")[0].test


def table_of(db: Path, method: str, task: str) -> pd.DataFrame:
    scores = bnnbench.scores(db, method=method, task=task, evaluation="test")
    return scores.set_index("metric")[["value", "stderr"]]


@pytest.mark.parametrize(("method", "task", "chains"), TRAINED, ids=lambda value: str(value))
def test_scores_are_those_of_the_cell_that_made_the_predictions(db, tmp_path, method, task, chains):
    """To 1e-12, by every metric, from a file whose rows are in another order; curves of figures and blocks too."""
    arrays, ids = stored(db, method, task)
    order = np.random.default_rng(0).permutation(len(ids))
    fields = [name for name in ("mean", "scale", "log_probs", "log_normaliser") if f"test/{name}" in arrays]
    given = {name: arrays[f"test/{name}"][:, order] for name in fields} | {"ids": ids[order]}
    np.savez(tmp_path / "10fold-0.npz", **given, **({"chains": chains} if chains else {}))
    done = bnnbench.score(tmp_path / "10fold-0.npz", task, "copy", budget="smoke", db=db)
    assert (dict(done.splits), done.left_out) == ({"10fold-0": "scored"}, ())
    want, found = table_of(db, method, task), table_of(db, "copy", task)
    assert len(want) >= 12
    pd.testing.assert_frame_equal(found, want, rtol=1e-12, atol=1e-12)
    with ResultStore(db, read_only=True) as store:
        for curve in ("pit_ecdf", "reliability", "entropy"):
            pairs = [store.curves(curve, method=own, task=task, evaluation="test") for own in (method, "copy")]
            assert len(pairs[0]) == len(pairs[1])
            for (*_, one), (*_, other) in zip(*pairs, strict=True):
                assert one.keys() == other.keys()
                assert all(np.array_equal(one[name], other[name], equal_nan=True) for name in one)


def test_a_table_is_as_exact_as_arrays(db, tmp_path):
    """Text holds every digit of a number, one line for each component."""
    arrays, ids = stored(db, "sgld", "diabetes")
    terms = len(arrays["test/mean"])
    columns = {name: arrays[f"test/{name}"].reshape(-1) for name in ("mean", "scale")}
    columns |= {"id": np.tile(ids, terms), "component": np.repeat(np.arange(terms), len(ids))}
    csv(tmp_path / "10fold-0.csv", **columns)
    bnnbench.score(tmp_path / "10fold-0.csv", "diabetes", "copy", budget="smoke", db=db)
    found, want = table_of(db, "copy", "diabetes"), table_of(db, "sgld", "diabetes")
    pd.testing.assert_frame_equal(found, want.loc[found.index], rtol=1e-12)
    assert set(want.index) - set(found.index) == {m.name for m in METRICS if "chains" in m.needs}


def test_classes_of_a_table_are_called_by_their_labels(tmp_path):
    arrays = with_ids("probs", TREES)
    labels = ("oak", "ash", "beech")  # in any order
    place = [("ash", "beech", "oak").index(label) for label in labels]
    own = {f"prob_{label}": arrays["probs"][0, :, k] for label, k in zip(labels, place, strict=True)}
    csv(tmp_path / "fixed-0.csv", id=arrays["ids"], **own)
    db = tmp_path / "x.db"
    bnnbench.score(tmp_path / "fixed-0.csv", TREES, "table", db=db)
    bnnbench.score({0: {"ids": arrays["ids"], "probs": arrays["probs"][0]}}, TREES, "arrays", db=db)
    pd.testing.assert_frame_equal(table_of(db, "table", "trees"), table_of(db, "arrays", "trees"), rtol=1e-12)


def test_a_table_as_r_writes_it(tmp_path):
    """`write.csv(table, row.names = FALSE)`: names in quotes, numbers of 15 digits."""
    ids = bnnbench.splits(HEIGHTS)[0].test.ids
    lines = ['"id","mean","scale"', *(f"{i},10.1234567890123,2e-05" for i in ids)]
    (tmp_path / "fixed-0.csv").write_text("\n".join(lines) + "\n")
    done = bnnbench.score(tmp_path, HEIGHTS, "from-r", db=tmp_path / "x.db")
    assert done.splits == {"fixed-0": "scored"}
    assert table_of(tmp_path / "x.db", "from-r", "heights")["value"]["aleatoric_std"] == pytest.approx(2e-5, rel=1e-12)


@pytest.mark.parametrize("form", ["samples", "quantiles", "bins"])
def test_other_forms_of_tables(tmp_path, form):
    arrays = with_ids(form, HEIGHTS)
    if form == "samples":
        columns: dict[str, Any] = {f"sample_{s + 1}": row for s, row in enumerate(arrays["samples"])}
    elif form == "quantiles":
        pairs = list(zip(arrays["levels"], arrays["quantiles"], strict=True))
        columns = {f"quantile_{level}": row for level, row in reversed(pairs)}
    else:
        arrays["probs"] = arrays["probs"][:1]
        edges = arrays["edges"]
        columns = {f"bin_{edges[b]}_{edges[b + 1]}": arrays["probs"][0, :, b] for b in range(len(edges) - 1)}
    csv(tmp_path / "fixed-0.csv", id=arrays["ids"], **columns)
    db = tmp_path / "x.db"
    one = bnnbench.score(tmp_path / "fixed-0.csv", HEIGHTS, "table", db=db)
    other = bnnbench.score({0: arrays}, HEIGHTS, "arrays", db=db)
    assert one.metrics == other.metrics
    assert one.forms == other.forms
    pd.testing.assert_frame_equal(table_of(db, "table", "heights"), table_of(db, "arrays", "heights"), rtol=1e-12)


def test_scores_of_one_split_by_hand(tmp_path):
    """A mean and a spread for all rows: RMSE and log-likelihood from the targets, which the splits give if asked."""
    split = bnnbench.splits(HEIGHTS, test_targets=True)[0]
    assert split.test.y is not None
    n = len(split.test.ids)
    given = {"ids": split.test.ids[::-1], "mean": np.full(n, 9.0), "scale": np.full(n, 3.0)}
    bnnbench.score({"fixed-0": given}, HEIGHTS, "flat", gradients=12, citation="Gauss 1809", db=tmp_path / "x.db")
    found = table_of(tmp_path / "x.db", "flat", "heights")["value"]
    error = split.test.y - 9.0
    assert found["rmse"] == pytest.approx(np.sqrt((error**2).mean()))
    want = (-0.5 * (error / 3) ** 2 - np.log(3) - 0.5 * np.log(2 * np.pi)).mean()
    assert found["log_likelihood"] == pytest.approx(want)
    with ResultStore(tmp_path / "x.db", read_only=True) as store:
        (row,) = store.attempts().to_dict("records")
        assert (row["origin"], row["gradients"], row["status"]) == ("external", 12, "ok")
        assert store.methods()["citation"].tolist() == ["Gauss 1809"]


def test_the_same_again_does_nothing_and_others_need_force(tmp_path):
    db, first = tmp_path / "x.db", {i: with_ids("mean", FOLDS, i) for i in range(10)}

    def attempts() -> pd.DataFrame:
        with ResultStore(db, read_only=True) as store:
            return store.attempts()

    some = bnnbench.score(first, FOLDS, "mine", citation="Me 2026", splits="0,1", db=db)
    assert list(some.splits) == ["10fold-0", "10fold-1"]
    more = bnnbench.score(first, FOLDS, "mine", db=db)
    assert list(more.splits.values()) == ["unchanged"] * 2 + ["scored"] * 8
    before = attempts()
    again = bnnbench.score({i: {**a, "ids": a["ids"].astype(float)} for i, a in first.items()}, FOLDS, "mine", db=db)
    assert set(again.splits.values()) == {"unchanged"}
    pd.testing.assert_frame_equal(attempts(), before)
    other = {**first, 3: {**first[3], "mean": first[3]["mean"] + 1}}
    with pytest.raises(UserError, match="other predictions of 'mine' on folds 10fold-3; replace them by --force"):
        bnnbench.score(other, FOLDS, "mine", db=db)
    pd.testing.assert_frame_equal(attempts(), before)
    assert bnnbench.score(other, FOLDS, "mine", splits=[3], force=True, db=db).splits == {"10fold-3": "replaced"}
    changed = attempts()["source"] != before["source"]
    assert attempts()["split"][changed].tolist() == ["10fold-3"]
    with ResultStore(db, read_only=True) as store:
        assert store.methods()["citation"].tolist() == ["Me 2026"]  # what was said once is kept


def test_the_name_of_trained_cells_is_taken(db, tmp_path, monkeypatch):
    """Also of a method that is not installed here."""
    from bnnbench.methods import METHODS

    METHODS.discover()
    monkeypatch.setattr(METHODS, "_entries", {n: m for n, m in METHODS._entries.items() if n != "map"})
    split = bnnbench.splits("diabetes")[0]
    given = {"ids": split.test.ids, "mean": np.ones(len(split.test.ids)), "scale": np.ones(len(split.test.ids))}
    with pytest.raises(UserError, match="holds cells of 'map' that were trained"):
        bnnbench.score({0: given}, "diabetes", "map", splits=[0], db=db)


def command(*words: object) -> str:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def beside(db, tmp_path) -> Path:
    """The database with external predictions of two forms beside what was trained."""
    split = bnnbench.splits("diabetes")[0]
    n, y = len(split.test.ids), split.train.y
    assert y is not None
    levels = [0.05, 0.5, 0.95]
    forms = {
        "my-mean": {"mean": np.full(n, y.mean()), "scale": np.full(n, y.std())},
        "my-quantiles": {"quantiles": np.tile(np.quantile(y, levels)[:, None], n), "levels": np.array(levels)},
    }
    for name, arrays in forms.items():
        np.savez(tmp_path / "10fold-0.npz", ids=split.test.ids, **arrays)
        told = command("score", tmp_path / "10fold-0.npz", "--task", "diabetes", "--method", name, "--splits", 0,
                       "--budget", "smoke", "--citation", "Quetelet 1835", "--gradients", 7, "--db", db)  # fmt: skip
        assert f"{name} on diabetes: 1 scored" in told
        assert "◇: predictions that were made elsewhere" in told
    assert "Left out, for this form does not say it: log_likelihood," in told
    return db


def test_external_cells_in_tables_of_reports(beside, tmp_path):
    written = bnnbench.report(beside, tmp_path / "report", figures="none")
    page = (tmp_path / "report" / "starter-10fold.md").read_text()
    assert "my-mean◇" in page
    assert "| map " in page
    assert "made elsewhere and scored here" in page
    reading = (tmp_path / "report" / "reading.md").read_text()
    told = next(line for line in reading.splitlines() if line.startswith("* Predictions made elsewhere"))
    assert told.endswith(
        "my-mean (Quetelet 1835, 7 gradients a cell); my-quantiles (Quetelet 1835, 7 gradients a cell)"
    )
    tables = {path.stem: path.read_text() for path in written if path.suffix == ".tex"}
    assert r"my-mean$\diamond$" in tables["starter-10fold-log_likelihood"]
    assert "my-quantiles" not in tables["starter-10fold-log_likelihood"]  # it has none, which is no failure
    (cost,) = (path for path in written if path.name == "starter-10fold-cost.csv")
    assert "my-" not in cost.read_text()
    assert "map" in cost.read_text()
    assert "failed or missing" not in page.partition("my-quantiles")[2]


def test_external_cells_are_listed(beside):
    told = command("status", "--db", beside)
    assert [line.split()[4] for line in told.splitlines() if "my-" in line] == ["external"] * 2
    assert [line.split()[4] for line in told.splitlines() if " map " in line] == ["trained"]
    exported = pd.read_csv(pd.io.common.StringIO(command("export", "--db", beside)))
    assert set(exported["method"][exported["origin"] == "external"]) == {"my-mean", "my-quantiles"}
    assert exported.columns[-1] == "fingerprint"
    cell = exported.set_index("method")["fingerprint"]["my-mean"].iloc[0]
    assert "external" in command("show", cell, "--db", beside)
    with pytest.raises(UserError, match="made elsewhere"):
        bnnbench.load(beside, cell)


def test_a_run_goes_on_beside_them(beside):
    """What is stored of others is no posterior, and is left alone."""
    before = table_of(beside, "my-quantiles", "diabetes")
    done = bnnbench.run("constant,map", "diabetes", splits=[0], calibrate="all", budget="smoke", db=beside, jobs=1)
    assert done.missing == 1
    pd.testing.assert_frame_equal(table_of(beside, "my-quantiles", "diabetes"), before)


def test_splits_as_files(tmp_path):
    """Rows, ids and targets are those of the task; those of the test rows only if asked for."""
    told = command("splits", "diabetes", "--out", tmp_path / "rows")
    assert told.startswith("Wrote 61 files")
    about, task = json.loads((tmp_path / "rows" / "task.json").read_text()), TASKS.get("diabetes")
    data = task.data()
    assert about["version"] == f"{task.version}+{data.checksum}"
    assert (about["kind"], about["split_rule"], len(about["splits"])) == ("regression", "10fold", 10)
    for index, split in enumerate(task.splits("10fold")):
        for part in (names.TRAIN, names.VALIDATION, names.TEST):
            rows, folder = getattr(split, part), tmp_path / "rows" / f"10fold-{index}"
            file, frame = np.load(folder / f"{part}.npz"), pd.read_csv(folder / f"{part}.csv")
            np.testing.assert_array_equal(file["ids"], rows)
            np.testing.assert_array_equal(frame["id"], rows)
            np.testing.assert_array_equal(file["x"], data.x[rows])
            np.testing.assert_array_equal(frame[list(data.features)], data.x[rows])
            assert ("y" in file) == ("target" in frame) == (part != names.TEST)
            if part != names.TEST:
                np.testing.assert_array_equal(file["y"], data.y[rows])
                np.testing.assert_array_equal(frame["target"], data.y[rows])


def test_splits_with_targets_and_in_one_format(tmp_path):
    written = bnnbench.write_splits(HEIGHTS, tmp_path / "rows", formats="csv", test_targets=True)
    assert [path.relative_to(tmp_path).as_posix() for path in written] == [
        "rows/fixed-0/test.csv", "rows/fixed-0/train.csv", "rows/fixed-0/validation.csv", "rows/task.json",
    ]  # fmt: skip
    frame = pd.read_csv(written[0])
    assert list(frame) == ["id", "width", "depth", "target"]
    np.testing.assert_array_equal(frame["target"], HEIGHTS.data().y[frame["id"]])


def test_splits_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="holds something already"):
        bnnbench.write_splits(HEIGHTS, tmp_path / "full")
    with pytest.raises(UserError, match="no format 'xlsx' of splits"):
        bnnbench.write_splits(HEIGHTS, tmp_path / "rows", formats="xlsx")
    with pytest.raises(UserError, match="of the kind density"):
        bnnbench.write_splits("moons", tmp_path / "rows")
    monkeypatch.setattr(json, "dumps", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        bnnbench.write_splits(HEIGHTS, tmp_path / "rows")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full"]
    monkeypatch.undo()
    (tmp_path / "empty").mkdir()
    assert bnnbench.write_splits(HEIGHTS, tmp_path / "empty")
