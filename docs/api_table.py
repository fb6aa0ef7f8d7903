"""Writes `docs/api.md`: which of PyTorch's names there are, and how far: `python docs/api_table.py`.

In flow an installed PyTorch's public names, ours, and the tests' sources; out flows a table for each area. A
name is a "yes" if a test that runs beside PyTorch uses it, "partly" if it is there without such a test or
with a limit that `LIMITS` names, else "no"; of these, what `APART` matches is told apart. What a test uses is
read from its source (`evidence`): the lines of the tables of cases, the functions that take the library as
`t`, and those that take PyTorch as `torch`. `tests/test_api_table.py` holds the "yes" rows. A new area is a
row of `AREAS`.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

HOME = Path(__file__).resolve().parents[1]
PAGE = HOME / "docs" / "api.md"
sys.path.append(str(HOME / "tests"))

AREAS = {
    "": "`torch`: functions",
    "Tensor": "`torch.Tensor`: methods and attributes",
    "autograd": "`torch.autograd`",
    "autograd.functional": "`torch.autograd.functional`",
    "autograd.forward_ad": "`torch.autograd.forward_ad`",
    "autograd.graph": "`torch.autograd.graph`",
    "nn": "`torch.nn`",
    "nn.functional": "`torch.nn.functional`",
    "nn.init": "`torch.nn.init`",
    "nn.utils": "`torch.nn.utils`",
    "nn.utils.parametrizations": "`torch.nn.utils.parametrizations`",
    "nn.utils.parametrize": "`torch.nn.utils.parametrize`",
    "nn.utils.rnn": "`torch.nn.utils.rnn`",
    "optim": "`torch.optim`",
    "optim.lr_scheduler": "`torch.optim.lr_scheduler`",
    "optim.swa_utils": "`torch.optim.swa_utils`",
    "linalg": "`torch.linalg`",
    "distributions": "`torch.distributions`",
    "special": "`torch.special`",
    "fft": "`torch.fft`",
    "func": "`torch.func`",
    "testing": "`torch.testing`",
    "utils.checkpoint": "`torch.utils.checkpoint`",
    "utils.data": "`torch.utils.data`",
}
"""Where names are looked for, and the heading there."""

LISTED = {
    "distributions",
    "fft",
    "autograd.graph",
    "nn.utils.parametrizations",
    "nn.utils.parametrize",
    "optim.swa_utils",
    "testing",
    "utils.checkpoint",
}
"""Areas where names of other areas lie about, so that only those of a module's `__all__` count."""

LIMITS = {
    "autograd.forward_ad.make_dual": "what is computed with a dual says `requires_grad=True` until it is "
    "unpacked, and has no tangent where it was computed under `no_grad` (open the level inside `no_grad`); a "
    "`Function`'s `jvp` is not called, its `backward` is differentiated; where a gradient leaves something "
    "out by definition (`padding_idx`, `scale_grad_by_freq`), so does the tangent",
    "autocast": "for the CPU; where there is a GPU, autocast for it is refused",
    "compile": "the whole function or an error; PyTorch's backends and `options` are not there",
    "load": "reads safetensors, never pickled files",
    "save": "writes safetensors, never pickled files",
    "nn.LinearCrossEntropyOptions": "they are checked, and change nothing: the batch is one chunk",
    "nn.DataParallel": "on the CPU, or on one GPU",
    "nn.SyncBatchNorm": "in one process",
    "Tensor.share_memory_": "views that were made before show the memory that it was in",
    "Tensor.resize_": "where it gets more memory, tensors that shared the old memory do not share the new",
}
"""What is there in part only, though a test may use it, and what is missing."""

