"""What every name costs on tiny tensors beside PyTorch: the lines of the tests' tables, taken apart.

    python benchmarks/eager_sweep.py [part of a piece …]

In flow the tables of cases in `tests/` and `eager_beside.BESIDE`; out flow the pieces that cost more than
`eager_overhead.WITHIN` times PyTorch's time, the worst first. A piece is one call, attribute or operator
whose operands are made before: `t.special.zeta(x.abs(), 2)` has two, and the second is given what the first
gives. A piece is timed with operands that record nothing, and with operands that do, forward and backward.
What it changes in place is made anew before each round. A new measurement is a line of a table of cases, or
of `BESIDE`.
"""

from __future__ import annotations

import ast
import sys
import timeit
import warnings
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import torch
from eager_beside import BESIDE
from eager_overhead import WITHIN

import retrograd

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

import func_cases  # the tests are a folder, not a package
import grad_name_cases
import layer_cases
import linalg_cases
import test_func
import test_functions
import test_linalg
import wider_cases

Names = dict[str, Any]


class Piece(NamedTuple):
    """A call, an attribute or an operator, of names that `steps` make."""

    text: str
    steps: str
    setting: str
    """A key of `SETTINGS`."""

    @property
    def changes(self) -> bool:
        """Whether it changes an operand."""
        return self.text.partition("(")[0].endswith("_")


class Timed(NamedTuple):
    piece: Piece
    recorded: bool
    ours: float
    """Microseconds."""
    theirs: float

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs


# ---- the names that lines use ------------------------------------------------------------------------------


def _functions(t: Any, recorded: bool) -> Names:
    return {**test_functions.operands(t, "float32", recorded), "L": t.linalg, "nn": t.nn, "o": t.optim}


def _matrices(t: Any, recorded: bool) -> Names:
    return _tracked(test_linalg.matrices(t, "float32"), recorded)


def _transforms(t: Any, recorded: bool) -> Names:
    return _tracked(test_func.operands(t), recorded)


def _layers(t: Any, recorded: bool) -> Names:
    t.manual_seed(11)
    return {"t": t, "nn": t.nn, "recorded": recorded}


def _tracked(names: Names, recorded: bool) -> Names:
    """The operands as leaves that require grad if their operations are to be recorded."""
    return {name: _leaf(x, recorded) for name, x in names.items()}


def _leaf(x: Any, recorded: bool) -> Any:
    if isinstance(x, tuple | list):
        leaves = [_leaf(each, recorded) for each in x]
        return leaves if isinstance(x, list) else tuple(leaves)
    if not getattr(x, "requires_grad", False) or not hasattr(x, "detach") or (x.is_leaf and recorded):
        return x
    return x.detach().requires_grad_(recorded)


SETTINGS: dict[str, Callable[[Any, bool], Names]] = {
    "functions": _functions, "matrices": _matrices, "transforms": _transforms, "layers": _layers,
}  # fmt: skip


def _lines() -> Iterator[tuple[str, str]]:
    """All lines, and in which setting each is read."""
    wider = (*wider_cases.COMPUTED, *wider_cases.OTHERS, *wider_cases.PHYSICS)
    functions = (*test_functions.CASES, *test_functions.HISTORIES, *grad_name_cases.NAMES, *wider, *BESIDE)
    yield from ((line, "functions") for line in functions)
    yield from ((line, "matrices") for line in linalg_cases.LINALG)
    yield from ((line, "transforms") for line in func_cases.FUNC)
    for layer in (*layer_cases.LAYERS, *layer_cases.LOSSES):
        made = [_input(layer, shape) for shape in layer.shapes]
        yield f"layer = {layer.made}; inputs = [{', '.join(made)}]; {layer.call}", "layers"


def _input(layer: layer_cases.Layer, shape: layer_cases.Shape) -> str:
    if layer.ints:
        return f"t.randint(0, {layer.ints}, {shape})"
    return f"t.rand({shape}).mul(0.8).add(0.1).requires_grad_(recorded)"


# ---- lines, taken apart ------------------------------------------------------------------------------------

MODULES = {"t", "F", "L", "np", "nn", "o"}


def pieces() -> Iterator[Piece]:
    found: dict[Piece, None] = {}
    for line, setting in _lines():
        steps, _, last = line.rpartition("; ")
        try:
            tree = ast.parse(last, mode="eval")
        except SyntaxError:
            found[Piece(last, steps, setting)] = None
            continue
        for node in _measured(tree.body):
            found[_piece(node, steps, setting)] = None
    return iter(found)


def _measured(node: ast.AST) -> Iterator[ast.expr]:
    """The calls, attributes and operators of an expression, but for what functions in it do."""
    if isinstance(node, ast.Lambda | ast.GeneratorExp | ast.ListComp):
        return
    if isinstance(node, ast.Call | ast.BinOp | ast.Compare | ast.Subscript) and not _is_numpys(node):
        yield node
    if isinstance(node, ast.Attribute) and not _is_of_module(node):
        yield node
    inner = [node.func.value, *node.args, *node.keywords] if _is_method(node) else ast.iter_child_nodes(node)
    for child in inner:
        yield from _measured(child)


def _is_method(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)


