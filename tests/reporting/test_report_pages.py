"""The text of a report: a short summary whose links lead somewhere, a page a task group, and LaTeX that compiles."""

import json
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from latex_data import document, read, table
from report_data import TASKS, cell, fill, gallery, lost, outcome, pages
from suite_data import suite, suite_store

import bnnbench
from bnnbench.errors import UserError
from bnnbench.records import MethodRecord, Status
from bnnbench.reporting.build import build
from bnnbench.reporting.document import Page, Part, anchors
from bnnbench.reporting.escape import escape_latex, escape_markdown
from bnnbench.reporting.page.payload import payload
from bnnbench.reporting.select import select
from bnnbench.store.store import ResultStore

ROWS = ("constant", "map", "mc-dropout", "sgld")
SHOWN = {"digits", "diabetes", "housing", "wine", "yacht", "power", "toy-heteroscedastic"}
HOSTILE = (
    "a](index.md)b", "[x](y)", "# one", "*b*", "_z_", "§a", "†b", "$x$", "a & b", "100 %", "~^\\", "漢字 λ é", "<b>",
    "{x", "a|b", '"q"', "[up]", "x # y",
)  # fmt: skip
REAL = Path(__file__).parents[2] / "results.db"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("pages") / "results.db"
    with fill(path, [o for o in gallery(5, ROWS) if o.cell.task in SHOWN]) as made:
        yield made


