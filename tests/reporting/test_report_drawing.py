"""Figures in the formats that are asked for, by as many processes: the page shows what exists, the bytes are equal."""

import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure
from report_data import fill, gallery, pages

import bnnbench
from bnnbench.cli import main
from bnnbench.errors import UserError
from bnnbench.reporting.build import build
from bnnbench.reporting.figures import drawing
from bnnbench.reporting.figures.drawing import Drawer
from bnnbench.reporting.figures.plot import Plot
from bnnbench.store.store import ResultStore

SHOWN = {"toy-heteroscedastic", "yacht"}


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    path = tmp_path_factory.mktemp("db") / "results.db"
    with fill(path, [o for o in gallery(2, ("map", "sgld")) if o.cell.task in SHOWN]):
        return path


def report(database: Path, out: Path, **options) -> tuple[str, dict[str, bytes]]:
    """The page, and the figures by name."""
    with ResultStore(database, read_only=True) as store:
        build(store, out, formats=["md"], **options)
    figures = out / "figures"
    files = {path.name: path.read_bytes() for path in figures.iterdir()} if figures.is_dir() else {}
    return pages(out), files


@pytest.fixture(scope="module")
def usual(database, tmp_path_factory):
    return report(database, tmp_path_factory.mktemp("out"))


def linked(page: str) -> list[str]:
    return re.findall(r"\]\(figures/([^)]+)\)", page)


def test_one_format_by_default_with_text_as_text_and_pixels_where_it_is_dense(usual):
    page, files = usual
    assert {name.rpartition(".")[2] for name in files} == {"svg"}
    assert sorted(linked(page)) == sorted(files)
    toy = files["toy-fixed-toy-heteroscedastic.svg"].decode()
    assert re.search(r"<text [^>]*>mean|<text [^>]*>predictive mean</text>", toy)
    assert "'DejaVu Sans', 'Verdana'" in toy
    assert "<image " in toy, "bands and points"
    assert not any(b"DejaVuSans-" in content for content in files.values()), "no letter is a path"


def test_every_format_shows_the_same_and_the_page_the_first(database, usual, tmp_path):
    page, files = report(database, tmp_path, figures=("pdf", "png", "svg"))
    stems = {name.removesuffix(".svg") for name in usual[1]}
    assert set(files) == {f"{stem}.{kind}" for stem in stems for kind in ("pdf", "png", "svg")}
    assert sorted(linked(page)) == sorted(files)
    shown = re.findall(r"!\[[^\n]*\]\(figures/([^)]+)\)", page)
    assert {name.rpartition(".")[2] for name in shown} == {"png"}, "a page cannot show a PDF"
    assert len(shown) == len(stems)
    for stem in stems:
        assert files[f"{stem}.png"].startswith(b"\x89PNG")
        assert files[f"{stem}.pdf"].startswith(b"%PDF")
        assert b"CreationDate" not in files[f"{stem}.pdf"]
        assert f"[PDF](figures/{stem}.pdf) [SVG](figures/{stem}.svg)" in page


def test_a_page_of_pdf_has_words_and_links(database, tmp_path):
    page, files = report(database, tmp_path, figures=("pdf",))
    assert "![" not in page
    assert sorted(linked(page)) == sorted(files)
    assert "Predictive mean, noise band and total band of 2 methods on toy-heteroscedastic" in page


def test_without_figures_the_page_says_how_to_get_them_and_links_none(database, usual, tmp_path):
    page, files = report(database, tmp_path, figures=("none",))
    assert files == {}
    assert "figures/" not in page
    assert "![" not in page
    assert "`bnnbench report` without `--figures none` draws them" in page
    assert "without `--figures none`" not in usual[0]
    titles = [line for line in usual[0].splitlines() if line.startswith("#") and line != "## Figures"]
    assert [line for line in page.splitlines() if line.startswith("#")] == titles


