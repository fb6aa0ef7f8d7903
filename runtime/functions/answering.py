"""Questions that a Tensor answers at once: native functions around the Python ones that say the same.

In flow the methods, properties and functions that other files have entered; out flow the same under their
names, which run no Python where a Tensor holds an array. A question whose answer a dtype has is an entry of
`_BY_DTYPE`; one that `eager/instant/members.py` answers, of `_TOLD`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from retrograd.runtime.converted import watchers
from retrograd.runtime.device import CPU
from retrograd.runtime.eager import detaching  # noqa: F401  # enters `data`
from retrograd.runtime.eager.instant import calls
from retrograd.runtime.eager.instant.records import WATCHED, Asked, write
from retrograd.runtime.functions.inspecting import NEVER, strided
from retrograd.runtime.functions.public import FUNCTIONS
from retrograd.runtime.names import Size, legacy_name
from retrograd.runtime.tensor import Tensor

Around = Callable[[Callable[..., Any]], Callable[..., Any]]
"""Makes a native function around one that is asked for what is not plain."""

_TOLD = {
    "shape": "shape", "size": "size", "stride": "stride", "numel": "count", "nelement": "count",
    "nbytes": "bytes", "ndim": "rank", "dim": "rank", "ndimension": "rank", "data_ptr": "address",
    "output_nr": "output_number",
    "storage_offset": "offset", "is_contiguous": "lies_in_order", "data": "apart", "grad": "gradient",
    "grad_fn": "history", "is_leaf": "is_leaf", "requires_grad": "is_tracked",
    "is_inference": "is_inference", "requires_grad_": "track",
}  # fmt: skip

_BY_DTYPE: dict[str, Callable[[Any], object]] = {
    "dtype": lambda dtype: dtype,
    "itemsize": lambda dtype: dtype.itemsize,
    "element_size": lambda dtype: dtype.itemsize,
    "is_floating_point": lambda dtype: dtype.is_floating_point,
    "is_complex": lambda dtype: dtype.is_complex,
    "is_signed": lambda dtype: dtype.is_signed,
    "type": legacy_name,
    "device": lambda dtype: CPU,
    "layout": lambda dtype: strided,
    "get_device": lambda dtype: -1,
    "is_cpu": lambda dtype: True,
} | dict.fromkeys(("is_conj", "is_neg", "is_cuda", *NEVER), lambda dtype: False)

_ANSWERS: dict[str, Around] = {
    **{name: partial(calls.told, question) for name, question in _TOLD.items()},
    **{name: partial(calls.by_dtype, answer) for name, answer in _BY_DTYPE.items()},
    "item": calls.number,
    "__float__": partial(calls.number, floats=True),
    "__int__": partial(calls.number, kind=int),
    "__bool__": partial(calls.number, kind=bool),
    "is_nonzero": partial(calls.number, kind=bool),
    "tolist": partial(calls.of_array, np.ndarray.tolist),
}


def _entered(around: Around, there: Any) -> Any:
    """What takes the place of a method or a property."""
    if isinstance(there, property):
        assert there.fget is not None
        return property(around(there.fget), there.fset, there.fdel)
    return around(there)


for _name, _around in _ANSWERS.items():
    setattr(Tensor, _name, _entered(_around, getattr(Tensor, _name)))
    if _name in FUNCTIONS:
        FUNCTIONS[_name] = _around(FUNCTIONS[_name])

_words = getattr(Tensor.__float__, "__kept__", (None,))[0]
if _words is not None:  # it is native
    watchers.append(lambda on: write(Asked, _words, floats=WATCHED if on else 1))
    watchers[-1](True)
FUNCTIONS["is_tensor"] = calls.told("is_tensor", FUNCTIONS["is_tensor"])
setattr(Size, "__getitem__", calls.told("extent", Size.__getitem__))  # noqa: B010  # entered, as methods are
