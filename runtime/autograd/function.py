"""Functions: operations whose derivative the user writes.

    class Exp(Function):
        @staticmethod
        def forward(ctx, x):
            y = x.exp()
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx, grad):
            (y,) = ctx.saved_tensors
            return grad * y

    y = Exp.apply(x)

In flow the user's class and its operands; out flow the outputs of `forward`, which point to a node that calls
`backward`. `forward` is not recorded; `backward` is where the pass itself is (`create_graph`), so it can be
differentiated again. With `setup_context(ctx, inputs, output)` in the class, `forward` takes the operands
alone. As `torch.autograd.Function`.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np

from retrograd.compiler.errors import ArgumentError, GradientError, ShapeError, mirrored, warn
from retrograd.compiler.ir.graph import Value
from retrograd.compiler.ops.reduce import sum_to
from retrograd.compiler.ops.shape import cast
from retrograd.compiler.record import NamedTuple
from retrograd.runtime.autograd.engine import as_cotangent, as_tensor
from retrograd.runtime.eager.history import edge_of
from retrograd.runtime.eager.opnodes import counter_of, modified
from retrograd.runtime.eager.packing import Packed, packed
from retrograd.runtime.eager.tape import Edge, GradNode, Output, already_freed
from retrograd.runtime.modes import INFERENCE, STATE, no_grad, unkept
from retrograd.runtime.tensor import Tensor

_F = TypeVar("_F", bound=Callable[..., Any])


class _Saved(NamedTuple):
    """A Tensor that `backward` will want: as it was, with its version, or as hooks have packed it."""

    tensor: Tensor | Packed | None
    value: Value
    version: int
    output: int
    """Which output it is, or -1. An output is kept without its history, which would point back to the
    node.
    """
    edge: Edge = None
    """Where the history of a packed operand goes on."""


_NOTHING = _Saved(None, None, 0, -1)


class FunctionCtx:
    """What `forward` tells `backward`: any attribute, and Tensors by `save_for_backward`."""

    _to_save: tuple[Tensor | None, ...] = ()
    _dirty: tuple[Tensor, ...] = ()
    _non_differentiable: tuple[Tensor, ...] = ()
    _materialize: bool = True
    _node: weakref.ref[FunctionNode] | None = None
    """Weakly, because the node has the context."""
    needs_input_grad: tuple[bool, ...] = ()
    """Of each operand, whether its gradient is wanted."""

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep operands or outputs for `ctx.saved_tensors` in `backward`."""
        self._to_save = tensors

    def check_saved(self) -> None:
        """ArgumentError for what was kept and is no Tensor."""
        for place, tensor in enumerate(self._to_save):
            if tensor is not None and not isinstance(tensor, Tensor):
                raise ArgumentError(
                    mirrored(
                        f"save_for_backward can only save variables, but argument {place} is of type "
                        f"{type(tensor).__name__}"
                    ),
                    "",
                    "keep what is no Tensor as an attribute: ctx.n = n",
                )

    def mark_dirty(self, *tensors: Tensor) -> None:
        """These operands were changed in place and are among the outputs."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """These outputs have no derivative."""
        self._non_differentiable = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether `backward` gets zeros (the default) or None for an output that played no part."""
        self._materialize = value

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        node = self._node() if self._node is not None else None
        return self._to_save if node is None else node.saved_tensors

    @property
    def next_functions(self) -> Any:
        node = self._node() if self._node is not None else None
        return () if node is None else node.next_functions


_new: Any = tuple.__new__
"""Makes a named tuple of one, without Python."""


class _OutputType(NamedTuple):
    shape: tuple[int, ...]
    dtype: Any


