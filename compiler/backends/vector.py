"""Writes LLVM IR as text: a `Block` collects the lines of one function body, a `Value` is one SSA name.

In flow Python expressions over Values (`fma(x, y, 1.0) * 0.5`), out flow lines such as
`%v3 = fmul contract <16 x float> %v2, splat (float 0x3FE0000000000000)`. A Value is a vector of `lanes`
elements of one kind, or a scalar when `lanes` is 1; the same expression writes either. No optimiser runs
after this, so instructions without side effects are shared in straight-line code (`Block.pure`).

A new operation of one LLVM instruction is a method of `Value`; an intrinsic, or a few instructions, is a
free function below. Only intrinsics that NVPTX can select in f32 and f64 may appear here.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Iterator

from retrograd.compiler.backends.kinds import (
    FLOATS,
    HALVES,
    INTEGERS,
    LLVM_TYPES,
    SUFFIXES,
    UNSIGNED,
    UNSIGNED_KINDS,
    Number,
    literal,
)
from retrograd.compiler.backends.means import PLAIN, Means
from retrograd.compiler.record import record

_NANS = ("0x7FF8", "0xFFF8", "0xH7E00", "0xHFE00")
"""How the text of a NaN begins."""
_NUMBER = re.compile(r"(?<=\w)\d+$")


@functools.cache
def _type(kind: str, lanes: int) -> str:
    name = LLVM_TYPES[kind]
    return name if lanes == 1 else f"<{lanes} x {name}>"


@record(slots=True, eq=False)
class Value:
    """An SSA value or a constant: `lanes` elements of `kind`."""

    block: Block
    ref: str
    """What stands for it as an operand: `%v3`, `0x3FF0000000000000`, `splat (i32 7)`."""
    kind: str
    lanes: int

    @property
    def type(self) -> str:
        """The LLVM type: `float`, `<16 x float>`."""
        return _type(self.kind, self.lanes)

    @property
    def is_constant(self) -> bool:
        """Is it a number other than NaN that stands in the text?"""
        return not self.ref.startswith("%") and not any(nan in self.ref for nan in _NANS)

    @property
    def floating(self) -> bool:
        return self.kind in FLOATS

    @property
    def signed(self) -> bool:
        """May it be negative?"""
        return self.kind not in UNSIGNED_KINDS

    def same(self, other: Value | Number) -> Value:
        """`other`, made a constant of this kind if it is a Python number."""
        if not isinstance(other, Value):
            return self.block.constant(self.kind, self.lanes, other)
        if (other.kind, other.lanes) != (self.kind, self.lanes):
            raise TypeError(f"operands differ in type: {self.type} and {other.type}")
        return other

    def _binary(self, other: Value | Number, integer: str, floating: str, swapped: bool = False) -> Value:
        """One instruction of two like operands; the first of `integer` and `floating` that fits the kind."""
        name = (floating and self.block.flagged(floating)) if self.floating else self._read(integer)
        if not name:
            raise TypeError(f"no such operator on {self.type}")
        left, right = (self.same(other), self) if swapped else (self, self.same(other))
        return self.block.pure(f"{name} {self.type} {left.ref}, {right.ref}", self.kind, self.lanes)

    def _compare(self, other: Value | Number, integer: str, floating: str) -> Value:
        """A comparison, lane by lane; of floats an ordered one."""
        name = f"fcmp {floating}" if self.floating else f"icmp {self._read(integer)}"
        return self.block.pure(f"{name} {self.type} {self.ref}, {self.same(other).ref}", "i1", self.lanes)

    def _read(self, instruction: str) -> str:
        """An instruction for signed integers, or its counterpart for what this kind's bits mean."""
        return instruction if self.signed else UNSIGNED.get(instruction, instruction)

    # fmt: off
    def __add__(self, other: Value | Number) -> Value: return self._binary(other, "add", "fadd")
    def __sub__(self, other: Value | Number) -> Value: return self._binary(other, "sub", "fsub")
    def __mul__(self, other: Value | Number) -> Value: return self._binary(other, "mul", "fmul")
    def __truediv__(self, other: Value | Number) -> Value: return self._binary(other, "sdiv", "fdiv")
    def __mod__(self, other: Value | Number) -> Value: return self._binary(other, "srem", "")
    def __and__(self, other: Value | Number) -> Value: return self._binary(other, "and", "")
    def __or__(self, other: Value | Number) -> Value: return self._binary(other, "or", "")
    def __xor__(self, other: Value | Number) -> Value: return self._binary(other, "xor", "")
    def __lshift__(self, other: Value | Number) -> Value: return self._binary(other, "shl", "")
    def __rshift__(self, other: Value | Number) -> Value: return self._binary(other, "ashr", "")
    def lshr(self, other: Value | Number) -> Value: return self._binary(other, "lshr", "")
    def urem(self, other: Value | Number) -> Value: return self._binary(other, "urem", "")

    def __radd__(self, other: Number) -> Value: return self._binary(other, "add", "fadd", swapped=True)
    def __rsub__(self, other: Number) -> Value: return self._binary(other, "sub", "fsub", swapped=True)
    def __rmul__(self, other: Number) -> Value: return self._binary(other, "mul", "fmul", swapped=True)
    def __rtruediv__(self, other: Number) -> Value: return self._binary(other, "sdiv", "fdiv", swapped=True)
    def __rmod__(self, other: Number) -> Value: return self._binary(other, "srem", "", swapped=True)
    def __rand__(self, other: Number) -> Value: return self._binary(other, "and", "", swapped=True)
    def __ror__(self, other: Number) -> Value: return self._binary(other, "or", "", swapped=True)
    def __rxor__(self, other: Number) -> Value: return self._binary(other, "xor", "", swapped=True)
    def __rlshift__(self, other: Number) -> Value: return self._binary(other, "shl", "", swapped=True)
    def __rrshift__(self, other: Number) -> Value: return self._binary(other, "ashr", "", swapped=True)

    def __lt__(self, other: Value | Number) -> Value: return self._compare(other, "slt", "olt")
    def __le__(self, other: Value | Number) -> Value: return self._compare(other, "sle", "ole")
    def __gt__(self, other: Value | Number) -> Value: return self._compare(other, "sgt", "ogt")
    def __ge__(self, other: Value | Number) -> Value: return self._compare(other, "sge", "oge")
    def eq(self, other: Value | Number) -> Value: return self._compare(other, "eq", "oeq")
    def ne(self, other: Value | Number) -> Value: return self._compare(other, "ne", "une")
    # fmt: on

    def __neg__(self) -> Value:
        if not self.floating:
            return self.same(0) - self
        return self.block.pure(f"fneg {self.type} {self.ref}", self.kind, self.lanes)

    def __invert__(self) -> Value:
        return self ^ -1

    def __bool__(self) -> bool:
        raise TypeError("a Value has no truth while code is being written: use select()")

    def unsigned(self, kind: str) -> Value:
        """This integer in a wider kind, its bits read as an unsigned number."""
        return self.block.convert("zext", self, kind)

    def isnan(self) -> Value:
        return self.ne(self)

    def to(self, kind: str) -> Value:
        """The same number in another kind.

        Float to integer truncates (see `_to_integer`), to i1 it compares with zero; i1 is 0 or 1. Integers
        wrap around.
        """
        if kind == self.kind:
            return self
        if self.kind in HALVES and kind != "f32":
            return self.to("f32").to(kind)
        if kind == "i1":
            return self.ne(0)
        if kind in HALVES and self.kind != "f32":
            return (_rounded_to_odd(self) if self.kind == "f64" else self.to("f32")).to(kind)
        by_arithmetic = self.block.means.conversions.get(kind if kind in HALVES else self.kind)
        if by_arithmetic is not None:
            converted: Value = (by_arithmetic.narrow if kind in HALVES else by_arithmetic.widen)(self)
            return converted
        if self.floating and kind in INTEGERS:
            return self._to_integer(kind)
        if LLVM_TYPES[kind] == LLVM_TYPES[self.kind]:
            return Value(self.block, self.ref, kind, self.lanes)
        return self.block.convert(self._conversion(kind), self, kind)

    def _conversion(self, kind: str) -> str:
        """The instruction that converts to `kind`, float to integer apart."""
        widens = (FLOATS | INTEGERS)[kind] > (FLOATS | INTEGERS)[self.kind]
        if self.floating:
            return "fpext" if widens else "fptrunc"
        if kind in FLOATS:
            return "uitofp" if self.kind == "i1" else self._read("sitofp")
        return "trunc" if not widens else "zext" if self.kind == "i1" else self._read("sext")

    def _to_integer(self, kind: str) -> Value:
        """Truncation as PyTorch's on x86: in 32 bits, of which shorter kinds keep the low ones, or in 64; NaN
        and what is beyond them give the least number. Doubles become u8 through 64 bits.

        LLVM leaves open what its instruction makes of such, and splits its saturating intrinsic into lanes.
        """
        wide = "i64" if kind == "i64" or (kind == "u8" and self.kind == "f64") else "i32"
        bound = 2.0 ** (INTEGERS[wide] - 1)
        inside = fabs(self) < bound
        whole = self.block.convert("fptosi", select(inside, self, 0.0), wide)
        return select(inside, whole, -int(bound)).to(kind)

    def bits(self) -> Value:
        """The bit pattern of a float, as the integer kind of the same width."""
        return self.block.convert("bitcast", self, f"i{FLOATS[self.kind]}")

    def as_float(self, kind: str | None = None) -> Value:
        """The number whose bit pattern this integer is: an f16, f32 or f64 unless another kind is asked
        for."""
        return self.block.convert("bitcast", self, kind or f"f{INTEGERS[self.kind]}")


