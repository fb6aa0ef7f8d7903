"""Weights that a hook computes anew before each call: the older `weight_norm` and `spectral_norm`.

In flow a module and the name of its weight; out flows the module, which trains other parameters and sets the
weight, now a plain attribute, from them whenever it is called. `parametrizations` has the newer forms, which
compute it whenever it is read. While a compiled function is traced the weight is a value of its graph, and
what it was before comes back after the call.
"""

from __future__ import annotations

from typing import Any

from retrograd.compiler.errors import ArgumentError, GradientError, NameTakenError, mirrored, warn
from retrograd.runtime.functions import FUNCTIONAL
from retrograd.runtime.modes import STATE, no_grad
from retrograd.runtime.nn.convolution import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from retrograd.runtime.nn.module import Module
from retrograd.runtime.nn.parameter import Parameter
from retrograd.runtime.nn.utils.parametrizations import norm_except


class _Renewed:
    """Computes one weight of one module. A kind of it says from what."""

    what: str

    def __init__(self, name: str) -> None:
        self.name = name
        self.before: Any = None

    def computed(self, module: Module, training: bool) -> Any:
        raise NotImplementedError

    def attach(self, module: Module) -> None:
        for hook in _of_kind(module, type(self)):
            if hook.name == self.name:
                raise GradientError(
                    mirrored(f"Cannot register two {self.what} hooks on the same parameter {self.name}")
                )
        self.begin(module)
        module.register_forward_pre_hook(self.renew)
        module.register_forward_hook(self.settle, always_call=True)

    def begin(self, module: Module) -> None:
        """Put other parameters in the weight's place."""
        raise NotImplementedError

    def end(self, module: Module) -> None:
        """Take them away again."""
        raise NotImplementedError

    def renew(self, module: Module, args: object) -> None:
        self.before = module.__dict__.get(self.name)
        setattr(module, self.name, self.computed(module, module.training))

    def settle(self, module: Module, args: object, output: object) -> None:
        if STATE.trace is not None:
            setattr(module, self.name, self.before)
        self.before = None


def _of_kind(module: Module, kind: type[_Renewed]) -> list[Any]:
    bound = [getattr(hook.call, "__self__", None) for hook in module._forward_pre_hooks.values()]
    return [owner for owner in bound if isinstance(owner, kind)]


def _remove(module: Module, kind: type[_Renewed], name: str) -> Module:
    for owner in _of_kind(module, kind):
        if owner.name == name:
            with no_grad():
                weight = owner.computed(module, False).detach()
            delattr(module, name)
            owner.end(module)
            module.register_parameter(name, Parameter(weight))
            for hooks in (module._forward_pre_hooks, module._forward_hooks):
                for key in [k for k, h in hooks.items() if getattr(h.call, "__self__", None) is owner]:
                    del hooks[key]
            return module
    raise ArgumentError(mirrored(f"{kind.what} of '{name}' not found in {module}"))


# ---- a direction and a length ------------------------------------------------------------------------------


class WeightNorm(_Renewed):
    """`g · v / ‖v‖` of the parameters `weight_g` and `weight_v`."""

    what = "weight_norm"

    def __init__(self, name: str, dim: int | None) -> None:
        super().__init__(name)
        self.dim = -1 if dim is None else dim

    def computed(self, module: Module, training: bool) -> Any:
        v = getattr(module, f"{self.name}_v")
        return v * (getattr(module, f"{self.name}_g") / norm_except(v, self.dim))

    def begin(self, module: Module) -> None:
        weight = getattr(module, self.name)
        with no_grad():
            length = norm_except(weight.detach(), self.dim)
        del module._parameters[self.name]
        module.register_parameter(f"{self.name}_g", Parameter(length))
        module.register_parameter(f"{self.name}_v", Parameter(weight.detach()))
        setattr(module, self.name, self.computed(module, module.training))

    def end(self, module: Module) -> None:
        for part in ("_g", "_v"):
            delattr(module, f"{self.name}{part}")


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Have the weight's direction `weight_v` and its lengths `weight_g` along `dim` trained apart. Of None
    there is one length. (Salimans and Kingma, 2016.)
    """
    warn(
        "`torch.nn.utils.weight_norm` is deprecated in favor of "
        "`torch.nn.utils.parametrizations.weight_norm`.",
        FutureWarning,
    )
    WeightNorm(name, dim).attach(module)
    return module


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Have a parameter of this name again, of the value that is computed now."""
    return _remove(module, WeightNorm, name)


# ---- by the largest singular value -------------------------------------------------------------------------


class SpectralNorm(_Renewed):
    """`weight_orig / σ`, the largest singular value, which the power method approaches in training from the
    vectors `weight_u` and `weight_v`.
    """

    what = "spectral_norm"

    def __init__(self, name: str, n_power_iterations: int, dim: int, eps: float) -> None:
        super().__init__(name)
        if n_power_iterations <= 0:
            raise ArgumentError(
                mirrored(
                    "Expected n_power_iterations to be positive, but got "
                    f"n_power_iterations={n_power_iterations}"
                )
            )
        self.n_power_iterations, self.dim, self.eps = n_power_iterations, dim, eps

    def _matrix(self, weight: Any) -> Any:
        moved = weight.movedim(self.dim, 0)
        return moved.reshape(moved.shape[0], -1)

    def computed(self, module: Module, training: bool) -> Any:
        weight = getattr(module, f"{self.name}_orig")
        u, v = (getattr(module, f"{self.name}{part}") for part in ("_u", "_v"))
        matrix = self._matrix(weight)
        if training:
            with no_grad():
                for _ in range(self.n_power_iterations):
                    v.copy_(self._normalized(matrix.t().mv(u)))
                    u.copy_(self._normalized(matrix.mv(v)))
            u, v = u.clone(), v.clone()  # the next step writes into them
        return weight / u.dot(matrix.mv(v))

    def _normalized(self, x: Any) -> Any:
        return FUNCTIONAL["normalize"](x, dim=0, eps=self.eps)

    def begin(self, module: Module) -> None:
        weight = module._parameters.get(self.name)
        if weight is None and not hasattr(module, self.name):
            raise NameTakenError(mirrored(self.name), f"{module} has no parameter of this name")
        if weight is None:
            raise ArgumentError(
                mirrored(f"`SpectralNorm` cannot be applied as parameter `{self.name}` is None")
            )
        with no_grad():
            sizes = self._matrix(weight).shape
            starts = [self._normalized(weight.new_empty(size).normal_()) for size in sizes]
        delattr(module, self.name)
        module.register_parameter(f"{self.name}_orig", weight)
        setattr(module, self.name, weight.detach())
        for part, start in zip(("_u", "_v"), starts):
            module.register_buffer(f"{self.name}{part}", start)

    def end(self, module: Module) -> None:
        for part in ("_u", "_v", "_orig"):
            delattr(module, f"{self.name}{part}")


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """Have the weight divided by its largest singular value. Its rows as a matrix go along `dim`, which is 0,
    or 1 for transposed convolutions. (Miyato and others, 2018.)
    """
    if dim is None:
        dim = int(isinstance(module, ConvTranspose1d | ConvTranspose2d | ConvTranspose3d))
    SpectralNorm(name, n_power_iterations, dim, eps).attach(module)
    return module


def remove_spectral_norm(module: Module, name: str = "weight") -> Module:
    """Have a parameter of this name again, of the value that is computed now."""
    return _remove(module, SpectralNorm, name)
