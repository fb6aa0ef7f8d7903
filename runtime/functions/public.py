"""How a function becomes public: one decorator, and the argument checks that all functions share.

`@public("sum", method=True)` enters a function in `FUNCTIONS` (what `import retrograd` offers) and, if asked,
among Tensor's methods. Here, and only here, NumPy's argument names become PyTorch's (`axis` is `dim`), a
wrong argument becomes an ArgumentError, and sizes may be given one by one or as one sequence. `axis_of`,
`axes_of` and `sizes_of` turn what a user writes for dims and shapes into plain tuples. A new alias is an
entry of `ALIASES`.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Container, Mapping, Sequence
from functools import partial, wraps
from itertools import pairwise
from typing import Any, NoReturn, TypeVar, cast

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, DimensionError, RetrogradError, ShapeError, mirrored
from retrograd.compiler.ir.graph import Array, Node, apply
from retrograd.compiler.ops.shape import Permute
from retrograd.runtime import grad_functions, grad_names
from retrograd.runtime.eager.inplace import assign
from retrograd.runtime.eager.instant.calls import change
from retrograd.runtime.eager.instant.doors import door, late
from retrograd.runtime.eager.kinds import kind_of
from retrograd.runtime.eager.lying import laid
from retrograd.runtime.eager.promotion import common_dtype, to_common
from retrograd.runtime.eager.replay import called, name_history, planned
from retrograd.runtime.functions.admission import admission
from retrograd.runtime.functions.conditions import unmet
from retrograd.runtime.functions.kernels import check_kernel
from retrograd.runtime.functions.operand_conditions import CONDITIONS
from retrograd.runtime.functions.outputs import takes_out, without_out, written_out
from retrograd.runtime.functions.precisions import LISTED
from retrograd.runtime.functions.telling import not_a_tensor, told
from retrograd.runtime.modes import STATE
from retrograd.runtime.names import ALIASES
from retrograd.runtime.tensor import Tensor
from retrograd.runtime.tensor import method as as_method

F = TypeVar("F", bound=Callable[..., Any])

FUNCTIONS: dict[str, Callable[..., Any]] = {}
"""The functions of the public namespace, by name."""

FUNCTIONAL: dict[str, Callable[..., Any]] = {}
"""The functions of `nn.functional`, by name."""

LINALG: dict[str, Callable[..., Any]] = {}
"""The functions of `linalg`, by name."""

FFT: dict[str, Callable[..., Any]] = {}
"""The functions of `fft`, by name."""

OPTIONS = ("dtype", "device", "requires_grad", "layout", "pin_memory", "memory_format")
"""What functions that take `**options`, the factories, know besides their own arguments."""

DimLike = int | Sequence[int] | None
"""What a user may give for the axes of a reduction."""


def public(
    *names: str, method: bool = False, function: bool = True, inplace: bool = False, attribute: bool = False,
    replay: bool | str = False, shown: grad_names.Name = "", nn: bool = False,
    around: Callable[[Callable[..., Any]], Callable[..., Any]] | None = None,
) -> Callable[[F], F]:  # fmt: skip
    """Make a function public under each of `names`: in the namespace, as a Tensor method, or both; with `nn`
    in `nn.functional`, too.

    `inplace` also enters the method `name_`, which writes the result into the tensor; `attribute` makes a
    property; `replay` has its steps replayed where the types are known, or does what `planners.PLANNERS` has
    under that name; `shown` is what the result's `grad_fn` is called, where `grad_names` does not say it;
    `around` makes a native function that asks this one for what is not plain.
    """

    def enter(f: F) -> F:
        title = shown or grad_functions.FUNCTIONS.get(names[0], "")
        areas = [*([""] * function), *(["Tensor."] * method), *(["nn.functional."] * nn)]
        also = [f"{area}{name}" for area in areas for name in names]
        inner = viewing(f) if names[0] in VIEWS else laid(names[0], f)
        if replay:
            planner = "steps" if replay is True else replay
            wrapped = late(f, lambda: planned(checked(names[0], inner, also), title, planner))
        elif around is not None:
            wrapped = late(f, partial(_surrounded, around, names[0], inner, also))
        else:
            wrapped = checked(names[0], inner, also)
            wrapped = called(title, wrapped) if title else wrapped
            wrapped = door(wrapped, wrapped) if names[0] in LISTED else wrapped
        for name in names:
            if function and not name.startswith("__"):
                FUNCTIONS[name] = wrapped
            if nn:
                FUNCTIONAL[name] = wrapped
            if attribute:
                setattr(Tensor, name, property(wrapped))
            if method:
                as_method(name)(wrapped)
            if inplace:
                as_method(f"{name}_")(written(f"{name}_", wrapped))
        return wrapped

    return enter


def _surrounded(around: Callable[..., Any], name: str, f: F, also: Sequence[str]) -> F:
    """What `around` makes of the function with its checks."""
    return around(checked(name, f, also))


VIEWS = {
    "reshape", "reshape_as", "view", "view_as", "unflatten", "ravel", "expand", "expand_as", "broadcast_to",
    "squeeze", "t", "transpose", "permute", "movedim", "T", "__getitem__",
}  # fmt: skip
"""Functions whose result is another Tensor even where nothing moves."""


def viewing(f: F) -> F:
    """The function, which shows the operand itself as a view of all of it."""

    @wraps(f)
    def call(input: Any, *args: Any, **kwargs: Any) -> Any:
        result = f(input, *args, **kwargs)
        return apply(Permute(tuple(range(input.ndim))), input) if result is input else result

    return call  # type: ignore[return-value]  # called as f is


FILLING = {"masked_fill_", "index_fill_"}
"""What gives some elements one value: they may be one in memory."""


def written(name: str, f: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The method that writes what the function gives into the tensor itself."""

    shown = _shown_in_place(name)

    def write(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        result = f(input, *args, **kwargs)
        if shown:
            step = grad_functions.name_of(shown, (input, *args), kwargs)
            name_history(result, step, (input, *args), kwargs)
        return assign(input, result, filled=name in FILLING)

    write.__name__ = write.__qualname__ = name
    write.__doc__ = f"`{name[:-1]}`, in place."
    return late(write, partial(overwriting, f, name[:-1], write))


def overwriting(f: Callable[..., Tensor], name: str, write: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """What `write` does, which is what `f` of this name does, in place."""
    return change(planned(write, planner="updates"), planned(f, _shown_in_place(f"{name}_")), assign)


def _shown_in_place(name: str) -> grad_names.Name:
    return grad_functions.FUNCTIONS.get(name) or grad_functions.FUNCTIONS.get(name[:-1], "")


def functional(
    *names: str,
    top: bool = False,
    method: bool = False,
    replay: bool | str = False,
    shown: grad_names.Name = "",
) -> Callable[[F], F]:
    """Make a function public in `nn.functional`.

    With `top` in the top namespace too, with `method` on Tensors.
    """

    return public(*names, function=top, method=method, replay=replay, shown=shown, nn=True)


def linalg(name: str, *also: str) -> Callable[[F], F]:
    """Make a function public in `linalg`; under the names `also` at the top and as a Tensor method, too."""
    return _in_room("linalg", LINALG, name, also)


def fourier(name: str) -> Callable[[F], F]:
    """Make a function public in `fft`."""
    return _in_room("fft", FFT, name, ())


def _in_room(
    room: str, table: dict[str, Callable[..., Any]], name: str, also: Sequence[str]
) -> Callable[[F], F]:
    def enter(f: F) -> F:
        shown = grad_functions.FUNCTIONS.get(f"{room}_{name}", "")
        called = [f"{room}.{name}", *also, *(f"Tensor.{other}" for other in also)]
        wrapped = late(f, lambda: planned(checked(f"{room}_{name}", f, called), shown))
        table[name] = wrapped
        for other in also:
            FUNCTIONS[other] = wrapped
            as_method(other)(wrapped)
        return wrapped

    return enter


def checked(name: str, f: F, also: Sequence[str]) -> F:
    """The function with aliases of argument names, and with misuse told as an ArgumentError; `also` is how
    PyTorch's tables have it (`admission`)."""
    parameters, spread = parameters_of(f)
    kernels = f"Tensor.{name}" if [*also] == [f"Tensor.{name}"] else name  # `unfold` is two functions
    aliases = {a: b for a, b in ALIASES.items() if a not in parameters and b in parameters}
    options = {*parameters, *OPTIONS} if "options" in parameters else None
    tensors = [(k, p) for k, p in enumerate(parameters) if f.__annotations__.get(p) == "Tensor"]
    admit, condition = admission(name, also), CONDITIONS.get(name)

    def call(*args: Any, **kwargs: Any) -> Any:
        asked, said, out = args, kwargs, None
        if "out" in kwargs and "out" not in parameters and takes_out(also):
            kwargs, out = without_out(kwargs, "dtype" in (options or parameters))
        if kwargs:
            if spread in kwargs or not aliases.keys().isdisjoint(kwargs):
                kwargs = {aliases.get(key, key): value for key, value in kwargs.items()}
            if options is not None and not options.issuperset(kwargs):
                raise told(_unknown(name, kwargs, options), name, asked, said)
            if spread in kwargs:
                args = (*args, kwargs.pop(spread))
        if other := _other_than_tensor(name, tensors, args, kwargs):
            raise told(other, name, asked, said)
        admit(asked, said)
        if args and isinstance(args[0], Tensor) and args[0]._value.dtype not in _COMPUTED:
            check_kernel(kernels, args, kwargs)
        if condition is not None and (error := unmet(condition, parameters, spread, args, kwargs)):
            raise error
        try:
            result = f(*args, **kwargs) if kwargs else f(*args)
            return result if out is None else written_out(out, result)
        except Exception as error:
            _tell(error, name, f, asked, said)

    def quick(*args: Any, **kwargs: Any) -> Any:
        """The same where a Tensor comes first and nothing has a name."""
        if kwargs or not args or not isinstance(args[0], Tensor):
            return call(*args, **kwargs)
        admit(args, kwargs)
        if args[0]._value.dtype not in _COMPUTED:
            check_kernel(kernels, args, kwargs)
        try:
            return f(*args)
        except Exception as error:
            _tell(error, name, f, args, kwargs)

    def bare(*args: Any, **kwargs: Any) -> Any:
        """The same where there is no Tensor to look at."""
        if kwargs and not own.issuperset(kwargs):
            return call(*args, **kwargs)
        admit(args, kwargs)
        try:
            return f(*args, **kwargs)
        except Exception as error:
            _tell(error, name, f, args, kwargs)

    alone = tensors == [(0, next(iter(parameters), ""))]
    unseen, own = not tensors and "input" not in parameters, (options or {*parameters}) - {spread}
    entry = call if condition is not None else quick if alone else bare if unseen else call
    return wraps(f)(entry)  # type: ignore[return-value]  # called as f is, and by aliases


def _other_than_tensor(
    name: str, tensors: Sequence[tuple[int, str]], args: Sequence[object], kwargs: Mapping[str, object]
) -> ArgumentError | None:
    """What is wrong where another thing is given for one of the parameters that are Tensors."""
    for position, parameter in tensors:
        value = args[position] if position < len(args) else kwargs.get(parameter, _MISSING)
        if not isinstance(value, Tensor) and value is not _MISSING:
            return not_a_tensor(name, parameter, position, value)
    return None


def _unknown(name: str, kwargs: Mapping[str, Any], options: Container[str]) -> ArgumentError:
    unknown = next(key for key in kwargs if key not in options)
    return ArgumentError(mirrored(f"{name}() got an unexpected keyword argument '{unknown}'"))


_COMPUTED: frozenset[Any] = frozenset(t for d in (dtypes.float32, dtypes.float64) for t in (d.numpy, d))
"""Dtypes for which everything has a kernel."""


def _tell(error: Exception, name: str, f: F, args: Sequence[Any], kwargs: dict[str, Any]) -> NoReturn:
    """Raise the error that is being handled, in the words of `_told`."""
    better = _told(error, name, f, args, kwargs)
    if better is error:
        raise
    raise better from None


def _told(error: Exception, name: str, f: F, args: Sequence[Any], kwargs: dict[str, Any]) -> Exception:
    """The error as PyTorch's parser words it; in our words, if that takes the arguments and ours does not."""
    better = told(error, name, args, kwargs)
    if (
        better is error
        and isinstance(error, TypeError)
        and not isinstance(error, RetrogradError)
        and _raised_by_call(error)
    ):
        text = str(error).partition("() ")[2] or str(error)
        return ArgumentError(mirrored(f"{name}() {text}"), "", f"its signature is {name}{_shown(f)}")
    return better


def parameters_of(f: Callable[..., Any]) -> tuple[list[str], str | None]:
    """The names of what a function takes, in order, and which takes any number of positional arguments. Read
    off the code: to make the signatures of all functions would take a tenth of the time of importing."""
    inner = inspect.unwrap(f, stop=_says_itself)
    if _says_itself(inner):
        given = inner.__signature__.parameters
        return list(given), next((name for name, p in given.items() if p.kind is p.VAR_POSITIONAL), None)
    code, bound = inner.__code__, int(inspect.ismethod(inner))
    named = code.co_argcount + code.co_kwonlyargcount
    starred, keywords = bool(code.co_flags & inspect.CO_VARARGS), bool(code.co_flags & inspect.CO_VARKEYWORDS)
    names = code.co_varnames[: named + starred + keywords]
    plain, late = names[bound : code.co_argcount], names[code.co_argcount : named]
    spread = names[named : named + starred]
    return [*plain, *spread, *late, *names[named + starred :]], spread[0] if spread else None


def _says_itself(f: Callable[..., Any]) -> bool:
    """Whether it says what it takes, as against its code."""
    return hasattr(f, "__signature__")


_MISSING = object()


def _raised_by_call(error: BaseException) -> bool:
    """Whether the arguments did not fit the signature, as against an error from inside the function."""
    trace = error.__traceback__
    return trace is not None and trace.tb_next is None


def _shown(f: Callable[..., Any]) -> str:
    signature = inspect.signature(f)
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))


