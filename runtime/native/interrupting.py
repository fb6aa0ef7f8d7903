"""Loops in a process: between turns Python is asked whether to go on, as a signal's handler may have raised.

`enter` is a program of loops by the ABI of all programs, around `looping.run`.
"""

from __future__ import annotations

from retrograd.compiler.native.language import (
    Array,
    Byte,
    Int32,
    cast,
    exported,
    extern,
    intrinsic,
    provides,
    variable,
)
from retrograd.runtime.native.looping import Plan, State, retrograd_goes_on, run
from retrograd.runtime.native.objects import Memory

OFTEN, SELDOM = 10_000_000, 100_000_000
"""Between so many cycles Python is asked: a few hundredths of a second."""


@extern
def PyErr_CheckSignals() -> Int32: ...


@extern
def PyErr_Fetch(type: Array[int], value: Array[int], traceback: Array[int]) -> None: ...


@extern
def PyErr_Restore(type: Memory, value: Memory, traceback: Memory) -> None: ...


@extern
def pthread_self() -> int: ...


@extern
def PyGILState_Ensure() -> Int32: ...


@extern
def PyGILState_Release(lock: Int32) -> None: ...


@intrinsic("llvm.readcyclecounter")
def cycles() -> int: ...


PENDING = variable(Array[int], "pending", 32)
"""What a handler of a signal has raised, and in which thread: Python's main one."""


@exported
def enter(args: Array[Memory], plan: Plan) -> None:
    """A program: inputs, outputs, a flag that says whether something is wrong, an arena."""
    flag = cast(Array[Byte], args[plan.takes + plan.gives])
    flag[0] = 1
    if PENDING[0] != 0 and PENDING[3] == pthread_self():
        return
    if run(args, args[plan.takes + plan.gives + 1], plan) == 0:
        flag[0] = 0


@exported
def raise_pending() -> None:
    """Raise what a signal's handler has raised in this thread, if anything; Python's lock is held."""
    if PENDING[0] != 0 and PENDING[3] == pthread_self():
        PyErr_Restore(cast(Memory, PENDING[0]), cast(Memory, PENDING[1]), cast(Memory, PENDING[2]))
        PENDING[0] = 0


@provides(retrograd_goes_on)
def may_go_on(state: State) -> bool:
    """Whether nobody has interrupted the process."""
    now = cycles()
    passed = now - state.asked
    if passed < OFTEN:
        state.interval = state.interval * 2
    elif passed > SELDOM:
        state.interval = max(state.interval >> 1, 1)
    state.left, state.asked = state.interval, now
    lock = PyGILState_Ensure()
    found = PyErr_CheckSignals()
    if found != 0:
        PyErr_Fetch(PENDING, PENDING + 1, PENDING + 2)
        PENDING[3] = pthread_self()
    PyGILState_Release(lock)
    return found == 0
