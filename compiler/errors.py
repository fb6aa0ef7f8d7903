"""Every error that a user can cause, and the words it is told in.

Ground floor: imports nothing of the project. Each class belongs to one family (`RetrogradError`) and also is
the builtin that Python, NumPy or PyTorch would raise in its place, so `except RuntimeError` of a ported
program works.

A message says, in this order: the user's line, what was asked (shapes and dtypes), why it cannot be, what to
do. Where one of these is a sentence that PyTorch says too, it is `mirrored`: `str(error)` is that sentence to
the letter, as a ported program may print or compare it, and the rest follows as a note, which tracebacks
show. `user_location()` finds the line: the innermost frame that is part neither of this package nor of
Python's library; `warn` warns there.
"""

from __future__ import annotations

import linecache
import sys
import warnings
from pathlib import Path
from types import FrameType

from retrograd.compiler.record import NamedTuple

_HOME = Path(__file__).resolve().parents[1]
_OWN = (f"{_HOME}/compiler/", f"{_HOME}/runtime/", f"{_HOME}/retrograd/", f"{_HOME}/__init__.py")
"""Where this package's files lie: in the repository, and as installed, where the front door is a level up."""
_LIBRARY = f"{Path(linecache.__file__).parent}/"
"""Where Python's own files lie; what is installed may lie below."""


class Location(NamedTuple):
    """A line of the user's program."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file.rpartition('/')[2]}:{self.line}"


class _Users(dict[str, bool]):
    """Whether a file is the user's: each is looked at once, but asked for with every node of a graph."""

    def __missing__(self, file: str) -> bool:
        python = file.startswith(_LIBRARY) and "-packages/" not in file
        found = self[file] = not (python or file.startswith((*_OWN, "<")))
        return found


_USERS = _Users()


def user_location() -> Location | None:
    """The innermost line of the call stack outside this package and Python's own; None when there is none."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if _USERS[code.co_filename]:
            return Location(code.co_filename, frame.f_lineno, code.co_name)
        frame = frame.f_back
    return None


def user_stack() -> str:
    """The calls that lead here, those of this package left out, as a traceback tells them."""
    told: list[str] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code, line = frame.f_code, frame.f_lineno
        if not code.co_filename.startswith(_OWN):
            text = linecache.getline(code.co_filename, line, frame.f_globals).strip()
            shown = f"    {text}\n" if text else ""
            told.append(f'  File "{code.co_filename}", line {line}, in {code.co_name}\n{shown}')
        frame = frame.f_back
    return "".join(reversed(told))


def warn(text: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the user's line."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and not _USERS[frame.f_code.co_filename]:
        level, frame = level + 1, frame.f_back
    warnings.warn(text, category, stacklevel=level + 1)


class mirrored(str):
    """A part of a message that is PyTorch's own sentence, to the letter."""

    __slots__ = ()


class RetrogradError(Exception):
    """The family: `except RetrogradError` catches everything this package raises on purpose."""

    def __init__(self, what: str, why: str = "", advice: str = "", *, where: Location | None = None) -> None:
        self.where = where or user_location()
        parts = [part for part in (what, why, advice) if part]
        sentence = next((part for part in parts if isinstance(part, mirrored)), None)
        rest = "; ".join(part for part in parts if part is not sentence)
        line = f"{self.where}: " if self.where else ""
        if sentence is None:
            super().__init__(line + rest)
            return
        super().__init__(str(sentence))
        note = (line + rest).removesuffix(": ")
        if note:
            self.add_note(note)


class ShapeError(RetrogradError, RuntimeError, ValueError):
    """Shapes that do not fit together (PyTorch raises RuntimeError, NumPy ValueError)."""


class DtypeError(RetrogradError, NotImplementedError, TypeError):
    """An operation that the dtype does not have (PyTorch's kernels say that it is not implemented)."""


class ArgumentError(RetrogradError, TypeError, ValueError, RuntimeError):
    """A wrong, missing or superfluous argument (PyTorch raises any of the three)."""


class DimensionError(RetrogradError, IndexError):
    """An axis or an index out of range."""


class PlaceError(DimensionError, RuntimeError):
    """An index out of range for `gather`, `scatter` and their kin (PyTorch raises RuntimeError)."""


class LinearAlgebraError(RetrogradError, RuntimeError):
    """A matrix that is singular or not positive-definite where it must not be."""

    __module__, __qualname__ = "retrograd.linalg", "LinAlgError"  # the name under which users know it


class GradientError(RetrogradError, RuntimeError):
    """A derivative that was asked for wrongly: no graph, freed graph, non-scalar without a cotangent, …"""


class UnderivedError(GradientError, NotImplementedError):
    """A derivative of a function that has none here, as in PyTorch."""


class TraceError(RetrogradError, RuntimeError, TypeError):
    """Something that cannot be traced into a graph."""


class DeviceError(RetrogradError, RuntimeError):
    """A device that is absent, or tensors on different devices."""


class CudaError(RetrogradError, RuntimeError):
    """What a GPU's driver says when it cannot do what it was asked for."""


class OutOfMemoryError(CudaError):
    """A GPU that has no more memory."""


class DataError(RetrogradError, AssertionError, ValueError):
    """Data sets that do not fit together (PyTorch asserts that they do)."""


class RequirementError(RetrogradError, AssertionError, RuntimeError):
    """What a function takes for granted of its arguments (PyTorch asserts it)."""


class LoaderError(RetrogradError, RuntimeError):
    """A loader of batches whose workers do not answer in time."""


class CompilerError(RetrogradError, RuntimeError):
    """A defect of this package, not of the user's program: please report it with the text."""


class AttributeMissingError(RetrogradError, AttributeError):
    """A name that an object has not, or has not yet."""


class NameTakenError(RetrogradError, KeyError):
    """A name that is taken, is no good as a name, or that nothing goes by."""


class MissingPackageError(RetrogradError, ImportError):
    """A package that what was asked for needs, and that is not installed."""


class NotWrittenError(RetrogradError, NotImplementedError):
    """A method that a user's class was to have."""
