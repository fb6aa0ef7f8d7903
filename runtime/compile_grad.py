"""`compile_grad`: a function of Tensors as native code, with its gradients, and a view of every stage.

In flow a Python function; out flows a `CompiledFunction`, which is called like it. Each call is sorted by
what its arguments are (`pytree.flatten`) to an `Entry`, traced and compiled at the first such call, and anew
when what the function reads from outside has changed. Here are only the entrances: tracing is in
`specialise`, differentiating and running in `recording`. A new way to ask for derivatives is a method of
`CompiledFunction`.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Sequence
from operator import getitem
from typing import Any, Generic, NamedTuple, ParamSpec, TypeVar, overload

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, GradientError
from retrograd.compiler.ir.graph import Array
from retrograd.runtime import tracing
from retrograd.runtime.arguments import Parameters, Wrt, floating, requiring
from retrograd.runtime.dispatch import direct
from retrograd.runtime.guards import Guards, reads
from retrograd.runtime.inlined import traced_vjp
from retrograd.runtime.modes import STATE
from retrograd.runtime.program import NativeProgram
from retrograd.runtime.pytree import Identity, Structure, identities, unflatten
from retrograd.runtime.recording import LOCK
from retrograd.runtime.specialise import Call, Specialisation, specialise, unboxed
from retrograd.runtime.stages import Program
from retrograd.runtime.tensor import Tensor
from retrograd.runtime.watching import Read, watch

P = ParamSpec("P")
R = TypeVar("R")
_VARIANTS = 8
"""Specialisations kept for one kind of call, for different worlds outside."""
_MANY = 32
"""Specialisations of one function from which on the user is told that there are so many."""


class Entry(NamedTuple):
    """A specialisation, and how what it computes is given back."""

    specialisation: Specialisation
    gradients: Structure
    """Of the gradients, each leaf one of the recording's wanted inputs."""
    box: Callable[[Array], Any]
    held: list[Identity]
    """The objects among the arguments."""
    fast: list[Fast | None]
    """The native callable, if it has been made; None if there is none."""


class Fast(NamedTuple):
    """The last call of some kind, as a native callable."""

    call: Callable[..., Any]
    grad: bool
    """Whether operations were recorded, which decided the code."""
    history: bool
    """Whether the results have a history."""
    names: tuple[str, ...]
    """Of the arguments that are passed by name."""
    guards: Guards | None
    """What Python has to look after; None where native code does."""
    simple: bool
    """Whether there are neither names nor guards."""


