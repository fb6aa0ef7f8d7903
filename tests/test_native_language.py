"""The language of the runtime's native parts: what its functions compute is what Python computes.

Each function here is run twice, natively and as the Python that it also is; memory is tested against ctypes.
"""

from __future__ import annotations

import ctypes
import itertools
import math
from collections.abc import Callable
from enum import IntEnum
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import pytest

from retrograd.compiler.backends.cpu import assemble
from retrograd.compiler.backends.math import FUNCTIONS
from retrograd.compiler.backends.means import PLAIN
from retrograd.compiler.errors import CompilerError
from retrograd.compiler.native.language import (
    Array,
    At,
    Byte,
    Emitted,
    Float32,
    Floating,
    Inline,
    Int32,
    Order,
    Record,
    Unsigned,
    Unsigned32,
    Vector,
    atomic_add,
    atomic_load,
    atomic_store,
    bits,
    cast,
    ceil,
    chosen,
    compare_exchange,
    constants,
    exchange,
    exported,
    extern,
    floor,
    fused,
    given,
    inlined,
    inside,
    instance,
    native,
    places,
    provides,
    put,
    reduce,
    select,
    several,
    sqrt,
    stack,
    take,
    variable,
    words,
)
from retrograd.compiler.native.lowering import text
from retrograd.runtime.native import cpu
from retrograd.runtime.native.host import host

_C: dict[Any, Any] = {int: ctypes.c_int64, float: ctypes.c_double, bool: ctypes.c_bool, None: None}
_C["address"] = ctypes.c_void_p
_LIBRARIES: list[cpu.Library] = []


def compiled(function: Any, result: Any, *parameters: Any, **numbers: int) -> Callable[..., Any]:
    """A native function to be called from Python."""
    library = cpu.load(assemble(text([function], numbers), host()))
    _LIBRARIES.append(library)
    return ctypes.CFUNCTYPE(_C[result], *(_C[p] for p in parameters))(library.address(function.name))


class Colour(IntEnum):
    RED = 2
    GREEN = 5


SOME = 17


@exported
def arithmetic(a: int, b: int) -> int:
    c = a * 3 - (b << 2)
    c += SOME
    return (c ^ b) & 255 | (a >> 1) + min(a, b) - max(a, -b)


@exported
def loops(n: int) -> int:
    total = 0
    for i in range(n):
        if i == 7:
            continue
        for j in range(i, 0, -2):
            if j > 20:
                break
            total += i * j
    k = 0
    while True:
        k += 3
        if k > n:
            break
    while k > 0 and not total < 0:
        k -= 1
        total += 1
    return total - k


@exported
def conditions(a: int, b: int) -> bool:
    inner = 0 <= a < 5 <= b or not (a == b or a > 100)
    return inner and (a != 3 if b > 0 else a != 4)


@exported
def matched(colour: int) -> int:
    result = 1
    match colour:
        case Colour.RED:
            result = 10
        case Colour.GREEN | 7:
            return 20
        case _:
            result += colour
    return result


@inlined
def clamped(x: int, least: int) -> int:
    if x < least:
        return least
    x -= 1  # the caller's is another one
    return x


@native
def triangle(n: int) -> int:
    return 0 if n <= 0 else n + triangle(n - 1)


@exported
def calls(x: int, y: int) -> int:
    return clamped(x, y) * 1000 + clamped(clamped(y, x), 2) + triangle(x & 15) + x


@exported
def swapped(a: int, b: int) -> int:
    for _ in range(3):
        a, b = b, a + b
    return a * 1000 + b


@exported
def divided(a: int, b: int) -> int:
    return (a & 63) // (b & 7 | 1) * 100 + (a & 63) % (b & 7 | 1)


@native
def twice(x: int) -> int:
    return 2 * x


@native
def applied(work: Callable[[int], int], x: int) -> int:
    return work(x) + 1


@exported
def functions(x: int, y: int) -> int:
    return applied(twice, x) * applied(triangle, y & 7)


@exported
def floats(x: float, y: float) -> float:
    return x * y - 2.5 + (x if x > y else -y)


