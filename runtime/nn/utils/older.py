"""Names that PyTorch keeps for old programs, and small helps: `clip_grad_norm`, `skip_init`,
`convert_conv2d_weight_memory_format`.
"""

from __future__ import annotations

from typing import Any

from retrograd.compiler.errors import ArgumentError, mirrored, warn
from retrograd.runtime.nn.convolution import Conv2d, Conv3d, ConvTranspose2d, ConvTranspose3d
from retrograd.runtime.nn.module import Module
from retrograd.runtime.nn.utils.clip import clip_grad_norm_
from retrograd.runtime.random.generator import default_generator
from retrograd.runtime.tensor import Tensor


def clip_grad_norm(
    parameters: Any, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:  # fmt: skip
    """`clip_grad_norm_`."""
    text = "`torch.nn.utils.clip_grad_norm` is now deprecated in favor of `torch.nn.utils.clip_grad_norm_`."
    warn(text, FutureWarning)
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)


def skip_init(module_cls: type[Module], *args: Any, **kwargs: Any) -> Module:
    """A module of this class whose initial values do not matter. They are drawn from the stream of random
    numbers no more than by PyTorch: the stream is as it was before.
    """
    if not issubclass(module_cls, Module):
        raise ArgumentError(mirrored(f"Expected a Module; got {module_cls}"))
    before = default_generator.get_state()
    found = module_cls(*args, **kwargs)
    default_generator.set_state(before)
    return found


def _converted(module: Any, memory_format: object, kinds: tuple[type[Module], ...]) -> Any:
    if isinstance(module, kinds):
        weight: Any = module.weight
        weight.data = weight.detach().clone(memory_format=memory_format)
    for child in module.children():
        _converted(child, memory_format, kinds)
    return module


def convert_conv2d_weight_memory_format(module: Any, memory_format: object) -> Any:
    """The module, the weights of whose convolutions of two axes lie in memory in this format."""
    return _converted(module, memory_format, (Conv2d, ConvTranspose2d))


def convert_conv3d_weight_memory_format(module: Any, memory_format: object) -> Any:
    """The module, the weights of whose convolutions of three axes lie in memory in this format."""
    return _converted(module, memory_format, (Conv3d, ConvTranspose3d))
