"""Draws docs/report.png: the page of `driftbus replay --html` on the demo's data.

Takes half a minute: python docs/report_png.py. Needs Chromium on PATH and the tests' dependencies.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from driftbus.stream.cli.main import run

DOCS = Path(__file__).parent
DATA = DOCS.parent / "stream" / "demo" / "data"
WIDTH, HEIGHT = 1280, 1420


def main() -> None:
    """Replay, open the page, keep what is on its first screens."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page = Path(folder) / "report.html"
        data, reference = (str(DATA / f"car_loan_{name}.csv.gz") for name in ("analysis", "reference"))
        if run(["replay", data, "--reference", reference, "--html", str(page)]):
            raise SystemExit("the replay failed")
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        tab.goto(page.as_uri())
        tab.screenshot(path=DOCS / "report.png")
        browser.close()


if __name__ == "__main__":
    main()