@pytest.mark.parametrize(
    ("function", "count"),
    [
        (arithmetic, 2),
        (loops, 1),
        (conditions, 2),
        (matched, 1),
        (calls, 2),
        (swapped, 2),
        (divided, 2),
        (functions, 2),
    ],
    ids=lambda x: getattr(x, "name", ""),
)
def test_computes_what_python_computes(function: Any, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    is_truth = function is conditions
    run = compiled(function, bool if is_truth else int, *[int] * count)
    for inner in ("clamped", "triangle", "twice", "applied"):
        monkeypatch.setitem(globals(), inner, globals()[inner].function)
    for values in itertools.product([-9, -1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 23, 101], repeat=count):
        assert run(*values) == function.function(*values), values


def test_floats() -> None:
    run = compiled(floats, float, float, float)
    for x, y in itertools.product([-1.5, 0.0, 2.25], repeat=2):
        assert run(x, y) == floats.function(x, y)  # type: ignore[attr-defined]


# --- other numbers ----------------------------------------------------------------------------------------
@exported
def unsigned(a: Unsigned, b: Unsigned) -> Unsigned:
    return a // b + a % b + (a >> 60) + (1 if a < b else 0)


@pytest.mark.parametrize("a", [0, 1, 7, 2**63 - 1, 2**63, 2**64 - 1])
def test_numbers_without_a_sign(a: int) -> None:
    run = compiled(unsigned, int, int, int)
    for b in (1, 3, 2**63, 2**64 - 1):
        assert run(a, b) % 2**64 == unsigned.function(a, b) % 2**64  # type: ignore[attr-defined]


@exported
def rounded(x: float, y: float) -> float:
    return floor(x) * 8.0 + ceil(y) / 4.0 - sqrt(abs(x)) + fused(x, y, 2.0**-3) + cast(float, cast(int, y))


def test_functions_of_floats() -> None:
    run = compiled(rounded, float, float, float)
    for x, y in itertools.product([-1.75, 0.0, 2.25, 9.0], repeat=2):
        expected = math.floor(x) * 8 + math.ceil(y) / 4 - math.sqrt(abs(x)) + (x * y + 0.125) + int(y)
        assert run(x, y) == expected, (x, y)


# --- several numbers at once ------------------------------------------------------------------------------
Words = Vector[Unsigned32, Literal[8]]
Wholes = Vector[Int32, Literal[8]]
Singles = Vector[Float32, Literal[8]]
Longs = Vector[int, Literal[8]]
FURTHER = (0.5, -2.0)
TABLE = constants(Array[Float32], "table", *range(8))


@inlined
def mapped(to: Array[Floating], of: Array[Floating], count: int, law: Callable[[Singles], Singles]) -> None:
    for i in range(0, count, 8):
        put(to + i, law(take(Singles, of + i)), count - i)


@inlined
def polynomial(x: Singles) -> Singles:
    value = x
    for coefficient in FURTHER:
        value = fused(value, x, coefficient)
    return value


@exported
def lanes_of_floats(to: Array[Float32], of: Array[Float32], count: int, least: float) -> None:
    scale = cast(Singles, least + 1.0)
    mapped(to, of, count, lambda x: select(x > least, polynomial(x) * scale, -take(Singles, TABLE)))


@exported
def lanes_of_integers(to: Array[Byte], of: Array[Unsigned32]) -> None:
    word = take(Words, of)
    mixed = cast(Longs, (word >> 3 ^ ~word << 1) % 1000) + cast(Longs, bits(Wholes, word) >> 31)
    put(to, mixed)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 16, 21])
def test_vectors_of_floats_are_numpys(count: int) -> None:
    x, y = np.linspace(-2, 3, 32, dtype=np.float32), np.full(32, 7, np.float32)
    run = compiled(lanes_of_floats, None, "address", "address", int, float)
    run(y.ctypes.data, x.ctypes.data, count, 0.25)
    wide = x.astype(np.float64)
    once = (wide * wide + 0.5).astype(np.float32).astype(np.float64)
    value = (once * wide - 2).astype(np.float32) * np.float32(1.25)
    expected = np.where(x > 0.25, value, -np.resize(np.arange(8, dtype=np.float32), 32))
    assert y[:count].tobytes() == expected[:count].tobytes()
    assert (y[count:] == 7).all()


