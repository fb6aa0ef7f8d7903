"""Modes: what this thread is doing — recording gradients or not, looking for anomalies, tracing.

In flow `with` statements and decorators; out flows `STATE`, which every operation asks. To add a mode, add a
field to `State` and a context manager below.
"""

from __future__ import annotations

import ctypes
import functools
import inspect
import threading
import types
from collections.abc import Callable, Generator
from types import TracebackType
from typing import Any, TypeVar, cast

from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import ArgumentError, GradientError, mirrored, warn

_F = TypeVar("_F", bound=Callable[..., Any])


class State(threading.local):
    """One per thread; the class attributes are what a new thread starts with."""

    grad: bool = True
    """Operations on Tensors that require grad are recorded."""
    inference: bool = False
    """New Tensors are inference tensors, and nothing is recorded."""
    claimed: bool = False
    """In inference mode: `enable_grad` says that operations are recorded, which they are not."""
    multithreading: bool = True
    anomaly: bool = False
    """Each recorded node remembers the user's line."""
    check_nan: bool = True
    """With `anomaly`: a NaN in the backward pass is an error."""
    partial: bool = False
    """A backward pass is under way that works out the cotangents of certain Tensors alone."""
    backward: Any = None
    """The `engine.Pass` whose hooks are being called."""
    savers: tuple[tuple[Callable[..., Any], Callable[..., Any]], ...] = ()
    """`pack` and `unpack` of the hooks that take what the tape keeps; the last are asked."""
    watched: bool = False
    """With `anomaly` or `savers`: each new node is looked at, so native calls leave recording to Python."""
    autocast: DType | None = None
    """What operands on the CPU are cast to where the lists of `amp` say so; None outside of it."""
    trace: Any = None
    """The `tracing.Trace` that operations of this thread are written to, or None."""


STATE = State()

# ---- inference tensors -------------------------------------------------------------------------------------

INFERENCE: list[Any] = [0]
"""The version counter of inference tensors, one for all: a Tensor that has it is one."""
inferring = types.CellType(0)
"""Holds how many inference modes are open in any thread: while it is 0, no new Tensor needs to ask."""
INFERRING = ctypes.c_int64(0)
"""The same for native code."""
_counting = threading.Lock()


def fresh_counter() -> list[Any] | None:
    """The version counter that a Tensor made now begins with."""
    return INFERENCE if STATE.inference else None


def is_sealed(counter: list[Any] | None) -> bool:
    """Whether a Tensor with this version counter may not be changed: one of inference, outside that mode."""
    return counter is INFERENCE and not STATE.inference


def unkept() -> GradientError:
    """What is said where the tape would have to keep an inference tensor."""
    return GradientError(
        mirrored(
            "Inference tensors cannot be saved for backward. Please do not use Tensors created in inference "
            "mode in computation tracked by autograd. To work around this, you can make a clone to get a "
            "normal tensor and use it in autograd, or use `torch.no_grad()` instead of "
            "`torch.inference_mode()`."
        )
    )


def _count(step: int) -> None:
    with _counting:
        inferring.cell_contents = INFERRING.value = inferring.cell_contents + step


# ---- autocast ----------------------------------------------------------------------------------------------

casting = types.CellType(0)
"""Holds how many threads cast operands by the lists of `amp`: while it is 0, nobody needs to ask."""


def cast_to(dtype: DType | None) -> None:
    """Have this thread cast to another dtype from now on, or no longer."""
    with _counting:
        casting.cell_contents += (dtype is not None) - (STATE.autocast is not None)
    STATE.autocast = dtype


# ---- modes -------------------------------------------------------------------------------------------------


class Decorator:
    """What `with` enters, and as a decorator each call of a function, or each step of a generator."""

    def _copy(self) -> Decorator:
        """A fresh one, so that a decorated function may call itself."""
        return type(self)()

    def __enter__(self) -> Any:
        raise NotImplementedError

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        raise NotImplementedError

    def __call__(self, function: _F) -> _F:
        if inspect.isgeneratorfunction(function):
            return cast(_F, self._wrap_generator(function))

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self._copy():
                return function(*args, **kwargs)

        return cast(_F, wrapped)

    def _wrap_generator(self, function: Callable[..., Generator[Any, Any, Any]]) -> Callable[..., Any]:
        """The mode holds while the generator runs, not while its caller does."""

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            with self._copy():
                steps = function(*args, **kwargs)
            resume: Callable[[], Any] = functools.partial(next, steps)
            while True:
                try:
                    with self._copy():
                        item = resume()
                except StopIteration as stop:
                    return stop.value
                try:
                    sent = yield item
                    resume = functools.partial(steps.send, sent)
                except GeneratorExit:
                    steps.close()
                    raise
                except BaseException as error:
                    resume = functools.partial(steps.throw, error)

        return wrapped


class _Mode(Decorator):
    """Sets one field of STATE."""

    value: bool

    def __init__(self) -> None:
        self._before: list[bool] = []

    @property
    def field(self) -> str:
        """Which one."""
        raise NotImplementedError

    def __enter__(self) -> None:
        self._before.append(getattr(STATE, self.field))
        setattr(STATE, self.field, self.value)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        setattr(STATE, self.field, self._before.pop())


