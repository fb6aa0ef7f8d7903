"""Arguments that PyTorch's parser does not take, refused before a function of ours makes something of them.

In flow the arguments of a call; out flows nothing, or the error that PyTorch raises (`telling.wrong`). The
parser's tables are asked once for each combination of types: what they take then is taken from then on. And
a function whose steps are replayed looks only at calls that are new to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import Any

from retrograd.runtime.functions.call_sites import call_site
from retrograd.runtime.functions.outputs import knows_out, takes_out, without_out, written_out
from retrograd.runtime.functions.telling import known, tell, wrong

Check = Callable[[Sequence[Any], Mapping[str, Any]], None]
"""Raises the error for arguments of which PyTorch's parser takes none."""


def admission(name: str, called: Iterable[str]) -> Check:
    """The check of the function of this name, which is called as the tables have it: `sum`, `Tensor.sum`."""
    taken: set[tuple[object, ...]] = set()
    """By types alone, or by types and how the caller names the function."""
    by_some: set[tuple[object, ...]] = set()
    """What some forms take, and others refuse."""
    forms: list[str] | None = None

    def admit(args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        nonlocal forms
        if not kwargs and tuple(map(type, args)) in taken:  # which has no bare type of a sequence
            return
        if forms is None:
            forms = [*filter(known, called)]
        if not forms or (key := _types(args, kwargs)) in taken:
            return
        if key not in by_some:
            refusals = [wrong(form, args, kwargs) for form in forms]
            if not any(refusals):
                taken.add(key)
                return
            if not all(refusals):
                by_some.add(key)
        site = call_site(name)
        if site is None or (site.bare and key in by_some) or (key, site) in taken:
            return
        error = wrong(f"{site.area}{site.name}", args, kwargs)
        if error is not None:
            raise error
        taken.add((key, site))

    return admit


def admitting(name: str, f: Callable[..., Any], *others: str) -> Callable[..., Any]:
    """The function of this name, and of `others`, at the top, on Tensors and in `special`: what PyTorch's
    parser does not take is refused, and errors are told as PyTorch tells them."""
    called = [area + each for area in ("", "Tensor.", "special.") for each in (name, *others)]
    admit = admission(name, called)

    @wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        admit(args, kwargs)
        try:
            if "out" in kwargs and not knows_out(f) and takes_out(called):
                rest, out = without_out(kwargs, False)
                result = f(*args, **rest)
                return result if out is None else written_out(out, result)
            return f(*args, **kwargs)
        except Exception as error:
            tell(error, name, args, kwargs)

    return call


def _types(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[object, ...]:
    """What the parser goes by: the types of arguments, and those of the elements of sequences."""
    found = [_kind(x) for x in args]
    for name, x in kwargs.items():
        found += name, _kind(x)
    return tuple(found)


def _kind(x: object) -> object:
    kind = type(x)
    return (kind, frozenset(map(type, x))) if kind in _SEQUENCES else kind  # type: ignore[call-overload]  # a sequence


_SEQUENCES = frozenset({list, tuple})
