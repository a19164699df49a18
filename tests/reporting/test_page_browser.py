"""The page in a real browser without a network: Chromium by playwright, skipped where there is none."""

import math
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from image_data import IMAGE_METHODS, IMAGE_METRICS, IMAGE_TASKS, images
from report_data import METRICS, fill, gallery, lost, outcome
from report_data import cell as made_cell
from suite_data import SUITE_METHODS, suite, suite_store
from test_page import HOSTILE, hostile_store

from bnnbench.records import Status
from bnnbench.reporting.build import build

CHROMIUM = os.environ.get("BNNBENCH_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
pytestmark = [
    pytest.mark.skipif(
        not CHROMIUM and os.environ.get("BNNBENCH_TEST_BROWSER") != "require",
        reason="no Chromium; set BNNBENCH_CHROMIUM to its path",
    ),
]
PARTS = ("board", "ranks", "compare", "data", "method", "shifts", "nearness", "tables", "about")


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra `test`)")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    outcomes = [
        o for o in gallery(4, ("constant", "map", "mc-dropout", "sgld")) if o.cell.task in ("housing", "yacht", "power")
    ]
    with fill(folder / "results.db", outcomes, SUITE_METHODS) as store:
        store.register((), (), [replace(metric, order=place) for place, metric in enumerate(METRICS)])
        build(store, folder / "out", formats=["html"])
    return folder / "out/index.html"


class Opened:
    """A page by file://, offline, with all that its console said."""

    def __init__(self, browser, file: Path, address: str = "", width: int = 1400, scheme: str = "light") -> None:
        context = browser.new_context(
            offline=True, viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce",
            accept_downloads=True,
        )  # fmt: skip
        self.page = context.new_page()
        self.said: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.goto(file.as_uri() + address)
        self.page.wait_for_selector("body[data-ready]", timeout=120_000)

    def tour(self) -> None:
        """Scroll to every part, so that all of it is rendered."""
        for part in PARTS:
            self.page.evaluate("id => document.getElementById(id).scrollIntoView()", part)
            self.page.wait_for_timeout(300)

    def column(self, place: str, index: int) -> list[str]:
        return self.page.eval_on_selector_all(
            f"#{place} tbody tr", f"rows => rows.map(row => row.cells[{index}].innerText)"
        )


@pytest.fixture
def opened(browser, file):
    return Opened(browser, file)


