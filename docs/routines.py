"""What PyTorch's Python functions take and what they look at first, for `signatures.py`.

In flow functions; out flows for each what its call must fit, and in order the attributes and the operators
that it asks of its arguments when all options are as by default, for these are what complains:

    def elu(input, alpha=1.0, inplace=False): _nn.elu(input, alpha)
    def mse_loss(input, target, …): target.size; input.size; broadcast_tensors(input, target); …

An argument `_` is one that the function has worked out, `pair(x)` one that it has spread over two axes,
`given(x)` one for which it has found a value where there was none. `usual(x)` says that what follows holds
for the default of `x`; `[…] if inplace else […]` has the uses of both sides. The walk goes through plain
statements, goes both ways where an option of the caller decides, takes the side of another branch that the
defaults choose, and ends where it cannot know the side.
"""

from __future__ import annotations

import ast
import copy
import inspect
import textwrap
from collections.abc import Callable, Iterable
from typing import Any

HOLDERS = {
    "torch._C._nn": "_nn.", "_C._nn": "_nn.", "torch._VF": "_VF.", "_VF": "_VF.", "torch": "",
    "torch.linalg": "linalg.", "torch._C._VariableFunctions": "_VF.", "super()": "_base.",
}  # fmt: skip
"""Where operators are found, and the area of each."""

SPREAD = {"_single": "single", "_pair": "pair", "_triple": "triple", "tuple": "tuple"}
LITERALS = bool | int | float | str | None
MOST_FORKS = 2


BY_HAND = {
    "lu": "def _lu_no_infos(A, pivot=True, get_infos=False, out=None): "
    "_lu_with_info(A, pivot=pivot, check_errors=_)",
    "meshgrid": "def meshgrid(*tensors, indexing=None): "
    "_VF.meshgrid(spread(tensors), indexing=given(indexing))",
    "atleast_1d": "def atleast_1d(*tensors): _VF.atleast_1d(spread(tensors))",
    "atleast_2d": "def atleast_2d(*tensors): _VF.atleast_2d(spread(tensors))",
    "atleast_3d": "def atleast_3d(*tensors): _VF.atleast_3d(spread(tensors))",
}
"""Lines of functions that the walk does not see through."""


USES = {
    "nn.functional.embedding_bag": "weight.dtype; [input.size, per_sample_weights.size, weight.dim, "
    "input.dim] if per_sample_weights is not None else [weight.dim, input.dim]",
    "nn.functional.embedding": "[weight.size, embedding(weight, input, padding_idx, scale_grad_by_freq, "
    "sparse)] if padding_idx is not None else [embedding(weight, input, given(padding_idx), "
    "scale_grad_by_freq, sparse)]",
    "nn.functional.batch_norm": "[input.size, batch_norm(input, weight, bias, running_mean, running_var, "
    "training, momentum, eps, True)] if training else [batch_norm(input, weight, bias, running_mean, "
    "running_var, training, momentum, eps, True)]",
    "nn.functional.gaussian_nll_loss": "input.size",
    "nn.functional.margin_ranking_loss": "input1.dim; input2.dim; target.dim",
    "nn.functional.softmin": "input.softmax",
    **dict.fromkeys(
        (f"nn.functional.adaptive_max_pool{rank}d" for rank in (2, 3)),
        "input.size",
    ),
    "nn.functional.affine_grid": "theta.is_floating_point; "
    "affine_grid_generator(theta, size, given(align_corners))",
    **dict.fromkeys((f"nn.functional.lp_pool{rank}d" for rank in (1, 2, 3)), "input.pow"),
    **dict.fromkeys(
        ("nn.functional.upsample", "nn.functional.upsample_nearest", "nn.functional.upsample_bilinear"),
        "input.dim",
    ),
    **dict.fromkeys(
        (f"nn.functional.dropout{rank}d" for rank in (1, 2, 3)),
        "input.dim; [_VF.feature_dropout_(input, p, training)] if inplace else "
        "[_VF.feature_dropout(input, p, training)]",
    ),
    "unravel_index": "indices.is_complex",
    "tensordot": "[a.dim, b.dim, _VF.tensordot(a, b, _, _)] if whole(dims) else [_VF.tensordot(a, b, _, _)]",
    "norm": "input.layout; [linalg.vector_norm(input, 2, dim, keepdim, dtype=dtype)] if p == 'fro' else "
    "[[] if word(p) else [linalg.vector_norm(input, given(p), dim, keepdim, dtype=dtype)]]",
    "Tensor.unique": "[_unique2(self, sorted=sorted, return_inverse=return_inverse, "
    "return_counts=return_counts)] if dim is None else [_VF.unique_dim(self, dim, sorted=sorted, "
    "return_inverse=return_inverse, return_counts=return_counts)]",
    "Tensor.unique_consecutive": "_VF.unique_consecutive(self, return_inverse=return_inverse, "
    "return_counts=return_counts, dim=dim)",
}
"""What functions ask for, where the walk ends too early; `whole(x)` and `word(x)` are
whether that is an int, or a str."""