class CompiledFunction(Generic[P, R]):
    """A function that is compiled, together with its derivative, anew for each kind of arguments.

    Bound to an object it is another one of these, which shares all but `_first`.
    """

    __slots__ = ("__dict__", "__weakref__", "_first")

    __wrapped__: Callable[P, R]
    _first: tuple[Any, ...]
    """The object that a method is bound to."""

    def __init__(self, function: Callable[P, R], wrt: Wrt, static: Sequence[str], has_aux: bool) -> None:
        functools.update_wrapper(self, function, updated=())
        self._parameters = Parameters(function, wrt, static)
        self._has_aux = has_aux
        self._first = ()
        self._table: dict[object, list[Entry]] = {}
        self._fast_value: Fast | None = None
        self._fast_gradient: Fast | None = None

    def __get__(self, instance: object, owner: type | None = None) -> CompiledFunction[..., R]:
        if instance is None:
            return self
        return self._bound_to(instance)

    def _bound_to(self, *first: Any) -> CompiledFunction[..., R]:
        """This function, with these arguments before all others."""
        bound: CompiledFunction[..., R] = object.__new__(CompiledFunction)
        bound.__dict__ = self.__dict__
        bound._first = first
        return bound

    def __repr__(self) -> str:
        return f"<compiled {self._parameters.name}{self._parameters.signature}>"

    @property
    def specialisations(self) -> int:
        """How many there are."""
        return sum(map(len, self._table.values()))

    # ---- the entrances -------------------------------------------------------------------------------------

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The value, computed natively; results of Tensors that require grad can be differentiated."""
        fast = self._fast_value
        if fast is not None and fast.simple and not kwargs and fast.grad is STATE.grad:
            if not (fast.history and STATE.anomaly):
                first = self._first
                return fast.call(*first, *args) if first else fast.call(*args)  # type: ignore[no-any-return]  # its result
        elif fast is not None and _applies(fast, kwargs):
            return fast.call(*self._first, *args, *kwargs.values())  # type: ignore[no-any-return]  # its result
        return self._value(len(self._first), (*self._first, *args), kwargs)

    def _value(self, bound: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        if STATE.trace is not None:
            return self.__wrapped__(*args, **kwargs)
        entry, leaves, structure = self._entry(False, bound, args, kwargs)
        found, recording = entry.specialisation, entry.specialisation.recording
        arrays = entry.box is unboxed
        history = not arrays and STATE.grad and bool(recording.differentiable and recording.wanted)
        if not (history and recording.refusal):
            program = recording.program
            if history:
                program = recording.joint if recording.scalar else recording.forward
            self._fast_value = self._fast(
                entry, program, structure, leaves, [found.result], CompiledFunction._value, bound, history
            )
        value: R = found.call_arrays(leaves) if arrays else found.call(leaves)
        return value

    def value_and_grad(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """The value and its gradients by the arguments `wrt`, from one native program.

        The value must be a scalar (with `has_aux`, the first of two results). Gradients come in the structure
        of the arguments: one for each, in their order, then those of captured Tensors that require grad in
        the order of their use; if there is only one and `wrt` is no sequence, it comes bare. Arrays in give
        arrays and a float out. Raises GradientError for a value that is no scalar or does not depend on any
        of them.
        """
        fast = self._fast_gradient
        if fast is not None and fast.simple and not kwargs and fast.grad is STATE.grad:
            first = self._first
            return fast.call(*first, *args) if first else fast.call(*args)  # type: ignore[no-any-return]  # a pair
        if fast is not None and _applies(fast, kwargs):
            return fast.call(*self._first, *args, *kwargs.values())  # type: ignore[no-any-return]  # a pair
        return self._value_and_grad(len(self._first), (*self._first, *args), kwargs)

    def _value_and_grad(self, bound: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        if STATE.trace is not None:
            return self._traced_value_and_grad(bound, args, kwargs)
        entry, leaves, structure = self._entry(True, bound, args, kwargs)
        found = entry.specialisation
        self._check_scalar(found)
        results = [found.result, entry.gradients]
        self._fast_gradient = self._fast(
            entry, found.recording.joint, structure, leaves, results, CompiledFunction._value_and_grad, bound
        )
        outputs = found.recording.joint(found.arrays(leaves))
        count = len(found.recording.outputs)
        value = found.results(outputs[:count], leaves, entry.box)
        return value, unflatten(entry.gradients, map(entry.box, outputs[count:]))

    def grad(self, *args: Any, **kwargs: Any) -> Any:
        """The gradients alone, as `value_and_grad` gives them; with `has_aux`, `(gradients, aux)`."""
        value, gradients = self.value_and_grad(*args, **kwargs)
        return (gradients, value[1]) if self._has_aux else gradients

    def vjp(self, *args: Any, **kwargs: Any) -> tuple[Any, Callable[[Any], Any]]:
        """The result, and a function from a cotangent, structured like the result, to gradients."""
        bound, args = len(self._first), (*self._first, *args)
        if STATE.trace is not None:
            return self._traced_vjp(bound, args, kwargs)
        entry, leaves, _ = self._entry(True, bound, args, kwargs)
        found = entry.specialisation
        self._check_differentiable(found.recording.differentiable)
        outputs, kept = found.recording.start(found.arrays(leaves))

        def pullback(cotangent: Any) -> Any:
            gradients = found.recording.finish(kept, found.cotangents(cotangent))
            return unflatten(entry.gradients, map(entry.box, gradients))

        return found.results(outputs, leaves, entry.box), pullback

    def trace(self, *args: Any, **kwargs: Any) -> Program:
        """The stages of the program for such arguments. It is compiled, and not run."""
        entry, _, _ = self._entry(True, len(self._first), (*self._first, *args), kwargs)
        return Program(entry.specialisation.recording)

    def _fast(
        self,
        entry: Entry,
        program: NativeProgram,
        structure: Structure,
        leaves: list[Any],
        results: list[Structure],
        slow: Callable[[CompiledFunction[..., Any], int, tuple[Any, ...], dict[str, Any]], Any],
        bound: int,
        history: bool = False,
    ) -> Fast | None:
        """The native callable for calls like this one, if there can be one."""
        if entry.fast:
            return entry.fast[0]
        names, unbound = structure[2][1][1], self._bound_to()

        def miss(*args: Any) -> Any:
            positional = len(args) - len(names)
            return slow(unbound, bound, args[:positional], dict(zip(names, args[positional:])))

        found = entry.specialisation
        watched = watch([*found.guards.reads, *modes_read()])
        call = direct(
            found,
            program,
            structure,
            leaves,
            results,
            entry.box is Tensor,
            miss,
            watched,
            found.recording if history else None,
        )
        guards = Guards([*found.guards.reads, *modes_read()], ()) if watched is None else None
        simple = not names and guards is None
        fast = Fast(call, STATE.grad, history, names, guards, simple) if call is not None else None
        entry.fast.append(fast)
        return fast

    # ---- which specialisation ------------------------------------------------------------------------------

    def _entry(
        self, gradient: bool, bound: int, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Entry, list[Any], Structure]:
        """The entry for these arguments, made if need be, and their leaves and structure. So many of them,
        the first, the user does not see."""
        leaves: list[Any] = []
        structure = self._parameters.structure(args, kwargs, leaves)
        kinds = tuple(map(kind_of, leaves))
        key = (gradient or STATE.grad, gradient, dtypes.default_dtype(), bound, structure, kinds)
        for entry in self._table.get(key, ()):
            if entry.specialisation.guards.hold():
                return entry, leaves, structure
        with LOCK:
            for entry in self._table.get(key, ()):
                if entry.specialisation.guards.hold():
                    return entry, leaves, structure
            entry = self._make(gradient, bound, structure, leaves)
            self._enter(key, entry)
        return entry, leaves, structure

    def _make(self, gradient: bool, bound: int, structure: Structure, leaves: list[Any]) -> Entry:
        """Trace for these arguments."""
        parameters = self._parameters
        arguments = parameters.named(structure)
        held = [(argument.name, i) for argument in arguments for i in identities(argument.structure)]
        outside = reads(self.__wrapped__, [(name, i.value) for name, i in held])
        call = Call(
            parameters.name,
            arguments,
            structure,
            leaves,
            parameters.wanted(arguments, leaves, bound) if gradient else requiring(leaves),
            captured=parameters.wrt is None or not gradient,
            grad=gradient or STATE.grad,
            first_only=gradient and self._has_aux,
            reads=outside,
        )
        found = specialise(self.__wrapped__, call)
        if gradient and not found.recording.wanted:
            call = call._replace(tracked=floating(leaves))
            found = specialise(self.__wrapped__, call)
        captured = len(found.recording.wanted) - sum(call.tracked)
        tensors = not leaves or any(isinstance(x, Tensor) for x in leaves)
        return Entry(
            found,
            parameters.gradients(arguments, call.tracked, captured),
            Tensor if tensors else unboxed,
            [i for _, i in held],
            [],
        )

    def _enter(self, key: object, entry: Entry) -> None:
        """Keep the entry, the newest first; those whose objects are no more are dropped."""
        table = self._table
        for old in [k for k, entries in table.items() if any(i.gone for e in entries for i in e.held)]:
            del table[old]
        table[key] = [entry, *table.get(key, ())][:_VARIANTS]
        if sum(map(len, table.values())) == _MANY:
            warnings.warn(
                f"{self._parameters.name} was compiled {_MANY} times, for different shapes or constants: "
                "pass numbers that change as floats or Tensors",
                RuntimeWarning,
                stacklevel=4,
            )

    # ---- checks --------------------------------------------------------------------------------------------

    def _check_differentiable(self, places: Sequence[int]) -> None:
        if not places:
            raise GradientError(
                f"the gradient of {self._parameters.name}",
                "its result does not depend on what the gradient is taken by, "
                "or only through detach(), integers, comparisons or operations under no_grad()",
                "name the arguments in wrt=..., or call requires_grad_() on the Tensors",
            )

    def _check_scalar(self, found: Specialisation) -> None:
        recording = found.recording
        if recording.scalar:
            return
        self._check_differentiable(recording.differentiable)
        raise self._not_scalar(
            ", ".join(str(recording.graph.outputs[k].type) for k in recording.differentiable)
        )

    def _not_scalar(self, shown: str) -> GradientError:
        return GradientError(
            f"value_and_grad of {self._parameters.name}, which returns {shown}",
            "a gradient without a cotangent is that of one scalar",
            "return one scalar, with compile_grad(has_aux=True) a scalar and anything else, or use vjp()",
        )

    # ---- inside another trace ------------------------------------------------------------------------------

    def _traced_vjp(
        self, bound: int, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, Callable[[Any], Any]]:
        """The result and the pullback as part of the caller's graph."""
        leaves: list[Any] = []
        structure = self._parameters.structure(args, kwargs, leaves)
        arguments = self._parameters.named(structure)
        tracked = self._parameters.wanted(arguments, leaves, bound)
        if not any(tracked):
            tracked = floating(leaves)
        result, pullback = traced_vjp(self.__wrapped__, structure, leaves, tracked)
        gradients = self._parameters.gradients(arguments, tracked, 0)
        return result, lambda cotangent: unflatten(gradients, iter(pullback(cotangent)))

    def _traced_value_and_grad(
        self, bound: int, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, Any]:
        result, pullback = self._traced_vjp(bound, args, kwargs)
        loss = result[0] if self._has_aux else result
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            raise self._not_scalar(repr(loss))
        return result, pullback((loss * 0 + 1, None) if self._has_aux else None)


