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
from collections.abc import Callable, Iterable, Sequence
from types import MethodType
from typing import Any, Generic, ParamSpec, TypeVar, cast, overload

import numpy as np

from retrograd.compiler.errors import ArgumentError, GradientError
from retrograd.compiler.ir.graph import Array
from retrograd.compiler.record import NamedTuple
from retrograd.compiler.uncollected import uncollected
from retrograd.runtime.autograd.blame import nan_error, origin
from retrograd.runtime.compiled.arguments import Parameters, Wrt, floating, requiring
from retrograd.runtime.compiled.dispatch import MISSED, direct, elsewhere, variant
from retrograd.runtime.compiled.entries import (
    NO_ANOMALY,
    Entries,
    Entry,
    kind_of_call,
    modes_of_values,
    modes_read,
)
from retrograd.runtime.compiled.guards import reads
from retrograd.runtime.compiled.inlined import traced_vjp
from retrograd.runtime.compiled.recording import LOCK, Recording
from retrograd.runtime.compiled.specialise import Call, Specialisation, unboxed
from retrograd.runtime.compiled.stages import Program
from retrograd.runtime.compiled.steady import trace_steadily
from retrograd.runtime.modes import STATE, inferring
from retrograd.runtime.native.fastcall import InlineCache
from retrograd.runtime.native.program import Executable
from retrograd.runtime.native.watching import Read
from retrograd.runtime.paths import Answers
from retrograd.runtime.pytree import Structure, identities, unflatten
from retrograd.runtime.tensor import Tensor

P = ParamSpec("P")
R = TypeVar("R")
_NATIVE = 8
"""Kinds of calls that are made natively, the latest."""
_VALUE_AND_GRAD = """The value and its gradients by the arguments `wrt`, from one native program.

The value must be a scalar (with `has_aux`, the first of two results). Gradients come in the structure of the
arguments: one for each, in their order, then those of captured Tensors that require grad in the order of
their use; if there is only one and `wrt` is no sequence, it comes bare. Arrays in give arrays and a float
out. Raises GradientError for a value that is no scalar or does not depend on any of them.
"""


class Caches(NamedTuple):
    """What is called natively, for functions with so many arguments bound before."""

    value: InlineCache
    gradient: InlineCache


