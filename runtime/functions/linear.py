"""Products of matrices and vectors; each is movements around the one contraction, `dot`.

Tensors of one dtype in, their product out, with PyTorch's rules for 1-D operands and batch axes. `einsum` is
next door. To add a product, bring its operands to `[…, m, k]` and `[…, k, n]`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod, trunc
from typing import Any

from retrograd.compiler import dtypes
from retrograd.compiler.errors import DtypeError, ShapeError, mirrored
from retrograd.compiler.ops import matrix, reduce
from retrograd.compiler.ops import shape as moves
from retrograd.compiler.ops.complexes import conj
from retrograd.compiler.ops.contract import dot as contract
from retrograd.compiler.ops.elementwise import broadcast_shapes
from retrograd.runtime.eager.kernels import stored
from retrograd.runtime.functions.creation import eye
from retrograd.runtime.functions.from_data import as_tensor
from retrograd.runtime.functions.public import axis_of, integer, public
from retrograd.runtime.functions.reduction import reduced
from retrograd.runtime.functions.shaping import expand
from retrograd.runtime.names import C_NAMES, bare_legacy_name
from retrograd.runtime.tensor import Tensor

Multiply = Callable[[Tensor, Tensor], Tensor]


def _same_dtype(name: str, *operands: Tensor) -> None:
    first = operands[0].dtype
    for x in operands[1:]:
        if x.dtype is not first:
            raise DtypeError(
                f"{name} of {first} and {x.dtype}",
                mirrored(
                    "expected m1 and m2 to have the same dtype, but got: "
                    f"{C_NAMES[first]} != {C_NAMES[x.dtype]}"
                ),
                "cast one of them with .to(dtype)",
            )


def _need(name: str, fits: bool, why: str, *operands: Tensor) -> None:
    if not fits:
        shapes = " and ".join(str(list(x.shape)) for x in operands)
        raise ShapeError(f"{name} of {shapes}", mirrored(why))


def _by(x: Tensor) -> str:
    return "x".join(map(str, x.shape))


@public("matmul", method=True, replay=True)
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """The matrix product over the last two axes; a vector is a row on the left and a column on the right.

    Leading axes broadcast: `[…, m, k] @ […, k, n] -> […, m, n]`. Raises ShapeError where inner sizes differ.
    """
    _need(
        "matmul",
        bool(input.ndim and other.ndim),
        f"both arguments to matmul need to be at least 1D, but they are {input.ndim}D and {other.ndim}D",
        input,
        other,
    )
    if other.ndim == 1 and input.ndim > 1 and input.dtype is not other.dtype:
        matrix, vector = bare_legacy_name(input.dtype), bare_legacy_name(other.dtype)
        raise DtypeError(
            f"matmul of {input.dtype} and {other.dtype}",
            mirrored(
                f"addmv input tensors must have the same dtype, but got {vector}, {matrix}, and {vector}"
            ),
            "cast one of them with .to(dtype)",
        )
    _same_dtype("matmul", input, other)
    if input.ndim == other.ndim == 1:
        return dot(input, other)
    left = moves.reshape(input, (1, *input.shape)) if input.ndim == 1 else input
    right = moves.reshape(other, (*other.shape, 1)) if other.ndim == 1 else other
    if left.shape[-1] != right.shape[-2]:
        _need("matmul", False, _mismatch(input, other, left, right), input, other)
    _no_bools(left, right, _kernel(input, other))
    product = _batched(left, right)
    keep = [*product.shape]
    if input.ndim == 1:
        del keep[-2]
    if other.ndim == 1:
        del keep[-1]
    return moves.reshape(product, keep)


def _kernel(input: Tensor, other: Tensor) -> str:
    """What PyTorch's kernel of such a product is called."""
    if other.ndim == 1:
        return "addmv_impl_cpu"
    return "bmm" if input.ndim > 2 and other.ndim > 2 else "addmm_impl_cpu_"


