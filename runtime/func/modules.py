"""Modules as functions of their parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from retrograd.compiler.errors import ArgumentError, mirrored
from retrograd.runtime.functions import FUNCTIONS
from retrograd.runtime.nn.module import Module
from retrograd.runtime.nn.normalization import BatchNorm
from retrograd.runtime.tensor import Tensor

Named = dict[str, Tensor]


def functional_call(
    module: Module, parameter_and_buffer_dicts: Named | Sequence[Named], args: Any = None,
    kwargs: dict[str, Any] | None = None, *, tie_weights: bool = True, strict: bool = False,
) -> Any:  # fmt: skip
    """What the module gives with these Tensors for its parameters and buffers, by name; others are its own.

    With `tie_weights` a parameter that goes by several names is replaced under all of them; with `strict` all
    must be given, and no others.
    """
    given: Named = {}
    named = parameter_and_buffer_dicts
    for each in [named] if isinstance(named, dict) else named:
        if repeated := given.keys() & each.keys():
            raise ArgumentError(mirrored(f"{sorted(repeated)} appeared in multiple dictionaries"))
        given |= each
    positional = () if args is None else args if isinstance(args, tuple) else (args,)
    with _replaced(module, given, tie_weights, strict):
        return module(*positional, **(kwargs or {}))


def _owned(module: Module) -> dict[str, tuple[dict[str, Any], str]]:
    """The table that each parameter and buffer is in, and its name there, by its whole name."""
    found: dict[str, tuple[dict[str, Any], str]] = {}
    for path, part in module.named_modules(remove_duplicate=False):
        for table in (part._parameters, part._buffers):
            found.update({f"{path}.{name}" if path else name: (table, name) for name in table})
    return found


@contextmanager
def _replaced(module: Module, given: Named, tied: bool, strict: bool) -> Iterator[None]:
    places = _owned(module)
    unknown, missing = given.keys() - places.keys(), places.keys() - given.keys()
    if strict and (unknown or missing):
        told = [
            f"\n\t{what} key(s): {', '.join(map(repr, sorted(names)))}."
            for what, names in (("Unexpected", unknown), ("Missing", missing))
            if names
        ]
        kind = type(module).__name__
        raise ArgumentError(mirrored(f"Error(s) in reparametrizing for {kind}:{''.join(told)}"))
    chosen = {name: value for name, value in given.items() if name in places}
    if tied:
        own = {id(table[name]): value for full, value in chosen.items() for table, name in [places[full]]}
        same = {full: own.get(id(table[name])) for full, (table, name) in places.items()}
        chosen |= {full: value for full, value in same.items() if value is not None and full not in given}
    before = [(table, name, table[name]) for table, name in (places[full] for full in chosen)]
    try:
        for full, value in chosen.items():
            table, name = places[full]
            table[name] = value
        yield
    finally:
        for table, name, value in before:
            table[name] = value


def stack_module_state(models: Sequence[Module]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters and buffers of modules of one kind, each stacked along a new first axis."""
    models = list(models)
    if not models:
        raise ArgumentError(mirrored("stack_module_state: Expected at least one model, got 0."))
    if any(model.training is not models[0].training for model in models):
        raise ArgumentError(
            mirrored("stack_module_state: Expected all models to have the same training/eval mode.")
        )
    if any(type(model) is not type(models[0]) for model in models):
        raise ArgumentError(mirrored("stack_module_state: Expected all models to be of the same class."))

    def stacked(tables: Sequence[dict[str, Tensor]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, first in tables[0].items():
            whole = FUNCTIONS["stack"]([table[name] for table in tables]).detach()
            found[name] = whole.requires_grad_(first.requires_grad)
        return found

    return (
        stacked([dict(model.named_parameters()) for model in models]),
        stacked([dict(model.named_buffers()) for model in models]),
    )


def replace_all_batch_norm_modules_(root: Module) -> Module:
    """The module, whose batch normalisations keep no running statistics any more, and so change nothing when
    they are called."""
    for module in root.modules():
        if isinstance(module, BatchNorm) and module.track_running_stats:
            module.running_mean = module.running_var = module.num_batches_tracked = None
            module.track_running_stats = False
    return root
