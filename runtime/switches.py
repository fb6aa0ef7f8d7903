"""Switches of the whole process that PyTorch's programs set: determinism, the default tensor type, anomaly
mode.

In flow what a program asks for, out flows what was asked for last. Results here are the same on each run and
on any number of threads, so a program that asks for deterministic algorithms has them already.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, GradientError, mirrored
from retrograd.runtime import converted
from retrograd.runtime.autograd import set_detect_anomaly
from retrograd.runtime.functions.inspecting import TYPES
from retrograd.runtime.native.threads import default_threads

_NAMES = ("default", "warn", "error")
_mode = 0
"""An index of `_NAMES`: what PyTorch would do about an algorithm that is not deterministic."""


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Ask for deterministic algorithms: all of them are."""
    global _mode
    if not isinstance(mode, bool):
        raise ArgumentError(
            mirrored(
                "_set_deterministic_algorithms(): argument 'mode' (position 1) must be bool, not "
                f"{type(mode).__name__}"
            )
        )
    _mode = (1 if warn_only else 2) if mode else 0


def are_deterministic_algorithms_enabled() -> bool:
    """Whether they were asked for."""
    return _mode > 0


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """Whether a warning was asked for where there is none."""
    return _mode == 1


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """The same by a number or a word: 0 or "default", 1 or "warn", 2 or "error"."""
    global _mode
    if isinstance(debug_mode, str):
        if debug_mode not in _NAMES:
            text = "invalid value of debug_mode, expected one of `default`, `warn`, `error`, but got "
            raise ArgumentError(mirrored(f"{text}{debug_mode}"))
        _mode = _NAMES.index(debug_mode)
        return
    if not isinstance(debug_mode, int):
        raise ArgumentError(mirrored(f"debug_mode must be str or int, but got {type(debug_mode)}"))
    if debug_mode not in (0, 1, 2):
        raise ArgumentError(
            mirrored(f"invalid value of debug_mode, expected 0, 1, or 2, but got {debug_mode}")
        )
    _mode = debug_mode


def get_deterministic_debug_mode() -> int:
    """What was asked for last, as a number."""
    return _mode


def set_default_tensor_type(t: Any) -> None:
    """The dtype of the tensor type, `FloatTensor` or its name, becomes the default dtype."""
    name = t.removeprefix("torch.") if isinstance(t, str) else getattr(t, "__name__", "")
    if name not in TYPES:
        raise ArgumentError(
            mirrored("invalid type object: only floating-point types are supported as the default type")
        )
    kind = TYPES[name].dtype
    if not kind.is_floating_point:
        raise ArgumentError(mirrored("only floating-point types are supported as the default type"))
    dtypes.set_default_dtype(kind)


# ---- warnings and threads ----------------------------------------------------------------------------------

_interop: int | None = None
"""Threads that were asked for, for operations side by side."""


def set_warn_always(b: bool, /) -> None:
    """Ask for each warning each time. Here Python's filters say which are shown, but for what is warned of
    once alone: that a Tensor which requires grad becomes a number."""
    if not isinstance(b, bool):
        raise GradientError(mirrored(f"setWarnOnlyOnce expects a bool, but got {type(b).__name__}"))
    converted.set_always(b)


def is_warn_always_enabled() -> bool:
    """Whether each warning was asked for each time."""
    return converted.always()


def set_num_interop_threads(count: int, /) -> None:
    """Ask for so many threads for operations side by side, once. Here one operation follows the other, on
    the threads of `set_num_threads`."""
    global _interop
    if not isinstance(count, int):
        raise GradientError(
            mirrored(f"set_num_interop_threads expects an int, but got {type(count).__name__}")
        )
    if count <= 0:
        raise GradientError(mirrored("set_num_interop_threads expects a positive integer"))
    if _interop is not None:
        raise GradientError(
            mirrored(
                "Error: cannot set number of interop threads after parallel work has started or "
                "set_num_interop_threads called"
            )
        )
    _interop = count


def get_num_interop_threads() -> int:
    """How many were asked for; else as many as the system has for this process."""
    return _default_threads() if _interop is None else _interop


_default_threads = cache(default_threads)


# ---- modes of this thread ----------------------------------------------------------------------------------


def set_anomaly_enabled(mode: bool, check_nan: bool = True) -> None:
    """Look for anomalies in backward passes from now on, or no longer: see `autograd.detect_anomaly`."""
    set_detect_anomaly(mode, check_nan)