# ---- what users write for axes and sizes -------------------------------------------------------------------


def integer(value: object, name: str, parameter: str) -> int:
    """An int, or anything that is one exactly (a NumPy integer, an integral 0-d tensor); not a bool."""
    if type(value) is int:
        return value
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)  # type: ignore[arg-type]  # asking is the point
    except TypeError:
        kind = type(value).__name__
        raise ArgumentError(f"{name}(): argument '{parameter}' must be int, not {kind}") from None


def axis_of(dim: object, ndim: int, name: str) -> int:
    """An axis counted from the front. A 0-d tensor may be asked for axis 0, as in PyTorch."""
    given = integer(dim, name, "dim")
    bound = max(ndim, 1)
    if not -bound <= given < bound:
        raise DimensionError(
            f"{name}(dim={given}) of a tensor with {ndim} axes",
            mirrored(
                f"Dimension out of range (expected to be in range of [{-bound}, {bound - 1}], but got "
                f"{given})"
            ),
        )
    return given % bound


def axes_of(dim: object, ndim: int, name: str) -> tuple[int, ...]:
    """Axes to reduce over, sorted. None and the empty sequence mean all; a 0-d tensor has none."""
    if dim is None:
        return tuple(range(ndim))
    if not isinstance(dim, Sequence):
        axis = axis_of(dim, ndim, name)
        return (axis,) if ndim else ()
    axes = sorted(axis_of(d, ndim, name) for d in dim)
    for a, b in pairwise(axes):
        if a == b:
            raise ShapeError(
                f"{name}(dim={tuple(dim)})", mirrored(f"dim {a} appears multiple times in the list of dims")
            )
    return (tuple(axes) or tuple(range(ndim))) if ndim else ()


