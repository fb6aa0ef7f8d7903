"""Programs and what they call of the library as object files that want nothing from outside.

    own, *programs = joined("loss", [entry_text], [program_text], target, ["loss", "loss_error"])

In flow modules as LLVM text, out flow object files. Programs are coded as they are in a process, each by
itself, so they round as they do there. All else is one file: routines of the library come from `routines.py`,
and what a process of this package would have from `alone.py`; what nobody calls is left out.

What these files have of each other is hidden from whoever is linked with them, and begins with their name:
so two such libraries in one program never clash.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from retrograd.compiler.backends import alone, routines
from retrograd.compiler.backends.cpu import CAREFUL, Target, assemble, bindings, lean, new_machine, verified
from retrograd.compiler.errors import CompilerError
from retrograd.compiler.native.lowering import text
from retrograd.compiler.record import NamedTuple

_DECLARED = re.compile(r'^declare [^@]*@"?([\w.]+)', re.MULTILINE)
_DEFINED = re.compile(r'^define hidden void @"([^"]+)"', re.MULTILINE)
"""What other modules can refer to."""


class Member(NamedTuple):
    """An object file, and the symbols that it has for others."""

    code: bytes
    symbols: tuple[str, ...]


def joined(
    name: str, own: Sequence[str], programs: Sequence[str], target: Target, kept: Sequence[str]
) -> list[Member]:
    """The object files: the first one of modules, the others of programs. The functions that are kept can be
    called from outside.

    Raises CompilerError when something is wanted that is in none of them.
    """
    texts = [
        re.sub(r'^define void @"', 'define hidden void @"', _named(each, name), flags=re.M)
        for each in programs
    ]
    declared = dict.fromkeys(found for each in texts for found in _DECLARED.findall(each))
    shared = [found for found in declared if found.startswith(_prefix(name))]
    code = _whole(name, [_named(each, name) for each in own], target, kept, shared)
    parts = [Member(assemble(each, target), tuple(_DEFINED.findall(each))) for each in texts]
    return [Member(code, (*kept, *shared)), *parts]


def _named(llvm_text: str, name: str) -> str:
    """The text with this library's names for the routines."""
    return re.sub('@("?)retrograd_', rf"@\1{_prefix(name)}", llvm_text)


def _prefix(name: str) -> str:
    return f"{name}.retrograd_"


def _whole(
    name: str, modules: Sequence[str], target: Target, kept: Sequence[str], shared: Sequence[str]
) -> bytes:
    """One object file of modules and all that they call. What is shared is for other files of the library."""
    machine = new_machine(target, CAREFUL)
    declarations = "".join(f"declare void @{each}()\n" for each in shared)
    with bindings().create_context() as context, verified(declarations, machine, context) as whole:
        for each in modules:
            _link(whole, each, machine, context)
        while wanted := _wanted(whole, name):
            _link(whole, _named(_provided(wanted, target), name), machine, context)
        for thing in (*whole.functions, *whole.global_variables):
            if thing.name in shared:
                thing.visibility = "hidden"
            elif thing.name not in kept and not thing.is_declaration:
                thing.linkage = "internal"
        _leave_out(whole, machine)
        with lean(CAREFUL):
            return bytes(machine.emit_object(whole))


def _link(whole: Any, llvm_text: str, machine: Any, context: Any) -> None:
    """Take a module into another one."""
    with verified(llvm_text, machine, context) as module:
        whole.link_in(module)


def _wanted(whole: Any, name: str) -> str | None:
    """The library's name of a routine that is called and not there."""
    names = (f.name for f in whole.functions if f.is_declaration)
    found = next((each for each in names if each.startswith(_prefix(name))), None)
    return found and found.removeprefix(f"{name}.")


def _provided(name: str, target: Target) -> str:
    """The module that has a routine."""
    if name in alone.THREADS:
        return text([*alone.THREADS.values()], {})
    if not routines.is_routine(name):
        raise CompilerError(f"code that is alone and calls {name}", "nobody provides it")
    return routines.routine(name, target.vector_bits, routines.ALONE)


def _leave_out(whole: Any, machine: Any) -> None:
    """Functions and data that nothing leads to from what others can call."""
    llvm = bindings()
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options())
    manager = llvm.create_new_module_pass_manager()
    manager.add_global_dead_code_eliminate_pass()
    manager.run(whole, builder)
