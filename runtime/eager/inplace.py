"""Changing a Tensor in place: its elements, its version, its history.

`assign(x, new)` says "x now has this value and this history": into x's own memory outside a trace, as a new
node inside. All in-place methods end here; where nothing is recorded they may write into `x`'s array
themselves, between `check_writable(x)` and `changed(x)`. A view takes its base along, by the rules of
`views`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from retrograd.compiler.errors import ArgumentError, GradientError, ShapeError, TraceError, mirrored
from retrograd.compiler.ir.graph import OPS, Array, Node, Type, Value
from retrograd.compiler.ops.elementwise import Elementwise, broadcast_shapes
from retrograd.compiler.ops.shape import cast, expand
from retrograd.runtime.eager.history import edge_of
from retrograd.runtime.eager.memory import located, meets, reopened, repeats
from retrograd.runtime.eager.moving import moved
from retrograd.runtime.eager.opnodes import OpNode, counter_of, launching
from retrograd.runtime.eager.tape import Edge, GradNode, Shown, function_of
from retrograd.runtime.eager.underived import zeros_like
from retrograd.runtime.eager.views import (
    Alias,
    CopySlices,
    InferenceView,
    Rooted,
    View,
    note_rearranged,
    overlaps,
    placed,
    shortened,
    way_back,
)
from retrograd.runtime.eager.wholes import of_call
from retrograd.runtime.modes import INFERENCE, STATE, is_sealed
from retrograd.runtime.native.small import one_pass
from retrograd.runtime.strided import DeviceArray
from retrograd.runtime.tensor import Tensor
from retrograd.runtime.tracing import Trace


class Overwritten(GradNode):
    """A Tensor that was given another's elements: all of its cotangent is theirs, that of its old ones is
    zero.
    """

    __slots__ = ("type", "shown")

    def __init__(self, edges: tuple[Edge, Edge], type: Type, shown: str) -> None:
        super().__init__(edges)
        self.type = type
        self.shown = shown

    def name(self) -> str:
        return self.shown

    @property
    def next_functions(self) -> tuple[tuple[GradNode | None, int], ...]:
        if isinstance(self.shown, Shown):
            return tuple(map(function_of, self.shown.operands(self)))
        return super().next_functions

    def backward(
        self, cotangent: Value, needed: Sequence[bool], create_graph: bool
    ) -> Sequence[Value | None]:
        zeros = zeros_like(cotangent, self.type, create_graph) if needed[0] else None
        return [zeros, cotangent if needed[1] else None]


# ---- the one way -------------------------------------------------------------------------------------------


def assign(
    tensor: Tensor, new: Tensor, overwrites: str = "", given: Tensor | None = None, filled: bool = False
) -> Tensor:
    """Give a Tensor the value of another (broadcast and cast to its own type) and that one's history.

    Raises GradientError for a leaf that requires grad (outside `no_grad`), ShapeError if the value does not
    fit. `overwrites` is said where the new value has not been made from the old one, and is the name of the
    tape's node then; `given` is what the user gave for the new value, where the node is to be seen to
    lead. What is `filled`, all or in part, may have elements that are one in memory.
    """
    check_writable(tensor, filled)
    check_fits(tensor, new._value.shape)
    edge: Edge = None
    if STATE.grad and new.requires_grad and tensor.dtype.is_inexact:
        new = expand(cast(moved(new, tensor.device), tensor.dtype), tuple(tensor._value.shape))
        edge = edge_of(new)
    if STATE.grad and (edge is not None or tensor._requires_grad):
        if overwrites or not isinstance(edge, GradNode):
            kind = _type(tensor)
            name = overwrites or "torch::autograd::CopyBackwards"
            shown = name if given is None else of_call(name, (tensor, given), {})
            edge = Overwritten((edge_of(tensor), edge), kind, shown)
        elif isinstance(edge, OpNode):
            edge.keep_copy(tensor)
        _write(tensor, new)
        if isinstance(edge, OpNode):
            edge.settle_in(tensor, new._value)
        set_history(tensor, edge)
    else:
        _write(tensor, new)
        view = tensor._view
        if view is not None and STATE.trace is None and not view.base._requires_grad:
            view.version = view.base._counter[0]  # without a history, it has seen the change
    return tensor


def _type(tensor: Tensor) -> Type:
    """Its shape and dtype, whatever holds its elements."""
    return Type(tuple(tensor._value.shape), tensor.dtype)


def check_writable(tensor: Tensor, filled: bool = False) -> None:
    """Raise, in PyTorch's words, if the Tensor may not be changed in place; elements that are one in memory
    may only be `filled`, with one value. NumPy's expanded arrays are opened for what is written to a part of
    them."""
    _check_history(tensor)
    value, view = tensor._value, tensor._view
    if view is None and type(value) is np.ndarray and value.flags.writeable:
        return
    if isinstance(value, DeviceArray):
        repeated = value.layout.repeats
    elif isinstance(value, Node):
        repeated = view is not None and not filled and overlaps(view.path, _type(view.base))
    else:
        closed, meeting = not value.flags.writeable, meets(value)
        recorded = STATE.grad and (tensor._requires_grad or (view is not None and view.base._requires_grad))
        repeated = meeting and (not filled or (recorded and repeats(value)))
        if closed and view is not None and not meeting:
            try:
                value.flags.writeable = True
            except ValueError:  # the view of which it is a part is closed, or the memory itself is
                value = tensor._value = reopened(value)
    if repeated:
        raise ShapeError(
            mirrored(
                "unsupported operation: more than one element of the written-to tensor refers to a "
                "single memory "
                "location. Please clone() the tensor before performing the operation."
            )
        )
    if isinstance(value, np.ndarray) and not (value.flags.writeable or meets(value)):
        raise ArgumentError("in-place update of a tensor whose memory is read-only", "", "clone() it first")


def _apart(array: Any) -> Any:
    """Of elements that are one in memory along an axis, the first, to be written to."""
    return reopened(array[tuple([slice(None) if step else slice(1) for step in array.strides])])


def _check_history(tensor: Tensor) -> None:
    """Raise if what is recorded of the Tensor allows no change in place."""
    view = tensor._view
    if view is not None:
        view.refresh(tensor)
    made_without = view is not None and not view.tracked and not isinstance(view, Alias)
    if STATE.grad and made_without and view.base._requires_grad:
        raise _made_without_grad(view)
    if STATE.grad and tensor._requires_grad:
        if _is_leaf(tensor):
            raise changed_leaf(seen=view is not None and (view.tracked or isinstance(view, Rooted)))
        if view is not None and view.several:
            raise GradientError(
                mirrored(
                    f"{view.several} is a view and is being modified inplace. This view is the output of a "
                    "function that returns multiple views. Such functions do not allow the output views to "
                    "be modified inplace. You should replace the inplace operation by an out-of-place one."
                )
            )
        if view is not None and view.tracked and _is_leaf(view.base):
            raise changed_leaf(seen=True)
    check_sealed(tensor)


def check_sealed(tensor: Tensor) -> None:
    """Raise for an inference tensor outside inference mode."""
    if tensor._counter is INFERENCE and not STATE.inference:
        raise GradientError(
            mirrored(
                "Inplace update to inference tensor outside InferenceMode is not allowed.You can make a "
                "clone to get a normal tensor before doing inplace update.See "
                "https://github.com/pytorch/rfcs/pull/17 for more details."
            )
        )


def changed_leaf(seen: bool = False) -> GradientError:
    """What is said to who would change a leaf in place whose gradient is wanted, or a view of it."""
    leaf = "a view of a leaf" if seen else "a leaf"
    return GradientError(
        mirrored(f"{leaf} Variable that requires grad is being used in an in-place operation.")
    )


def _is_leaf(tensor: Tensor) -> bool:
    return tensor._edge is None and (STATE.trace is None or tensor not in STATE.trace.results)


def _made_without_grad(view: View) -> GradientError:
    made, changed, block = (
        ("inference mode", "in normal mode", "inference_mode")
        if isinstance(view, InferenceView)
        else ("no_grad mode", "with grad mode enabled", "no_grad")
    )
    return GradientError(
        mirrored(
            f"A view was created in {made} and is being modified inplace {changed}. "
            "Given that this use case is ambiguous and error-prone, it is forbidden. You can clarify "
            f"your code by moving both the view and the inplace either both inside the {block} block (if "
            "you don't want the inplace to be tracked) or both outside (if you want the inplace to be "
            "tracked)."
        ),
        "the view's base would not learn of the history",
    )


def check_fits(tensor: Tensor, shape: tuple[int, ...]) -> None:
    """Raise if a value of this shape does not broadcast to the Tensor's."""
    own = tensor._value.shape
    joined = own if not shape or shape == own else broadcast_shapes("in-place update", own, shape)
    if joined != own:
        raise ShapeError(
            mirrored(f"output with shape {list(own)} doesn't match the broadcast shape {list(joined)}")
        )


