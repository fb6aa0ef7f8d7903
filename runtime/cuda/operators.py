"""What it means to apply an op to arrays on a GPU: a program of that op alone, compiled once for the
operands' types and kept. Movement that is a view starts nothing; an op's adjoint is one program, too.

In flow an op and operands: arrays of one GPU, small ones of the CPU, numbers; out flows an array. Importing
this file enters the interpreter in `INTERPRETERS`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import DeviceError, DtypeError
from retrograd.compiler.ir.graph import INTERPRETERS, Node, Op, Type, Value
from retrograd.compiler.ops.lapack import Lapack
from retrograd.compiler.ops.reverse import cotangents
from retrograd.compiler.ops.shape import Movement
from retrograd.compiler.record import NamedTuple
from retrograd.runtime import precision
from retrograd.runtime.cuda import code, devices
from retrograd.runtime.cuda.array import (
    ALIGNMENT,
    CudaArray,
    Operand,
    empty,
    number,
    operand_of,
    placed,
    rewrite,
    uploaded,
    written,
)
from retrograd.runtime.cuda.calls import Calls, native_call
from retrograd.runtime.cuda.code import Kernels
from retrograd.runtime.cuda.devices import Device
from retrograd.runtime.cuda.pinned import is_pinned
from retrograd.runtime.cuda.program import run
from retrograd.runtime.device import device
from retrograd.runtime.native.ports import UpdatePort
from retrograd.runtime.native.returns import Given
from retrograd.runtime.strided import Layout


class Launch:
    """Arrays on a GPU in, an array on that GPU out."""

    level = 1

    def entered(self, operands: Sequence[Value]) -> list[CudaArray]:
        """All operands on the GPU of the first that is on one. A number takes the dtype of the last operand
        that has one."""
        if all(type(x) is CudaArray for x in operands):
            return list(operands)
        gpu = next(x.gpu for x in operands if isinstance(x, CudaArray))
        like = dtypes.of([x for x in operands if isinstance(x, CudaArray | np.ndarray | np.generic)][-1])
        return [_entered(gpu, x, like) for x in operands]

    def apply(self, op: Op, operands: Sequence[Value]) -> CudaArray:
        arrays = self.entered(operands)
        if isinstance(op, Movement):
            return self._value(op, *arrays)
        gpu = arrays[0].gpu
        calls = gpu.made.get(("value", op))
        if calls is None:
            calls = gpu.once(("value", op), lambda: Calls(gpu, op.name, functools.partial(self._value, op)))
        found: CudaArray = calls.call(*arrays)
        return found

    def _value(self, op: Op, *arrays: CudaArray) -> CudaArray:
        gpu = arrays[0].gpu
        key = (op, precision.tf32, *[(x.layout, x.dtype, x.pointer % ALIGNMENT) for x in arrays])
        plan = gpu.made.get(key)
        if plan is None:
            plan = gpu.once(key, lambda: _Plan.of(op, arrays))
        if plan.layout is not None:
            return arrays[0].viewed(plan.layout)
        out = empty(gpu, plan.type)
        if plan.kernels is not None:
            addresses = [x.used().pointer - back for x, back in zip(arrays, plan.back)]
            run(plan.kernels, addresses, [out])
            if not isinstance(op, Movement):
                gpu.made["value", op].learn(plan.kernels, arrays, [plan.type], 0)
        return out

    def update(self, op: Op, operands: Sequence[Value]) -> bool:
        """Write the op's value over the first operand; False, and nothing is done, where it is of another
        type."""
        target, *others = self.entered(operands)
        if any(x.memory is target.memory for x in others):
            return self._updated(op, target, *others)
        gpu, key = target.gpu, ("update", op)
        calls = gpu.made.get(key)
        if calls is None:
            calls = gpu.once(key, lambda: Calls(gpu, op.name, functools.partial(self._updated, op)))
        done: bool = calls.call(target, *others)
        return done

    def _updated(self, op: Op, target: CudaArray, *others: CudaArray) -> bool:
        if op.infer(target.type, *(x.type for x in others)) != target.type:
            return False
        if not target.size:
            return True
        kernels = rewrite(target, others, op, lambda old, *given: old.builder.node(op, old, *given))
        calls = target.gpu.made.get(("update", op))
        if kernels is not None and calls is not None:
            straight = UpdatePort(0, target.nbytes, straight=True)
            calls.learn(kernels, [target, *others], [straight], Given(True))
        return True

    def cotangents(
        self, op: Op, cotangent: Value, out: Value, inputs: Sequence[Value], needed: Sequence[bool]
    ) -> list[Value | None]:
        """The inputs' cotangents, from one program. Of inputs that the rule does not look at, and of `out`,
        the type is enough, or None."""
        given = [cotangent, out, *inputs]
        types = tuple([x if isinstance(x, Type | None) else _ARRAY for x in given])
        arrays = self.entered([x for x, known in zip(given, types) if known is _ARRAY])
        rule = _Rule(op, types, tuple(needed))
        key = ("cotangents", rule, *[(x.layout, x.dtype) for x in arrays])
        gpu = arrays[0].gpu
        found = gpu.made.get(key)
        if found is None:
            found = gpu.once(key, lambda: rule.called(arrays))
        fresh = iter(found.call(*arrays))
        return [
            None if made is None else next(fresh) if isinstance(made, Type) else made.of(arrays)
            for made in found.made
        ]


_ARRAY = object()
"""Stands for an array among what a rule is given."""


class _Backward(NamedTuple):
    """Cotangents of arrays of certain layouts."""

    made: Sequence[Type | _Seen | None]
    call: Callable[..., Sequence[CudaArray]]
    """What makes the new ones."""


class _Rule(NamedTuple):
    """An op's adjoint, and what it is given."""

    op: Op
    types: tuple[Any, ...]
    """Of cotangent, value and inputs: an array, a type, or None."""
    needed: tuple[bool, ...]

    def called(self, arrays: Sequence[CudaArray]) -> _Backward:
        """How cotangents of such arrays are made: without Python, if they can be."""
        adjoint = self._adjoint(arrays, _operands(arrays)[0])
        outputs = [made for made in adjoint.made if isinstance(made, Type)]
        returns, native = tuple(range(len(outputs))), None
        if adjoint.kernels is not None:
            name = f"{self.op.name}_adjoint"
            native = native_call(name, adjoint.kernels, arrays, outputs, returns, self._by_python)
        return _Backward(adjoint.made, native or self._by_python)

    def _by_python(self, *arrays: CudaArray) -> tuple[CudaArray, ...]:
        operands, addresses = _operands(arrays)
        adjoint = self._adjoint(arrays, operands)
        fresh = tuple([empty(arrays[0].gpu, made) for made in adjoint.made if isinstance(made, Type)])
        if adjoint.kernels is not None:
            run(adjoint.kernels, addresses, fresh)
        return fresh

    def _adjoint(self, arrays: Sequence[CudaArray], operands: Sequence[Operand]) -> _Adjoint:
        found: _Adjoint = arrays[0].gpu.once(
            (self, precision.tf32, tuple(operands)), lambda: _Adjoint.of(self, arrays, operands)
        )
        return found


