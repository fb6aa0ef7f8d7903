"""Modules beside PyTorch's: after the same seed the same weights, values, gradients, state and text.

Layers are the rows of `layer_cases`. What a Module is (attributes, walks, state, hooks) is told by programs
that run with either library. An error must be of PyTorch's class and say PyTorch's words.
"""

from __future__ import annotations

import copy
import inspect
import pickle
import warnings
from typing import Any

import numpy as np
import pytest
from layer_cases import LAYERS, LOSSES, Layer

import retrograd
from retrograd.compiler.errors import RetrogradError


def array(x: Any) -> Any:
    return x.detach().numpy()


def close(ours: Any, theirs: Any, what: str = "") -> None:
    """The same nested Tensors, to float32 accuracy, with elements in order where PyTorch's are."""
    if isinstance(theirs, tuple | list):
        assert len(ours) == len(theirs)
        for k, (a, b) in enumerate(zip(ours, theirs)):
            close(a, b, f"{what}[{k}]")
    elif theirs is None:
        assert ours is None, what
    else:
        assert tuple(ours.shape) == tuple(theirs.shape), what
        assert str(ours.dtype) == str(theirs.dtype), what
        assert ours.is_contiguous() or not theirs.is_contiguous(), what
        np.testing.assert_allclose(array(ours), array(theirs), rtol=2e-5, atol=2e-6, err_msg=what)


def same_state(ours: Any, theirs: Any, ulps: int = 1) -> None:
    """Equal names in the same order, and equal numbers up to this many units in the last place."""
    assert list(ours) == list(theirs)
    for name, tensor in theirs.items():
        assert str(ours[name].dtype) == str(tensor.dtype), name
        if tensor.is_floating_point():
            np.testing.assert_array_max_ulp(array(ours[name]), array(tensor), maxulp=ulps)
        else:
            assert array(ours[name]).tolist() == array(tensor).tolist(), name


def leaves(value: Any) -> list[Any]:
    if isinstance(value, tuple | list):
        return [leaf for part in value for leaf in leaves(part)]
    return [value] if value is not None and value.is_floating_point() else []


def run(t: Any, case: Layer, train: bool) -> tuple[Any, list[Any], Any]:
    """Outputs, gradients and state of a layer, made and called after the same seed."""
    t.manual_seed(11)
    layer = eval(case.made, {"nn": t.nn, "t": t})
    layer.train(train)
    inputs = [
        t.randint(0, case.ints, s) if case.ints else t.rand(*s) * 0.8 + 0.1 if case.positive else t.randn(*s)
        for s in case.shapes
    ]
    for x in inputs:
        x.requires_grad_(x.is_floating_point())
    places = {"t": t, "layer": layer, "inputs": [x * 1 for x in inputs]}
    output = eval(case.call, places) if inputs else None
    found = leaves(output)
    if any(x.requires_grad for x in found):
        sum((x * t.arange(1.0, x.numel() + 1).reshape(x.shape).cos()).sum() for x in found).backward()
    parameters = list(layer.parameters())
    return output, [x.grad for x in (*inputs, *parameters)], layer.state_dict()


@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("case", LAYERS + LOSSES, ids=lambda case: case.made)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_layers_are_pytorchs(torch: Any, case: Layer, train: bool) -> None:
    ours, our_grads, our_state = run(retrograd, case, train)
    theirs, their_grads, their_state = run(torch, case, train)
    close(ours, theirs, "output")
    close(our_grads, their_grads, "gradient")
    assert list(our_state) == list(their_state)
    close(list(our_state.values()), list(their_state.values()), "state")


@pytest.mark.parametrize("made", dict.fromkeys(case.made for case in LAYERS + LOSSES))
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_layers_start_and_read_as_pytorchs(torch: Any, made: str) -> None:
    pair = []
    for t in (retrograd, torch):
        t.manual_seed(5)
        pair.append(eval(made, {"nn": t.nn, "t": t}))
    ours, theirs = pair
    assert repr(ours) == repr(theirs)
    same_state(ours.state_dict(), theirs.state_dict())
    flags = [[p.requires_grad for p in module.parameters()] for module in pair]
    assert flags[0] == flags[1]


# ---- initial values ----------------------------------------------------------------------------------------

