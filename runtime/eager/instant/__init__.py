"""Eager operations without Python: functions whose plain calls are native.

`calls.py`, `draws.py` and `loops.py` make them of `part.py`'s entries. The native side reads the records of
`records.py`; what its entries share is in `operands.py`, `history.py` and `keys.py`.
"""
