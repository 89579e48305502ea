"""A real browser: Chromium, driven as a person would use it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser as Chromium
from playwright.sync_api import Page, sync_playwright

from harness.missing import MissingService
from harness.node import Node

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

Scheme = Literal["light", "dark"]


@dataclass(slots=True)
class Tab:
    """A page that is open in the browser.

    Attributes:
        page: to look at and to touch.
        complaints: what the console said, and errors of scripts.
        requests: addresses that were asked for.
    """

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def text(self) -> str:
        """What a person can read."""
        return self.page.inner_text("body")

    def width(self) -> int:
        """Width of the content in pixels; more than that of the window means scrolling sideways."""
        return int(self.page.evaluate("document.documentElement.scrollWidth"))

    def violations(self, node: Node) -> list[str]:
        """What axe-core finds against accessibility: ``rule: element``."""
        script = (node.modules / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
        self.page.evaluate(script)
        found: list[dict[str, Any]] = self.page.evaluate("axe.run().then(result => result.violations)")
        return [f"{rule['id']}: {rule['nodes'][0]['html'][:120]}" for rule in found]


class Browser:
    """Chromium without a window."""

    def __init__(self, chromium: Chromium) -> None:
        self._chromium = chromium

    @contextmanager
    def open(
        self, file: Path, *, width: int = 1280, height: int = 900, scheme: Scheme = "light", scripts: bool = True
    ) -> Iterator[Tab]:
        """A file in a tab of its own.

        Args:
            file: the page.
            width, height: of the window, in pixels.
            scheme: the colours that the person prefers.
            scripts: whether scripts run.
        """
        context = self._chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, java_script_enabled=scripts
        )
        try:
            tab = Tab(context.new_page())
            tab.page.on("console", lambda message: tab.complaints.append(message.text))
            tab.page.on("pageerror", lambda error: tab.complaints.append(str(error)))
            tab.page.on("request", lambda request: tab.requests.append(request.url))
            tab.page.goto(file.resolve().as_uri())
            yield tab
        finally:
            context.close()


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser.

    Raises:
        MissingService: there is no Chromium on PATH.
    """
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        raise MissingService("Chromium: put chromium on PATH (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        # no sandbox: in containers tests run as root; the only pages are our own
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield Browser(chromium)
        finally:
            chromium.close()
