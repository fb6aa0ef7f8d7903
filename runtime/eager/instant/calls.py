"""Functions whose plain calls run no Python: operands are opened, computed with, boxed and recorded natively.

Each is made around a Python function that does the same for any arguments, and that is asked, as `slow`, for
whatever is not plain:

    row(…)       a row of the elementwise table, of one or two operands
    step(…)      an op whose operands' types are known
    view(…)      the same for an op that only moves
    several(…)   several results at once
    update(…)    new elements of operands
    change(…)    a new value and history of one of them
    walk(…)      a backward pass, as far as nodes are plain (`backwards.py`)
    replay(…)    a function that finds such a step by its arguments (`replay.py`)

What has them made at their first call, or stands before one for a time, is in `doors.py`.

A call's record is an array of 64-bit words. The native side reads it (`records.py`); Python
writes into it what it finds out: which functions compute a row, what an adjoint looks at, where a view lies.
Where there are no native calls (`part.available`), the Python functions are all there is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import BY_NUMPY, DType
from retrograd.compiler.ir.graph import Op
from retrograd.runtime import device as devices
from retrograd.runtime.eager.instant.learning import learn_history, learn_layout, step_words, taught
from retrograd.runtime.eager.instant.part import (
    available,
    native_function,
)
from retrograd.runtime.eager.instant.records import (
    DTYPES,
    MOST,
    NAMES,
    Asked,
    Changing,
    Described,
    Given,
    Held,
    Keyed,
    Laid,
    Step,
    Walked,
    place,
    words_of,
    write,
)
from retrograd.runtime.eager.kinds import Kind
from retrograd.runtime.native.layout import slot_offset
from retrograd.runtime.native.small import one_pass
from retrograd.runtime.tensor import Tensor

Function = Callable[..., Any]
F = TypeVar("F", bound=Function)

_NONE: Mapping[Any, Any] = {}
_PLACES = {dtype: place for place, dtype in enumerate(DTYPES)}
_DTYPES = [BY_NUMPY[each] for each in DTYPES]
"""Ours, in the same order."""


def row(
    op: Op,
    kind: Kind,
    arity: int,
    slow: Function,
    functions: Mapping[Any, Function],
    shown: tuple[str, str, str],
    promoting: Callable[[Function], Function],
    numbers: bool = True,
) -> Function:
    """The row; without `numbers` of Tensors alone.

    `functions` computes it of arrays of a dtype, and may be filled as dtypes are met. Its node is called as
    the first of `shown`, with a number on the right as the second, on the left as the third. Operands of
    several dtypes are for what `promoting` makes of `slow`.
    """
    if not available():
        return slow
    words = step_words(op, kind, arity, shown, True)

    def enter(dtype: np.dtype[Any]) -> None:
        if dtype in functions and dtype in _PLACES:
            words[place(Step, "functions") + _PLACES[dtype]] = id(functions[dtype])

    def learn(operands: Sequence[Any], result: Tensor) -> None:
        for x in operands:
            if isinstance(x, Tensor) and type(x._value) is np.ndarray:
                enter(x._value.dtype)
        learn_history(words, kind, operands, result)

    for dtype in functions:
        enter(dtype)
    row_kept = (op, kind, functions, shown)
    entry = "retrograd_row" if numbers else "retrograd_row_of_tensors"
    return taught(entry, words, slow, learn, *row_kept, through=promoting)


def step(
    op: Op, kind: Kind, arity: int, compute: Function, slow: Function, shown: str, differentiable: bool
) -> Function:
    """The op, computed by `compute`; its result's node is called `shown`, or as ever."""
    if not available() or arity > MOST:
        return slow
    words = step_words(op, kind, arity, (shown, shown, shown), differentiable)
    write(Step, words, compute=id(compute))
    learn = functools.partial(learn_history, words, kind)
    return taught("retrograd_step", words, slow, learn, op, kind, shown, compute)