def test_all_of_it_is_shown_without_a_word_on_the_console(opened):
    opened.tour()
    page = opened.page
    assert "ranks first by log-likelihood" in page.inner_text("#sentence")
    for chart in ("cost-chart", "heat", "critical", "forest", "dots"):
        page.wait_for_selector(f"#{chart} svg.marks", timeout=60_000)
    assert page.locator("#leaderboard tbody tr").count() == 5  # four methods, and a configuration of sgld
    assert opened.said == []


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Tables with fidelity, and images with shifts."""
    folder = tmp_path_factory.mktemp("whole")
    with suite_store(folder / "r.db", suite(2, ("constant", "map", "sgld", "hmc"))) as store:
        store.register(IMAGE_METHODS, IMAGE_TASKS, IMAGE_METRICS)
        store.record(1, images(names=("map", "ensemble-deep", "bbp-local")))
        build(store, folder / "out", formats=["html"])
    return folder / "out/index.html"


def test_a_click_leads_to_each_part_and_its_charts_are_drawn(browser, whole):
    opened = Opened(browser, whole, "#tasks=images-official-full")
    page = opened.page
    for part, chart in (("shifts", "shift-chart"), ("nearness", "near-chart"), ("data", "calibration")):
        page.click(f"[data-go={part}]")
        page.wait_for_selector(f"#{chart} svg.marks", timeout=60_000)
        tops = [math.inf]
        while not (settled := 0 <= tops[-1] < 200 and tops[-2:-1] == tops[-1:]) and len(tops) < 60:
            page.wait_for_timeout(500)  # as long as charts above it still grow
            tops.append(page.evaluate("id => document.getElementById(id).getBoundingClientRect().top", part))
        assert settled, tops
    page.click("[data-go=shifts]")
    page.select_option("#quantity", "entropy_total")
    page.wait_for_function("location.hash.includes('quantity=entropy_total')")
    page.wait_for_selector("#shift-text:has-text('total entropy of 3 methods')")
    entropies = [float(text) for text in opened.column("shift-table", 2)]
    assert len(entropies) == 3
    assert entropies == sorted(entropies, reverse=True)
    page.select_option("#near", "mean_gap")
    page.wait_for_function("location.hash.includes('near=mean_gap')")
    assert opened.said == []


def test_further_tables_are_chosen_and_sorted_by_number(browser, whole):
    opened = Opened(browser, whole, "#tasks=images-official-full&table=fidelity-w1_to_hmc")
    opened.tour()
    page = opened.page
    assert "Distance from HMC" in page.inner_text("#listed option:checked")
    head = page.locator("#listed-table thead th").nth(1)
    head.click()
    numbers = [float(t.split()[0].replace("−", "-")) for t in opened.column("listed-table", 1) if t.strip() != "–"]
    assert numbers == sorted(numbers)
    assert len(numbers) > 2
    assert opened.said == []


def test_sorting_says_so(opened):
    head = opened.page.locator("#leaderboard thead th", has_text="ailed")
    head.click()
    opened.page.wait_for_selector("#leaderboard thead th[aria-sort=ascending]:has-text('ailed')")
    assert opened.column("leaderboard", 10)[-1] != "0"
    head.locator("[tabindex='0']").focus()
    opened.page.keyboard.press("Enter")
    opened.page.wait_for_selector("#leaderboard thead th[aria-sort=descending]:has-text('ailed')")


def test_a_view_is_shared_by_its_address(browser, file, opened):
    page = opened.page
    page.select_option("#metric", "rmse")
    page.wait_for_function("location.hash.includes('metric=rmse')")
    page.get_by_label("Compare mc-dropout").click()
    page.wait_for_function("location.hash.includes('mc-dropout')")
    again = Opened(browser, file, page.evaluate("location.hash"))
    assert "by RMSE" in again.page.inner_text("#sentence")
    assert again.column("leaderboard", 2) == opened.column("leaderboard", 2)
    assert again.page.get_by_label("Compare mc-dropout").is_checked()


def test_a_number_tells_where_it_comes_from(opened):
    page = opened.page
    page.evaluate("document.getElementById('data').scrollIntoView()")
    page.locator("#task-table .number").first.click()
    text = page.inner_text("#provenance")
    assert "0123abc" in text
    assert "bnnbench run --task all --db results.db" in text
    assert page.locator("#provenance-cells tbody tr").count() == 4
    page.keyboard.press("Escape")
    assert not page.locator("#provenance").is_visible()


def test_what_is_shown_can_be_saved(opened):
    page = opened.page
    with page.expect_download() as saved:
        page.locator("#leaderboard").get_by_text("Download CSV").click()
    text = Path(saved.value.path()).read_text(encoding="utf-8-sig")
    assert "Mean rank" in text
    assert "mc-dropout" in text


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_and_in_both_themes(browser, file, scheme):
    opened = Opened(browser, file, width=400, scheme=scheme)
    opened.tour()
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 400
    ground = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
    assert opened.said == []


def test_addresses_that_name_nothing_show_the_first_view(browser, file):
    opened = Opened(browser, file, "#tasks=none&metric=%&compare=%25%25,x&method=y&data=z&theme=pink&cost=tears")
    opened.tour()
    assert "ranks first by log-likelihood" in opened.page.inner_text("#sentence")
    assert opened.said == []


def test_hostile_names_are_text(browser, tmp_path):
    with hostile_store(tmp_path / "h.db") as store:
        build(store, tmp_path / "out", formats=["html"])
    opened = Opened(browser, tmp_path / "out/index.html")
    opened.page.on("dialog", lambda dialog: opened.said.append(f"alert {dialog.message}"))
    opened.tour()
    names = "\n".join(opened.column("leaderboard", 0))
    assert all(" ".join(name.split()) in " ".join(names.split()) for name in HOSTILE)
    assert opened.page.locator("img, main script").count() == 0
    assert opened.said == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "outcomes",
    [
        pytest.param([outcome(made_cell("housing", "map", index=i), -2.0 - i) for i in range(3)], id="one method"),
        pytest.param([outcome(made_cell("housing", m), -2.0) for m in ("map", "sgld")], id="one fold"),
        pytest.param(
            [lost(made_cell("housing", "map", index=i), Status.FAILED, "boom") for i in range(2)], id="failures"
        ),
    ],
)
def test_odd_databases_are_shown(browser, tmp_path, outcomes):
    with fill(tmp_path / "o.db", outcomes) as store:
        build(store, tmp_path / "out", formats=["html"])
    opened = Opened(browser, tmp_path / "out/index.html")
    opened.tour()
    assert opened.page.inner_text("#sentence")
    assert opened.said == []
