"""The chart in the README: how many times the best peer's time is ours, row by row, as SVG.

    python benchmarks/chart.py benchmarks/results/….json

In flows a file of results, out flows `chart.svg` beside it. The scale is logarithmic; the line is at 1.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

WIDTH, LABELS, LINE, TOP = 900, 470, 22, 56
COLOURS = {True: "#2a7f62", False: "#c0662b"}
"""Ahead of the best peer, and behind."""
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#555} "
    ".title{font-size:15px;font-weight:600} "
    ".grid{stroke:#8884}"
)


def draw(results: Path, chart: Path) -> None:
    """Write the chart of these results. Products on one thread are left to the table: they would be half of
    the chart."""
    content = json.loads(results.read_text())
    rows = [r for r in content["rows"] if r["ratio"] is not None and not r["name"].endswith("_alone")]
    chart.write_text(svg(content["machine"], rows))


def svg(machine: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    low = math.floor(math.log10(min([1.0, *(row["ratio"] for row in rows)])))
    high = math.ceil(math.log10(max([10.0, *(row["ratio"] for row in rows)])))

    def place(ratio: float) -> float:
        return LABELS + (WIDTH - LABELS - 60) * (math.log10(ratio) - low) / (high - low)

    height = TOP + LINE * len(rows) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<style>{STYLE}</style>",
        text(12, 24, "Best peer's time / Retrograd's (further right is quicker)", "title"),
        text(12, 42, f"{machine['processor']}, {machine['cores']} cores, {machine['date']}, {loads(rows)}"),
    ]
    for power in range(low, high + 1):
        x = place(10.0**power)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 6}" y2="{height - 24}"/>')
        parts.append(text(x - 8, height - 8, f"{10.0**power:g}×"))
    for k, row in enumerate(rows):
        begin, end = sorted((place(1.0), place(row["ratio"])))
        y = TOP + LINE * k
        colour = COLOURS[row["ratio"] >= 1]
        parts.append(text(12, y + 13, row["about"]))
        where = f'x="{begin:.1f}" y="{y}" width="{max(1.0, end - begin):.1f}" height="15" rx="2"'
        parts.append(f'<rect {where} fill="{colour}"/>')
        parts.append(text(max(end, place(1.0)) + 5, y + 12, f"{row['ratio']:.3g}×"))
    return "\n".join([*parts, "</svg>", ""])


def loads(rows: list[dict[str, Any]]) -> str:
    """How busy the machine was."""
    seen = [row["load"] for row in rows]
    return f"load {min(seen):.0f} to {max(seen):.0f}"


def text(x: float, y: float, content: str, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{named}>{escape(content)}</text>'


if __name__ == "__main__":
    source = Path(sys.argv[1])
    draw(source, source.with_name("chart.svg"))
