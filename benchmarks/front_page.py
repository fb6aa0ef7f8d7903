"""The table in the README: its rows with the figures of a file of results.

    python benchmarks/front_page.py benchmarks/results/….json

In flow results and the README, whose table names the rows that it shows; out flows the README, with new
figures. The ratio here is always to the best peer, also where a row's goal is set against one peer.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from report import shown, times

README = Path(__file__).parents[1] / "README.md"
OURS = ("compiled", "eager", "numpy by hand")
HEAD = ("", "compiled", "eager", "best peer", "ratio", "ratio of minima")


def refreshed(text: str, rows: list[dict[str, Any]]) -> str:
    """The text with its table of figures written anew."""
    by_name = {row["about"]: row for row in rows}
    found = re.search(r"^\| +\| compiled .*\n(\|.*\n)+", text, re.M)
    if found is None:
        sys.exit("the README has no table of figures")
    names = [line.split("|")[1].strip() for line in found[0].splitlines()[2:]]
    lines = [HEAD, *(cells(by_name[name]) for name in names)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    drawn = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines]
    drawn.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return text[: found.start()] + "\n".join(drawn) + "\n" + text[found.end() :]


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    compiled, least = row["figures"]["compiled"], row["least"]["compiled"]
    left_out = {*OURS, "numpy"} if row["against"] else {*OURS}  # where one peer is named, NumPy is none
    peers = [name for name in row["figures"] if name not in left_out]
    best = min(peers, key=row["figures"].__getitem__)
    ratios = row["figures"][best] / compiled, min(map(row["least"].__getitem__, peers)) / least
    return (
        row["about"],
        shown(compiled, row["unit"]),
        shown(row["figures"].get("eager"), row["unit"]),
        f"{shown(row['figures'][best], row['unit'])}, {best}",
        *map(times, ratios),
    )


if __name__ == "__main__":
    results = json.loads(Path(sys.argv[1]).read_text())
    README.write_text(refreshed(README.read_text(), results["rows"]))
