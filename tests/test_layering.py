"""The house rules that only the source can show: which file may import which, and where.

The files' imports are read with `ast`, nothing is run. In flows the tree of the three rooms, out flow
sentences, one per broken rule. A new file goes into a row of `FLOORS`, a heavy package into `LAZY`.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

import retrograd

REPOSITORY = Path(__file__).parents[1]

# From the ground up. A row is one floor; a name that ends in "/" is a directory with all below it.
# A file may import from its own floor and from those above it in this table, never from those below.
FLOORS = (
    (
        "compiler/errors.py",
        "compiler/dtypes.py",
        "compiler/record.py",
        "compiler/hands.py",
        "compiler/spinning.py",
        "compiler/uncollected.py",
    ),
    ("compiler/ir/",),
    ("compiler/ops/",),
    ("compiler/symbolic.py", "compiler/adjoint.py", "compiler/fingerprint.py"),
    ("compiler/passes/",),
    ("compiler/lower/",),
    ("compiler/schedule/",),
    ("compiler/backends/", "compiler/native/"),
    ("compiler/pipeline.py", "compiler/__init__.py"),
    # machine and user: nothing here knows what a Tensor is
    (
        "runtime/device.py",
        "runtime/strided.py",
        "runtime/random/",
        "runtime/formatting.py",
        "runtime/names.py",
        "runtime/grad_names.py",
        "runtime/grad_functions.py",
        "runtime/precision.py",
        "runtime/backends/",
        "runtime/version.py",
        "runtime/native/",
        "runtime/cuda/",
    ),
    # the Tensor, and what evaluates and records its operations
    (
        "runtime/modes.py",
        "runtime/converted.py",
        "runtime/paths.py",
        "runtime/tracing.py",
        "runtime/noted.py",
        "runtime/pytree.py",
        "runtime/eager/kernels.py",
        "runtime/eager/fusing.py",
        "runtime/eager/one_op.py",
        "runtime/eager/arrays.py",
        "runtime/eager/tape.py",
        "runtime/eager/memory.py",
    ),
    ("runtime/differentiable.py", "runtime/tensor.py", "runtime/eager/views.py"),
    ("runtime/eager/",),
    # what users call
    ("runtime/autograd/", "runtime/functions/"),
    (
        "runtime/amp/",
        "runtime/distributions/",
        "runtime/nn/",
        "runtime/optim/",
        "runtime/utils/",
        "runtime/accelerator.py",
        "runtime/cpu/",
        "runtime/distributed.py",
        "runtime/jit.py",
        "runtime/multiprocessing.py",
        "runtime/profiler/",
        "runtime/signal/",
        "runtime/types.py",
        "runtime/spectra.py",
        "runtime/fft.py",
        "runtime/linalg.py",
        "runtime/special.py",
        "runtime/func/",
        "runtime/safetensors.py",
        "runtime/saving.py",
        "runtime/serialization.py",
        "runtime/seeding.py",
        "runtime/switches.py",
        "runtime/testing.py",
        "runtime/__init__.py",
    ),
    ("runtime/compiled/",),
    ("retrograd/",),
)

LAZY = {"sympy", "scipy", "cuda", "llvmlite", "ml_dtypes"}
"""Packages so heavy, or so seldom there, that a function may import them when it needs them."""

UNSEEN = ("sympy", "scipy", "torch", "jax")
"""Packages that `import retrograd` must not load."""


def sources(root: Path) -> dict[str, ast.Module]:
    """Each file of the three rooms, by its path from `root`, parsed."""
    return {
        path.relative_to(root).as_posix(): ast.parse(path.read_text(encoding="utf-8"), path)
        for room in ("compiler", "runtime", "retrograd")
        for path in sorted((root / room).rglob("*.py"))
    }


def floor(path: str) -> int | None:
    """The floor that `path` stands on, or None for a path that no row names."""
    for height, row in enumerate(FLOORS):
        if any(path == name or (name.endswith("/") and path.startswith(name)) for name in row):
            return height
    return None


def imported(node: ast.Import | ast.ImportFrom, paths: set[str]) -> Iterator[str]:
    """The dotted names that an import loads: `from a import b` loads `a.b` if that is a module, else `a`."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    module = "." * node.level + (node.module or "")
    for alias in node.names:
        inner = f"{module}.{alias.name}"
        yield inner if located(inner, paths) else module


def located(module: str, paths: set[str]) -> str | None:
    """The file that `module`, a name as installed, comes from; None where it is not ours."""
    if module != "retrograd" and not module.startswith("retrograd."):
        return None
    inside = module.removeprefix("retrograd.").replace(".", "/")
    stems = (inside, f"retrograd/{inside}") if module != "retrograd" else ("retrograd",)
    found = (path for stem in stems for path in (f"{stem}.py", f"{stem}/__init__.py") if path in paths)
    return next(found, None)