def _rounded_to_odd(x: Value) -> Value:
    """An f64 as an f32 that rounds to the same half: cut, with the last bit set where anything was lost.

    After S. Boldo and G. Melquiond, "When double rounding is odd", 2005.
    """
    near = x.block.convert("fptrunc", x, "f32")
    bits, back = near.bits(), near.to("f64")
    beyond = fabs(back) > fabs(x)
    odd = select(beyond, bits - 1, bits) | 1
    return select(back.ne(x) & x.eq(x), odd, bits).as_float()


class Block:
    """The text of one LLVM function body, in order."""

    def __init__(self, entry: str = "entry", contract: bool = True, means: Means = PLAIN) -> None:
        self.lines: list[str] = [f"{entry}:"]
        self.preamble: list[str] = []
        """What is done first, before the lines after the label."""
        self.means = means
        self.declarations: dict[str, str] = {}
        """Per name, what the module must also hold: a `declare` line, or a private `define`."""
        self.here = entry
        """The label of the basic block being written, for phis."""
        self.contract = contract
        """May LLVM join a product and a sum into one rounding?"""
        self.tiles = False
        """Does it sum up tiles in registers?"""
        self._names = 0
        self._known: dict[str, Value] = {}
        """Values already computed in this stretch of code, by their right-hand side."""
        self._firsts: dict[str, Value] = {}
        """The same of those computed where the function begins."""

    def fresh(self, prefix: str = "v") -> str:
        """A name not used before in this function, without its sigil: `k173`, but `k1.73`."""
        self._names += 1
        return f"{prefix}.{self._names}" if prefix[-1].isdigit() else f"{prefix}{self._names}"

    def emit(self, rhs: str, kind: str, lanes: int = 1) -> Value:
        """Write `%v7 = rhs` and name the result. For loads, phis, calls."""
        value = Value(self, f"%{self.fresh()}", kind, lanes)
        self.lines.append(f"  {value.ref} = {rhs}")
        return value

    def pure(self, rhs: str, kind: str, lanes: int = 1) -> Value:
        """As `emit`, for an instruction that depends on its operands alone: an equal one is not repeated."""
        known = self._known.get(rhs)
        if known is None:
            known = self._known[rhs] = self.emit(rhs, kind, lanes)
        return known if known.kind == kind else Value(self, known.ref, kind, lanes)

    def first(self, rhs: str, kind: str, lanes: int = 1) -> Value:
        """As `pure`, for what depends on nothing: computed once, where the function begins."""
        known = self._firsts.get(rhs)
        if known is None:
            known = self._firsts[rhs] = Value(self, f"%{self.fresh()}", kind, lanes)
            self.preamble.append(f"  {known.ref} = {rhs}")
        return known

    def room(self, value: Value) -> str:
        """The address of memory for a value like this one."""
        address = f"%{self.fresh('room')}"
        self.preamble.append(f"  {address} = alloca {value.type}, align 64")
        return address

    @property
    def body(self) -> list[str]:
        """All lines of the function."""
        return [self.lines[0], *self.preamble, *self.lines[1:]]

    def do(self, text: str) -> None:
        """Write an instruction that has no result."""
        self.lines.append(f"  {text}")

    def label(self, name: str) -> None:
        """Begin a basic block; nothing is known there to have been computed."""
        self.lines.append(f"{name}:")
        self.here = name
        self._known.clear()

    def known(self) -> dict[str, Value]:
        """What has been computed and is not to be repeated, for `recall` in code that this place
        dominates."""
        return dict(self._known)

    def recall(self, known: dict[str, Value]) -> None:
        """Know just this, after a label."""
        self._known = known

    def declare(self, name: str, text: str) -> None:
        """See that the module holds `text`, which declares or privately defines `@name`."""
        self.declarations.setdefault(name, text)

    @contextlib.contextmanager
    def exact(self) -> Iterator[None]:
        """Within, every rounding happens as written: for error-compensated sequences."""
        before, self.contract = self.contract, False
        try:
            yield
        finally:
            self.contract = before

    def flagged(self, instruction: str) -> str:
        """A floating instruction with the flags that hold now."""
        return f"{instruction} contract" if self.contract and instruction != "fdiv" else instruction

    def constant(self, kind: str, lanes: int, number: Number) -> Value:
        """A number as a constant, rounded to `kind`; the same in every lane."""
        text = literal(kind, number)
        return Value(self, text if lanes == 1 else f"splat ({LLVM_TYPES[kind]} {text})", kind, lanes)

    def convert(self, instruction: str, value: Value, kind: str) -> Value:
        """`instruction VALUE to KIND`, lane by lane."""
        target = self.constant(kind, value.lanes, 0).type
        return self.pure(f"{instruction} {value.type} {value.ref} to {target}", kind, value.lanes)

    def rarely(
        self,
        name: str | None,
        condition: Value,
        common: tuple[Value, ...],
        rare: Callable[[], tuple[Value, ...]],
    ) -> tuple[Value, ...]:
        """`rare()` where any lane of `condition` holds, else `common`: a branch, for seldom and costly code.

        `rare` must give the right values for all lanes. Whenever it has this name it gives the same: where it
        has been asked for before, nothing is written.
        """
        keys = [f"{name}({', '.join(v.ref for v in (condition, value))})" for value in common]
        if name is not None and all(key in self._known for key in keys):
            return tuple(self._known[key] for key in keys)
        known, before = dict(self._known), self.here
        inside, after = self.fresh("rare"), self.fresh("join")
        odds = '!prof !{!"branch_weights", i32 1, i32 10000}'
        self.do(f"br i1 {any_lane(condition).ref}, label %{inside}, label %{after}, {odds}")
        self.label(inside)
        self._known = dict(known)
        others = rare()
        last = self.here
        self.do(f"br label %{after}")
        self.label(after)
        self._known = known
        joined = tuple(
            self.emit(f"phi {a.type} [ {a.ref}, %{before} ], [ {b.ref}, %{last} ]", a.kind, a.lanes)
            for a, b in zip(common, others, strict=True)
        )
        if name is not None:
            known.update(zip(keys, joined))
        return joined


