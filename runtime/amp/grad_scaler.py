"""GradScaler: losses times a factor, so that small gradients in half precision do not vanish.

In flow losses and optimisers, out flow scaled losses and steps with gradients divided by the factor. A step
with a gradient that is no finite number is left out, and the factor shrinks; after `growth_interval` steps
that were not, it grows. (Micikevicius et al., *Mixed Precision Training*, 2018, section 3.2.)
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, GradientError, RequirementError, mirrored, warn
from retrograd.runtime import cuda
from retrograd.runtime.modes import no_grad
from retrograd.runtime.optim.optimizer import Optimizer
from retrograd.runtime.tensor import Tensor, new


class _Stage(Enum):
    """How far this iteration has come with an optimiser."""

    READY = 0
    UNSCALED = 1
    STEPPED = 2


@dataclass
class _Progress:
    """What is known of an optimiser since the last `update`."""

    stage: _Stage = _Stage.READY
    found: bool | None = None
    """Whether a gradient was not finite; None where there was none, or nobody has looked."""


class GradScaler:
    """A factor for losses: `scale(loss).backward()`, then `step(optimizer)`, then `update()`.

    Disabled, it scales nothing and steps always; so it is for a GPU where there is none.
    """

    def __init__(
        self, device: str = "cuda", init_scale: float = 2.0**16, growth_factor: float = 2.0,
        backoff_factor: float = 0.5, growth_interval: int = 2000, enabled: bool = True,
    ) -> None:  # fmt: skip
        self._device = device
        if enabled and device == "cuda" and not cuda.is_available():
            warn("torch.cuda.amp.GradScaler is enabled, but CUDA is not available.  Disabling.")
            enabled = False
        self._enabled = enabled
        if not enabled:
            return
        if growth_factor <= 1.0:
            raise RequirementError(mirrored("The growth factor must be > 1.0."))
        if backoff_factor >= 1.0:
            raise RequirementError(mirrored("The backoff factor must be < 1.0."))
        self._first_scale, self._first_tracker = init_scale, 0
        self._growth_factor, self._backoff_factor = growth_factor, backoff_factor
        self._growth_interval = growth_interval
        self._scale: Tensor | None = None
        """The factor, in float32, where the losses are; made with the first."""
        self._tracker = 0
        """Steps since the factor was changed last."""
        self._progress: defaultdict[int, _Progress] = defaultdict(_Progress)

    # ---- an iteration --------------------------------------------------------------------------------------

    def scale(self, outputs: Any) -> Any:
        """The outputs, a Tensor or Tensors in containers, times the factor."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            if self._scale is None:
                self._scale = new(np.asarray(self._first_scale, np.float32), outputs)
                self._tracker = self._first_tracker
            return outputs * self._scale
        if not isinstance(outputs, Iterable):
            raise ArgumentError(mirrored("outputs must be a Tensor or an iterable of Tensors"))
        scaled = map(self.scale, outputs)
        return type(outputs)(scaled) if isinstance(outputs, list | tuple) else scaled

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients of the optimiser's parameters by the factor, once before its step."""
        if not self._enabled:
            return
        scale = self._known("unscale_")
        progress = self._progress[id(optimizer)]
        if progress.stage is _Stage.UNSCALED:
            raise GradientError(
                mirrored("unscale_() has already been called on this optimizer since the last update().")
            )
        if progress.stage is _Stage.STEPPED:
            raise GradientError(mirrored("unscale_() is being called after step()."))
        progress.found = _unscale(optimizer, float(np.float32(1 / scale.item())))
        progress.stage = _Stage.UNSCALED

    def step(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        """The optimiser's step by gradients divided by the factor; none where one of them is not finite."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise GradientError(mirrored("Closure use is not currently supported if GradScaler is enabled."))
        self._known("step")
        progress = self._progress[id(optimizer)]
        if progress.stage is _Stage.STEPPED:
            raise GradientError(mirrored("step() has already been called since the last update()."))
        if progress.stage is _Stage.READY:
            self.unscale_(optimizer)
        if progress.found is None:
            raise RequirementError(mirrored("No inf checks were recorded for this optimizer."))
        result = None if progress.found else optimizer.step(*args, **kwargs)
        progress.stage = _Stage.STEPPED
        return result

    def update(self, new_scale: Any = None) -> None:
        """End an iteration: the factor shrinks if a step was left out, grows if for long none was, or is this
        one from now on."""
        if not self._enabled:
            return
        scale = self._known("update")
        if new_scale is None:
            found = [each.found for each in self._progress.values() if each.found is not None]
            if not found:
                raise RequirementError(mirrored("No inf checks were recorded prior to update."))
            self._adapt(scale, any(found))
        elif isinstance(new_scale, float):
            scale.fill_(new_scale)
        elif (
            isinstance(new_scale, Tensor)
            and new_scale.device.type == self._device
            and new_scale.numel() == 1
            and not new_scale.requires_grad
        ):
            scale.copy_(new_scale)
        else:
            raise RequirementError(
                mirrored(
                    "new_scale should be a float or a 1-element torch.cuda.FloatTensor or "
                    "torch.FloatTensor with requires_grad=False."
                )
            )
        self._progress.clear()

    def _adapt(self, scale: Tensor, found: bool) -> None:
        """A smaller factor, or after many steps a greater one, if it is finite."""
        self._tracker = 0 if found else self._tracker + 1
        if found:
            scale.mul_(self._backoff_factor)
        elif self._tracker == self._growth_interval:
            grown = scale * self._growth_factor
            if math.isfinite(grown.item()):
                scale.copy_(grown)
            self._tracker = 0

    def _known(self, name: str) -> Tensor:
        if self._scale is None:
            raise RequirementError(
                mirrored(
                    f"Attempted {name} but _scale is None.  This may indicate your script did not use "
                    "scaler.scale(loss or outputs) earlier in the iteration."
                )
            )
        return self._scale

    # ---- its numbers ---------------------------------------------------------------------------------------

    def get_scale(self) -> float:
        """The factor, 1 if disabled."""
        if not self._enabled:
            return 1.0
        return self._first_scale if self._scale is None else float(self._scale.item())

    def get_growth_factor(self) -> float:
        """What the factor grows by."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """What the factor grows by from now on."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """What the factor shrinks by."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """What the factor shrinks by from now on."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """After how many steps the factor grows."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """After how many steps the factor grows from now on."""
        self._growth_interval = new_interval

    def is_enabled(self) -> bool:
        """Whether it scales."""
        return self._enabled

    def _steps_so_far(self) -> int:
        return self._first_tracker if self._scale is None else self._tracker

    # ---- kept ----------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Its numbers; none if disabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._steps_so_far(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the numbers that `state_dict` gave."""
        if not self._enabled:
            return
        if not state_dict:
            raise GradientError(
                mirrored(
                    "The source state dict is empty, possibly because it was saved from a disabled instance "
                    "of GradScaler."
                )
            )
        self._first_scale = state_dict["scale"]
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._first_tracker = self._tracker = state_dict["_growth_tracker"]
        if self._scale is not None:
            self._scale.fill_(self._first_scale)

    def __getstate__(self) -> dict[str, Any]:
        if not self._enabled:
            return vars(self).copy()
        if self._progress:
            raise RequirementError(
                mirrored(
                    "A GradScaler instance may only be pickled at the beginning of an iteration, or at the "
                    "end after scaler.update()."
                )
            )
        first = {"_first_scale": self.get_scale(), "_first_tracker": self._steps_so_far(), "_scale": None}
        return vars(self) | first


def _unscale(optimizer: Optimizer, factor: float) -> bool | None:
    """The gradients times a factor: whether one of them is not finite, None where there is none."""
    found: list[bool] = []
    with no_grad():
        for parameter in (p for group in optimizer.param_groups for p in group["params"]):
            gradient = parameter.grad
            if gradient is None:
                continue
            if gradient.dtype is dtypes.float16:
                raise ArgumentError(mirrored("Attempting to unscale FP16 gradients."))
            found.append(not bool(gradient.isfinite().all()))
            gradient.mul_(factor)
    return any(found) if found else None
