"""The language of the runtime's native parts: a subset of Python over memory as C sees it.

A function under `native` is never run by Python. `text` (`lowering.py`) makes LLVM of it and of all that it
calls; what it says is type-checked, formatted and read like any other Python. In flow such functions, out
flows one module of LLVM text.

    type       ::= int | float | bool | None       64 bits, 64 bits, a truth value, nothing
                 | Int32 | Byte | Float32          in memory and in C's signatures; int or float once read
                 | a subclass of Record            the address of one
                 | Array[type]                     the address of the first of several that lie in a row
                 | Callable[[type, …], type]       the address of a function
                 | type | None                     such an address, or null
    statement  ::= name = e | e.field = e | e[e] = e | … += e | e(e, …) | return e | pass
                 | if e: … elif e: … else: … | while e: … | for i in range(…): … | break | continue
                 | match e: case Enum.MEMBER | …: … case _: …
    e          ::= name | number | True | None | e.field | e[e] | array + e
                 | e + e, -, *, //, %, <<, >>, &, |, ^ | e < e, ==, …, e is e, e is not None
                 | not e | e and e | e or e | e if e else e
                 | min(e, e) | max(e, e) | function(e, …) | e.field(e, …)
                 | cast(type, e) | stack(type, e, …) | inside(type, e, e) | exchange(e, e) | given("name")

Globals are what they are in Python: numbers are constants, functions their addresses, `extern` ones are C's,
`external` and `variable` are data. Integers wrap around, and are divided as if they had no sign; nothing is
checked, and there is no other arithmetic. What is missing here is a case in `lowering.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Generic, NoReturn, TypeVar, cast

from retrograd.compiler.record import record

__all__ = ["Array", "At", "Byte", "Float32", "Inline", "Int32", "Record", "cast", "exchange", "exported"]
__all__ += ["extern", "external", "given", "inlined", "inside", "native", "stack", "variable"]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R", bound="Reference")


class Reference:
    """What is an address at run time."""


class Record(Reference):
    """The address of fields, which are annotated: words of 8 bytes in their order, or where `At` says."""


class Array(Reference, Generic[T]):
    """The address of the first of several elements."""

    def __getitem__(self, index: int) -> T:
        raise _only_native("an element")

    def __setitem__(self, index: int, value: T) -> None:
        raise _only_native("an element")

    def __add__(self, count: int) -> Array[T]:
        """The address of the element `count` further on."""
        raise _only_native("an address")


@record(slots=True)
class At:
    """Where a field lies, in bytes: a number that `text` is given under this name."""

    offset: str


@record(slots=True)
class Width:
    """The LLVM type in memory."""

    llvm: str


@record(slots=True)
class InPlace:
    """The field is no address of elements: they lie there themselves."""


Int32 = Annotated[int, Width("i32")]
Byte = Annotated[int, Width("i8")]
Float32 = Annotated[float, Width("float")]
Inline = Annotated[Array[T], InPlace()]


class Native:
    """A function of the language."""

    __slots__ = ("exported", "function", "inlined")

    def __init__(
        self, function: Callable[..., Any], *, exported: bool = False, inlined: bool = False
    ) -> None:
        self.function, self.exported, self.inlined = function, exported, inlined

    @property
    def name(self) -> str:
        return self.function.__name__

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


def native(function: F) -> F:
    """A function for others in the same module of LLVM."""
    return cast(F, Native(function))


def inlined(function: F) -> F:
    """A function that is written out wherever it is called."""
    return cast(F, Native(function, inlined=True))


def exported(function: F) -> F:
    """A function that is found by its name in the object code."""
    return cast(F, Native(function, exported=True))


def extern(function: F) -> F:
    """The signature of a function of C; its body is `...`."""
    return cast(F, Extern(function))


def external(kind: type[R], name: str) -> R:
    """The address of data elsewhere, by their name."""
    return cast(R, Data(name, kind, own=False))


def variable(kind: type[R], name: str) -> R:
    """The address of a word of this module, which is null at first."""
    return cast(R, Data(name, kind, own=True))


def stack(kind: type[R], count: int = 1, alignment: int = 8) -> R:
    """So many elements of an array, or one record, uninitialised, until the function returns."""
    raise _only_native("stack")


def inside(kind: type[R], base: Reference, offset: int) -> R:
    """What lies so many bytes behind an address."""
    raise _only_native("inside")


def exchange(place: Array[T], value: T) -> T:
    """Put a value into the first element and take out what was there, atomically."""
    raise _only_native("exchange")


def given(name: str) -> int:
    """A number that `text` is given under this name."""
    raise _only_native("given")


def _only_native(what: str) -> TypeError:
    return TypeError(f"{what}: code of the native language is compiled, not run by Python")
