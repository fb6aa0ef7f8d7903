"""Programs and what they call of the library as one object file, from outside of which little is seen.

    code = joined([program_text, entry_text], target, {"loss", "loss_error"})

In flow modules as LLVM text, out flows object code that wants nothing from outside: routines of the library
come from `routines.py`, and what a process of this package would have from `alone.py`. All but what is `kept`
is the file's own, so two such files in one program never clash; and what nobody calls is left out.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from retrograd.compiler.backends import alone, routines
from retrograd.compiler.backends.cpu import CAREFUL, Target, bindings, lean, level_for, new_machine, verified
from retrograd.compiler.errors import CompilerError
from retrograd.compiler.native.lowering import text


def joined(modules: Sequence[str], target: Target, kept: Collection[str]) -> bytes:
    """Object code of all modules and what they call; the functions that are kept can be called from outside.

    Raises CompilerError when something is wanted that is in none of them.
    """
    machine = new_machine(target, CAREFUL)
    first, *others = modules
    with bindings().create_context() as context, verified(first, machine, context) as whole:
        for each in others:
            whole.link_in(_as_alone(each, target, machine, context))
        while wanted := _wanted(whole):
            whole.link_in(verified(_provided(wanted, target), machine, context))
        for thing in (*whole.functions, *whole.global_variables):
            if not thing.is_declaration and thing.name not in kept:
                thing.linkage = "internal"
        _leave_out(whole, machine)
        with lean(CAREFUL):
            return bytes(machine.emit_object(whole))


def _as_alone(llvm_text: str, target: Target, machine: Any, context: Any) -> Any:
    """The module, whose code will round as that of programs in a process does: where that is quickly made,
    LLVM chooses other instructions, and joins fewer products with sums."""
    module = verified(llvm_text, machine, context)
    if level_for(llvm_text, target) == 0:
        for function in module.functions:
            if not function.is_declaration:
                function.add_function_attribute("noinline")
                function.add_function_attribute("optnone")
    return module


def _wanted(whole: Any) -> str | None:
    """A function that is called and not there; LLVM has its own."""
    names = (f.name for f in whole.functions if f.is_declaration)
    return next((name for name in names if not name.startswith("llvm.")), None)


def _provided(name: str, target: Target) -> str:
    """The module that has a function."""
    if name in alone.THREADS:
        return text([*alone.THREADS.values()], {})
    if not routines.is_routine(name):
        raise CompilerError(f"code that is alone and calls {name}", "nobody provides it")
    return routines.routine(name, target.vector_bits, routines.ALONE)


def _leave_out(whole: Any, machine: Any) -> None:
    """Functions and data that nothing leads to from what is kept."""
    llvm = bindings()
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options())
    manager = llvm.create_new_module_pass_manager()
    manager.add_global_dead_code_eliminate_pass()
    manager.run(whole, builder)