def test_vectors_of_integers_are_numpys() -> None:
    word = np.array([0, 1, 2, 999, 2**31, 2**31 + 7, 2**32 - 1, 12345678], np.uint32)
    got = np.zeros(8, np.int8)
    compiled(lanes_of_integers, None, "address", "address")(got.ctypes.data, word.ctypes.data)
    mixed = ((word >> 3 ^ ~word << 1) % 1000).astype(np.int64) + (word.view(np.int32) >> 31)
    assert (got == mixed.astype(np.int8)).all()


@chosen
def curve(x: Vector[Float32, Literal[8]]) -> Vector[Float32, Literal[8]]: ...


Eight = Vector[Float32, Literal[8]]


@native
def total_of_curve(numbers: Array[Float32], count: int) -> float:
    total = cast(Eight, 0.0)
    for at in range(0, count, 8):
        x = take(Eight, numbers + at, count - at, -1.0)
        put(numbers + at, curve(x), count - at)
        total = total + take(Eight, numbers + at, count - at, 0.0)
    return reduce(lambda one, other: one + other, total)


@inlined
def halved(x: Eight) -> Eight:
    return x * 0.5


@pytest.mark.parametrize("count", [0, 1, 7, 8, 21])
@pytest.mark.parametrize(
    ("chosen_one", "oracle"),
    [
        (halved, lambda x: x * 0.5),
        (Emitted(FUNCTIONS["tanh"], PLAIN), np.tanh),
        (Emitted(FUNCTIONS["sin"], PLAIN), np.sin),  # of several blocks: of huge angles another way
        (Emitted(lambda x: x, PLAIN), lambda x: x),
    ],
    ids=["native", "tanh", "sin", "itself"],
)
def test_instances_choose_functions_of_vectors(chosen_one: Any, oracle: Any, count: int) -> None:
    run = compiled(instance(total_of_curve, "run", curve=chosen_one), float, "address", int)
    numbers = np.linspace(-2, 3, 24, dtype=np.float32)
    numbers[3::10] *= -1e6
    wanted = np.concatenate([oracle(numbers[:count].astype(np.float64)), numbers[count:]])
    total = run(numbers.ctypes.data, count)
    np.testing.assert_allclose(numbers, wanted, rtol=2e-6, atol=1e-6)
    np.testing.assert_allclose(total, numbers[:count].sum(dtype=np.float64), rtol=1e-5, atol=1e-5)


Truths = Vector[bool, Literal[8]]


@exported
def between(numbers: Array[Float32], truths: Array[bool], count: int, low: float) -> bool:
    """Those that were true, and not below."""
    most = cast(Eight, low)
    for at in range(0, count, 8):
        above = take(Eight, numbers + at, count - at, 0.0) > most
        put(truths + at, above & take(Truths, truths + at, count - at, False), count - at)
    return reduce(lambda x, y: x | y, take(Truths, truths))


@pytest.mark.parametrize("count", [8, 13])
def test_truth_values_are_bytes_in_memory(count: int) -> None:
    numbers = np.linspace(-1, 1, 16, dtype=np.float32)
    truths = np.arange(16) % 3 != 0
    before = truths.copy()
    run = compiled(between, bool, "address", "address", int, float)
    assert run(numbers.ctypes.data, truths.ctypes.data, count, -0.6)
    assert (truths[:count] == (before & (numbers > -0.6))[:count]).all()
    assert (truths[count:] == before[count:]).all()
    assert not run(numbers.ctypes.data, truths.ctypes.data, count, 2.0)


def test_an_instance_has_no_names_that_its_function_has_not() -> None:
    with pytest.raises(TypeError, match=r"an instance of total_of_curve has no \['curved'\]"):
        instance(total_of_curve, "run", curved=halved)


# --- memory -----------------------------------------------------------------------------------------------
class Inner(Record):
    first: int
    second: Annotated[Int32, At("second")]
    third: Annotated[Float32, At("third")]


class Outer(Inner):
    inner: Annotated[Inner, At("inner")]
    code: Annotated[Callable[[int], int], At("code")]
    rest: Annotated[Inline[int], At("rest")]


@exported
def through_memory(outer: Outer, by: int) -> int:
    outer.inner.second += by
    outer.third = outer.third * 2.0
    outer.rest[1] = outer.rest[0] + outer.inner.first
    cast(Array[Byte], outer.rest)[0] = 300
    room = stack(Array[int], 4)
    (room + 2)[0] = outer.code(by)
    return room[2] + inside(Array[int], outer, given("rest"))[1]


