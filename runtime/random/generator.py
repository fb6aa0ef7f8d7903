"""The stream of random words: PyTorch's CPU generator, seed for seed and byte for byte. A seed in, words out.

`Generator` is the Mersenne Twister with PyTorch's seeding, its 64-bit words and the bytes of its saved state.
The state lies in native memory and stays where it is, so that native code draws from it (`twister.py`);
`laws.py` makes distributions of it. Every draw holds the interpreter's lock, so that threads may share one.
"""

from __future__ import annotations

import ctypes
import operator
import os
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np

from retrograd.compiler.errors import ArgumentError, mirrored
from retrograd.compiler.native.kinds import fields_of
from retrograd.runtime.device import device as Device
from retrograd.runtime.random.native import judging, native
from retrograd.runtime.random.twister import COUNT, LANES, SAVED_BYTES, STATE_BYTES, State

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

DEFAULT_SEED = 67280421310721
"""The seed of a new `Generator`, as in PyTorch."""


class _State(ctypes.Structure):
    """The memory of a `State`."""

    _fields_ = [
        ("position", ctypes.c_int64),
        ("pending", ctypes.c_int64),
        ("fresh", ctypes.c_int64),
        ("seed", ctypes.c_uint64),
        ("normal", ctypes.c_double),
        ("has_normal", ctypes.c_int64),
        ("turn", ctypes.c_int64),
        ("unused", ctypes.c_int64),
        ("words", ctypes.c_uint32 * (COUNT + LANES)),
        ("tempered", ctypes.c_uint32 * COUNT),
    ]


assert ctypes.sizeof(_State) == STATE_BYTES
assert all(getattr(_State, name).offset == field.at for name, field in fields_of(State).items())


class Generator:
    """A stream of 32-bit words, and the second half of the last pair of single normal numbers.

    `device` is kept for the program's sake: the numbers are made on the CPU whatever it says.
    """

    def __init__(self, device: Device | str = "cpu") -> None:
        self.device = Device(device) if isinstance(device, str) else device
        self._state = _State()
        self.address = ctypes.addressof(self._state)
        """Where native code finds the state."""
        self.manual_seed(DEFAULT_SEED)

    def __repr__(self) -> str:
        return f"<torch._C.Generator object at {id(self):#x}>"

    def __getstate__(self) -> dict[str, Any]:
        return {"device": self.device, "state": self.get_state()}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        self.__init__(kept["device"])  # type: ignore[misc]  # memory of its own, then the same stream
        self.set_state(kept["state"])

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of `seed` (−2⁶³ ≤ seed < 2⁶⁴, of which the low 32 bits matter); returns self."""
        seed = whole_number("seed", seed)
        if not -(2**63) <= seed < 2**64:
            raise ArgumentError(
                f"manual_seed({seed})",
                mirrored("Overflow when unpacking long long"),
                "a seed lies between -2**63 and 2**64 - 1",
            )
        state = self._state
        state.seed, state.pending, state.fresh = seed % 2**64, 1, 1
        state.position, state.has_normal = COUNT, 0
        state.turn += 1
        return self

    def initial_seed(self) -> int:
        """The seed of the stream, as a number from 0 to 2⁶⁴ − 1."""
        return int(self._state.seed)

    def seed(self) -> int:
        """Start a stream that nobody can foretell; returns its seed."""
        self.manual_seed(int.from_bytes(os.urandom(7)) >> 3)
        return self.initial_seed()

    def uint32(self, count: int) -> NDArray[np.uint32]:
        """The next `count` words."""
        words = np.empty(count, np.uint32)
        native("words")(self.address, words.ctypes.data, count, 0)
        return words

    def uint64(self, count: int) -> NDArray[np.uint64]:
        """The next `count` pairs of words, the first of each pair in the high half."""
        pairs = np.empty(count, np.uint64)
        native("pairs_i64")(self.address, pairs.ctypes.data, count, 0)
        return pairs

    @property
    def next_normal(self) -> float | None:
        """A normal number already drawn, for the next call that wants fewer than sixteen."""
        return self._state.normal if self._state.has_normal else None

    def get_state(self) -> NDArray[np.uint8]:
        """The state as bytes in PyTorch's layout; `torch.Generator.set_state` takes them too."""
        saved = np.empty(SAVED_BYTES, np.uint8)
        native("saved")(self.address, saved.ctypes.data, SAVED_BYTES, 0)
        return saved

    def set_state(self, state: ArrayLike) -> Generator:
        """Continue where `get_state`, of this class or of PyTorch's generator, was called; returns self."""
        content = np.ascontiguousarray(state)
        if content.dtype != np.uint8 or content.shape != (SAVED_BYTES,):
            words = "RNG state must be a torch.ByteTensor"
            if content.dtype == np.uint8:
                words = f"Expected a CPUGeneratorImplState of size {SAVED_BYTES} but found the input RNG "
                words += f"state size to be {content.size}"
            raise ArgumentError(
                mirrored(words),
                f"a state is {SAVED_BYTES} bytes (uint8) in one axis",
                "pass what get_state() returned",
            )
        if not judging("restored")(self.address, content.ctypes.data, SAVED_BYTES, 0):
            raise ArgumentError("set_state", "the bytes are no state of the Mersenne Twister")
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
    try:
        whole = int(seed)
    except (TypeError, ValueError) as error:
        raise ArgumentError(mirrored(str(error))) from None
    return default_generator.manual_seed(whole)


def initial_seed() -> int:
    """The seed of the default stream."""
    return default_generator.initial_seed()
