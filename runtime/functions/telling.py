"""Errors told as PyTorch tells them, when a call has failed.

`told(error, name, args, kwargs)` is asked where a function has raised something. It finds how the caller
wrote the call (`call_sites.py`: `t.sum(x)` or `x.sum()`), and what PyTorch says of such arguments to the
function of that name: its parser (`refusals.py`), or Python and the parser (`routines.py`), and of a dtype
its kernel (`kernels.py`). Where they say nothing the error stays what it is. So nothing is asked of calls
that succeed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from retrograd.compiler.errors import ArgumentError, DtypeError, mirrored
from retrograd.runtime.functions.call_sites import AREAS, CallSite, call_site
from retrograd.runtime.functions.kernels import unkernelled
from retrograd.runtime.functions.refusals import forms, lines, nothing_taken, refused
from retrograd.runtime.functions.routines import complaint, routine_of
from retrograd.runtime.tensor import Tensor

KERNELS = {"linalg.": "linalg_", "special.": "special_", "fft.": "fft_"}
"""How the names of an area's functions begin in `kernels.txt`."""


def not_a_tensor(name: str, parameter: str, position: int, value: object) -> ArgumentError:
    """The error for an argument that should have been a Tensor."""
    return ArgumentError(
        mirrored(
            f"{name}(): argument '{parameter}' (position {position + 1}) must be Tensor, not "
            f"{type(value).__name__}"
        ),
        advice="make one with tensor() or from_numpy()",
    )


def tell(error: Exception, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> NoReturn:
    """Raise the error that is being handled, as PyTorch tells it."""
    better = told(error, name, args, kwargs)
    if better is error:
        raise
    raise better from None


def told(error: Exception, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Exception:
    """What PyTorch would raise for a call of the function entered under this name, or the error itself,
    where the arguments are such as PyTorch takes."""
    site = call_site(name)
    if site is None:
        return error
    better = _wrong_everywhere(site, args, kwargs)
    if better is None and isinstance(error, DtypeError) and args and isinstance(args[0], Tensor):
        words = unkernelled(f"{KERNELS.get(site.area, '')}{site.name}", args, kwargs)
        better = DtypeError(mirrored(words)) if words else None
    return better or error


def _wrong_everywhere(site: CallSite, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Exception | None:
    """What PyTorch would raise for these arguments there; a name alone may be that of any area's function,
    of which one that takes them has nothing to say."""
    names = [f"{area}{site.name}" for area in (("", *AREAS.values()) if site.bare else (site.area,))]
    there = [each for each in names if known(each) or routine_of(each) is not None]
    found = [wrong(each, args, kwargs) for each in there or names[:1]]
    return None if None in found else found[0]


def known(called: str) -> bool:
    """Whether the tables say what PyTorch's function of this name and area takes."""
    return bool(lines(called))


def wrong(called: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Exception | None:
    """What PyTorch would raise for these arguments to its function of this name and area; of a method, the
    Tensor is the first."""
    routine = routine_of(called)
    if routine is not None:
        return complaint(routine, args, kwargs, wrong)
    ways = forms(called)
    if not ways:
        return None
    given = args[1:] if called.startswith("Tensor.") else args
    asked = nothing_taken if ways[0].called.startswith("TensorBase.") else refused
    text = asked(ways, given, kwargs)
    return ArgumentError(mirrored(text)) if text else None