def routine(function: Callable[..., Any], owner: type | None = None, uses: str = "") -> str:
    """The line of a Python function, or of the constructor of a class; empty where it has no source."""
    inner = inspect.unwrap(dispatched(function))
    body = statements(inner)
    if not body:
        return ""
    if not uses:
        walk = Walk(inner, owner)
        walk.block(body)
        uses = "; ".join(walk.uses)
    name = inner.__qualname__ if "<locals>" not in inner.__qualname__ else inner.__name__
    return f"def {name}({parameters(inner)}): {uses}".rstrip(" :")


def statements(function: Any) -> list[ast.stmt]:
    try:
        tree: Any = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    except (OSError, SyntaxError):
        return []
    return list(tree.body) if isinstance(tree, ast.FunctionDef) else []


def constructor(owner: type) -> str:
    """The line of a class."""
    function: Any = getattr(owner, "__init__", None)
    plain = hasattr(function, "__code__") and not function.__code__.co_flags & inspect.CO_VARARGS
    return routine(function, defining(owner)) if plain else ""


def defining(owner: type, after: type | None = None) -> type | None:
    """The first class in the order of bases that has a constructor, after another one."""
    order = owner.__mro__
    rest = order[order.index(after) + 1 :] if after is not None else order
    return next((c for c in rest if hasattr(vars(c).get("__init__"), "__code__")), None)


def dispatched(function: Any) -> Any:
    """What PyTorch's switch between two functions calls by default."""
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or ()))
    if "if_false" not in cells:
        return function
    return cells["if_true" if cells["default"].cell_contents else "if_false"].cell_contents


def parameters(function: Any) -> str:
    """The parameters as Python writes them, without annotations; `...` for a default that is no literal."""
    shown = []
    for p in inspect.signature(function).parameters.values():
        plain = p.default is p.empty or isinstance(p.default, LITERALS)
        default = p.default if plain else ...
        shown.append(p.replace(annotation=p.empty, default=default))
    text = str(inspect.Signature(shown))[1:-1]
    return text.replace("Ellipsis", "...").replace("=inf", "=None").replace("=nan", "=None")


def literal(text: str) -> bool:
    """Whether a text is a number, a string, True, False or None."""
    try:
        return isinstance(ast.literal_eval(text), LITERALS)
    except (ValueError, SyntaxError):
        return False


def raising(body: list[ast.stmt]) -> bool:
    """Whether a block does nothing but fail, if that."""
    fails = bool(body) and isinstance(body[-1], ast.Raise)
    return fails or all(isinstance(s, ast.Raise | ast.Expr) for s in body)


class Attributes(ast.NodeTransformer):
    """Puts what is known of attributes of `self` in their place."""

    def __init__(self, values: dict[str, str]) -> None:
        self.values = values

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        value = self.values.get(ast.unparse(node))
        return node if value is None else ast.parse(value, mode="eval").body