class _Seen(NamedTuple):
    """A result that is a view of an operand."""

    place: int
    path: tuple[Op, ...]

    def of(self, arrays: Sequence[CudaArray]) -> CudaArray:
        layout = self.layout(arrays)
        assert layout is not None, "it was a view when the adjoint was written"
        return arrays[self.place].viewed(layout)

    def layout(self, arrays: Sequence[CudaArray]) -> Layout | None:
        layout: Layout | None = arrays[self.place].layout
        for op in self.path:
            layout = layout.moved(op) if layout is not None else None
        return layout


class _Adjoint(NamedTuple):
    """An op's adjoint for certain operands."""

    made: Sequence[Type | _Seen | None]
    """For each input, what its cotangent is: a new array, a view of an operand, or none."""
    kernels: Kernels | None
    """What makes the new ones, if there are any."""

    @staticmethod
    def of(rule: _Rule, arrays: Sequence[CudaArray], operands: Sequence[Operand]) -> _Adjoint:
        """Written once."""
        made: list[Type | _Seen | None] = []

        def make(nodes: list[Node]) -> list[Node]:
            given = iter(nodes)
            values = [next(given) if known is _ARRAY else known for known in rule.types]
            outputs = []
            for g in cotangents(rule.op, values[0], values[1], values[2:], rule.needed):
                seen = None if g is None else _seen(g, nodes)
                if g is None or (seen is not None and seen.layout(arrays) is not None):
                    made.append(seen)
                else:
                    made.append(g.type)
                    outputs.append(g)
            return outputs

        graph = written(f"{rule.op.name}_adjoint", operands, make)
        return _Adjoint(made, code.load(graph, arrays[0].gpu) if graph.outputs else None)


