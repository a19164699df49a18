import hashlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from report_data import METHODS, TASKS, cell, fill, gallery, lost, outcome, pages

from bnnbench.errors import UserError
from bnnbench.records import MethodRecord, MetricRecord, Score, Status, TaskRecord
from bnnbench.reporting.build import build
from bnnbench.reporting.figures.style import styles
from bnnbench.reporting.output import Output
from bnnbench.reporting.select import select
from bnnbench.store.store import ResultStore

SHOWN = {"toy-heteroscedastic", "digits", "yacht", "power"}


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    path = tmp_path_factory.mktemp("db") / "results.db"
    names = ("constant", "mc-dropout", "sgld")
    with fill(path, [o for o in gallery(8, names) if o.cell.task in SHOWN]):
        return path


@pytest.fixture(scope="module")
def report(database, tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    with ResultStore(database, read_only=True) as store:
        return out, build(store, out)


@pytest.fixture
def small(tmp_path):
    """map and sgld on two data sets at two budgets and two rules."""
    found = [
        outcome(cell("housing", m, index=i), v + i / 10) for m, v in (("map", -2.0), ("sgld", -3)) for i in range(3)
    ]
    found += [outcome(cell("wine", "map", index=i), -1.0) for i in range(3)]
    found += [outcome(cell("wine", "map", "gap", i, "quick"), -5.0) for i in range(2)]
    found += [outcome(cell("wine", "map", index=i, budget="quick"), -9.0) for i in range(3)]
    with fill(tmp_path / "small.db", found) as store:
        yield store


def digests(out: Path) -> dict[str, str]:
    files = [p for p in sorted(out.rglob("*")) if p.is_file()]
    return {str(p.relative_to(out)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_files(report):
    out, written = report
    assert sorted(written) == sorted(p for p in out.rglob("*") if p.is_file())
    names = {str(p.relative_to(out)) for p in written}
    assert {"index.md", "tables/uci-10fold-rmse.csv", "tables/uci-10fold-rmse.tex"} <= names
    for stem in ("toy-fixed-toy-heteroscedastic", "starter-10fold-reliability-digits", "uci-10fold-calibration-yacht",
                 "uci-10fold-calibration-error", "uci-10fold-training-validation", "uci-10fold-rmse"):  # fmt: skip
        assert f"figures/{stem}.svg" in names


def test_same_database_same_bytes_whatever_the_users_settings(report, database, tmp_path):
    with matplotlib.rc_context({"font.size": 20, "axes.grid": True}), ResultStore(database, read_only=True) as store:
        build(store, tmp_path)
    assert digests(tmp_path) == digests(report[0])


def test_page(report):
    page = pages(report[0])
    assert "mc-dropout" in page
    line = r"\| mc-dropout +\| +power \| +0–7 \| +failed: stopped by an error; tried again by the next run "
    assert re.search(line, page)
    assert "RuntimeError: out of memory \\| asked for 3 GiB" in page
    assert re.search(
        r"\| sgld +\| +yacht \| +3, 7 \| +diverged: the loss became NaN or infinite; recorded and not scored", page
    )
    assert "Nadeau & Bengio 2003, test rows : training rows 1 : 9)" in page
    assert "One split (fixed): the standard error is over its test points" in page
    assert "unpaired by their standard errors, which is cautious (Bonferroni over all pairs)" in page
    assert "Superseded" not in page
    assert "| **sgld [lr=0.01]** |" in page
    assert "* Versions: numpy 2.1, torch 2.15\n* Device: cpu\n* Host: laptop\n" in page
    assert "* Code revision: `0123abc`\n" in page
    assert "`bnnbench run --task all --db results.db`" in page  # without the folders of a machine
    for line in page.splitlines():
        if line.startswith("!["):
            name = line.partition("](")[2].rstrip(")")
            assert (report[0] / name).is_file()
            assert len(line.partition("](")[0]) > 30, "a figure needs words for those who do not see it"


def test_pictures_carry_no_dates(report):
    for path in report[0].glob("figures/*"):
        content = path.read_bytes()
        assert b"dc:date" not in content
        assert b"tEXtSoftware" not in content


def test_largest_budget_of_each_section_and_never_two_at_once(small):
    sections = {s.name: s for s in select(small).sections}
    assert {name: s.budget for name, s in sections.items()} == {"uci-10fold": "full", "uci-gap": "quick"}
    assert sections["uci-10fold"].others == {"quick": 3}
    assert set(sections["uci-10fold"].scores["budget"]) == {"full"}
    assert [s.name for s in select(small, budget="full").sections] == ["uci-10fold"]


def test_golden_table_and_missing_method(small, tmp_path):
    build(small, tmp_path, formats=["csv", "latex"], tasks=["uci"], budget="full")
    assert not (tmp_path / "index.md").exists()
    assert (tmp_path / "tables/uci-10fold-log_likelihood.csv").read_text().splitlines()[1:] == [
        "housing,map,-1.9,0.05773502692,-1.9,3,True,True,False,False,0,0,False",
        "housing,sgld,-2.9,0.05773502692,-2.9,3,True,True,False,False,0,0,False",  # three splits tell nothing apart
        "wine,map,-1,0,-1,3,True,True,False,False,0,0,False",
    ]
    assert (
        r"sgld & \textbf{$-$2.900} $\pm$ 0.058 & -- \\"
        in (tmp_path / "tables/uci-10fold-log_likelihood.tex").read_text()
    )


def test_filters(small):
    only = select(small, tasks=["wine"], methods=["map"]).sections
    assert {t for s in only for t in s.tasks} == {"wine"}
    assert {r for s in select(small, methods=["sgld"]).sections for r in s.rows} == {"sgld"}
    assert {t for s in select(small, tasks=["uci"]).sections for t in s.tasks} == {"housing", "wine"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": ["wines"]}, r"'wines'. Did you mean wine\?"),
        ({"methods": ["hmc"]}, "The database has: map, sgld"),
        ({"budget": "smoke"}, "full, quick"),
        ({"tasks": ["wine"], "methods": ["sgld"]}, "No results of method 'sgld'"),
        ({"formats": ["pdf"]}, "pdf"),
    ],
)
def test_empty_selections_say_what_exists(small, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        build(small, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_empty_database(tmp_path):
    with fill(tmp_path / "empty.db", []) as store, pytest.raises(UserError, match="no results yet"):
        build(store, tmp_path / "out")


def test_everything_failed(tmp_path):
    outcomes = [lost(cell("housing", "map", index=i), Status.FAILED, "boom") for i in range(2)]
    with fill(tmp_path / "x.db", outcomes) as store:
        build(store, tmp_path / "out")
    assert "boom" in pages(tmp_path / "out")


def test_older_versions_are_left_out_and_counted(tmp_path):
    outcomes = [outcome(cell("housing", "map", index=i), -2.0) for i in range(2)]
    with fill(tmp_path / "x.db", outcomes) as store:
        store.register([MethodRecord("map", 2, "", (), 1)])
        new = [outcome(cell("housing", "map", index=i, method_version=2), -1.0) for i in range(2)]
        store.record(1, new)
        build(store, tmp_path / "out", formats=["md", "csv"])
    assert "housing,map,-1,0,-1,2" in (tmp_path / "out/tables/uci-10fold-log_likelihood.csv").read_text()
    assert "2 cells of superseded versions" in pages(tmp_path / "out")


def test_results_of_superseded_versions_are_shown_and_said_to_be(small, tmp_path):
    """sgld and wine are installed in newer versions than the database has, map in the same, housing in an older one."""
    installed = {"method": {"map": 1, "sgld": 3}, "task": {"wine": 2, "housing": 0}}
    build(small, tmp_path, installed=installed)
    page = pages(tmp_path)
    first = (tmp_path / "index.md").read_text()
    assert first.index("**Superseded results.** Of 1 method and 1 task, marked °") < first.index("## How to read this")
    assert "](reading.md#superseded-results)" in first
    assert "methods sgld (1, now 3); tasks wine (1, now 2)" in page
    assert re.search(r"^\| method +\| +housing \| +wine° \|$", page, re.M)
    assert re.search(r"^\| sgld° +\| ", page, re.M)
    assert re.search(r"^\| map +\| ", page, re.M)
    lines = (tmp_path / "tables/uci-10fold-log_likelihood.csv").read_text().splitlines()
    assert [line.rpartition(",")[2] for line in lines] == ["superseded", "False", "True", "True"]
    tex = (tmp_path / "tables/uci-10fold-log_likelihood.tex").read_text()
    assert "method & housing & wine$^{\\circ}$" in tex
    assert "sgld$^{\\circ}$ &" in tex


def test_look_is_fixed_by_the_registered_order(small):
    methods = select(small).methods
    few, many = styles(methods, ["sgld"]), styles(methods, [m.name for m in METHODS])
    assert few["sgld"] == many["sgld"]
    assert len({(v.color, v.marker) for v in many.values()}) == len(METHODS)
    configured = styles(methods, ["sgld", "sgld [lr=0.01]"])["sgld [lr=0.01]"]
    assert (configured.color, configured.hollow) == (few["sgld"].color, True)


def test_stale_files_go_only_if_they_were_ours(small, tmp_path):
    build(small, tmp_path, formats=["csv"])
    (tmp_path / "tables/notes.csv").write_text("mine")
    (tmp_path / "keep.txt").write_text("mine")
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps([*manifest, "keep.txt", "tables/..", "../x"]))
    build(small, tmp_path, formats=["csv"], tasks=["housing"])
    left = {p.name for p in (tmp_path / "tables").iterdir()}
    assert left == {
        "uci-10fold-log_likelihood.csv", "uci-10fold-cost.csv", "leaderboard-uci-10fold-full.csv", "notes.csv"
    }  # fmt: skip
    assert (tmp_path / "keep.txt").exists()


def test_unwritable_folder_and_full_disk(small, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Cannot write"):
        build(small, tmp_path / "file", formats=["csv"])
    output = Output(tmp_path / "out")
    output.write("a.txt", "old")
    output.finish()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    output.write("a.txt", "new")
    with pytest.raises(UserError, match="No space left on device"):
        output.finish()
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"a.txt", "manifest.json"}, "nothing stays behind"
    assert (tmp_path / "out/a.txt").read_text() == "old"


def test_imports_no_torch_and_no_method():
    code = "import sys, bnnbench.reporting.front, bnnbench.reporting.figures.section"
    code += (
        "; bad = [m for m in sys.modules if m.split('.')[0] == 'torch' or m.startswith('bnnbench.methods')]; print(bad)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_calibration_curves_and_bins_by_hand():
    from bnnbench.reporting.series import mean_curve, pool_bins

    bins = [
        {"count": [2, 0], "confidence": [0.4, np.nan], "accuracy": [0.5, np.nan]},
        {"count": [6, 0], "confidence": [0.2, np.nan], "accuracy": [0.0, np.nan]},
    ]
    count, confidence, accuracy = pool_bins(bins)
    assert list(count) == [8, 0]
    assert (confidence[0], accuracy[0]) == (pytest.approx(0.25), pytest.approx(0.125))
    assert np.isnan(confidence[1])
    runs = [{"step": [0, 10, 20], "loss": [3.0, np.nan, 1.0]}, {"step": [0, 10], "loss": [1.0, 2.0]}]
    step, loss = mean_curve(runs, "loss")
    assert list(step) == [0, 10, 20]
    assert list(loss) == [2.0, 2.0, 1.0]


def test_methods_of_many_more_steps_get_panels_of_their_own():
    from bnnbench.reporting.figures.training import by_length

    curves = {(name, "yacht"): [{"step": np.arange(0, 100)}, {"step": np.array([])}] for name in "abc"}
    assert by_length(["a", "b", "c"], curves) == [["a", "b", "c"]]
    curves["b", "wine"] = [{"step": np.array([0, 2000])}]
    assert by_length(["a", "b", "c"], curves) == [["a", "c"], ["b"]]


def test_rows_of_one_method_stand_in_the_order_of_their_numbers():
    from bnnbench.reporting.select import natural

    names = ["layers=8, lr=0.01", "layers=32", "layers=2", "layers=8, lr=0.003", "lr=1e-05", "lr=0.0003"]
    found = sorted(names, key=natural)
    assert found == ["layers=2", "layers=8, lr=0.003", "layers=8, lr=0.01", "layers=32", "lr=1e-05", "lr=0.0003"]


def test_many_commands_are_folded():
    from bnnbench.reporting.provenance import UNFOLDED, _listed

    several = [f"`run {i}`" for i in range(UNFOLDED)]
    assert _listed("Command", ["`run`", "`run`"]) == "* Command: `run`\n"
    assert _listed("Command", several).startswith("\nCommand:\n\n* `run 0`\n* `run 1`\n")
    folded = _listed("Command", [*several, "`run\nlast`"])
    assert f"<summary>Command: {UNFOLDED + 1}</summary>\n\n* `run 0`\n" in folded
    assert folded.endswith("* `run last`\n\n</details>\n")


def test_a_metric_of_a_plugin_reaches_the_tables_if_it_is_a_headline(tmp_path):
    """The database says so, and which way is better; nothing of it is known to the reports."""
    own = (MetricRecord("surprise", -1, "bits", "mean surprise", ("regression",), headline=True, order=99),
           MetricRecord("whisper", -1, "bits", "mean whisper", ("regression",)))  # fmt: skip
    values = {"map": 3.0, "sgld": 1.0}
    outcomes = [
        replace(o, evaluations=(replace(e, scores=tuple(Score(m.name, value + index, 0.1) for m in own)),))
        for name, value in values.items()
        for index in range(10)
        for o in [outcome(cell("housing", name, index=index), 0.0)]
        for e in o.evaluations[:1]
    ]
    with fill(tmp_path / "x.db", []) as store:
        store.register((), (), own)
        store.record(1, outcomes)
        build(store, tmp_path / "out")
    tables = {path.name for path in (tmp_path / "out/tables").iterdir()}
    stems = ("uci-10fold-surprise", "uci-10fold-cost", "leaderboard-uci-10fold-full")
    assert tables == {*(f"{stem}.{suffix}" for stem in stems for suffix in ("csv", "tex")), "all.tex"}
    lines = (tmp_path / "out/tables/uci-10fold-surprise.csv").read_text().splitlines()[1:]
    assert [line.split(",")[1:6:4] for line in lines] == [["map", "10"], ["sgld", "10"]]
    assert [line.split(",")[6] for line in lines] == ["False", "True"], "lower is better"
    page = pages(tmp_path / "out")
    assert "### uci: surprise\n" in page
    assert "Surprise on the test rows: mean surprise (bits, lower is better)." in page


def test_sections_stand_in_the_order_of_their_tasks(tmp_path):
    rows = [outcome(cell("housing", "map"), -1.0), outcome(cell("toy-antoran", "map", "fixed"), -1.0)]
    other = TaskRecord("first", "1+sha256:z", "regression", ("zoo", "uci"), "", -1)
    mine = replace(rows[0], cell=replace(rows[0].cell, task="first", task_version="1+sha256:z"))
    with fill(tmp_path / "x.db", rows) as store:
        store.register((), (other,), ())
        store.record(1, [mine])
        assert [s.group for s in select(store).sections] == ["zoo", "toy", "uci"]


def test_a_warning_of_a_task_stands_over_its_section_and_under_its_tables(tmp_path):
    warned = replace(next(t for t in TASKS if t.name == "wine"), warning="Handle with *care*.")
    with fill(tmp_path / "x.db", []) as store:
        store.register((), (warned,), ())
        store.record(1, [outcome(cell("wine", "map", index=i), -1.0) for i in range(2)])
        build(store, tmp_path / "out")
    assert "\n**Handle with \\*care\\*.**\n" in pages(tmp_path / "out")
    assert "Handle with *care*." in (tmp_path / "out/tables/uci-10fold-log_likelihood.tex").read_text()