def imports(tree: ast.Module) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Each import of a file, and whether it stands inside a function."""

    def walk(node: ast.AST, inside: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, inside
        inside = inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from walk(child, inside)

    return walk(tree, False)


def complaints(root: Path) -> list[str]:
    """One sentence for each broken rule below `root`."""
    trees = sources(root)
    paths = set(trees)
    found = [f"{path} stands on no floor: name it in FLOORS" for path in paths if floor(path) is None]
    for path, tree in trees.items():
        for node, inside in imports(tree):
            for module in imported(node, paths):
                found += (f"{path}:{node.lineno} {why}" for why in objections(path, module, inside, paths))
    return sorted(found)


def objections(path: str, module: str, inside: bool, paths: set[str]) -> Iterator[str]:
    """What is wrong with `path` importing `module`, inside a function or not."""
    top = module.partition(".")[0]
    if top in ("", "compiler", "runtime"):
        yield f"imports {module}: name the package as it is installed, retrograd.…"
    if inside and top not in LAZY:
        yield f"imports {module} inside a function: only {', '.join(sorted(LAZY))} may be"
    target = located(module, paths)
    if target is None:
        return
    here, there = floor(path), floor(target)
    if here is not None and there is not None and there > here:
        yield f"imports upward, {module}"


def cycle(root: Path) -> list[str]:
    """Files below `root` that import each other in a ring, or none."""
    trees = sources(root)
    paths = set(trees)
    graph = {
        path: {located(module, paths) for node, _ in imports(tree) for module in imported(node, paths)}
        - {None}
        for path, tree in trees.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_import_breaks_a_rule() -> None:
    assert complaints(REPOSITORY) == []


def test_no_files_import_each_other_in_a_ring() -> None:
    assert cycle(REPOSITORY) == []


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("compiler/ir/a.py", "from retrograd.compiler import pipeline", "imports upward"),
        ("compiler/ir/a.py", "from retrograd.compiler.ops.b import f", "imports upward"),
        ("compiler/ir/a.py", "import retrograd", "imports upward"),
        ("compiler/ir/a.py", "def f():\n    from retrograd.runtime.tensor import g", "imports upward"),
        ("compiler/ops/a.py", "def f():\n    import json", "inside a function"),
        ("compiler/ops/a.py", "from . import b", "as it is installed"),
        ("compiler/ops/a.py", "from compiler.ir import graph", "as it is installed"),
        ("runtime/tensor.py", "from retrograd import no_grad", "imports upward"),
        ("compiler/unheard_of.py", "", "stands on no floor"),
    ],
)
def test_a_broken_rule_is_found(tmp_path: Path, path: str, text: str, expected: str) -> None:
    plant(tmp_path, {path: text})
    assert any(path in complaint and expected in complaint for complaint in complaints(tmp_path))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("compiler/ops/a.py", "import json\nfrom retrograd.compiler.ir import graph"),
        ("compiler/ops/a.py", "def f():\n    import sympy"),
        ("runtime/tensor.py", "from retrograd.compiler.ops.b import f"),
        ("retrograd/__init__.py", "from retrograd.runtime.tensor import Tensor"),
    ],
)
def test_a_kept_rule_is_let_be(tmp_path: Path, path: str, text: str) -> None:
    plant(tmp_path, {path: text})
    assert complaints(tmp_path) == []


def test_a_ring_is_found(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            "compiler/ops/a.py": "from retrograd.compiler.ops import b",
            "compiler/ops/b.py": "from retrograd.compiler.ops.a import f",
        },
    )
    assert set(cycle(tmp_path)) == {"compiler/ops/a.py", "compiler/ops/b.py"}


def plant(root: Path, files: dict[str, str]) -> None:
    """A small house below `root`, with `files` in it."""
    house = dict.fromkeys(
        (
            "compiler/ir/graph.py",
            "compiler/ops/b.py",
            "compiler/pipeline.py",
            "runtime/tensor.py",
            "retrograd/__init__.py",
        ),
        "",
    )
    for path, text in (house | files).items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")


def test_what_the_table_of_floors_names_is_there() -> None:
    assert [name for row in FLOORS for name in row if not (REPOSITORY / name).exists()] == []


def test_importing_retrograd_loads_nothing_heavy() -> None:
    program = f"import sys, retrograd; print([name for name in {UNSEEN} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_front_door_shows_public_names_alone() -> None:
    shown = {name for name in dir(retrograd) if not name.startswith("__")}
    assert {"Tensor", "compile_grad", "nn", "sum", "float32", "pi"} <= shown
    assert not {"sys", "import_module", "TYPE_CHECKING", "ROOMS", "annotations"} & shown


def test_public_names_of_modules_are_no_second_copies() -> None:
    """A copy would have classes of its own, and take its time to load."""
    for room in ("autograd.function", "nn.functional", "nn.utils.rnn", "optim.lr_scheduler", "utils.data"):
        public = import_module(f"retrograd.{room}")
        assert public is import_module(f"retrograd.runtime.{room}")
