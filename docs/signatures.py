"""Writes `runtime/functions/signatures.txt`, what PyTorch's functions take: `python docs/signatures.py`.

In flow an installed PyTorch and our names; out flows a line for each form of a function or method, as
`refusals.py` reads it. A function of several forms tells them all when it is called with too much; that of
one form is asked what it misses, and its stub tells the types. Of functions that PyTorch has in Python
`routines.py` says what they take and ask for.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from routines import BY_HAND, USES, constructor, operators, routine

HOME = Path(__file__).resolve().parents[1]
PAGE = HOME / "runtime" / "functions" / "signatures.txt"

TYPES = {
    "Tensor": "Tensor", "_int": "int", "SymInt": "int", "_bool": "bool", "_float": "float", "str": "str",
    "Number": "Number", "_complex": "Number", "_dtype": "torch.dtype", "_layout": "torch.layout",
    "DeviceLikeType": "torch.device", "Generator": "torch.Generator", "memory_format": "torch.memory_format",
    "_size": "tuple of ints", "Storage": "torch.Storage",
}  # fmt: skip
"""What the parser calls the types of the stubs."""

SCHEMA_TYPES = {
    "Tensor": "Tensor", "int": "int", "number": "Number", "bool": "bool", "float": "float", "str": "str",
    "List[int]": "tuple of ints", "List[float]": "tuple of floats", "List[Tensor]": "tuple of Tensors",
    "List[Optional[Tensor]]": "tuple of Tensors", "ScalarType": "torch.dtype", "SymInt": "int",
    "List[SymInt]": "tuple of ints", "Generator": "torch.Generator", "Device": "torch.device",
    "Layout": "torch.layout", "MemoryFormat": "torch.memory_format",
}  # fmt: skip
"""What the parser calls the types of operators' schemas."""

Forms = dict[str, list[ast.FunctionDef]]


def stubs(path: Path, inside: str = "") -> Forms:
    """The functions of a stub, or the methods of a class there, by name."""
    body: list[Any] = ast.parse(path.read_text(encoding="utf-8")).body
    if inside:
        body = next(c for c in body if isinstance(c, ast.ClassDef) and c.name == inside).body
    found: Forms = {}
    for f in body:
        if isinstance(f, ast.FunctionDef) and not (
            "names" in ast.unparse(f.args) or "ellipsis" in ast.unparse(f.args)
        ):
            found.setdefault(f.name, []).append(f)
    return found


def type_of(annotation: ast.expr | None) -> tuple[str, bool]:
    """The parser's name of a type, and whether None is one of its values."""
    text = ast.unparse(annotation) if annotation is not None else "object"
    parts = [part.strip() for part in re.split(r"\|(?![^\[]*\])", text)]
    several = next((p for p in parts if p.startswith(("Sequence[", "tuple[", "list[", "_size"))), None)
    if several is not None:
        of = "Tensors" if "Tensor" in several else "floats" if "_float" in several else "ints"
        wide = "[1]" if "_int" in parts and of == "ints" else ""
        return f"tuple{wide} of {of}", "None" in parts
    known = [TYPES[p] for p in parts if p in TYPES]
    if "Number" in known or {"Tensor", "int"} < {*known}:
        return ("Number" if "Tensor" not in known else "Tensor"), "None" in parts
    return (known[0] if known else "object"), "None" in parts


def parameters(f: ast.FunctionDef, method: bool) -> Iterator[str]:
    plain = f.args.args[method:]
    defaults: list[Any] = [None] * (len(plain) - len(f.args.defaults)) + f.args.defaults
    late = list(zip(f.args.kwonlyargs, f.args.kw_defaults))
    for place, (argument, default) in enumerate([*zip(plain, defaults), *late]):
        if place == len(plain):
            yield "*"
        kind, none = type_of(argument.annotation)
        sign = "?" if none else ""
        yield f"{kind}{sign} {argument.arg.rstrip('_')}" + (
            f" = {ast.unparse(default)}" if default is not None else ""
        )


