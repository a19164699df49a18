"""The served page in a real browser: what it says when there are new results, and when its server is gone."""

import threading

import pytest
from report_data import SESSION, cell, fill, outcome
from test_page_browser import browser, pytestmark  # noqa: F401 - a fixture, and when to skip
from test_serve import add, made

from bnnbench.reporting.live import builder as building
from bnnbench.reporting.live.server import Serving
from bnnbench.store.store import ResultStore

LONG = 120_000  # milliseconds


@pytest.fixture(autouse=True)
def _hurried(monkeypatch):
    monkeypatch.setattr(building, "CHECK_S", 0.2)
    monkeypatch.setattr(building, "REST", 0)


class Visit:
    """A page of a server, with all that its console said."""

    def __init__(self, browser, url):  # noqa: F811
        self.page = browser.new_context(viewport={"width": 400, "height": 900}).new_page()
        self.said, self.asked = [], []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(url)

    def ready(self):
        self.page.wait_for_selector("body[data-ready]", timeout=LONG)
        return self

    def complaints(self):
        """What the console said, but for the status of a page that was still being made."""
        return [text for text in self.said if "503" not in text]

    def rows(self):
        return self.page.locator("#leaderboard tbody tr").count()


def test_new_results_are_offered_and_the_view_is_kept(browser, tmp_path):  # noqa: F811
    db = made(tmp_path / "results.db", "map", "sgld")
    with Serving(db, None, "127.0.0.1", 0) as server:
        visit = Visit(browser, server.url).ready()
        page = visit.page
        page.evaluate("location.hash = 'theme=dark&cost=seconds'")
        assert visit.rows() == 2
        assert not page.locator("#news").is_visible()
        add(db, "mc-dropout", index=0)
        add(db, "mc-dropout", index=1)
        page.wait_for_selector("#news button", timeout=LONG)
        assert "There are new results." in page.inner_text("#news")
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        page.focus("#news button")
        page.keyboard.press("Enter")
        page.locator("#leaderboard tbody tr", has_text="mc-dropout").wait_for(timeout=LONG)
        assert page.evaluate("location.hash") == "#theme=dark&cost=seconds"
        assert page.get_attribute("html", "data-theme") == "dark"
        assert not page.locator("#news").is_visible()
        assert all(url.startswith(server.url) or url.startswith("data:") for url in visit.asked)
        assert visit.complaints() == []


@pytest.mark.slow
def test_a_fault_is_said_and_a_server_that_is_gone_too(browser, tmp_path):  # noqa: F811
    db = made(tmp_path / "results.db", "map", "sgld")
    whole = db.read_bytes()
    server = Serving(db, None, "127.0.0.1", 0)
    try:
        page = Visit(browser, server.url).ready().page
        db.unlink()
        page.wait_for_selector("#news.problem", timeout=LONG)
        assert "There is no database at" in page.inner_text("#news")
        assert page.locator("#news button").count() == 0
        db.write_bytes(whole)
        page.wait_for_selector("#news", state="hidden", timeout=LONG)
    finally:
        server.close()
    page.locator("#news", has_text="does not answer").wait_for(timeout=LONG)
    assert page.locator("#leaderboard tbody tr").count() == 2


@pytest.mark.slow
def test_a_page_without_results_is_replaced_by_itself(browser, tmp_path):  # noqa: F811
    db = tmp_path / "results.db"
    with fill(db, []):
        pass
    with Serving(db, None, "127.0.0.1", 0) as server:
        visit = Visit(browser, server.url + "#theme=dark")
        visit.page.locator("main", has_text="holds no results yet").wait_for(timeout=LONG)
        with ResultStore(db) as store:
            store.record(store.start_session(SESSION), [outcome(cell("housing", m), -1.0) for m in ("map", "sgld")])
        visit.ready()
        assert visit.rows() == 2
        assert visit.page.evaluate("location.hash") == "#theme=dark"
        assert threading.active_count() < 30
        assert visit.complaints() == []
