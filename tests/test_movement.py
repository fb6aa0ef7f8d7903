"""Copies, and reads and writes where indices say, of arrays of middle sizes: against NumPy and PyTorch.

Sizes are no multiples of a vector's lanes; arrays lie in every order, with steps, backwards and repeated.
"""

from itertools import permutations

import numpy as np
import pytest

import retrograd as torch
from retrograd.runtime.native.small.copier import copied, copied_in_order

peer = pytest.importorskip("torch")

DTYPES = [np.bool_, np.uint8, np.int16, np.float32, np.float64, np.complex64, np.complex128]
SHAPES = [
    (70, 130),
    (33, 37),
    (3, 77, 65),
    (5, 4, 66, 9),
    (1, 2000),
    (2, 1, 3, 1, 20, 40),
    (2, 3, 7, 1, 2, 3, 2, 2),
]


def _seen(x):
    """The array, and parts of it, in several ways."""
    for order in list(permutations(range(x.ndim)))[:40]:
        turned = x.transpose(order)
        yield from (turned, turned[..., ::-1], turned[::-1], turned[..., 1::2])
        yield np.broadcast_to(turned, (3, *turned.shape))
        yield np.broadcast_to(turned[..., None], (*turned.shape, 5))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_copies_lie_in_order(shape, dtype):
    x = np.asarray(np.random.default_rng(0).standard_normal(shape) * 50).astype(dtype)
    for seen in _seen(x):
        copy = copied_in_order(seen)
        assert copy.flags.c_contiguous
        assert copy.dtype == dtype
        assert not np.shares_memory(copy, seen)
        np.testing.assert_array_equal(copy, seen)


@pytest.mark.parametrize("shape", SHAPES)
def test_copies_lie_as_the_array_does(shape):
    x = np.random.default_rng(0).standard_normal(shape)
    for seen in _seen(x):
        if 0 in seen.strides:
            continue
        copy, known = copied(seen), seen.copy("K")
        assert copy.strides == known.strides
        np.testing.assert_array_equal(copy, seen)


def test_copies_of_nothing_and_of_one():
    for x in (np.zeros((0, 3000)), np.zeros(()), np.zeros((3000, 0, 2)).T):
        assert copied_in_order(x).shape == x.shape


def test_a_copy_of_elements_between_their_places():
    raw = np.zeros(4 * 3000 + 1, np.uint8)
    x = raw[1:].view(np.float32).reshape(30, 100)
    x[...] = np.arange(3000).reshape(30, 100)
    np.testing.assert_array_equal(copied_in_order(x.T), np.arange(3000).reshape(30, 100).T)


# ---- by indices --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "int8", "bool"])
@pytest.mark.parametrize("shape", [(67, 251), (300, 1), (1, 300), (7, 31, 19)])
def test_reads_where_indices_say_are_those_of_pytorch(shape, dtype):
    rng = np.random.default_rng(1)
    x = (rng.standard_normal(shape) * 50).astype(dtype)
    for axis in range(x.ndim):
        each, few = rng.integers(0, shape[axis], shape), rng.integers(0, shape[axis], 45)
        for name, index in (("gather", each), ("index_select", few)):
            ours = getattr(torch.tensor(x), name)(axis, torch.tensor(index))
            theirs = getattr(peer.tensor(x), name)(axis, peer.tensor(index))
            np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "int8"])
@pytest.mark.parametrize("shape", [(67, 251), (300, 1), (1, 300), (7, 31, 19)])
def test_sums_where_indices_say_are_those_of_pytorch(shape, dtype):
    rng = np.random.default_rng(2)
    x = (rng.standard_normal(shape) * 9).astype(dtype)
    for axis in range(x.ndim):
        each, rows = rng.integers(0, shape[axis], shape), rng.integers(0, shape[axis], shape[axis])
        for name, index in (("scatter_add", each), ("index_add", rows)):
            ours = getattr(torch.tensor(x), name)(axis, torch.tensor(index), torch.tensor(x))
            theirs = getattr(peer.tensor(x), name)(axis, peer.tensor(index), peer.tensor(x))
            np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("wrong", [-1, 251, 2**40])
def test_an_index_out_of_range_is_told_wherever_it_stands(wrong):
    x, index = torch.randn(67, 251), torch.zeros(67, 251, dtype=torch.int64)
    index[66, 250] = wrong
    with pytest.raises(RuntimeError, match="out of bounds for dimension 1 with size 251"):
        x.gather(1, index)
    with pytest.raises(RuntimeError, match="out of bounds for dimension 1 with size 251"):
        x.scatter_add(1, index, x)
    with pytest.raises(IndexError, match="out of range"):
        x.index_select(1, index[66])