def changed(tensor: Tensor) -> Tensor:
    """Note that the elements were changed in place."""
    counter_of(tensor)[0] += 1
    return tensor


def _write(tensor: Tensor, new: Tensor) -> None:
    trace = STATE.trace
    if trace is None:
        overwrite(tensor._value, new._value)
        changed(tensor)
        return
    _replace(trace, tensor, cast(trace.lift(new), tensor.dtype))


def overwrite(array: Value, value: Value) -> None:
    """Write a value, broadcast and cast, into an array's memory, here or on another device."""
    if isinstance(array, DeviceArray):
        if isinstance(value, DeviceArray) and value.device == array.device:
            array.assign(expand(cast(value, array.dtype), array.shape))
        else:
            value = value.host() if isinstance(value, DeviceArray) else value
            array.assign(np.broadcast_to(value.astype(array.dtype.numpy), array.shape))
        return
    value = value.host() if isinstance(value, DeviceArray) else value
    if array.flags.writeable or not meets(array):
        np.copyto(array, value, casting="unsafe")
    elif not value.ndim:
        np.copyto(_apart(array), value, casting="unsafe")
    else:  # what one element becomes, all become that are one with it
        bits, value = np.dtype(f"u{array.itemsize}"), value.astype(array.dtype)
        np.copyto(opened(array), value, where=value.view(bits) != array.view(bits))


