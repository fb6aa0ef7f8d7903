"""What is measured: a file for each kind, a `Row` in its `ROWS` for each line of the table.

To add a row, write its inputs and its loss once, for all libraries (`contenders.value_and_gradient`), and
name the goal.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness import Row

from rows import arrays, networks, processes, products, small

ROWS = (*small.ROWS, *arrays.ROWS, *networks.ROWS, *products.ROWS, *processes.ROWS)


def table() -> Mapping[str, Row]:
    return {row.name: row for row in ROWS}
