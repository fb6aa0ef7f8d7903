"""Where data of arrays lie that we make: in blocks that begin with a line of the cache, which NumPy gives
back, and which are kept if they are large."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy._core.multiarray import get_handler_name

import retrograd as rg
from retrograd.runtime.native import buffers
from retrograd.runtime.native.blocks import HUGE_FROM, KEPT, KEPT_MOST, LISTED_FROM, LISTED_MOST, LISTED_TO
from retrograd.runtime.native.making import OWN_FROM

MANY = 1 << 20
"""Elements of an array in huge pages."""


@rg.compile_grad
def doubled(x: rg.Tensor) -> rg.Tensor:
    return x + x


def is_own(array: np.ndarray) -> bool:
    return bool(get_handler_name(array) == "retrograd")


MADE: dict[str, Callable[[int], np.ndarray]] = {
    "copied": lambda size: buffers.copied(np.ones(size)),
    "copied in another dtype": lambda size: buffers.copied(
        np.ones(2 * size, np.float32), np.dtype("float64")
    ),
    "empty": lambda size: buffers.empty((size,), np.dtype("float64")),
    "a tensor": lambda size: rg.tensor(np.ones(size)).numpy(),
    "random numbers": lambda size: rg.randn(size, dtype=rg.float64).numpy(),
    "a program's output": lambda size: doubled(rg.tensor(np.ones(size))).numpy(),
    "an eager result": lambda size: rg.tensor(np.ones(size)).exp().numpy(),
}


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
@pytest.mark.parametrize("size", [OWN_FROM // 8, 1000, 4099, HUGE_FROM // 8, MANY + 1])
def test_data_begin_with_a_line_of_the_cache_and_belong_to_their_array(
    make: Callable[[int], np.ndarray], size: int
) -> None:
    array = make(size)
    assert is_own(array)
    assert array.ctypes.data % 64 == 0
    assert array.flags.owndata
    assert array.flags.writeable
    assert array.flags.c_contiguous
    assert array.base is None


def test_little_is_where_numpy_puts_it() -> None:
    assert not is_own(doubled(rg.tensor([1.0, 2.0])).numpy())
    assert not is_own(buffers.copied(np.ones(3)))


def test_arrays_that_others_make_are_theirs() -> None:
    array = buffers.copied(np.ones(MANY))
    assert not is_own(array.copy())
    assert not is_own(np.empty(MANY))


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_copy_lies_as_the_array_does(order: str) -> None:
    array = np.asarray(np.arange(6000.0).reshape(60, 100), order=order)
    copy = buffers.copied(array)
    np.testing.assert_array_equal(copy, array)
    assert copy.strides == array.strides
    assert not np.shares_memory(copy, array)


def test_a_copy_of_what_has_no_elements() -> None:
    assert buffers.copied(np.ones((0, 3))).shape == (0, 3)


@pytest.mark.parametrize(("before", "after"), [(200, 9000), (9000, 200), (300_000, 900_000), (900_000, 1000)])
def test_an_array_is_resized(before: int, after: int) -> None:
    array = buffers.copied(np.arange(float(before)))
    array.resize(after, refcheck=False)
    assert is_own(array)
    least = min(before, after)
    np.testing.assert_array_equal(array[:least], np.arange(float(least)))
    assert not array[least:].any()


def test_a_large_block_is_kept_for_the_next_array() -> None:
    array = buffers.empty((MANY,), np.dtype("float64"))
    place = array.ctypes.data
    del array
    assert buffers.empty((MANY - 5,), np.dtype("float64")).ctypes.data == place


@pytest.mark.parametrize("size", [LISTED_FROM, 10_000, 300_000, LISTED_TO])
def test_blocks_are_kept_for_the_next_arrays_of_their_size(size: int) -> None:
    many = [buffers.empty((LISTED_TO,), np.dtype("uint8")) for _ in range(LISTED_MOST // LISTED_TO + 2)]
    del many  # and lists give back what other tests have left there
    arrays = [buffers.empty((size,), np.dtype("uint8")) for _ in range(12)]
    places = {array.ctypes.data for array in arrays}
    del arrays
    again = [buffers.empty((size,), np.dtype("uint8")) for _ in range(12)]
    assert {array.ctypes.data for array in again} == places


def test_steps_of_eager_code_ask_the_system_for_no_pages() -> None:
    """Each of what is alive at once finds memory that was there, derivatives too, once calls are native."""
    x, owned = rg.randn(512, 256, requires_grad=True), list[bool]()

    def step() -> set[int]:
        x.grad = None
        values = [x * 30]
        for _ in range(6):
            values.append(rg.neg(values[-1]).sin() + 1)
        values[-1].sum().backward()
        owned.append(all(is_own(value.detach().numpy()) for value in values))
        return {value.data_ptr() for value in values} | {x.grad.data_ptr()}

    known = set[int]().union(*[step() for _ in range(6)])
    assert step() <= known
    assert owned[-1]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads Linux's account of a process")
def test_lists_give_back_what_is_too_much() -> None:
    """Sizes that nobody wants any more, as after changes of shapes: five times what lists may keep."""

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before, each = resident(), LISTED_MOST // 8
    for k in range(40):
        size = LISTED_TO - 40_000 * k
        arrays = [buffers.empty((size,), np.dtype("uint8")) for _ in range(each // size)]
        for array in arrays:
            array.fill(1)
        del array, arrays
    assert resident() < before + 2 * LISTED_MOST


def test_blocks_of_many_sizes_come_and_go() -> None:
    """More than are kept, among them some too large to be kept, all full of numbers that stay theirs."""
    sizes = [HUGE_FROM // 8 + 40_000 * k for k in range(2 * KEPT)] + [KEPT_MOST // 8 + 1]
    sizes += [600 + 7 * k for k in range(40)] + [50_000] * 300
    for _ in range(3):
        arrays = [buffers.empty((size,), np.dtype("float64")) for size in sizes]
        for k, array in enumerate(arrays):
            array.fill(k)
        assert all((array == k).all() for k, array in enumerate(arrays))
        del arrays
        gc.collect()


def test_threads_never_share_a_block() -> None:
    wrong: list[int] = []

    def work(number: int) -> None:
        for turn in range(40):
            array = buffers.empty((MANY // 4 + 1000 * (turn % 5),), np.dtype("float64"))
            array.fill(number)
            if not (array == number).all():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_outputs_of_a_program_lie_in_blocks_whatever_their_order() -> None:
    @rg.compile_grad
    def turned(x: rg.Tensor) -> rg.Tensor:
        return (x * 2).T

    x = np.arange(60_000.0).reshape(200, 300)
    out = turned(rg.tensor(x)).numpy()
    np.testing.assert_array_equal(out, 2 * x.T)


def test_more_than_there_is_raises() -> None:
    with pytest.raises(MemoryError):
        buffers.empty((1 << 58,), np.dtype("float64"))
    assert not is_own(np.empty(MANY))
