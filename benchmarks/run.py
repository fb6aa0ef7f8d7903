"""Retrograd beside its peers: `make bench`, or `python benchmarks/run.py [--list] [--save] [ROW …]`.

A row's name, or how it begins, chooses rows; with none all are run and results/ is written: figures as JSON,
tables, a chart. With --save, rows that were chosen take their places among today's. Rows are in `rows/`, how
they are measured in `harness.py`, how they are shown in `report.py` and `chart.py`, and in the README by
`front_page.py`.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import sys
from pathlib import Path
from typing import Any

import report
import rows
from chart import draw
from contenders import warm_up
from harness import Arena, Result, Row

RESULTS = Path(__file__).parent / "results"


def chosen(names: list[str]) -> list[Row]:
    """The rows so named, in the table's order, those with the same threads together."""
    unknown = [name for name in names if not any(row.name.startswith(name) for row in rows.ROWS)]
    if unknown:
        sys.exit(f"no row is called {', '.join(unknown)}; `--list` shows those there are")
    found = [row for row in rows.ROWS if not names or row.name.startswith(tuple(names))]
    return sorted(found, key=lambda row: row.threads)


def measured(todo: list[Row]) -> list[Result]:
    """Each row's result, printed as it comes."""
    results = []
    for threads, group in itertools.groupby(todo, lambda row: row.threads):
        with Arena(threads, rows.table, warm_up) as arena:
            for row in group:
                results.append(arena.measure(row))
                print(report.paragraph(results[-1]), flush=True)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help="rows to run, by name or how it begins")
    parser.add_argument("--list", action="store_true", help="the rows there are")
    parser.add_argument("--quick", action="store_true", help="three rounds only")
    parser.add_argument("--save", action="store_true", help="put chosen rows among today's results")
    options = parser.parse_args()
    if options.list:
        for row in rows.ROWS:
            print(f"{row.name:22}{row.about}")
        return
    todo = chosen(options.rows)
    if options.quick:
        todo = [dataclasses.replace(row, rounds=min(3, row.rounds)) for row in todo]
    machine = report.machine()
    print(report.heading(machine))
    results = measured(todo)
    print("\n" + report.table(results))
    if options.save or not (options.rows or options.quick):
        save(machine, results, options.save)


def save(machine: dict[str, Any], results: list[Result], merge: bool) -> None:
    """Write results, a table and a chart; merged with today's that were not measured now."""
    RESULTS.mkdir(exist_ok=True)
    path = report.place(RESULTS, machine)
    known = {result.row.name: result for result in (report.read(path, rows.table()) if merge else [])}
    known |= {result.row.name: result for result in results}
    report.write(path, machine, [known[row.name] for row in rows.ROWS if row.name in known])
    draw(path, RESULTS / "chart.svg")
    print(f"written: {path}")


if __name__ == "__main__":
    main()
