"""Eager operations without Python: functions whose plain calls are native.

`calls.py` makes them; the native side is `operands_text.py`, `history_text.py` and `keys_text.py`.
"""