def test_turned_and_flipped_tensors_with_gradients():
    x = torch.randn(70, 130, requires_grad=True)
    weight = torch.randn(130, 70)
    (x.t().contiguous() * weight).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), weight.numpy().T)
    x.grad = None
    (x.flip(-1) * weight.t()).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), weight.numpy().T[:, ::-1])


# ---- distances ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("one", "other"),
    [((67, 130), (45, 130)), ((3, 33, 17), (3, 29, 17)), ((2, 1, 31, 5), (4, 30, 5)), ((1, 3), (1, 3))],
)
def test_distances_and_their_gradients_are_those_of_pytorch(one, other, dtype):
    rng = np.random.default_rng(3)
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in (one, other)]
    found = []
    for library in (torch, peer):
        x, y = (library.tensor(array, requires_grad=True) for array in arrays)
        out = library.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
        weight = library.tensor(np.cos(np.arange(out.numel())).reshape(tuple(out.shape)).astype(dtype))
        out.backward(weight)
        found.append([each.detach().numpy() for each in (out, x.grad, y.grad)])
    tolerance = 2e-5 if dtype == "float32" else 1e-12
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * 10)


def test_distances_of_near_rows_lose_no_digits():
    x = torch.randn(40, 100) + 1000
    apart = torch.cdist(x, x)
    assert apart.diagonal().abs().max().item() == 0
    known = np.linalg.norm(x.double().numpy()[:, None] - x.double().numpy()[None], axis=-1)
    np.testing.assert_allclose(apart.numpy(), known, rtol=1e-5)


def test_a_distance_of_nothing_has_no_derivative():
    x = torch.randn(30, 40, requires_grad=True)
    torch.cdist(x, x.detach()).sum().backward()
    assert bool(x.grad.isfinite().all())


def test_distances_of_no_rows_and_no_columns():
    for one, other in (((0, 3), (4, 3)), ((5, 0), (4, 0)), ((2, 0, 3), (2, 4, 3))):
        ours, theirs = (
            torch.cdist(torch.ones(one), torch.ones(other)),
            peer.cdist(peer.ones(one), peer.ones(other)),
        )
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("place", [0, 17, 2999, 3000])
def test_an_index_of_rows_is_looked_at_to_its_end(place, dtype):
    x, index = torch.randn(30, 3), torch.zeros(3001, dtype=getattr(torch, dtype))
    for fits in (0, 29):
        index[place] = fits
        assert x.index_select(0, index).shape == (3001, 3)
    for wrong in (30, -1, -(2**31), 2**31 - 1):
        index[place] = wrong
        with pytest.raises(IndexError, match="out of range"):
            x.index_select(0, index)


# ---- arranged ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "int64", "float32", "float64"])
@pytest.mark.parametrize("shape", [(67, 45), (45, 67), (3, 33, 17), (1, 200), (0, 5), (2, 0, 3)])
def test_triangles_and_repeats_are_those_of_pytorch(shape, dtype):
    array = (np.random.default_rng(4).standard_normal(shape) * 20).astype(dtype)
    ours, theirs = torch.tensor(array), peer.tensor(array)
    for diagonal in (-70, -3, 0, 1, 18, 2**62, -(2**62)):
        for name in ("tril", "triu"):
            mine, known = (getattr(x.mT, name)(diagonal) for x in (ours, theirs))
            np.testing.assert_array_equal(mine.numpy(), known.numpy())
    for counts in ((1, 2), (3, 1), (2, 4), (0, 2), (2, 1, 3), (2, 2, 1, 2)):
        counts = (*(1,) * (len(shape) - len(counts)), *counts)
        mine, known = (x.mT.repeat(counts) for x in (ours, theirs))
        assert mine._base is None
        np.testing.assert_array_equal(mine.numpy(), known.numpy())


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float32"])
@pytest.mark.parametrize("shape", [(), (1,), (0,), (3000,), (67, 45), (3, 0, 2), (5, 6, 7, 8), (1, 1, 9)])
def test_places_of_what_is_not_zero_are_those_of_pytorch(shape, dtype):
    array = np.asarray(np.random.default_rng(5).integers(0, 2, shape)).astype(dtype)
    for x, y in ((torch.tensor(array), peer.tensor(array)), (torch.tensor(array.T), peer.tensor(array.T))):
        mine, known = x.nonzero(), y.nonzero()
        np.testing.assert_array_equal(mine.numpy(), known.numpy())
        assert not mine.numel() or mine.stride() == known.stride()
        for each, other in zip(x.nonzero(as_tuple=True), y.nonzero(as_tuple=True), strict=True):
            np.testing.assert_array_equal(each.numpy(), other.numpy())
