"""Names that are markup, damaged rows and failing disks: a report says what is left out, or is not written at all."""

import hashlib
import json
import math
import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from density_data import densities, density_store
from image_data import image_store, images
from report_data import TASKS, cell, fill, gallery, outcome, pages

from bnnbench.cli import main
from bnnbench.errors import UserError
from bnnbench.records import MethodRecord
from bnnbench.reporting.build import build
from bnnbench.reporting.escape import code, escape_latex, escape_markdown
from bnnbench.reporting.figures import style
from bnnbench.reporting.figures.text import HEAD, TAIL, label
from bnnbench.reporting.gather import ALSO, NEEDED, sound
from bnnbench.reporting.output import LONGEST, Output, file_stem
from bnnbench.store.series import _FORM, _deflated, decode, encode
from bnnbench.store.store import ResultStore

NAMES = (
    r"$\frac$", "a|b", "<script>alert(1)</script>", "x_y", "_z_", "`tick`", "new\nline", "n" * 300,
    "../../up", "# head",
    "[link](http://x)", "~~s~~", "*b*", "ℵ 漢字 \U0001f600", "100 %", "\\input{x}", "1. one", "&lt;", "\x00\x1b[31m",
)  # fmt: skip


def digests(out: Path) -> dict[str, str]:
    """Every file below a folder, hidden ones too."""
    files = [p for p in sorted(out.rglob("*")) if p.is_file()]
    return {str(p.relative_to(out)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture
def hostile(tmp_path):
    """Every field that a report prints holds markup: tasks, groups, methods, configurations, notes, messages."""
    rows = [o for o in gallery(1, ("map", "sgld"), extra=False) if o.cell.task in ("toy-heteroscedastic", "digits")]
    found, methods, tasks = [], [], []
    for i, name in enumerate(NAMES):
        o = rows[i % len(rows)]
        kind = next(t for t in TASKS if t.name == o.cell.task)
        task, group = f"t {name}", (kind.groups[0] if i % 5 else f"g {name}")
        tasks.append(replace(kind, name=task, groups=(group,), notes=(f"note {name}",), order=i))
        methods.append(MethodRecord(name, 1, "", (), i))
        made = replace(o.cell, task=task, method=name, label="default" if i % 3 else f"s={name}")
        found.append(replace(o, cell=made, message=name))
    with fill(tmp_path / "h.db", [], methods) as store:
        store.register((), tasks, ())
        store.record(1, found)
        yield store


def test_hostile_names_go_through_the_whole_report(hostile, tmp_path, monkeypatch):
    out = tmp_path / "deep" / "er" / "out"
    real, drawn = style.render, []
    monkeypatch.setattr(
        style,
        "render",
        lambda figure, formats: drawn.append(figure) or (real(figure, formats) if len(drawn) < 4 else {}),
    )
    build(hostile, out)
    page = pages(out)
    plain = re.sub(r"\\.", "", re.sub(r"(`+).+?\1", "", page.replace("<details>", "").replace("</details>", "")))
    plain = re.sub(r"</?summary>", "", plain)
    assert "<" not in plain, "no HTML but our own"
    assert "$" not in plain, "no formula"
    assert not [line for line in page.splitlines() if line.startswith("#") and "head" in line and "\\#" not in line]
    for block in re.findall(r"(?:^\|.*\n)+", page, flags=re.M):
        pipes = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(pipes) == 1, "a name breaks a row"
    for target in re.findall(r"\]\((figures/[^)]*)\)", page):
        assert re.fullmatch(r"figures/[\w.\-]+", target)
    inside = {p for p in tmp_path.rglob("*") if p.is_file() and not p.name.startswith("h.db")}
    assert all(out in p.parents for p in inside), "nothing is written elsewhere"
    for path in (path for path in (out / "tables").glob("*.tex") if path.name != "all.tex"):
        body = [line for line in path.read_text().splitlines() if not line.startswith("%")]
        text = "\n".join(body).replace(r"\begin{tabular}", "").replace(r"\end{tabular}", "")
        assert r"\frac" not in text
        assert r"\input" not in text
        assert len(re.findall(r"(?<!\\)\$", text)) % 2 == 0


@pytest.mark.parametrize("name", NAMES)
def test_escaped_text_is_one_line_and_says_the_same(name):
    """Read back by the rules of the formats: a backslash before punctuation is not seen."""
    line = escape_markdown(name)
    assert "\n" not in line
    shown = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    assert re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", line) == shown
    assert not re.match(r"(#|>|\d+[.)] )", line)
    span = code(name)
    fence = re.match("`+", span).group()
    assert span.endswith(fence)
    assert fence not in re.findall("`+", span[len(fence) : -len(fence)])
    assert not re.search(r"(?<![\\])[#%&_]", escape_latex(name))


def test_names_in_figures_are_drawn_as_they_are():
    assert label(r"$\frac$") == r"$\frac$"
    assert label("new\nline") == "new line"
    assert label("漢") == "?"
    assert len(label("n" * 300)) == HEAD + TAIL + 1
    assert label("a" * 300 + "b") != label("a" * 300 + "c"), "what differs at the end still does"


def test_names_of_files_lead_nowhere_else_and_differ():
    assert file_stem("uci-10fold-rmse") == "uci-10fold-rmse"
    found = [file_stem(name) for name in (*NAMES, "/etc/passwd", "..", ".", "", "a b", "a-b", "a\nb")]
    assert len(set(found)) == len(found)
    assert all(re.fullmatch(r"[\w][\w.\-]*|-[0-9a-f]{8}", stem, flags=re.ASCII) for stem in found)
    assert max(map(len, found)) <= LONGEST + 9


@pytest.fixture
def usual(tmp_path):
    """A store, and a folder that holds a report and a file of someone else."""
    with fill(tmp_path / "u.db", [outcome(cell("housing", "map", index=i), -1.0) for i in range(2)]) as store:
        build(store, tmp_path / "out", formats=["csv"])
        (tmp_path / "out/mine.txt").write_text("mine")
        yield store, tmp_path / "out"


def fail_at(monkeypatch, target: str, count: int, error: BaseException) -> None:
    """Let a function of `os` or `pathlib` fail at its call of this number."""
    module, name = target.rsplit(".", 1)
    owner = {"os": __import__("os"), "pathlib.Path": Path}[module]
    real, calls = getattr(owner, name), []

    def failing(*args, **options):
        calls.append(args)
        if len(calls) == count:
            raise error
        return real(*args, **options)

    monkeypatch.setattr(owner, name, failing)


@pytest.mark.parametrize(("target", "count"), [("pathlib.Path.write_bytes", 1), ("pathlib.Path.write_bytes", 3),
                                               *(("os.replace", n) for n in (1, 2, 4, 7))])  # fmt: skip
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_fault_while_writing_leaves_the_old_report(usual, monkeypatch, target, count, error):
    store, out = usual
    before = digests(out.parent)
    store.record(1, [outcome(cell("housing", "sgld", index=i), -2.0) for i in range(2)])
    before["u.db"] = digests(out.parent)["u.db"]
    expected = UserError if isinstance(error, OSError) else KeyboardInterrupt
    with monkeypatch.context() as patch:
        fail_at(patch, target, count, error)
        with pytest.raises(expected, match="No space left on device" if expected is UserError else None):
            build(store, out, formats=["csv", "latex"])
    after = {k: v for k, v in digests(out.parent).items() if not k.startswith("u.db-")}
    assert after == {k: v for k, v in before.items() if not k.startswith("u.db-")}
    assert sorted(p.name for p in out.iterdir()) == ["manifest.json", "mine.txt", "tables"], "nothing stays behind"


def test_an_exception_in_a_figure_leaves_the_old_report(usual, monkeypatch):
    store, out = usual
    before = digests(out)
    monkeypatch.setattr(style, "render", lambda figure, formats: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        build(store, out)
    assert digests(out) == before


def test_a_new_folder_is_not_made_for_nothing(usual, monkeypatch):
    store, out = usual
    fail_at(monkeypatch, "os.replace", 2, OSError(13, "Permission denied"))
    with pytest.raises(UserError, match="Permission denied"):
        build(store, out.parent / "a" / "b", formats=["csv"])
    assert not (out.parent / "a").exists()


def test_what_is_not_ours_stays(usual):
    store, out = usual
    (out / "index.md").mkdir()  # somebody's folder where the page should be
    (out / "index.md/note").write_text("mine")
    before = digests(out)
    with pytest.raises(UserError, match="Cannot write the report"):
        build(store, out)
    assert digests(out) == before
    build(store, out, formats=["csv"])
    assert (out / "mine.txt").read_text() == "mine"


def test_folder_is_written_once_and_whole(tmp_path):
    output = Output(tmp_path / "out")
    output.write("tables/a.csv", "1")
    assert not (tmp_path / "out").exists()
    written = output.finish()
    assert [p.relative_to(tmp_path / "out").as_posix() for p in written] == ["tables/a.csv", "manifest.json"]
    assert json.loads((tmp_path / "out/manifest.json").read_text()) == ["tables/a.csv"]


def sql(path: Path, statement: str, *values: object) -> None:
    """Change a database behind the back of the program."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(statement, values)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A database of each kind of figure."""
    folder = tmp_path_factory.mktemp("sources")
    some = [o for o in gallery(1, ("map",), extra=False) if o.cell.task == "yacht"]
    with fill(folder / "tables.db", some):
        pass
    with image_store(folder / "images.db", images("mnist", ("bbp-local",))):
        pass
    with density_store(folder / "density.db", densities(("flow-planar",), ("moons", "mnist-vae"))):
        pass
    return folder


def head(text: bytes, body: bytes = b"\0") -> bytes:
    """A curve whose head says something else than its maker would."""
    return _FORM + _deflated(text + b"\n" + body)


DAMAGE = (
    "{", b"", b"1", b"\xff\xfe", 10**12, encode({}), head(b""), head(b"5"), head(b"[[]]"), head(b'[["x","i",0,3]]'),
    head(b'[["x","?",0,1]]'), head(b'[["x","m",99999,1]]', b"\2"), head(b'[["x","b","9",1]]'), head(b'[["x","i",0,0]]'),
    head(b'[["level","m",-11,1],["ecdf","m",-11,2]]', b"12345"), encode({"x": [math.nan], "mean": [math.nan]}),
    encode({"x0": [1, 2, 3], "x1": [1, 2, 2], "log_q": [0, 0, 0], "log_p": [0, 0, 0]}),
)  # fmt: skip


@pytest.mark.parametrize("content", DAMAGE)
def test_damaged_series_are_no_series(content):
    series = decode(content)
    for name in {*NEEDED, *ALSO}:
        assert not sound(name, {k: np.array(v, dtype=float) for k, v in series.items()}) or name in (
            "training",
            "recording",
        )


@pytest.mark.parametrize("name", ["tables", "images", "density"])
def test_damaged_curves_are_left_out_and_told(sources, tmp_path, monkeypatch, name):
    path = tmp_path / "d.db"
    path.write_bytes((sources / f"{name}.db").read_bytes())
    for i, content in enumerate(DAMAGE):
        sql(path, f"UPDATE curve SET content = ? WHERE id % {len(DAMAGE)} = ?", content, i)
    monkeypatch.setattr(style, "render", lambda figure, formats: {})
    with ResultStore(path, read_only=True) as store:
        build(store, tmp_path / "out", formats=["md"])
    assert "which cannot be read" in pages(tmp_path / "out")


def test_one_damaged_curve_costs_no_other(sources, tmp_path, monkeypatch):
    path = tmp_path / "d.db"
    path.write_bytes((sources / "images.db").read_bytes())
    sql(path, "UPDATE curve SET content = ? WHERE name = 'weights'", "{")
    monkeypatch.setattr(style, "render", lambda figure, formats: {"svg": b""})
    with ResultStore(path, read_only=True) as store:
        build(store, tmp_path / "out")
    names = {p.name for p in (tmp_path / "out/figures").iterdir()}
    assert "images-official-weights.svg" not in names
    assert {"images-official-mnist-digit.svg", "images-official-reliability-mnist.svg"} <= names
    assert "1 curves weights of bbp-local on mnist, which cannot be read" in pages(tmp_path / "out")


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("DELETE FROM score", "its scores are missing from the database"),
        ("DELETE FROM score WHERE evaluation_id % 2", ""),
        ("DELETE FROM evaluation", "its scores are missing from the database"),
        ("DELETE FROM curve", ""),
        ("DELETE FROM metric", ""),
        ("UPDATE attempt SET status = 'baked'", "baked: a status that this version does not know"),
        ("UPDATE cell SET config = '{'", ""),
        ("UPDATE session SET device = '', host = '', command = ''", ""),
        ("UPDATE task SET task_groups = '5', notes = 'null'", ""),
        ("UPDATE method SET tags = '5'", ""),
        ("UPDATE session SET versions = '[]'", ""),
        ("UPDATE attempt SET wall_s = 0, gradients = 0, pack_size = 0", ""),
        ("UPDATE score SET value = 1e300", ""),
        ("UPDATE score SET value = NULL, kind = 'inf'", ""),
        ("UPDATE score SET value = NULL, kind = 'what'", ""),
    ],
)
def test_changed_rows_end_in_a_report(sources, tmp_path, monkeypatch, statement, told):
    path = tmp_path / "d.db"
    path.write_bytes((sources / "tables.db").read_bytes())
    sql(path, statement)
    monkeypatch.setattr(style, "render", lambda figure, formats: {})
    with ResultStore(path, read_only=True) as store:
        build(store, tmp_path / "out")
    assert told in pages(tmp_path / "out")


@pytest.mark.parametrize("statement", ["UPDATE session SET versions = '{'", "UPDATE method SET tags = 'x'"])
def test_text_that_is_no_json_is_one_sentence(sources, tmp_path, statement):
    path = tmp_path / "d.db"
    path.write_bytes((sources / "tables.db").read_bytes())
    sql(path, statement)
    result = CliRunner().invoke(main, ["report", "--db", str(path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2, result.output
    assert "is not as bnnbench made it" in result.output
    assert not (tmp_path / "out").exists()
