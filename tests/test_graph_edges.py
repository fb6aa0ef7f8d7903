"""Places in the graph, what is kept in it and who may change that, beside PyTorch."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from side_by_side import compare, leaf, ones

import retrograd


def edges_as_inputs(t: Any) -> Any:
    x = leaf(t)
    y = x * 2
    place = t.autograd.graph.get_gradient_edge
    found = t.autograd.grad((y * y).sum(), [place(x), place(y), x])
    return [*found, t.autograd.grad((x * 3).sum(), place(x))[0]]


def edges_as_outputs(t: Any) -> Any:
    x = leaf(t)
    place, w = t.autograd.graph.get_gradient_edge, x * 3
    found = t.autograd.grad(place(w), [x], grad_outputs=[ones(t) * 2], retain_graph=True)
    t.autograd.backward(place(w), ones(t))
    t.autograd.backward([place((x * x).sum())])
    return [*found, x.grad, t.autograd.grad(place((x * 5).sum()), x)[0]]


def edges_outlive_tensors(t: Any) -> Any:
    x = leaf(t)
    y = x.exp()
    edge, loss = t.autograd.graph.get_gradient_edge(y), (y * y).sum()
    del y
    return t.autograd.grad(loss, edge)[0]


def edges_of_several_outputs(t: Any) -> Any:
    x = leaf(t, 1.0, 2.0, 3.0, 4.0)
    place, found = t.autograd.graph.get_gradient_edge, []
    for parts in (lambda: x.split(2), lambda: x.unbind(), lambda: t.linalg.qr(x.reshape(2, 2))):
        part = parts()[1]
        edge = place(part)
        found += [edge.output_nr, edge.node is part.grad_fn, t.autograd.grad((part * 3).sum(), edge)[0]]
    return found


def edges_by_hand(t: Any) -> Any:
    x = leaf(t)
    y = x * 2
    edge = t.autograd.graph.GradientEdge(y.grad_fn, 0)
    accumulating = t.autograd.graph.GradientEdge(y.grad_fn.next_functions[0][0], 0)
    found = t.autograd.grad((y * y).sum(), [edge, accumulating], retain_graph=True)
    return [*found, *t.autograd.grad(edge, x, ones(t)), edge.output_nr, edge.ownership_token]


def backward_to_edges(t: Any) -> Any:
    x, z = leaf(t), leaf(t)
    place, y = t.autograd.graph.get_gradient_edge, x * z
    y.sum().backward(inputs=[place(x)], retain_graph=True)
    t.autograd.backward(y.sum(), inputs=place(y))
    return x.grad, z.grad


def what_edges_are(t: Any) -> Any:
    x = leaf(t)
    edge = t.autograd.graph.get_gradient_edge(x * 2)
    names = [type(edge.node).__name__, type(t.autograd.graph.get_gradient_edge(x).node).__name__]
    return names, edge._fields, isinstance(edge, t.autograd.graph.GradientEdge), isinstance(edge, tuple)


def unused_edges(t: Any) -> Any:
    x, z = leaf(t), leaf(t)
    place = t.autograd.graph.get_gradient_edge
    return t.autograd.grad((x * 2).sum(), [place(x), place(z)], allow_unused=True)


def zeros_for_unused_edges(t: Any) -> Any:
    x, z = leaf(t), leaf(t, 1.0, 2.0) * 2
    place = t.autograd.graph.get_gradient_edge
    return t.autograd.grad((x * 2).sum(), [place(x), place(z)], materialize_grads=True)


def an_edge_without_use(t: Any) -> Any:
    return t.autograd.grad((leaf(t) * 2).sum(), t.autograd.graph.get_gradient_edge(leaf(t)))


def no_edge(t: Any) -> Any:
    return t.autograd.graph.get_gradient_edge(ones(t))


def an_edge_of_no_scalar(t: Any) -> Any:
    return t.autograd.grad(t.autograd.graph.get_gradient_edge(leaf(t) * 2), leaf(t))


def a_cotangent_of_another_shape(t: Any) -> Any:
    x = leaf(t)
    edge = t.autograd.graph.get_gradient_edge(x * 2)
    return t.autograd.grad([edge], [x], grad_outputs=[ones(t, 2)])


def second_derivatives_by_edges(t: Any) -> Any:
    x = leaf(t)
    edge = t.autograd.graph.get_gradient_edge(x)
    (g,) = t.autograd.grad((x**3).sum(), edge, create_graph=True)
    return t.autograd.grad(g.sum(), edge)[0]


# ---- what is kept may change -------------------------------------------------------------------------------


def kept_and_changed(t: Any) -> Any:
    x = leaf(t)
    with t.autograd.graph.allow_mutation_on_saved_tensors():
        y = x.clone()
        out = (y**2).sum()
        y.sin_()
        z = y.exp()
        z.mul_(2)
        y[0] = 7
        (out + z.sum() + y.sum()).backward()
    return x.grad, y, z


def a_constant_is_kept_and_changed(t: Any) -> Any:
    x, k = leaf(t), ones(t)
    with t.autograd.graph.allow_mutation_on_saved_tensors():
        out = (x * k).sum()
        k.zero_()
        k.add_(3)
        (g,) = t.autograd.grad(out, x)
    return g, k


def twice_with_changes(t: Any) -> Any:
    x = leaf(t)
    with t.autograd.graph.allow_mutation_on_saved_tensors():
        y = x.clone()
        out = (y**3).sum()
        y.zero_()
        (g,) = t.autograd.grad(out, x, create_graph=True)
        return g, t.autograd.grad(g.sum(), x)[0]


def kept_inside_and_used_outside(t: Any) -> Any:
    x = leaf(t)
    with t.autograd.graph.allow_mutation_on_saved_tensors():
        out = (x * x).sum()
    out.backward()


def one_within_another(t: Any) -> Any:
    with (
        t.autograd.graph.allow_mutation_on_saved_tensors(),
        t.autograd.graph.allow_mutation_on_saved_tensors(),
    ):
        pass


def after_it_as_before(t: Any) -> Any:
    x = leaf(t)
    with t.autograd.graph.allow_mutation_on_saved_tensors():
        pass
    y = x.exp()
    y.add_(1)
    y.sum().backward()


# ---- switches ----------------------------------------------------------------------------------------------


def multithreading(t: Any) -> Any:
    found = [t.autograd.is_multithreading_enabled()]
    with t.autograd.set_multithreading_enabled(False):
        found.append(t.autograd.is_multithreading_enabled())
    with t.inference_mode():
        found.append(t.autograd.is_multithreading_enabled())
    t.autograd.set_multithreading_enabled(False)
    found.append(t.autograd.is_multithreading_enabled())
    t.autograd.set_multithreading_enabled(True)
    return [*found, t.autograd.is_multithreading_enabled()]


def multithreading_by_a_number(t: Any) -> Any:
    t.autograd.set_multithreading_enabled(1)


def warnings_each_time(t: Any) -> Any:
    before = t.is_warn_always_enabled()
    found = []
    for value in (True, False):
        t.set_warn_always(value)
        found.append(t.is_warn_always_enabled())
    t.set_warn_always(before)
    return found


def warnings_by_a_number(t: Any) -> Any:
    t.set_warn_always(1)


def threads_side_by_side(t: Any) -> Any:
    return t.get_num_interop_threads() > 0


def no_threads_side_by_side(t: Any) -> Any:
    t.set_num_interop_threads(0)


def half_a_thread(t: Any) -> Any:
    t.set_num_interop_threads(0.5)


def variables_by_function(t: Any) -> Any:
    return t.autograd.variable(3.0)


def loaded(t: Any) -> Any:
    x = ones(t)
    found = x.module_load(t.tensor([4.0, 5.0, 6.0]))
    other = leaf(t)
    assigned = x.module_load(other, assign=True)
    return x, found, assigned, assigned.data_ptr() == other.data_ptr(), found.data_ptr() == x.data_ptr()


def triangles(t: Any) -> Any:
    a = t.tensor([[2.0, 1.0], [0.0, 4.0]], requires_grad=True)
    solution, copy = t.tensor([[1.0], [2.0]]).triangular_solve(a)
    solution.sum().backward()
    return solution.detach(), copy.detach(), a.grad


# ---- parametrizations --------------------------------------------------------------------------------------


def _symmetric(t: Any) -> Any:
    class Symmetric(t.nn.Module):  # type: ignore[misc]  # of either library
        calls = 0

        def forward(self, x: Any) -> Any:
            type(self).calls += 1
            return x.triu() + x.triu(1).mT

    return Symmetric()


def computed_once(t: Any) -> Any:
    layer, rule = t.nn.Linear(2, 2, bias=False), _symmetric(t)
    parametrize = t.nn.utils.parametrize
    parametrize.register_parametrization(layer, "weight", rule)
    type(rule).calls = 0
    with t.nn.utils.parametrize.cached():
        once = layer.weight is layer.weight
        with parametrize.cached():
            layer(ones(t, 2))
        counts = [type(rule).calls]
        layer.weight.sum().backward()
    counts.append(type(rule).calls)
    return (
        once,
        counts,
        layer.weight is layer.weight,
        type(rule).calls,
        layer.parametrizations.weight.original.grad,
    )


def transferred(t: Any) -> Any:
    source, target, bare = t.nn.Linear(2, 2), t.nn.Linear(2, 2), t.nn.Module()
    parametrize = t.nn.utils.parametrize
    parametrize.register_parametrization(source, "weight", _symmetric(t))
    found = []
    for to, name in ((target, None), (bare, "weight")):
        same = t.nn.utils.parametrize.transfer_parametrizations_and_params(source, to, name)
        original = to.parametrizations.weight.original
        found += [
            same is to,
            original is source.parametrizations.weight.original,
            bool((to.weight == source.weight).all()),
        ]
    plain = t.nn.Linear(2, 2)
    return found, parametrize.transfer_parametrizations_and_params(plain, bare) is bare


PROGRAMS = [
    edges_as_inputs, edges_as_outputs, edges_outlive_tensors, edges_of_several_outputs, edges_by_hand,
    backward_to_edges, what_edges_are, unused_edges, zeros_for_unused_edges, an_edge_without_use, no_edge,
    an_edge_of_no_scalar, a_cotangent_of_another_shape, second_derivatives_by_edges, kept_and_changed,
    a_constant_is_kept_and_changed, twice_with_changes, kept_inside_and_used_outside, one_within_another,
    after_it_as_before, multithreading, multithreading_by_a_number, warnings_each_time, warnings_by_a_number,
    threads_side_by_side, no_threads_side_by_side, half_a_thread, variables_by_function, loaded, triangles,
    computed_once, transferred,
]  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_a_program_does_what_it_does_with_pytorch(torch: Any, program: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compare(program, torch)


def test_threads_side_by_side_are_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrograd.runtime.switches._interop", None)
    retrograd.set_num_interop_threads(3)
    assert retrograd.get_num_interop_threads() == 3
    with pytest.raises(RuntimeError, match="cannot set number of interop threads after"):
        retrograd.set_num_interop_threads(3)


def test_an_edge_made_by_hand_of_an_unknown_tensor_is_refused() -> None:
    x = retrograd.ones(2, requires_grad=True)
    y = x.clone()
    y[0] = 3
    edge = retrograd.autograd.graph.GradientEdge(y.grad_fn, 0)
    with pytest.raises(ValueError, match="made by hand"):
        retrograd.autograd.grad(y.sum(), edge)


def test_edges_in_a_compiled_function() -> None:
    @retrograd.compile_grad
    def slope(x: Any) -> Any:
        y = x * 2
        edge = retrograd.autograd.graph.get_gradient_edge(y)
        return retrograd.autograd.grad((y * y).sum(), edge)[0]

    x = retrograd.tensor([1.0, 2.0], requires_grad=True)
    assert slope(x).tolist() == [4, 8]