def _applies(fast: Fast, kwargs: dict[str, Any]) -> bool:
    """Whether the native callable may be tried, arguments by name and all."""
    if fast.grad is not STATE.grad or (fast.history and STATE.anomaly) or tuple(kwargs) != fast.names:
        return False
    return fast.guards is None or fast.guards.hold()


def modes_read() -> list[Read]:
    """What native calls are made for: nobody is tracing, and this is the default type."""
    return [
        Read(getitem, vars(tracing), "depth", 0, "depth"),
        Read(getitem, vars(dtypes), "_default", dtypes.default_dtype(), "default dtype"),
    ]


def kind_of(leaf: Any) -> object:
    """What of a leaf decides the code: part of a key."""
    if isinstance(leaf, Tensor):
        value = leaf._value
        return value.dtype, value.shape, leaf._requires_grad if leaf._view is None else leaf.requires_grad
    return (leaf.dtype, leaf.shape) if isinstance(leaf, np.ndarray) else float


@overload
def compile_grad(function: Callable[P, R], /) -> CompiledFunction[P, R]: ...
@overload
def compile_grad(
    *, wrt: Wrt = None, static: str | Sequence[str] = (), has_aux: bool = False
) -> Callable[[Callable[P, R]], CompiledFunction[P, R]]: ...


