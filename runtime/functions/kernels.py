"""What PyTorch says of dtypes for which a function has no kernel.

In flow the name of a function and its arguments; out flow PyTorch's words, empty where it takes such a first
Tensor. A line of `kernels.txt`, which `docs/kernels.py` makes:

    grid_sample/4: bool uint8 int64: "grid_sampler_2d_cpu_kernel_impl" not implemented for '{}'
    name[/axes][*][?]: dtypes: words, with a place for the dtype

    *   where no other Tensor is of floating point, but in this dtype
    ?   where the call has failed

Whole numbers and bools are refused as there. Half precision is taken where we can compute with it; what fails
with it is told in these words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import DtypeError, mirrored
from retrograd.runtime.functions.call_sites import call_site
from retrograd.runtime.names import LEGACY
from retrograd.runtime.tensor import Tensor

TABLE = Path(__file__).with_name("kernels.txt")
_KNOWN = re.compile(r"(\w+)((?:/\d+)?\*?\??)")
_NAMES = {dtype: name for name, dtype in LEGACY.items()}


@cache
def refusals() -> Mapping[str, Mapping[str, str]]:
    """Of each function the words by the dtype's name, with the number of axes where that matters."""
    found: dict[str, dict[str, str]] = {}
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        known, dtypes, words = line.split(": ", 2)
        name, marks = _KNOWN.fullmatch(known).groups()  # type: ignore[union-attr]  # such are its lines
        found.setdefault(name, {}).update({f"{dtype}{marks}": words for dtype in dtypes.split()})
    return found


def unkernelled(name: str, args: Sequence[Any], kwargs: Mapping[str, Any], failed: bool = True) -> str:
    """What PyTorch's function of this name says of the dtype of the first argument, a Tensor."""
    known, x = refusals().get(name, {}), args[0]
    short = x.dtype.torch_name
    alone = not any(
        isinstance(y, Tensor) and y.dtype.is_floating_point and y.dtype is not x.dtype
        for y in (*args, *kwargs.values())
    )
    marks = ["", *["*"] * alone]
    marks += [f"{mark}?" for mark in marks if failed]
    found = (known.get(f"{short}{axes}{mark}") for mark in marks for axes in ("", f"/{x.ndim}"))
    return next(filter(None, found), "").replace("{}", _NAMES.get(x.dtype, short))


def check_kernel(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Raise what PyTorch says of a first Tensor of bools or whole numbers, where it has no kernel for them
    and is asked for no other dtype. Our own functions may ask for what it has not.
    """
    if name not in refusals():
        return
    x: Tensor = args[0]
    words = "" if x.dtype.is_floating_point else unkernelled(name, args, kwargs, failed=False)
    if words and not any(isinstance(a, DType) for a in (*args, *kwargs.values())) and call_site(name):
        raise DtypeError(mirrored(words), advice="cast the tensor with .to(dtype)")