INITS = [
    "uniform_(x)", "uniform_(x, -2, 3)", "normal_(x, 1, 2)", "constant_(x, 0.3)", "ones_(x)", "zeros_(x)",
    "eye_(x)", "xavier_uniform_(x, gain=2)", "xavier_normal_(x)", "kaiming_uniform_(x)",
    "kaiming_uniform_(x, mode='fan_out', nonlinearity='relu')", "kaiming_normal_(x, a=0.1)",
    "trunc_normal_(x)",
    "trunc_normal_(x, 0, 1, 2, 3)", "trunc_normal_(x, std=0.02)", "sparse_(x, 0.3)", "orthogonal_(x)",
    "orthogonal_(x, gain=2)", "orthogonal_(x.t())",
]  # fmt: skip


@pytest.mark.parametrize("call", INITS)
def test_initial_values_are_pytorchs(torch: Any, call: str) -> None:
    found = []
    for t in (retrograd, torch):
        t.manual_seed(3)
        x = t.empty(7, 12)
        result = eval(f"t.nn.init.{call}", {"t": t, "x": x})
        assert tuple(result.shape) in ((7, 12), (12, 7))
        found.append(array(x))
    exact = "orthogonal" not in call
    np.testing.assert_allclose(found[0], found[1], rtol=2e-7 if exact else 1e-4, atol=0 if exact else 1e-5)


def test_dirac_and_gains(torch: Any) -> None:
    for groups in (1, 2):
        found = [array(t.nn.init.dirac_(t.empty(4, 3, 3, 2), groups)) for t in (retrograd, torch)]
        np.testing.assert_array_equal(*found)
    for arguments in (("relu",), ("tanh",), ("linear",), ("leaky_relu",), ("leaky_relu", 0.2), ("selu",)):
        assert retrograd.nn.init.calculate_gain(*arguments) == torch.nn.init.calculate_gain(*arguments)


# ---- programs that both libraries run ----------------------------------------------------------------------


def net(t: Any) -> Any:
    nn = t.nn
    t.manual_seed(2)
    return nn.Sequential(
        nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Sequential(nn.ReLU(), nn.Linear(4, 2, bias=False))
    )


def named_walks(t: Any) -> Any:
    model = net(t)
    model[2].again = model[0]  # shared: named once
    return (
        [name for name, _ in model.named_parameters()],
        [name for name, _ in model.named_parameters(prefix="p", recurse=False)],
        [name for name, _ in model.named_parameters(remove_duplicate=False)],
        [name for name, _ in model.named_buffers()],
        [name for name, _ in model.named_modules()],
        [name for name, _ in model.named_children()],
        [type(m).__name__ for m in model.modules()],
        len(list(model.parameters())),
        repr(model),
    )


def attributes(t: Any) -> Any:
    nn = t.nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(t.ones(2))
            self.register_parameter("none", None)
            self.register_buffer("kept", t.zeros(1))
            self.register_buffer("unsaved", t.zeros(1), persistent=False)
            self.buffer = nn.Buffer(t.full((2,), 3.0))
            self.part = nn.Linear(2, 1)
            self.plain = 5

    module = Net()
    seen = [
        list(module.state_dict()),
        module.plain,
        module.none is None,
        sorted(module.__dict__.keys() & {"plain"}),
    ]
    module.part = None
    module.w = None
    module.kept = t.ones(3)
    del module.unsaved
    module.plain = nn.Tanh()
    seen += [list(module.state_dict()), hasattr(module, "unsaved"), "kept" in dir(module), repr(module)]
    module.add_module("late", nn.Sigmoid())
    del module.plain
    return [
        *seen,
        repr(module),
        module.get_buffer("kept").shape[0],
        type(module.get_submodule("late")).__name__,
    ]


def modes(t: Any) -> Any:
    model = net(t)
    seen = [model.training, model.eval() is model, [m.training for m in model.modules()]]
    model[0].train()
    model.requires_grad_(False)
    model[2].requires_grad_(True)
    seen += [[m.training for m in model.modules()], [p.requires_grad for p in model.parameters()]]
    counted: list[str] = []
    model.apply(lambda m: counted.append(type(m).__name__))
    return [*seen, counted]


