"""Small graphs in machine code that is there already: a list of steps, each a kernel for arrays of any size.

`program.py`, `steps.py` and `solving.py` make the list of a graph; `entry.py` walks it. An elementwise
graph of any size is a kernel for each output (`one_pass.py`, `elements.py`). A kernel is a row of the
elementwise table or a scan (`lines.py`, `running.py`), a reduction (`reducing.py`, `extremes.py`), goes by
element (`moving.py`): a gather, a copy, a sort, or by matrix (`elimination.py`). It is compiled once for all
graphs and sizes. An op whose kernel is its own (`own.py`) may be of any size.
"""
