"""Whatever breaks into a call (other threads, Ctrl-C, errors, a fork, the function itself), the next call is
right, and runs no Python.
"""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from frames import python_frames

import retrograd as rg
from retrograd.runtime import tracing
from retrograd.runtime.modes import STATE

Function = Callable[..., Any]


def array(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape)


def close(ours: Any, theirs: Any) -> None:
    np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=1e-12)


def all_is_well(f: Function, *arguments: Any) -> None:
    """Nobody is tracing, and a call like one before is native."""
    assert (tracing.depth, STATE.trace, STATE.grad) == (0, None, True)
    f(*arguments)
    assert python_frames(lambda: f(*arguments)) == []


def in_threads(work: Callable[[int], None], count: int = 4) -> None:
    """Run them all at once; what one of them raises is raised here."""
    ready, errors = threading.Barrier(count), list[BaseException]()

    def run(number: int) -> None:
        try:
            ready.wait()
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


# ---- threads -----------------------------------------------------------------------------------------------


def test_threads_that_meet_a_new_kind_share_one_specialisation() -> None:
    f = rg.compile_grad(lambda x: (x.sin() * x).sum())

    def work(number: int) -> None:
        for size in range(1, 7):
            x = array(size, seed=number)
            close(f(x), (np.sin(x) * x).sum())

    in_threads(work)
    assert f.specialisations == 6


def test_threads_that_specialise_while_others_differentiate() -> None:
    f = rg.compile_grad(lambda x, k: (x**k).sum())

    def work(number: int) -> None:
        for turn in range(12):
            k = 2 + (turn if number % 2 else 0) % 5
            x = rg.from_numpy(array(4, seed=turn)).requires_grad_()
            f(x, k).backward()
            close(x.grad, k * array(4, seed=turn) ** (k - 1))

    in_threads(work)
    assert f.specialisations == 5


def test_threads_with_modes_of_their_own() -> None:
    f = rg.compile_grad(lambda x: (x * x).sum())

    def work(number: int) -> None:
        x = rg.ones(3).requires_grad_()
        for _ in range(20):
            if number % 2:
                with rg.no_grad():
                    assert not f(x).requires_grad
            else:
                assert f(x).requires_grad

    in_threads(work)


def test_methods_and_gradients_in_threads() -> None:
    class Model:
        def __init__(self) -> None:
            self.weight = rg.ones(3)

        @rg.compile_grad
        def loss(self, x: Any) -> Any:
            return (x * self.weight).sum()

    models = [Model() for _ in range(4)]

    def work(number: int) -> None:
        model = models[number]
        model.weight.fill_(number + 1)
        for _ in range(20):
            value, gradient = model.loss.value_and_grad(array(3))
            close(value, array(3).sum() * (number + 1))
            close(gradient, np.full(3, number + 1.0))

    in_threads(work)


# ---- errors and interrupts ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit, RecursionError, MemoryError])
@pytest.mark.parametrize("native", [False, True], ids=["first call", "later call"])
def test_an_error_while_tracing_leaves_nothing_behind(kind: type[BaseException], native: bool) -> None:
    outside = rg.ones(3).requires_grad_() * 2
    edge = outside.grad_fn

    def function(x: Any, fail: bool) -> Any:
        with rg.no_grad():
            outside.add_(1)
            if fail:
                raise kind("on purpose")
        return (x * outside).sum()

    f, x = rg.compile_grad(function), rg.ones(3)
    if native:
        f(x, False), f(x, False)
    before = outside.detach().clone()
    with pytest.raises(kind, match="on purpose"):
        f(x, True)
    assert (tracing.depth, STATE.trace, STATE.grad) == (0, None, True)
    np.testing.assert_array_equal(outside.detach().numpy(), before.numpy())
    assert outside.grad_fn is edge
    close(f(x, False).item(), 3 * (before[0].item() + 1))


