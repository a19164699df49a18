"""The page is one file that loads nothing, and names in it are data."""

import base64
import hashlib
import html
import re
from dataclasses import replace

import pytest
from click.testing import CliRunner
from report_data import METHODS, TASKS, cell, fill, outcome

from bnnbench.cli import main
from bnnbench.records import MethodRecord
from bnnbench.reporting.build import build
from bnnbench.reporting.page.compact import unpacked

HOSTILE = (
    "</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<!--", "a,b", "100 %", "__proto__",
    'q"uote\'s', "ℵ 漢字 \U0001f600", "{{ 7 * 7 }}", "new\nline", "constructor", "x#y&z=1",
)  # fmt: skip


@pytest.fixture
def small(tmp_path):
    found = [outcome(cell("housing", m, index=i), v + i / 10) for m, v in (("map", -2.0), ("sgld", -3)) for i in (0, 1)]
    with fill(tmp_path / "small.db", found) as store:
        yield store


def hostile_store(path):
    """Every name that a page prints holds markup."""
    task = replace(TASKS[5], name=f"t{HOSTILE[0]}", groups=(f"g{HOSTILE[1]}",), notes=HOSTILE, warning=HOSTILE[1])
    methods = [MethodRecord(name, 1, name, (name,), i) for i, name in enumerate(HOSTILE)]
    made = [outcome(replace(cell("housing", "map", index=i), task=task.name, method=name, label=f"s={name}"), -1.0 - i)
            for name in HOSTILE for i in (0, 1)]  # fmt: skip
    store = fill(path, [], methods)
    store.register((), [task], ())
    store.record(1, [replace(o, message=name) for o, name in zip(made, HOSTILE * 2, strict=True)])
    return store


def test_one_file_that_loads_nothing(small, tmp_path):
    assert build(small, tmp_path / "out", formats=["html"]) == [
        tmp_path / "out/index.html",
        tmp_path / "out/manifest.json",
    ]
    page = (tmp_path / "out/index.html").read_text(encoding="utf-8")
    assert len(page) < 5e6
    assert not re.search(
        r"<(script|link|img|iframe)[^>]+(src|href)=(?!\"data:,\")", re.sub(r"<script.*?</script>", "", page, flags=re.S)
    )
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1])  # type: ignore[index]
    allowed = {name: set(sources) for name, *sources in map(str.split, policy.split(";"))}
    assert allowed["default-src"] == {"'none'"}
    assert allowed["img-src"] == {"data:", "blob:"}
    for element in ("script", "style"):
        texts = re.findall(rf'<{element}(?: type="module")?>(.*?)</{element}>', page, flags=re.S)
        digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)
        assert allowed[f"{element}-src"] == {f"'sha256-{digest}'" for digest in digests}, f"a {element} would not run"


def test_names_are_data_and_never_markup(tmp_path):
    with hostile_store(tmp_path / "h.db") as store:
        build(store, tmp_path / "out", formats=["html"])
    page = (tmp_path / "out/index.html").read_text(encoding="utf-8")
    assert "alert(1)" not in page
    found = unpacked(re.search(r'id="payload">([^<]*)<', page)[1])  # type: ignore[index]
    assert {about["method"] for about in found["rows"].values()} == set(HOSTILE)


def test_same_database_same_bytes(small, tmp_path):
    pages = [next(iter(build(small, tmp_path / out, formats=["html"]))).read_bytes() for out in "ab"]
    assert pages[0] == pages[1]


def test_the_command_says_where_to_begin(small, tmp_path):
    done = CliRunner().invoke(
        main, ["report", "--db", str(tmp_path / "small.db"), "--out", str(tmp_path / "c"), "--format", "html"]
    )
    assert done.exit_code == 0, done.output
    assert done.output == f"Wrote 2 files; begin with {tmp_path / 'c/index.html'}.\n"


def test_a_database_called_as_the_page_is_not_overwritten(tmp_path):
    with fill(tmp_path / "index.html", [outcome(cell("housing", m), -1.0) for m in ("map", "sgld")], METHODS):
        pass
    before = (tmp_path / "index.html").read_bytes()
    done = CliRunner().invoke(main, ["report", "--db", str(tmp_path / "index.html"), "--out", str(tmp_path)])
    assert done.exit_code == 2
    assert (tmp_path / "index.html").read_bytes() == before