def sizes_of(sizes: Sequence[object], name: str, parameter: str = "size") -> tuple[int, ...]:
    """Sizes given one by one, `(2, 3)`, or as one sequence, `((2, 3),)`."""
    if len(sizes) == 1 and type(sizes[0]) is not int and isinstance(sizes[0], Sequence):
        sizes = sizes[0]
    return whole_numbers(sizes, name, parameter)


def whole_numbers(given: Sequence[object], name: str, parameter: str) -> tuple[int, ...]:
    """The ints of a sequence. PyTorch's parser looks at the first before it unpacks the others: there a bool
    will do.
    """
    for each in given:
        if type(each) is not int:
            break
    else:
        return tuple(cast(Sequence[int], given))
    found: list[int] = []
    for place, each in enumerate(given):
        try:
            found.append(int(each) if place and type(each) is bool else integer(each, name, parameter))
        except ArgumentError:
            if not place:
                raise
            kind = type(each).__name__
            raise ArgumentError(
                mirrored(
                    f"{name}(): argument '{parameter}' failed to unpack the object at pos {place + 1} with "
                    f'error "type must be tuple of ints,but got {kind}"'
                )
            ) from None
    return tuple(found)


def promoted(*tensors: Tensor) -> list[Tensor]:
    """The tensors in their common dtype."""
    return to_common(tensors, common_dtype(tensors))


def known(x: Tensor) -> Array | None:
    """The elements where they may be looked at (for checks that compiled code does without), or None."""
    value = x._value
    return value if STATE.trace is None and isinstance(value, np.ndarray) else None


def unshared(result: Tensor, input: Tensor) -> Tensor:
    """The result in memory of its own: for functions that copy in PyTorch, where the ops need not."""
    value = result._value
    may_show = result._view is not None or (type(value) is Node and kind_of(value.op).is_view)
    return result.clone() if result is input or may_show else result
