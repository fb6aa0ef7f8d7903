"""Autocast: in a block, functions compute in the precision that is best for each, as in `torch.amp`.

In flow `with autocast("cpu"):` or a decorator, out flows `modes.STATE.autocast`, which the functions' detours
(`arming`) and the guards of compiled functions ask. Which function computes in what is the table
`precisions`; the backward pass computes in the dtypes of the forward pass, as it does everywhere.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import ArgumentError, GradientError, mirrored, warn
from retrograd.runtime import cuda
from retrograd.runtime.amp.arming import arm
from retrograd.runtime.device import device, named_kind
from retrograd.runtime.functions.casting import CACHE, SETTINGS
from retrograd.runtime.modes import Decorator, cast_to
from retrograd.runtime.tensor import Tensor

_F = TypeVar("_F", bound=Callable[..., Any])
LOWER = (dtypes.bfloat16, dtypes.float16)
"""What autocast casts to."""


# ---- what this thread has asked for ------------------------------------------------------------------------


def _checked(name: str, **given: tuple[object, type]) -> None:
    """Arguments of these classes, or the words of PyTorch's parser."""
    for place, (parameter, (value, kind)) in enumerate(given.items()):
        if not isinstance(value, kind):
            wanted = "torch.dtype" if kind is DType else kind.__name__
            raise ArgumentError(
                mirrored(
                    f"{name}(): argument '{parameter}' (position {place + 1}) must be {wanted}, not "
                    f"{type(value).__name__}"
                )
            )


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether this thread casts operands on such a device."""
    try:
        return SETTINGS.enabled[device_type]
    except (KeyError, TypeError):
        _checked("is_autocast_enabled", device_type=(device_type, str))
    return SETTINGS.enabled[named_kind(device_type)]


def set_autocast_enabled(device_type: str | bool, enabled: bool | None = None) -> None:
    """Have this thread cast operands on such a device from now on, or no longer; without a device, on a
    GPU."""
    if isinstance(device_type, bool) and enabled is None:
        SETTINGS.enabled["cuda"] = device_type
        return
    _checked("set_autocast_enabled", device_type=(device_type, str), enabled=(enabled, bool))
    SETTINGS.enabled[named_kind(str(device_type))] = bool(enabled)
    _renew()


def get_autocast_dtype(device_type: str) -> DType:
    """What operands on such a device are cast to, where they are cast."""
    _checked("get_autocast_dtype", device_type=(device_type, str))
    return SETTINGS.dtypes[named_kind(device_type)]


def set_autocast_dtype(device_type: str, dtype: DType) -> None:
    """What operands on such a device are cast to from now on, where they are cast."""
    _checked("set_autocast_dtype", device_type=(device_type, str), dtype=(dtype, DType))
    SETTINGS.dtypes[named_kind(device_type)] = dtype
    _renew()


def _renew() -> None:
    dtype = SETTINGS.dtypes["cpu"] if SETTINGS.enabled["cpu"] else None
    if dtype is not None:
        arm()
    cast_to(dtype)


def is_autocast_cache_enabled() -> bool:
    """Whether parameters that have been cast are kept until autocast ends."""
    return SETTINGS.cached


def set_autocast_cache_enabled(enabled: bool, /) -> None:
    """Whether parameters that have been cast are kept from now on."""
    if not isinstance(enabled, bool):
        raise ArgumentError(mirrored(f"enabled must be a bool (got {type(enabled).__name__})"))
    SETTINGS.cached = enabled


def clear_autocast_cache() -> None:
    """Let go of all parameters that have been cast."""
    CACHE.clear()


def autocast_increment_nesting() -> int:
    """One block more; how many this thread is in now."""
    SETTINGS.nesting += 1
    return SETTINGS.nesting


def autocast_decrement_nesting() -> int:
    """One block less; how many this thread is in now."""
    SETTINGS.nesting -= 1
    return SETTINGS.nesting


def is_autocast_available(device_type: str) -> bool:
    """Whether `autocast` takes such a device: the CPU, and a GPU where there is none, which does nothing."""
    return named_kind(device_type) == "cpu" or not cuda.is_available()


# ---- older names -------------------------------------------------------------------------------------------


def _older(name: str, better: str) -> None:
    warn(f"torch.{name} is deprecated. Please use torch.{better} instead.", DeprecationWarning)


def is_autocast_cpu_enabled() -> bool:
    """`is_autocast_enabled("cpu")`."""
    _older("is_autocast_cpu_enabled()", "is_autocast_enabled('cpu')")
    return is_autocast_enabled("cpu")


def set_autocast_cpu_enabled(enabled: bool, /) -> None:
    """`set_autocast_enabled("cpu", enabled)`."""
    _older("set_autocast_cpu_enabled(enabled)", "set_autocast_enabled('cpu', enabled)")
    if not isinstance(enabled, bool):
        raise ArgumentError(mirrored(f"enabled must be a bool (got {type(enabled).__name__})"))
    set_autocast_enabled("cpu", enabled)


def get_autocast_cpu_dtype() -> DType:
    """`get_autocast_dtype("cpu")`."""
    _older("get_autocast_cpu_dtype()", "get_autocast_dtype('cpu')")
    return get_autocast_dtype("cpu")


def set_autocast_cpu_dtype(dtype: DType, /) -> None:
    """`set_autocast_dtype("cpu", dtype)`."""
    _older("set_autocast_cpu_dtype(dtype)", "set_autocast_dtype('cpu', dtype)")
    set_autocast_dtype("cpu", dtype)


def get_autocast_gpu_dtype() -> DType:
    """`get_autocast_dtype("cuda")`."""
    _older("get_autocast_gpu_dtype()", "get_autocast_dtype('cuda')")
    return get_autocast_dtype("cuda")


def set_autocast_gpu_dtype(dtype: DType, /) -> None:
    """`set_autocast_dtype("cuda", dtype)`."""
    _older("set_autocast_gpu_dtype(dtype)", "set_autocast_dtype('cuda', dtype)")
    set_autocast_dtype("cuda", dtype)


# ---- blocks ------------------------------------------------------------------------------------------------


class autocast(Decorator):
    """In the block, or in the decorated function, functions compute in `dtype` or in float32, as PyTorch's
    lists for the CPU say, as `torch.autocast`.

    Parameters are cast once in the outermost block, unless `cache_enabled` is False; one that is changed
    there is cast anew. `enabled=False` leaves it for a time. Where there is no GPU, autocast for it warns
    and does nothing. Raises ArgumentError where there is: its lists are not here.
    """

    def __init__(
        self, device_type: str, dtype: DType | None = None, enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:  # fmt: skip
        if not isinstance(device_type, str):
            raise ArgumentError(mirrored(f"Expected `device_type` of type `str`, got: `{type(device_type)}`"))
        self.fast_dtype = get_autocast_dtype(device_type) if dtype is None else dtype
        self.device = device_type
        if not is_autocast_available(device_type):
            raise GradientError(
                mirrored(f"User specified an unsupported autocast device_type '{device_type}'")
            )
        self._cache_enabled = SETTINGS.cached if cache_enabled is None else cache_enabled
        self._enabled = enabled and self._is_possible()
        self._before: list[tuple[bool, bool, DType]] = []

    def _is_possible(self) -> bool:
        """Whether it can be enabled; else a warning says why not."""
        if self.device == "cuda":
            warn("CUDA is not available or torch_xla is imported. Disabling autocast.")
        elif self.fast_dtype not in LOWER:
            name = self.device.upper()
            warn(
                f"In {name} autocast, but the target dtype is not supported. Disabling autocast.\n"
                f"{name} Autocast only supports dtypes of {', '.join(map(str, LOWER))} currently."
            )
        else:
            return True
        return False

    def _copy(self) -> autocast:
        return self

    def __enter__(self) -> autocast:
        kind = self.device
        self._before.append((SETTINGS.cached, SETTINGS.enabled[kind], SETTINGS.dtypes[kind]))
        autocast_increment_nesting()
        self._set(self._cache_enabled, self._enabled, self.fast_dtype)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if autocast_decrement_nesting() == 0:
            clear_autocast_cache()
        self._set(*self._before.pop())

    def _set(self, cached: bool, enabled: bool, dtype: DType) -> None:
        SETTINGS.cached, SETTINGS.enabled[self.device], SETTINGS.dtypes[self.device] = cached, enabled, dtype
        _renew()

    def __call__(self, function: _F) -> _F:
        if not callable(function):
            raise ArgumentError(
                mirrored(
                    f"autocast()(func) requires a callable, but got {type(function).__name__}. "
                    "Did you mean to use autocast as a context manager? For example:\n"
                    "    with torch.autocast(device_type=...):\n        output = model(input)"
                )
            )
        return super().__call__(function)


def as_now() -> autocast:
    """A block in which this thread casts on the CPU as it does now."""
    return autocast("cpu", SETTINGS.dtypes["cpu"], SETTINGS.enabled["cpu"], SETTINGS.cached)


# ---- custom functions --------------------------------------------------------------------------------------


def custom_fwd(
    fwd: Callable[..., Any] | None = None, *, device_type: str, cast_inputs: DType | None = None
) -> Callable[..., Any]:
    """The `forward` of a Function, for autocast: with `cast_inputs` its operands are cast to that within
    autocast, and it runs outside of it.
    """
    if not isinstance(device_type, str):
        raise ArgumentError(mirrored(f"Expected `device_type` of type `str`, got: `{type(device_type)}`"))
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def forward(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        ctx._dtype = get_autocast_dtype(device_type)
        inside = is_autocast_enabled(device_type)
        ctx._fwd_used_autocast = inside and cast_inputs is None
        if cast_inputs is None or not inside:
            return fwd(ctx, *args, **kwargs)
        with autocast(device_type, enabled=False):
            given, named = _cast(args, device_type, cast_inputs), _cast(kwargs, device_type, cast_inputs)
            return fwd(ctx, *given, **named)

    return forward


def custom_bwd(bwd: Callable[..., Any] | None = None, *, device_type: str) -> Callable[..., Any]:
    """The `backward` of a Function whose `forward` is a `custom_fwd`: it runs in autocast if that did."""
    if not isinstance(device_type, str):
        raise ArgumentError(mirrored(f"Expected `device_type` of type `str`, got: `{type(device_type)}`"))
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def backward(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        with autocast(device_type, enabled=ctx._fwd_used_autocast, dtype=ctx._dtype):
            return bwd(ctx, *args, **kwargs)

    return backward


def _cast(value: Any, kind: str, dtype: DType) -> Any:
    """The Tensors of floating-point numbers on such a device in another dtype, but for those in float64; in
    containers, too."""
    if isinstance(value, Tensor):
        here = value.device.type == kind and value.dtype.is_floating_point
        return value.to(dtype) if here and value.dtype is not dtypes.float64 else value
    if isinstance(value, str | bytes | np.ndarray | device):
        return value
    if isinstance(value, Mapping):
        return {_cast(k, kind, dtype): _cast(v, kind, dtype) for k, v in value.items()}
    if isinstance(value, Iterable):
        found = [_cast(v, kind, dtype) for v in value]
        return type(value)(found) if isinstance(value, list | tuple) else iter(found)
    return value
