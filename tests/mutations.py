"""Valid calls made wrong: each argument in turn is another value, another dtype or rank, missing, or one too
many.

In flow the lines of the tests' tables (`function_cases.py` and its kin, `linalg_cases.py`, `layer_cases.py`);
out flow `Mutation`s, a sample that depends on the lines alone. A new way to go wrong is an entry of `VALUES`,
or of `OTHER_TENSORS`.
"""

from __future__ import annotations

import ast
import copy
import hashlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

from layer_cases import LAYERS, LOSSES
from linalg_cases import LINALG
from test_functions import CASES

VALUES = ("None", "'a'", "1.5", "True", "7", "-3", "[1, 'a']", "(0, 1)", "t.ones(2)", "t.ones(2, 3)", "[]")
"""What an argument may be instead."""

OTHER_TENSORS = (
    "{}.long()", "{}.bool()", "{}.double()", "{}.detach()[None]", "{}.reshape(-1)", "{}.detach()[:1]",
    "{}.half()",
)  # fmt: skip
"""What a Tensor of the tables may be instead."""

TENSORS = {
    "x", "y", "c", "d", "a", "q", "v", "w", "u", "s", "one", "empty", "zero", "ties", "bad", "i", "j",
    "k", "b", "row", "image", "line", "kernel", "kernel1", "labels", "n", "p", "tall", "wide", "stack",
    "tallstack", "z",
}  # fmt: skip
"""The names of Tensors in the tables."""

INPUTS = (
    "t.ones(2)", "t.ones(2, 3)", "t.ones(2, 3, 4)", "t.ones(2, 3, 4, 5)", "t.ones(1, 2, 3, 4, 5)",
    "t.ones(4, 6, dtype=t.int64)", "t.ones(4, 6, dtype=t.float64)", "t.ones(2, 4, 6, 5).long()",
    "t.ones(2, 4, 6, 5).double()", "3", "None", "'a'", "t.ones(2), 3",
)  # fmt: skip
"""What a layer may be given instead."""


class Mutation(NamedTuple):
    table: str
    """Whose names it uses: `functions`, `matrices` or `layers`."""
    text: str


Edit = Callable[[Any], None]
"""What makes a call wrong."""


def sample(table: str, each: int) -> list[Mutation]:
    """So many mutations of every line of a table: those that the lines' hashes choose."""
    found: dict[Mutation, None] = {}
    for case in TABLES[table]():
        ways = list(mutated(case))
        for k in range(min(each, len(ways))):
            digest = hashlib.sha256(f"{k} {case}".encode()).digest()
            made = ways[int.from_bytes(digest[:8], "big") % len(ways)]
            found[Mutation(table, made())] = None
    return list(found)


def _layers() -> Iterator[str]:
    for layer in (*LAYERS, *LOSSES):
        made = layer.made.replace("nn.", "t.nn.")
        yield made
        if layer.call == "layer(*inputs)":
            yield f"{made}(given)"


TABLES: dict[str, Callable[[], Iterable[str]]] = {
    "functions": lambda: CASES, "matrices": lambda: LINALG, "layers": _layers,
}  # fmt: skip


def mutated(case: str) -> Iterator[Callable[[], str]]:
    """Each way in which one of a line's calls is made wrong, as the text of the line."""
    steps, separator, last = case.rpartition("; ")
    try:
        tree = ast.parse(last, mode="eval")
    except SyntaxError:
        return
    for place, call in enumerate(calls(tree)):
        for edit in edits(call):
            yield partial(_edited, tree, place, edit, f"{steps}{separator}")


def _edited(tree: ast.Expression, place: int, edit: Edit, before: str) -> str:
    fresh = copy.deepcopy(tree)
    edit(list(calls(fresh))[place])
    return before + ast.unparse(fresh)


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (isinstance(node.func, ast.Attribute) or _given(node)):
            yield node


def _given(call: ast.Call) -> bool:
    """Whether it gives a layer its inputs."""
    return [getattr(a, "id", "") for a in call.args] == ["given"]


def edits(call: ast.Call) -> Iterator[Edit]:
    if _given(call):
        for text in INPUTS:
            yield lambda c, text=text: c.args.__setitem__(slice(None), expressions(text))
        return
    for k, argument in enumerate(call.args):
        if not isinstance(argument, ast.Starred):
            for text in (*VALUES, *others(argument)):
                yield lambda c, k=k, text=text: c.args.__setitem__(k, *expressions(text))
            yield lambda c, k=k: c.args.__delitem__(k)
    for k in range(len(call.keywords)):
        for text in VALUES:
            yield lambda c, k=k, text=text: setattr(c.keywords[k], "value", *expressions(text))
    if isinstance(call.func, ast.Attribute):
        for text in others(call.func.value):
            yield lambda c, text=text: setattr(c.func, "value", *expressions(text))
    yield lambda c: c.args.extend(expressions("3"))
    yield lambda c: c.keywords.append(ast.keyword("foo", *expressions("1")))


def others(e: ast.expr) -> Iterable[str]:
    return (
        [text.format(e.id) for text in OTHER_TENSORS] if isinstance(e, ast.Name) and e.id in TENSORS else ()
    )


def expressions(text: str) -> list[ast.expr]:
    """One expression, or more of them: of arguments, separated by commas."""
    call: Any = ast.parse(f"f({text})", mode="eval").body
    return list(call.args)