def unrecorded(compute: Function, arity: int, slow: Function) -> Function:
    """A function of Tensors, computed by `compute` where nothing is recorded."""
    if not available() or arity > MOST:
        return slow
    words = words_of(Step, slow=id(slow), arity=arity, compute=id(compute), differentiable=True)
    # but no history is known
    return native_function("retrograd_step", slow, words, (slow, compute))


def several(compute: Function, arity: int, make: Function, slow: Function) -> Function:
    """The same where `compute` gives a list of arrays: what `make` makes of the list of Tensors."""
    return _of_list("retrograd_several", compute, arity, slow, answer=id(make), kept=make)


def update(
    compute: Function,
    arity: int,
    targets: Sequence[int],
    given: int | None,
    slow: Function,
    apart: bool = False,
) -> Function:
    """A function of Tensors that writes the arrays of the list that `compute` gives into those at `targets`,
    where nothing is recorded, or `apart` from what is, as under `no_grad`; the operand at `given` is its
    result, or None."""
    bits = sum(1 << k for k in targets)
    writes = one_pass.writes(compute) and arity + len(targets) <= MOST
    contents = {"targets": bits, "writes": int(writes), "apart": int(apart)}
    contents["given"] = 0 if given is None else given + 1
    return _of_list("retrograd_update", compute, arity, slow, **contents)


def change(
    slow: Function,
    apart: Function,
    assign: Function,
    functions: Mapping[np.dtype[Any], Callable[[], Function]] = _NONE,
) -> Function:
    """An in-place method of a Tensor, for which `apart` gives the new value and its history, which `assign`
    gives to a view; `functions` make what computes a row of two operands, by their dtype, where nothing is
    recorded, and is given the first once more, to write there."""
    if not available():
        return slow
    words = words_of(Changing, slow=id(slow), apart=id(apart), assign=id(assign))

    def first(dtype: np.dtype[Any], make: Callable[[], Function]) -> None:
        """Make the function when it is first called."""

        def compute(*arrays: Any) -> Any:
            function = make()
            enter(dtype, function)
            return function(*arrays)

        enter(dtype, compute)

    def enter(dtype: np.dtype[Any], function: Function) -> None:
        kept.append(function)
        words[place(Changing, "functions") + _PLACES[dtype]] = id(function)

    kept: list[Any] = [slow, apart, assign]
    for each, make in functions.items():
        first(each, make)
    return native_function("retrograd_change", slow, words, kept)


def _of_list(
    entry: str, compute: Function, arity: int, slow: Function, kept: object = None, **contents: int
) -> Function:
    if not available() or arity > MOST:
        return slow
    words = words_of(Step, slow=id(slow), arity=arity, compute=id(compute), **contents)
    return native_function(entry, slow, words, (slow, compute, kept))


def view(op: Op, kind: Kind, slow: Function, shown: str, differentiable: bool) -> Function:
    """The op, which shows elements of its operand where the last result of `slow` showed them."""
    if not available():
        return slow
    words, path = step_words(op, kind, 1, (shown, shown, shown), differentiable), (op,)
    write(Step, words, path=id(path), flags_before=-1)

    def learn(operands: Sequence[Any], result: Tensor) -> None:
        (x,) = operands
        learn_layout(words, x._value, result)
        learn_history(words, kind, operands, result)

    return taught("retrograd_view", words, slow, learn, op, kind, shown, path)


def in_order(slow: Function) -> Function:
    """A function of a Tensor that gives the Tensor itself where its elements lie in order."""
    return _by_slow("retrograd_in_order", slow)


def itself(arity: int, slow: Function, real: bool = False) -> Function:
    """A function of so many Tensors that gives the first of them, or only one that is `real`."""
    return _asked("retrograd_itself", slow, arity, floats=real)


