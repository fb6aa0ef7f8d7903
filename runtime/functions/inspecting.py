"""Questions about tensors and dtypes: `is_tensor`, `result_type`, `finfo`; and the legacy typed constructors.

Nothing here computes. A new legacy type needs nothing here: they are made from the table in `tensor`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import ArgumentError, mirrored
from retrograd.compiler.record import record
from retrograd.runtime.device import CPU
from retrograd.runtime.eager.instant import calls
from retrograd.runtime.eager.moving import get_device, is_pinned
from retrograd.runtime.eager.promotion import common_dtype
from retrograd.runtime.functions.creation import filled
from retrograd.runtime.functions.from_data import array_of
from retrograd.runtime.functions.public import public
from retrograd.runtime.functions.telling import wrong
from retrograd.runtime.modes import INFERENCE
from retrograd.runtime.names import LEGACY, legacy_name
from retrograd.runtime.tensor import Tensor, legacy_shape, new


@public("is_tensor")
def is_tensor(obj: object) -> bool:
    return isinstance(obj, Tensor)


@public("numel")
def numel(input: Tensor) -> int:
    """How many elements there are."""
    return input.numel()


@public("is_floating_point")
def is_floating_point(input: Tensor) -> bool:
    return input.dtype.is_floating_point


@public("is_nonzero", method=True)
def is_nonzero(input: Tensor) -> bool:
    """Whether the only element differs from zero."""
    return bool(input)


@public("is_same_size", method=True, replay="answer")
def is_same_size(input: Tensor, other: Tensor) -> bool:
    return input.shape == other.shape


@public("is_inference", method=True)
def is_inference(input: Tensor) -> bool:
    """Whether it was made in inference mode."""
    return input._counter is INFERENCE


@public("is_signed", method=True)
def is_signed(input: Tensor) -> bool:
    return input.dtype.is_signed


@public("to_dense", method=True, function=False)
def to_dense(input: Tensor, dtype: object = None, *, masked_grad: bool | None = None) -> Tensor:
    """The operand itself, which is dense already; in another dtype, if asked."""
    return input if dtype is None else input.to(dtype)


def _answer(name: str, value: object, what: str, function: bool = False) -> None:
    """A question that has one answer for all tensors, as a method, or with `function` as a function, too."""

    @public(name, method=True, function=function)
    def answer(input: Tensor) -> Any:
        return value

    answer.__doc__ = what


_answer("is_conj", False, "Never: a conjugate is computed at once.", function=True)
_answer("is_neg", False, "Never: negation is computed at once.", function=True)


def _flag(name: str, value: bool) -> None:
    @public(name, attribute=True, function=False)
    def flag(input: Tensor) -> bool:
        return value

    flag.__doc__ = f"Always {value}."


NEVER = (
    "is_sparse", "is_sparse_csr", "is_quantized", "is_mkldnn", "is_nested", "is_meta", "is_ipu", "is_maia",
    "is_mps", "is_mtia", "is_vulkan", "is_xla", "is_xpu",
)  # fmt: skip
"""What no Tensor here is."""
for _name in NEVER:
    _flag(_name, False)


public("get_device")(get_device)
public("is_pinned")(is_pinned)


@public("ndimension", method=True, function=False)
def ndimension(input: Tensor) -> int:
    """How many axes there are."""
    return input.ndim


@public("typename", around=partial(calls.by_dtype, legacy_name))
def typename(obj: object) -> str:
    """The legacy name of a tensor's type, or that of a class."""
    if isinstance(obj, Tensor):
        return legacy_name(obj.dtype, obj.device.type)
    kind = obj if isinstance(obj, type) else type(obj)
    home = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return f"{home}{kind.__qualname__}"


@public("result_type", replay="answer")
def result_type(tensor1: Any, tensor2: Any) -> DType:
    """The dtype of the sum of two tensors or numbers."""
    return common_dtype((tensor1, tensor2))


@public("can_cast", around=partial(calls.known, 2))
def can_cast(from_: object, to: object) -> bool:
    """Whether values of one dtype may be written into a tensor of another: never into a lower category."""
    return dtypes.dtype(from_).category <= dtypes.dtype(to).category


@record
class finfo:
    """The limits of a floating dtype, as `torch.finfo`."""

    bits: int
    eps: float
    max: float
    min: float
    tiny: float
    resolution: float
    dtype: str

    @property
    def smallest_normal(self) -> float:
        return self.tiny

    def __repr__(self) -> str:
        return (
            f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, eps={self.eps:g}, "
            f"smallest_normal={self.tiny:g}, tiny={self.tiny:g}, dtype={self.dtype})"
        )


@record
class iinfo:
    """The limits of an integer dtype, as `torch.iinfo`."""

    bits: int
    max: int
    min: int
    dtype: str

    def __repr__(self) -> str:
        return f"iinfo(min={self.min:g}, max={self.max:g}, dtype={self.dtype})"


@public("finfo", around=partial(calls.known, 1))
def _finfo(type: object = None) -> finfo:
    kind = dtypes.default_dtype() if type is None else dtypes.dtype(type)
    if kind.is_complex:
        kind = kind.to_real()
    if not kind.is_floating_point:
        raise ArgumentError(
            f"finfo({kind})",
            mirrored(
                "torch.finfo() requires a floating point input type. Use torch.iinfo to handle 'torch.finfo'"
            ),
        )
    f = dtypes.limits(kind)
    eps, most, least, tiny, resolution = (float(x) for x in (f.eps, f.max, f.min, f.tiny, f.resolution))
    decimal = float(f"{resolution:.0e}")  # a power of ten, which the dtype itself rounds
    return finfo(kind.bits, eps, most, least, tiny, decimal, kind.torch_name)


@public("iinfo", around=partial(calls.known, 1))
def _iinfo(type: object) -> iinfo:
    kind = dtypes.dtype(type)
    if kind.category != 1:
        words = "torch.iinfo() requires an integer input type. Use torch.finfo to handle 'torch.iinfo'"
        raise ArgumentError(f"iinfo({kind})", mirrored(words))
    i: Any = np.iinfo(kind.numpy.name)
    return iinfo(kind.bits, int(i.max), int(i.min), kind.torch_name)


# ---- FloatTensor and its siblings --------------------------------------------------------------------------


class _Legacy(type):
    """What Tensors of one dtype were once classes of: to call, and to ask by `isinstance`."""

    dtype: DType

    def __call__(cls, *data: Any, **named: Any) -> Tensor:
        if named:
            error = wrong(cls.__name__, data, named)
            raise error or ArgumentError(f"{cls.__name__}({', '.join(named)})", "it takes data alone")
        shape = legacy_shape(data or (0,))
        return new(array_of(data[0], cls.dtype)) if shape is None else filled(shape, 0, cls.dtype)

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, Tensor) and instance.dtype is cls.dtype and instance.device == CPU


def _legacy(name: str, kind: DType) -> _Legacy:
    what = f"A tensor of {kind}: of the data, or of the sizes given (then zeros)."
    return _Legacy(name, (), {"dtype": kind, "__doc__": what, "__module__": "retrograd"})


TYPES = {
    f"{name}Tensor": _legacy(f"{name}Tensor", kind) for name, kind in LEGACY.items() if not kind.is_complex
}
"""Under their public names."""


# ---- layouts -----------------------------------------------------------------------------------------------


class layout:
    """How elements lie in memory, as `torch.layout`: here always `strided`."""

    def __repr__(self) -> str:
        return "torch.strided"


strided = layout()


@public("layout", attribute=True, function=False)
def _layout(input: Tensor) -> layout:
    return strided
