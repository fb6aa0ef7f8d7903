"""Tensor: an array, here or on a GPU, or a node of a graph being traced, and what is known of its gradient.

In flow arrays and nodes; out flow properties and, when asked, the data. What is about gradients is inherited
(`differentiable`). Operations are not here: `eager` records ops, `inplace` changes Tensors, `pointwise` and
`functions` enter methods (`@method`), `autograd` enters `backward`.

State of a Tensor, in slots, because every operation makes one:

    _value          the NumPy array, shared, never copied; on a GPU a DeviceArray; of a Tensor made inside a
                    trace, a graph Node
    _requires_grad  whether operations on it are recorded
    _edge           the tape node that made it (`grad_fn`, or an `Output` of it); None for a leaf
    _grad           what backward() has added up; leaves, and those that called retain_grad()
    _counter        [how often the elements were changed in place, and by which node last], shared with
                    views; None until asked for; of an inference tensor `modes.INFERENCE`
    _view           how it views another Tensor (`views.View`), or None
    _leaf           the hooks of a leaf, or None; those of other Tensors are with their node
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import (
    ArgumentError,
    DimensionError,
    DtypeError,
    GradientError,
    ShapeError,
    TraceError,
    mirrored,
)
from retrograd.compiler.ir.graph import Array, Constant, Node
from retrograd.runtime import tracing
from retrograd.runtime.converted import converted
from retrograd.runtime.device import CPU, device
from retrograd.runtime.differentiable import Differentiable
from retrograd.runtime.eager.tape import GradNode, Hooks
from retrograd.runtime.formatting import tensor_repr
from retrograd.runtime.modes import STATE, fresh_counter, inferring
from retrograd.runtime.names import Size as Size
from retrograd.runtime.strided import DeviceArray, steps_of

_F = TypeVar("_F", bound=Callable[..., Any])
_DTYPES: dict[Any, DType] = dtypes.BY_NUMPY


class Tensor(Differentiable):
    """A multi-dimensional array whose operations can be recorded, differentiated and compiled."""

    __slots__ = (
        "_value", "_requires_grad", "_edge", "_grad", "_counter", "_view", "_leaf", "__weakref__", "__dict__",
    )  # fmt: skip

    __module__ = "retrograd"  # the name under which users know it

    __array_priority__ = 1000  # so that `array * tensor` asks the Tensor

    _value: Array | DeviceArray | Node
    _requires_grad: bool
    _edge: GradNode | None
    _grad: Tensor | None
    _counter: list[Any] | None
    _view: Any
    _leaf: Hooks | None

    if TYPE_CHECKING:  # what is entered by `@method` and by the rooms above
        data: Tensor
        grad: Tensor | None

        def __getattr__(self, name: str) -> Any: ...
        def detach(self) -> Tensor: ...
        def clone(self) -> Tensor: ...
        def __getitem__(self, index: Any) -> Tensor: ...
        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __pos__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...
        def __invert__(self) -> Tensor: ...
        def __and__(self, other: Any) -> Tensor: ...
        def __or__(self, other: Any) -> Tensor: ...
        def __lt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...
        def __eq__(self, other: object) -> Tensor: ...  # type: ignore[override]  # element by element
        def __ne__(self, other: object) -> Tensor: ...  # type: ignore[override]  # element by element

    def __init__(self, value: Any = (), *sizes: int) -> None:
        """`Tensor(array)` wraps the array without copying; a list makes float elements, ints an uninitialised
        shape.
        """
        kind = type(value)
        self._value = value if kind is np.ndarray or kind is Node else _array_of(value, sizes)
        self._requires_grad = False
        self._edge = None
        self._grad = None
        self._counter = fresh_counter() if inferring.cell_contents else None
        self._view = None
        self._leaf = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for enter in SUBCLASS_HOOKS:
            enter(cls)

    # ---- what it is ----------------------------------------------------------------------------------------

    @property
    def shape(self) -> Size:
        return Size(self._value.shape)

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the extent of one axis."""
        try:
            return Size(self._value.shape) if dim is None else self._value.shape[self._axis(dim)]
        except TypeError:
            raise _no_dim("size", dim) from None

    @property
    def dtype(self) -> DType:
        found = self._value.dtype
        return found if type(found) is DType else _DTYPES[found]

    @property
    def ndim(self) -> int:
        return self._value.ndim

    def dim(self) -> int:
        return self._value.ndim

    def numel(self) -> int:
        return Size(self._value.shape).numel()

    nelement = numel

    @property
    def device(self) -> device:
        value = self._value
        if isinstance(value, DeviceArray):
            return value.device
        return STATE.trace.device if STATE.trace is not None and isinstance(value, Node) else CPU

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    def element_size(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.numel() * self.dtype.itemsize

    def stride(self, dim: int | None = None) -> Any:
        """Steps between neighbours in elements; a traced Tensor has those that eager mode would give it."""
        value, trace = self._value, STATE.trace
        if trace is not None:
            steps = trace.strides(self)
        elif isinstance(value, Node):
            steps = tuple(Size(value.shape[k + 1 :]).numel() for k in range(value.ndim))
        elif isinstance(value, DeviceArray):
            steps = value.strides
        else:
            steps = steps_of(value)
        try:
            return steps if dim is None else steps[self._axis(dim)]
        except TypeError:
            raise _no_dim("stride", dim) from None

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """Whether the elements lie in order, or in that of a `memory_format`."""
        if memory_format is not None:
            return bool(memory_format.holds(self))
        value = self._value
        if isinstance(value, np.ndarray):
            return bool(value.flags.c_contiguous)
        if isinstance(value, DeviceArray):
            return value.layout.contiguous
        return STATE.trace is None or STATE.trace.lies_in_order(self)

    def is_floating_point(self) -> bool:
        return self.dtype.is_floating_point

    def is_complex(self) -> bool:
        return self.dtype.is_complex

    def _axis(self, dim: int) -> int:
        ndim = self._value.ndim
        if not -ndim <= dim < ndim:
            why = f"Dimension out of range (expected to be in range of [{-ndim}, {ndim - 1}], but got {dim})"
            if not ndim:
                why = f"Dimension specified as {dim} but tensor has no dimensions"
            raise DimensionError(f"dim={dim} of a tensor with {ndim} axes", mirrored(why))
        return dim % ndim

    # ---- its data ------------------------------------------------------------------------------------------

    def read(self, asked: str) -> Array:
        """The array itself, or a copy of what is on a GPU, when it is there; TraceError inside a trace, where
        only graph constants have one."""
        if self._view is not None:
            self._view.refresh(self)
        value = self._value
        if isinstance(value, Node) and isinstance(value.op, Constant):
            return value.op.value
        if STATE.trace is not None or isinstance(value, Node):
            found: Array | None = None if STATE.trace is None else STATE.trace.read(self)
            if found is None:
                raise _not_known_yet(asked, self)
            return found
        return value.host() if isinstance(value, DeviceArray) else value

    def item(self) -> Any:
        """The only element as a Python number."""
        if self._view is not None:
            self._view.refresh(self)
        value = self._value
        if type(value) is np.ndarray and value.size == 1 and not tracing.depth:
            return value.item()
        if self.numel() != 1:
            raise ShapeError(mirrored(f"a Tensor with {self.numel()} elements cannot be converted to Scalar"))
        if self.dtype.is_inexact:
            return self.read("item()").item()
        return self._told(bool if self.dtype is dtypes.bool_ else int, "item()")

    def _told(self, kind: type[bool] | type[int], asked: str) -> Any:
        """The only element as a bool or an int. Where a compiled function is traced, its path is that of the
        arguments at hand."""
        trace = STATE.trace
        constant = isinstance(self._value, Node) and isinstance(self._value.op, Constant)
        found = None if trace is None or constant else trace.ask(self, kind)
        return kind(self.read(asked).item()) if found is None else found

    def tolist(self) -> Any:
        """Nested lists of Python numbers."""
        return self.read("tolist()").tolist()

    def numpy(self, *, force: bool = False) -> Array:
        """The array, sharing memory. A Tensor that requires grad must be detached first, or `force` be
        set.
        """
        if self.requires_grad and not force:
            raise GradientError(
                mirrored(
                    "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."
                )
            )
        if isinstance(self._value, DeviceArray) and not force:
            raise ArgumentError(
                mirrored(
                    f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to copy the "
                    "tensor to host memory first."
                )
            )
        return self.read("numpy()")

    def __len__(self) -> int:
        if not self._value.shape:
            raise ArgumentError(mirrored("len() of a 0-d tensor"))
        return self._value.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self._value.shape:
            raise ArgumentError(mirrored("iteration over a 0-d tensor"))
        return iter(self.unbind(0))

    def __reversed__(self) -> Tensor:
        return self.flip(0) if self._value.shape else self

    def __bool__(self) -> bool:
        if self.numel() != 1:
            values = "more than one value" if self.numel() else "no values"
            raise ShapeError(mirrored(f"Boolean value of Tensor with {values} is ambiguous"))
        return bool(self._told(bool, "bool()"))

    def __float__(self) -> float:
        return float(_without_imaginary(self._scalar("float()"), "double"))

    def __int__(self) -> int:
        self._check_single()
        if self.dtype.is_complex:
            return int(_without_imaginary(self._scalar("int()"), "int64_t"))
        return int(self._told(int, "int()"))

    def __complex__(self) -> complex:
        return complex(self._scalar("complex()"))

    def __index__(self) -> int:
        if self.dtype.is_inexact or self.numel() != 1:
            raise ArgumentError(
                mirrored("only integer tensors of a single element can be converted to an index")
            )
        return int(self._told(int, "index()"))

    def _scalar(self, asked: str) -> Any:
        self._check_single()
        found = self.read(asked).item()
        if self._requires_grad:
            converted()
        return found

    def _check_single(self) -> None:
        if self.numel() != 1:
            raise ShapeError(mirrored("only one element tensors can be converted to Python scalars"))

    def __format__(self, spec: str) -> str:
        """Of one element the number, as in `f"{loss:.3f}"` or `f"{loss}"`."""
        unknown = isinstance(self._value, Node) and not spec
        if self._value.shape and spec:
            raise ArgumentError(mirrored("unsupported format string passed to Tensor.__format__"))
        return repr(self) if self._value.shape or unknown else format(self.item(), spec)

    def __repr__(self) -> str:
        value, node = self._value, self.grad_fn
        if isinstance(value, Node) and not isinstance(value.op, Constant):
            return f"tensor(<traced {value.type}>)"
        if STATE.trace is not None and not isinstance(value, Node):
            return f"tensor(<traced {self.dtype.name}{list(value.shape)}>)"
        return self._prefixed(self.read("repr()"), node, "tensor(")

    def _prefixed(self, array: Array, node: GradNode | None, prefix: str) -> str:
        return tensor_repr(
            array,
            requires_grad=self.requires_grad,
            grad_fn_name=node.name().rpartition("::")[2] if node is not None else None,
            device=str(self.device) if isinstance(self._value, DeviceArray) else "cpu",
            default_dtype=dtypes.default_dtype().numpy,
            prefix=prefix,
        )

    __hash__ = object.__hash__


SUBCLASS_HOOKS: list[Callable[[type[Tensor]], None]] = []
"""Called with each new subclass of Tensor."""


def method(*names: str) -> Callable[[_F], _F]:
    """Enter a function as a method of Tensor under these names (its own, if none are given)."""

    def enter(function: _F) -> _F:
        for name in names or (function.__name__,):
            setattr(Tensor, name, function)
        return function

    return enter


def new(array: Array, like: Tensor | None = None) -> Tensor:
    """A Tensor of data made here and now: inside a trace a constant of the graph. For factories; shares the
    array, or copies it to the GPU where `like` is.
    """
    trace = STATE.trace
    if trace is not None:
        return Tensor(trace.builder.constant(array))
    beside = like._value if like is not None else None
    return Tensor(beside.beside(array) if isinstance(beside, DeviceArray) else array)


def _without_imaginary(number: Any, kind: str) -> float:
    """A number as a real one, if it is."""
    if isinstance(number, complex) and number.imag:
        raise DtypeError(
            mirrored(f"value cannot be converted to type {kind} without overflow"),
            f"the number is {number}",
            "take .real, or abs()",
        )
    return number.real  # type: ignore[no-any-return]  # a number


def _array_of(value: Any, sizes: tuple[int, ...]) -> Array | DeviceArray:
    """What the legacy constructor makes: `Tensor(2, 3)`, `Tensor([1, 2])`."""
    if isinstance(value, DeviceArray):
        return value
    kind = dtypes.default_dtype().numpy
    shape = legacy_shape((value, *sizes))
    if shape is not None:
        return np.zeros(shape, kind)
    if isinstance(value, Tensor):
        return value.read("Tensor()").astype(kind)
    return np.array(value, dtype=kind)


def legacy_shape(arguments: tuple[Any, ...]) -> tuple[int, ...] | None:
    """The shape that `Tensor(2, 3)` and its siblings are given; None where it is data."""
    first = arguments[0]
    if type(first) in _NEITHER:
        raise ArgumentError(mirrored(f"new(): data must be a sequence (got {type(first).__name__})"))
    if isinstance(first, str):
        raise ArgumentError(mirrored("new(): invalid data type 'str'"))
    if isinstance(first, Size):
        return first
    return arguments if len(arguments) > 1 or isinstance(first, int) else None


_NEITHER = {float, bool, dict, type(None)}
"""What is neither sizes nor data."""


def _no_dim(asked: str, dim: object) -> ArgumentError:
    return ArgumentError(
        mirrored(f"{asked}(): argument 'dim' (position 1) must be int, not {type(dim).__name__}")
    )


def _not_known_yet(asked: str, tensor: Tensor) -> TraceError:
    kind = f"{tensor.dtype.name}{list(tensor._value.shape)}"
    words = (STATE.trace or tracing.Trace).words
    return TraceError(f"{asked} of {words.tensor} {kind}", words.elements, _INSTEAD.get(asked, words.instead))


_INSTEAD = {
    "numpy()": "compute with Tensors and their functions, not with NumPy's",
    "tensor()": "make one tensor of several with stack() or cat()",
}
"""What else to do where elements are asked for of a trace."""
