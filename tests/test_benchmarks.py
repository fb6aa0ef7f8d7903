"""The benchmarks' table can be read without the peers, and a row's result becomes text, JSON and a chart."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import device_programs
import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def run(code: str) -> str:
    """What a new process prints that finds the benchmarks' modules."""
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(BENCHMARKS)!r})\n{code}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_rows_have_names_of_their_own_and_load_no_library() -> None:
    names, loaded = run(
        "import rows\n"
        "print(*(row.name for row in rows.ROWS))\n"
        "print(*{'torch', 'jax', 'retrograd'} & set(sys.modules))"
    ).split("\n")[:2]
    assert len(names.split()) == len(set(names.split())) > 30
    assert loaded == ""


def test_a_row_is_measured_and_shown(tmp_path: Path) -> None:
    """Two contenders that run and agree, one that differs, one that cannot take part."""
    script = tmp_path / "bench.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(BENCHMARKS)!r})\n"
        "from pathlib import Path\n"
        "import json, chart, report\n"
        "from front_page import refreshed\n"
        "from harness import Arena, Jitted, Missing, Row\n"
        "def absent():\n"
        "    raise Missing('not here')\n"
        "def ours():\n"
        "    return Jitted(lambda: 1.5, lambda: None)\n"
        "same = {'compiled': ours, 'numpy': lambda: lambda: 1.5}\n"
        "other = {'torch': lambda: lambda: 2.5, 'jax': absent}\n"
        "ROW = Row('one', 'one number', same | other, rounds=2, placements=2, goal=1e-9)\n"
        "def table():\n"
        "    return {'one': ROW}\n"
        "def nothing(name):\n"
        "    pass\n"
        "if __name__ == '__main__':\n"
        "    with Arena(1, table, nothing) as arena:\n"
        "        result = arena.measure(ROW)\n"
        "    print(report.paragraph(result))\n"
        "    written = report.place(Path(sys.argv[1]), report.machine())\n"
        "    report.write(written, report.machine(), [result])\n"
        "    assert report.read(written, table()) == [result]\n"
        "    chart.draw(written, Path(sys.argv[1]) / 'chart.svg')\n"
        "    front_page = json.loads(written.read_text())['rows']\n"
        "    old = 'before\\n\\n|  | compiled |\\n|---|---|\\n| one number | 1 s |\\n\\nafter\\n'\n"
        "    print(refreshed(old, front_page))\n"
    )
    done = subprocess.run([sys.executable, str(script), str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "not here" in done.stdout
    assert re.search(r"compiled .* first call .*, compiling alone \d", done.stdout)
    assert done.stdout.count("result differs from the other contenders'") == 1
    assert "goal 1e-09×  yes" in done.stdout
    assert re.search(
        r"before\n\n\| +\| compiled \|.*\n\|-+.*\n\| one number \| .*, (numpy|torch) \|.*\n\nafter",
        done.stdout,
    )
    assert "| one number |" in next(tmp_path.glob("*.md")).read_text(encoding="utf-8")
    chart = ElementTree.parse(tmp_path / "chart.svg").getroot()
    assert chart.tag.endswith("svg")


def test_benchmarks_of_a_gpu_run_on_the_simulated_one(tmp_path: Path) -> None:
    told = run(
        f"sys.path.append({str(Path(__file__).parent)!r})\n"
        "import gpu\n"
        "from pathlib import Path\n"
        "from simulated_driver import SimulatedDriver\n"
        "from retrograd.runtime.cuda import driver\n"
        "gpu.CONTENDERS = {'retrograd': gpu.retrograd}\n"
        "with driver.use(SimulatedDriver()):\n"
        f"    gpu.main(['--tiny', '--into', {str(tmp_path)!r}])\n"
    )
    (written,) = tmp_path.glob("*-simulated-gpu-0.md")
    for row in (
        "pointwise",
        "sum-rows",
        "cross-entropy",
        "layer-norm",
        "gemm-8192",
        "training-step",
        "small",
        "eager",
    ):
        assert f"| {row} |" in told
        assert f"| {row} |" in written.read_text(encoding="utf-8")


def test_without_a_gpu_nothing_is_measured() -> None:
    command = [sys.executable, str(BENCHMARKS / "gpu.py")]
    missing = device_programs.real()
    if not isinstance(missing, str):
        pytest.skip("there is a GPU")
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "no GPU, so nothing is measured: " in done.stderr


def test_what_compiling_costs_is_told_of_programs_with_code_and_without() -> None:
    """One of each kind: machine code, a script of products, a script of strips."""
    lines = run(
        "import compile_latency\n"
        "compile_latency.RUNS = 1\n"
        "sys.argv[1:] = ['rosenbrock', 'product 8', 'sums of rows']\n"
        "compile_latency.main()\n"
    ).splitlines()
    told = [re.split("  +", line.strip()) for line in lines[1:]]
    assert [name for name, *_ in told] == ["rosenbrock", "product 8", "sums of rows"]
    assert [int(size) > 0 for *_, size, _ in told] == [True, False, False]
    assert [once.endswith(" for 2 routines") for *_, once in told] == [False, True, True]