def forms(name: str, function: Any, known: Forms, method: bool) -> list[str]:
    """What stands between the brackets, for each form; the name of the error's function first."""
    import torch

    operators = torch._C._nn
    try:
        function(*[object()] * 60)
    except Exception as error:
        text = str(error)
    else:
        return []
    if re.match(r"Tensor\w*\.\w+\(\) takes no arguments", text):
        return [f"TensorBase.{name}()"]
    if not re.match(rf"{name}\(\) |\w+_{name}\(\) |linalg_|new\(\) ", text):
        return []
    called = text.partition("(")[0]
    several = re.findall(r"^ \* \((.*)\)$", text, re.M)
    one = re.search(r"but expected \((.*)\)$", text)
    if one is not None:
        several = [one[1]]
    declared = known.get(name) or known.get(called, [])
    if several:
        lenient = [wider(form, called, declared) for form in several]
        mark = "!" if one is not None else ""
        return [f"{called}{mark}({form})" for form in lenient]
    known_forms = best(called, declared, method)
    vague = not known_forms or ("object" in known_forms[0] and function is getattr(operators, name, None))
    if vague and not isinstance(function, type):
        known_forms = schema(called, method) or known_forms
    most = re.search(r"takes (?:from \d+ to )?(\d+) positional", text)
    limited = [late(form, int(most[1])) if most is not None else form for form in known_forms]
    return [renamed(whole_form(form, called, declared), function) for form in limited]


def whole_form(form: str, called: str, declared: list[ast.FunctionDef]) -> str:
    head, _, inside = form[:-1].partition("(")
    return f"{head}({wider(inside, called, declared)})"


def wider(form: str, called: str, declared: list[ast.FunctionDef]) -> str:
    """The form, with what errors do not tell: for which sequences one int will do, and where None will."""
    import torch

    whole = {a.arg for f in declared for a in f.args.args if type_of(a.annotation)[0] == "tuple[1] of ints"}
    none: set[str] = set()
    names = set(re.findall(r"(?<!=) (\w+)(?= =|,|$)", form)) - {"input"}
    for known in torch._C._jit_get_schemas_for_operator(f"aten::{called}"):
        arguments = {a.name: a for a in known.arguments if a.name not in ("self", "input")}
        if not names - {"out"} <= arguments.keys() | UNKNOWN or not arguments.keys() <= names:
            continue
        whole |= {name for name, a in arguments.items() if a.N}
        none |= {
            name for name, a in arguments.items()
            if str(a.real_type).startswith("Optional[")
            or (a.N and a.has_default_value() and a.default_value == [])
        }  # fmt: skip

    def widened(found: re.Match[str]) -> str:
        kind, name = found[1], found[2]
        one = "tuple[1] of ints" if name in whole and kind == "tuple of ints" else kind
        return f"{one}{'?' * (name in none)} {name}"

    return re.sub(r"((?:tuple of )?[\w.]+) (\w+)(?= =|,|$)", widened, form)


UNKNOWN = {"dtype", "layout", "device", "pin_memory", "requires_grad", "generator"}
"""What forms say and schemas of the same overload may not."""


def late(form: str, most: int) -> str:
    """The form, of whose parameters only so many may come without a name."""
    called, _, inside = form[:-1].partition("(")
    parts = re.split(r", (?![^(]*\))", inside)
    if inside and "*" not in parts and len(parts) > most:
        parts.insert(most, "*")
    return f"{called}({', '.join(parts)})"


def schema(called: str, method: bool) -> list[str]:
    """The form of a function that no stub declares, by the operator of this name, if that has one."""
    import torch

    known = torch._C._jit_get_schemas_for_operator(f"aten::{called}")
    plain = next((s for s in known if s.overload_name == ""), None)
    if plain is None:
        return []
    parts: list[str] = []
    for argument in plain.arguments[method:]:
        if argument.kwarg_only and "*" not in parts:
            parts.append("*")
        kind = str(argument.real_type)
        none = kind.startswith("Optional[")
        told = SCHEMA_TYPES.get(kind.removeprefix("Optional[").removesuffix("]" * none), "object")
        if told == "tuple of ints" and argument.N:
            told = "tuple[1] of ints"
        default = f" = {argument.default_value}" if argument.has_default_value() else ""
        name = "input" if argument.name == "self" else argument.name
        parts.append(f"{told}{'?' * none} {name}{default}")
    written = max(len(s.arguments) for s in known) - len(plain.arguments)
    if written:
        parts += ["*"] * ("*" not in parts)
        parts.append(f"{'Tensor' if written == 1 else 'tuple of Tensors'}? out = None")
    return [f"{called}({', '.join(parts)})"]


