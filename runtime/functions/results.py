"""Named tuples: what functions with several results give, `values, indices = x.max(dim=0)`.

`pair("max", values, indices)` is a named tuple that prints as PyTorch's `torch.return_types.max`. A function
whose results have other names is an entry of `_FIELDS`.
"""

from __future__ import annotations

from collections import namedtuple
from functools import cache
from typing import Any

_FIELDS: dict[str, tuple[str, ...]] = {
    "aminmax": ("min", "max"),
    "slogdet": ("sign", "logabsdet"),
    "linalg_slogdet": ("sign", "logabsdet"),
    "linalg_eigh": ("eigenvalues", "eigenvectors"),
    "linalg_qr": ("Q", "R"),
    "linalg_svd": ("U", "S", "Vh"),
    "linalg_lu": ("P", "L", "U"),
    "linalg_lu_factor": ("LU", "pivots"),
    "linalg_lu_factor_ex": ("LU", "pivots", "info"),
    "linalg_ldl_factor": ("LD", "pivots"),
    "linalg_ldl_factor_ex": ("LD", "pivots", "info"),
    "_lu_with_info": ("LU", "pivots", "info"),
    "lu_unpack": ("P", "L", "U"),
    "geqrf": ("a", "tau"),
    "linalg_inv_ex": ("inverse", "info"),
    "linalg_solve_ex": ("result", "info"),
    "linalg_cholesky_ex": ("L", "info"),
    "linalg_lstsq": ("solution", "residuals", "rank", "singular_values"),
    "qr": ("Q", "R"),
    "svd": ("U", "S", "V"),
    "frexp": ("mantissa", "exponent"),
    "histogram": ("hist", "bin_edges"),
    "histogramdd": ("hist", "bin_edges"),
    "triangular_solve": ("solution", "cloned_coefficient"),
}
"""The fields where they are not `values, indices`."""


@cache
def _kind(name: str) -> Any:
    fields = _FIELDS.get(name.removesuffix("_out"), ("values", "indices"))
    base = namedtuple(name, fields)  # type: ignore[misc]  # a class for each name

    def __repr__(self: Any) -> str:
        inside = ",\n".join(f"{field}={value!r}" for field, value in zip(self._fields, self))
        return f"torch.return_types.{name}(\n{inside})"

    return type(name, (base,), {"__slots__": (), "__repr__": __repr__, "__module__": __name__})


def pair(name: str, *results: Any) -> Any:
    """The results of the function `name`, mostly two."""
    return _kind(name)(*results)
