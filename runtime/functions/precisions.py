"""In which precision `autocast` has functions compute: PyTorch's lists for the CPU, by the functions' names.

    LOWER     in the dtype of autocast: products and convolutions
    FULL      in float32: losses, factorisations, what adds up much
    WIDEST    in the widest dtype of the operands
    PARTS     step by step, as the functions that they call say

Operands that are cast are Tensors of floating-point numbers other than float64, in lists and tuples, too. A
name of two modules (`nn.functional.linear`, `linalg.inv`) is written with its room where that is `linalg`.
Functions that are on no list compute in the dtypes of their operands, and so do the functions that they call
(`runtime.amp.arming`). The lists are what PyTorch is seen to do with each of the tests' cases; it describes
them in "Automatic Mixed Precision package", section "CPU Ops that can autocast".
"""

from __future__ import annotations

from typing import Any

LOWER = frozenset((
    "conv1d", "conv2d", "conv3d", "conv_tbc", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
    "bmm", "mm", "baddbmm", "addmm", "addbmm", "matmul", "__matmul__", "linear", "linalg.vecdot",
    "linalg.matmul", "linalg.multi_dot", "scaled_dot_product_attention", "chain_matmul", "prelu",
))  # fmt: skip
FULL = frozenset((
    "avg_pool3d", "adaptive_avg_pool3d", "max_pool3d", "adaptive_max_pool3d", "fractional_max_pool2d",
    "fractional_max_pool3d", "max_unpool2d", "max_unpool3d", "grid_sampler", "grid_sample", "prod",
    "quantile", "nanquantile", "cdist", "trace", "binary_cross_entropy",
    "binary_cross_entropy_with_logits", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "nll_loss",
    "cross_entropy", "kl_div", "ctc_loss", "poisson_nll_loss", "soft_margin_loss", "multi_margin_loss",
    "multilabel_margin_loss", "cosine_embedding_loss", "hinge_embedding_loss", "margin_ranking_loss",
    "triplet_margin_loss", "cholesky", "cholesky_inverse", "cholesky_solve", "inverse", "lu", "lu_solve",
    "orgqr", "ormqr", "geqrf", "pinverse", "qr", "svd", "triangular_solve", "linalg.cond",
    "linalg.matrix_rank", "linalg.solve", "linalg.cholesky", "linalg.cholesky_ex", "linalg.svd",
    "linalg.svdvals", "linalg.eigh", "linalg.eigvalsh", "linalg.inv", "linalg.inv_ex",
    "linalg.householder_product", "linalg.tensorinv", "linalg.tensorsolve", "linalg.qr", "linalg.lstsq",
))  # fmt: skip
WIDEST = frozenset(("cat", "concat", "concatenate", "stack", "index_copy"))
PARTS = frozenset((
    "einsum", "tensordot", "inner", "matrix_power", "linalg.matrix_power", "cov", "corrcoef", "affine_grid",
))  # fmt: skip

PADDED = {"reflect": (1, 2), "replicate": (1, 2, 3)}
"""`pad` computes in float32 by these modes, of so many axes."""


def pads_in_full(pad: Any, mode: str) -> bool:
    """Whether `nn.functional.pad` with these arguments does."""
    return mode in PADDED and len(pad) // 2 in PADDED[mode]


LISTED = LOWER | FULL | WIDEST | PARTS | {"pad"}
