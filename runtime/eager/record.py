"""Record: what it means to apply an op to Tensors. Evaluates at once, or writes a node while tracing.

In flow an op and its operands (Tensors, arrays, Python numbers), out flows a Tensor, with its history if grad
mode is on and an operand requires grad (`history.record`), and as a view where it shares an operand's memory.

    RECORD.apply(op, operands)        the interpreter of Tensors, level 3
    step(op, types, out)              the same as a function, for operands whose types are known
    recorded(op, operands, result)    history for a value that was computed otherwise
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Literal

import numpy as np

from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import DeviceError, RetrogradError, TraceError, mirrored
from retrograd.compiler.ir.graph import INTERPRETERS, Builder, Constant, Node, Op, Type, Value, apply
from retrograd.compiler.ir.quiet import quietly
from retrograd.compiler.ops.composite import Composite, keeps_order
from retrograd.compiler.ops.reverse import cotangents
from retrograd.compiler.ops.shape import Movement, Reshape
from retrograd.runtime import tracing
from retrograd.runtime.device import CPU
from retrograd.runtime.eager import one_op
from retrograd.runtime.eager.adjoints import type_of, type_of_array
from retrograd.runtime.eager.arrays import by_kernels, computing, of_composite, straight
from retrograd.runtime.eager.history import record
from retrograd.runtime.eager.instant import calls
from retrograd.runtime.eager.kinds import kind_of
from retrograd.runtime.eager.opnodes import counter_of, launching
from retrograd.runtime.eager.views import InferenceView, View
from retrograd.runtime.modes import INFERENCE, STATE
from retrograd.runtime.native import small
from retrograd.runtime.native.small.copier import reshaping
from retrograd.runtime.native.small.lying import LAYING
from retrograd.runtime.native.small.steps import FEW_ELEMENTS
from retrograd.runtime.strided import DeviceArray, following, moved_strides, pointwise_strides
from retrograd.runtime.tensor import SUBCLASS_HOOKS, Tensor
from retrograd.runtime.tracing import Trace

# ---- the interpreter ---------------------------------------------------------------------------------------


class Record:
    """Tensors in, Tensor out."""

    level = 3

    def apply(self, op: Op, operands: Sequence[Value]) -> Tensor:
        if tracing.depth and (trace := STATE.trace) is not None:
            return _trace(trace, op, operands)
        if isinstance(op, Movement) and not tracing.depth and isinstance(operands[0], Tensor):
            shown = showing(op, operands[0]._value)
            if shown is not None:
                return shown(operands[0])
        values = []
        tracked = False
        for x in operands:
            if isinstance(x, Tensor):
                if x._view is not None:
                    x._view.refresh(x)
                if x._requires_grad:
                    tracked = True
                values.append(x._value)
            else:
                values.append(x)
        return _evaluate(op, operands, values, tracked)

    def cotangents(
        self, op: Op, cotangent: Tensor, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> list[Value | None]:
        """Those of an op's operands, with a history: by steps, where they have been asked for before."""
        run = None if tracing.depth else _rule(op, (cotangent, *inputs), needed)
        if run is None:
            return cotangents(op, cotangent, out, inputs, needed)
        found: list[Value | None] = run(cotangent, out, *inputs)
        return found


def _evaluate(op: Op, operands: Sequence[Value], values: list[Value], tracked: bool) -> Tensor:
    arrays = _arrays(operands, values)
    first = arrays[0].dtype if arrays else None
    try:
        if any(array.dtype is not first for array in arrays):
            op.infer(*map(type_of, arrays))
        away = type(first) is DType and isinstance(arrays[0], DeviceArray)
        if away:
            out = apply(op, *arrays)
        elif kind_of(op).is_view:
            out = op.evaluate(*arrays)
        else:
            out = quietly(_function(op, arrays), *arrays)
    except Exception as error:
        raise _explained(error, op, values) from None
    result = Tensor(out)
    if kind_of(op).is_view:
        _enter_view(op, operands[0], arrays[0], result)
    if tracked and out.dtype.kind in "fV":  # V: ml_dtypes' bfloat16
        if STATE.grad:
            record(kind_of(op), op, operands, arrays, result)
        else:
            _mark(result)
    return result