def test_an_error_in_one_kind_of_call_is_none_in_another() -> None:
    def function(x: Any) -> Any:
        if x.ndim == 2:
            raise ValueError("two axes")
        return x * 2

    f = rg.compile_grad(function)
    for _ in range(3):
        close(f(array(3)), array(3) * 2)
        with pytest.raises(ValueError, match="two axes"):
            f(array(3, 3))
    assert f.specialisations == 1
    all_is_well(f, array(3))


@contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    """Ctrl-C so much later, wherever the main thread is then."""
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)  # first: unheard, it ends all
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no such timer")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # in a callback
def test_ctrl_c_at_any_time() -> None:
    weight = rg.from_numpy(array(5)).requires_grad_()
    function = lambda x: ((x * weight).sin() + x.exp()).sum()  # noqa: E731  # compiled anew each time
    moments = random.Random(0)
    stopped = 0
    for turn in range(40):
        f, x = rg.compile_grad(function), array(5, seed=turn)
        try:
            with interrupted_after(moments.uniform(1e-4, 2e-2)):
                for _ in range(50):
                    f(x)
                    f.value_and_grad(x)
        except KeyboardInterrupt:
            stopped += 1
        assert (tracing.depth, STATE.trace, STATE.grad) == (0, None, True)
        close(f(x), function(rg.from_numpy(x)).item())
    assert stopped
    all_is_well(f, x)


@pytest.fixture
def ctrl_c_is_heard() -> Iterator[None]:
    """Also where the tests run in the background, and the shell has Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_is_heard")
def test_ctrl_c_inside_the_function() -> None:
    pressed = [True]

    def function(x: Any) -> Any:
        if pressed:
            pressed.clear()
            signal.raise_signal(signal.SIGINT)
        return x * 2

    f = rg.compile_grad(function)
    with pytest.raises(KeyboardInterrupt):
        f(array(3))
    close(f(array(3)), array(3) * 2)
    all_is_well(f, array(3))


# ---- forks and nesting -------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_forked_while_others_specialise_goes_on() -> None:
    f = rg.compile_grad(lambda x: (x * x).sum())
    f(array(2))
    stop = threading.Event()

    def specialise() -> None:
        for size in range(3, 30):
            if not stop.is_set():
                f(array(size))

    thread = threading.Thread(target=specialise)
    thread.start()
    try:
        for size in range(40, 44):
            child = os.fork()
            if child == 0:
                right = [abs(f(x) - (x * x).sum()) < 1e-9 for x in (array(size), array(2))]
                os._exit(0 if all(right) else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        thread.join()


def test_a_compiled_function_may_call_itself() -> None:
    @rg.compile_grad
    def power(x: Any, n: int) -> Any:
        return x if n == 1 else x * power(x, n - 1)

    for _ in range(3):
        x = rg.from_numpy(array(3)).requires_grad_()
        power(x, 5).sum().backward()
        close(x.grad, 5 * array(3) ** 4)
    assert power.specialisations == 1
    all_is_well(power, x, 5)


def test_recursion_without_end_is_told() -> None:
    @rg.compile_grad
    def endless(x: Any) -> Any:
        return endless(x) + 1

    for _ in range(2):
        with pytest.raises(RecursionError):
            endless(array(3))
    assert (tracing.depth, STATE.trace, STATE.grad) == (0, None, True)


def test_an_inner_function_is_native_by_itself_too() -> None:
    inner = rg.compile_grad(lambda x: x * x)
    outer = rg.compile_grad(lambda x: inner(x).sum() + inner.value_and_grad(x.sum())[1])
    x = array(3)
    for _ in range(3):
        close(inner(x), x * x)
        close(outer(x), (x * x).sum() + 2 * x.sum())
    all_is_well(inner, x)
    all_is_well(outer, x)


def test_a_call_from_a_hook_while_the_tape_is_walked() -> None:
    f, x = rg.compile_grad(lambda x: (x * x).sum()), rg.ones(3).requires_grad_()
    seen: list[float] = []
    for _ in range(3):
        x.grad = None
        handle = x.register_hook(lambda gradient: seen.append(f(gradient).item()))
        f(x).backward()
        handle.remove()
    assert seen == [12.0] * 3
