"""Pruning: some elements of a parameter are held at zero, as in `torch.nn.utils.prune`.

    prune.l1_unstructured(layer, "weight", amount=0.3)

The parameter is kept as `weight_orig`, beside it a mask of zeros and ones, `weight_mask`; `weight` is their
product, made anew before each call by a hook, the pruning method. Which elements a method leaves is its
`compute_mask`; methods of one parameter, one after the other, are a `PruningContainer`. `remove` makes the
product the parameter. A method of one's own is a subclass. Texts are PyTorch's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from numbers import Integral, Real
from typing import Any, ClassVar

from retrograd.compiler.errors import (
    ArgumentError,
    AttributeMissingError,
    DimensionError,
    RequirementError,
    mirrored,
)
from retrograd.runtime.functions import FUNCTIONS
from retrograd.runtime.nn.module import Module
from retrograd.runtime.nn.utils.vectors import parameters_to_vector
from retrograd.runtime.tensor import Tensor


class BasePruningMethod(ABC):
    """What holds elements of a parameter at zero."""

    PRUNING_TYPE: ClassVar[str]
    """What a later method of the same parameter looks at: "unstructured", the elements that are left;
    "structured", the parts along an axis that are; "global", all."""
    _tensor_name: str

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self._tensor_name, self.apply_mask(module))

    @abstractmethod
    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """Ones for what is left of scores `t`, of which the mask that there is already leaves some."""

    def apply_mask(self, module: Module) -> Tensor:
        """The parameter times its mask."""
        name = self._tensor_name
        kept: Tensor = getattr(module, f"{name}_orig")
        return getattr(module, f"{name}_mask").to(dtype=kept.dtype) * kept  # type: ignore[no-any-return]  # a Tensor

    @classmethod
    def apply(
        cls, module: Module, name: str, *args: Any, importance_scores: Tensor | None = None, **kwargs: Any
    ) -> BasePruningMethod:
        """Prune a parameter of a module by a new method with these arguments, or further."""
        method = cls(*args, **kwargs)
        method._tensor_name = name
        before = _taken(module, name)
        whole = method if before is None else _joined(before, method)
        kept = getattr(module, name)
        scores = _of_shape(
            importance_scores,
            kept,
            f"importance_scores should have the same shape as parameter {name} of {module}",
        )
        if before is None:
            module.register_parameter(f"{name}_orig", kept)
            del module._parameters[name]
            mask = FUNCTIONS["ones_like"](kept).detach()
        else:
            mask = getattr(module, f"{name}_mask").detach().clone()
        try:
            module.register_buffer(f"{name}_mask", whole.compute_mask(scores, default_mask=mask))
            setattr(module, name, whole.apply_mask(module))
            module.register_forward_pre_hook(whole)
        except Exception:
            if before is None:
                module.register_parameter(name, module._parameters.pop(f"{name}_orig"))
            raise
        return whole

    def prune(
        self, t: Tensor, default_mask: Tensor | None = None, importance_scores: Tensor | None = None
    ) -> Tensor:
        """A Tensor times the mask that this method computes."""
        words = "importance_scores should have the same shape as tensor t"
        scores = _of_shape(importance_scores, t, words)
        mask = FUNCTIONS["ones_like"](t) if default_mask is None else default_mask
        return t * self.compute_mask(scores, default_mask=mask)

    def remove(self, module: Module) -> None:
        """Make the product the parameter."""
        name, pruned = self._tensor_name, self.apply_mask(module)
        delattr(module, name)
        kept: Any = module._parameters.pop(f"{name}_orig")
        kept.data = pruned.data
        del module._buffers[f"{name}_mask"]
        setattr(module, name, kept)


def _hooks(module: Module) -> Iterator[tuple[int, BasePruningMethod]]:
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook.call, BasePruningMethod):
            yield key, hook.call


def _taken(module: Module, name: str) -> BasePruningMethod | None:
    """The method by which a parameter has been pruned, which is no hook any more."""
    found = [(key, method) for key, method in _hooks(module) if method._tensor_name == name]
    if len(found) > 1:
        raise RequirementError(
            mirrored(
                f"Avoid adding multiple pruning hooks to the same tensor {name} of module {module}. Use a "
                "PruningContainer."
            )
        )
    for key, _ in found:
        del module._forward_pre_hooks[key]
    return found[0][1] if found else None


def _joined(before: BasePruningMethod, method: BasePruningMethod) -> PruningContainer:
    container = before if isinstance(before, PruningContainer) else PruningContainer(before)
    container.add_pruning_method(method)
    return container


def _of_shape(scores: Tensor | None, kept: Tensor, words: str) -> Tensor:
    """Scores for each element; its own value where there are none."""
    if scores is None:
        return kept
    if scores.shape != kept.shape:
        raise RequirementError(mirrored(f"{words}, got {scores.shape} vs {kept.shape}"))
    return scores


class PruningContainer(BasePruningMethod):
    """Methods of one parameter, one after the other: each prunes what those before have left."""

    def __init__(self, *args: BasePruningMethod) -> None:
        self._pruning_methods: tuple[Any, ...] = ()
        if len(args) == 1:
            self._tensor_name = args[0]._tensor_name
        for method in args:
            self.add_pruning_method(method)

    def add_pruning_method(self, method: Any) -> None:
        if method is not None and not isinstance(method, BasePruningMethod):
            raise ArgumentError(mirrored(f"{type(method)} is not a BasePruningMethod subclass"))
        if method is not None and self._tensor_name != method._tensor_name:
            raise ArgumentError(
                mirrored(
                    f"Can only add pruning methods acting on the parameter named '{self._tensor_name}' to "
                    f"PruningContainer {self}. Found '{method._tensor_name}'"
                )
            )
        self._pruning_methods += (method,)

    def __len__(self) -> int:
        return len(self._pruning_methods)

    def __iter__(self) -> Iterator[BasePruningMethod]:
        return iter(self._pruning_methods)

    def __getitem__(self, idx: int) -> BasePruningMethod:
        found: BasePruningMethod = self._pruning_methods[idx]
        return found

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The mask that there is, and what the last method takes from it."""
        method = self._pruning_methods[-1]
        left = _left(method, default_mask)
        mask: Tensor = default_mask.to(dtype=t.dtype).clone()
        mask[left] = method.compute_mask(t[left], default_mask=default_mask[left]).to(dtype=mask.dtype)
        return mask