def _function(op: Op, arrays: Sequence[Any]) -> Callable[..., Any]:
    """What computes the op of such arrays."""
    if isinstance(op, Composite) and max([x.size for x in arrays]) > FEW_ELEMENTS:
        compute = of_composite(op, tuple(map(type_of_array, arrays)))
    else:
        native = one_op.value(op, arrays) or by_kernels(op, arrays, lambda: small.program.value(op, arrays))
        compute = native or op.evaluate
    kept = compute not in LAYING and _keeps_order(op, [type_of(x) for x in arrays])
    return following(compute) if kept else compute


def _keeps_order(op: Op, types: Sequence[Type]) -> bool:
    """Whether it is a composite of several elements, of which each comes from those at its place."""
    several = isinstance(op, Composite) and any(t.ndim > 1 for t in types) and op.infer(*types).ndim
    return bool(several) and keeps_order(op, tuple(types))


def step(
    op: Op, types: Sequence[Type], out: Type, shown: str = "", by: Callable[..., Any] | None = None
) -> Callable[..., Tensor]:
    """The op as a function of Tensors and constants that are known to have these types, outside of traces,
    computed by such a function of arrays; on the tape it is called `shown`, or as ever.
    """
    kind = kind_of(op)
    differentiable = out.dtype.is_floating_point
    if kind.is_view and by is None:
        return calls.view(op, kind, _view_step(op, out, shown), shown, differentiable)
    compute = by or computing(op, types)
    if compute not in LAYING and _keeps_order(op, types):
        compute = following(compute)

    def told(values: Sequence[Value]) -> Any:
        """The value, or the error in the user's terms."""
        try:
            return quietly(compute, *values)
        except Exception as error:
            raise _explained(error, op, values) from None

    def of_one(x: Tensor) -> Tensor:
        if x._view is not None:
            x._view.refresh(x)
        array = x._value
        value = told((array,))
        result = calls.box(value)
        if x._requires_grad and differentiable and STATE.grad:
            record(kind, op, (x,), (array,), result, shown)
        return result

    def of_several(*operands: Value) -> Tensor:
        values: list[Value] = []
        tracked = False
        for x in operands:
            if isinstance(x, Tensor):
                if x._view is not None:
                    x._view.refresh(x)
                if x._requires_grad:
                    tracked = True
                values.append(x._value)
            else:
                values.append(x)
        value = told(values)
        result = calls.box(value)
        if tracked and differentiable and STATE.grad:
            record(kind, op, operands, values, result, shown)
        return result

    slow = of_one if len(types) == 1 else of_several
    return calls.step(op, kind, len(types), compute, slow, shown, differentiable)


_RULES: dict[Hashable, Callable[..., list[Value | None]] | Literal[False] | None] = {}
"""Rules of derivatives as steps, by op and types; None for those that have been met once, False for none."""
_MOST = 4096


def _rule(op: Op, given: Sequence[Value], needed: Sequence[bool]) -> Callable[..., Any] | None:
    """The op's rule for a cotangent and operands of these types as steps, if it has been asked for before."""
    types: list[Hashable] = []
    for x in given:
        array: Any = x._value if isinstance(x, Tensor) else None
        if type(array) is not np.ndarray:
            return None
        types += array.shape, array.dtype
    key = (op, *needed, *types)
    run = _RULES.get(key)
    if run is None and key in _RULES:
        run = _RULES[key] = _steps_back(op, [type_of(x._value) for x in given], needed) or False
    elif run is None:
        if len(_RULES) >= _MOST:
            _RULES.clear()
        _RULES[key] = None
    return run or None


def _steps_back(
    op: Op, types: Sequence[Type], needed: Sequence[bool]
) -> Callable[..., list[Value | None]] | None:
    """A function of cotangent, value and operands; None where a cotangent is a constant."""
    builder = Builder()
    with builder.at(None):
        cotangent, result = builder.input("ct", types[0]), builder.input("out", types[0])
        operands = [builder.input(f"x{k}", type_) for k, type_ in enumerate(types[1:])]
        found = cotangents(op, cotangent, result, operands, needed)
    if any(g is not None and isinstance(g.op, Constant) for g in found):
        return None
    return straight(
        (cotangent, result, *operands),
        found,
        lambda node: step(node.op, [i.type for i in node.inputs], node.type),
    )