def number(slow: Function, floats: bool = False, kind: type | None = None) -> Function:
    """A function of a Tensor that gives its only element as a Python number, or as one of this `kind`; with
    `floats` only one with a point, and `slow` is asked for others."""
    return _asked("retrograd_number", slow, 1, kind, floats=floats)


def truth(compute: Function, arity: int, slow: Function) -> Function:
    """A function of Tensors that tells whether what `compute` gives for their arrays is true."""
    return slow if arity > MOST else _asked("retrograd_truth", slow, arity, compute)


def places(slow: Function, apart: bool) -> Function:
    """A function of a Tensor that gives where it is not zero: a row for each place, or a tuple of a vector
    for each axis, if they are wanted `apart`."""
    return _asked("retrograd_places", slow, 1, apart=apart)


def setting(slow: Function) -> Function:
    """`x[index] = value`."""
    return _asked("retrograd_set", slow, 3)


def _asked(
    entry: str, slow: Function, arity: int, compute: object = None, *, floats: bool = False,
    apart: bool = False,
) -> Function:  # fmt: skip
    if not available():
        return slow
    words = words_of(Asked, slow=id(slow), arity=arity, floats=floats, apart=apart)
    if compute is not None:
        write(Asked, words, compute=id(compute))
    return native_function(entry, slow, words, (slow, compute))


def told(question: str, slow: Function) -> Function:
    """A function of a Tensor that gives what `retrograd_{question}` knows of it (`members.py`)."""
    return _by_slow(f"retrograd_{question}", slow)


def by_dtype(answer: Callable[[DType], object], slow: Function) -> Function:
    """A function of a Tensor whose answer is that for its dtype."""
    if not available():
        return slow
    answers = [*map(answer, _DTYPES)]
    words = words_of(Described, slow=id(slow), arity=1, answers=list(map(id, answers)))
    return native_function("retrograd_by_dtype", slow, words, (slow, answers))


def known(arity: int, slow: Function) -> Function:
    """A function of one or two things whose answer is always the same for the same dtypes."""
    answers: dict[Any, Any] = {}

    @functools.wraps(slow)
    def learning(*args: Any, **kwargs: Any) -> Any:
        answer = slow(*args, **kwargs)
        if len(args) == arity and not kwargs and all(type(x) is DType for x in args):
            answers[args if arity > 1 else args[0]] = answer
        return answer

    return _asked("retrograd_known", learning, arity, answers)


def constant(answer: object, slow: Function) -> Function:
    """A function of anything that gives always the same."""
    if not available():
        return slow
    return native_function("retrograd_constant", slow, words_of(Asked, answer=id(answer)), (slow, answer))


def of_array(compute: Function, slow: Function) -> Function:
    """A function of a Tensor that gives what `compute` gives for its array."""
    if not available():
        return slow
    words = words_of(Step, slow=id(slow), arity=1, compute=id(compute))
    return native_function("retrograd_of_array", slow, words, (slow, compute))


def held(entry: str, cls: type, slot: str, slow: Function) -> Function:
    """What `retrograd_{entry}` does with objects of a class that hold an array in this slot, and nothing
    else."""
    if not available():
        return slow
    words = words_of(Held, slow=id(slow), arity=1, kind=id(cls), slot=slot_offset(cls, slot))
    return native_function(f"retrograd_{entry}", slow, words, (slow, cls))


def _by_slow(entry: str, slow: Function) -> Function:
    """An entry that knows what to do, and asks `slow` for what is not plain."""
    if not available():
        return slow
    return native_function(entry, slow, words_of(Step, slow=id(slow), arity=1), (slow,))


