"""Writes `runtime/functions/kernels.txt`, which dtypes PyTorch's functions refuse: `python docs/kernels.py`.

In flow an installed PyTorch and the calls in the tables of the tests; out flows a line for each function and
refusal, as `kernels.py` there reads it. A call is made again with its first Tensor of another dtype. What is
said at every call of a function, or at every one with as many axes, is its refusal of that dtype. It is made
a third time with all its Tensors of floating point of that dtype (`*`); and what is said at those calls alone
that fail is told apart (`?`). Rows of the elementwise table are asked about complex numbers.
"""

from __future__ import annotations

import ast
import copy
import re
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

HOME = Path(__file__).resolve().parents[1]
PAGE = HOME / "runtime" / "functions" / "kernels.txt"
DTYPES = {
    "bool": "Bool", "uint8": "Byte", "int8": "Char", "int16": "Short", "int32": "Int", "int64": "Long",
    "float16": "Half", "bfloat16": "BFloat16", "complex64": "ComplexFloat", "complex128": "ComplexDouble",
}  # fmt: skip
AREAS = {
    "F": "", "t": "", "t.nn.functional": "", "L": "linalg_", "t.linalg": "linalg_", "t.special": "special_",
}  # fmt: skip
"""Who holds functions, and how their names begin."""

HOLDERS = ("t", "t.nn.functional", "t.special")
"""Where rows are."""

Answers = dict[tuple[str, int], dict[str, set[str]]]
"""Of a function and the axes of its first Tensor, what is said of each dtype."""


def calls(case: str) -> Iterator[tuple[str, ast.Call, ast.expr]]:
    """The calls in a line: the name of each, with the first argument called `first_`, and that argument."""
    try:
        tree = ast.parse(case.rpartition("; ")[2], mode="eval")
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        made: Any = copy.deepcopy(node)
        holder, placed = ast.unparse(node.func.value), ast.Name("first_", ast.Load())
        if holder in AREAS and node.args:
            made.args[0] = placed
            yield AREAS[holder] + node.func.attr, made, node.args[0]
        elif holder not in AREAS:
            made.func.value = placed
            yield node.func.attr, made, node.func.value


def said(call: ast.Call, first: Any, names: dict[str, Any]) -> str:
    """What PyTorch says of a call; empty where it makes it."""
    try:
        eval(ast.unparse(call), {**names, "first_": first})
    except Exception as error:
        return f"{type(error).__name__}: {str(error).partition(' (Triggered')[0]}"
    return ""


def ask(case: str, names: dict[str, Any], found: Answers, dtypes: Iterable[str] = DTYPES) -> None:
    import torch

    steps, _, _ = case.rpartition("; ")
    names = dict(names)
    exec(steps, names)
    for name, call, argument in calls(case):
        try:
            first = eval(ast.unparse(argument), dict(names))
        except Exception:
            continue
        if not isinstance(first, torch.Tensor) or not first.is_floating_point() or said(call, first, names):
            continue
        for dtype in dtypes:
            kind = getattr(torch, dtype)
            alike = {key: cast(x, kind) for key, x in names.items()}
            for mark, given in (("", names), ("*", alike)):
                answer = said(call, first.detach().to(kind), given)
                found[name + mark, first.ndim][dtype].add(re.sub(rf"\b{DTYPES[dtype]}\b", "{}", answer))


def cast(x: Any, kind: Any) -> Any:
    """A Tensor of floating point in another dtype."""
    import torch

    return x.detach().to(kind) if isinstance(x, torch.Tensor) and x.is_floating_point() else x


def refusal(answers: set[str], failed: bool = False) -> str:
    """The one answer that says nothing about other Tensors; empty if there is none. Of calls that `failed`,
    if asked."""
    answers = answers - {""} if failed else answers
    if len(answers) != 1:
        return ""
    (only,) = answers
    plain = only and only.count("{}") <= 1 and "\n" not in only and only.startswith(("Not", "Run"))
    others = ("Float", "float ", "Double", "same", "equal", "[", "Found dtype", "must match", "destination")
    return only if plain and not any(other in only for other in others) else ""


def lines(found: Answers) -> Iterator[str]:
    ranks: dict[str, dict[int, dict[str, str]]] = defaultdict(dict)
    for (name, rank), answers in found.items():
        sure = {dtype: refusal(given) for dtype, given in answers.items()}
        ranks[name][rank] = sure
        ranks[f"{name}?"][rank] = {
            dtype: "" if sure[dtype] else refusal(given, failed=True) for dtype, given in answers.items()
        }
    for name, by_rank in sorted(ranks.items()):
        for rank, answers in by_rank.items() if "*" in name else ():
            sure = ranks[name.replace("*", "")].get(rank, {})
            answers.update({dtype: "" for dtype, text in answers.items() if text == sure.get(dtype)})
        told: dict[tuple[str, str], list[str]] = defaultdict(list)
        for dtype in DTYPES:
            texts = {answers.get(dtype, "") for answers in by_rank.values()}
            if len(texts) == 1:
                told["", texts.pop()].append(dtype)
                continue
            for rank, answers in sorted(by_rank.items()):
                told[f"/{rank}", answers.get(dtype, "")].append(dtype)
        for (rank, text), dtypes in told.items():
            if text:
                bare = name.rstrip("*?")
                yield f"{bare}{rank}{name[len(bare) :]}: {' '.join(dtypes)}: {text.partition(': ')[2]}"


def main() -> None:
    sys.path.insert(0, str(HOME / "tests"))
    import torch
    from linalg_cases import LINALG
    from test_functions import CASES, operands
    from test_linalg import matrices

    from retrograd.runtime.functions.rows import ROWS

    warnings.simplefilter("ignore")
    found: Answers = defaultdict(lambda: defaultdict(set))
    for case in CASES:
        ask(case, operands(torch, "float32", requires_grad=False), found)
    for case in LINALG:
        ask(case, matrices(torch, "float32"), found)
    for name, row in ROWS.items():
        holder = next((h for h in HOLDERS if hasattr(eval(h, {"t": torch}), name)), None)
        if holder is not None:
            case = f"{holder}.{name}({', '.join('xyxy'[: row.arity])})"
            ask(case, operands(torch, "float32", requires_grad=False), found, ("complex64", "complex128"))
    PAGE.write_text("\n".join(lines(found)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