class _Recording(_Mode):
    """Whether operations are recorded; in inference mode, only what is said of that."""

    @property
    def field(self) -> str:
        return "claimed" if STATE.inference else "grad"

    def __enter__(self) -> None:
        if STATE.inference:
            super().__enter__()
            return
        self._before.append(STATE.grad)
        STATE.grad = self.value


class no_grad(_Recording):
    """Nothing inside is recorded, as `torch.no_grad`. `with no_grad():`, `@no_grad()` or `@no_grad`."""

    value = False

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        mode = super().__new__(cls)
        if function is None:
            return mode
        mode.__init__()  # type: ignore[misc]  # the bare decorator: Python calls no __init__ on what is returned
        return mode(function)


class enable_grad(no_grad):
    """Recording again inside `no_grad`, as `torch.enable_grad`."""

    value = True


class _Chosen(_Mode):
    """A mode whose value is an argument."""

    def __init__(self, mode: bool = True) -> None:
        super().__init__()
        self.value = bool(mode)

    def _copy(self) -> _Mode:
        return type(self)(self.value)


class set_grad_enabled(_Recording, _Chosen):
    """Recording on or off at once, and until the end of the block if used as one; as
    `torch.set_grad_enabled`.
    """

    def __init__(self, mode: bool) -> None:
        if not isinstance(mode, bool):
            raise ArgumentError(
                mirrored(
                    "set_grad_enabled(): argument 'enabled' (position 1) must be bool, not "
                    f"{type(mode).__name__}"
                )
            )
        self._before, self.value = [], mode
        _Recording.__enter__(self)

    def __enter__(self) -> None:
        """The state before the call is what comes back at the end."""
        setattr(STATE, self.field, self.value)

    def __call__(self, function: _F) -> _F:
        self.__exit__(None, None, None)  # a decorator decides for the function, not for the lines after it
        return super().__call__(function)

    def _copy(self) -> _Mode:
        mode: _Mode = enable_grad() if self.value else no_grad()
        return mode

    def __repr__(self) -> str:
        return f"torch.autograd.grad_mode.set_grad_enabled(mode={self.value})"


class inference_mode(_Chosen):
    """Nothing is recorded, and what is made are inference tensors, which the tape never keeps and nobody
    changes outside, as `torch.inference_mode`; with False, the normal mode, recording.
    """

    field = "inference"

    def __new__(cls, mode: Any = True) -> Any:
        return super().__new__(cls) if isinstance(mode, bool) else cls()(mode)

    def __enter__(self) -> None:
        super().__enter__()
        self._before += [STATE.grad, STATE.claimed]
        STATE.grad, STATE.claimed = not self.value, False
        _count(self.value)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _count(-self.value)
        STATE.claimed, STATE.grad = self._before.pop(), self._before.pop()
        super().__exit__(kind, error, trace)


class set_multithreading_enabled(_Chosen):
    """Whether backward passes may use threads of their own, at once, and until the end of the block if used
    as one, as `torch.autograd.set_multithreading_enabled`. They run in the thread that asks in any case.
    """

    field = "multithreading"

    def __init__(self, mode: bool) -> None:
        if not isinstance(mode, bool):
            raise ArgumentError(
                mirrored(
                    "set_multithreading_enabled(): argument 'enabled' (position 1) must be bool, not "
                    f"{type(mode).__name__}"
                )
            )
        super().__init__(mode)
        super().__enter__()

    def __enter__(self) -> None:
        """The state before the call is what comes back at the end."""


class detect_anomaly(_Mode):
    """Remember the line of each operation; with `check_nan`, a NaN that a backward step makes is an error
    naming it.
    """

    field, value = "anomaly", True

    def __init__(self, check_nan: bool = True) -> None:
        super().__init__()
        self.check_nan = check_nan
        warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should only be "
            "enabled for debugging."
        )

    def _copy(self) -> _Mode:
        return set_detect_anomaly(True, self.check_nan)

    def __enter__(self) -> None:
        super().__enter__()
        self._before.append(STATE.check_nan)
        STATE.check_nan = self.check_nan
        watch()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        STATE.check_nan = self._before.pop()
        super().__exit__(kind, error, trace)
        watch()


class set_detect_anomaly(detect_anomaly):
    """Anomaly mode on or off at once, and until the end of the block if used as one."""

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self._before = []
        self.check_nan = check_nan
        self.value = bool(mode)
        super().__enter__()

    def _copy(self) -> _Mode:
        return type(self)(self.value, self.check_nan)

    def __enter__(self) -> None:
        """Already done by the call."""


def watch() -> None:
    """Work out `STATE.watched` anew, where what it says has changed."""
    STATE.watched = STATE.anomaly or bool(STATE.savers)


def is_grad_enabled() -> bool:
    return STATE.grad or STATE.claimed


def is_inference_mode_enabled() -> bool:
    """Whether this is inside `inference_mode`."""
    return STATE.inference


def is_multithreading_enabled() -> bool:
    return STATE.multithreading and not STATE.inference


def is_anomaly_enabled() -> bool:
    """Whether anomalies are looked for."""
    return STATE.anomaly


def is_anomaly_check_nan_enabled() -> bool:
    """Whether a NaN in a backward pass is an anomaly."""
    return STATE.check_nan
