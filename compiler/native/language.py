"""The language of the runtime's native parts: a subset of Python over memory as C sees it.

A function under `native` is never run by Python. `text` (`lowering.py`) makes LLVM of it and of all that it
calls; what it says is type-checked, formatted and read like any other Python. In flow such functions, out
flows one module of LLVM text.

    type       ::= int | float | bool | None       64 bits, 64 bits, a truth value, nothing
                 | Unsigned                        64 bits without a sign
                 | Byte | Int16 | Int32 | Unsigned16 | Unsigned32 | Float32
                                                   in memory and in C's signatures; 64 bits once read
                 | Vector[type, Literal[n]]        n numbers at once, as wide as they are in memory, or
                                                   truth values, which are bytes there
                 | a subclass of Record            the address of one
                 | Array[type]                     the address of the first of several that lie in a row
                 | Callable[[type, …], type]       the address of a function
                 | type | None                     such an address, or null
                 | Integer | Floating | a TypeVar  in an `inlined` function: one as wide as the one that is
                                                   given; whatever is given
    statement  ::= name = e | e.field = e | e[e] = e | … += e | e(e, …) | return e | pass
                 | if e: … elif e: … else: … | while e: … | for i in range(…): …
                 | for number in numbers: … | break | continue
                 | match e: case Enum.MEMBER | …: … case _: …
    e          ::= name | number | True | None | e.field | e[e] | array + e | -e | ~e
                 | e + e, -, *, //, %, <<, >>, &, |, ^ of integers, the first three of floats
                 | float / float | number ** number
                 | e < e, ==, …, e is e, e is not None | not e | e and e | e or e | e if e else e
                 | min(e, e) | max(e, e) | abs(e) | ceil(e) | floor(e) | sqrt(e) | fused(e, e, e)
                 | function(e, …) | e.field(e, …)
                 | cast(type, e) | bits(type, e) | select(e, e, e) | take(type, array[, e, e])
                 | reduce(function, e)
                 | put(array, vector[, e]) | stack(type, e, …) | inside(type, e, e) | given("name")
                 | atomic_load(array, order) | atomic_store(array, e, order) | atomic_add(array, e)
                 | exchange(array, e) | compare_exchange(array, e, e)

An operator, a relation or a function of numbers takes vectors, too, lane by lane, and single numbers among
them. To an `inlined` function, functions may be given: `native` ones, or lambdas, which know the names around
them. Globals are what they are in Python: numbers are constants, and a loop over a tuple of them is written
out; functions are their addresses, `extern` ones C's, or what `provides` them here; `external`, `variable`
and `constants` are data. In an `instance` of a function some of them, and its TypeVars, are something else:
functions that are `chosen`, for one, which may be `Emitted` ones of vectors.
Integers wrap around, and are divided as if they had no sign; nothing is checked, and there is no other
arithmetic. What is missing here is a case in `lowering.py`, `expressions.py`, `memory.py` or `arithmetic.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, Any, Generic, Literal, NoReturn, TypeVar, cast

from retrograd.compiler.backends.means import Means
from retrograd.compiler.record import record

__all__ = ["Array", "At", "Byte", "Float32", "Floating", "Inline", "Int16", "Int32", "Integer"]
__all__ += ["Order", "Record", "Unsigned", "Unsigned16", "Unsigned32", "Vector", "atomic_add"]
__all__ += [
    "atomic_load",
    "atomic_store",
    "bits",
    "cast",
    "ceil",
    "chosen",
    "compare_exchange",
    "constants",
    "exchange",
]
__all__ += ["exported", "extern", "external", "floor", "fused", "given", "inlined", "inside"]
__all__ += ["Emitted", "instance", "reduce"]
__all__ += ["intrinsic", "native", "places", "provides", "put", "select", "several", "sqrt", "stack", "take"]
__all__ += ["variable", "words"]

T = TypeVar("T")
N = TypeVar("N")
F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R", bound="Reference")
V = TypeVar("V", bound="Vector[Any, Any]")
X = TypeVar("X")


class Reference:
    """What is an address at run time."""


class Record(Reference):
    """The address of fields, which are annotated: words of 8 bytes in their order, or where `At` says. An
    `Inline` one is as many as `several` says, or what lies there from its word on."""


@record(slots=True)
class Several:
    """How many words a field takes."""

    count: int


def several(count: int) -> Any:
    """A field of so many words: `extents: Inline[int] = several(8)`."""
    return Several(count)


def places(cls: type[Record]) -> dict[str, range]:
    """Where the fields of a record are, in words: its own ones after those that it inherits."""
    found, at = {}, 0
    for part in reversed(cls.__mro__):
        for name in part.__annotations__ if issubclass(part, Record) else ():
            length = vars(part).get(name)
            end = at + (length.count if isinstance(length, Several) else 1)
            found[name], at = range(at, end), end
    return found


def words(cls: type[Record]) -> int:
    """How many words a record has."""
    return max((place.stop for place in places(cls).values()), default=0)


class Array(Reference, Generic[T]):
    """The address of the first of several elements."""

    def __getitem__(self, index: int) -> T:
        raise _only_native("an element")

    def __setitem__(self, index: int, value: T) -> None:
        raise _only_native("an element")

    def __add__(self, count: int) -> Array[T]:
        """The address of the element `count` further on."""
        raise _only_native("an address")


class Vector(Generic[T, N]):
    """Several numbers at once."""

    @staticmethod
    def of(element: Any, lanes: int) -> Any:
        """The type of so many, for instances."""
        return Vector.__class_getitem__((element, Literal.__getitem__(lanes)))  # type: ignore[attr-defined]  # as brackets do

    def _operator(self, other: Vector[T, N] | T) -> Vector[T, N]:
        raise _only_native("a vector")

    def _relation(self, other: Vector[T, N] | T) -> Vector[bool, N]:
        raise _only_native("a vector")

    def _sign(self) -> Vector[T, N]:
        raise _only_native("a vector")

    __add__ = __sub__ = __mul__ = __truediv__ = __floordiv__ = __mod__ = _operator
    __radd__ = __rsub__ = __rmul__ = __rtruediv__ = _operator
    __lshift__ = __rshift__ = __and__ = __or__ = __xor__ = _operator
    __lt__ = __le__ = __gt__ = __ge__ = _relation
    __eq__ = __ne__ = _relation  # type: ignore[assignment]  # lane by lane
    __neg__ = __invert__ = __abs__ = _sign


@record(slots=True)
class At:
    """Where a field lies, in bytes, or a number that `text` is given under this name."""

    offset: int | str


@record(slots=True)
class Width:
    """The LLVM type in memory, and whether integers have no sign."""

    llvm: str
    unsigned: bool = False


@record(slots=True)
class InPlace:
    """The field is no address of elements: they lie there themselves."""


Int16 = Annotated[int, Width("i16")]
Int32 = Annotated[int, Width("i32")]
Unsigned = Annotated[int, Width("i64", unsigned=True)]
Unsigned16 = Annotated[int, Width("i16", unsigned=True)]
Unsigned32 = Annotated[int, Width("i32", unsigned=True)]
Byte = Annotated[int, Width("i8")]
Float32 = Annotated[float, Width("float")]
Integer = Annotated[int, Width("")]
Floating = Annotated[float, Width("")]
Inline = Annotated[Array[T], InPlace()]


class Native:
    """A function of the language."""

    __slots__ = ("bound", "exported", "function", "inlined", "name")

    def __init__(
        self, function: Callable[..., Any], *, exported: bool = False, inlined: bool = False, name: str = "",
        bound: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.function, self.exported, self.inlined = function, exported, inlined
        self.name = name or function.__name__
        self.bound: Mapping[str, Any] = bound or {}
        """Names that are something else in it, and in what is written out there, than in its file."""

    def within(self, outer: Native) -> Native:
        """The function as it is written out in another one."""
        if not outer.bound:
            return self
        return Native(self.function, inlined=True, name=self.name, bound={**outer.bound, **self.bound})

    @property
    def names(self) -> dict[str, Any]:
        """What its globals are."""
        return {**self.function.__globals__, **self.bound} if self.bound else self.function.__globals__

    def __call__(self, *args: object) -> NoReturn:
        raise _only_native(self.name)


class Extern(Native):
    """A function of C, of which the language knows the signature."""

    __slots__ = ()


@record(slots=True)
class Data:
    """Memory with a name: defined here, or elsewhere."""

    name: str
    kind: Any
    own: bool
    bytes: int = 8
    values: tuple[float, ...] = ()
    """What is there for good, if anything."""


def native(function: F) -> F:
    """A function for others in the same module of LLVM."""
    return cast(F, Native(function))


def inlined(function: F) -> F:
    """A function that is written out wherever it is called."""
    return cast(F, Native(function, inlined=True))


def exported(function: F) -> F:
    """A function that is found by its name in the object code."""
    return cast(F, Native(function, exported=True))


def instance(function: F, name: str, **bound: Any) -> F:
    """An exported function that is another one under this name, for which names of its file (type variables,
    functions that are `chosen`, …) are something else."""
    made = Native(cast(Native, function).function, exported=True, name=name, bound=bound)
    unknown = bound.keys() - made.function.__globals__.keys()
    if unknown:
        raise TypeError(f"an instance of {made.function.__name__} has no {sorted(unknown)}")
    return cast(F, made)


@record(slots=True, eq=False)
class Emitted:
    """A function of vectors that writes its LLVM text: of Values of `backends/vector.py`."""

    code: Callable[..., Any]
    means: Means
    """What the processor has."""


def chosen(function: F) -> F:
    """The signature of a function that each instance of those which call it has; its body is `...`."""
    return cast(F, Native(function))


def extern(function: F) -> F:
    """The signature of a function of C; its body is `...`."""
    return cast(F, Extern(function))


def intrinsic(name: str) -> Callable[[F], F]:
    """The signature of a function that is LLVM's, by its name there."""

    def signature(function: F) -> F:
        return cast(F, Extern(function, name=name))

    return signature


