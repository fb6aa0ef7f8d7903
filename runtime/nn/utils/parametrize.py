"""Parametrizations: a parameter that a Module computes from others, as PyTorch's
`torch.nn.utils.parametrize`.

In flow a module, the name of one of its Tensors, and a module that computes it; out flows the same module, of
a class of its own, whose attribute of that name is computed whenever it is read. What is trained are the
originals, in `module.parametrizations`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, NoReturn

from retrograd.compiler.errors import ArgumentError, GradientError, mirrored
from retrograd.compiler.record import NamedTuple
from retrograd.runtime import tracing
from retrograd.runtime.modes import no_grad
from retrograd.runtime.nn.containers import ModuleDict, ModuleList
from retrograd.runtime.nn.module import Module
from retrograd.runtime.nn.parameter import Parameter
from retrograd.runtime.tensor import Tensor

__all__ = [
    "ParametrizationList",
    "cached",
    "is_parametrized",
    "register_parametrization",
    "remove_parametrizations",
    "transfer_parametrizations_and_params",
    "type_before_parametrizations",
]


class _Cache(NamedTuple):
    found: dict[tuple[int, str], Tensor]
    """What was computed, by the module's identity and the name."""
    depth: int
    """Of traces, of which one's Tensors mean nothing in another."""


_CACHES: list[_Cache] = []
"""One for each `cached()` that is entered; the outermost is filled."""


@contextmanager
def cached() -> Iterator[None]:
    """Compute each parametrized Tensor once, when it is first read within."""
    _CACHES.append(_Cache({}, tracing.depth))
    try:
        yield
    finally:
        _CACHES.pop()


class ParametrizationList(ModuleList):
    """What computes one Tensor, one module after the other, and what from: `original`, or `original0`,
    `original1`, … where the first module takes several.
    """

    def __init__(self, modules: list[Module], original: Tensor) -> None:
        super().__init__(modules)
        trained = isinstance(original, Parameter)
        with no_grad():
            values = _inverted(modules, original)
        self.several = isinstance(values, tuple | list)
        names = [f"original{k}" for k in range(len(values))] if self.several else ["original"]
        for name, value in zip(names, values if self.several else [values]):
            if trained:
                kept = original if value is original else Parameter(value, original.requires_grad)
                self.register_parameter(name, kept)
            else:
                self.register_buffer(name, value)
        self.names = tuple(names)

    def forward(self) -> Tensor:
        """The Tensor, computed."""
        x: Any = tuple(getattr(self, name) for name in self.names)
        for place, module in enumerate(self):
            x = module(*x) if place == 0 else module(x)
        found: Tensor = x
        return found

    def right_inverse(self, value: Tensor) -> None:
        """Set the originals so that `value`, or what comes nearest, is computed from them."""
        with no_grad():
            values = _inverted(list(self), value)
            for name, found in zip(self.names, values if self.several else [values]):
                getattr(self, name).copy_(found)


