"""Eager ops on a GPU as native calls: arrays in, arrays out, and no Python between.

`Calls` is what calls one op on one GPU: for the kinds of arrays met last natively, for those met before after
a look into a table, for others by Python, which has `Calls` learn. A native call knows arrays by what leads
to their addresses, as compiled functions do; it is made for one stream and one precision of products.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from retrograd.compiler.ir.graph import Type
from retrograd.runtime import precision
from retrograd.runtime.cuda import starting
from retrograd.runtime.cuda.array import CudaArray
from retrograd.runtime.cuda.code import Kernels
from retrograd.runtime.cuda.devices import Device
from retrograd.runtime.cuda.program import further_outputs, output_port, reads
from retrograd.runtime.native.fastcall import InlineCache, make
from retrograd.runtime.native.ports import AddressPort, UpdatePort
from retrograd.runtime.native.returns import Returns
from retrograd.runtime.native.watching import watch

_LATEST = 8
"""Kinds of arrays that native code asks one after the other."""


class Calls:
    """What calls an op. `by_python(*arrays)` is right for all arrays."""

    def __init__(self, gpu: Device, name: str, by_python: Callable[..., Any]) -> None:
        self._gpu, self._name, self._by_python = gpu, name, by_python
        self._known: dict[Hashable, Callable[..., Any]] = {}
        self._latest = InlineCache(name, None, _LATEST, self._choose)
        self.call = self._latest.call

    def learn(
        self,
        kernels: Kernels,
        arrays: Sequence[CudaArray],
        outputs: Sequence[Type | UpdatePort],
        gives: Returns,
    ) -> None:
        """Call these kernels natively from now on, for arrays like these, where that is possible."""
        key = self._key(arrays)
        if key not in self._known:
            native = native_call(self._name, kernels, arrays, outputs, gives, self._by_python)
            if native is not None:
                self._known[key] = native
                self._latest.add(native)

    def _choose(self, *arrays: CudaArray) -> Any:
        native = self._known.get(self._key(arrays))
        if native is None:
            return self._by_python(*arrays)
        self._latest.add(native)
        return native(*arrays)

    def _key(self, arrays: Sequence[CudaArray]) -> Hashable:
        return (precision.tf32, self._gpu.stream, *[(x.layout, x.dtype) for x in arrays])


def native_call(
    name: str,
    kernels: Kernels,
    arrays: Sequence[CudaArray],
    outputs: Sequence[Type | UpdatePort],
    gives: Returns,
    miss: Callable[..., Any],
) -> Callable[..., Any] | None:
    """The kernels as a native callable of arrays like these, which makes new arrays or updates its own; None
    where only Python can: with memory that is another stream's, out of order, or none, or with checks."""
    links = [x.links() for x in arrays]
    nothing = not all(x.nbytes for x in outputs)
    if kernels.code.checks or None in links or nothing:
        return None
    arguments = [AddressPort(found, x.nbytes) for x, found in zip(arrays, links) if found]
    made = [x if isinstance(x, UpdatePort) else output_port(kernels.gpu, x) for x in outputs]
    about = kernels.described(len(arrays), len(outputs), None)
    return make(
        name,
        starting.entry(),
        arguments,
        [*made, *further_outputs(kernels)],
        0,
        miss,
        gives,
        guards=watch(reads(), _holds),
        context=ctypes.addressof(about),
        keep=(kernels, about),
    )


def _holds() -> bool:
    """Asked where native code cannot look: not for these reads."""
    return False