APART = {
    "other devices and their libraries": r"cudnn|miopen|mkldnn|vulkan|ipu|xla|xpu|maia|mtia|mps|fbgemm|"
    r"batch_norm_(stats|elemt|backward|gather|update)|get_device_module|cudagraph|capture_stream|"
    r"accumulate_grad_stream|init_num_threads",
    "quantised numbers": r"^q_|quantiz|^qscheme$|int_repr|qparams|scaled_(grouped_)?mm|moving_avg_obs",
    "sparse and ragged layouts": r"sparse|^to_dense$|padded_tensor|coalesce|(row|col|ccol|crow)_indices|"
    r"^indices(_copy)?$|^values(_copy)?$|^dense_dim$|^(sp|ss|hs|ds|sadd|sspadd)p?a?d?d?mm$|^smm$|SparseAdam|"
    r"hspmm",
    "complex numbers of half precision": r"^chalf$",
    "scripts, profiles and PyTorch's own inside": r"parse_|import_ir|type_comment|unify_type|get_file_path|"
    r"rofiler|^fork$|^wait$|classproperty|cxx11_abi|NestedIO|has_torch_function|sym_fresh|sym_constrain|"
    r"FileCheck|Data(Pipe|Chunk)|datapipe|runtime_validation|argument_validation|"
    r"non_deterministic|guaranteed_|GraphExecGroup|debug_unwrap|int_or_pair|multiprocessing_env|"
    r"thread_safe_generator|is_distributed|is_storage|to_dlpack|layout_policy|view_replay|bind$|"
    r"copy_method_params|factory_kwargs|memory_budget|swap_in_optimizer|DefaultDeviceType",
    "dimensions as objects, and whole numbers of 64 bits without a sign": r"^(index|hash_tensor)$",
    "gone or going from PyTorch": r"^(symeig|solve|lstsq|matrix_rank|reinforce|volatile|Container|name|"
    r"native_norm|slice_inverse|Optimizer|PackedSequence_|resize|resize_as)$",
}
"""Kinds of names that are not for this library, and what such a name contains."""

ROOTS = {
    "t": "",
    "torch": "",
    "F": "nn.functional",
    "L": "linalg",
    "nn": "nn",
    "optim": "optim",
    "init": "nn.init",
    "fw": "autograd.forward_ad",
    "D": "distributions",
}
"""What the tests call a library and its rooms."""

UNEVEN = {"error_cases.py"}
"""Tables whose lines are not compared in what they compute."""


def names(library: ModuleType, area: str) -> set[str]:
    """The public names of an area: functions, classes, a Tensor's attributes; no modules and no constants."""
    home = library
    for part in filter(None, area.split(".")):
        home = getattr(home, part, None) or import_module(f"{home.__name__}.{part}")
    found = {name for name in dir(home) if not name.startswith("_")}
    if area == "Tensor":
        return found
    if area in LISTED:
        found &= set(getattr(home, "__all__", found))
    return {name for name in found if _is_api(getattr(home, name, None), area, library.__name__)}


INTERNAL = ("torch.overrides", "torch._jit_internal", "torch._C._autograd", "torch.autograd.graph")
"""Where names come from that only lie about in an area."""

CLASSES = {
    "": {"Generator", "enable_grad", "inference_mode", "no_grad", "set_grad_enabled"},
    "nn.functional": set(),
    "nn.init": set(),
}
"""The classes that count, in areas of functions."""


def _is_api(value: Any, area: str, library: str) -> bool:
    if not callable(value) or isinstance(value, ModuleType):
        return False
    home = getattr(value, "__module__", None) or library
    internal = home.startswith(INTERNAL) and home != f"torch.{area}"
    if not home.startswith((library, "torch")) or internal:
        return False
    if not isinstance(value, type):
        return True
    owned = area.startswith("optim") or value.__name__ not in ("Tensor", "Optimizer")
    return value.__name__ in CLASSES.get(area, {value.__name__}) and owned and value.__name__ != "Tensor"


# ---- what the tests use ------------------------------------------------------------------------------------


def evidence() -> set[str]:
    """The names, with their areas, that a test beside PyTorch uses."""
    found: set[str] = set()
    for path in sorted((HOME / "tests").rglob("*.py")):
        if path.name not in UNEVEN:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            strings = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)]
            strings += [_filled(n) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr)]
            if path.stem.endswith("_cases"):
                strings += _strings(list(vars(import_module(path.stem)).values()))
            for node in (*_cases(strings), *_programs(tree)):
                found.update(_used(node))
    return found


def _filled(text: ast.JoinedStr) -> str:
    """An f-string with a name in place of what it puts in."""
    return "".join(str(n.value) if isinstance(n, ast.Constant) else "_" for n in text.values)


def _strings(value: object) -> list[str]:
    """All strings in nested lists, tuples and dicts: some tables are made by a loop."""
    if isinstance(value, list | tuple):
        return [text for each in value for text in _strings(each)]
    if isinstance(value, dict) and "__builtins__" not in value:
        return [text for each in value.values() for text in _strings(each)]
    return [value] if isinstance(value, str) else []


def _cases(strings: Iterable[object]) -> Iterator[ast.AST]:
    """The lines of code among strings."""
    for value in strings:
        for text in (value, *value.splitlines()) if isinstance(value, str) else ():
            if "(" in text or "." in text:
                try:
                    yield ast.parse(text.strip())
                except (SyntaxError, ValueError):
                    continue