def gradients_cleared(t: Any) -> Any:
    model = net(t)
    model(t.randn(5, 3)).sum().backward()
    before = [p.grad is not None for p in model.parameters()]
    model.zero_grad(set_to_none=False)
    zeros = [float(p.grad.abs().sum()) for p in model.parameters()]
    model.zero_grad()
    return before, zeros, [p.grad is None for p in model.parameters()]


def dtypes_changed(t: Any) -> Any:
    model = net(t).double()
    output = model(t.randn(5, 3, dtype=t.float64))
    seen = [str(p.dtype) for p in model.parameters()] + [str(b.dtype) for b in model.buffers()]
    return [
        *seen,
        str(output.dtype),
        str(model.to(t.float32)[0].weight.dtype),
        str(model.half()[0].bias.dtype),
    ]


def containers(t: Any) -> Any:
    nn = t.nn
    seq = nn.Sequential(nn.ReLU(), nn.Tanh(), nn.Sigmoid())
    seq.append(nn.ELU()).insert(1, nn.SELU())
    del seq[0]
    seq[1] = nn.GELU()
    seen = [
        repr(seq),
        len(seq),
        repr(seq[-1]),
        repr(seq[1:3]),
        repr(seq.pop(0)),
        repr(seq + nn.Sequential(nn.CELU())),
    ]
    items = nn.ModuleList([nn.Linear(2, 2) for _ in range(3)])
    items.extend([nn.ReLU(), nn.ReLU()])
    items.insert(0, nn.Tanh())
    items += [nn.Tanh()]
    seen += [
        repr(items),
        len(items),
        repr(items[2:]),
        list(items.state_dict()),
        repr(items.pop(0)),
        repr(nn.ModuleList()),
    ]
    named = nn.ModuleDict({"a": nn.ReLU(), "b": nn.Linear(1, 2)})
    named.update([("c", nn.Tanh())])
    named["a"] = nn.Sigmoid()
    seen += [repr(named), list(named), list(named.keys()), "b" in named, repr(named.pop("b")), len(named)]
    params = nn.ParameterList([t.zeros(2, 3), nn.Parameter(t.ones(1))])
    params.append(t.zeros(4))
    seen += [repr(params), len(params), list(params.state_dict()), [p.requires_grad for p in params]]
    table = nn.ParameterDict({"left": t.zeros(2), "right": nn.Parameter(t.ones(3))})
    del table["left"]
    seen += [repr(table), list(table), list(table.state_dict()), "left" in table]
    from collections import OrderedDict

    return [*seen, repr(nn.Sequential(OrderedDict(first=nn.ReLU(), second=nn.Tanh())))]


def forward_hooks(t: Any) -> Any:
    layer = t.nn.Linear(2, 2)
    x = t.ones(1, 2)
    seen: list[Any] = []
    first = layer.register_forward_pre_hook(lambda m, args: seen.append(("before", len(args))))
    layer.register_forward_pre_hook(lambda m, args: (args[0] * 0,))
    last = layer.register_forward_hook(lambda m, args, out: out + 1)
    layer.register_forward_hook(
        lambda m, args, kwargs, out: seen.append(sorted(kwargs)), with_kwargs=True, prepend=True
    )
    same = bool(t.allclose(layer(x), layer.bias + 1))
    first.remove()
    last.remove()
    return [seen, same, bool(t.allclose(layer(x), layer.bias)), len(seen)]


def backward_hooks(t: Any) -> Any:
    t.manual_seed(0)
    layer = t.nn.Linear(2, 3)
    seen: list[Any] = []
    layer.register_full_backward_hook(
        lambda m, gi, go: seen.append([g is not None and tuple(g.shape) for g in (*gi, *go)])
    )
    doubled = layer.register_full_backward_pre_hook(lambda m, go: (go[0] * 2,))
    x = t.ones(4, 2, requires_grad=True)
    layer(x).sum().backward()
    twice = x.grad.sum().item() / layer.weight.sum().item()
    doubled.remove()
    layer(t.ones(1, 2)).sum().backward()
    halved = layer.register_full_backward_hook(lambda m, gi, go: (gi[0] * 0.5,))
    x.grad = None
    layer(x).sum().backward()
    halved.remove()
    return seen, round(twice, 4), round(x.grad.sum().item() / layer.weight.sum().item(), 4)


