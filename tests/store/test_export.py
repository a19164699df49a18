"""The tidy table as a file."""

import io
import json
import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from store_samples import make_cell, make_outcome, prepared

import bnnbench
from bnnbench.errors import UserError
from bnnbench.records import Status
from bnnbench.store.export import export

HEADER = "task,method,config,split,seed,budget,evaluation,metric,value,stderr,status,"


@pytest.fixture
def filled(store, session):
    label = 'a="1,5"'
    store.record(
        session,
        [
            make_outcome(make_cell(0), value=0.1 + 0.2),
            make_outcome(make_cell(1), value=math.inf),
            make_outcome(make_cell(2, label=label, config="{1}"), status=Status.DIVERGED),
        ],
    )
    return store


def test_csv(filled, tmp_path, capsys):
    assert export(filled, "csv", tmp_path / "new" / "scores.csv") == 5
    assert export(filled, "csv") == 5
    text = (tmp_path / "new" / "scores.csv").read_text()
    assert capsys.readouterr().out == text
    assert text.startswith(HEADER)
    back = pd.read_csv(io.StringIO(text), keep_default_na=False, na_values={"value": "", "stderr": ""})
    pd.testing.assert_frame_equal(back.drop(columns="n"), filled.scores().drop(columns="n"), check_exact=True)


def test_json_is_json(filled, capsys):
    assert export(filled, "json", metric="rmse") == 3
    rows = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(name))
    assert [row["value"] for row in rows] == [None, 0.1 + 0.2, None]
    assert [row["n"] for row in rows] == [None, 160, 160]
    assert list(rows[0])[:11] == HEADER.rstrip(",").split(",")
    assert export(filled, "json", task="yacht") == 0
    assert json.loads(capsys.readouterr().out) == []


def test_parquet(filled, tmp_path):
    pytest.importorskip("pyarrow")
    assert export(filled, "parquet", tmp_path / "scores.parquet") == 5
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "scores.parquet"), filled.scores())


def test_parquet_without_pyarrow(filled, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"need pyarrow; run `pip install 'bnnbench\[parquet\]'`, or export"):
        export(filled, "parquet", tmp_path / "scores.parquet")
    assert not (tmp_path / "scores.parquet").exists()


def test_the_format_is_what_the_name_ends_in(filled, tmp_path):
    for name in ("scores.json", "scores.JSON", "scores.csv", "scores.txt", "json"):
        export(filled, out=tmp_path / name)
    assert len(json.loads((tmp_path / "scores.json").read_text())) == 5
    assert (tmp_path / "scores.JSON").read_bytes() == (tmp_path / "scores.json").read_bytes()
    text = (tmp_path / "scores.csv").read_text()
    assert text.startswith(HEADER)
    assert (tmp_path / "scores.txt").read_text() == (tmp_path / "json").read_text() == text
    export(filled, "csv", tmp_path / "named.json")
    assert (tmp_path / "named.json").read_text() == text


def test_what_cannot_be_written(filled, tmp_path):
    with pytest.raises(UserError, match="choose from csv, parquet, json"):
        export(filled, "xml")
    with pytest.raises(UserError, match="holds the database"):
        export(filled, "csv", tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="Cannot write"):
        export(filled, "csv", tmp_path / "file" / "scores.csv")
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_the_database_is_not_written_over(filled, path, tmp_path):
    """By its own name or another, nor the files beside it, nor what lies among its artifacts."""
    (tmp_path / "link.csv").symlink_to(path)
    (tmp_path / "hard.csv").hardlink_to(path)
    (tmp_path / "folder").symlink_to(tmp_path)
    filled.root.mkdir()
    content = path.read_bytes()
    places = [path.name, "link.csv", "hard.csv", "folder/results.db", "results.db-wal", "results.db-shm"]
    places += ["results.db-journal", "sub/../results.db", "results.artifacts", "results.artifacts/x/scores.csv", "."]
    for place in places:
        with pytest.raises(UserError, match=r"would replace the database|holds the database|lies among the artifacts"):
            export(filled, "csv", tmp_path / place)
    os.mkfifo(tmp_path / "pipe")
    for special in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(UserError, match="is a pipe, a socket or a device; name a file"):
            export(filled, "csv", special)
    assert path.read_bytes() == content
    assert export(filled, "csv", tmp_path / "results.csv") == 5


@pytest.mark.parametrize(("db", "out"), [
    ("results.db", "results.db"), ("index.md", "."), ("results.db", "results.artifacts"),
    ("reports/tables/r.db", "reports"), ("reports/manifest.json", "reports"),
])  # fmt: skip
def test_nor_by_a_report(tmp_path, db, out):
    path = tmp_path / db
    path.parent.mkdir(parents=True, exist_ok=True)
    store, session = prepared(path)
    with store:
        store.record(session, [make_outcome(make_cell(), artifacts={"posterior": {"w": np.ones(2)}})])
    content = path.read_bytes()
    with pytest.raises(UserError, match=r"would replace the database|holds the database|lies among the artifacts"):
        bnnbench.report(path, tmp_path / out)
    assert path.read_bytes() == content
