"""Symbols to code and back: SymPy's formula runs as native code, and what was traced is a formula again."""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy as sp

import retrograd as rg


def morse_potential() -> Any:
    """The energy of two bound atoms at a distance r, with its well at r = a."""
    r, a, depth, width = sp.symbols("r a D w", positive=True)
    return rg.from_sympy(depth * (1 - sp.exp(-(r - a) / width)) ** 2, (r, a, depth, width), name="morse")


def chain(bonds: Any, energy: Any) -> Any:
    """Ten thousand atoms in a row: a sum over their bonds."""
    return energy(bonds, 1.2, 4.5, 0.5).sum()


def main() -> None:
    energy = morse_potential()
    print(f"one bond, eagerly          {energy(1.0, 1.2, 4.5, 0.5):.12f}")

    bonds = np.random.default_rng(0).uniform(0.9, 2.0, 10_000)
    compiled = rg.compile_grad(lambda bonds: chain(bonds, energy))
    value, slopes = compiled.value_and_grad(bonds)
    step = 1e-6
    moved = bonds + step * (np.arange(bonds.size) == 7)
    by_differences = (compiled(moved) - compiled(bonds)) / step
    print(f"ten thousand, natively     {value:.6f}")
    print(f"slope at bond 7            {slopes[7]:.6f}, by differences {by_differences:.6f}")

    program = rg.compile_grad(energy).trace(1.0, 1.2, 4.5, 0.5)
    print(f"the formula again          {rg.to_sympy(program.graph)}")
    by_distance = rg.to_sympy(program.joint)[1]
    print(f"its derivative by r        {sp.simplify(by_distance)}")

    @rg.compile_grad
    def swish(x: Any) -> Any:
        return x * rg.sigmoid(x)

    print(f"what eager code computes   {rg.to_sympy(swish.trace(1.0).graph)}")


if __name__ == "__main__":
    main()
