"""Where new Tensors are that name no device, lazy layers, and the accelerator, beside PyTorch's.

A program takes the library as `t`; a new one is a function of `PROGRAMS`.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from side_by_side import compare

import retrograd as rg


def where(t: Any) -> list[str]:
    """Of everything that can be made of nothing."""
    made = [
        t.zeros(2), t.ones(2), t.empty(2), t.full((2,), 3.0), t.arange(3), t.linspace(0, 1, 3), t.eye(2),
        t.logspace(0, 1, 3), t.tensor([1.0]), t.as_tensor([1.0]), t.scalar_tensor(2.0), t.rand(2), t.randn(2),
        t.randint(3, (2,)), t.randperm(3), t.hann_window(4), t.tril_indices(2, 2), t.nn.Linear(2, 1).weight,
        t.zeros(2, device="cpu"),
    ]  # fmt: skip
    return [str(x.device) for x in made]


def blocks(t: Any) -> Any:
    found = [str(t.get_default_device())]
    with t.device("cpu") as inner:
        found += [str(inner), str(t.get_default_device()), *where(t)]
        with t.device("cpu:0") if t is rg else t.device("cpu"):
            found += where(t)
    return [*found, str(t.get_default_device()), *where(t)]


def chosen(t: Any) -> Any:
    found = []
    for given in ("cpu", t.device("cpu"), None):
        t.set_default_device(given)
        found += [*where(t), str(t.get_default_device())]
    return found


def elsewhere(t: Any) -> Any:
    """A GPU may be named where there is none; what is made there is an error."""
    with t.device("cuda:7"):
        t.ones(2, device="cpu")
    t.set_default_device("cuda:7")
    try:
        t.ones(2)
    except (RuntimeError, AssertionError):
        return "no such device"
    finally:
        t.set_default_device(None)


def accelerator(t: Any) -> Any:
    a = t.accelerator
    with a.device_index(None):
        pass
    found = [a.is_available(), a.device_count(), a.current_accelerator()]
    return [*found, a.current_accelerator(check_available=True)]


PROGRAMS: list[Callable[[Any], Any]] = [blocks, chosen, elsewhere, lambda t: t.set_default_device("nowhere")]

WITHOUT_ACCELERATOR: list[Callable[[Any], Any]] = [
    accelerator,
    lambda t: t.accelerator.set_device_index(0),
    *(lambda t, name=name: getattr(t.accelerator, name)() for name in (
        "current_device_index", "synchronize", "current_stream", "empty_cache", "memory_stats",
        "memory_allocated", "max_memory_allocated", "memory_reserved", "max_memory_reserved",
        "reset_peak_memory_stats", "get_memory_info")),
]  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_do_as_in_pytorch(program: Callable[[Any], Any], torch: ModuleType) -> None:
    if rg.cuda.is_available() and program not in (blocks, chosen):
        pytest.skip("PyTorch's answers are those of a machine without a GPU")
    compare(program, torch)
    assert str(rg.get_default_device()) == "cpu"


@pytest.mark.parametrize("program", WITHOUT_ACCELERATOR)
def test_no_accelerator_is_told_as_by_pytorch(program: Callable[[Any], Any], torch: ModuleType) -> None:
    if rg.cuda.is_available() or torch.accelerator.current_accelerator() is not None:
        pytest.skip("PyTorch's answers are those of its build for CPUs, on a machine without a GPU")
    compare(program, torch)


def test_what_is_replayed_and_compiled_follows_the_default_device() -> None:
    """Calls that were planned on the CPU are not taken for others."""
    if rg.cuda.is_available():
        pytest.skip("there is such a device")

    @rg.compile_grad
    def shifted(x: Any) -> Any:
        return (x + rg.ones(3)).sum()

    for _ in range(4):
        rg.zeros(3), rg.randn(3), shifted(rg.zeros(3))
    with rg.device("cuda"):
        for make in (lambda: rg.zeros(3), lambda: rg.randn(3), lambda: rg.tensor([1.0])):
            with pytest.raises(RuntimeError):
                make()
        with pytest.raises(RuntimeError):
            shifted(rg.zeros(3, device="cpu"))
    assert shifted(rg.zeros(3)).item() == 3
    assert rg.zeros(3).device == rg.device("cpu")


# ---- layers that learn their sizes -------------------------------------------------------------------------

LAZY = [
    ("nn.LazyLinear(3)", (4, 6)), ("nn.LazyLinear(3, bias=False)", (2, 4, 6)),
    ("nn.LazyConv1d(3, 2)", (2, 4, 7)), ("nn.LazyConv2d(4, 2)", (4, 6, 5)),
    ("nn.LazyConv2d(4, 2, stride=2, padding=1, groups=2)", (2, 4, 6, 5)),
    ("nn.LazyConv3d(2, 2, bias=False)", (1, 2, 3, 4, 3)), ("nn.LazyConvTranspose1d(3, 2)", (2, 4, 7)),
    ("nn.LazyConvTranspose2d(4, 3, 2, 1, 1, groups=2)", (2, 4, 6, 5)),
    ("nn.LazyConvTranspose3d(2, 2)", (1, 2, 3, 4, 3)), ("nn.LazyBatchNorm1d()", (4, 6)),
    ("nn.LazyBatchNorm2d(affine=False)", (2, 4, 6, 5)), ("nn.LazyBatchNorm3d(1e-3, None)", (2, 2, 3, 4, 3)),
    ("nn.LazyBatchNorm1d(track_running_stats=False)", (2, 4, 7)), ("nn.LazyInstanceNorm1d()", (2, 4, 7)),
    ("nn.LazyInstanceNorm2d(affine=False, track_running_stats=False)", (2, 4, 6, 5)),
    ("nn.LazyInstanceNorm3d()", (2, 2, 3, 4, 3)),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:input's size at dim=1 does not match num_features:UserWarning")
@pytest.mark.parametrize("case", LAZY, ids=lambda c: c[0])
def test_a_layer_that_learns_its_sizes(torch: ModuleType, case: tuple[str, tuple[int, ...]]) -> None:
    made, shape = case

    def program(t: Any) -> Any:
        t.manual_seed(3)
        m = eval(made, {"nn": t.nn}).double()
        found = [str(m), m.has_uninitialized_params(), [*m.state_dict()]]
        optimizer = t.optim.SGD([*m.parameters(), t.ones(1).requires_grad_()], 0.1)
        x = t.randn(shape, dtype=t.float64)
        (m(x) * t.arange(m(x).numel(), dtype=t.float64).reshape(m(x).shape).cos()).sum().backward()
        optimizer.step()
        return [*found, str(m), type(m).__name__, m(x), [*m.state_dict().values()], t.rand(1)]

    compare(program, torch)


def loaded(t: Any) -> Any:
    """A state gives the sizes, too; then a first call changes nothing."""
    t.manual_seed(0)
    plain, lazy = t.nn.Sequential(t.nn.Linear(4, 3), t.nn.BatchNorm1d(3)), None
    lazy = t.nn.Sequential(t.nn.LazyLinear(3), t.nn.LazyBatchNorm1d())
    told = str(lazy.load_state_dict(plain.state_dict()))
    return [
        told,
        str(lazy),
        lazy(t.arange(8.0).reshape(2, 4).sin()),
        str(lazy),
        [*lazy.state_dict().values()],
    ]


def saved_before(t: Any) -> Any:
    lazy = t.nn.LazyLinear(3)
    state = lazy.state_dict()
    other = t.nn.LazyLinear(3)
    return [str(other.load_state_dict(state)), str(state["weight"]), str(other.weight), t.rand(1).shape]


def into_a_plain_one(t: Any) -> Any:
    t.nn.Linear(4, 3).load_state_dict(t.nn.LazyLinear(3).state_dict())


def copied_and_moved(t: Any) -> Any:
    import copy

    t.manual_seed(0)
    m = copy.deepcopy(t.nn.LazyLinear(3)).double()
    n = t.nn.LazyBatchNorm1d().double()
    return [m(t.ones(2, 4).double()), n(t.arange(6.0).double().reshape(2, 3)), n.running_mean]


def by_hand(t: Any) -> Any:
    p, b = t.nn.UninitializedParameter(), t.nn.UninitializedBuffer(dtype=t.float64)
    found = [str(p), str(b), p.requires_grad]
    p.materialize((2, 3))
    b.materialize((2,))
    return [*found, type(p).__name__, p.shape, b.shape, str(b.dtype), p.is_leaf]


def own(t: Any) -> Any:
    class Scale(t.nn.modules.lazy.LazyModuleMixin, t.nn.Module):  # type: ignore[misc]  # of either library
        def __init__(self) -> None:
            super().__init__()
            self.weight = t.nn.UninitializedParameter()

        def initialize_parameters(self, x: Any) -> None:
            if self.has_uninitialized_params():
                self.weight.materialize(x.shape[-1:])
                t.nn.init.ones_(self.weight)

        def forward(self, x: Any) -> Any:
            return x * self.weight

    m = Scale()
    return [m(t.ones(2, 3)), m.weight, type(m).__name__]


LAZY_PROGRAMS: list[Callable[[Any], Any]] = [
    loaded, saved_before, into_a_plain_one, copied_and_moved, by_hand,
    lambda t: t.nn.UninitializedParameter().shape,
    lambda t: t.nn.LazyConv2d(3, 2)(t.ones(2, 3)),
    lambda t: t.nn.LazyConv2d(3, 2, groups=3)(t.ones(1, 2, 3, 3)),
]  # fmt: skip


@pytest.mark.parametrize("program", LAZY_PROGRAMS)
def test_lazy_programs_do_as_in_pytorch(program: Callable[[Any], Any], torch: ModuleType) -> None:
    compare(program, torch)


def test_a_layer_has_no_first_call_inside_a_compiled_function() -> None:
    m = rg.nn.LazyLinear(2)
    loss = rg.compile_grad(lambda x: m(x).sum())
    with pytest.raises(RuntimeError, match="call the module once outside"):
        loss(rg.ones(3, 4))
    m(rg.ones(3, 4))
    loss(rg.ones(3, 4)).backward()
    assert m.weight.grad.tolist() == [[3.0] * 4] * 2
