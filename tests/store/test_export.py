"""The tidy table as a file."""

import importlib.util
import io
import json
import math

import pandas as pd
import pytest
from store_samples import make_cell, make_outcome

from bnnbench.errors import UserError
from bnnbench.store.export import export
from bnnbench.store.records import Status

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
    if importlib.util.find_spec("pyarrow") is None:
        with pytest.raises(UserError, match="pip install pyarrow"):
            export(filled, "parquet", tmp_path / "scores.parquet")
    else:
        export(filled, "parquet", tmp_path / "scores.parquet")
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "scores.parquet"), filled.scores())


def test_what_cannot_be_written(filled, tmp_path):
    with pytest.raises(UserError, match="choose from csv, parquet, json"):
        export(filled, "xml")
    with pytest.raises(UserError, match="Cannot write"):
        export(filled, "csv", tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="Cannot write"):
        export(filled, "csv", tmp_path / "file" / "scores.csv")
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]