def _seen(node: Node, operands: Sequence[Node]) -> _Seen | None:
    """The movement of one of the operands that a node is, if it is one."""
    path: list[Op] = []
    while node not in operands:
        if len(node.inputs) != 1 or not isinstance(node.op, Movement):
            return None
        path.append(node.op)
        node = node.inputs[0]
    return _Seen(operands.index(node), tuple(reversed(path)))


def _entered(gpu: Device, x: Value, like: DType) -> CudaArray:
    if isinstance(x, CudaArray):
        return x
    if isinstance(x, np.ndarray):
        return placed(gpu, x)
    return number(gpu, x, dtypes.of(x) if isinstance(x, np.generic) else like)


def _operands(arrays: Sequence[CudaArray]) -> tuple[list[Operand], list[int]]:
    """What decides the code, and the addresses for it."""
    pairs = [operand_of(x.used()) for x in arrays]
    return [operand for operand, _ in pairs], [address for _, address in pairs]


class _Plan(NamedTuple):
    """What is done to apply an op to arrays of certain layouts."""

    type: Type
    layout: Layout | None = None
    """Of the view that the result is, if it is one."""
    kernels: Kernels | None = None
    """What computes the elements, if there are any."""
    back: Sequence[int] = ()
    """How many bytes before its first element each operand's address lies."""

    @staticmethod
    def of(op: Op, arrays: Sequence[CudaArray]) -> _Plan:
        """Made once. Raises the error of the op's type rule."""
        gpu = arrays[0].gpu
        kind = op.infer(*(x.type for x in arrays))
        view = arrays[0].layout.moved(op) if len(arrays) == 1 else None
        if view is not None or not kind.size:
            return _Plan(kind, view)
        if op.hosted:
            raise DeviceError(
                f"{op.name} of a tensor on {gpu.name}",
                f"{'LAPACK' if isinstance(op, Lapack) else 'NumPy'} does it, which works on the CPU only",
                "move the tensor there with .cpu(), and the result back with .to()",
            )
        operands, addresses = _operands(arrays)
        graph = written(op.name, operands, lambda seen: [seen[0].builder.node(op, *seen)])
        back = [x.pointer - address for x, address in zip(arrays, addresses, strict=True)]
        return _Plan(kind, None, code.load(graph, gpu), back)


def on(name: device, value: Value, non_blocking: bool = False) -> CudaArray:
    """The elements of an array, here or on a GPU, on the GPU of this name; itself, if it is there. With
    `non_blocking`, pinned memory is copied later, and must not be changed until then."""
    gpu = devices.get(name.index)
    if isinstance(value, CudaArray):
        return value.to(gpu)
    if value.dtype.kind == "c":
        raise DtypeError(
            f"a tensor of {value.dtype} on a GPU", "complex numbers are not there yet", "keep it here"
        )
    fresh = uploaded(gpu, value)
    if not non_blocking and is_pinned(value):
        gpu.driver.stream_synchronize(gpu.stream)
    return fresh


INTERPRETERS[CudaArray] = LAUNCH = Launch()
