"""Tensors on a GPU do what those on the CPU do: the driver is simulated, and executes the PTX.

Each program of `PROGRAMS` runs on both, and gives the same. A new behaviour is a function there.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from simulated_driver import SimulatedDriver

import retrograd as t
from retrograd import nn
from retrograd.compiler.errors import DeviceError, DimensionError, TraceError


@pytest.fixture(autouse=True)
def gpu(simulated_gpus: SimulatedDriver) -> SimulatedDriver:
    return simulated_gpus


def x32(*shape: int) -> t.Tensor:
    return t.arange(float(np.prod(shape))).reshape(*shape).sin()


pytestmark = pytest.mark.filterwarnings("ignore:To copy construct")

PROGRAMS: list[Callable[[Any], Any]] = []


def program(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    PROGRAMS.append(function)
    return function


# ---- values ------------------------------------------------------------------------------------------------


@program
def arithmetic(d: str) -> Any:
    x = x32(3, 5).to(d)
    return x * 2 + 1, 1 / (x + 3), x.exp().log1p(), x > 0.2, -x % 0.3, x.double() + x, x.int() // 2


def test_a_conversion_that_comes_again_goes_to_the_device(gpu: SimulatedDriver) -> None:
    x, there = x32(3), t.device("cuda")
    for _ in range(4):
        for moved in (x.to("cuda"), x.to(there), x.to("cuda", t.float64), x.to(there, t.float64)):
            assert moved.is_cuda
        assert x.to(there, t.float64).cpu().to(t.device("cpu")).device.type == "cpu"


@program
def numbers_and_scalars_of_the_cpu(d: str) -> Any:
    x = x32(4).to(d)
    return x + t.tensor(2.0), t.tensor(3) * x, x**2, 2**x, x.clamp(min=0, max=t.tensor(0.5))


@program
def sums(d: str) -> Any:
    x = x32(4, 6).to(d)
    return x.sum(), x.mean(0), x.amax(1), x.argmax(1), x.var(1), x.cumsum(0), x.sort(1).values, x.any()


@program
def products(d: str) -> Any:
    x, y = x32(4, 6).to(d), x32(6, 3).to(d)
    return x @ y, x.t() @ x, x[0] @ y[:, 0], t.einsum("ij,jk->ki", x, y)


@program
def views(d: str) -> Any:
    x = x32(4, 6).to(d)
    parts = [x.t(), x[1:, ::2], x[:, 1:4].t(), x.flip(1), x[:, None].expand(4, 2, 6), x.diagonal(), x[2, 3:]]
    return [(v + 1, v.contiguous(), v.clone(), v.stride(), v.is_contiguous()) for v in parts[:5]], parts


@program
def reshapes_of_views(d: str) -> Any:
    x = x32(4, 6).to(d)
    return x.t().reshape(3, 8), x[:, ::2].reshape(2, 6), x[1:3].view(12), x.unfold(1, 2, 2).sum()


@program
def joining(d: str) -> Any:
    x = x32(2, 3).to(d)
    return t.cat([x, x.flip(0)]), t.stack([x[0], x[1]], 1), x.repeat(2, 2), x.tril(), t.where(x > 0, x, -x)


@program
def indexing(d: str) -> Any:
    x, i = x32(5, 3).to(d), t.tensor([4, 0, 3])
    m = x > 0
    return (
        x[i],
        x[i.to(d)],
        x[:, i.to(d) % 3],
        x[m],
        x.masked_fill(m, 7),
        t.nonzero(m),
        x.gather(0, i.to(d)[:, None]),
    )


@program
def of_no_elements(d: str) -> Any:
    x = t.zeros(0, 3).to(d)
    return x + 1, x.sum(0), x.t(), t.cat([x, x32(2, 3).to(d)]), x.clone(), x @ x32(3, 2).to(d)


@program
def written_by_index(d: str) -> Any:
    x, i = x32(3, 4).to(d), t.tensor([[0, 2], [1, 1]], device=d)
    return x.scatter(1, i, 5.0), x.scatter_add(0, i, x), x.index_fill(1, i[0], 2), x.masked_scatter(x > 0, x)


@program
def counted_on_the_host(d: str) -> Any:
    x = t.tensor([3, 1, 1, 0]).to(d)
    return x.unique(), x.bincount(), t.where(x > 0), x.nonzero(as_tuple=True), x.repeat_interleave(x)


@program
def made_alike(d: str) -> Any:
    x = x32(2, 2).to(d)
    return (
        t.zeros_like(x),
        x.new_ones(3),
        t.full_like(x, 2.5),
        x.new_tensor([1, 2]),
        t.tensor(x),
        t.arange(3, device=d),
    )


@program
def random_numbers(d: str) -> Any:
    t.manual_seed(3)
    x = t.rand(3, device=d)
    drawn = x, t.randn_like(x), t.randperm(4, device=d), t.empty(3, device=d).normal_(), x.bernoulli()
    return drawn, nn.functional.dropout(x, 0.5)


# ---- in place ----------------------------------------------------------------------------------------------


@program
def updates_in_place(d: str) -> Any:
    x = x32(3, 4).to(d)
    y, v = x.view(12), x[1]
    x.mul_(2)
    x += 1
    v.zero_()
    x[:, 1] = 5
    x[2, ::2] -= t.tensor([1.0, 2.0], device=d)
    x.t()[0].fill_(9)
    x[0, 1:3].copy_(x32(2).double())
    return x, y, v


@program
def updates_by_index(d: str) -> Any:
    x = x32(4, 3).to(d)
    x[x < 0] = 0
    x[t.tensor([0, 2])] = t.ones(3, device=d)
    x[t.tensor([1, 3], device=d), t.tensor([0, 2])] = 8
    x.index_add_(0, t.tensor([0, 0], device=d), t.ones(2, 3, device=d))
    return x


@program
def copies_between_devices(d: str) -> Any:
    x, y = x32(2, 3), t.zeros(3, 2, device=d).t()
    y.copy_(x)
    x.zero_().add_(y.cpu())
    return x.copy_(y * 2), y


# ---- derivatives -------------------------------------------------------------------------------------------


@program
def backward_through_a_network(d: str) -> Any:
    x = x32(4, 3).to(d)
    w, b = x32(3, 5).to(d).requires_grad_(), t.zeros(5, device=d, requires_grad=True)
    loss = ((x @ w + b).tanh().softmax(1) * x32(4, 5).to(d)).sum()
    loss.backward()
    loss = (w * w).sum()
    loss.backward()
    return loss, w.grad, b.grad


@program
def gradients_of_gradients(d: str) -> Any:
    x = x32(3).to(d).requires_grad_()
    (g,) = t.autograd.grad((x**3).sum(), x, create_graph=True)
    (h,) = t.autograd.grad((g * g).sum(), x)
    return g, h, t.autograd.functional.jacobian(lambda z: z.sin() * 2, x32(2).to(d))


@program
def gradients_of_views_and_updates(d: str) -> Any:
    x = x32(3, 4).to(d).requires_grad_()
    y = x * 1
    y[1].mul_(3)
    y[:, ::2] = y[:, 1::2] * 2
    (y.t()[1:].exp().sum() + y.expand(2, 3, 4).sum()).backward()
    return x.grad


@program
def gradients_across_devices(d: str) -> Any:
    x = x32(3).requires_grad_()
    y = x.to(d) * 2
    y.cpu().sum().backward()
    return x.grad


@program
def gradients_of_indices(d: str) -> Any:
    x = x32(5, 2).to(d).requires_grad_()
    i = t.tensor([1, 1, 4], device=d)
    (x[i] * x32(3, 2).to(d)).sum().backward()
    return x.grad


@program
def a_graph_that_is_kept(d: str) -> Any:
    x = x32(4).to(d).requires_grad_()
    y = (x.exp() * x).sum()
    y.backward(retain_graph=True)
    first = x.grad.clone()
    y.backward()
    return first, x.grad, words(lambda: y.backward())


@program
def hooks_and_kept_gradients(d: str) -> Any:
    x = x32(4).to(d).requires_grad_()
    y = x * 3
    y.retain_grad()
    handle = y.register_hook(lambda g: g * 2)
    seen: list[t.Tensor] = []
    y.grad_fn.register_hook(lambda outs, ins: seen.append(outs[0]))
    x.register_post_accumulate_grad_hook(lambda leaf: seen.append(leaf.grad.clone()))
    (y * y).sum().backward()
    handle.remove()
    (x * 3).sum().backward()
    return x.grad, y.grad, seen


class Cubed(t.autograd.Function):
    """With a backward that is differentiated itself."""

    @staticmethod
    def forward(ctx: Any, x: t.Tensor, scale: float) -> t.Tensor:
        ctx.save_for_backward(x)
        ctx.scale = scale
        return x**3 * scale

    @staticmethod
    def backward(ctx: Any, *cotangents: t.Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return 3 * x**2 * ctx.scale * cotangents[0], None


@program
def a_function_of_the_users_twice_over(d: str) -> Any:
    x = x32(4).to(d).requires_grad_()
    (g,) = t.autograd.grad(Cubed.apply(x, 2.0).sum(), x, create_graph=True)
    g.sum().backward()
    compiled = t.compile_grad(lambda x: Cubed.apply(x, 2.0).sum())
    return g, x.grad, compiled.value_and_grad(x.detach())


@program
def what_is_not_recorded(d: str) -> Any:
    x = x32(4).to(d).requires_grad_()
    with t.no_grad():
        y = x * 2
        x.add_(1)
    z = x.detach().exp()
    return y, z, y.requires_grad, z.requires_grad, x.is_leaf, (x * 1).requires_grad


@program
def versions_of_what_was_saved(d: str) -> Any:
    x = x32(4).to(d).requires_grad_()
    y = x * 1
    z, v = (y * y).sum(), y[1:]
    before = y._version
    y.mul_(2)
    v.add_(1)
    w = x.exp()
    w.add_(1)
    kinds = (z.backward, w.sum().backward, lambda: x.add_(1), lambda: x[:1].zero_())
    return before, y._version, v._version, [words(f) for f in kinds]


def words(f: Callable[[], Any]) -> str:
    """What the error says, of whatever device."""
    with pytest.raises(RuntimeError) as caught:
        f()
    return str(caught.value).replace("torch.cuda.", "torch.")


@program
def gradients_of_many_kinds(d: str) -> Any:
    x, w = x32(3, 4).to(d).requires_grad_(), x32(4, 2).to(d).requires_grad_()
    y = (x @ w).tanh()
    first = t.autograd.grad(y, [x, w], grad_outputs=t.ones(3, 2, device=d), retain_graph=True)
    unused = t.autograd.grad(y.sum(), [x, t.ones(1, device=d, requires_grad=True)], allow_unused=True)
    hessian = t.autograd.functional.hessian(lambda z: (z**3).sum(), x32(2).to(d))
    return first, unused[0], unused[1] is None, hessian


@program
def sums_of_gradients(d: str) -> Any:
    x = x32(3).to(d).requires_grad_()
    for k in range(3):
        (x * k).sum().backward()
    kept = x.grad
    x.grad.zero_()
    (x.sin()).sum().backward()
    same = kept is x.grad
    x.grad = None
    (x * 2).sum().backward()
    return kept, same, x.grad


@program
def layers_and_an_optimiser(d: str) -> Any:
    t.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.GELU(), nn.Linear(4, 2)).to(d)
    x, y = x32(5, 3).to(d), t.tensor([0, 1, 1, 0, 1], device=d)
    optimizer = t.optim.Adam(net.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        optimizer.step()
    return list(net.state_dict().values())


# ---- compiled ----------------------------------------------------------------------------------------------


@program
def a_compiled_loss(d: str) -> Any:
    @t.compile_grad
    def loss(x: t.Tensor, w: t.Tensor, scale: float) -> t.Tensor:
        return ((x @ w).relu() @ w.t() * scale - x).pow(2).sum()

    x, w = x32(4, 3).to(d), x32(3, 5).to(d).requires_grad_()
    first = [loss.value_and_grad(x, w, 0.5) for _ in range(4)][-1]  # a graph of the driver's at last
    loss(x, w, 0.25).backward()
    return first, w.grad


@program
def a_compiled_function_and_its_pullback(d: str) -> Any:
    @t.compile_grad
    def f(x: t.Tensor) -> Any:
        return x.exp(), x.cumsum(0)

    x = x32(4).to(d).requires_grad_()
    a, b = f(x)
    (a * b).sum().backward()
    _result, pullback = f.vjp(x32(3).to(d))
    return x.grad, pullback((t.ones(3, device=d), t.zeros(3, device=d)))


@program
def a_compiled_update_in_place(d: str) -> Any:
    @t.compile_grad
    def f(x: t.Tensor) -> t.Tensor:
        x[1:].mul_(2)
        return x.sum()

    x = x32(4).to(d)
    return f(x), x


@program
def a_compiled_step(d: str) -> Any:
    t.manual_seed(0)
    net = nn.Linear(3, 2).to(d)
    step = t.compile_step(
        lambda x, y: nn.functional.mse_loss(net(x), y), t.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    )
    losses = [step(x32(4, 3).to(d), x32(4, 2).to(d)) for _ in range(3)]
    return losses, list(net.parameters())


# ---- the tests ---------------------------------------------------------------------------------------------


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple) and not isinstance(value, t.Size):
        for part in value:
            yield from leaves(part)
    else:
        yield value


@pytest.mark.parametrize("run", PROGRAMS, ids=lambda f: f.__name__)
def test_a_program_gives_the_same_on_a_gpu(run: Callable[[Any], Any]) -> None:
    here, there = list(leaves(run("cpu"))), list(leaves(run("cuda")))
    assert len(here) == len(there)
    for a, b in zip(here, there, strict=True):
        if not isinstance(a, t.Tensor):
            assert a == b
            continue
        assert b.dtype is a.dtype
        assert b.shape == a.shape
        np.testing.assert_allclose(b.detach().cpu().numpy(), a.detach().numpy(), rtol=3e-5, atol=1e-6)


def test_results_are_where_the_operands_are() -> None:
    x = x32(3).cuda()
    made = x + 1, x.sum(), x[x > 0], x.nonzero(), t.zeros_like(x), x.unique(), t.rand_like(x), x.argsort()
    assert {str(y.device) for y in made} == {"cuda:0"}
    assert x.is_cuda
    assert not x.is_cpu
    assert x.get_device() == 0
    assert not x.cpu().is_cuda
    assert x.cpu().get_device() == -1


def test_compiled_functions_draw_for_a_gpu_as_eager_ones_do() -> None:
    dropout = t.nn.Dropout(0.4)
    compiled = t.compile_grad(lambda x: dropout(x) * x)
    results = []
    for f in (lambda x: dropout(x) * x, compiled):
        t.manual_seed(3)
        for _ in range(2):
            x = x32(4, 5).to("cuda").requires_grad_()
            y = f(x)
            y.sum().backward()
            assert x.grad is not None
            results.append((y.detach().cpu(), x.grad.cpu()))
    for eager, ours in zip(results[:2], results[2:], strict=True):
        assert all(t.allclose(a, b) for a, b in zip(eager, ours, strict=True))
    with pytest.raises(TraceError, match="random numbers for the CPU inside a compiled function on a GPU"):
        t.compile_grad(lambda x: x + t.rand(3))(t.ones(3, device="cuda"))


def test_one_op_is_compiled_once_for_its_types(gpu: SimulatedDriver) -> None:
    x = x32(8).cuda()
    for k in range(4):
        x = x * (k + 1.5)
    x[0:4] + x[4:8]
    x.cpu()
    assert len({name for name in gpu.launches if name.startswith("mul")}) == 1
    assert gpu.launches.count("mul_mul") == 4


def test_views_start_no_kernel(gpu: SimulatedDriver) -> None:
    x = x32(4, 6).cuda()
    x.t()[1:, ::2].reshape(5, 2)[None].expand(3, 5, 2)
    t.cuda.synchronize()
    assert gpu.launches == []


def test_it_prints_where_it_is() -> None:
    x = t.tensor([1.0, 2.5], device="cuda")
    assert repr(x) == "tensor([1.0000, 2.5000], device='cuda:0')"
    assert repr(x.requires_grad_() * 2) == "tensor([2., 5.], device='cuda:0', grad_fn=<MulBackward0>)"
    assert f"{x.sum().item():.1f}" == "3.5"
    assert x.detach().tolist() == [1.0, 2.5]
    assert bool(x.sum() > 3)


def test_numpy_has_no_access() -> None:
    x = t.ones(2, device="cuda")
    message = (
        "can't convert cuda:0 device type tensor to numpy. "
        "Use Tensor.cpu\\(\\) to copy the tensor to host memory first."
    )
    with pytest.raises(TypeError, match=message):
        x.numpy()
    with pytest.raises(TypeError, match=message):
        np.asarray(x)
    np.testing.assert_equal(x.numpy(force=True), [1, 1])


@pytest.mark.parametrize(
    "mixed",
    [
        lambda x: x + t.ones(3),
        lambda x: t.ones(3, 3) @ x,
        lambda x: x.to("cuda:1") * x,
        lambda x: t.cat([x, t.ones(1)]),
        lambda x: t.compile_grad(lambda a, b: a * b)(x, t.ones(3)),
    ],
)
def test_tensors_on_two_devices_do_not_go_together(mixed: Callable[[t.Tensor], Any]) -> None:
    words = "Expected all tensors to be on the same device, but found at least two devices, cuda:"
    with pytest.raises(DeviceError, match=words):
        mixed(t.ones(3, device="cuda"))


PLACES: dict[str, tuple[Callable[[t.Tensor], Any], str]] = {
    "an index there for a tensor here": (
        lambda x: t.ones(3)[x.long()],
        "indices should be either on cpu or on the same device as the indexed tensor (cpu)",
    ),
    "a gradient here for a tensor there": (
        lambda x: setattr(x.requires_grad_(), "grad", t.ones(3)),
        "attempting to assign a gradient with device type 'cpu' to a tensor with device type 'cuda'. Please "
        "ensure that the gradient and the tensor are on the same device",
    ),
    "a result there for out= here": (
        lambda x: t.add(x, x, out=t.ones(3)),
        "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!",
    ),
    "a row there and out= here": (
        lambda x: t.exp(x, out=t.ones(3)),
        "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!",
    ),
}


@pytest.mark.parametrize("name", PLACES)
def test_tensors_on_two_devices_are_told_in_pytorchs_words(name: str) -> None:
    mixed, words = PLACES[name]
    with pytest.raises(DeviceError) as caught:
        mixed(t.ones(3, device="cuda"))
    assert str(caught.value) == words
    assert caught.value.__notes__[0].startswith("test_cuda_tensors.py:")


def test_an_index_out_of_range_is_an_error_at_its_line() -> None:
    x, i = t.ones(3, device="cuda"), t.tensor([3], device="cuda")
    with pytest.raises(DimensionError, match=r"test_cuda_tensors.py:\d+: take .*the axis has size 3"):
        x[i]


OUT_OF_RANGE = r"test_cuda_tensors.py:\d+: take .*the axis has size 3"
LOOKS: dict[str, Callable[[Any], object]] = {
    "a value": lambda y: y.tolist(),
    "another value": lambda y: t.ones(2, device="cuda").cpu(),
    "the GPU": lambda y: t.cuda.synchronize(),
    "its stream": lambda y: t.cuda.current_stream().synchronize(),
    "an event": lambda y: t.cuda.current_stream().record_event().synchronize(),
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_a_compiled_function_reports_an_index_when_the_gpu_is_waited_for(
    look: Callable[[Any], object],
) -> None:
    """Nobody waits for the check itself; a good call after it takes nothing back, and it is told once."""
    x, good, bad = t.ones(3, device="cuda"), *(t.tensor([k], device="cuda") for k in (2, 3))
    f = t.compile_grad(lambda a, b: a[b] * 2)
    f(x, good)
    y = f(x, bad)
    f(x, good)
    with pytest.raises(IndexError, match=OUT_OF_RANGE):
        look(y)
    assert f(x, good).tolist() == [2.0]


def test_a_compiled_function_reports_an_index_at_its_next_call() -> None:
    x, good, bad = t.ones(3, device="cuda"), *(t.tensor([k], device="cuda") for k in (2, 3))
    f = t.compile_grad(lambda a, b: a[b] * 2)
    f(x, bad)
    while not t.cuda.current_stream().query():
        pass
    with pytest.raises(IndexError, match=OUT_OF_RANGE):
        f(x, good)
    assert f(x, good).tolist() == [2.0]


def test_where_launches_block_an_index_is_reported_at_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_LAUNCH_BLOCKING", "1")
    f = t.compile_grad(lambda a, b: a[b] * 2)
    with pytest.raises(IndexError, match=OUT_OF_RANGE):
        f(t.ones(3, device="cuda"), t.tensor([3], device="cuda"))


def test_what_lapack_does_says_so() -> None:
    with pytest.raises(DeviceError, match=r"cholesky of a tensor on cuda:0; LAPACK does it.*\.cpu\(\)"):
        t.linalg.cholesky(t.eye(2, device="cuda"))


def test_what_numpy_does_says_so() -> None:
    x = t.ones(3, device="cuda")
    with pytest.raises(DeviceError, match=r"nextafter of a tensor on cuda:0; NumPy does it.*\.cpu\(\)"):
        t.nextafter(x, x)


def test_it_is_copied_and_pickled() -> None:
    x = t.nn.Parameter(x32(3).cuda())
    again = copy.deepcopy(x)
    assert isinstance(again, t.nn.Parameter)
    assert again.is_cuda
    with t.no_grad():
        x.zero_()
    assert again.tolist() == x32(3).tolist()
    assert pickle.loads(pickle.dumps(again)).tolist() == x32(3).tolist()


def test_a_module_moves_with_all_that_it_has() -> None:
    net = nn.BatchNorm1d(3)
    first = net.weight
    assert net.cuda() is net
    assert {str(x.device) for x in net.state_dict().values()} == {"cuda:0"}
    assert net.weight is first
    assert net.to("cpu", t.float64).weight.dtype is t.float64
    assert not net.weight.is_cuda


def test_the_stages_of_what_runs_on_a_gpu_are_ptx() -> None:
    f = t.compile_grad(lambda x: (x * x).sum())
    program = f.trace(t.ones(4, device="cuda", requires_grad=True))
    assert ".target sm_90" in program.assembly
    assert "grid" in str(program.loops)


def test_its_type_is_named_as_in_pytorch() -> None:
    x = t.ones(2, device="cuda")
    assert x.type() == "torch.cuda.FloatTensor"
    assert x.type("torch.DoubleTensor").type() == "torch.DoubleTensor"
    assert t.ones(2).type("torch.cuda.LongTensor").type() == "torch.cuda.LongTensor"
    y = x.requires_grad_() * 1
    z = (y * y).sum()
    y.add_(1)
    with pytest.raises(RuntimeError, match=r"\[torch\.cuda\.FloatTensor \[2\]\]"):
        z.backward()


def test_gradients_are_checked_by_differences() -> None:
    x = t.ones(2, dtype=t.float64, device="cuda", requires_grad=True)
    assert t.autograd.gradcheck(lambda a: a.sin() * a, (x,))


class Squared(t.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: t.Tensor) -> t.Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, cotangent: t.Tensor) -> t.Tensor:
        (x,) = ctx.saved_tensors
        return 2 * x * cotangent


def test_functions_and_hooks_of_the_user_see_tensors_there() -> None:
    x = x32(3).cuda().requires_grad_()
    seen: list[str] = []
    x.register_hook(lambda g: seen.append(str(g.device)))
    Squared.apply(x).sum().backward()
    assert seen == ["cuda:0"]
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.cpu().numpy(), 2 * x32(3).numpy(), rtol=1e-6)
