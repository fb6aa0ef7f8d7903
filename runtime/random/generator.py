"""The stream of random words: PyTorch's CPU generator, seed for seed and byte for byte. A seed in, words out.

`Generator` is the Mersenne Twister with PyTorch's seeding, its 64-bit words and the bytes of its saved state;
`samplers.py` makes distributions of it. A new kind of word is a method beside `uint32`.

Algorithm: M. Matsumoto and T. Nishimura, "Mersenne Twister" (1998); NumPy's implementation turns the crank.
"""

from __future__ import annotations

import operator
import os
from functools import cached_property
from typing import SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retrograd.compiler.errors import ArgumentError
from retrograd.runtime.device import device as Device

DEFAULT_SEED = 67280421310721
"""The seed of a new `Generator`, as in PyTorch."""

_WORDS = 624  # of the Mersenne Twister's state

_STATE = np.dtype(
    [
        ("seed", np.uint64),
        ("left", np.int32),
        ("seeded", np.int32),
        ("next", np.uint64),
        ("words", np.uint64, _WORDS),
        ("unused_x", np.float64),
        ("normal", np.float64),
        ("unused_rho", np.float64),
        ("has_normal", np.int32),
        ("unused_normal32", np.float32),
        ("unused_has_normal32", np.int32),
    ],
    align=True,
)
"""PyTorch's layout of `get_state`: 5056 bytes, so that saved states travel both ways."""


class Generator:
    """A stream of 32-bit words, and the second half of the last pair of single normal numbers.

    `device` is kept for the program's sake: the numbers are made on the CPU whatever it says.
    """

    def __init__(self, device: Device | str = "cpu") -> None:
        self.device = Device(device) if isinstance(device, str) else device
        self.next_normal: float | None = None
        """A normal number already drawn, for the next call that wants fewer than sixteen."""
        self.manual_seed(DEFAULT_SEED)

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of `seed` (−2⁶³ ≤ seed < 2⁶⁴, of which the low 32 bits matter); returns self."""
        seed = whole_number("seed", seed)
        if not -(2**63) <= seed < 2**64:
            raise ArgumentError(f"manual_seed({seed})", "a seed lies between -2**63 and 2**64 - 1")
        self._seed = seed % 2**64
        self.__dict__.pop("_words", None)
        self._fresh = True
        self.next_normal = None
        return self

    @cached_property
    def _words(self) -> np.random.MT19937:
        """The twister, made when it is first turned: NumPy's random numbers take a while to import."""
        words = np.random.MT19937(0)
        np.random.RandomState(words).seed(self._seed % 2**32)
        return words

    def initial_seed(self) -> int:
        """The seed of the stream, as a number from 0 to 2⁶⁴ − 1."""
        return self._seed

    def seed(self) -> int:
        """Start a stream that nobody can foretell; returns its seed."""
        self.manual_seed(int.from_bytes(os.urandom(7)) >> 3)
        return self._seed

    def uint32(self, count: int) -> NDArray[np.uint32]:
        """The next `count` words."""
        self._fresh = self._fresh and count == 0
        return self._words.random_raw(count).astype(np.uint32)

    def uint64(self, count: int) -> NDArray[np.uint64]:
        """The next `count` pairs of words, the first of each pair in the high half."""
        self._fresh = self._fresh and count == 0
        high, low = self._words.random_raw(2 * count).reshape(-1, 2).T
        return np.asarray((high << np.uint64(32)) | low, dtype=np.uint64)

    def get_state(self) -> NDArray[np.uint8]:
        """The state as bytes in PyTorch's layout; `torch.Generator.set_state` takes them too."""
        twister = self._words.state["state"]
        state = np.zeros((), dtype=_STATE)
        state["seed"] = self._seed
        state["seeded"] = 1
        state["next"] = 0 if self._fresh else twister["pos"]
        state["left"] = 1 if self._fresh else _WORDS + 1 - twister["pos"]
        state["words"] = twister["key"]
        state["normal"] = self.next_normal or 0.0
        state["has_normal"] = self.next_normal is not None
        return np.frombuffer(state.tobytes(), dtype=np.uint8).copy()

    def set_state(self, state: ArrayLike) -> Generator:
        """Continue where `get_state`, of this class or of PyTorch's generator, was called; returns self."""
        content = np.asarray(state)
        if content.dtype != np.uint8 or content.shape != (_STATE.itemsize,):
            raise ArgumentError(
                f"set_state with an array of {content.dtype} and shape {content.shape}",
                f"a state is {_STATE.itemsize} bytes (uint8) in one axis",
                "pass what get_state() returned",
            )
        fields = np.frombuffer(content.tobytes(), dtype=_STATE)[0]
        left, position = int(fields["left"]), int(fields["next"])
        fresh = (left, position) == (1, 0)
        if not fields["seeded"] or not (fresh or (1 <= position <= _WORDS and left == _WORDS + 1 - position)):
            raise ArgumentError("set_state", "the bytes are no state of the Mersenne Twister")
        self._words.state = {
            "bit_generator": "MT19937",
            "state": {"key": fields["words"].astype(np.uint32), "pos": _WORDS if fresh else position},
        }
        self._seed = int(fields["seed"])
        self._fresh = fresh
        self.next_normal = float(fields["normal"]) if fields["has_normal"] else None
        return self

    def clone_state(self) -> Generator:
        """A new generator at the same point of the same stream."""
        return Generator(self.device).set_state(self.get_state())


def whole_number(name: str, value: SupportsIndex) -> int:
    """`value` as an int. Raises ArgumentError, with the argument's name, for anything else."""
    try:
        return operator.index(value)
    except TypeError:
        raise ArgumentError(f"{name}={value!r}", f"{name} must be a whole number") from None


default_generator = Generator()
"""Used wherever no generator is given; seeded by chance when the program starts."""
default_generator.seed()


def manual_seed(seed: int) -> Generator:
    """Start the default stream of `seed`; returns the default generator."""
    return default_generator.manual_seed(seed)


def initial_seed() -> int:
    """The seed of the default stream."""
    return default_generator.initial_seed()