def _is_of_module(node: ast.AST) -> bool:
    """Whether it is a name of a library: `t.nn.functional`."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name) and node.id in MODULES


def _is_numpys(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func).startswith("np.")


def _piece(node: ast.expr, steps: str, setting: str) -> Piece:
    """The node with names for its operands, which further steps make."""
    made: list[str] = []
    text = ast.unparse(_Named(made).inside(ast.parse(ast.unparse(node), mode="eval").body))
    return Piece(text, "\n".join([*filter(None, [steps]), *made]), setting)


class _Named(ast.NodeTransformer):
    """Gives names to what is computed, and notes in `made` how."""

    def __init__(self, made: list[str]) -> None:
        self._made, self._numbers = made, count()

    def inside(self, node: ast.expr) -> ast.expr:
        """With names for what this node is given."""
        if _is_method(node) and isinstance(node, ast.Call):
            node.args, node.keywords = map(self.visit, node.args), map(self.visit, node.keywords)
            node.args, node.keywords = list(node.args), list(node.keywords)
            if not _is_of_module(node.func):
                node.func = self.generic_visit(node.func)
            return node
        return self.generic_visit(node)

    def visit(self, node: ast.AST) -> Any:
        computed = ast.Call | ast.BinOp | ast.Compare | ast.Subscript | ast.ListComp | ast.GeneratorExp
        if not isinstance(node, computed) and (not isinstance(node, ast.Attribute) or _is_of_module(node)):
            return node if isinstance(node, ast.Lambda) else self.generic_visit(node)
        name = f"made{next(self._numbers)}"
        self._made.append(f"{name} = {ast.unparse(node)}")
        return ast.Name(name)


# ---- timing ------------------------------------------------------------------------------------------------

BACKWARD = "T.autograd.backward([r for r in results({}) if r.requires_grad], seeds)"


def results(value: Any) -> Iterator[Any]:
    """The Tensors with points of a result, however nested."""
    if isinstance(value, tuple | list):
        for each in value:
            yield from results(each)
    elif hasattr(value, "requires_grad") and hasattr(value, "backward"):
        yield value


def prepared(t: Any, piece: Piece, recorded: bool) -> Names:
    names = SETTINGS[piece.setting](t, recorded) | {"T": t, "results": results}
    exec(piece.steps, names)
    return names if piece.changes else _tracked(names, True)


def statement(t: Any, piece: Piece, recorded: bool, names: Names) -> str:
    """What is timed: the piece, and of what is recorded, unless it is in place, also the way back."""
    if not recorded or piece.changes:
        return piece.text
    value = eval(piece.text, names)
    found = [r for r in results(value) if r.requires_grad]
    names["seeds"] = seeds = [t.ones_like(r) for r in found]
    if hasattr(value, "backward"):
        names["seed"] = seeds[0]
        return f"({piece.text}).backward(seed)"
    return BACKWARD.format(piece.text) if found else "nothing is recorded"


ROUNDS, LONG_ROUNDS = 7, 40


def timed(piece: Piece, recorded: bool, rounds: int) -> Timed | None:
    """The least times of so many rounds by turns; None of what PyTorch does not do."""
    torch.distributions.Distribution.set_default_validate_args(True)  # its compiler, once at work, ends that
    try:
        names = prepared(torch, piece, recorded)
        text = statement(torch, piece, recorded, names)
        exec(text, names)
        exec(text, names)
    except Exception:  # the tables also hold what fails, and what has no derivative
        return None
    settings = [names, prepared(retrograd, piece, recorded)]
    statement(retrograd, piece, recorded, settings[1])
    timers = [timeit.Timer(text, globals=names) for names in settings]
    for timer in timers:
        timer.timeit(6)
    if piece.changes:
        return Timed(piece, recorded, *_anew(piece, recorded, text, 3 * rounds))
    number = max(1, int(1e-3 / (sum(timer.timeit(6) for timer in timers) / 6)))
    times = zip(*([timer.timeit(number) for timer in timers] for _ in range(rounds)))
    theirs, ours = (min(column) / number * 1e6 for column in times)
    return Timed(piece, recorded, ours, theirs)


def _anew(piece: Piece, recorded: bool, text: str, rounds: int) -> tuple[float, float]:
    """Microseconds of a change, a few times on operands of its own."""
    columns: list[list[float]] = []
    for t in (retrograd, torch):
        found = []
        for _ in range(rounds):
            names = prepared(t, piece, recorded)
            found.append(timeit.Timer(text, globals=names).timeit(5) / 5 * 1e6)
        columns.append(found)
    return min(columns[0]), min(columns[1])


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    wanted = [p for p in pieces() if not sys.argv[1:] or any(part in p.text for part in sys.argv[1:])]
    both = [(piece, recorded) for piece in wanted for recorded in (False, True)]
    first = [found for found in (_tried(*each, ROUNDS) for each in both) if found]
    again = [_tried(t.piece, t.recorded, LONG_ROUNDS) for t in first if t.ratio > 0.95 * WITHIN]
    slow = sorted((t for t in again if t and t.ratio > WITHIN), key=lambda t: -t.ratio)
    for t in slow:
        way = "both ways" if t.recorded else "forward"
        steps = t.piece.steps.replace("\n", "; ")
        print(f"{t.ratio:7.2f}{t.ours:10.2f}{t.theirs:10.2f}  {way:10} {t.piece.text:60}  {steps}")
    print(f"{len(first) - len(slow)} of {len(first)} within {WITHIN}")


def _tried(piece: Piece, recorded: bool, rounds: int) -> Timed | None:
    try:
        return timed(piece, recorded, rounds)
    except Exception as error:
        print(f"here only it fails: {piece.text} {'recorded' if recorded else ''}: {error!r}", flush=True)
        return None


if __name__ == "__main__":
    main()
