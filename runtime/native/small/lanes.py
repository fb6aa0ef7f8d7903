"""What a kernel is an instance of: its elements' type, and how many of them a vector has.

The kernels of this room are written for `A` and `VA`; an instance (`language.instance`) has its own under
these names. As written here they are what type checkers see.
"""

from __future__ import annotations

from typing import Literal

from retrograd.compiler.native.language import Float32, Vector

A = Float32
VA = Vector[A, Literal[16]]
One = Vector[A, Literal[1]]
"""A vector of one, which is as wide as in memory."""
VI = Vector[int, Literal[16]]
"""Whole numbers, or addresses, as many as a vector has elements."""
LANES = 16
SIZE = 4
"""Bytes of an element."""
