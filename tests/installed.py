"""A program, not a test module: `make wheel` runs it with the interpreter that has the fresh wheel installed.

It stands on what the wheel's own metadata installs, away from the source tree, and ends with a traceback
where something is missing.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import retrograd

HOME = Path(retrograd.__file__).parent
HEAVY = ("sympy", "scipy")

assert HOME.is_relative_to(sys.prefix), f"{HOME} is not the installed package"
assert not [name for name in HEAVY if name in sys.modules], "import retrograd loads a heavy package"
assert version("retrograd") == retrograd.__version__
assert (HOME / "py.typed").is_file()
assert find_spec("compiler") is None, "a package called plain compiler was installed"
assert find_spec("runtime") is None, "a package called plain runtime was installed"

modules = [found.name for found in pkgutil.walk_packages([str(HOME)], "retrograd.")]
for name in modules:
    importlib.import_module(name)

print(f"installed: retrograd {retrograd.__version__}, and all of its {len(modules)} modules import")