def state_round_trip(t: Any) -> Any:
    model = net(t)
    model(t.ones(4, 3) * t.arange(4.0).reshape(4, 1))
    other = net(t)
    told = repr(other.load_state_dict(model.state_dict()))
    equal = all(
        bool((a == b).all()) for a, b in zip(model.state_dict().values(), other.state_dict().values())
    )
    less = dict(list(model.state_dict().items())[1:], extra=t.zeros(1))
    loose = other.load_state_dict(less, strict=False)
    kept = model.state_dict(keep_vars=True)["0.weight"] is model[0].weight
    model.load_state_dict({k: v * 0 for k, v in model.state_dict().items()}, assign=True)
    return (
        told,
        equal,
        loose.missing_keys,
        loose.unexpected_keys,
        repr(loose),
        kept,
        float(model[0].weight.sum()),
    )


def copies(t: Any) -> Any:
    model = net(t)
    twin = copy.deepcopy(model)
    with t.no_grad():
        twin[0].weight.zero_()
    return (
        bool(model[0].weight.any()),
        repr(twin) == repr(model),
        [p.requires_grad for p in twin.parameters()],
    )


def parameters_shown(t: Any) -> Any:
    data = t.arange(3.0)
    parameter = t.nn.Parameter(data)
    data[0] = 7.0
    free = t.nn.Parameter(t.zeros(2), requires_grad=False)
    product = parameter * 2
    return (
        repr(parameter),
        repr(free),
        parameter.is_leaf,
        isinstance(parameter, t.Tensor),
        type(product) is t.Tensor,
    )


def clipped(t: Any) -> Any:
    utils = t.nn.utils
    params = [t.nn.Parameter(t.ones(2, 2)), t.nn.Parameter(t.ones(3))]
    seen = []
    for how in ({"max_norm": 1.0}, {"max_norm": 100.0}, {"max_norm": 0.5, "norm_type": float("inf")}):
        sum((p * p).sum() * 3 for p in params).backward()
        seen += [
            round(utils.clip_grad_norm_(params, **how).item(), 4),
            [round(p.grad.sum().item(), 4) for p in params],
        ]
    utils.clip_grad_value_(params, 0.05)
    vector = utils.parameters_to_vector(params)
    utils.vector_to_parameters(t.arange(7.0), params)
    return [
        *seen,
        [round(p.grad.max().item(), 4) for p in params],
        vector.shape[0],
        params[0].tolist(),
        params[1].tolist(),
    ]


PROGRAMS = [
    named_walks, attributes, modes, gradients_cleared, dtypes_changed, containers, forward_hooks,
    backward_hooks,    state_round_trip, copies, parameters_shown, clipped,
]  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_programs_do_the_same(torch: Any, program: Any) -> None:
    assert program(retrograd) == program(torch)


# ---- errors ------------------------------------------------------------------------------------------------


def _uncalled(t: Any) -> Any:
    class Late(t.nn.Module):  # type: ignore[misc]  # a base that is an argument
        def __init__(self) -> None:
            self.part = t.nn.ReLU()

    return Late()


