"""Results as text: a paragraph while running, a table at the end, and files for later."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import Result, Row

CONTENDERS = ("compiled", "eager", "numpy", "numpy by hand", "torch", "torch.compile", "jax")
FIRST_GOALS = {"jax": 5.0, "torch.compile": 50.0}
"""How many times sooner than these a first, cold call is to come."""


def machine() -> dict[str, Any]:
    """What the figures hold for."""
    return {
        "date": datetime.date.today().isoformat(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "versions": {
            name: _version(name) for name in ("retrograd", "numpy", "llvmlite", "torch", "jax", "jaxlib")
        },
    }


def _processor() -> str:
    """Its name, family and widest vectors: names alone say little on virtual machines."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    found = dict(re.findall(r"^([\w ]+?)\s*: (.*)$", text, re.M))
    flags = found.get("flags", "").split()
    wide = next((name for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2")) if flag in flags), "")
    parts = [found.get("model name", platform.machine()), f"family {found.get('cpu family', '?')}", wide]
    return ", ".join(filter(None, parts))


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def heading(facts: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items() if version)
    where = f"{facts['processor']}, {facts['cores']} cores"
    return f"{facts['date']} · {where}\nPython {facts['python']}, {versions}\n"


def shown(figure: float | None, unit: str = "s") -> str:
    """Three digits and a unit."""
    if figure is None:
        return "–"
    if unit != "s":
        return f"{figure:.0f} {unit}"
    for factor, name in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
        if figure * factor >= 1:
            return (
                f"{figure * factor:.3g} {name}" if figure * factor < 1000 else f"{figure * factor:.0f} {name}"
            )
    return f"{figure * 1e9:.0f} ns"


def verdict(result: Result) -> str:
    return {True: "yes", False: "no", None: ""}[result.reached]


def goal(result: Result) -> str:
    row = result.row
    parts = [] if row.goal is None else [f"{row.goal:g}×" + (f" {row.against}" if row.against else "")]
    return ", ".join(parts + ([] if row.limit is None else [f"≤ {shown(row.limit, row.unit)}"]))


def times(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.3g}×"


def paragraph(result: Result) -> str:
    """A row as it is measured."""
    row = result.row
    lines = [f"{row.name}: {row.about} ({row.threads} thread{'s' * (row.threads > 1)})"]
    for name in CONTENDERS:
        if name in result.figures:
            first = f"   first call {shown(result.firsts[name])}" if row.timed else ""
            alone = f", compiling alone {shown(result.ahead[name])}" if name in result.ahead else ""
            lines.append(f"  {name:14}{shown(result.figures[name], row.unit):>10}{first}{alone}")
        if name in result.notes:
            lines.append(f"  {name:14}{'':>10}   {result.notes[name]}")
    return "\n".join(
        [*lines, f"  {'ratio':14}{times(result.ratio):>10}   goal {goal(result) or '–'}  {verdict(result)}"]
    )


def table(results: Sequence[Result]) -> str:
    """All rows, as Markdown."""
    head = ["row", "threads", *CONTENDERS, "ratio", "ratio of minima", "goal", "reached", "load"]
    lines = [
        [
            result.row.about,
            str(result.row.threads),
            *(shown(result.figures.get(name), result.row.unit) for name in CONTENDERS),
            times(result.ratio),
            times(result.least_ratio),
            goal(result),
            verdict(result),
            f"{result.load:.0f}",
        ]
        for result in results
    ]
    return markdown(head, lines)


def first_calls(results: Sequence[Result]) -> str:
    """What cold first calls take beyond second ones, which is compiling, as Markdown."""
    names = ("compiled", "torch.compile", "jax")
    head = ["row", *names, "jax / ours", "torch.compile / ours", "reached"]
    lines = []
    for result in results:
        firsts = result.firsts
        if not result.row.compiles or "compiled" not in firsts or not set(firsts) & set(FIRST_GOALS):
            continue
        ratios = {name: firsts[name] / firsts["compiled"] for name in FIRST_GOALS if name in firsts}
        reached = all(ratios[name] >= FIRST_GOALS[name] for name in ratios)
        cells = [shown(firsts.get(name)) for name in names]
        cells += [times(ratios.get(name)) for name in ("jax", "torch.compile")]
        lines.append([result.row.about, *cells, "yes" if reached else "no"])
    return markdown(head, lines)


def compiling_alone(results: Sequence[Result]) -> str:
    """What compiling takes where nothing is run, as Markdown."""
    lines = [
        [
            result.row.about,
            *(shown(result.ahead[name]) for name in ("compiled", "jax")),
            times(result.ahead["jax"] / result.ahead["compiled"]),
        ]
        for result in results
        if {"compiled", "jax"} <= set(result.ahead)
    ]
    return markdown(["row", "compiled", "jax", "jax / ours"], lines)


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(head, *lines)]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths)) + " |"

    return "\n".join(
        [line(head), "|" + "|".join("-" * (width + 2) for width in widths) + "|", *map(line, lines)]
    )


def place(folder: Path, facts: Mapping[str, Any]) -> Path:
    """The file of a day's results on a machine."""
    return folder / f"{facts['date']}-{re.sub(r'[^a-z0-9]+', '-', facts['processor'].lower())}.json"


def read(path: Path, table: Mapping[str, Row]) -> list[Result]:
    """The results in a file, of rows that there still are."""
    records = json.loads(path.read_text())["rows"] if path.exists() else []
    return [
        Result(
            table[record["name"]],
            record["figures"],
            record["least"],
            record["first calls"],
            record["notes"],
            record["load"],
            record.get("compiling alone", {}),
        )
        for record in records
        if record["name"] in table
    ]


def write(path: Path, facts: Mapping[str, Any], results: Sequence[Result]) -> None:
    """The figures as JSON, and the tables beside them."""
    records = [_record(result) for result in results]
    path.write_text(json.dumps({"machine": facts, "rows": records}, indent=1) + "\n")
    notes = [f"- {result.row.name}, {who}: {why}" for result in results for who, why in result.notes.items()]
    text = [
        f"# Benchmarks\n\n{heading(facts)}",
        "Medians; the contenders take turns, each in a process of its own, with the same number of threads. "
        "*Ratio* is the best peer's time divided by that of `compiled`; derivatives written out by hand are "
        "shown, but are not peers. *Ratio of minima* is the same for each contender's fastest runs, which "
        "other load disturbs less; *load* is the number of runnable processes before the row.\n",
        table(results),
        "\n## The first call, nothing cached\n\nWhat it takes beyond a second one: tracing, compiling, "
        f"loading. The median of five.\n\n{first_calls(results)}\n",
        "## Compiling alone\n\nBy each tool's own entry for that, nothing cached and nothing run: "
        "`f.trace(…)`, of a scalar with its gradients, and `jax.jit(f).lower(…).compile()`. "
        "The median of five.\n\n"
        f"{compiling_alone(results)}\n",
        *(["## Notes\n", *notes, ""] if notes else []),
    ]
    path.with_suffix(".md").write_text("\n".join(text))


def _record(result: Result) -> dict[str, Any]:
    row = result.row
    return {
        "name": row.name,
        "about": row.about,
        "threads": row.threads,
        "unit": row.unit,
        "figures": result.figures,
        "least": result.least,
        "first calls": result.firsts if row.timed else {},
        "compiling alone": result.ahead,
        "ratio": result.ratio,
        "ratio of least": result.least_ratio,
        "goal": row.goal,
        "against": row.against,
        "limit": row.limit,
        "reached": result.reached,
        "notes": result.notes,
        "load": result.load,
    }