class FunctionNode(GradNode):
    """A Function that was applied: calls its `backward`."""

    __slots__ = ("function", "ctx", "kinds", "saved", "operands", "freed")

    def __init__(self, function: type[Function], ctx: FunctionCtx, operands: Sequence[Any]) -> None:
        super().__init__(tuple([edge_of(x) for x in operands]))
        self.function = function
        self.ctx = ctx
        self.operands = [_kind(x) for x in operands]
        self.kinds: list[_OutputType | None] = []
        """Shape and dtype of each output; None for what is no Tensor."""
        self.saved: list[_Saved] = []
        self.freed = False

    @property
    def outputs(self) -> int:
        return len(self.kinds)

    def name(self) -> str:
        return self.function._shown(self.ctx) or f"{self.function.__name__}Backward"

    def __repr__(self) -> str:
        return f"<retrograd.autograd.function.{self.name()} object at {id(self):#x}>"

    def free(self) -> None:
        self.freed = True
        self.saved = []

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """What `forward` saved; GradientError once it is freed."""
        if self.freed:
            raise already_freed()
        return tuple(self._unpacked(saved) for saved in self.saved)

    def _unpacked(self, saved: _Saved) -> Tensor | None:
        tensor = saved.tensor
        if tensor is None:
            return None
        if isinstance(tensor, Packed):
            return self._attached(Tensor(tensor.tensor()._value), saved)
        if tensor._version != saved.version:
            raise modified(
                tensor._value, self if saved.output >= 0 else tensor._edge, tensor._version, saved.version
            )
        if saved.output < 0:
            return tensor
        again = Tensor(saved.value)
        again._counter = tensor._counter
        return self._attached(again, saved)

    def _attached(self, again: Tensor, saved: _Saved) -> Tensor:
        """The Tensor with the history of the one that was saved."""
        own = self if self.outputs == 1 else Output(self, saved.output)
        again._edge = own if saved.output >= 0 else saved.edge
        again._requires_grad = again._edge is not None
        return again

    def backward(
        self, cotangent: Value, needed: Sequence[bool], create_graph: bool
    ) -> Sequence[Value | None]:
        if self.freed and self.saved:
            raise already_freed()
        given = cotangent if self.outputs > 1 else [cotangent]
        grads = [self._materialized(as_tensor(g), kind) for g, kind in zip(given, self.kinds, strict=True)]
        self.ctx.needs_input_grad = tuple(needed)
        returned = self.function.backward(self.ctx, *grads)
        listed = returned if isinstance(returned, tuple) else (returned,)
        return self._checked(listed, needed, create_graph)

    def _materialized(self, grad: Tensor | None, kind: _OutputType | None) -> Tensor | None:
        if grad is not None or kind is None or not self.ctx._materialize:
            return grad
        zeros = np.zeros(kind.shape, kind.dtype.numpy)
        return Tensor(zeros if STATE.trace is None else STATE.trace.builder.constant(zeros))

    def _checked(
        self, listed: tuple[Any, ...], needed: Sequence[bool], create_graph: bool
    ) -> list[Value | None]:
        count = len(self.edges)
        while len(listed) > count and listed[-1] is None:
            listed = listed[:-1]
        if len(listed) != count:
            raise GradientError(
                mirrored(
                    f"function {self.name()} returned an incorrect number of gradients "
                    f"(expected {count}, got {len(listed)})"
                )
            )
        result: list[Value | None] = []
        for place, (g, need, operand) in enumerate(zip(listed, needed, self.operands, strict=True)):
            if g is not None and operand is None:
                raise GradientError(
                    mirrored(
                        f"function {self.name()} returned a gradient different than None at position "
                        f"{place + 1}, but the corresponding forward input was not a Variable"
                    )
                )
            if g is None or not need:
                result.append(None)
                continue
            if not isinstance(g, Tensor):
                raise ArgumentError(mirrored(f"expected Variable or None (got {type(g).__name__})"))
            assert operand is not None
            if g._value.shape != operand.shape or g.dtype is not operand.dtype:
                wrong = f"Function {self.name()} returned an invalid gradient at index {place}"
                g = _fitted(g, operand, wrong)
            result.append(as_cotangent(g, create_graph))
        return result


def _kind(x: Any) -> _OutputType | None:
    return _new(_OutputType, (x._value.shape, x.dtype)) if isinstance(x, Tensor) else None


def _fitted(g: Tensor, operand: _OutputType, wrong: str) -> Tensor:
    """A gradient of its operand's type: broadcasts undone, cast."""
    if tuple(g.shape) != operand.shape:
        lead = g.ndim - len(operand.shape)
        if lead < 0 or any(a not in (1, b) for a, b in zip(operand.shape, g.shape[lead:])):
            raise ShapeError(
                mirrored(
                    f"{wrong} - got {list(g.shape)} but expected shape compatible with {list(operand.shape)}"
                )
            )
    fitted: Tensor = cast(sum_to(g, operand.shape), operand.dtype)
    return fitted


