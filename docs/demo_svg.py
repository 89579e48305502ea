"""Draws docs/demo.svg: one frame of the demo as it really runs here. Takes a minute: python docs/demo_svg.py"""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path

from rich.console import Console, RenderableType
from rich.terminal_theme import MONOKAI

from driftbus.stream.demo import conductor
from driftbus.stream.demo.screen import Picture

EVENTS = 40_000
"""The frame that is kept: the drift begins near event 25,000, and labels of it come with event 29,000."""


class Kept(Picture):
    """Keeps one frame of what it draws."""

    frame: RenderableType | None = None

    def draw(self) -> RenderableType:
        drawn = super().draw()
        if Kept.frame is None and self.sent >= EVENTS and self.rate:
            Kept.frame = drawn
        return drawn


def main() -> None:
    conductor.Picture = Kept  # type: ignore[misc]
    if conductor.demonstrate(Console(file=StringIO(), force_terminal=True, width=132), None, None, 3000.0):
        raise SystemExit("the demo did not find what it should")
    assert Kept.frame is not None
    screen = Console(record=True, file=StringIO(), force_terminal=True, width=132, highlight=False)
    screen.print("$ make demo")
    screen.print(Kept.frame)
    svg = screen.export_svg(title="make demo", theme=MONOKAI, unique_id="demo")
    # fonts from elsewhere are not loaded inside an image
    Path(__file__).with_name("demo.svg").write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL))


if __name__ == "__main__":
    main()