def _inverted(modules: list[Module], value: Any) -> Any:
    """The originals of a value; itself where no module says."""
    for module in reversed(modules):
        inverse: Callable[..., Any] | None = getattr(module, "right_inverse", None)
        if inverse is not None:
            value = inverse(value)
    return value


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Have the parameter or buffer of this name computed by `parametrization(original)`; a second one takes
    what the first gives. Its `right_inverse`, if it has one, gives the original of a value.

    Raises ArgumentError where there is no such Tensor, and where shape or dtype would change, unless
    `unsafe`.
    """
    own = getattr(module, "parametrizations", {})
    if is_parametrized(module, tensor_name):
        before = own[tensor_name]
        value = before()
        inverse = getattr(parametrization, "right_inverse", None)
        if inverse is not None:
            with no_grad():
                before.right_inverse(inverse(value))
        _check(value, parametrization(value), unsafe)
        before.append(parametrization)
        return module
    original = module._parameters.get(tensor_name, module._buffers.get(tensor_name))
    if original is None:
        raise ArgumentError(
            mirrored(
                f"Module '{module}' does not have a parameter, a buffer, or a parametrized element with name "
                f"'{tensor_name}'"
            )
        )
    found = ParametrizationList([parametrization], original)
    _check(original, found(), unsafe)
    if not is_parametrized(module):
        _own_class(module)
        module.parametrizations = ModuleDict()
    delattr(module, tensor_name)
    module.parametrizations[tensor_name] = found
    setattr(type(module), tensor_name, _computed(tensor_name))
    return module


def _check(before: Tensor, after: Any, unsafe: bool) -> None:
    if unsafe:
        return
    for what in ("shape", "dtype"):
        one, other = getattr(before, what), getattr(after, what)
        if one != other:
            raise ArgumentError(
                mirrored(
                    f"Registering a parametrization may not change the {what} of the tensor, unless `unsafe` "
                    f"flag is enabled.\nunparametrized {what}: {one}\nparametrized {what}: {other}"
                )
            )


def _own_class(module: Module) -> None:
    """The module becomes the only one of its class, which may have properties."""
    kind = type(module)
    members = {"__module__": kind.__module__, "__getstate__": _refuse, "__deepcopy__": _copied}
    module.__class__ = type(f"Parametrized{kind.__name__}", (kind,), members)


def _refuse(module: Module) -> NoReturn:
    raise GradientError(
        mirrored(
            "Serialization of parametrized modules is only supported through state_dict(). See:\n"
            "https://pytorch.org/tutorials/beginner/saving_loading_models.html#saving-loading-a-general-"
            "checkpoint-for-inference-and-or-resuming-training"
        )
    )


def _copied(module: Module, memo: dict[int, Any]) -> Module:
    """A copy has a class of its own, too."""
    kind = type(module)
    members = {name: each for name, each in vars(kind).items() if name not in ("__dict__", "__weakref__")}
    copy: Module = object.__new__(type(kind.__name__, kind.__bases__, members))
    memo[id(module)] = copy
    vars(copy).update(deepcopy(Module.__getstate__(module), memo))
    return copy


def _computed(name: str) -> property:
    def get(module: Module) -> Tensor:
        cache = next((c for c in _CACHES if c.depth == tracing.depth), None)
        found: dict[tuple[int, str], Tensor] = {} if cache is None else cache.found
        key = (id(module), name)
        if key not in found:
            found[key] = module.parametrizations[name]()
        return found[key]

    def set_(module: Module, value: Tensor) -> None:
        for each in module.parametrizations[name]:
            if not hasattr(each, "right_inverse"):
                raise GradientError(
                    mirrored(f"parametrization {type(each).__name__} does not implement right_inverse.")
                )
        module.parametrizations[name].right_inverse(value)

    return property(get, set_)


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether the module computes a parameter, or the one of this name."""
    own = module._modules.get("parametrizations")
    if not isinstance(own, ModuleDict):
        return False
    return len(own) > 0 if tensor_name is None else tensor_name in own


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Have a parameter of this name again: of the value that is computed now, or the original."""
    if not is_parametrized(module, tensor_name):
        raise ArgumentError(mirrored(f"Module {module} does not have a parametrization on {tensor_name}"))
    own: ModuleDict = module.parametrizations
    found: Any = own[tensor_name]
    if not leave_parametrized and found.several:
        raise ArgumentError(
            mirrored(
                "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is parametrized in "
                "terms of a sequence of tensors."
            )
        )
    first = getattr(found, found.names[0])
    with no_grad():
        value = found().detach() if leave_parametrized else first.detach()
    delattr(type(module), tensor_name)
    del own[tensor_name]
    if isinstance(first, Parameter):
        module.register_parameter(tensor_name, Parameter(value, first.requires_grad))
    else:
        module.register_buffer(tensor_name, value)
    if not len(own):
        delattr(module, "parametrizations")
        module.__class__ = type(module).__bases__[0]
    return module


def transfer_parametrizations_and_params(
    from_module: Module, to_module: Module, tensor_name: str | None = None
) -> Module:
    """Have the second module compute its parameters, or the one of this name, as the first does, from the
    first's originals; parameters that it lacks are made. Returns the second module.
    """
    if not is_parametrized(from_module):
        return to_module
    for name in [*from_module.parametrizations] if tensor_name is None else [tensor_name]:
        if not hasattr(to_module, name):
            setattr(to_module, name, Parameter(getattr(from_module, name)))
        source: Any = from_module.parametrizations[name]
        for parametrization in source:
            register_parametrization(to_module, name, parametrization)
        for original in source.names:
            setattr(to_module.parametrizations[name], original, getattr(source, original))
    return to_module


def type_before_parametrizations(module: Module) -> type:
    """The class that the module was made of."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)
