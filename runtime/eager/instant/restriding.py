"""Views of memory as native calls: what `functions.restriding.as_strided` is in Python.

In flow a Tensor, sizes and strides; out flows a view of the Tensor whose memory it is. That one's extents,
and where in it the operand begins, are part of the key, and the plan is called with it.
"""

from __future__ import annotations

from retrograd.compiler.native.language import Array, cast, exported, native, stack
from retrograd.runtime.eager.instant.keys import Key, is_described, is_put
from retrograd.runtime.eager.instant.operands import COUNT, GRAD, is_array, is_fresh, is_on
from retrograd.runtime.eager.instant.records import NO_VIEW, OPEN_TRACES, AnyTensor, Function
from retrograd.runtime.eager.instant.replaying import planned
from retrograd.runtime.native.grammar import CONTIGUOUS
from retrograd.runtime.native.making import size_of
from retrograd.runtime.native.objects import TRUE, NdArray, Object, Tuple


@exported
def retrograd_restrided(
    function: Function, args: Array[Object], nargs: int, names: Tuple | None
) -> Object | None:
    """A view of the memory in which the first argument lies."""
    key = stack(Key)
    described = OPEN_TRACES[0] == 0 and is_described(key, args, nargs & COUNT, names) and is_rooted(key)
    return planned(function.keyed, key, described, args, nargs, names)


@native
def is_rooted(key: Key) -> bool:
    """Put the Tensor whose memory it is in place of the first one that was found, with its extents and where
    in it that one begins. False where its elements do not lie in order, or are not all that is there; or, if
    there is another operand, where the first one is a view."""
    x = cast(AnyTensor, key.operands[0])
    if key.found < 1 or key.found > 2 or (key.found == 2 and x.view is not NO_VIEW):
        return False
    root = x if x.view is NO_VIEW or (x.view.tracked is not TRUE and is_on(GRAD)) else x.view.base
    array = root.value
    if not is_fresh(x) or not is_array(array) or array.flags & CONTIGUOUS == 0:
        return False
    base = array.base
    if base is not None and is_array(base) and size_of(array) < size_of(cast(NdArray, base)):
        return False  # it is detached from the rest
    if array.dtype is not x.value.dtype or not is_put(key, cast(int, x.value.data) - cast(int, array.data)):
        return False
    for axis in range(array.ndim):
        if not is_put(key, array.shape[axis]):
            return False
    key.operands[0] = root
    return True