def provides(declared: F) -> Callable[[F], F]:
    """A function that stands for one that others know as `extern`, in modules of which it is a root."""
    name = cast(Native, declared).name
    return lambda function: cast(F, Native(function, name=name))


def external(kind: type[R], name: str) -> R:
    """The address of data elsewhere, by their name."""
    return cast(R, Data(name, kind, own=False))


def variable(kind: type[R], name: str, bytes: int = 8) -> R:
    """The address of so many bytes of this module, which are zero at first."""
    return cast(R, Data(name, kind, own=True, bytes=bytes))


def constants(kind: type[R], name: str, *values: float) -> R:
    """The address of numbers that nobody changes."""
    return cast(R, Data(name, kind, own=True, values=values))


def stack(kind: type[R], count: int = 1, alignment: int = 8) -> R:
    """So many elements of an array, or one record, uninitialised, until the function returns."""
    raise _only_native("stack")


def inside(kind: type[R], base: Reference, offset: int) -> R:
    """What lies so many bytes behind an address."""
    raise _only_native("inside")


class Order(StrEnum):
    """What of other threads' memory is seen before or after an atomic step, as in C11 and LLVM."""

    RELAXED = "monotonic"
    ACQUIRE = "acquire"
    RELEASE = "release"
    ACQUIRE_RELEASE = "acq_rel"
    SEQUENTIAL = "seq_cst"


