"""Checkpoints: parts of a program whose kept values are worked out again in the backward pass, as PyTorch's
`torch.utils.checkpoint`: memory for time.

In flow a function and its operands, out flow its results. With `use_reentrant=False` the tape is the usual
one, but each value that it would keep is a number, its place among those of the function; the first that is
asked for has the function run again, and then all are there (`_Frame`). With `use_reentrant=True` one node
stands for the whole function, and its backward pass is one of its own (`CheckpointFunction`). In a compiled
function a checkpoint is the function itself: what is kept there is chosen by a minimum cut anyway.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from retrograd.compiler.errors import ArgumentError, GradientError, mirrored, user_location, warn
from retrograd.runtime import cuda
from retrograd.runtime.amp.autocasting import as_now
from retrograd.runtime.autograd.differentiation import backward
from retrograd.runtime.autograd.function import Function
from retrograd.runtime.autograd.graph import saved_tensors_hooks
from retrograd.runtime.eager.opnodes import modified
from retrograd.runtime.eager.packing import Packed, packed
from retrograd.runtime.modes import STATE, enable_grad, unkept
from retrograd.runtime.nn.containers import Sequential
from retrograd.runtime.pytree import flatten
from retrograd.runtime.random.generator import default_generator
from retrograd.runtime.tensor import Tensor

__all__ = [
    "CheckpointError",
    "CheckpointFunction",
    "check_backward_validity",
    "checkpoint",
    "checkpoint_sequential",
    "detach_variable",
    "get_device_states",
    "noop_context_fn",
    "set_checkpoint_debug_enabled",
    "set_checkpoint_early_stop",
    "set_device_states",
]

Contexts = tuple[AbstractContextManager[Any], AbstractContextManager[Any]]


class CheckpointError(GradientError):
    """A function that was run again did not keep what it kept the first time."""


def noop_context_fn() -> Contexts:
    """The contexts of the first run and of the second, where they need none."""
    return nullcontext(), nullcontext()


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Callable[[], Contexts] = noop_context_fn,
    determinism_check: str = "default",
    early_stop: bool = True,
    preserve_rng_state: bool = True,
    debug: bool = False,
    **kwargs: Any,
) -> Any:
    """`function(*args, **kwargs)`, of which the tape keeps the operands alone: the backward pass runs it
    again.

    With `preserve_rng_state` it draws the same random numbers then. With `early_stop` the second run ends
    when all is there. `context_fn` gives two contexts, one for each run. Raises CheckpointError where the
    two runs differ, unless `determinism_check` is "none"; with `debug` it says where each run kept what.
    """
    if use_reentrant is None:
        warnings.warn(_UNSAID.format("torch.utils.checkpoint"), stacklevel=2)
        use_reentrant = True
    if use_reentrant and kwargs:
        raise ArgumentError(mirrored("Unexpected keyword arguments: " + ",".join(kwargs)))
    unusual = context_fn is not noop_context_fn or determinism_check != "default" or debug
    if use_reentrant and unusual:
        raise ArgumentError(
            mirrored("Passing `context_fn` or `debug` is only supported when use_reentrant=False.")
        )
    if determinism_check not in _CHECKS:
        raise ArgumentError(
            mirrored(f"determinism_check should be one of {_CHECKS}, but got {determinism_check}")
        )
    if STATE.trace is not None:
        return function(*args, **kwargs)
    if use_reentrant:
        return CheckpointFunction.apply(function, preserve_rng_state, *args)
    first, second = context_fn()
    operands, casting = _Operands(args, kwargs), as_now()
    drawn = default_generator.get_state() if preserve_rng_state else None

    def again() -> None:
        given, named = operands.again()
        with enable_grad(), _drawing(drawn), casting, second:
            function(*given, **named)

    told = debug if _DEBUG[-1] is None else _DEBUG[-1]
    frame = _Frame(again, early_stop and _EARLY[-1], determinism_check == "default", told)
    with saved_tensors_hooks(frame.pack, frame.unpack), first:
        return function(*args, **kwargs)


_UNSAID = (
    "{0}: the use_reentrant parameter should be passed explicitly. Starting in PyTorch 2.9, calling "
    "checkpoint without use_reentrant will raise an exception. use_reentrant=False is recommended, but if "
    "you need to preserve the current default behavior, you can pass use_reentrant=True. Refer to docs for "
    "more details on the differences between the two variants."
)
_CHECKS = ["default", "none"]
_EARLY = [True]
_DEBUG: list[bool | None] = [None]


@contextmanager
def set_checkpoint_early_stop(enable: bool) -> Iterator[None]:
    """In the `with` block checkpoints are made whose second run ends early, or never does."""
    _EARLY.append(enable)
    try:
        yield
    finally:
        _EARLY.pop()


@contextmanager
def set_checkpoint_debug_enabled(enabled: bool | None) -> Iterator[None]:
    """In the `with` block `debug` of checkpoints is this, unless None, whatever they are given."""
    _DEBUG.append(enabled)
    try:
        yield
    finally:
        _DEBUG.pop()


@contextmanager
def _drawing(state: Any) -> Iterator[None]:
    """Random numbers go on from a state in the block, and afterwards from where they were."""
    if state is None:
        yield
        return
    before = default_generator.get_state()
    default_generator.set_state(state)
    try:
        yield
    finally:
        default_generator.set_state(before)


# ---- the usual tape, with places for values ----------------------------------------------------------------


class _Enough(Exception):
    """All that was kept is there again: the second run may end."""


class _Frame:
    """What one checkpoint would have kept."""

    def __init__(self, again: Callable[[], None], early: bool, check: bool, debug: bool) -> None:
        self.again = again
        self.early = early
        self.check = check
        self.debug = debug
        self.lines: tuple[list[str], list[str]] = [], []
        """With `debug`, what the two runs kept, and where."""
        self.types: list[dict[str, Any]] = []
        self.found: dict[int, Tensor] = {}
        """By their places, those that have been worked out again and not been asked for."""

    def pack(self, tensor: Tensor) -> int:
        self._note(0, tensor)
        self.types.append(_type(tensor))
        return len(self.types) - 1

    def unpack(self, place: int) -> Tensor:
        if place not in self.found:
            self._run_again()
        return self.found.pop(place)

    def _note(self, run: int, tensor: Tensor) -> None:
        if self.debug:
            self.lines[run].append(f"  {user_location()}: {_type(tensor)}")

    def _run_again(self) -> None:
        found: list[Tensor] = []

        def keep(tensor: Tensor) -> Tensor:
            self._note(1, tensor)
            found.append(tensor.detach())
            if self.early and len(found) == len(self.types):
                raise _Enough
            return found[-1]

        try:
            with saved_tensors_hooks(keep, lambda tensor: tensor):
                self.again()
        except _Enough:
            pass
        try:
            self._compare(found)
        except CheckpointError as error:
            if self.debug:
                for run, lines in zip(("first", "second"), self.lines):
                    error.add_note("\n".join([f"what the {run} run kept:", *lines]))
            raise
        self.found = dict(enumerate(found))

    def _compare(self, found: list[Tensor]) -> None:
        if len(found) != len(self.types):
            raise CheckpointError(
                mirrored(
                    "torch.utils.checkpoint: A different number of tensors was saved during the original "
                    f"forward and recomputation.\nNumber of tensors saved during forward: {len(self.types)}\n"
                    f"Number of tensors saved during recomputation: {len(found)}."
                ),
                "the function has to do the same whenever it is run",
            )
        differing = [
            f"tensor at position {k}:\nsaved metadata: {then}\nrecomputed metadata: {now}\n"
            for k, (then, now) in enumerate(zip(self.types, map(_type, found)))
            if then != now
        ]
        if differing and self.check:
            raise CheckpointError(
                mirrored(
                    "torch.utils.checkpoint: Recomputed values for the following tensors have different "
                    "metadata than during the forward pass.\n" + "".join(differing) + "."
                ),
                "the function has to do the same whenever it is run",
            )


def _type(tensor: Tensor) -> dict[str, Any]:
    return {"shape": tensor.shape, "dtype": tensor.dtype, "device": tensor.device}


class _Operands:
    """What a function was called with. Within another checkpoint its Tensors are kept as that one says."""

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.args = [_Operand(x) for x in args]
        self.kwargs = {name: _Operand(x) for name, x in kwargs.items()}

    def again(self) -> tuple[list[Any], dict[str, Any]]:
        return [x.again() for x in self.args], {name: x.again() for name, x in self.kwargs.items()}


class _Operand:
    """One operand: itself, or what the hooks around the checkpoint have made of it."""

    def __init__(self, value: Any) -> None:
        self.value: Any = value
        if isinstance(value, Tensor) and value.is_inference():
            raise unkept()
        self.version = value._version if isinstance(value, Tensor) else 0
        if isinstance(value, Tensor) and STATE.savers:
            self.value = packed(value)
            self.requires_grad, self.is_leaf = value.requires_grad, value.is_leaf

    def again(self) -> Any:
        value = self.value
        if isinstance(value, Tensor) and value._version != self.version:
            raise modified(value._value, value._edge, value._version, self.version)
        if not isinstance(value, Packed):
            return value
        tensor: Tensor = value.tensor().detach().requires_grad_(self.requires_grad)
        with enable_grad():
            return tensor if self.is_leaf else tensor.view_as(tensor)


# ---- one node ----------------------------------------------------------------------------------------------


class CheckpointFunction(Function):
    """A function whose backward pass runs it again and then goes back through it."""

    @staticmethod
    def forward(ctx: Any, run_function: Callable[..., Any], preserve_rng_state: bool, *args: Any) -> Any:
        if not any(ctx.needs_input_grad):
            warnings.warn("None of the inputs have requires_grad=True. Gradients will be None", stacklevel=4)
        ctx.run_function = run_function
        ctx.drawn = default_generator.get_state() if preserve_rng_state else None
        ctx.casting = as_now()
        ctx.places = [k for k, x in enumerate(args) if isinstance(x, Tensor)]
        ctx.others = [None if isinstance(x, Tensor) else x for x in args]
        ctx.save_for_backward(*[args[k] for k in ctx.places])
        return run_function(*args)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        if STATE.partial:
            raise GradientError(
                mirrored(
                    "When use_reentrant=True, torch.utils.checkpoint is incompatible with .grad() or "
                    "passing an "
                    "`inputs` parameter to .backward(). To resolve this error, you can either set "
                    "use_reentrant=False, or call .backward() without passing the `inputs` argument."
                )
            )
        operands = list(ctx.others)
        for place, tensor in zip(ctx.places, ctx.saved_tensors):
            operands[place] = tensor.detach().requires_grad_(tensor.requires_grad)
        with enable_grad(), _drawing(ctx.drawn), ctx.casting:
            out = ctx.run_function(*operands)
        outputs = out if isinstance(out, tuple) else (out,)
        pairs = [(x, g) for x, g in zip(outputs, grad_outputs) if isinstance(x, Tensor) and x.requires_grad]
        if not pairs:
            raise GradientError(
                mirrored("none of output has requires_grad=True, this checkpoint() is not necessary")
            )
        backward([x for x, _ in pairs], [g for _, g in pairs])
        return (None, None, *[x.grad if isinstance(x, Tensor) else None for x in operands])


# ---- a row of functions ------------------------------------------------------------------------------------


def checkpoint_sequential(
    functions: Sequential | Iterable[Callable[..., Any]],
    segments: int,
    input: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
) -> Any:
    """The functions, one after the other, in `segments` parts of as many functions each, of which all but the
    last are checkpoints.
    """
    if use_reentrant is None:
        warnings.warn(_UNSAID.format("torch.utils.checkpoint.checkpoint_sequential"), stacklevel=2)
        use_reentrant = True
    row: list[Any] = list(functions.children() if isinstance(functions, Sequential) else functions)
    size = len(row) // segments
    for start in range(0, size * (segments - 1), size) if size else ():
        part = _one_after_the_other(row[start : start + size])
        input = checkpoint(part, input, use_reentrant=use_reentrant, preserve_rng_state=preserve_rng_state)
    return _one_after_the_other(row[size * (segments - 1) :])(input)


def _one_after_the_other(functions: list[Callable[..., Any]]) -> Callable[[Any], Any]:
    def run(input: Any) -> Any:
        for function in functions:
            input = function(input)
        return input

    return run


def detach_variable(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The inputs, the Tensors among them as leaves that require grad where they did."""
    if not isinstance(inputs, tuple):
        raise ArgumentError(
            mirrored(
                f"Only tuple of tensors is supported. Got Unsupported input type: {type(inputs).__name__}"
            )
        )
    return tuple(x.detach().requires_grad_(x.requires_grad) if isinstance(x, Tensor) else x for x in inputs)


def get_device_states(*args: Any) -> tuple[list[int], list[Tensor]]:
    """The numbers of the GPUs where Tensors among the arguments are, nested or not, and the states of their
    generators.
    """
    leaves: list[Any] = []
    flatten(args, leaves, (Tensor,))
    found = sorted({x.get_device() for x in leaves if x.device.type == "cuda"})
    return found, [cuda.get_rng_state(number) for number in found]


def set_device_states(
    devices: Sequence[int], states: Sequence[Tensor], *, device_type: str | None = None
) -> None:
    """Give the generators of these GPUs these states again; nothing where `device_type` is "meta"."""
    if device_type != "meta":
        for number, state in zip(devices, states):
            cuda.set_rng_state(state, number)


def check_backward_validity(inputs: Iterable[Any]) -> None:
    """Warn where nothing can have a gradient."""
    if not any(x.requires_grad for x in inputs if isinstance(x, Tensor)):
        warn("None of the inputs have requires_grad=True. Gradients will be None")
