"""How long the report of a database takes, how large its page is and how soon it opens, and all that of a larger one.

    python benchmarks/report_growth.py --db results.db --copies 1,10 --of seeds,configurations

The larger databases hold every cell so many times: as further seeds, or as further configurations of its method, which
are rows of their own. Prints a line each: cells, size of the database, seconds of the page alone (`--format html`) and
of the whole report without figures, the page's size, and the seconds until it is ready in a Chromium without a network
(the median of three; - where there is none). Nothing is written outside a temporary folder.
"""

from __future__ import annotations

import argparse
import shutil
import sqlite3
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path

from rich import print

import bnnbench

COPIED = ("cell", "attempt", "evaluation", "score", "curve")
NUMBERED = {"id", "cell_id", "attempt_id", "evaluation_id"}
ALSO = {"fingerprint": "'copy-{k}-' || fingerprint", "owner": "NULL"}
OF = {"seeds": {"seed": "seed + 100 * {k}"}, "configurations": {"label": "label || '-{k}'"}}


def enlarged(source: Path, path: Path, copies: int, of: str) -> None:
    """A copy of a database in which every cell stands so many times."""
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(path)) as new:
        old.backup(new)
        step = 1 + max(new.execute(f"SELECT max(id) FROM {t}").fetchone()[0] or 0 for t in COPIED if t != "score")
        for table in COPIED:
            columns = [column for _, column, *_ in new.execute(f"PRAGMA table_info({table})")]
            rows = new.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for k in range(1, copies):
                values = [_copied(column, k, k * step, of) for column in columns]
                place = f"WHERE {columns[0]} < {step}"
                new.execute(f"INSERT INTO {table} SELECT {', '.join(values)} FROM {table} {place}")
            assert new.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == copies * rows
        new.commit()


def _copied(column: str, k: int, step: int, of: str) -> str:
    if column in NUMBERED:
        return f"{column} + {step}"
    return (ALSO | OF[of]).get(column, column).format(k=k)


def seconds_of(db: Path, out: Path, formats: list[str]) -> float:
    began = time.perf_counter()
    bnnbench.report(db, out, formats=formats, figures=["none"])
    return time.perf_counter() - began


def opening(file: Path) -> float | None:
    """Seconds until the page says that it is ready, the median of three; None without a browser."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        return None
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        found = []
        for _ in range(3):
            page = browser.new_context(offline=True).new_page()
            began = time.perf_counter()
            page.goto(file.as_uri())
            page.wait_for_selector("body[data-ready]", timeout=120_000)
            found.append(time.perf_counter() - began)
        browser.close()
    return statistics.median(found)


def measured(source: Path, folder: Path, copies: int, of: str) -> str:
    path = folder / "r.db"
    enlarged(source, path, copies, of)
    with closing(sqlite3.connect(path)) as connection:
        cells = connection.execute("SELECT count(*) FROM cell").fetchone()[0]
    page = seconds_of(path, folder / "page", ["html"])
    whole = seconds_of(path, folder / "whole", ["html", "md", "csv", "latex"])
    file = folder / "page/index.html"
    ready = opening(file)
    return (
        f"{copies:2d} x, by {of}: {cells:6d} cells, {path.stat().st_size / 2**20:6.1f} MB; page {page:6.1f} s, "
        f"report {whole:6.1f} s; page {file.stat().st_size / 2**20:5.2f} MB, opens in "
        f"{'-' if ready is None else f'{ready:.2f}'} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--db", type=Path, default=Path("results.db"))
    parser.add_argument("--copies", default="1,10")
    parser.add_argument("--of", default="seeds,configurations")
    given = parser.parse_args()
    kinds = given.of.split(",")
    for copies in map(int, given.copies.split(",")):
        for of in kinds if copies > 1 else kinds[:1]:
            with tempfile.TemporaryDirectory() as name:
                print(measured(given.db, Path(name), copies, of))


if __name__ == "__main__":
    main()