def atomic_load(place: Array[T], order: Order) -> T:
    """The first element."""
    raise _only_native("atomic_load")


def atomic_store(place: Array[T], value: T, order: Order) -> None:
    """Make a value the first element."""
    raise _only_native("atomic_store")


def atomic_add(place: Array[int], value: int) -> int:
    """Add to the first element; what was there, in the order of all such steps."""
    raise _only_native("atomic_add")


def exchange(place: Array[T], value: T) -> T:
    """Put a value into the first element and take out what was there, with what others did before."""
    raise _only_native("exchange")


def compare_exchange(place: Array[T], old: T, new: T) -> bool:
    """Put the new value where the old one is, and say whether it was; if so, as `exchange` does."""
    raise _only_native("compare_exchange")


def bits(kind: type[X], value: object) -> X:
    """The same bits as something of another type."""
    raise _only_native("bits")


def select(test: Vector[bool, Any], yes: V, no: V | float) -> V:
    """In each lane one or the other."""
    raise _only_native("select")


def take(kind: type[V], place: Array[Any], count: int = 0, otherwise: V | float = 0) -> V:
    """A vector of elements, from the first one on; with a count, so many at most, and what the others are."""
    raise _only_native("take")


def put(place: Array[T], lanes: Vector[T, Any], count: int = 0) -> None:
    """Lanes into elements, from the first one on; with a count, so many at most."""
    raise _only_native("put")


def reduce(join: Callable[[Any, Any], Any], lanes: Vector[T, Any]) -> T:
    """Lanes joined two by two, those first that are half as many apart."""
    raise _only_native("reduce")


def sqrt(x: X) -> X:
    """The square root of a number, or of each lane."""
    raise _only_native("sqrt")


def floor(x: X) -> X:
    """The greatest whole number that is not greater; a float."""
    raise _only_native("floor")


def ceil(x: X) -> X:
    """The least whole number that is not less; a float."""
    raise _only_native("ceil")


def fused(x: X, factor: X | float, summand: X | float) -> X:
    """x · factor + summand, rounded once."""
    raise _only_native("fused")


def given(name: str) -> int:
    """A number that `text` is given under this name."""
    raise _only_native("given")


def _only_native(what: str) -> TypeError:
    return TypeError(f"{what}: code of the native language is compiled, not run by Python")