def _no_bools(left: Tensor, right: Tensor, kernel: str) -> None:
    if left.dtype is dtypes.bool_ and left.numel() and right.numel():
        raise DtypeError(f"{kernel} of bools", mirrored(f"\"{kernel}\" not implemented for 'Bool'"))


@public("__matmul__", method=True, function=False, replay=True)
def _times(input: Tensor, other: Any) -> Any:
    """`@`, which leaves what is no Tensor to Python."""
    return matmul(input, other) if isinstance(other, Tensor) else NotImplemented


@public("__rmatmul__", method=True)
def _rmatmul(input: Tensor, other: object) -> Tensor:
    """`array @ tensor`."""
    return matmul(as_tensor(other), input)


def matrix_power(input: Tensor, n: int) -> Tensor:
    """Square matrices multiplied with themselves, `n` factors; n is not negative."""
    square = input.ndim >= 2 and input.shape[-1] == input.shape[-2]
    shown = f"but they are {' by '.join(map(str, input.shape[-2:]))} matrices"
    why = f"linalg.matrix_power: A must be batches of square matrices, {shown}"
    _need("matrix_power", square, why, input)
    power = integer(n, "matrix_power", "n")
    _need("matrix_power", power >= 0, "a negative power is one of the inverse: linalg.matrix_power", input)
    if not power:
        return moves.expand(eye(input.shape[-1], dtype=input.dtype), input.shape).clone()
    result = None
    while power:
        if power & 1:
            result = input if result is None else matmul(result, input)
        power >>= 1
        input = matmul(input, input) if power else input
    assert result is not None
    return result


def _mismatch(input: Tensor, other: Tensor, left: Tensor, right: Tensor) -> str:
    if other.ndim == 1:
        return f"size mismatch, got input ({left.shape[-2]}), mat ({_by(left)}), vec ({other.shape[0]})"
    if input.ndim <= 2 or other.ndim <= 2:
        rows = prod(left.shape[:-1])
        folded = f"{rows}x{left.shape[-1]}" if other.ndim == 2 else _by(left)
        return f"mat1 and mat2 shapes cannot be multiplied ({folded} and {_by(right)})"
    first = [prod(left.shape[:-2]), left.shape[-1]]
    found = [prod(right.shape[:-2]), right.shape[-2]]
    return f"Expected size for first two dimensions of batch2 tensor to be: {first} but got: {found}."


def _batched(a: Tensor, b: Tensor) -> Tensor:
    """The product of two stacks of matrices that broadcast. A stack times one matrix is one tall matrix."""
    if b.ndim == 2:
        rows = moves.reshape(a, (prod(a.shape[:-1]), a.shape[-1]))
        return moves.reshape(contract(rows, b), (*a.shape[:-1], b.shape[-1]))
    batch = broadcast_shapes("matmul", a.shape[:-2], b.shape[:-2])
    return contract(moves.expand(a, (*batch, *a.shape[-2:])), moves.expand(b, (*batch, *b.shape[-2:])))


@public("mm", method=True, replay=True)
def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """The product of two matrices."""
    for x, label in ((input, "self"), (mat2, "mat2")):
        _need("mm", x.ndim == 2, f"{label} must be a matrix", input, mat2)
    return matmul(input, mat2)


@public("bmm", method=True, replay=True)
def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """The products of two stacks of equally many matrices."""
    for x, label in ((input, "batch1"), (mat2, "batch2")):
        _need("bmm", x.ndim == 3, f"{label} must be a 3D tensor", input, mat2)
    first, found = [input.shape[0], input.shape[2]], [mat2.shape[0], mat2.shape[1]]
    why = f"Expected size for first two dimensions of batch2 tensor to be: {first} but got: {found}."
    _need("bmm", first == found, why, input, mat2)
    _same_dtype("bmm", input, mat2)
    return contract(input, mat2)