_SHOWING: dict[Hashable, Callable[[Tensor], Tensor] | None] = {}
"""Views as steps, by op and type; None for those that have been met once."""


def showing(op: Movement, array: Value) -> Callable[[Tensor], Tensor] | None:
    """The view of a Tensor of such an array as a step, if it has been asked for before."""
    if type(array) is not np.ndarray or not kind_of(op).is_view:
        return None
    key = (op, array.shape, array.dtype)
    shown = _SHOWING.get(key)
    if shown is None and key in _SHOWING:
        shown = _SHOWING[key] = step(op, [type_of(array)], op.infer(type_of(array)))
    elif shown is None:
        if len(_SHOWING) >= _MOST:
            _SHOWING.clear()
        _SHOWING[key] = None
    return shown


def _view_step(op: Op, out: Type, shown: str) -> Callable[[Tensor], Tensor]:
    kind, differentiable, path = kind_of(op), out.dtype.is_floating_point, (op,)
    compute = reshaping(op.shape) if isinstance(op, Reshape) else op.evaluate

    def apply_to(x: Tensor) -> Tensor:
        view = x._view
        if view is not None:
            view.refresh(x)
        array: Any = x._value
        value = compute(array)
        result = Tensor(value)
        if _shows(value, array):
            if view is None:
                counter = x._counter
                if counter is None:
                    counter = x._counter = [0]
                result._counter = counter
                if counter is not INFERENCE:
                    result._view = _kind_of_view()(x, path, STATE.grad, counter[0])
            else:
                _link(op, x, result)
        if x._requires_grad and differentiable:
            if STATE.grad:
                record(kind, op, (x,), (array,), result, shown)
            else:
                _mark(result)
        return result

    return apply_to


def _mark(result: Tensor) -> None:
    """What shows a Tensor that requires grad does so, too, where nothing is recorded."""
    result._requires_grad = result._view is not None


def _arrays(operands: Sequence[Value], values: list[Value]) -> list[Value]:
    """Python numbers take the dtype of the last operand that has one. If one operand is on a GPU, all are."""
    if all(type(v) is np.ndarray for v in values):
        return values
    first = values[0]
    if isinstance(first, DeviceArray):
        here = first.device
        if all(type(v) is type(first) and v.device is here for v in values):
            return values
    for value in values:
        if isinstance(value, DeviceArray):
            _check_device(value, operands, values)
            entered: list[Value] = launching(value).entered(values)
            return entered
    like = None
    for value in values:
        if isinstance(value, np.ndarray | np.generic):
            like = value.dtype
    return [
        v if isinstance(v, np.ndarray) or type(v) is Node else np.asarray(v, getattr(v, "dtype", like))
        for v in values
    ]


def _explained(error: Exception, op: Op, values: Sequence[Value]) -> Exception:
    """The error in the user's terms: that of the op's type rule, if it has one to make."""
    if isinstance(error, RetrogradError):
        return error
    for value in values:
        if isinstance(value, Node):
            return TraceError(
                f"{op.name} of a tensor that was made inside a compiled function",
                "the trace has ended, so it stands for no value",
                "return it from the function, and use what the function returns",
            )
    try:
        op.infer(*map(type_of, _arrays((), list(values))))
    except RetrogradError as told:
        return told
    return error


def _trace(trace: Trace, op: Op, operands: Sequence[Value]) -> Tensor:
    """A node in place of a value."""
    lifted, tracked, ordered = [], False, True
    for x in operands:
        if isinstance(x, Tensor):
            lifted.append(trace.lift(x))
            tracked = tracked or (x._requires_grad and (not trace.at_once or trace.owns(x)))
            ordered = ordered and trace.lies_in_order(x)
        else:
            lifted.append(x)
    node: Node = INTERPRETERS[Node].apply(op, lifted)
    result, kind = Tensor(node), kind_of(op)
    if kind.is_view:
        _link(op, operands[0], result, trace)
    elif not ordered and node.ndim > 1:
        _lay_like(trace, op, operands, result)
    if tracked and STATE.grad and node.type.dtype.is_floating_point:
        record(kind, op, operands, node.inputs, result)
    return result


