"""The state of a GPU's random numbers, as `torch.cuda.get_rng_state`: bytes in a Tensor on the CPU.

Numbers for a GPU are drawn by the CPU's generator and copied, so one state is that of the CPU and of every
GPU. `runtime.cuda` gives these functions out.
"""

from __future__ import annotations

from collections.abc import Iterable

from retrograd.runtime.cuda import device_count
from retrograd.runtime.cuda.streams import the_device
from retrograd.runtime.functions import sampling
from retrograd.runtime.tensor import Tensor


def get_rng_state(device: object = "cuda") -> Tensor:
    """The state of a GPU's random numbers."""
    the_device(device)
    return sampling.get_rng_state()


def get_rng_state_all() -> list[Tensor]:
    """The state of each GPU's random numbers."""
    return [get_rng_state(k) for k in range(device_count())]


def set_rng_state(new_state: Tensor, device: object = "cuda") -> None:
    """Go on where `get_rng_state` was called."""
    the_device(device)
    sampling.set_rng_state(new_state)


def set_rng_state_all(new_states: Iterable[Tensor]) -> None:
    """Go on where `get_rng_state_all` was called."""
    for k, state in enumerate(new_states):
        set_rng_state(state, k)
