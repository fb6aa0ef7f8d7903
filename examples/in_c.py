"""A function and its gradient as a C library: a C program minimises it, with no Python and no dependency.

Compiled by hand it is `cc -std=c99 -O2 descent.c librosenbrock.a -o descent`.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import retrograd as rg

DESCENT = r"""
#include <stdio.h>
#include "rosenbrock.h"

int main(void) {
    float x[10] = {0}, value, slope[10];
    char workspace[ROSENBROCK_WORKSPACE + 1];
    int step, k, code;
    for (step = 0; step < 20000; step++) {
        code = rosenbrock(x, &value, slope, workspace);
        if (code) return puts(rosenbrock_error(code)), 1;
        for (k = 0; k < 10; k++) x[k] -= 1e-3f * slope[k];
    }
    printf("after %d steps f = %.1e, x[9] = %.3f\n", step, value, x[9]);
    return 0;
}
"""


@rg.compile_grad
def rosenbrock(x: Any) -> Any:
    """Rosenbrock, "An Automatic Method for Finding the Greatest or Least Value of a Function", 1960."""
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = rosenbrock.trace(rg.zeros(10, requires_grad=True)).export(Path(folder) / "rosenbrock")
        print(files.header.read_text(encoding="utf-8"))
        print(f"{files.archive.name}: {files.archive.stat().st_size} bytes")
        source, program = Path(folder) / "descent.c", Path(folder) / "descent"
        source.write_text(DESCENT, encoding="utf-8")
        compiler = shutil.which("cc")
        if compiler is None:
            print("there is no C compiler here to go on with")
            return
        subprocess.run([compiler, "-std=c99", "-O2", source, files.archive, "-o", program], check=True)
        print(subprocess.run([program], capture_output=True, text=True, check=True).stdout, end="")


if __name__ == "__main__":
    main()
