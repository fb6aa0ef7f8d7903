"""PTX text → functions of statements, and the tables beside them: what `ptx_machine` executes.

    module    ::= directive* (variable | function)*
    function  ::= ".entry" | ".func" name "(" parameters ")" "{" (declaration | label | instruction)* "}"
    instruction ::= ["@" ["!"] predicate] opcode operand, …
    operand   ::= number | name | "[" name + offset "]" | "{" operand, … "}" | operand "|" operand
 The syntax is that of NVIDIA's PTX ISA document (chapters 4 and 5). In flows text, out flows a `Module`;
nothing is executed here, and whatever is not understood is a `Fault` that shows the line. A further directive
goes into `_IGNORED` or `_declaration`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field


class Fault(AssertionError):
    """What a GPU would do wrong, or this machine does not know."""


@dataclass(frozen=True, slots=True)
class Number:
    """A constant, as the bits that a register would hold."""

    bits: int


@dataclass(frozen=True, slots=True)
class Name:
    """A register, a variable, a label or a function."""

    text: str


@dataclass(frozen=True, slots=True)
class Address:
    """What `base` says, and `offset` bytes on."""

    base: Name | Number
    offset: int


@dataclass(frozen=True, slots=True)
class Several:
    """Operands that one instruction reads or writes together."""

    parts: tuple[Operand, ...]


Operand = Number | Name | Address | Several


@dataclass(frozen=True, slots=True)
class Instruction:
    """One statement of a function."""

    opcode: str
    """Without its modifiers: `fma`."""
    modifiers: tuple[str, ...]
    """`rn`, `f32`."""
    operands: tuple[Operand, ...]
    guard: tuple[str, bool] | None
    """A predicate, and the value of it with which the instruction is executed."""
    line: int
    text: str

    def fault(self, why: str) -> Fault:
        return Fault(f"PTX line {self.line}, `{self.text}`: {why}")


@dataclass(frozen=True, slots=True)
class Variable:
    """Memory with a name."""

    name: str
    space: str
    align: int
    nbytes: int
    data: bytes
    """What it holds at first; empty where nothing is said."""


@dataclass(slots=True)
class Function:
    """A kernel, or what kernels call."""

    name: str
    is_kernel: bool
    returned: list[Variable]
    parameters: list[Variable]
    threads: int = 0
    """The most threads that a block may have; 0 where nothing is said."""
    registers: dict[str, int] = field(default_factory=dict)
    """Their widths in bits; predicates have one."""
    variables: dict[str, Variable] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    """The number of the instruction that a label stands before."""
    code: list[Instruction] = field(default_factory=list)


@dataclass(slots=True)
class Module:
    """A whole text."""

    target: str = ""
    functions: dict[str, Function] = field(default_factory=dict)
    variables: dict[str, Variable] = field(default_factory=dict)


_WIDTHS = {"pred": 1, **{f"{kind}{bits}": bits for kind in "bsuf" for bits in (8, 16, 32, 64)}}
_WIDTHS |= {"f16x2": 32, "bf16": 16, "bf16x2": 32, "b128": 128}
_LINKAGE = r"(?:\.(?:visible|extern|weak|common|internal)\s+)*"
_IGNORED = re.compile(r"^[ \t]*\.(?:loc|file|section)\b.*$", re.MULTILINE)
_LABEL = re.compile(r"([\w$.%]+)\s*:(?!:)")
_DECLARED = re.compile(
    rf"{_LINKAGE}\.(?P<space>global|const|shared|local|param)\s+(?:\.align\s+(?P<align>\d+)\s+)?"
    r"\.(?P<type>\w+)\s+(?:\.ptr\s+(?:\.\w+\s+)?(?:\.align\s+\d+\s+)?)?(?P<name>[\w$.%]+)\s*"
    r"(?P<sizes>(?:\[\s*\d*\s*\])*)\s*(?:=\s*(?P<data>.*))?$",
    re.DOTALL,
)
_HEADER = re.compile(
    rf"{_LINKAGE}\.(?P<kind>entry|func)\s*(?:\((?P<returned>[^()]*)\)\s*)?(?P<name>[\w$.%]+)\s*"
    r"(?:\((?P<parameters>[^()]*)\))?(?P<rest>[^{;]*)$",
    re.DOTALL,
)


def parse(text: str) -> Module:
    """The module that a text describes."""
    return _Parser(_without_comments(text)).module()


def _without_comments(text: str) -> str:
    """The text, each line where it was."""
    text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m[0].count("\n"), text, flags=re.DOTALL)
    return _IGNORED.sub("", re.sub(r"//[^\n]*", "", text))


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    # ---- pieces of text ----

    def _skip(self) -> bool:
        """To what is not space; False at the end."""
        while self._at < len(self._text) and self._text[self._at].isspace():
            self._at += 1
        return self._at < len(self._text)

    def _until(self, stops: str) -> str:
        """What stands before the next of these signs, which is not passed over."""
        start = self._at
        found = re.compile(f"[{re.escape(stops)}]").search(self._text, start)
        if found is None:
            raise Fault(f"PTX line {self._line()}: the text ends within a statement")
        self._at = found.start()
        return self._text[start : self._at].strip()

    def _line(self) -> int:
        return self._text.count("\n", 0, self._at) + 1

    # ---- modules ----

    def module(self) -> Module:
        module = Module()
        while self._skip():
            directive = re.compile(r"\.(version|target|address_size)\s+([^\n]+)").match(self._text, self._at)
            if directive:
                module.target = directive[2].strip() if directive[1] == "target" else module.target
                self._at = directive.end()
                continue
            self._member(module)
        return module

    def _member(self, module: Module) -> None:
        """A variable or a function."""
        line, start = self._line(), self._at
        header = _HEADER.match(self._until("{;"))
        if header:
            function = _function(header, line)
            if self._text[self._at] == "{":
                self._at += 1
                self._body(function)
                module.functions[function.name] = function
            else:
                self._at += 1
            return
        self._at = start
        variable = _variable(self._until(";"), line)
        module.variables[variable.name] = variable
        self._at += 1

    def _body(self, function: Function) -> None:
        depth = 1
        while depth:
            if not self._skip():
                raise Fault(f"the text ends within {function.name}")
            sign = self._text[self._at]
            if sign in "{};":
                depth += {"{": 1, "}": -1, ";": 0}[sign]
                self._at += 1
                continue
            label = _LABEL.match(self._text, self._at)
            if label:
                function.labels[label[1]] = len(function.code)
                self._at = label.end()
                continue
            line = self._line()
            self._statement(function, self._until(";"), line)
            self._at += 1

    def _statement(self, function: Function, text: str, line: int) -> None:
        if text.startswith(".reg"):
            function.registers.update(_registers(text))
        elif text.startswith((".shared", ".local", ".param", ".extern")):
            variable = _variable(text, line)
            known = function.variables.get(variable.name)
            if known is None or known.nbytes < variable.nbytes:
                function.variables[variable.name] = variable
        elif not text.startswith(".pragma"):
            function.code.append(_instruction(text, line))


# ---- declarations ------------------------------------------------------------------------------------------


def _function(header: re.Match[str], line: int) -> Function:
    returned, parameters = (
        [_variable(part, line) for part in (header[key] or "").split(",") if part.strip()]
        for key in ("returned", "parameters")
    )
    bound = re.search(r"\.maxntid\s+(\d+)", header["rest"])
    return Function(
        header["name"], header["kind"] == "entry", returned, parameters, int(bound[1]) if bound else 0
    )


def _registers(text: str) -> Iterator[tuple[str, int]]:
    kind, names = re.fullmatch(r"\.reg\s+\.(\w+)\s+(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
    for name in names.split(","):
        many = re.fullmatch(r"\s*(.*)<(\d+)>\s*", name)
        found = [f"{many[1]}{k}" for k in range(int(many[2]))] if many else [name.strip()]
        yield from ((one, _WIDTHS[kind]) for one in found)


def _variable(text: str, line: int) -> Variable:
    found = _DECLARED.match(text.strip())
    if found is None:
        raise Fault(f"PTX line {line}, `{text}`: no declaration that is known here")
    element = _WIDTHS[found["type"]] // 8
    count = 1
    for size in re.findall(r"\[\s*(\d*)\s*\]", found["sizes"]):
        count *= int(size or 0)
    data = b"".join(_bytes(one, element) for one in re.findall(r"[-\w.]+", found["data"] or ""))
    nbytes = count * element
    return Variable(
        found["name"],
        found["space"],
        int(found["align"] or element),
        nbytes,
        data.ljust(nbytes, b"\0") if data else data,
    )


def _bytes(number: str, width: int) -> bytes:
    return (_number(number, 0).bits & ((1 << 8 * width) - 1)).to_bytes(width, "little")


# ---- instructions ------------------------------------------------------------------------------------------


def _instruction(text: str, line: int) -> Instruction:
    found = re.fullmatch(r"(?:@(!?)([\w$.%]+)\s+)?([\w.:]+)\s*(.*)", text, re.DOTALL)
    if found is None:
        raise Fault(f"PTX line {line}, `{text}`: no instruction")
    negated, predicate, name, operands = found.groups()
    opcode, *modifiers = name.split(".")
    return Instruction(
        opcode,
        tuple(modifiers),
        tuple(_operand(part, line) for part in _parted(operands, ",")),
        (predicate, not negated) if predicate else None,
        line,
        " ".join(text.split()),
    )


def _parted(text: str, separator: str) -> list[str]:
    """The parts between separators that stand in no brackets."""
    parts, depth = [""], 0
    for sign in text:
        depth += (sign in "[{(") - (sign in ")}]")
        if sign == separator and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    return [part.strip() for part in parts if part.strip()]


def _operand(text: str, line: int) -> Operand:
    if text[0] in "{(":
        return Several(tuple(_operand(part, line) for part in _parted(text[1:-1], ",")))
    if text[0] == "[":
        return _address(text[1:-1].strip(), line)
    if "|" in text:
        return Several(tuple(_operand(part, line) for part in _parted(text, "|")))
    if text[0].isdigit() or text[0] == "-":
        return _number(text, line)
    return Name(text)


def _address(text: str, line: int) -> Address:
    base, plus, offset = text.partition("+")
    start = _operand(base.strip(), line)
    assert isinstance(start, Name | Number)
    return Address(start, int(offset, 0) if plus else 0)


def _number(text: str, line: int) -> Number:
    if re.fullmatch(r"0[fF][0-9a-fA-F]{8}|0[dD][0-9a-fA-F]{16}", text):
        return Number(int(text[2:], 16))
    if re.fullmatch(r"-?(0[xX][0-9a-fA-F]+|\d+)U?", text):
        digits = text.rstrip("U")
        return Number(int(digits, 16 if "x" in digits.lower() else 10))
    if re.fullmatch(r"-?\d+\.\d*(e[-+]?\d+)?", text):
        return Number(struct.unpack("<Q", struct.pack("<d", float(text)))[0])
    raise Fault(f"PTX line {line}, `{text}`: no number")
