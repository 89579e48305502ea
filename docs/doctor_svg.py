"""Draws docs/doctor.svg: lines of `driftbus doctor --json` as a terminal shows them. python docs/doctor_svg.py FILE"""

from __future__ import annotations

import json
import re
import sys
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI

from driftbus.stream.doctor.finding import Finding
from driftbus.stream.doctor.told import line_of, summary_of


def main(found: Path) -> None:
    findings = [Finding(**json.loads(line)) for line in found.read_text().splitlines()]
    screen = Console(record=True, file=StringIO(), force_terminal=True, width=132, highlight=False)
    screen.print("$ driftbus doctor")
    for finding in findings:
        screen.print(line_of(finding))
    screen.print(summary_of(findings))
    svg = screen.export_svg(title="driftbus doctor", theme=MONOKAI, unique_id="doctor")
    # fonts from elsewhere are not loaded inside an image
    Path(__file__).with_name("doctor.svg").write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