@public("mv", method=True, replay=True)
def mv(input: Tensor, vec: Tensor) -> Tensor:
    """A matrix times a vector."""
    fits = input.ndim == 2 and vec.ndim == 1
    _need("mv", fits, f"vector + matrix @ vector expected, got 1, {input.ndim}, {vec.ndim}", input, vec)
    return matmul(input, vec)


@public("dot", method=True, replay=True)
def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """The inner product of two vectors, a 0-d tensor."""
    fits = input.ndim == 1 and tensor.ndim == 1
    why = f"1D tensors expected, but got {input.ndim}D and {tensor.ndim}D tensors"
    _need("dot", fits, why, input, tensor)
    _same_dtype("dot", input, tensor)
    n, m = input.shape[0], tensor.shape[0]
    why = (
        f"inconsistent tensor size, expected tensor [{n}] and src [{m}] to have the same number of elements, "
        f"but got {n} and {m} elements respectively"
    )
    _need("dot", n == m, why, input, tensor)
    _no_bools(input, tensor, "dot")
    return moves.reshape(contract(moves.reshape(input, (1, n)), moves.reshape(tensor, (n, 1))), ())


@public("vdot", method=True, replay=True)
def vdot(input: Tensor, tensor: Tensor) -> Tensor:
    """The inner product of two vectors, of which the first is conjugated."""
    return dot(conj(input), tensor)


@public("inner", method=True, replay=True)
def inner(input: Tensor, other: Tensor) -> Tensor:
    """The product summed over the last axes of both; of a 0-d tensor, the plain product."""
    if not input.ndim or not other.ndim:
        return input * other
    why = (
        "inner() the last dimension must match on both input tensors but got shapes "
        f"{list(input.shape)} and {list(other.shape)}"
    )
    _need("inner", input.shape[-1] == other.shape[-1], why, input, other)
    return tensordot(input, other, ([-1], [-1]))


@public("outer", "ger", method=True, replay=True)
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """Every product of an element of one vector with one of another."""
    fits = input.ndim == 1 and vec2.ndim == 1
    name, odd = ("vec2", vec2) if input.ndim == 1 else ("self", input)
    why = f"outer: Expected 1-D argument {name}, but got {odd.ndim}-D"
    _need("outer", fits, why, input, vec2)
    return moves.reshape(input, (input.shape[0], 1)) * vec2


@public("tensordot", replay=True)
def tensordot(a: Tensor, b: Tensor, dims: int | Sequence[Sequence[int]] = 2) -> Tensor:
    """The product summed over pairs of axes: the last `dims` of `a` with the first of `b`, or two lists."""
    _same_dtype("tensordot", a, b)
    if isinstance(dims, Sequence):
        ours = [axis_of(d, a.ndim, "tensordot") for d in dims[0]]
        theirs = [axis_of(d, b.ndim, "tensordot") for d in dims[1]]
    else:
        count = integer(dims, "tensordot", "dims")
        bound = ">= 0" if count < 0 else "< ndim_a or ndim_b"
        if not 0 <= count <= min(a.ndim, b.ndim):
            raise ShapeError(mirrored(f"tensordot expects dims {bound}, but got dims={count}"))
        ours, theirs = list(range(a.ndim - count, a.ndim)), list(range(count))
    _need("tensordot", len(ours) == len(theirs), "both dimension lists should have same length", a, b)
    for i, j in zip(ours, theirs):
        if 1 in (a.shape[i], b.shape[j]):  # the two broadcast
            a, b = reduced(reduce.sum_, a, (i,), True), reduced(reduce.sum_, b, (j,), True)
        why = (
            f"contracted dimensions need to match, but first has size {a.shape[i]} in dim "
            f"{i - a.ndim if isinstance(dims, int) else i} and second has size {b.shape[j]} in dim {j}"
        )
        _need("tensordot", a.shape[i] == b.shape[j], why, a, b)
    left = [k for k in range(a.ndim) if k not in ours]
    right = [k for k in range(b.ndim) if k not in theirs]
    rows, columns = [a.shape[k] for k in left], [b.shape[k] for k in right]
    shared = prod(a.shape[k] for k in ours)
    tall = moves.reshape(moves.permute(a, [*left, *ours]), (prod(rows), shared))
    wide = moves.reshape(moves.permute(b, [*theirs, *right]), (shared, prod(columns)))
    product = mm(tall, wide) if rows or columns else contract(tall, wide)
    return moves.reshape(product, (*rows, *columns))