ERRORS = {
    "no init": _uncalled,
    "no forward": lambda t: t.nn.Module()(1),
    "no attribute": lambda t: t.nn.Linear(1, 1).absent,
    "parameter of a number": lambda t: t.nn.Linear(1, 1).__setattr__("weight", 3.0),
    "parameter of a tensor": lambda t: t.nn.Linear(1, 1).__setattr__("bias", t.zeros(1)),
    "module of a number": lambda t: t.nn.Sequential(t.nn.ReLU()).__setattr__("0", 3),
    "buffer of a number": lambda t: t.nn.BatchNorm1d(1).__setattr__("running_mean", 3),
    "name with a dot": lambda t: t.nn.Module().register_parameter("a.b", None),
    "empty name": lambda t: t.nn.Module().register_buffer("", None),
    "name taken": lambda t: t.nn.Linear(1, 1).register_buffer("weight", None),
    "no Module": lambda t: t.nn.Module().add_module("a", 3),
    "non-leaf": lambda t: t.nn.Module().register_parameter("a", t.nn.Parameter(t.ones(1)) * 2),
    "missing keys": lambda t: net(t).load_state_dict({}),
    "unexpected keys": lambda t: t.nn.Identity().load_state_dict({"x.y": 1, "z": 2}),
    "size mismatch": lambda t: t.nn.Linear(2, 1).load_state_dict(t.nn.Linear(1, 1).state_dict()),
    "both": lambda t: net(t).load_state_dict({"0.weight": t.zeros(1), "9.w": t.zeros(1)}),
    "not a dict": lambda t: net(t).load_state_dict([]),
    "index": lambda t: t.nn.Sequential(t.nn.ReLU())[1],
    "list index": lambda t: t.nn.ModuleList()[0],
    "parameter path": lambda t: net(t).get_parameter("0.gone"),
    "parameter kind": lambda t: net(t).get_parameter("1.running_mean"),
    "submodule path": lambda t: net(t).get_submodule("0.weight"),
    "integer dtype": lambda t: net(t).to(t.int64),
    "train mode": lambda t: net(t).train("yes"),
    "groups": lambda t: t.nn.Conv2d(3, 4, 1, groups=2),
    "groups out": lambda t: t.nn.Conv2d(4, 3, 1, groups=2),
    "no groups": lambda t: t.nn.Conv2d(4, 3, 1, groups=0),
    "same with stride": lambda t: t.nn.Conv2d(1, 1, 3, stride=2, padding="same"),
    "output size": lambda t: t.nn.ConvTranspose2d(1, 1, 3, 2)(t.zeros(1, 1, 3, 3), output_size=(20, 20)),
    "dropout": lambda t: t.nn.Dropout(1.5),
    "batch norm rank": lambda t: t.nn.BatchNorm2d(3)(t.zeros(2, 3)),
    "group norm": lambda t: t.nn.GroupNorm(2, 3),
    "recurrent input": lambda t: t.nn.LSTM(3, 2)(t.zeros(2, 2, 4)),
    "recurrent rank": lambda t: t.nn.GRU(3, 2)(t.zeros(2)),
    "recurrent state": lambda t: t.nn.GRU(3, 2)(t.zeros(2, 2, 3), t.zeros(1, 1, 2)),
    "attention mask": lambda t: t.nn.MultiheadAttention(4, 2)(*[t.ones(3, 4)] * 3, attn_mask=t.ones(2, 3)),
    "gain": lambda t: t.nn.init.calculate_gain("cube"),
    "fan": lambda t: t.nn.init.xavier_normal_(t.zeros(3)),
    "clip of infinity": lambda t: _clip_infinite(t),
}  # fmt: skip


def _clip_infinite(t: Any) -> Any:
    parameter = t.nn.Parameter(t.ones(1))
    parameter.grad = t.full((1,), float("inf"))
    return t.nn.utils.clip_grad_norm_([parameter], 1.0, error_if_nonfinite=True)


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_pytorch_says(torch: Any, name: str) -> None:
    with pytest.raises(Exception) as expected:  # noqa: PT011  # whatever PyTorch raises
        ERRORS[name](torch)
    with pytest.raises(RetrogradError) as raised:
        ERRORS[name](retrograd)
    kinds = [
        k
        for k in (KeyError, IndexError, AttributeError, NotImplementedError)
        if isinstance(expected.value, k)
    ]
    kinds = kinds or [k for k in (TypeError, ValueError, RuntimeError) if isinstance(expected.value, k)]
    for kind in kinds:
        assert isinstance(raised.value, kind)
    words = str(expected.value.args[0]).replace("torch.nn.modules.", "").replace("__main__.", "")
    assert words == str(raised.value.args[0])


# ---- beyond PyTorch ----------------------------------------------------------------------------------------


def test_a_state_that_does_not_fit_changes_nothing() -> None:
    model = net(retrograd)
    before = {name: x.clone() for name, x in model.state_dict().items()}
    state = {**model.state_dict(), "2.1.weight": retrograd.zeros(1)}
    state["0.weight"] = state["0.weight"] * 0
    with pytest.raises(RuntimeError, match=r"size mismatch for 2\.1\.weight"):
        model.load_state_dict(state)
    assert all(bool((x == before[name]).all()) for name, x in model.state_dict().items())


def test_modules_pickle() -> None:
    model = net(retrograd)
    twin = pickle.loads(pickle.dumps(model))
    assert repr(twin) == repr(model)
    same_state(twin.state_dict(), model.state_dict(), ulps=0)


