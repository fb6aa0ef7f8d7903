"""Text to Graph: reads what `print_graph` writes, so that a printed graph can be kept, edited and run.

    parse(str(graph))    is the same graph in a builder of its own, and prints the same

The grammar is that of `ir.graph`. Names of inputs are whatever stands before the colon, so each line is first
freed of them; then Python's own parser reads the call. What a static parameter may be is in `_literal`. Every
error names the line.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from math import inf, nan
from typing import Any, NoReturn, get_type_hints

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, Location, RetrogradError
from retrograd.compiler.ir.graph import OPS, Builder, Constant, Graph, Input, Leaf, Node, Op, Type

_TYPE = r"\w+\[[\d, ]*\]"
_ANY = rf"{_TYPE}…?|\(.*\)"
_HEADER = re.compile(rf"graph (?P<name>.+?)\((?P<inputs>.*)\) -> (?P<types>(?:{_TYPE}(?:, )?)*) \{{")
_INPUT = re.compile(rf"(?P<label>.+?): (?P<type>{_TYPE})(?:, |$)")
_NODE = re.compile(rf"(?P<name>%\w+) = (?P<call>.+?) +: (?P<type>{_ANY})(?: +# (?P<file>.+):(?P<line>\d+))?")
_RETURN = re.compile(r"return ?(?P<values>.*)")
_NUMBERS = {"nan": nan, "inf": inf}


def parse(text: str) -> Graph:
    """The graph that the text says.

    Raises ParseError, with the number of the line, for text that is no graph.
    """
    graphs: dict[str, Graph] = {}
    before = 0
    for part in re.split(r"(?<=\n}\n)\n+(?=graph )", text.strip("\n") + "\n"):
        reader = _Reader(part, before, graphs)
        try:
            graph = reader.graph()
        except ParseError:
            raise
        except (RetrogradError, ValueError) as error:
            reader.fail(str(error))
        graphs[graph.name] = graph
        before += part.count("\n") + 1
    return graph


class ParseError(ArgumentError):
    """Text that is no graph."""


@dataclass
class _Reader:
    """Goes through the lines; keeps the values known by name."""

    text: str
    before: int = 0
    """Lines before the text."""
    graphs: Mapping[str, Graph] = field(default_factory=dict)
    """Those that stand there."""
    line: int = 0
    known: dict[str, Node] = field(default_factory=dict)
    builder: Builder = field(default_factory=Builder)

    def fail(self, why: str, advice: str = "") -> NoReturn:
        raise ParseError(f"line {self.before + self.line} of a graph's text", why, advice)

    def graph(self) -> Graph:
        lines = [line.strip() for line in self.text.strip("\n").splitlines()]
        self.line = 1
        header = _HEADER.fullmatch(lines[0]) if lines else None
        if header is None:
            self.fail("it does not begin with a header", "such as: graph f(x: f32[2]) -> f32[] {")
        self._declare(header["inputs"])
        outputs: list[Node] | None = None
        for self.line, line in enumerate(lines[1:], 2):
            if outputs is not None:
                if line != "}" or self.line != len(lines):
                    self.fail(f"{line!r} follows the return", "the last line is }")
            elif found := _RETURN.fullmatch(line):
                outputs = [self._known(name) for name in found["values"].split(", ") if name]
            else:
                self._define(line)
        if outputs is None or lines[-1] != "}":
            self.fail("the end is missing", "the last two lines are: return value, …  and  }")
        types = ", ".join(str(node.type) for node in outputs)
        if types != header["types"]:
            self.line = 1
            self.fail(f"the types of the outputs are {types}, not {header['types']}")
        return Graph(header["name"], tuple(self.builder.inputs), tuple(outputs))

    def _declare(self, inputs: str) -> None:
        end = 0
        while end < len(inputs):
            found = _INPUT.match(inputs, end)
            if found is None:
                self.fail(f"{inputs[end:]!r} is no input", "write name: dtype[sizes]")
            if found["label"] in self.known:
                self.fail(f"two inputs are called {found['label']}")
            self.known[found["label"]] = self.builder.input(found["label"], _type(found["type"]))
            end = found.end()

    def _known(self, name: str) -> Node:
        if name not in self.known:
            self.fail(f"there is no value {name}", "a value is defined on a line before its use")
        return self.known[name]

    def _define(self, line: str) -> None:
        """`%k = op(…) : type`, perhaps with the user's line."""
        found = _NODE.fullmatch(line)
        if found is None:
            self.fail(f"{line!r} defines no value", "write %k = op(value, …, field=literal, …) : type")
        if found["name"] in self.known:
            self.fail(f"{found['name']} is defined already")
        where = Location(found["file"], int(found["line"]), "") if found["file"] else None
        with self.builder.at(where):
            node = self._node(found["call"])
        if str(node.type) != found["type"]:
            self.fail(f"{found['name']} has the type {node.type}, not {found['type']}")
        self.known[found["name"]] = node

    def _node(self, text: str) -> Node:
        places: list[Node] = []
        call = self._call(text, places)
        op = self._op(call.func.id, call.keywords) if isinstance(call.func, ast.Name) else None
        if op is None:
            self.fail(f"{text!r} is no call of an op")
        operands = [self._operand(a, places) for a in call.args]
        shaped = [
            x for x in operands if isinstance(x, Node) and not (isinstance(x.op, Constant) and not x.ndim)
        ]
        if not shaped and not all(isinstance(x, Node) for x in operands):
            self.fail(f"{text!r} has numbers for operands only, so their dtype is not known")
        nodes = [x if isinstance(x, Node) else self.builder.constant(x, shaped[-1].dtype) for x in operands]
        if isinstance(op, Leaf) and nodes:
            self.fail(f"{op.name} takes no operands")
        return self.builder.node(op, *nodes)

    def _call(self, text: str, places: list[Node]) -> ast.Call:
        """The call as Python sees it, values by name put into `places` and numbered there."""

        def place(found: re.Match[str]) -> str:
            places.append(self._known(found[2]))
            return f"{found[1]}_[{len(places) - 1}]"

        labels = sorted((re.escape(name) for name in self.known if not name.startswith("%")), key=len)
        names = "|".join([r"%\w+", *reversed(labels)])
        text = re.sub(rf"(\(|, )({names})(?=,|\))", place, text)
        try:
            found = ast.parse(re.sub(r"(?<=\w)\[\]", "[()]", text), mode="eval").body
        except SyntaxError as error:
            self.fail(f"{text!r} cannot be read: {error.msg}")
        if not isinstance(found, ast.Call):
            self.fail(f"{text!r} is no call of an op")
        return found

    def _operand(self, e: ast.expr, places: list[Node]) -> Any:
        match e:
            case ast.Subscript(value=ast.Name(id="_"), slice=ast.Constant(value=int(k))):
                return places[k]
            case ast.Name(id=name) if name not in _NUMBERS:
                self.fail(f"there is no value {name}", "a value is defined on a line before its use")
        return self._literal(e)

    def _op(self, name: str, keywords: list[ast.keyword]) -> Op:
        found = OPS.get(name)
        if found is None or found is Input:
            self.fail(f"there is no op called {name}")
        if isinstance(found, Op):
            if keywords:
                self.fail(f"{name} has no parameters")
            return found
        made: Op = self._made(found, keywords)
        return made

    def _made(self, class_: Callable[..., Any], keywords: list[ast.keyword]) -> Any:
        """An instance of a dataclass, or of a named tuple, from its fields."""
        wanted = [f.name for f in fields(class_)] if is_dataclass(class_) else list(class_._fields)  # type: ignore[attr-defined]  # of a NamedTuple
        given = [str(k.arg) for k in keywords]
        if given != wanted:
            self.fail(f"{class_.__name__} has the parameters {wanted}, not {given}")
        hints = get_type_hints(class_)
        return class_(**{str(k.arg): self._literal(k.value, hints.get(str(k.arg))) for k in keywords})

    def _literal(self, e: ast.expr, class_: Any = None) -> Any:
        """The value of a static parameter; `class_` is what its field is declared to be."""
        match e:
            case ast.Constant(value=value):
                return value
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self._literal(operand)
            case ast.BinOp(
                left=real, op=ast.Add() | ast.Sub() as sign, right=ast.Constant(value=complex(imag=imag))
            ):
                return complex(self._literal(real), -imag if isinstance(sign, ast.Sub) else imag)
            case ast.Call(func=ast.Name(id="complex"), args=[real, imag]):
                return complex(self._literal(real), self._literal(imag))
            case ast.Tuple(elts=elements):
                return tuple(map(self._literal, elements))
            case ast.List(elts=elements):
                return list(map(self._literal, elements))
            case ast.Name(id=name) if name in _NUMBERS:
                return _NUMBERS[name]
            case ast.Name(id=name) if name in self.graphs:
                return self.graphs[name]
            case ast.Name(id=name) if name in {d.name for d in dtypes.ALL}:
                return dtypes.dtype(name)
            case ast.Subscript(value=ast.Name()):
                return _type(ast.unparse(e))
            case ast.Call(func=ast.Name(id="array"), args=[values, type_]):
                wanted = self._literal(type_)
                return np.array(self._literal(values), wanted.dtype.numpy).reshape(wanted.shape)
            case ast.Call(func=ast.Name(id=name), keywords=keywords) if name == getattr(
                class_, "__name__", ""
            ):
                return self._made(class_, keywords)
        self.fail(f"{ast.unparse(e)!r} is no literal")


def _type(text: str) -> Type:
    """`f32[2, 3]`"""
    name, _, sizes = text.partition("[")
    return Type(tuple(int(size) for size in re.findall(r"\d+", sizes)), dtypes.dtype(name))
