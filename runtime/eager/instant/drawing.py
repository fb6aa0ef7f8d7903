"""Random numbers as native calls: a law's native function writes what a Tensor holds.

In flow a record that names the law, the generator's state and the array; out flows a new Tensor, or the
Tensor that is written to.
"""

from __future__ import annotations

from collections.abc import Callable

from retrograd.compiler.native.language import Array, cast, exported, native, stack
from retrograd.runtime.eager.instant.history import is_change_counted, is_recorded
from retrograd.runtime.eager.instant.makers import has
from retrograd.runtime.eager.instant.operands import (
    COUNT,
    boxed,
    computed,
    is_fresh,
    is_sealed,
    looked_at,
    marked,
    opened_all,
    or_slow,
    shared,
    tracked,
)
from retrograd.runtime.eager.instant.records import MOST, NO_VIEW, OPEN_TRACES, AnyTensor, Drawn, Function
from retrograd.runtime.native.grammar import ALIGNED, CONTIGUOUS, WRITEABLE
from retrograd.runtime.native.making import empty_array
from retrograd.runtime.native.objects import NONE, Memory, NdArray, Object, Py_DecRef, Tuple

Judge = Callable[[Memory, Memory, int, Array[Memory], Memory], bool]
"""What writes numbers, and says whether all that its operands hold are parameters of them."""
Restore = Callable[[Memory, Memory], bool]
"""What reads a generator's state, and says whether it is one."""


@exported
def retrograd_draw(function: Function, args: Array[Object], nargs: int, names: Tuple | None) -> Object | None:
    """A new Tensor of numbers. The arguments do not count."""
    drawn = function.drawn
    return or_slow(drawn_tensor(drawn), drawn.slow, args, nargs, names)


@native
def drawn_tensor(drawn: Drawn) -> Object | None:
    array = new_array(drawn)
    if array is not None:
        drawn.law(drawn.state, array.data, drawn.count, drawn.parameters)
    return marked(boxed(array), drawn.tracked != 0)


@exported
def retrograd_draw_into(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """Numbers into the only argument, if it is no view, is not recorded, and lies in order."""
    drawn = function.drawn
    return looked_at(drawn, args, nargs, names, lambda x, array: redrawn(drawn, x, array))


@native
def redrawn(drawn: Drawn, x: AnyTensor, array: NdArray) -> Object | None:
    """The Tensor with new numbers; null where it has to be done otherwise."""
    if x.view is not NO_VIEW or is_recorded(tracked(x)) or is_sealed(x):
        return None
    if not has(array, CONTIGUOUS | ALIGNED | WRITEABLE) or not is_change_counted(x):
        return None
    drawn.law(drawn.state, array.data, drawn.count, drawn.parameters)
    return shared(x)


@exported
def retrograd_judged(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """Numbers with the parameters in the arguments, if they lie in order."""
    drawn = function.drawn
    return computed(
        drawn, args, nargs, names, opened_all, lambda values, mask: judged(drawn, values, mask)
    )  # fmt: skip


@native
def judged(drawn: Drawn, values: Array[NdArray], mask: int) -> Object | None:
    """A new Tensor; null where one of them is no parameter, is recorded, or lies otherwise."""
    operands = stack(Array[Memory], MOST)
    for i in range(drawn.arity):
        if not has(values[i], CONTIGUOUS | ALIGNED):
            return None
        operands[i] = values[i].data
    if is_recorded(mask):
        return None
    array, judge = new_array(drawn), cast(Judge, drawn.law)
    if array is None or not judge(drawn.state, array.data, drawn.count, operands, drawn.parameters):
        Py_DecRef(array)
        return None
    return boxed(array)


@exported
def retrograd_state(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """A new Tensor of the generator's state."""
    drawn = function.drawn
    plain = nargs & COUNT == 0 and names is None and OPEN_TRACES[0] == 0
    return or_slow(drawn_tensor(drawn) if plain else None, drawn.slow, args, nargs, names)


@exported
def retrograd_restore(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """None, once the generator goes on from the state in the only argument."""
    drawn = function.drawn
    return looked_at(
        drawn, args, nargs, names,
        lambda x, array: shared(NONE) if is_fresh(x) and is_restored(drawn, array) else None,
    )  # fmt: skip


@native
def is_restored(drawn: Drawn, array: NdArray) -> bool:
    if array.dtype is not drawn.dtype or array.ndim != 1 or array.shape[0] != drawn.count:
        return False
    restore = cast(Restore, drawn.law)
    return has(array, CONTIGUOUS) and restore(drawn.state, array.data)


@native
def new_array(drawn: Drawn) -> NdArray | None:
    """An array as the record says, with nothing in it."""
    return empty_array(drawn.dtype, drawn.rank, drawn.extents, drawn.steps if drawn.laid != 0 else None)