def _programs(tree: ast.AST) -> Iterator[ast.AST]:
    """The functions that take the library as `t`, or PyTorch as `torch`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.Lambda) and {"t", "torch"} & {
            a.arg for a in node.args.args
        }:
            yield node


def _used(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            chain = ast.unparse(node)
            root, _, rest = chain.partition(".")
            if root in ROOTS and re.fullmatch(r"[\w.]+", chain):
                yield f"{ROOTS[root]}.{rest}".lstrip(".")
            else:
                yield f"Tensor.{node.attr}"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield from (f"{area}.{node.func.id}" for area in ("nn.init", "optim", "optim.lr_scheduler"))


def closed(found: set[str], ours: ModuleType) -> set[str]:
    """With the elementwise rows, which are all compared with PyTorch, with other names of what is in use, and
    with the in-place form of each method in use.
    """
    functions = "retrograd.runtime.functions"
    rows = {*import_module(f"{functions}.rows").ROWS, *import_module(f"{functions}.pointwise").ALIASES}
    rows |= {f"Tensor.{name}" for name in rows}
    used = {id(_value(ours, name)) for name in (*found, *rows) if _value(ours, name) is not None}
    every = {_joined(area, name) for area in AREAS for name in names(ours, area)}
    same = {name for name in every if id(_value(ours, name)) in used and callable(_value(ours, name))}
    methods = {name for name in (*found, *same) if name.startswith("Tensor.")}
    return found | rows | same | {f"{name}_" for name in methods}


def _value(library: Any, name: str) -> Any:
    for part in name.split("."):
        library = getattr(library, part, None)
    return library


def _joined(area: str, name: str) -> str:
    return f"{area}.{name}".lstrip(".")


# ---- the page ----------------------------------------------------------------------------------------------


def sorted_out(theirs: ModuleType, ours: ModuleType) -> dict[str, dict[str, list[str]]]:
    """For each area the names that are a yes, partly and a no."""
    used = closed(evidence(), ours)
    found: dict[str, dict[str, list[str]]] = {}
    for area in AREAS:
        here = names(ours, area)
        answers: dict[str, list[str]] = {"yes": [], "partly": [], "no": [], "apart": []}
        for name in sorted(names(theirs, area)):
            full = _joined(area, name)
            missing = "apart" if kind_apart(name) else "no"
            there = "yes" if full in used and full not in LIMITS else "partly"
            answers[there if name in here else missing].append(name)
        found[area] = answers
    return found


def kind_apart(name: str) -> str:
    """The kind of names of `APART` to which a name belongs, if any."""
    return next((kind for kind, pattern in APART.items() if re.search(pattern, name)), "")


def page(theirs: ModuleType, ours: ModuleType) -> str:
    version = theirs.__version__.partition("+")[0]
    parts = [HEAD.format(version=version)]
    found = sorted_out(theirs, ours)
    apart = {name for answers in found.values() for name in answers.pop("apart")}
    for area, answers in found.items():
        parts.append(f"## {AREAS[area]}\n")
        rows = [
            f"| {answer} | {len(listed)} | {_told(listed)} |" for answer, listed in answers.items() if listed
        ]
        parts.append("\n".join(["| | | names |", "|---|---|---|", *rows]) + "\n")
    kinds = {kind: sorted(name for name in apart if kind_apart(name) == kind) for kind in APART}
    table = "\n".join(f"| {kind} | {len(listed)} | {_told(listed)} |" for kind, listed in kinds.items())
    parts.append(f"## Not for this library\n\n| kind | | names |\n|---|---|---|\n{table}\n")
    limits = "\n".join(f"| `{name}` | {text} |" for name, text in sorted(LIMITS.items()))
    parts.append(f"## Limits of some that are there\n\n| name | limit |\n|---|---|\n{limits}\n")
    return "\n".join(parts)


def _told(listed: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in listed)


HEAD = """# PyTorch's names

Which of PyTorch {version}'s public names are here: **yes**, and a test compares what it computes with
PyTorch; **partly**: it is here, but no such test uses it, or it has a limit (see the end); **no**. Names for
other devices, quantised and sparse numbers, scripts and PyTorch's own inside stand apart at the end.
The page is written by `python docs/api_table.py`, and a test holds each yes.
"""


def main() -> None:
    PAGE.write_text(page(import_module("torch"), import_module("retrograd")), encoding="utf-8")


if __name__ == "__main__":
    main()