def given(
    slow: Function, names: Sequence[str], arity: int = 1, shares: bool = False, numbers: bool = True,
    convert: Function | None = None,
) -> Function:  # fmt: skip
    """A function of data that gives a Tensor of them, as `tensor` does, and takes arguments of these names;
    `arity` is 2 where a Tensor before them has the dtype. It `shares` memory where it can, and takes Python's
    `numbers` or arrays alone; Tensors it has converted to other dtypes."""
    if not available():
        return slow
    bits = sum(NAMES[name] for name in names)
    words = words_of(Given, slow=id(slow), arity=arity, shares=shares, numbers=numbers, names=bits)
    write(Given, words, convert=id(convert))

    def learn() -> None:
        write(Given, words, default=id(dtypes.default_dtype().numpy), here=devices.default_is_here())

    learn()
    dtypes.DEPENDENT.append(learn)
    devices.DEPENDENT.append(learn)
    return native_function("retrograd_given", slow, words, (slow, convert))


def fresh(make: Function, slow: Function, tracked: bool = False) -> Function:
    """A function of anything that gives a new Tensor of the array that `make()` gives, recorded if
    `tracked`."""
    if not available():
        return slow
    words = words_of(Step, slow=id(slow), compute=id(make), tracked=tracked)
    return native_function("retrograd_fresh", slow, words, (slow, make))


def _box(value: Any) -> Tensor:
    """A new Tensor of an array, or of NumPy's scalar."""
    return Tensor(np.asarray(value))


box: Callable[[Any], Tensor] = _by_slow("retrograd_box", _box)


def replay(
    slow: Function, unplanned: Function, find: Function, lies: bool = False
) -> tuple[Function, Callable[[], None]]:
    """A function by its plans, and what makes it forget them. `find(…)` says what to do for a call, as a
    function of the Tensors among its arguments; where it says None, `unplanned` does it. `slow` is asked in
    traces, and where arguments cannot be part of a key. Whose results lie by a rule, has other plans for
    operands that do not lie in order.
    """
    return _keyed("retrograd_replay", slow, unplanned, find, lies)


def restrided(find: Function, slow: Function) -> Function:
    """A function of a Tensor, sizes and strides that shows the memory in which it lies, by plans that `find`
    says for a call, as functions of the Tensor whose memory it is."""
    return _keyed("retrograd_restrided", slow, slow, find)[0]


def laid(plan: Function, lay: Callable[[Any, Sequence[Tensor]], Any]) -> Function:
    """A plan for operands that lie in one way, whose results lie as `lay` has the first ones lie."""

    def learning(*operands: Tensor) -> Any:
        result = lay(plan(*operands), operands)
        found = [x for x in (result if isinstance(result, tuple) else (result,)) if isinstance(x, Tensor)]
        strides = {x.stride() for x in found if x.numel()}
        if len(strides) == 1 and len(found[0].shape) <= MOST:
            (one,) = strides
            write(Laid, words, strides=one, rank=len(one))  # the rank last: other threads read it
        return result

    if not available():
        return learning
    words = words_of(Laid, slow=id(learning), plan=id(plan), rank=-1)
    return native_function("retrograd_laid", learning, words, (learning, plan))


def _keyed(
    entry: str, slow: Function, unplanned: Function, find: Function, lies: bool = False
) -> tuple[Function, Callable[[], None]]:
    if not available():
        return slow, lambda: None
    plans: dict[bytes, Function] = {}
    words = words_of(
        Keyed, slow=id(slow), unplanned=id(unplanned), plans=id(plans), find=id(find), lies=lies
    )  # fmt: skip
    return native_function(entry, slow, words, (slow, unplanned, plans, find)), plans.clear


def walk(slow: Function, plain: Mapping[type, object], find: Function, fit: Function) -> Function:
    """A backward pass up to the next node that is Python's turn, as `slow` gives it: nodes of the classes in
    `plain` are done on the way, by plans that `find(node, cotangent, needed)` gives for their types. `fit`
    sums a cotangent to the shape of an operand."""
    if not available():
        return slow
    plans: dict[bytes, Any] = {}
    words = words_of(
        Walked, slow=id(slow), plain=id(plain), plans=id(plans), find=id(find), fit=id(fit)
    )  # fmt: skip
    return native_function("retrograd_walk", slow, words, (slow, plain, plans, find, fit))