def intrinsic(name: str, *values: Value) -> Value:
    """`llvm.NAME` of values of one type, giving that type."""
    first = values[0]
    block, kind = first.block, first.type
    suffix = SUFFIXES[first.kind] if first.lanes == 1 else f"v{first.lanes}{SUFFIXES[first.kind]}"
    full = f"llvm.{name}.{suffix}"
    if full not in block.declarations:
        block.declare(full, f"declare {kind} @{full}({', '.join([kind] * len(values))})")
    operands = ", ".join([f"{kind} {v.ref}" for v in values])
    return block.pure(f"call {kind} @{full}({operands})", first.kind, first.lanes)


def _alike(*operands: Value | Number) -> tuple[Value, ...]:
    """The operands, numbers among them made constants like the first Value."""
    model = next(x for x in operands if isinstance(x, Value))
    return tuple(map(model.same, operands))


# fmt: off
def sqrt(x: Value) -> Value: return intrinsic("sqrt", x)
def fabs(x: Value) -> Value: return intrinsic("fabs", x)
def floor(x: Value) -> Value: return intrinsic("floor", x)
def ceil(x: Value) -> Value: return intrinsic("ceil", x)
def trunc(x: Value) -> Value: return intrinsic("trunc", x)
def rint(x: Value) -> Value: return intrinsic("roundeven", x)
# fmt: on