class CompiledFunction(Generic[P, R]):
    """A function that is compiled, together with its derivative, anew for each kind of arguments.

    Bound to an object it is another one of these, which shares all but its slots. Two of them are native
    callables, so that calling runs no Python: `f(…)` and `f.value_and_grad(…)`.
    """

    __slots__ = ("__call__", "__dict__", "__weakref__", "_first", "value_and_grad")

    __wrapped__: Callable[P, R]
    __call__: Callable[P, R]
    """The value, computed natively; results of Tensors that require grad can be differentiated."""
    value_and_grad: Callable[..., tuple[Any, Any]]
    _first: tuple[Any, ...]
    """The object that a method is bound to."""

    def __init__(self, function: Callable[P, R], wrt: Wrt, static: Sequence[str], has_aux: bool) -> None:
        functools.update_wrapper(self, function, updated=())
        self._parameters = Parameters(function, wrt, static)
        self._has_aux = has_aux
        self._first = ()
        self._entries = Entries()
        self._caches: dict[int, Caches] = {}
        caches = self._caches_of(0)
        self.__call__, self.value_and_grad = caches.value.call, caches.gradient.call

    def __get__(self, instance: object, owner: type | None = None) -> CompiledFunction[..., R]:
        if instance is None:
            return self
        caches = self._caches.get(1) or self._caches_of(1)
        bound: CompiledFunction[..., R] = object.__new__(CompiledFunction)
        bound.__dict__, bound._first = self.__dict__, (instance,)
        bound.__call__ = MethodType(caches.value.call, instance)
        bound.value_and_grad = MethodType(caches.gradient.call, instance)
        return bound

    def _caches_of(self, bound: int) -> Caches:
        """Those for calls with so many bound arguments, made if need be."""
        name = self._parameters.name

        def value_of(*args: Any, **kwargs: Any) -> Any:
            with uncollected():
                return self._value(bound, args, kwargs)

        def value_and_grad_of(*args: Any, **kwargs: Any) -> Any:
            with uncollected():
                return self._value_and_grad(bound, args, kwargs)

        value = InlineCache(name, self.__doc__, _NATIVE, value_of)
        gradient = InlineCache(name, _VALUE_AND_GRAD, _NATIVE, value_and_grad_of)
        return self._caches.setdefault(bound, Caches(value, gradient))

    def __repr__(self) -> str:
        return f"<compiled {self._parameters.name}{self._parameters.signature}>"

    def __reduce__(self) -> Any:
        """As a function is: copies are itself, and a pickle knows where to find it."""
        if self._first:
            return getattr, (self._first[0], self.__wrapped__.__name__)
        return self.__wrapped__.__qualname__

    @property
    def specialisations(self) -> int:
        """How many there are."""
        return len(self._entries)

    # ---- the entrances -------------------------------------------------------------------------------------

    def _value(self, bound: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        if STATE.trace is not None:
            return self.__wrapped__(*args, **kwargs)
        entry, leaves, structure = self._entry(False, bound, args, kwargs)
        found, recording = entry.specialisation, entry.specialisation.recording
        arrays = entry.box is unboxed
        history = not arrays and STATE.grad and bool(recording.differentiable and recording.wanted)
        if not (history and recording.refusal):
            if history:
                program = recording.joint if recording.scalar else recording.forward
            else:
                program = recording.program
            cache = self._caches[bound].value
            reads = modes_of_values(history)
            native = self._native(cache, entry, program, structure, leaves, [found.result], reads, history)
            if (result := native(*args, **kwargs)) is not MISSED:
                return cast(R, result)
        found.draw()
        value: R = found.call_arrays(leaves) if arrays else found.call(leaves)
        return value

    def _value_and_grad(self, bound: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        if STATE.trace is not None:
            return self._traced_value_and_grad(bound, args, kwargs)
        entry, leaves, structure = self._entry(True, bound, args, kwargs)
        found = entry.specialisation
        self._check_scalar(found)
        results = [found.result, entry.gradients]
        cache = self._caches[bound].gradient
        reads = [*modes_read(), NO_ANOMALY]
        native = self._native(cache, entry, found.recording.joint, structure, leaves, results, reads)
        if (result := native(*args, **kwargs)) is not MISSED:
            return cast(tuple[Any, Any], result)
        found.draw()
        arrays = found.arrays(leaves)
        outputs = found.recording.joint(arrays)
        count = len(found.recording.outputs)
        if STATE.anomaly and STATE.check_nan:
            _look_for_nan(found.recording, arrays, outputs[count:])
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
        found.draw()
        outputs, kept = found.recording.start(found.arrays(leaves))

        def pullback(cotangent: Any) -> Any:
            gradients = found.recording.finish(kept, found.cotangents(cotangent))
            return unflatten(entry.gradients, map(entry.box, gradients))

        return found.results(outputs, leaves, entry.box), pullback

    def trace(self, *args: Any, **kwargs: Any) -> Program:
        """The stages of the program for such arguments: under `no_grad()` that of the value alone. It is
        compiled, and not run."""
        with uncollected():
            entry, _, _ = self._entry(STATE.grad, len(self._first), (*self._first, *args), kwargs)
            return Program(entry.specialisation)

    def _native(
        self,
        cache: InlineCache,
        entry: Entry,
        program: Executable,
        structure: Structure,
        leaves: list[Any],
        results: list[Structure],
        reads: list[Read],
        history: bool = False,
    ) -> Callable[..., Any]:
        """Have calls like this one made natively from now on, if they can be: the path is for Python to
        find. Gives what makes this one so, too; Python is to look first at what is updated in place."""
        if entry.specialisation.path is not None:
            return elsewhere
        with LOCK:
            key = variant(program, leaves), inferring.cell_contents > 0
            if key not in entry.native:
                found = entry.specialisation
                call = direct(
                    found,
                    program,
                    structure,
                    leaves,
                    results,
                    entry.box is Tensor,
                    [*found.guards.reads, *reads],
                    found.recording if history else None,
                )
                entry.native[key] = call
            ready = entry.native[key]
            if ready is None:
                return elsewhere
            cache.add(ready)
            return elsewhere if entry.specialisation.updated else ready

    # ---- which specialisation ------------------------------------------------------------------------------

    def _entry(
        self, gradient: bool, bound: int, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Entry, list[Any], Structure]:
        """The entry for these arguments, made if need be, and their leaves and structure. So many of them,
        the first, the user does not see."""
        leaves: list[Any] = []
        structure = self._parameters.structure(args, kwargs, leaves)
        key = (gradient or STATE.grad, gradient, bound, kind_of_call(structure, leaves))
        found, _ = self._entries.find(key, leaves)
        if found is None:
            with LOCK:
                found, answers = self._entries.find(key, leaves)
                if found is None:
                    found = self._make(gradient, bound, structure, leaves, answers)
                    self._drop(self._entries.enter(key, found))
                    self._entries.warn_of_many(self._parameters.name)
        return found, leaves, structure

    def _drop(self, entries: Iterable[Entry]) -> None:
        """Have nothing called natively that belongs to these."""
        for native in filter(None, (call for each in entries for call in each.native.values())):
            for caches in self._caches.values():
                caches.value.drop(native)
                caches.gradient.drop(native)

    def _make(
        self, gradient: bool, bound: int, structure: Structure, leaves: list[Any], answers: Answers
    ) -> Entry:
        """Trace for these arguments, along a path of which so much is known."""
        parameters = self._parameters
        arguments = parameters.named(structure)
        held = [(argument.name, i) for argument in arguments for i in identities(argument.structure)]
        roots = [(name, i.value) for name, i in held]
        call = Call(
            parameters.name,
            arguments,
            structure,
            leaves,
            parameters.wanted(arguments, leaves, bound) if gradient else requiring(leaves),
            captured=parameters.wrt is None or not gradient,
            grad=gradient or STATE.grad,
            first_only=gradient and self._has_aux,
            answers=answers,
            reads=reads(self.__wrapped__, roots),
        )
        found, call = self._traced(gradient, call, roots)
        captured = len(found.recording.wanted) - sum(call.tracked)
        tensors = not leaves or any(isinstance(x, Tensor) for x in leaves)
        return Entry(
            found,
            parameters.gradients(arguments, call.tracked, captured),
            Tensor if tensors else unboxed,
            [i for _, i in held],
            {},
        )

    def _traced(
        self, gradient: bool, call: Call, roots: Sequence[tuple[str, object]]
    ) -> tuple[Specialisation, Call]:
        """Traced for this call; for gradients where nothing requires grad, by all that is floating. Which it
        will be is told, nearly always, by what the function may read from outside."""
        function, everything = self.__wrapped__, call._replace(tracked=floating(call.leaves))
        outside = (read.value for read in call.reads)
        asked = any(call.tracked) or any(isinstance(x, Tensor) and x.requires_grad for x in outside)
        likely = everything if gradient and not asked else call
        found = trace_steadily(function, likely, roots)
        captured = len(found.recording.wanted) > sum(likely.tracked)
        right = everything if gradient and not (captured or any(call.tracked)) else call
        if right is not likely:
            found = trace_steadily(function, right._replace(reads=reads(function, roots)), roots)
        return found, right

    # ---- checks --------------------------------------------------------------------------------------------

    def _check_differentiable(self, places: Sequence[int]) -> None:
        if not places:
            raise GradientError(
                f"the gradient of {self._parameters.name}",
                "its result does not depend on the inputs it is differentiated with respect to, "
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
            "a gradient without a cotangent is that of one real scalar",
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


def _look_for_nan(recording: Recording, arrays: Sequence[Array], gradients: Sequence[Array]) -> None:
    """Anomaly mode: a NaN among the gradients is an error that names the line it comes from."""
    for place, gradient in enumerate(gradients):
        if type(gradient) is np.ndarray and np.isnan(gradient).any():  # else it is on a GPU
            graph = recording.joint_graph
            name, where = origin(graph, len(recording.outputs), arrays) or (recording.name, None)
            raise nan_error(name, place, where)


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

        @compile_grad(wrt="w")
        def loss(x, w):
            return (x @ w).tanh().sum()

        loss(x, w)                     # the value; a Tensor that can be differentiated
        loss.value_and_grad(x, w)      # the value and the gradient by w
        loss.grad(x, w)                # the gradient alone
        loss.vjp(x, w)                 # the value, and a function from its cotangent to gradients
        print(loss.trace(x, w).graph)  # what was compiled: .adjoint, .joint, .loops, .llvm, .assembly, .ptx()

    The first call with arguments of new shapes and dtypes compiles; the others run native code.

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