def _left(method: BasePruningMethod, mask: Tensor) -> Any:
    """The index of what a method looks at, of a mask of what is left."""
    match method.PRUNING_TYPE:
        case "unstructured":
            return mask == 1
        case "global":
            return (slice(None),) * mask.ndim
        case "structured":
            if not hasattr(method, "dim"):
                raise AttributeMissingError(
                    mirrored(
                        'Pruning methods of PRUNING_TYPE "structured" need to have the attribute `dim` '
                        "defined."
                    )
                )
            axis = method.dim + mask.ndim if method.dim < 0 else method.dim
            if axis < 0:
                raise DimensionError(
                    mirrored(f"Index is out of bounds for tensor with dimensions {mask.ndim}")
                )
            others = [k for k in range(mask.ndim) if k != axis]
            return (*[slice(None)] * axis, mask.sum(dim=others) != 0)
    raise ArgumentError(mirrored(f"Unrecognized PRUNING_TYPE {method.PRUNING_TYPE}"))


# ---- methods -----------------------------------------------------------------------------------------------


class Identity(BasePruningMethod):
    """Prunes nothing."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return default_mask


class _Amount(BasePruningMethod):
    """Of an amount: so many elements or parts of the tensor, or a share of them."""

    def __init__(self, amount: Any) -> None:
        self.amount: Any = amount
        if not isinstance(amount, Real):
            raise ArgumentError(mirrored(f"Invalid type for amount: {amount}. Must be int or float."))
        if self.amount < 0 or (self.amount > 1 and not isinstance(amount, Integral)):
            raise ArgumentError(
                mirrored(
                    f"amount={amount} should either be a float in the range [0, 1] or a non-negative integer"
                )
            )

    def _count(self, of: int) -> int:
        count = int(self.amount) if isinstance(self.amount, Integral) else round(self.amount * of)
        if count > of:
            raise ArgumentError(
                mirrored(f"amount={count} should be smaller than the number of parameters to prune={of}")
            )
        return count


class _Unstructured(_Amount):
    """Prunes elements one by one."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        count = self._count(t.numel())
        mask: Tensor = default_mask.clone().contiguous()
        if count:
            mask.view(-1)[self._chosen(t, count)] = 0
        return mask

    def _chosen(self, t: Tensor, count: int) -> Tensor:
        raise NotImplementedError


class RandomUnstructured(_Unstructured):
    """Prunes elements at random."""

    def _chosen(self, t: Tensor, count: int) -> Tensor:
        return FUNCTIONS["rand_like"](t).view(-1).topk(count).indices  # type: ignore[no-any-return]  # a Tensor


class L1Unstructured(_Unstructured):
    """Prunes elements of the least magnitude."""

    def _chosen(self, t: Tensor, count: int) -> Tensor:
        return abs(t).view(-1).topk(count, largest=False).indices  # type: ignore[no-any-return]  # a Tensor


class _Structured(_Amount):
    """Prunes whole parts along an axis."""

    PRUNING_TYPE = "structured"
    dim: int

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        if t.ndim <= 1:
            raise ArgumentError(
                mirrored(
                    "Structured pruning can only be applied to multidimensional tensors. Found tensor of "
                    f"shape {t.shape} with {t.ndim} dims"
                )
            )
        if self.dim >= t.ndim:
            raise DimensionError(mirrored(f"Invalid index {self.dim} for tensor of size {t.shape}"))
        count = self._count(t.shape[self.dim])
        if not count:
            return default_mask
        mask: Tensor = FUNCTIONS["zeros_like"](t).detach()
        mask[(*[slice(None)] * (self.dim % t.ndim), self._kept(t, count))] = 1
        mask *= default_mask.to(dtype=mask.dtype)
        return mask

    def _kept(self, t: Tensor, count: int) -> Tensor:
        raise NotImplementedError


