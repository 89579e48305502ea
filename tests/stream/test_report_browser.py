"""The page of a replay in a real browser: what a person sees, with and without scripts, by keyboard and on a phone."""

from __future__ import annotations

from pathlib import Path

import pytest
from stream.test_report import HOSTILE, frame, page_of, replayed

from driftbus.stream.cli.main import run
from driftbus.stream.report.page import render
from harness.browser import Browser
from harness.node import Node

pytestmark = pytest.mark.browser

LOANS = Path(__file__).parents[2] / "stream" / "demo" / "data"
REFERENCE, ANALYSIS = LOANS / "car_loan_reference.csv.gz", LOANS / "car_loan_analysis.csv.gz"
PHONE = 360


@pytest.fixture(scope="module")
def loans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the demo's data."""
    page = tmp_path_factory.mktemp("loans") / "report.html"
    assert run(["replay", str(ANALYSIS), "--reference", str(REFERENCE), "--html", str(page)]) == 0
    return page


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of columns whose names would like to be more than names."""
    folder = tmp_path_factory.mktemp("hostile")
    page = folder / "report.html"
    file, replay = replayed(folder, frame(HOSTILE, 5_000, 3), frame(HOSTILE, 4_000, 4, 5, at=2_000))
    page.write_text(render(page_of(file, replay)), encoding="utf-8")
    return page


def test_a_person_sees_what_drifted(browser: Browser, loans: Path) -> None:
    with browser.open(loans) as tab:
        page = tab.page
        assert "5 of 9 columns drifted" in page.inner_text("h1")
        assert page.locator("#drifted > li").count() == 5
        assert "car_value" in page.locator("#drifted > li summary .title").first.inner_text()
        assert page.locator(".fold.stable li").count() == 4
        assert page.locator(".incident").count() == 1
        assert page.locator(".timeline .bar").is_visible()
        histogram = page.get_by_role("img", name="histogram of car_value before and after")
        box = histogram.bounding_box()
        assert box is not None
        assert (box["width"] > 150, box["height"] > 80) == (True, True)
        assert histogram.locator("path.before").count() == histogram.locator("path.after").count() == 1
        assert page.get_by_text("driftbus profile").is_visible()
        assert page.get_by_text("only in car_loan_reference.csv.gz: the label?").is_visible()
        assert tab.complaints == []
        assert tab.requests == [loans.resolve().as_uri()]
        assert len(page.screenshot()) > 20_000


def test_folds_open_by_keyboard(browser: Browser, loans: Path) -> None:
    with browser.open(loans) as tab:
        fold = tab.page.locator(".fold.stable > summary")
        stable = tab.page.get_by_text("debt_to_income_ratio")
        assert not stable.is_visible()
        fold.focus()
        tab.page.keyboard.press("Enter")
        assert stable.is_visible()
        tab.page.locator("#drifted > li summary").first.focus()
        tab.page.keyboard.press("Enter")
        assert not tab.page.get_by_role("img", name="histogram of car_value before and after").is_visible()
        tab.page.keyboard.press("Tab")
        assert "repaid_loan_on_prev_car" in tab.page.evaluate("document.activeElement.innerText")


def test_rows_are_found_and_ordered(browser: Browser, loans: Path) -> None:
    with browser.open(loans) as tab:
        tab.page.get_by_label("order of the columns").select_option("name")
        titles = tab.page.locator("#drifted > li summary .name").all_inner_texts()
        assert titles == sorted(titles)
        tab.page.get_by_label("find a column").fill("debt")
        assert tab.page.get_by_text("debt_to_income_ratio").is_visible()
        assert tab.page.locator("#drifted > li:visible").count() == 0
        assert tab.page.get_by_text("1 found").is_visible()


def test_a_link_from_an_incident_unfolds_the_row(browser: Browser, loans: Path) -> None:
    with browser.open(loans) as tab:
        folded = tab.page.locator("#drifted > li details").last
        assert folded.get_attribute("open") is None
        row = folded.get_attribute("id")
        tab.page.locator(f".members a[href='#{row}']").click()
        # the browser tells of the new address a moment later
        tab.page.locator(f"#{row}[open]").wait_for(timeout=10_000)


def test_without_scripts_everything_is_there(browser: Browser, loans: Path) -> None:
    with browser.open(loans, scripts=False) as tab:
        assert not tab.page.get_by_label("find a column").is_visible()
        tab.page.locator(".fold.stable > summary").click()
        assert tab.page.get_by_text("debt_to_income_ratio").is_visible()


@pytest.mark.parametrize("which", ["loans", "hostile"])
def test_nothing_scrolls_sideways_on_a_phone(browser: Browser, request: pytest.FixtureRequest, which: str) -> None:
    with browser.open(request.getfixturevalue(which), width=PHONE, height=740) as tab:
        tab.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert tab.width() == PHONE


def test_hostile_names_are_only_names(browser: Browser, hostile: Path) -> None:
    with browser.open(hostile) as tab:
        assert tab.page.evaluate("document.scripts.length") == 1
        assert tab.page.locator("img, iframe, object, link").count() == 0
        assert "<script>alert(1)</script>" in tab.text()
        assert tab.complaints == []
        assert tab.requests == [hostile.resolve().as_uri()]
        # the browser keeps to the policy even if a name became markup
        tab.page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.hit=1\">')")
        assert tab.page.evaluate("window.hit") is None
        assert any("Content Security Policy" in complaint for complaint in tab.complaints)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible(browser: Browser, node: Node, loans: Path, scheme: str) -> None:
    with browser.open(loans, scheme="dark" if scheme == "dark" else "light") as tab:
        tab.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert tab.violations(node) == []


def test_light_and_dark_differ_and_print_has_everything(browser: Browser, loans: Path) -> None:
    grounds = []
    for dark in (False, True):
        with browser.open(loans, scheme="dark" if dark else "light") as tab:
            grounds.append(tab.page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert grounds[0] != grounds[1]
    with browser.open(loans) as tab:
        tab.page.emulate_media(media="print")
        assert not tab.page.locator(".tools").is_visible()
        assert len(tab.page.pdf()) > 50_000
