"""`func`: transforms of functions, as PyTorch's `torch.func`.

`vmap` is for many examples at once, `transforms` has derivatives, `sparse` those of which few elements are no
zeros; `modules` makes a Module a function of its parameters; `rearranging` moves axes by their names.
"""

from retrograd.runtime.func.functional import functionalize
from retrograd.runtime.func.modules import (
    functional_call,
    replace_all_batch_norm_modules_,
    stack_module_state,
)
from retrograd.runtime.func.rearranging import rearrange
from retrograd.runtime.func.sparse import (
    Pattern,
    SparseRows,
    jacobian_pattern,
    sparse_hessian,
    sparse_jacobian,
)
from retrograd.runtime.func.transforms import (
    grad,
    grad_and_value,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    linearize,
    vjp,
)
from retrograd.runtime.func.vmap import vmap

__all__ = [
    "Pattern",
    "SparseRows",
    "functional_call",
    "functionalize",
    "grad",
    "grad_and_value",
    "hessian",
    "jacfwd",
    "jacobian_pattern",
    "jacrev",
    "jvp",
    "linearize",
    "rearrange",
    "replace_all_batch_norm_modules_",
    "sparse_hessian",
    "sparse_jacobian",
    "stack_module_state",
    "vjp",
    "vmap",
]