def renamed(form: str, function: Any) -> str:
    """The form with the names that errors say, where the stub's are others."""
    try:
        function()
    except Exception as error:
        said = re.findall(r'"(\w+)"', str(error).partition("missing")[2])
    else:
        return form
    head, _, inside = form[:-1].partition("(")
    parts = inside.split(", ")
    for k, name in enumerate(said):
        if k < len(parts) and " = " not in parts[k] and parts[k] != "*":
            parts[k] = f"{parts[k].rpartition(' ')[0]} {name}"
    return f"{head}({', '.join(parts)})"


def best(called: str, declared: list[ast.FunctionDef], method: bool) -> list[str]:
    """Of the ways to write one form's arguments, that with the sequence."""
    written = [", ".join(parameters(f, method)) for f in declared if f.args.vararg is None]
    return [f"{called}({max(written, key=lambda w: ('tuple' in w, len(w)))})"] if written else []


def held(holder: Any, name: str) -> Any:
    """What an object has under a name; None for nothing, and for what it cannot show (`imag`)."""
    try:
        return getattr(holder, name, None)
    except RuntimeError:
        return None


def table(torch: ModuleType, ours: dict[str, dict[str, Any]]) -> Iterator[str]:
    """All lines: of the areas `""`, `nn.functional`, `linalg`, `special`, `fft` and of Tensor."""
    home = Path(torch.__file__).parent / "_C"
    tensor = torch.ones(2, 3)
    operators_known = stubs(home / "_VariableFunctions.pyi")
    sources = {
        "": (torch, operators_known),
        "nn.functional.": (torch.nn.functional, operators_known),
        "linalg.": (torch.linalg, {}),
        "special.": (torch.special, {}),
        "fft.": (torch.fft, {}),
        "Tensor.": (tensor, stubs(home / "__init__.pyi", "TensorBase")),
    }
    for area, (holder, known) in sources.items():
        for name in sorted(ours[area]):
            function = held(holder, name)
            if not callable(function) or name.startswith("__"):
                continue
            if hasattr(function, "__code__"):
                own = getattr(torch.Tensor, name) if area == "Tensor." else function
                full = f"{area}{name}"
                line = BY_HAND.get(full) or routine(own, uses=USES.get(full, ""))
                if line:
                    yield f"{area}{name}: {line}"
                continue
            for form in forms(name, function, known, area == "Tensor."):
                yield f"{area}{name}: {form}"


def constructors(theirs: ModuleType, ours: ModuleType) -> Iterator[str]:
    """The lines of classes."""
    for name in ours.__all__:
        owner = getattr(theirs, name, None)
        line = constructor(owner) if isinstance(owner, type) else ""
        if line:
            yield f"nn.{name}: {line}"


def operator_lines(torch: ModuleType, names: Iterable[str]) -> Iterator[str]:
    """The lines of operators that Python functions use."""
    declared = stubs(Path(torch.__file__).parent / "_C" / "_VariableFunctions.pyi")
    base = super(torch.Tensor, torch.ones(2, 3))
    holders = {"": torch, "_nn": torch._C._nn, "_VF": torch._VF, "linalg": torch.linalg, "_base": base}
    for full in names:
        area, _, name = full.rpartition(".")
        function = getattr(holders.get(area), name, None)
        if function is not None and not hasattr(function, "__code__"):
            known = {} if area == "_nn" else declared
            for form in forms(name, function, known, area == "_base"):
                yield f"{full}: {form}"


RESAMPLING = {
    f"_nn.{name}d"
    for name in (
        *(f"upsample_nearest{rank}" for rank in (1, 2, 3)),
        *(f"_upsample_nearest_exact{rank}" for rank in (1, 2, 3)),
        "upsample_linear1", "upsample_bilinear2", "upsample_bicubic2", "upsample_trilinear3",
    )
}  # fmt: skip
"""Operators that `interpolate` asks by its mode."""


def main() -> None:
    import torch

    import retrograd
    from retrograd.runtime.functions.public import FUNCTIONAL, FUNCTIONS, LINALG

    ours = {
        "": vars(retrograd) | FUNCTIONS, "nn.functional.": FUNCTIONAL, "linalg.": LINALG,
        "special.": vars(retrograd.special), "fft.": dict.fromkeys(retrograd.fft.__all__),
        "Tensor.": dict.fromkeys(dir(retrograd.Tensor)),
    }  # fmt: skip
    lines = [*table(torch, ours), *constructors(torch.nn, retrograd.nn)]
    told = {line.partition(": ")[0] for line in lines}
    lines += operator_lines(torch, sorted((operators(lines) | RESAMPLING) - told))
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
