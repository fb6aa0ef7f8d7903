"""A module as NVIDIA's assembler may read it: products and sums without `.rn` fused wherever they can be.

PTX ISA document, `add`, `sub` and `mul` of floating-point numbers: without a rounding modifier "may be
optimized aggressively". Code that cannot bear it is wrong on a GPU, though not here; so tests execute the
fused text too.

    mul.f32 m, a, b; add.f32 d, m, c   →   mul.f32 m, a, b; fma.rn.f32 d, a, b, c
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ptx_text import Function, Instruction, Module, Name, Operand, Several

_REALS = (("f32",), ("f64",))
_NEGATED = "%contracted"
"""A register for the operand that changes its sign, of each type."""


def contracted(module: Module) -> Module:
    """The same module, every product fused with every sum that may have it."""
    functions = {name: _fused(f) for name, f in module.functions.items()}
    return replace(module, functions=functions)


def _fused(function: Function) -> Function:
    starts = {place: name for name, place in function.labels.items()}
    code: list[Instruction] = []
    labels: dict[str, int] = {}
    products: dict[str, tuple[Operand, Operand]] = {}
    for k, i in enumerate(function.code):
        labels |= {name: len(code) for name, place in function.labels.items() if place == k}
        if k in starts:
            products.clear()
        code += _with_product(i, products)
        _forget(_written(i), products)
        if i.opcode == "mul" and i.modifiers in _REALS and i.guard is None:
            target, a, b = i.operands
            assert isinstance(target, Name)
            if target not in (a, b):
                products[target.text] = a, b
    labels |= {name: len(code) for name, place in function.labels.items() if place == len(function.code)}
    registers = {**function.registers, f"{_NEGATED}f32": 32, f"{_NEGATED}f64": 64}
    return replace(function, registers=registers, labels=labels, code=code)


def _written(i: Instruction) -> set[str]:
    """The registers that an instruction may write: its first operand's."""
    first = i.operands[:1]
    parts = first[0].parts if first and isinstance(first[0], Several) else first
    return {p.text for p in parts if isinstance(p, Name)}


def _forget(written: set[str], products: dict[str, tuple[Operand, Operand]]) -> None:
    for name in [
        n
        for n, ab in products.items()
        if n in written or any(isinstance(x, Name) and x.text in written for x in ab)
    ]:
        del products[name]


def _with_product(i: Instruction, products: dict[str, tuple[Operand, Operand]]) -> list[Instruction]:
    """A sum or a difference, fused if it is one of a product."""
    if i.opcode not in ("add", "sub") or i.modifiers not in _REALS or i.guard is not None:
        return [i]
    target, left, right = i.operands
    (kind,) = i.modifiers
    minus = Name(f"{_NEGATED}{kind}")
    for product, other in ((left, right), (right, left)):
        if not isinstance(product, Name) or product.text not in products:
            continue
        a, b = products[product.text]
        if i.opcode == "add":
            return [_instruction(i, "fma", ("rn", kind), (target, a, b, other))]
        turned = other if product == left else a
        parts = (a, b, minus) if product == left else (minus, b, other)
        return [
            _instruction(i, "neg", (kind,), (minus, turned)),
            _instruction(i, "fma", ("rn", kind), (target, *parts)),
        ]
    return [i]


def _instruction(
    i: Instruction, opcode: str, modifiers: Sequence[str], operands: Sequence[Operand]
) -> Instruction:
    return replace(
        i, opcode=opcode, modifiers=tuple(modifiers), operands=tuple(operands), text=f"{i.text} (fused)"
    )