@public("kron", method=True, replay=True)
def kron(input: Tensor, other: Tensor) -> Tensor:
    """The Kronecker product: a copy of `other` times each element of `input`, in its place."""
    ndim = max(input.ndim, other.ndim)
    a = (*(1,) * (ndim - input.ndim), *input.shape)
    b = (*(1,) * (ndim - other.ndim), *other.shape)
    coarse = moves.reshape(input, [s for size in a for s in (size, 1)])
    fine = moves.reshape(other, [s for size in b for s in (1, size)])
    return moves.reshape(coarse * fine, [m * n for m, n in zip(a, b)])


@public("trace", method=True, replay=True)
def trace(input: Tensor) -> Tensor:
    """The sum of a matrix's diagonal."""
    why = f"trace: expected a matrix, but got tensor with dim {input.ndim}"
    _need("trace", input.ndim == 2, why, input)
    whole = not input.dtype.is_inexact
    return matrix.trace(moves.cast(input, dtypes.int64) if whole else input)


# ---- a product added to something --------------------------------------------------------------------------


def _product_added(
    name: str, multiply: Multiply, input: Tensor, factors: tuple[Tensor, Tensor], beta: float, alpha: float
) -> Tensor:
    """`_plus` of a product; of halves in float32, so that it is rounded once."""
    kind = input.dtype
    if not kind.is_half or any(x.dtype is not kind for x in factors):
        return _plus(name, input, multiply(*factors), beta, alpha)
    start, *wide = (moves.cast(x, dtypes.float32) for x in (input, *factors))
    return moves.cast(_plus(name, start, multiply(*wide), beta, alpha), kind)


def _plus(name: str, input: Tensor, product: Tensor, beta: float, alpha: float) -> Tensor:
    """`beta · input + alpha · product`, where `beta` 0 means that `input` is not looked at, not even its
    NaNs.
    """
    _same_dtype(name, input, product)
    if not input.dtype.is_inexact:
        beta, alpha = (int(stored(trunc(x), input.dtype.numpy)) for x in (beta, alpha))
    scaled = product if alpha == 1 else product * alpha
    spread = expand(input, product.shape)
    if beta == 0:
        return scaled
    return (spread if beta == 1 else spread * beta) + scaled


@public("addmm", method=True, inplace=True, replay=True)
def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """`beta · input + alpha · (mat1 @ mat2)`; the input broadcasts."""
    return _product_added("addmm", mm, input, (mat1, mat2), beta, alpha)


@public("addmv", method=True, inplace=True, replay=True)
def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """`beta · input + alpha · (mat @ vec)`."""
    return _product_added("addmv", mv, input, (mat, vec), beta, alpha)


@public("addr", method=True, inplace=True, replay=True)
def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """`beta · input + alpha · outer(vec1, vec2)`."""
    return _plus("addr", input, outer(vec1, vec2), beta, alpha)


@public("baddbmm", method=True, inplace=True, replay=True)
def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """`beta · input + alpha · bmm(batch1, batch2)`."""
    return _product_added("baddbmm", bmm, input, (batch1, batch2), beta, alpha)


@public("addbmm", method=True, inplace=True, replay=True)
def addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """`beta · input + alpha · Σ bmm(batch1, batch2)`, the sum over the stack."""

    def summed(x: Tensor, y: Tensor) -> Tensor:
        return reduce.sum_(bmm(x, y), (0,))

    return _product_added("addbmm", summed, input, (batch1, batch2), beta, alpha)