class Function:
    """Base of the user's operations: subclass it with static methods `forward` and `backward`, call
    `apply`.
    """

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keep for `backward` what it needs; without this, `forward` gets the context itself."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use "
            "it with backward mode AD."
        )

    vjp = backward

    @staticmethod
    def _shown(ctx: Any) -> str:
        """What the node is called, if not as the class: for functions that PyTorch has under a name."""
        return ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        warn(
            f"{type(self)} should not be instantiated. Methods on autograd functions are all static, so you "
            "should invoke them on the class itself. Instantiating an autograd function will raise an error "
            "in a future version of PyTorch.",
            DeprecationWarning,
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise GradientError(
            mirrored(
                "Legacy autograd function with non-static forward method is deprecated. Please use new-style "
                "autograd function with static forward method. (Example: "
                "https://pytorch.org/docs/stable/autograd.html#torch.autograd.Function)"
            )
        )

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Call `forward` on the operands, unrecorded, and give its outputs a history that ends in
        `backward`.
        """
        ctx = FunctionCtx()
        needed = tuple([isinstance(x, Tensor) and x.requires_grad for x in args])
        ctx.needs_input_grad = needed
        mode = "claimed" if STATE.inference else "grad"
        before = getattr(STATE, mode)
        node = FunctionNode(cls, ctx, args) if STATE.grad and True in needed else None
        setattr(STATE, mode, False)
        try:
            if cls.setup_context is not Function.setup_context:
                output = cls.forward(*args, **kwargs)
                cls.setup_context(ctx, args, output)
            else:
                output = cls.forward(ctx, *args, **kwargs)
        finally:
            setattr(STATE, mode, before)
        if ctx._to_save:
            ctx.check_saved()
        if STATE.trace is not None:
            output = STATE.trace.applied(cls, ctx, args, output)
        single = not isinstance(output, tuple)
        given = set(map(id, args))
        outputs = [_returned(x, ctx) if id(x) in given else x for x in ((output,) if single else output)]
        if node is not None:
            _connect(node, ctx, outputs)
        return outputs[0] if single else tuple(outputs)


def _returned(output: Any, ctx: FunctionCtx) -> Any:
    """An operand that is returned as it came becomes another Tensor, so that it can have another history."""
    if not isinstance(output, Tensor) or _place(output, ctx._dirty) >= 0:
        return output
    return output.detach()


def _place(x: Any, things: Iterable[Any]) -> int:
    """Where a thing is among others, itself; -1 if it is not."""
    for place, other in enumerate(things):
        if other is x:
            return place
    return -1


def _is_leaf(x: Tensor) -> bool:
    """Whether it waits for a gradient of its own: it is not what `forward` shows of an operand."""
    return x._edge is None and x._requires_grad and (x._view is None or x._view.tracked)


def _connect(node: FunctionNode, ctx: FunctionCtx, outputs: Sequence[Any]) -> None:
    if ctx._dirty and any(x.requires_grad and x.is_leaf for x in ctx._dirty):
        raise GradientError(
            mirrored("a leaf Variable that requires grad has been used in an in-place operation.")
        )
    trace = STATE.trace
    node.kinds = [_kind(x) for x in outputs]
    for place, tensor in enumerate(outputs):
        if not isinstance(tensor, Tensor):
            continue
        if not tensor.dtype.is_inexact or _place(tensor, ctx._non_differentiable) >= 0:
            continue
        if _is_leaf(tensor) and _place(tensor, ctx._dirty) < 0:
            continue
        edge: Edge = node if len(outputs) == 1 else Output(node, place)
        if trace is not None:
            trace.remember(tensor)
        tensor._edge, tensor._requires_grad = edge, True
    hooked = STATE.savers and trace is None
    place_of = {id(x): place for place, x in enumerate(outputs)} if ctx._to_save else {}
    for saved in ctx._to_save:
        if saved is None:
            node.saved.append(_NOTHING)
            continue
        place = place_of.get(id(saved), -1)
        if hooked:
            node.saved.append(_Saved(packed(saved), None, 0, place, edge_of(saved)))
            continue
        counter = counter_of(saved)
        if counter is INFERENCE:
            raise unkept()
        kept = unattached(saved) if place >= 0 else saved
        node.saved.append(_new(_Saved, (kept, saved._value, counter[0], place, None)))
    ctx._to_save = ()
    ctx._node = weakref.ref(node)


def unattached(tensor: Tensor) -> Tensor:
    """The output itself would hold the node that holds it."""
    again = Tensor(tensor._value)
    again._counter = tensor._counter
    return again


def once_differentiable(function: _F) -> _F:
    """For a `backward` that is not to be differentiated: what it returns has no history, and asking for one
    is an error.
    """

    @functools.wraps(function)
    def wrapped(ctx: Any, *grads: Any) -> Any:
        with no_grad():
            result = function(ctx, *grads)
        if not STATE.grad or not any(isinstance(g, Tensor) and g.requires_grad for g in grads):
            return result
        listed = result if isinstance(result, tuple) else (result,)
        refused = tuple(_refusing(g) if isinstance(g, Tensor) else g for g in listed)
        return refused if isinstance(result, tuple) else refused[0]

    return wrapped  # type: ignore[return-value]  # called as the function is


class _Refusal(GradNode):
    """Where a derivative of a `once_differentiable` backward would have to come from."""

    __slots__ = ()

    def backward(
        self, cotangent: Value, needed: Sequence[bool], create_graph: bool
    ) -> Sequence[Value | None]:
        raise GradientError(
            "trying to differentiate twice a function that was marked with @once_differentiable"
        )


def _refusing(g: Tensor) -> Tensor:
    again: Tensor = g.detach()
    again._edge, again._requires_grad = _Refusal(()), True
    return again
