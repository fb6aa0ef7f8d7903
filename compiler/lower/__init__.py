"""Graph → Loops. `reader` turns nodes into expressions, `cluster` groups them, `program`, `nests` and
`gathers` write the loops: importing this package enters the latter two in their tables.
"""

from retrograd.compiler.lower import gathers, nests
from retrograd.compiler.lower.program import lower

__all__ = ["gathers", "lower", "nests"]
