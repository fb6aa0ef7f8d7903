"""What PyTorch warns of once in a process: that a Tensor which requires grad becomes a number.

In flow such Tensors, out flows the warning, at the first or, if asked (`set_warn_always`), at each. Native
code asks nothing where nothing is to be said: `watchers` are told when that changes.
"""

from __future__ import annotations

from collections.abc import Callable

from retrograd.compiler.errors import warn
from retrograd.runtime.modes import STATE

watchers: list[Callable[[bool], None]] = []
_always = _over = False


def set_always(always: bool) -> None:
    """Whether each is to be warned of."""
    global _always
    _always = always
    _watch()


def always() -> bool:
    return _always


def converted() -> None:
    """A Tensor that requires grad has become a number."""
    global _over
    if (_over and not _always) or not STATE.grad:
        return
    _over = True
    _watch()
    warn(
        "Converting a tensor with requires_grad=True to a scalar may lead to unexpected behavior.\n"
        "Consider using tensor.detach() first."
    )


def _watch() -> None:
    for watcher in watchers:
        watcher(_always or not _over)
