"""What PyTorch warns about, and in which words; the place warned of is the user's line."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from function_cases import lines

import retrograd

WARNED = lines("""
    x=t.ones(2,requires_grad=True); y=x*2; y.grad
    t.nn.functional.mse_loss(t.ones(2,3),t.ones(3))
    t.nn.functional.l1_loss(t.ones(2,3),t.ones(2,1))
    t.nn.SmoothL1Loss()(t.ones(2,3),t.ones(3))
    t.nn.functional.huber_loss(t.ones(2,3),t.ones(3))
    t.tensor(t.ones(2))
    t.tensor(t.ones(2),requires_grad=True)
    t.ones(2).new_tensor(t.ones(2))
    o=t.optim.SGD([t.ones(2,requires_grad=True)],lr=.1); s=t.optim.lr_scheduler.StepLR(o,1); s.step()
    o=t.optim.SGD([t.ones(2,requires_grad=True)]); s=t.optim.lr_scheduler.StepLR(o,1); o.step(); s.step(3)
    t.autograd.gradcheck(lambda x: x*x, (t.ones(2,requires_grad=True),), atol=1e-1, eps=1e-2)
    t.autograd.detect_anomaly()
    t.nn.LSTM(3,2,dropout=.5)
    t.nn.functional.grid_sample(t.ones(1,1,4,4),t.ones(1,2,2,2))
    t.nn.functional.mse_loss(t.ones(2),t.ones(2),False)
    t.nn.functional.cross_entropy(t.ones(2,2),t.tensor([0,1]),None,None,-100,False)
    t.nn.functional.poisson_nll_loss(t.ones(2),t.ones(2),size_average=True)
    t.nn.functional.gumbel_softmax(t.ones(2),1,False,1e-9)
    t.nn.Hardtanh(min_value=-2,max_value=2)
    t.nn.Softmax()(t.ones(2,3))
    t.nn.functional.log_softmax(t.ones(2,3,4))
    t.nn.functional.softmin(t.ones(2))
    t.cross(t.ones(3),t.ones(3))
    t.ones(2,3).cross(t.ones(2,3))
    t.autograd.Variable(t.ones(2),volatile=True)
""")
SILENT = lines("""
    x=t.ones(2,requires_grad=True); x.grad
    x=t.ones(2,requires_grad=True); y=x*2; y.retain_grad(); y.grad
    t.ones(2).grad
    t.nn.functional.mse_loss(t.ones(2,3),t.ones(2,3))
    t.as_tensor(t.ones(2))
    t.autograd.set_detect_anomaly(True); t.autograd.set_detect_anomaly(False)
    t.ones(2,3).T
    t.ones(2).std()
    t.ones(1).var(correction=0)
    t.meshgrid(t.ones(2),t.ones(3),indexing="ij")
    t.nn.functional.softmax(t.ones(2,3),1)
    t.nn.functional.kl_div(t.ones(2),t.ones(2),reduction="batchmean")
    t.ones(3)[t.tensor([True,False,True])]
    x=t.ones(2,requires_grad=True); t.autograd.grad((x*x).sum(),x,create_graph=True)
    t.cartesian_prod(t.ones(2),t.ones(3))
    t.cross(t.ones(3),t.ones(3),dim=0)
""")


@contextlib.contextmanager
def always(t: Any) -> Iterator[None]:
    """PyTorch warns of some things once in a process, if it is not told otherwise."""
    if t is not retrograd:
        t.set_warn_always(True)
    yield
    if t is not retrograd:
        t.set_warn_always(False)


def warned(program: str, t: Any) -> list[tuple[type[Warning], str]]:
    with warnings.catch_warnings(record=True) as met, always(t):
        warnings.simplefilter("always")
        exec(program.replace("; ", "\n"), {"t": t})
    return [(w.category, str(w.message).partition(" (Triggered internally")[0]) for w in met]


@pytest.mark.parametrize("program", WARNED)
def test_a_warning_is_pytorchs(torch: ModuleType, program: str) -> None:
    expected = warned(program, torch)
    assert expected, f"PyTorch is silent about {program}"
    assert warned(program, retrograd) == expected


@pytest.mark.parametrize("program", SILENT)
def test_what_pytorch_is_silent_about(torch: ModuleType, program: str) -> None:
    assert not warned(program, torch)
    assert not warned(program, retrograd)


def test_a_warning_names_the_users_line() -> None:
    product = retrograd.ones(2, requires_grad=True) * 2
    with pytest.warns(UserWarning, match="not a leaf") as met:
        assert product.grad is None
    assert met[0].filename == __file__


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
def test_anomaly_mode_shows_the_forward_call() -> None:
    root = retrograd.zeros(2, requires_grad=True)
    with retrograd.autograd.detect_anomaly():
        loss = (root.sqrt() * 0).sum()  # the line that is shown
        with (
            pytest.warns(UserWarning, match="Error detected in SqrtBackward0. Traceback of forward") as met,
            pytest.raises(RuntimeError, match="returned nan values in its 0th output"),
        ):
            loss.backward()
    told = str(met[0].message)
    assert f'File "{__file__}"' in told
    assert told.endswith("loss = (root.sqrt() * 0).sum()  # the line that is shown\n")
    assert "runtime/" not in told