def opened(array: Any) -> Any:
    """The array to be written to; of elements that are one in memory the last that is written stays."""
    return array if array.flags.writeable else as_strided(_apart(array), array.shape, array.strides)


def _replace(trace: Trace, tensor: Tensor, node: Node) -> None:
    """Inside a trace: the Tensor is this node from now on, broadcast, and so is its place in its base."""
    view = tensor._view
    if view is None or not trace.owns(tensor):
        trace.replace(tensor, expand(node, tuple(tensor._value.shape)))
        changed(tensor)
        return
    base = view.base
    if base._view is not None:
        base._view.refresh(base)
    _replace(trace, base, placed(view.path, trace.lift(base), node) if view.path else node)


def set_history(tensor: Tensor, edge: GradNode) -> None:
    """The elements come from `edge` now. A view's history is that of its base, with the view's part
    exchanged.
    """
    view = tensor._view
    if view is None or isinstance(view, Alias):
        _become(tensor, edge)
        return
    if not view.tracked:
        raise _made_without_grad(view)
    base = view.base
    _become(base, CopySlices((edge_of(base), edge), view.path))


def _become(tensor: Tensor, edge: GradNode) -> None:
    if STATE.trace is not None:
        STATE.trace.remember(tensor)
    before = tensor._edge
    if before is not None and before.hooks is not None and before.hooks.retains(tensor):
        before.hooks.retained = None
        edge.extras.retain(tensor)
    tensor._edge, tensor._requires_grad = edge, True
    counter_of(tensor)[1:] = [edge]  # who wrote last, for the words of an error