def test_fields_and_elements_are_those_of_memory() -> None:
    words = (ctypes.c_int64 * 8)()
    inner = (ctypes.c_int64 * 2)(1000)
    double = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(lambda x: 2 * x)
    base = ctypes.addressof(words)
    ctypes.c_int32.from_address(ctypes.addressof(inner) + 8).value = -5
    ctypes.c_float.from_address(base + 12).value = 1.25
    words[2], words[3], words[4] = ctypes.addressof(inner), ctypes.cast(double, ctypes.c_void_p).value, 7
    places = {"second": 8, "third": 12, "inner": 16, "code": 24, "rest": 32}
    run = compiled(through_memory, int, "address", int, **places)
    assert run(base, 3) == 6 + 1007
    assert ctypes.c_int32.from_address(ctypes.addressof(inner) + 8).value == -2
    assert ctypes.c_float.from_address(base + 12).value == 2.5
    assert words[4] == 300 % 256
    assert words[5] == 1007


class Row(Record):
    first: int
    several: Inline[int] = several(3)


class LongerRow(Row):
    others: Inline[int] = several(2)
    last: int


@exported
def through_a_row(row: LongerRow) -> int:
    own = stack(LongerRow)
    own.last = 1
    for i in range(3):
        row.several[i] = row.first * i
    row.others[1] = own.last
    own.others[1] = 20
    row.last = own.others[1] + own.last
    return row.others[0]


def test_fields_of_several_words_lie_in_their_order() -> None:
    assert places(LongerRow) == {
        "first": range(1), "several": range(1, 4), "others": range(4, 6), "last": range(6, 7),
    }  # fmt: skip
    assert words(LongerRow) == 7
    row = (ctypes.c_int64 * 8)(5, 0, 0, 0, 9, 0, 0, -3)
    assert compiled(through_a_row, int, "address")(ctypes.addressof(row)) == 9
    assert list(row) == [5, 0, 5, 10, 9, 1, 21, -3]


T = TypeVar("T", int, float)


@inlined
def joined(x: T, y: T) -> T:
    return x + y


@inlined
def lesser(x: T, y: T) -> T:
    return min(x, y)


@native
def first_of_all(numbers: Array[T], count: int) -> T:
    found = take(Vector[T, Literal[1]], numbers)
    put(numbers + count, found)
    for i in range(1, count):
        numbers[0] = joined(numbers[0], numbers[i])
    return numbers[0]


@pytest.mark.parametrize(("kind", "element"), [(Byte, "int8"), (Int32, "int32"), (Float32, "float32")])
def test_an_instance_is_of_a_type_and_of_functions(kind: Any, element: str) -> None:
    result = float if kind is Float32 else int
    numbers = np.array([7, 5, 100, 0], element)
    run = compiled(instance(first_of_all, "added", T=kind), result, "address", int)
    assert run(numbers.ctypes.data, 3) == 112
    assert list(numbers) == [112, 5, 100, 7]
    run = compiled(instance(first_of_all, "least", T=kind, joined=lesser), result, "address", int)
    assert run(numbers.ctypes.data, 3) == 5


@exported
def aliased(one: Array[int], other: Array[int]) -> int:
    before = one[0]
    other[0] = before + 1
    return one[0] * 10 + before


def test_what_is_read_again_after_a_write_is_new() -> None:
    run = compiled(aliased, int, "address", "address")
    word, other = (ctypes.c_int64 * 1)(4), (ctypes.c_int64 * 1)(4)
    assert run(ctypes.addressof(word), ctypes.addressof(other)) == 44
    assert run(ctypes.addressof(word), ctypes.addressof(word)) == 54


KEPT = variable(Array[Record | None], "kept")


@exported
def keep(thing: Record) -> Record | None:
    former = exchange(KEPT, thing)
    return None if former is thing else former


def test_a_variable_outlives_calls() -> None:
    run = compiled(keep, "address", "address")
    assert run(8) is None
    assert run(16) == 8
    assert run(16) is None


@native
def set_to(place: Array[int], value: int) -> None:
    place[0] = value


@exported
def set_and_end(place: Array[int], value: int) -> None:
    if value > 0:
        return set_to(place, value)
    place[1] = value


