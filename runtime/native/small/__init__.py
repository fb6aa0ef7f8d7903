"""Small graphs in machine code that is there already: a list of steps, each a kernel for arrays of any size.

`program.py` makes the list of a graph; `entry_text.py` walks it. A kernel is a row of the elementwise table,
a reduction, a scan, a gather or a copy (`kernels_text.py`), and is compiled once for all graphs and sizes.
"""