@pytest.fixture(scope="module")
def report(store, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    build(store, out, formats=("md", "csv", "latex"), figures=("none",))
    return out


def headings(page: str) -> list[str]:
    """Anchors of a page's headings, by the rules that GitHub documents, from what a reader sees of them."""
    seen: Counter[str] = Counter()
    found = []
    for line in re.findall(r"^#+ (.+)$", page, re.MULTILINE):
        shown = re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", line)
        slug = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        found.append(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def follow(out: Path) -> int:
    """Follow every link of every page; returns how many there were."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in out.glob("*.md")}
    count = 0
    for name, text in texts.items():
        for target in re.findall(r"(?<!\\)\]\(([^)\s]*)\)", text):
            file, _, anchor = target.partition("#")
            assert (out / (file or name)).is_file(), f"{name} links to {target}"
            assert not anchor or anchor in headings(texts[file or name]), f"{name} links to {target}"
            count += 1
        assert name == "index.md" or "](index.md)" in text.partition("\n\n")[2][:200], f"no way back from {name}"
        assert name == "index.md" or f"]({name}" in pages(out).replace(text, ""), f"nothing leads to {name}"
    return count


def compiles(out: Path) -> None:
    """Every table is one of LaTeX, in the document of all of them once, and has its numbers as CSV or in another's."""
    tables = {path.name: path.read_text(encoding="utf-8") for path in (out / "tables").glob("*.tex")}
    shown = document(tables.pop("all.tex"))
    assert sorted(shown) == sorted(tables), "not all, or one twice"
    for text in tables.values():
        assert len(table(text)) > 1
    assert {path.stem for path in (out / "tables").glob("*.csv")} <= {Path(name).stem for name in tables}


def test_anchors_are_those_of_github():
    """Examples of what github.com makes of headings, from the tests of github-slugger, which follow the site."""
    assert anchors(["Some more!", "ünïcode", "I ♥ unicode", "Dash-dash", "en–dash", "under_score", "a.b (c, [d])"]) == [
        "some-more", "ünïcode", "i--unicode", "dash-dash", "endash", "under_score", "ab-c-d"
    ]  # fmt: skip
    assert anchors(["foo", "foo", "foo 1", "foo"]) == ["foo", "foo-1", "foo-1-1", "foo-2"]
    assert anchors(["Профили пользователей", "Привет non-latin 你好"]) == [
        "профили-пользователей", "привет-non-latin-你好"
    ]  # fmt: skip


def test_every_link_leads_somewhere(report):
    assert follow(report) > 60


def test_a_broken_link_is_found(report, tmp_path):
    shutil.copytree(report, tmp_path / "out")
    page = tmp_path / "out/uci-10fold.md"
    page.write_text(page.read_text().replace("## Cost", "## Costs"))
    with pytest.raises(AssertionError, match=r"uci-10fold.md links to #cost"):
        follow(tmp_path / "out")


def test_a_page_a_group_and_one_summary(report):
    names = {path.name for path in report.glob("*.md")}
    assert names == {
        "index.md", "reading.md", "leaderboards.md", "toy-fixed.md", "starter-10fold.md", "uci-10fold.md"
    }  # fmt: skip
    first = (report / "index.md").read_text()
    assert len(first.splitlines()) < 80
    assert re.search(
        r"^\| \[uci, 10fold\]\(uci-10fold.md\) +\| housing, power, wine, yacht +\| ten folds of one", first, re.M
    )
    assert "### uci: log-likelihood\n" in (report / "uci-10fold.md").read_text()
    assert "RuntimeError: out of memory" in (report / "uci-10fold.md").read_text()
    assert "uci:" not in (report / "starter-10fold.md").read_text()


def test_every_sentence_is_that_of_the_page(store, report):
    """Of `index.html`, whose data hold it as texts and places of methods."""
    first, boards = ((report / f"{name}.md").read_text() for name in ("index", "leaderboards"))
    scopes = payload(select(store))["scopes"]
    for place, scope in enumerate(scopes):
        metric = next(iter(scope["metrics"].values()))
        told = "".join(scope["rows"][part] if isinstance(part, int) else part for part in metric["sentence"])
        assert f"\n{escape_markdown(told)}\n" in boards
        assert (f"\n**{escape_markdown(told)}**\n" in first) == (place == 0)
    assert len(scopes) == 4


@pytest.fixture
def ahead(tmp_path):
    """map is ahead of mc-dropout, which costs a fifth, on two data sets of three, and both are far ahead of sgld."""
    noise = np.random.default_rng(0).normal(0, 0.01, (3, 3, 10))
    found = [
        replace(outcome(cell(task, m, index=i), value + noise[k, j, i] + 0.2 * (j == 1 and k == 2)), gradients=cost)
        for k, task in enumerate(("housing", "wine", "yacht"))
        for j, (m, value, cost) in enumerate((("map", -1.0, 5000), ("mc-dropout", -1.1, 1000), ("sgld", -5.0, 5000)))
        for i in range(10)
    ]
    with fill(tmp_path / "a.db", found) as store:
        yield store


def test_the_sentence_and_the_leaderboard_in_words(ahead, tmp_path):
    build(ahead, tmp_path / "out", formats=("md", "csv"), figures=("none",))
    first = (tmp_path / "out/index.md").read_text()
    told = (  # three data sets tell hardly anybody apart
        "On 3 data sets (uci (10fold), budget full) map ranks first by log-likelihood (mean rank 1.3 of 3, 95 % "
        "interval 1.0 to 2.0). 2 methods cannot be told apart from it: mc-dropout, sgld. mc-dropout, among them, costs "
        "20 % of its gradients."
    )
    assert f"\n**{told}**\n" in first
    lines = [[text.strip() for text in line.split("|")[1:-1]] for line in first.splitlines() if line.startswith("| m")]
    assert [line[:7] for line in lines if len(line) == 10] == [
        [
            "method",
            "mean rank",
            "95 % interval",
            "won / tied / lost",
            "normalised score",
            "calibration error",
            "gradients",
        ],
        ["map", "**1.33**", "1.0 to 2.0", "reference", "0.67", "–", "5,000"],
        ["mc-dropout", "**1.67**", "1.0 to 2.0", "1 / 0 / 2", "0.33", "–", "1,000"],
    ]
    table = pd.read_csv(tmp_path / "out/tables/leaderboard-uci-10fold-full.csv").set_index("method")
    assert table.loc["sgld", ["mean_rank", "won", "tied", "lost", "seconds", "cells"]].tolist() == [3, 0, 0, 3, 2, 30]


def test_won_tied_and_lost_are_all_data_sets(store):
    """One that lost cells on a data set has lost it to those that did not, and is tied with nobody there."""
    for scope in payload(select(store))["scopes"]:
        for board in scope["metrics"].values():
            wins, ties = np.array(board["wins"]), np.array(board["ties"])
            assert (ties == ties.T).all()
            assert (np.diag(ties) == 0).all()
            ranked = np.ix_(board["ranked"], board["ranked"])
            total = (wins + wins.T + ties)[ranked]
            assert (total[~np.eye(len(total), dtype=bool)] == len(board["tasks"])).all()


def test_with_and_without_html(store, tmp_path):
    for formats, linked in ((("md",), False), (("md", "html"), True)):
        out = tmp_path / "-".join(formats)
        build(store, out, formats=formats, figures=("none",), tasks=["wine"])
        assert ("[index.html](index.html)" in (out / "index.md").read_text()) == linked
        assert follow(out) > 10


@pytest.mark.parametrize(
    "outcomes",
    [
        pytest.param([outcome(cell("housing", "map", index=i), -2.0 - i) for i in range(3)], id="one method"),
        pytest.param([outcome(cell("housing", m), -2.0) for m in ("map", "sgld")], id="one fold"),
        pytest.param([lost(cell("housing", "map", index=i), Status.FAILED, "boom") for i in range(2)], id="failures"),
        pytest.param([outcome(cell("housing", "constant", index=i), -2.0) for i in range(3)], id="a baseline"),
        pytest.param(
            [outcome(cell("housing", "map"), -2.0), outcome(cell("wine", "sgld"), -2.0)], id="each on its own data set"
        ),
    ],
)
def test_odd_databases(tmp_path, outcomes):
    with fill(tmp_path / "o.db", outcomes) as store:
        build(store, tmp_path / "out", formats=("md", "csv", "latex"), figures=("none",))
        found = payload(select(store))["scopes"][0]
    assert follow(tmp_path / "out") > 5
    compiles(tmp_path / "out")
    first = (tmp_path / "out/index.md").read_text()
    assert first.startswith("# bnnbench report\n")
    assert found["metrics"] or f"**{found['unranked']}**" in first
    assert "[uci, 10fold](uci-10fold.md)" in first


@pytest.fixture
def hostile(tmp_path):
    """Names of tasks, groups, methods and configurations that are markup in one of the formats."""
    tasks = [replace(TASKS[5], name=f"t{name}", groups=(f"g{name}",), notes=(name,), order=i, warning=name)
             for i, name in enumerate(HOSTILE)]  # fmt: skip
    methods = [MethodRecord(name, 1, name, (), i) for i, name in enumerate(HOSTILE)]
    plain = [cell("housing", "map", index=i) for i in (0, 1)]
    made = [
        replace(outcome(replace(own, task=task.name, method=name, label=label), -1.0 - own.index), message=name)
        for task in tasks[:6]
        for name, label in zip(HOSTILE, ["default", *HOSTILE[1:]], strict=True)
        for own in plain
    ]
    with fill(tmp_path / "h.db", [], methods) as store:
        store.register((), tasks, ())
        store.record(1, made)
        yield store


def test_hostile_names_stay_text(hostile, tmp_path):
    out = tmp_path / "out"
    build(hostile, out, formats=("md", "csv", "latex"), figures=("none",))
    assert follow(out) > 60
    compiles(out)
    text = pages(out)
    assert not re.search(r"(?<!\\)\]\((y|index\.md\)b)", text), "a name is a link"
    assert all(name in re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text) for name in HOSTILE), "a name is lost"
    assert not re.search(r"^# one", text, re.MULTILINE)


@pytest.mark.parametrize("name", [*HOSTILE, "*x", "[x", "\\input{x}", "a--b", "−1 ± 2", "§§¶3/10", "×·→≤²", "🎉"])
def test_any_name_is_legal_latex(name):
    read(escape_latex(name))


def test_the_reader_of_latex_finds_what_is_wrong():
    wrongs = [
        "a_b",
        "b#",
        "{",
        "}",
        "$x",
        r"\Sa",
        "$a{$b}$",
        "50 %",
        r"\input{x}",
        "漢",
        "x^2",
        "$\\textbf{x}$",
        "a & b",
    ]
    for wrong in wrongs:
        with pytest.raises(AssertionError):
            read(wrong)
    with pytest.raises(AssertionError, match="cells in"):
        table("\\begin{tabular}{lr}\n\\toprule\na & b & c \\\\\n\\midrule\na & b \\\\\n\\bottomrule\n\\end{tabular}\n")


def test_every_table_is_latex_too(report):
    compiles(report)
    tables = report / "tables"
    assert (tables / "uci-10fold-cost.tex").is_file()
    assert (tables / "leaderboard-uci-10fold-full.tex").is_file()
    assert (tables / "leaderboard-uci-10fold-full.csv").is_file()


def test_tables_of_fidelity_and_images_too(tmp_path):
    wanted = {"toy-heteroscedastic", "energy"}
    with suite_store(
        tmp_path / "f.db", [o for o in suite(1, ("map", "sgld", "hmc")) if o.cell.task in wanted]
    ) as store:
        build(store, tmp_path / "out", formats=("md", "csv", "latex"), figures=("none",))
    assert follow(tmp_path / "out") > 20
    compiles(tmp_path / "out")
    assert (tmp_path / "out/fidelity.md").is_file()


def test_pages_that_nobody_writes_any_more_go(store, tmp_path):
    out = tmp_path / "out"
    build(store, out, formats=("md", "csv"), figures=("none",))
    (out / "README.md").write_text("mine")
    (out / "sub").mkdir()
    (out / "sub/page.md").write_text("mine")
    manifest = json.loads((out / "manifest.json").read_text())
    (out / "manifest.json").write_text(json.dumps([*manifest, "sub/page.md", "../up.md", str(tmp_path / "up.md")]))
    (tmp_path / "up.md").write_text("mine")
    build(store, out, formats=("md", "csv"), figures=("none",), tasks=["uci"])
    assert {path.name for path in out.glob("*.md")} == {
        "index.md", "reading.md", "leaderboards.md", "uci-10fold.md", "README.md"
    }  # fmt: skip
    build(store, out, formats=("csv",), tasks=["uci"])
    assert {path.name for path in out.glob("*.md")} == {"README.md"}
    assert (out / "sub/page.md").read_text() == (tmp_path / "up.md").read_text() == "mine"


def test_a_database_called_as_a_page_is_not_overwritten(tmp_path):
    path = tmp_path / "uci-10fold.md"
    with fill(path, [outcome(cell("housing", "map"), -1.0)]):
        pass
    before = path.read_bytes()
    with pytest.raises(UserError, match="would replace the database"):
        bnnbench.report(path, tmp_path, formats=("md",), figures="none")
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir() if found.suffix in (".md", ".json")] == ["uci-10fold.md"]


def test_contents_of_a_page():
    page = Page("a.md", "A [b]", "Lead.\n", (Part("x: one", "1\n", 2, "one"), Part("x", "2\n", 3), Part("x", "3\n")))
    assert page.markdown() == (
        "# A [b]\n\n[All results](index.md) · [How to read this](reading.md)\n\nLead.\n\nOn this page:\n\n"
        "* [one](#x-one)\n  * [x](#x)\n* [x](#x-1)\n\n## x: one\n\n1\n\n### x\n\n2\n\n## x\n\n3\n"
    )
    assert page.link("x: one", "go [on]") == r"[go \[on\]](a.md#x-one)"


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_file(), reason="no results.db in this checkout")
def test_the_reference_results_have_a_short_summary(tmp_path):
    shutil.copy(REAL, tmp_path / "r.db")
    with ResultStore(tmp_path / "r.db", read_only=True) as found:
        build(found, tmp_path / "out", formats=("md", "csv", "latex"), figures=("none",))
    assert len((tmp_path / "out/index.md").read_text().splitlines()) <= 150
    assert follow(tmp_path / "out") > 200
    compiles(tmp_path / "out")