def renew(tensor: Tensor, value: Value) -> None:
    """Give a Tensor a bare value of its type and shape where nothing is recorded: a step of an optimiser."""
    array: Any = tensor._value
    bare = STATE.trace is None and not STATE.grad and tensor._view is None
    if bare and type(array) is np.ndarray and array.flags.writeable and not is_sealed(tensor._counter):
        np.copyto(array, value)
        changed(tensor)
    else:
        assign(tensor, Tensor(value))


def rearrange(tensor: Tensor, look: Callable[[Tensor], Tensor], shown: str) -> Tensor:
    """The Tensor becomes the view of itself that `look` gives: the same elements along other axes.

    Inside a trace only Tensors that were made there; those of the outside keep their axes.
    """
    _check_history(tensor)
    trace = STATE.trace
    if trace is not None and not trace.owns(tensor):
        raise TraceError(
            "axes changed in place of a tensor from outside the compiled function",
            "it would have another shape when the function returns",
            "use the function that returns a view, without the underscore",
        )
    before = _type(tensor)
    view, found = tensor._view, look(tensor)
    inner = found._view
    if inner is None:  # an inference tensor has no views
        tensor._value = found._value
        return changed(tensor)
    array, own = found._value, inner.base is tensor or (view is not None and inner.base is view.base)
    if isinstance(array, np.ndarray) and trace is None and not own:
        return relaid(tensor, array)  # in memory that reaches beyond the Tensor
    led = view.path if view is not None and inner.base is not tensor else ()
    follows = inner.path[: len(led)] == led
    if not follows:  # the memory of its base, seen anew
        before = Type(tuple(inner.base.shape), tensor.dtype)
    path = inner.path[len(led) :] if follows else inner.path
    tensor._value = found._value
    if trace is not None:
        trace.lay(tensor, trace.strides(found))
    version = counter_of(changed(tensor))[0]
    if isinstance(found._edge, OpNode):
        found._edge.shown = shown
        _become(tensor, found._edge)
    if view is not None:
        base, whole = view.base, (*view.path, *path) if follows else path
        if trace is None and not view.tracked:
            whole = view.path  # which nobody goes any more
        else:
            whole = shortened(whole, _type(base))
        tensor._view = type(view)(base, whole, view.tracked, version)
    note_rearranged(tensor, version, way_back(path, before))
    return tensor


def relaid(tensor: Tensor, array: Array) -> Tensor:
    """The Tensor becomes another array in the same memory, which may reach beyond what was its own."""
    watched, view = tensor._counter is not None, tensor._view
    tensor._value = array
    version = counter_of(changed(tensor))[0]
    if view is not None:
        path = located(array, view.base._value)
        tensor._view = type(view)(view.base, path or (), view.tracked and path is not None, version)
    if watched:
        note_rearranged(tensor, version, None)
    return tensor


@cache
def _adding(dtype: np.dtype[Any]) -> Callable[[Array, Array, Array], Any]:
    """Adds two arrays of a dtype into one that is given."""
    row = OPS["add"]
    assert isinstance(row, Elementwise)
    add = one_pass.quickly(row, dtype, np.add)
    if not one_pass.writes(add):
        return np.add

    def added(x: Array, y: Array, to: Array) -> None:
        if add(x, y, to) is not to:
            np.add(x, y, out=to)

    return added


def add_to(tensor: Tensor, value: Value) -> None:
    """Add a bare value to a Tensor in place, unrecorded: how gradients add up."""
    trace = STATE.trace
    if trace is not None:
        _replace(trace, tensor, trace.lift(tensor) + value)
        return
    array = tensor._value
    check_sealed(tensor)
    if isinstance(array, DeviceArray):
        if not launching(array).update(OPS["add"], [array, value]):
            array.assign(array + value)
        changed(tensor)
        return
    assert isinstance(array, np.ndarray)
    if array.flags.writeable:
        _adding(array.dtype)(array, value, array)
    else:
        tensor._value = np.asarray(array + value)
    changed(tensor)