def test_no_figures_need_no_matplotlib(database, tmp_path):
    code = (
        "import sys; from bnnbench.reporting.build import build; from bnnbench.store.store import ResultStore\n"
        f"with ResultStore({str(database)!r}, read_only=True) as store:\n"
        f"    build(store, {str(tmp_path)!r}, formats=('md', 'csv', 'latex'), figures=('none',))\n"
        "assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("figures", [("gif",), ("svg", "none"), ("",), ()])
def test_unknown_formats_are_refused_and_nothing_is_written(database, tmp_path, figures):
    with pytest.raises(UserError, match=r"Unknown format of figures \(\w*\); choose from svg, png, pdf\."):
        report(database, tmp_path / "out", figures=figures)
    assert not (tmp_path / "out").exists()


def test_several_processes_draw_the_same_bytes(database, usual, tmp_path):
    assert report(database, tmp_path, processes=2) == usual


@pytest.mark.parametrize("error", [OSError(38, "no semaphores"), NotImplementedError(), ImportError()])
def test_where_processes_cannot_be_had_one_draws(database, usual, tmp_path, monkeypatch, error):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(drawing, "ProcessPoolExecutor", refuse)
    assert report(database, tmp_path, processes=4) == usual


def test_what_a_broken_pool_did_not_draw_is_drawn_here(database, usual, tmp_path, monkeypatch):
    taken = []

    class Breaking(ProcessPoolExecutor):
        def submit(self, *args):
            taken.append(args)
            if len(taken) > 2:
                raise BrokenProcessPool
            return super().submit(*args)

    monkeypatch.setattr(drawing, "ProcessPoolExecutor", Breaking)
    assert report(database, tmp_path, processes=2) == usual
    assert len(taken) > 3


def one_that_dies(parent: int, where: Path) -> Figure:
    """Ends every process but the parent, at once."""
    if os.getpid() != parent:
        where.write_text("dead", encoding="utf-8")
        os._exit(1)
    return Figure()


def test_a_process_that_dies_costs_no_figure(tmp_path):
    with Drawer(("svg",), 2) as drawer:
        drawer.add(Plot("bad", "", "", partial(one_that_dies, os.getpid(), tmp_path / "x")))
        drawer.add(Plot("good", "", "", Figure))
        files = dict(drawer.files())
    assert (tmp_path / "x").read_text(encoding="utf-8") == "dead"
    assert set(files) == {"bad.svg", "good.svg"}
    assert files["bad.svg"] == files["good.svg"]


def test_an_error_in_a_figure_is_an_error_here(tmp_path):
    with Drawer(("svg",), 2) as drawer:
        drawer.add(Plot("bad", "", "", partial(divmod, 1, 0)))
        with pytest.raises(ZeroDivisionError):
            list(drawer.files())


ORPHANS = """
import sys, time
from functools import partial
from bnnbench.reporting.figures.drawing import Drawer
from bnnbench.reporting.figures.plot import Plot
if __name__ == "__main__":
    drawer = Drawer(("svg",), 2)
    for i in range(4):
        drawer.add(Plot(str(i), "", "", partial(time.sleep, 600)))
    print(*drawer._pool._processes, flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_processes_end_with_their_parent(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(ORPHANS, encoding="utf-8")
    with subprocess.Popen([sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        children = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(children) == 2
        time.sleep(3)  # time to have begun
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in children) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def test_command_and_python_take_the_same(database, tmp_path):
    def run(out, *options):
        arguments = ["report", "--db", str(database), "--out", str(tmp_path / out), *options]
        result = CliRunner().invoke(main, arguments)
        return result.exit_code, result.output

    assert run("none", "--figures", "none", "--format", "md")[0] == 0
    assert not (tmp_path / "none" / "figures").exists()
    status, told = run("gif", "--figures", "svg,gif")
    assert (status, told) == (2, "Error: Unknown format of figures (gif); choose from svg, png, pdf.\n")
    status, told = run("jobs", "--jobs", "0")
    assert (status, told) == (2, "Error: --jobs must be at least 1, not 0.\n")
    written = bnnbench.report(database, tmp_path / "python", figures="png", formats="md", tasks="yacht", methods="map")
    assert {path.suffix for path in written if path.parent.name == "figures"} == {".png"}
    with pytest.raises(UserError, match="--jobs must be a whole number"):
        bnnbench.report(database, tmp_path / "python", jobs="two")
