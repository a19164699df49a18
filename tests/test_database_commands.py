"""Merge, compare, submit and validate on the command line: what is said, where, and with which exit status."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent / "store"))  # the small databases of the store's own tests
from store_samples import make_cell, make_outcome, prepared

from bnnbench.cli import main
from bnnbench.store.store import ResultStore


def run(*arguments):
    result = CliRunner().invoke(main, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    """Two databases that contradict each other in one cell."""
    monkeypatch.chdir(tmp_path)
    for name, value, more in (("a.db", 0.5, 0), ("b.db", 0.25, 1)):
        store, session = prepared(name)
        with store:
            cells = [make_cell(0), *(make_cell(i, method="mcd", method_version=2) for i in range(more, 3))]
            store.record(session, [make_outcome(cell, value, wall_s=value) for cell in cells])
    return tmp_path


def test_conflicts_are_named_and_nothing_is_written():
    status, out, err = run("merge", "a.db", "b.db", "--into", "all.db")
    assert (status, out) == (2, "")
    conflicts = [line for line in err.splitlines() if line.startswith("Conflict: ")]
    assert len(conflicts) == 3
    assert conflicts[0].startswith("Conflict: bbp on wine 10fold-0 (seed 0, quick, cell ")
    assert err.splitlines()[-1].startswith("Error: The databases contradict each other in 3 conflicts, and nothing was")
    assert not Path("all.db").exists()


def test_a_merge_says_what_it_did():
    status, out, err = run("merge", "a.db", "b.db", "--into", "all.db", "--prefer", "last")
    assert status == 0
    assert out.splitlines()[-1] == (
        "Merged 2 databases into all.db: 7 cells, 4 of them new, 0 artifacts (0.0 MB). 3 conflicts were settled by "
        "--prefer last."
    )
    assert err.count("Conflict: ") == 3
    status, out, _ = run("merge", "a.db", "--into", "all.db", "--dry-run")
    assert (status, "Would merge 1 database into all.db: 4 cells, 0 of them new" in out) == (0, True)


def test_a_comparison_in_all_forms():
    status, out, err = run("compare", "bbp", "mcd", "--db", "a.db", "--metric", "rmse")
    assert status == 0
    assert out.startswith("bbp (a) beside mcd (b); positive differences: a is better.\n")
    assert "0/1/0" in out
    cells = "wine 10fold-1 seed 0 (not run); wine 10fold-2 seed 0 (not run)"
    assert err == f"Note: bbp has no score of 2 cells that mcd has: {cells}.\n"
    _, out, _ = run("compare", "bbp", "--db", "a.db", "--against", "b.db", "--metric", "rmse", "--format", "json")
    assert [row["difference"] for row in json.loads(out)] == [-0.25]
    _, out, _ = run("compare", "bbp", "--db", "a.db", "--against", "b.db", "--metric", "rmse", "--format", "csv")
    assert out.splitlines()[0].startswith("metric,unit,task,split_rule,budget,a,b,mean_a,mean_b,difference,low,high")
    _, out, _ = run("compare", "--db", "a.db", "--against", "b.db", "--metric", "rmse", "--format", "md")
    assert out.startswith("a: a.db, b: b.db; positive differences: a is better.\n")
    assert out.count("\n| ") == 4  # header, the line under it, and two methods


def test_a_submission_with_faults_has_status_2():
    status, out, err = run("submit", "--db", "a.db", "--methods", "bbp", "--out", "bbp.json")
    assert (status, out) == (2, "Wrote bbp.json.\n")
    (fault,) = [line for line in err.splitlines() if "splits" in line]  # without the data, that they are not known
    assert fault.startswith("Fault: ")
    assert run("validate", "bbp.json")[0] == 2
    status, _, err = run("merge", "bbp.json", "--into", "all.db")
    assert status == 2
    assert "and was not taken; `bnnbench validate bbp.json` lists them." in err
    assert not Path("all.db").exists()
    with ResultStore("a.db", read_only=True) as store:
        assert len(store.attempts()) == 4
