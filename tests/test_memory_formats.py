"""Where a Tensor's elements lie: storages, offsets and memory formats, beside PyTorch's.

A program takes the library as `t`; a new one is a line of `PROGRAMS`.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from function_cases import lines
from side_by_side import outcome

import retrograd as rg

PROGRAMS = lines("""
    t.ones(2, 3).contiguous(memory_format=t.channels_last)
    t.ones(2, 3).clone(memory_format=t.channels_last)
    t.ones(2, 3).to(memory_format=t.channels_last)
    t.ones(2, 3).contiguous(memory_format=t.preserve_format)
    t.ones(2, 3).t().contiguous(memory_format=t.preserve_format)
    t.ones(2, 3).clone(memory_format=3)
    [y.clone(memory_format=f).stride() for f in formats]
    [z.clone(memory_format=f).stride() for f in formats]
    [y.to(memory_format=f).stride() for f in formats]
    [z.to(memory_format=f).stride() for f in formats]
    [y.double(memory_format=f).stride() for f in formats]
    [z.to(t.float64, memory_format=f).stride() for f in formats]
    [y.contiguous(memory_format=f).stride() for f in (t.contiguous_format, t.channels_last)]
    y.contiguous(memory_format=t.channels_last).is_contiguous()
    y.contiguous(memory_format=t.channels_last).is_contiguous(memory_format=t.channels_last)
    y.is_contiguous(memory_format=t.channels_last)
    y.is_contiguous(memory_format=t.contiguous_format)
    y.contiguous(memory_format=t.channels_last), z.contiguous(memory_format=t.channels_last)
    [t.ones(s).is_contiguous(memory_format=t.channels_last) for s in ((1, 1, 4, 5), (2, 1, 4, 5))]
    [t.ones(s).is_contiguous(memory_format=t.channels_last) for s in ((2, 3, 1, 1), (0, 3, 2, 2), (2, 3))]
    t.empty(2, 3, 4, 5, memory_format=t.channels_last).stride()
    t.ones_like(y, memory_format=t.channels_last).stride()
    t.arange(240.0).reshape(2, 3, 4, 5, 2).contiguous(memory_format=t.channels_last_3d).stride()
    [str(f) for f in formats], str(t.channels_last_3d)
    [v.storage_offset() for v in (x, x[1:], x[:, 2:], x[1][2], x.t(), x[1:].detach(), x[2].view(2, 2))]
    [v.storage_offset() for v in (x.double()[1:], x[1:].clone(), t.tensor(3), t.zeros(0, 3), x.half()[1, 1:])]
    [v.untyped_storage().nbytes() for v in (x, x[1:], x[:, 2:], x[1:].clone(), x.detach(), x.double()[0])]
    x[1:].untyped_storage().data_ptr() == x.untyped_storage().data_ptr() == x.data_ptr()
    x.clone().untyped_storage().data_ptr() == x.untyped_storage().data_ptr()
    x[1:].data_ptr() - x.data_ptr(), len(x[1:].untyped_storage()), x[0].untyped_storage().size()
    str(x.untyped_storage().device)
""")


def operands(t: Any) -> dict[str, Any]:
    y = t.arange(120.0).reshape(2, 3, 4, 5)
    formats = (t.contiguous_format, t.preserve_format, t.channels_last)
    return {"t": t, "x": t.arange(12.0).reshape(3, 4), "y": y, "z": y.transpose(1, 2), "formats": formats}


@pytest.mark.parametrize("loss", ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "kl_div"])
@pytest.mark.parametrize("compiled", [False, True])
def test_losses_that_are_not_reduced_lie_as_their_operands(
    loss: str, compiled: bool, torch: ModuleType
) -> None:
    def strides(t: Any) -> list[Any]:
        f = getattr(t.nn.functional, loss)
        once = rg.compile_grad(f, static="reduction") if compiled and t is rg else f
        x = t.arange(24.0).reshape(2, 3, 4)
        laid = (x, x.mT, x.permute(2, 0, 1), x[:, :, ::2])
        return [once(a, a * 2, reduction="none").stride() for a in laid for _ in range(3)]

    assert strides(rg) == strides(torch)


@pytest.mark.parametrize("line", PROGRAMS)
def test_memory_is_pytorchs(line: str, torch: ModuleType) -> None:
    def program(t: Any) -> Any:
        return eval(line, operands(t))

    expected, refused = outcome(program, torch)
    found, raised = outcome(program, rg)
    assert found == expected
    assert (raised is None) is (refused is None)
    assert str(refused or "") in str(raised or "")


def test_the_derivative_goes_through_a_change_of_format(torch: ModuleType) -> None:
    def program(t: Any) -> Any:
        y = operands(t)["y"].requires_grad_()
        z = y.contiguous(memory_format=t.channels_last)
        (z * z).sum().backward()
        return y.grad, type(z.grad_fn).__name__, z.contiguous(memory_format=t.channels_last) is z

    assert outcome(program, rg) == outcome(program, torch)


def test_a_storage_outlives_its_tensor() -> None:
    storage = (rg.ones(3) * 2).untyped_storage()
    assert storage.nbytes() == 12
    assert "12 bytes on cpu" in repr(storage)


def test_inside_a_trace_elements_lie_in_order() -> None:
    @rg.compile_grad
    def f(x: Any) -> Any:
        y = x.contiguous(memory_format=rg.channels_last)
        assert y.storage_offset() == 0
        return y.clone(memory_format=rg.contiguous_format) * 2

    x = rg.arange(120.0).reshape(2, 3, 4, 5)
    assert np.array_equal(f(x).numpy(), 2 * x.numpy())


def test_a_trace_has_no_memory_to_look_at() -> None:
    with pytest.raises(RuntimeError, match="untyped_storage"):
        rg.compile_grad(lambda x: x * x.untyped_storage().nbytes())(rg.ones(3))


def test_formats_and_storages_on_a_gpu(simulated_gpus: Any) -> None:
    x = rg.arange(24.0).reshape(1, 2, 3, 4).cuda()
    y = x.contiguous(memory_format=rg.channels_last)
    assert (y.stride(), x[:, 1:].storage_offset()) == ((24, 1, 8, 2), 12)
    assert y.is_contiguous(memory_format=rg.channels_last)
    assert np.array_equal(y.cpu().numpy(), x.cpu().numpy())
    assert x[:, 1:].untyped_storage().data_ptr() == x.untyped_storage().data_ptr() == x.data_ptr()
    assert x.untyped_storage().nbytes() >= x.nbytes
