"""`random`: the default generator's functions under PyTorch's second name for them, and `fork_rng`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from retrograd.runtime.functions.sampling import get_rng_state, set_rng_state
from retrograd.runtime.random.generator import default_generator, initial_seed, manual_seed

__all__ = [
    "default_generator",
    "fork_rng",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "seed",
    "set_rng_state",
]

seed = default_generator.seed


@contextmanager
def fork_rng(
    devices: object = None,
    enabled: bool = True,
    _caller: str = "fork_rng",
    _devices_kw: str = "devices",
    device_type: str = "cuda",
) -> Iterator[None]:
    """Within, random numbers are drawn as elsewhere; after it they go on where it began. `devices` say
    nothing here: GPUs' numbers come from the same generator."""
    state = default_generator.get_state()
    try:
        yield
    finally:
        if enabled:
            default_generator.set_state(state)
