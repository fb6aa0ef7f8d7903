"""Every example runs, says what it promises, and fits on a page."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"

SAYS = {
    "beside_pytorch.py": r"residual: .*at most \de-0[67]\n\ntransformer: .*at most \de-0[67]\n",
    "custom_function.py": r"differ from those of eager mode by \d\.\de-0[6-9].*step 400   loss 0\.000",
    "demo.py": r"losses above 1: \d\.\de-0[4-9].*: 9[789]\.\d%, compiled 9[789]\.\d%.*graph loss.*fm",
    "digits.py": r"9[789]\.\d% of the held-out digits",
    "formulas.py": r"by differences 4\.177.*D\*\(1 - exp.*what eager code computes +x/\(1 \+ exp\(-x\)\)",
    "hessian_vector_product.py": r"step 4 .*\|gradient\| \d\.\de-1\d\nboth come from one function",
    "in_c.py": r"float grad_x\[10\], .*gradient of value by x.*\.a: \d+ bytes\n(after 20000|there is no)",
    "on_a_gpu.py": r"step 100 on (cpu|cuda:0): loss \d+\.\d+\n.*on_a_gpu.py:\d+\n\.visible \.entry loss",
    "scipy_minimize.py": r"L-BFGS-B:  f = \S+e-\d+ .*\ntrust-ncg: f = \S+e-\d+ ",
    "see_inside.py": r"graph loss\(x: f32\[32, 8\], .*graph loss_and_gradient.*define .*loss_and_gradient",
    "sparse_derivatives.py": r"4608 x 4608, of which 27648 .*BDF: \d+ steps .*squares: .* within 0",
    "two_layer_net.py": r"the losses differ by at most \d\.\de-0[6-9] of the first one",
}
"""What an example prints, as a pattern."""


@pytest.mark.parametrize("name", SAYS)
def test_an_example_says_what_it_promises(name: str, tmp_path: Path) -> None:
    # Beside other tests, the threads of NumPy's OpenBLAS spend their time waiting for each other.
    environment = {**os.environ, "RETROGRAD_CACHE_DIR": str(tmp_path), "OPENBLAS_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name)], capture_output=True, text=True, env=environment
    )
    assert run.returncode == 0, run.stderr
    assert re.search(SAYS[name], run.stdout, re.DOTALL), run.stdout


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_fits_on_a_page(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 60