def _lay_like(trace: Trace, op: Op, operands: Sequence[Value], result: Tensor) -> None:
    """Note that the elements of a result, if they are computed one by one, lie as those of the operands."""
    types = [i.type for i in trace.lift(result).inputs]
    if kind_of(op).keeps_order or (isinstance(op, Composite) and keeps_order(op, tuple(types))):
        axes = [(tuple(x.shape), trace.strides(x)) for x in operands if isinstance(x, Tensor) and x.ndim]
        trace.lay(result, pointwise_strides(result.shape, axes))


def _enter_view(op: Op, operand: Value, array: Value, result: Tensor) -> None:
    """A result that shares the operand's memory is its view."""
    made = result._value
    if isinstance(made, DeviceArray):
        if isinstance(operand, Tensor) and made.memory is array.memory:
            _link(op, operand, result)
        return
    if isinstance(operand, Tensor) and _shows(made, array):
        _link(op, operand, result)


def _shows(made: Any, array: Any) -> bool:
    """Whether NumPy made the one array in the other's memory; `as_strided` puts an object between the two."""
    owner = made.base
    return owner is not None and (
        owner is array or owner is array.base or getattr(owner, "base", None) is array
    )


def _link(op: Op, operand: Tensor, result: Tensor, trace: Trace | None = None) -> None:
    """Views of views go straight to the base, unless a step between them is not followed by histories."""
    parent = operand._view
    base, path = operand, (op,)
    if parent is not None and parent.tracked and STATE.grad:
        base, path = parent.base, (*parent.path, op)
    if trace is not None:
        strides = moved_strides(op, operand.shape, trace.strides(operand))
        if strides is None:
            return
        trace.lay(result, strides)
    counter = result._counter = counter_of(operand)
    if counter is INFERENCE and trace is None:  # no view to anybody: they only share memory
        return
    view = result._view = _kind_of_view()(base, path, STATE.grad, counter[0])
    if trace is not None:
        trace.views.append(view)


def _kind_of_view() -> type[View]:
    return InferenceView if STATE.inference else View


def recorded(op: Op, operands: Sequence[Value], result: Tensor) -> Tensor:
    """The result, as a fresh Tensor made by `op` from the operands, with that history."""
    if STATE.grad and any(isinstance(x, Tensor) and x.requires_grad for x in operands):
        value_of = operator.attrgetter("_value") if STATE.trace is None else STATE.trace.lift
        record(
            kind_of(op), op, operands, [value_of(x) if isinstance(x, Tensor) else x for x in operands], result
        )
    return result


def updated(op: Op, tensor: Tensor, operands: Sequence[Value]) -> bool:
    """On a GPU the op's value is written over the elements of its first operand, `tensor`, without history;
    False, and nothing is done, where it is of another type."""
    given: list[Value] = [tensor, *operands]
    values = []
    for x in given:
        if isinstance(x, Tensor) and x._view is not None:
            x._view.refresh(x)
        values.append(x._value if isinstance(x, Tensor) else x)
    arrays = _arrays(given, values)
    try:
        return bool(launching(arrays[0]).update(op, arrays))
    except Exception as error:
        raise _explained(error, op, values) from None


# ---- other devices -----------------------------------------------------------------------------------------


def _check_device(array: DeviceArray, operands: Sequence[Value], values: Sequence[Value]) -> None:
    """Tensors on two devices do not go together, but numbers and 0-d tensors of the CPU go with any."""
    for operand, value in zip(operands, values):
        if isinstance(value, DeviceArray):
            other = value.device
        elif isinstance(operand, Tensor) and value.ndim:
            other = CPU
        else:
            continue
        if other != array.device:
            raise DeviceError(
                mirrored(
                    "Expected all tensors to be on the same device, but found at least two devices, "
                    f"{array.device} and {other}!"
                ),
                ", ".join(str(type_of(v)) for v in values if hasattr(v, "shape")),
                "move one of them with .to(device)",
            )


RECORD = Record()
INTERPRETERS[Tensor] = RECORD


@SUBCLASS_HOOKS.append
def _enter_subclass(cls: type[Tensor]) -> None:
    INTERPRETERS[cls] = RECORD