def compile_grad(
    function: Callable[..., Any] | None = None,
    /,
    *,
    wrt: Wrt = None,
    static: str | Sequence[str] = (),
    has_aux: bool = False,
) -> Any:
    """Compile a function of Tensors together with its gradient. Usable bare or with arguments.

    `wrt` names the arguments (by name or position) by which `value_and_grad`, `grad` and `vjp` differentiate;
    without it, the Tensors that require grad, captured ones included; where there are none, all floating
    arrays. Arguments in `static` are built into the code, as ints, bools, strings and None always are; Python
    floats else are run-time values. With `has_aux` the function returns a scalar and something else, which is
    passed through.
    """
    if function is None:
        return functools.partial(_decorated, wrt=wrt, static=static, has_aux=has_aux)
    return _decorated(function, wrt, static, has_aux)


def _decorated(
    function: Any, wrt: Wrt, static: str | Sequence[str], has_aux: bool
) -> CompiledFunction[..., Any]:
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise ArgumentError(
            f"compile_grad of {function.__name__}",
            "coroutines and generators cannot be traced",
            "return the values",
        )
    if not callable(function):
        raise ArgumentError(
            f"compile_grad({function!r})",
            "it takes a function",
            "write @compile_grad or @compile_grad(wrt=...)",
        )
    return CompiledFunction(function, wrt, (static,) if isinstance(static, str) else static, has_aux)