class RandomStructured(_Structured):
    """Prunes parts at random."""

    def __init__(self, amount: Any, dim: int = -1) -> None:
        super().__init__(amount)
        self.dim = dim

    def _kept(self, t: Tensor, count: int) -> Tensor:
        drawn: Tensor = FUNCTIONS["rand"](t.shape[self.dim])
        found: Tensor = drawn > drawn.kthvalue(count).values
        return found


class LnStructured(_Structured):
    """Prunes parts of the least n-norm."""

    def __init__(self, amount: Any, n: Any, dim: int = -1) -> None:
        super().__init__(amount)
        self.n = n
        self.dim = dim

    def _kept(self, t: Tensor, count: int) -> Tensor:
        others = [k for k in range(t.ndim) if k != self.dim % t.ndim]
        sizes = FUNCTIONS["norm"](t, p=self.n, dim=others)
        return sizes.topk(t.shape[self.dim] - count).indices  # type: ignore[no-any-return]  # a Tensor


class CustomFromMask(BasePruningMethod):
    """Prunes by a mask of the user's."""

    PRUNING_TYPE = "global"

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        if default_mask.shape != self.mask.shape:
            raise RequirementError(
                mirrored(
                    f"default_mask shape {default_mask.shape} must match self.mask shape {self.mask.shape}"
                )
            )
        found: Tensor = default_mask * self.mask.to(dtype=default_mask.dtype)
        return found


# ---- functions ---------------------------------------------------------------------------------------------


def identity(module: Module, name: str) -> Module:
    """Have a parameter as a pruned one, of which nothing is pruned."""
    Identity.apply(module, name)
    return module


def random_unstructured(module: Module, name: str, amount: float) -> Module:
    """Prune elements of a parameter at random: so many, or a share."""
    RandomUnstructured.apply(module, name, amount)
    return module


def l1_unstructured(
    module: Module, name: str, amount: float, importance_scores: Tensor | None = None
) -> Module:
    """Prune the elements of a parameter of the least magnitude, or score."""
    L1Unstructured.apply(module, name, amount=amount, importance_scores=importance_scores)
    return module


def random_structured(module: Module, name: str, amount: float, dim: int) -> Module:
    """Prune parts of a parameter along an axis at random."""
    RandomStructured.apply(module, name, amount, dim)
    return module


def ln_structured(
    module: Module, name: str, amount: float, n: Any, dim: int, importance_scores: Tensor | None = None
) -> Module:
    """Prune the parts of a parameter along an axis of the least n-norm."""
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


def custom_from_mask(module: Module, name: str, mask: Tensor) -> Module:
    """Prune a parameter where a mask is 0."""
    CustomFromMask.apply(module, name, mask)
    return module


def global_unstructured(
    parameters: Any, pruning_method: Any, importance_scores: Any = None, **kwargs: Any
) -> None:
    """Prune elements of several parameters, pairs of a module and a name, as if they were one."""
    if not isinstance(parameters, Iterable):
        raise ArgumentError(mirrored("global_unstructured(): parameters is not an Iterable"))
    scores = {} if importance_scores is None else importance_scores
    if not isinstance(scores, dict):
        raise ArgumentError(mirrored("global_unstructured(): importance_scores must be of type dict"))
    pairs = list(parameters)
    tensors = [getattr(module, name) for module, name in pairs]
    masks = [
        getattr(module, f"{name}_mask", FUNCTIONS["ones_like"](x))
        for (module, name), x in zip(pairs, tensors)
    ]
    given = parameters_to_vector([scores.get(pair, x) for pair, x in zip(pairs, tensors)])
    method = pruning_method(**kwargs)
    if method.PRUNING_TYPE != "unstructured":
        raise ArgumentError(
            mirrored(
                'Only "unstructured" PRUNING_TYPE supported for the `pruning_method`. Found method '
                f"{pruning_method} of type {method.PRUNING_TYPE}"
            )
        )
    method._tensor_name = "temp"
    mask = PruningContainer(method).compute_mask(given, parameters_to_vector(masks))
    parts = mask.split([x.numel() for x in tensors])
    for (module, name), x, part in zip(pairs, tensors, parts):
        custom_from_mask(module, name, part.view_as(x))


def remove(module: Module, name: str) -> Module:
    """Make what is left of a pruned parameter the parameter; it is no longer held at zero."""
    for key, method in _hooks(module):
        if method._tensor_name == name:
            method.remove(module)
            del module._forward_pre_hooks[key]
            return module
    raise ArgumentError(
        mirrored(f"Parameter '{name}' of module {module} has to be pruned before pruning can be removed")
    )


def is_pruned(module: Module) -> bool:
    """Whether a parameter of this module or of one below it is pruned."""
    return any(True for each in module.modules() for _ in _hooks(each))