# ---- compiled ----------------------------------------------------------------------------------------------


def test_a_captured_module_gives_its_parameters_as_inputs(torch: Any) -> None:
    ours, theirs = net(retrograd), net(torch)
    x = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)

    @retrograd.compile_grad
    def loss(x: Any) -> Any:
        return (ours(x) ** 2).sum()

    for step in range(3):
        value = loss(retrograd.from_numpy(x))
        ours.zero_grad()
        value.backward()
        expected = (theirs(torch.from_numpy(x)) ** 2).sum()
        theirs.zero_grad()
        expected.backward()
        close(value, expected, f"step {step}")
        close([p.grad for p in ours.parameters()], [p.grad for p in theirs.parameters()], "gradient")
        close(list(ours.state_dict().values()), list(theirs.state_dict().values()), "running statistics")
        for t, model in ((retrograd, ours), (torch, theirs)):
            with t.no_grad():
                for p in model.parameters():
                    p -= 0.1 * p.grad
    assert int(ours[1].num_batches_tracked) == 3


def test_a_module_passed_as_an_argument_and_its_mode(torch: Any) -> None:
    ours, theirs = net(retrograd), net(torch)
    x = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)

    @retrograd.compile_grad
    def apply(model: Any, x: Any) -> Any:
        return model(x).sum()

    close(apply(ours, retrograd.from_numpy(x)), theirs(torch.from_numpy(x)).sum())
    ours.eval(), theirs.eval()
    close(apply(ours, retrograd.from_numpy(x)), theirs(torch.from_numpy(x)).sum())
    close(list(ours.state_dict().values()), list(theirs.state_dict().values()), "untouched in eval mode")


@pytest.mark.parametrize("made", [
    "nn.Sequential(nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())",
    "nn.Sequential(nn.Flatten(2), nn.LayerNorm(30), nn.Linear(30, 5), nn.GELU(), nn.Softmax(-1))",
    "nn.TransformerEncoderLayer(5, 1, 8, 0.0)",
    "nn.Embedding(9, 3)",
])  # fmt: skip
def test_models_compute_the_same_when_compiled(made: str) -> None:
    retrograd.manual_seed(1)
    model = eval(made, {"nn": retrograd.nn})
    x = retrograd.randn(2, 4, 6, 5)
    if "Transformer" in made:
        x = x.reshape(8, 6, 5)
    if "Embedding" in made:
        x = retrograd.randint(0, 9, (4, 5))
    eager = copy.deepcopy(model)
    compiled = retrograd.compile_grad(lambda x: model(x).sin().sum())
    for _ in range(2):
        expected, value = eager(x).sin().sum(), compiled(x)
        close(value, expected, "value")
        for m, y in ((eager, expected), (model, value)):
            m.zero_grad()
            y.backward()
        close([p.grad for p in model.parameters()], [p.grad for p in eager.parameters()], "gradient")
        close(list(model.buffers()), list(eager.buffers()), "buffers")


def test_a_new_parameter_is_a_new_program() -> None:
    layer = retrograd.nn.Linear(2, 1)
    compiled = retrograd.compile_grad(lambda x: layer(x).sum())
    x = retrograd.ones(1, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiled(x)
    layer.weight = retrograd.nn.Parameter(retrograd.zeros(1, 2))
    layer.register_forward_hook(lambda m, args, out: out + 1)
    assert compiled(x).item() == pytest.approx(layer.bias.item() + 1)


def test_a_state_dict_prints_as_in_pytorch(torch: Any) -> None:
    def shown(t: Any) -> str:
        t.manual_seed(0)
        return str(t.nn.Linear(2, 1).state_dict())

    assert shown(retrograd) == shown(torch)


@pytest.mark.parametrize(
    "name", ["ELU", "MaxPool2d", "AvgPool3d", "AdaptiveAvgPool1d", "Unflatten", "Softmax"]
)
def test_python_tells_the_arguments_of_a_layer(name: str) -> None:
    """As `help` and editors show them: all of them, and no others."""
    torch = pytest.importorskip("torch")
    ours, theirs = (inspect.signature(getattr(t.nn, name)).parameters for t in (retrograd, torch))
    assert [(p.name, p.default) for p in ours.values()] == [(p.name, p.default) for p in theirs.values()]