def fma(a: Value | Number, b: Value | Number, c: Value | Number) -> Value:
    """a × b + c, rounded once. Of the factors, the younger is the last: x86's instruction writes over it, and
    it is the one that is seldom used again."""
    a, b, c = _alike(a, b, c)
    return intrinsic("fma", *((b, a) if _age(a) > _age(b) else (a, b)), c)


def _age(x: Value) -> int:
    """Of values in a function, the later ones have the larger numbers."""
    number = x.ref[2:]
    if not (number.isdecimal() and x.ref[0] == "%"):
        found = _NUMBER.search(x.ref)
        number = found[0] if found and not x.is_constant else "-1"
    return int(number)


def copysign(magnitude: Value | Number, sign: Value | Number) -> Value:
    return intrinsic("copysign", *_alike(magnitude, sign))


def select(condition: Value, a: Value | Number, b: Value | Number) -> Value:
    """`a` where the condition holds, else `b`, lane by lane."""
    a, b = _alike(a, b)
    if condition.ref in ("true", "false"):
        return a if condition.ref == "true" else b
    text = f"select {condition.type} {condition.ref}, {a.type} {a.ref}, {b.type} {b.ref}"
    return a.block.pure(text, a.kind, a.lanes)


def is_nvidias(x: Value) -> bool:
    """Is it of the kind for which NVIDIA's GPUs have instructions of their own (`math.nvidia`)? Among them
    are the larger and the smaller of two, which NaN passes."""
    return x.block.means.nvidia and x.kind == "f32"


def maximum(a: Value | Number, b: Value | Number) -> Value:
    """The larger; NaN if either is, as NumPy's."""
    a, b = _alike(a, b)
    if is_nvidias(a):
        return intrinsic("maximum", a, b)
    if b.is_constant:  # no NaN
        return select(a < b, b, a)
    larger = select(a > b, a, b)
    return select(a.isnan(), a, larger) if a.floating else larger


def minimum(a: Value | Number, b: Value | Number) -> Value:
    """The smaller; NaN if either is, as NumPy's."""
    a, b = _alike(a, b)
    if is_nvidias(a):
        return intrinsic("minimum", a, b)
    if b.is_constant:  # no NaN
        return select(a > b, b, a)
    smaller = select(a < b, a, b)
    return select(a.isnan(), a, smaller) if a.floating else smaller


def any_lane(condition: Value) -> Value:
    """Does the i1 condition hold in any lane? A scalar i1."""
    if condition.lanes == 1:
        return condition
    name = f"llvm.vector.reduce.or.v{condition.lanes}i1"
    condition.block.declare(name, f"declare i1 @{name}({condition.type})")
    return condition.block.pure(f"call i1 @{name}({condition.type} {condition.ref})", "i1")
