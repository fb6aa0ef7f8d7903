"""Modules for several devices, which on one are what they hold: `DataParallel`, `SyncBatchNorm`.

Nothing here goes over several processes or GPUs; who asks for that gets an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from retrograd.compiler.errors import ArgumentError, DeviceError, NotWrittenError, RequirementError, mirrored
from retrograd.runtime import cuda
from retrograd.runtime.device import device
from retrograd.runtime.nn.module import Module
from retrograd.runtime.nn.normalization import BatchNorm
from retrograd.runtime.pytree import flatten, unflatten
from retrograd.runtime.tensor import Tensor


class SyncBatchNorm(BatchNorm):
    """`BatchNorm` of `[N, C, …]` over all processes of a group, of which there is one here: this one."""

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, process_group: None = None, device: object = None,
        dtype: object = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        if process_group is not None:
            raise NotWrittenError(
                "SyncBatchNorm with a process group", "there is one process here", "leave process_group None"
            )
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        self.process_group = process_group

    def _check_rank(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ArgumentError(mirrored(f"expected at least 2D input (got {input.dim()}D input)"))
        if input.size(1) == 0:
            raise ArgumentError(mirrored("SyncBatchNorm number of input channels should be non-zero"))

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: None = None) -> Module:
        """The module with a SyncBatchNorm, of the same parameters, in place of each BatchNorm in it."""
        converted = module
        if isinstance(module, BatchNorm):
            converted = cls(
                module.num_features, module.eps, module.momentum, module.affine,
                module.track_running_stats, process_group, bias=module.bias is not None,
            )  # fmt: skip
            converted._parameters.update(module._parameters)
            converted._buffers.update(module._buffers)
            converted.training = module.training
        for name, child in module.named_children():
            converted.add_module(name, cls.convert_sync_batchnorm(child, process_group))
        return converted


class DataParallel(Module):
    """The module, which computes on the CPU where it is, else on a GPU, to which operands are moved.

    In PyTorch several GPUs share a batch; here there is one of them.
    """

    def __init__(
        self, module: Module, device_ids: Sequence[Any] | None = None, output_device: Any = None, dim: int = 0
    ) -> None:  # fmt: skip
        super().__init__()
        self.module = module
        self.device_ids: list[int] = []
        if not cuda.is_available():
            return
        self.device_ids = [_index(x) for x in ([cuda.current_device()] if device_ids is None else device_ids)]
        if len(self.device_ids) != 1:
            raise NotWrittenError(
                f"DataParallel on {len(self.device_ids)} GPUs", "a batch is not shared", "name one GPU"
            )
        self.dim = dim
        self.output_device = self.device_ids[0] if output_device is None else _index(output_device)
        self.src_device_obj = device("cuda", self.device_ids[0])
        module.to(self.src_device_obj)

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        if not self.device_ids:
            return self.module(*inputs, **kwargs)
        here = self.src_device_obj
        for x in (*self.module.parameters(), *self.module.buffers()):
            if x.device != here:
                raise DeviceError(
                    mirrored(
                        "module must have its parameters and buffers "
                        f"on device {here} (device_ids[0]) but found one of them on device: {x.device}"
                    )
                )
        leaves: list[Any] = []
        structure = flatten((inputs, kwargs), leaves, (Tensor,))
        args, named = unflatten(structure, iter([x.to(here) for x in leaves]))
        return self.module(*args, **named)


def _index(given: Any) -> int:
    """The number of a GPU."""
    found = device(given) if isinstance(given, str) else given
    number = found.index if isinstance(found, device) else found
    if not isinstance(number, int):
        raise RequirementError(f"device {given!r}", "it has no number", "write 0 or 'cuda:0'")
    return number