class Walk:
    """Goes through a function's statements and notes what they ask of the parameters."""

    def __init__(self, function: Any, owner: type | None = None) -> None:
        self.known: dict[str, Any] = dict(function.__globals__)
        self.owner = owner
        """The class whose constructor is walked through."""
        self.values: dict[str, str] = {}
        """What local names, and attributes of `self`, stand for: a parameter, or a literal."""
        self.defaults: dict[str, Any] = {}
        for name, p in inspect.signature(function).parameters.items():
            self.values[name] = name
            if p.default is not p.empty:
                self.defaults[name] = p.default
        self.uses: list[str] = []
        self.later: list[ast.stmt] = []
        """What follows the block that is being walked through."""
        self.forks = 0
        """How many options this walk has taken one side of; of more than `MOST_FORKS` none is taken."""

    def block(self, body: list[ast.stmt]) -> bool:
        """Whether the function ends here."""
        outer = self.later
        for k, s in enumerate(body):
            self.later = [*body[k + 1 :], *outer]
            ends = self.fork(s) if self.divides(s) else self.statement(s)
            if ends:
                break
        else:
            ends = False
        self.later = outer
        return ends

    def divides(self, s: ast.stmt) -> bool:
        """Whether an option of the caller alone decides between two ways to go on."""
        if not isinstance(s, ast.If) or self.forks >= MOST_FORKS or not self.plain(s.test):
            return False
        if raising(s.body) or (raising(s.orelse) and s.orelse):
            return False
        return not (self.asks_nothing(s.body) and self.asks_nothing(s.orelse))

    def asks_nothing(self, body: list[ast.stmt]) -> bool:
        values = dict(self.values)
        idle = self.idle(body)
        self.values = values
        return idle

    def plain(self, test: ast.expr) -> bool:
        """Whether an expression only asks what an argument is, or whether it is there."""
        match test:
            case ast.Name(id=name):
                return self.values.get(name) == name and name in self.defaults
            case ast.Compare(
                left=left, ops=[ast.Is() | ast.IsNot() | ast.Eq()], comparators=[ast.Constant()]
            ):
                return self.plain(left)
            case ast.BoolOp(values=values):
                return all(map(self.plain, values))
        return False

    def fork(self, s: ast.If) -> bool:
        """Go both ways to the end of the function."""
        one, other = (self.side([*body, *self.later]) for body in (s.body, s.orelse))
        while one and other and one[0] == other[0]:
            self.uses.append(one.pop(0))
            other.pop(0)
        if one or other:
            self.uses.append(f"[{', '.join(one)}] if {ast.unparse(s.test)} else [{', '.join(other)}]")
        return True

    def side(self, body: list[ast.stmt]) -> list[str]:
        """What a function asks for from here on."""
        walk = copy.copy(self)
        walk.values, walk.uses, walk.later, walk.forks = dict(self.values), [], [], self.forks + 1
        walk.block(body)
        return walk.uses

    def statement(self, s: ast.stmt) -> bool:
        match s:
            case ast.If(test=test):
                if "has_torch_function" in ast.unparse(test) or "is_scripting" in ast.unparse(test):
                    return False
                chosen = self.constant(test)
                if chosen is None:
                    self.expression(test)
                    return not all(map(self.idle, (s.body, s.orelse)))
                taken, left = (s.body, s.orelse) if chosen[0] else (s.orelse, s.body)
                asked = self.asked(test)
                if asked and not raising(left) and not self.fills(s):
                    before = dict(self.values)
                    if self.idle(taken) and self.idle(left):
                        return False
                    self.values = before
                    self.uses.append(f"usual({', '.join(asked)})")
                return self.block(taken)
            case ast.Return(value=value):
                if value is not None:
                    self.expression(value)
                return True
            case ast.Raise():
                return True
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                self.expression(value)
                own = self.values.get(name) == name and name in self.defaults
                self.values[name] = f"given({name})" if own else self.argument(value)
            case ast.Assign(targets=[ast.Attribute(value=ast.Name(id="self"), attr=attr)], value=value):
                self.expression(value)
                self.values[f"self.{attr}"] = self.argument(value)
            case ast.Expr(value=value) | ast.Assign(value=value):
                self.expression(value)
        return False

    def idle(self, body: list[ast.stmt]) -> bool:
        """Whether a branch that may be taken asks for nothing, or fails; what it sets is unknown then."""
        if raising(body) and body:
            return True
        before, noted, forks = dict(self.values), len(self.uses), self.forks
        self.forks = MOST_FORKS
        ends = self.block(body)
        self.forks = forks
        idle = not ends and len(self.uses) == noted
        del self.uses[noted:]
        for name, value in self.values.items():
            if value != before.get(name):
                own = f"given({name})" if name in self.defaults else name
                self.values[name] = own if before.get(name) == name else "_"
        return idle

    def asked(self, test: ast.expr) -> list[str]:
        """The parameters that an expression depends on."""
        test = Attributes(self.values).visit(copy.deepcopy(test))
        names = {self.values.get(n.id, "") for n in ast.walk(test) if isinstance(n, ast.Name)}
        return sorted(n for n in names if n in self.defaults)

    def fills(self, s: ast.If) -> bool:
        """Whether a branch does no more than put a value where a parameter has none."""
        filled = [
            self.values.get(b.targets[0].id) in self.asked(s.test)
            for b in s.body
            if isinstance(b, ast.Assign) and isinstance(b.targets[0], ast.Name)
        ]
        return len(filled) == len(s.body) and all(filled) and not s.orelse

    def constant(self, test: ast.expr) -> tuple[Any] | None:
        """The value of an expression of defaults and the module's names alone."""
        local = {n: self.defaults[v] for n, v in self.values.items() if v in self.defaults}
        local |= {n: ast.literal_eval(v) for n, v in self.values.items() if literal(v)}
        test = Attributes(self.values).visit(copy.deepcopy(test))
        names = {n.id for n in ast.walk(test) if isinstance(n, ast.Name)}
        if any(n in self.values and n not in local for n in names):
            return None
        try:
            return (eval(ast.unparse(test), self.known, local),)
        except Exception:
            return None

    def expression(self, e: ast.expr) -> None:
        """Note what an expression asks for, in the order in which Python does."""
        match e:
            case ast.Call(func=func, args=args, keywords=keywords):
                self.expression(func)
                for each in (*args, *(k.value for k in keywords)):
                    self.expression(each)
                self.call(e)
            case ast.Attribute(value=ast.Name(id=name), attr=attr) if name in self.values:
                if self.values[name] == name and self.owner is None:
                    self.uses.append(f"{name}.{attr}")
            case ast.IfExp(test=test, body=body, orelse=orelse):
                chosen = self.constant(test)
                if chosen is not None:
                    self.expression(body if chosen[0] else orelse)
            case ast.BoolOp(values=[first, *_]):
                self.expression(first)
            case ast.Lambda() | ast.JoinedStr():
                return
            case _:
                for each in ast.iter_child_nodes(e):
                    if isinstance(each, ast.expr):
                        self.expression(each)

    def call(self, e: ast.Call) -> None:
        holder, _, name = ast.unparse(e.func).rpartition(".")
        if holder == "super()" and name == "__init__":
            self.base(e)
            return
        method = self.values.get(holder) == holder and f"{holder}.{name}" in self.uses
        if name.startswith("__") or (not method and holder not in HOLDERS):
            return
        if method and (e.args or e.keywords):
            self.uses.remove(f"{holder}.{name}")
        if method and not (e.args or e.keywords):
            return
        called = f"{holder}.{name}" if method else f"{HOLDERS[holder]}{name}"
        given = [self.argument(a) for a in e.args]
        given += [f"{k.arg}={self.argument(k.value)}" for k in e.keywords if k.arg]
        self.uses.append(f"{called}({', '.join(given)})")

    def base(self, e: ast.Call) -> None:
        """Go on in the constructor of the next class."""
        owner = defining(self.owner.__mro__[0], self.owner) if self.owner is not None else None
        if owner is None or not owner.__module__.startswith("torch.nn") or owner.__name__ == "Module":
            return
        function = vars(owner)["__init__"]
        named = {k.arg: self.argument(k.value) for k in e.keywords if k.arg}
        try:
            bound = inspect.signature(function).bind("self", *map(self.argument, e.args), **named)
        except TypeError:  # arguments that are spread
            return
        inner = Walk(function, owner)
        inner.defaults |= self.defaults
        inner.values |= {name: text for name, text in bound.arguments.items() if isinstance(text, str)}
        inner.block(statements(function))
        self.uses += inner.uses

    def argument(self, e: ast.expr) -> str:
        """A parameter, a literal, one of these over several axes, a tuple of them, or `_`."""
        match e:
            case ast.Name(id=name) if name in self.values:
                return self.values[name]
            case ast.Call(func=ast.Name(id=name), args=[only]) if name in SPREAD:
                return f"{SPREAD[name]}({self.argument(only)})"
            case ast.Call(func=ast.Name(id="_list_with_default"), args=[first, _]):
                return f"filled({self.argument(first)})"
            case ast.Attribute(value=ast.Name(id="self"), attr=attr):
                return self.values.get(f"self.{attr}", "_")
            case ast.Starred(value=value):
                return f"*{self.argument(value)}"
            case ast.Tuple(elts=elements) if elements:
                return f"({', '.join(map(self.argument, elements))},)"
        found = self.constant(e)
        return repr(found[0]) if found is not None and isinstance(found[0], LITERALS) else "_"


def operators(lines: Iterable[str]) -> set[str]:
    """The operators that lines use, with their areas."""
    found: set[str] = set()
    for line in lines:
        for use in filter(None, line.partition("): ")[2].split("; ")):
            found |= called(ast.parse(use, mode="eval").body)
    return found


def called(use: ast.expr) -> set[str]:
    match use:
        case ast.IfExp(body=ast.List(elts=one), orelse=ast.List(elts=other)):
            return {name for each in (*one, *other) for name in called(each)}
        case ast.Call(func=func):
            return {ast.unparse(func)}
    return set()