def test_what_gives_nothing_is_called_where_it_is_returned() -> None:
    run = compiled(set_and_end, None, "address", int)
    words = (ctypes.c_int64 * 2)(1, 2)
    run(ctypes.addressof(words), 7)
    run(ctypes.addressof(words), -7)
    assert list(words) == [7, -7]


@exported
def shared(number: Array[Unsigned32], word: Array[int]) -> int:
    atomic_store(number, 2**32 - 1, Order.RELEASE)
    former = atomic_add(number, 3)
    swapped_in = compare_exchange(word, 5, former)
    if compare_exchange(word, 5, 0):
        return -1
    return (atomic_load(number, Order.ACQUIRE) << 1 | (1 if swapped_in else 0)) + exchange(number, 7)


def test_atomic_steps() -> None:
    run = compiled(shared, int, "address", "address")
    number, word = ctypes.c_uint32(), ctypes.c_int64(5)
    assert run(ctypes.addressof(number), ctypes.addressof(word)) == (2 << 1 | 1) + 2
    assert (number.value, word.value) == (7, 2**32 - 1)
    assert run(ctypes.addressof(number), ctypes.addressof(word)) == (2 << 1) + 2


@extern
def chosen(x: int) -> int: ...


@provides(chosen)
def one_way(x: int) -> int:
    return x + 1


@provides(chosen)
def other_way(x: int) -> int:
    return x - 1


@exported
def by_choice(x: int) -> int:
    return 10 * chosen(x)


def test_a_function_that_another_one_provides() -> None:
    for way, expected in ((one_way, 50), (other_way, 30)):
        library = cpu.load(assemble(text([way, by_choice], {}), host()))
        assert ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(library.address("by_choice"))(4) == expected


@extern
def labs(value: int) -> int: ...


@exported
def of_c(value: int) -> int:
    return labs(value) + labs(value - 1)


def test_functions_of_c() -> None:
    assert compiled(of_c, int, int)(-3) == 7


# --- errors -----------------------------------------------------------------------------------------------
def no_statement(x: int) -> int:
    with x:  # type: ignore[attr-defined]
        return x


def no_result(x: int) -> int:
    if x > 0:
        return x


def unset(x: int) -> int:
    if x > 0:
        y = x
    return y


def unlike(x: int) -> int:
    y = x
    y = 1.5  # type: ignore[assignment]
    return y


def no_field(x: Inner) -> int:
    return x.fourth  # type: ignore[attr-defined,no-any-return]


def unreachable(x: int) -> int:
    return x
    x += 1


def too_many(x: int) -> int:
    return labs(x, x)  # type: ignore[call-arg]


def unlike_lanes(x: Array[Float32]) -> None:
    put(x, take(Singles, x) + take(Wholes, x))  # type: ignore[operator]


def unknown(x: int) -> int:
    return nowhere(x)  # type: ignore[name-defined]  # noqa: F821


def float_division(x: float) -> float:
    return x // 2.0


@pytest.mark.parametrize(
    ("function", "line", "why"),
    [
        (no_statement, 2, "no With in the native language"),
        (no_result, 1, "the end can be reached without a result"),
        (unset, 4, "'y' has no value on some way here"),
        (unlike, 3, "'y' is i64 elsewhere, double here"),
        (no_field, 2, "no field 'fourth' there"),
        (unreachable, 3, "this line is never reached"),
        (too_many, 2, "2 arguments where 1 are wanted"),
        (unlike_lanes, 2, "<8 x i32> where <8 x float> is wanted"),
        (float_division, 2, "no FloorDiv of double in the native language"),
        (unknown, 2, "name 'nowhere' is not defined"),
    ],
)
def test_what_the_language_lacks_is_said_with_its_line(
    function: Callable[..., Any], line: int, why: str
) -> None:
    with pytest.raises(CompilerError) as caught:
        text([exported(function)], {})
    at = function.__code__.co_firstlineno + line - 1
    assert str(caught.value).endswith(f"test_native_language.py:{at}: in {function.__name__}: {why}")


def test_native_functions_are_not_run_by_python() -> None:
    with pytest.raises(
        TypeError, match="triangle: code of the native language is compiled, not run by Python"
    ):
        triangle(3)
