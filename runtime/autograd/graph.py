"""What the tape keeps, in the user's hands: hooks that take each saved Tensor and give it back, as PyTorch's
`torch.autograd.graph`.

In flow a pair of functions for the length of a `with` block; out flow nodes that keep what the first gave,
and ask the second when the backward pass comes by. `eager/packing.py` does it. Inside a compiled function
nothing is kept, so hooks see nothing there; what a compiled function keeps for its own backward pass stays
with it. `register_multi_grad_hook` is a hook of several gradients of one pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import field
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from retrograd.compiler.errors import ArgumentError, GradientError, RequirementError, mirrored
from retrograd.compiler.record import record
from retrograd.runtime.autograd.edges import GradientEdge, get_gradient_edge
from retrograd.runtime.autograd.engine import Pass
from retrograd.runtime.eager.history import edge_of
from retrograd.runtime.eager.moving import moved
from retrograd.runtime.eager.opnodes import counter_of
from retrograd.runtime.eager.tape import GradNode as Node
from retrograd.runtime.eager.tape import RemovableHandle
from retrograd.runtime.modes import STATE, watch
from retrograd.runtime.tensor import Tensor

__all__ = [
    "GradientEdge",
    "Node",
    "allow_mutation_on_saved_tensors",
    "disable_saved_tensors_hooks",
    "get_gradient_edge",
    "increment_version",
    "register_multi_grad_hook",
    "save_on_cpu",
    "saved_tensors_hooks",
]


class saved_tensors_hooks:
    """In the `with` block each Tensor that the tape keeps is given to `pack_hook`; the backward pass gets
    what `unpack_hook` makes of the result. Of nested blocks the innermost is asked.

    `pack_hook` may give anything, and may not write into its Tensor; `unpack_hook` gives a Tensor of the same
    shape, dtype and device. Raises ArgumentError where one is no function.
    """

    def __init__(self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]) -> None:
        self.pack_hook = pack_hook
        self.unpack_hook = unpack_hook

    def __enter__(self) -> None:
        for name, hook in (("pack_hook", self.pack_hook), ("unpack_hook", self.unpack_hook)):
            if not callable(hook):
                raise ArgumentError(
                    f"saved_tensors_hooks() with a {name} of type {type(hook).__name__}",
                    "it is called with each Tensor that is kept",
                    "give a function",
                )
        if _FORBIDDEN:
            raise GradientError(mirrored(_FORBIDDEN[-1]))
        STATE.savers = (*STATE.savers, (self.pack_hook, self.unpack_hook))
        watch()

    def __exit__(self, *error: object) -> None:
        STATE.savers = STATE.savers[:-1]
        watch()


class save_on_cpu(saved_tensors_hooks):
    """In the `with` block the tape keeps its Tensors in the CPU's memory, and each goes back to where it was
    when the backward pass needs it. With `pin_memory` that memory is one that GPUs read by themselves.
    """

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        def pack(tensor: Tensor) -> tuple[Any, Tensor]:
            here: Tensor = tensor.detach().cpu()
            away = tensor.device.type != "cpu"
            kept = here.pin_memory() if pin_memory and away else here if away else here.clone()
            return tensor.device, kept

        def unpack(kept: tuple[Any, Tensor]) -> Tensor:
            device, tensor = kept
            return moved(tensor, device, non_blocking=pin_memory)

        super().__init__(pack, unpack)


class allow_mutation_on_saved_tensors(saved_tensors_hooks):
    """In the `with` block what the tape keeps may be changed in place: each Tensor is copied when it is kept.
    The backward pass must be in the same block. Raises GradientError inside another such block.
    """

    _current: ClassVar[allow_mutation_on_saved_tensors | None] = None

    def __init__(self) -> None:
        def unpack(kept: Tensor) -> Tensor:
            if allow_mutation_on_saved_tensors._current is not self:
                raise RequirementError(
                    mirrored(
                        "Trying to backward outside of the 'allow_mutation_on_saved_tensors' contextin which "
                        "the graph was originally recorded."
                    )
                )
            return kept

        super().__init__(lambda tensor: tensor.detach().clone(), unpack)

    def __enter__(self) -> None:
        if allow_mutation_on_saved_tensors._current is not None:
            raise GradientError(mirrored("allow_mutation_on_saved_tensors contexts cannot be nested"))
        super().__enter__()
        allow_mutation_on_saved_tensors._current = self

    def __exit__(self, *error: object) -> None:
        allow_mutation_on_saved_tensors._current = None
        super().__exit__(*error)


_FORBIDDEN: list[str] = []
"""What is said to those who set hooks, in blocks that forbid it."""


class disable_saved_tensors_hooks:
    """In the `with` block nobody may set hooks: the error says `error_message`."""

    def __init__(self, error_message: str) -> None:
        self.error_message = error_message

    def __enter__(self) -> None:
        if STATE.savers:
            raise GradientError(mirrored(self.error_message))
        _FORBIDDEN.append(self.error_message)

    def __exit__(self, *error: object) -> None:
        _FORBIDDEN.pop()


def increment_version(tensor: Tensor | Iterable[Tensor]) -> None:
    """Say that the elements of one or several Tensors have been written behind the library's back, so that a
    backward pass that needs them as they were is an error.
    """
    for each in (tensor,) if isinstance(tensor, Tensor) else tensor:
        counter_of(each)[0] += 1


# ---- hooks of several gradients ----------------------------------------------------------------------------


class _Handles:
    """Takes several hooks away again, at once or at the end of a `with` block."""

    def __init__(self, handles: Sequence[RemovableHandle]) -> None:
        self._handles = tuple(handles)

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()

    def __enter__(self) -> _Handles:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()


class _Arrived:
    """What one pass has brought so far, and how many gradients are still to come."""

    __slots__ = ("gradients", "missing")

    def __init__(self, gradients: list[Tensor | None], missing: int) -> None:
        self.gradients, self.missing = gradients, missing


@record(slots=True, eq=False)
class _Together:
    """Waits for the gradients of all tensors that a pass comes to."""

    tensors: Sequence[Tensor]
    call: Callable[[Sequence[Tensor | None]], None]
    passes: WeakKeyDictionary[Pass, _Arrived] = field(default_factory=WeakKeyDictionary)

    def hook(self, place: int) -> Callable[[Tensor], None]:
        def arrive(gradient: Tensor) -> None:
            current: Pass = STATE.backward
            if current not in self.passes:
                reached = current.comes_to()
                count = sum(edge_of(x) in reached for x in self.tensors)
                self.passes[current] = _Arrived([None] * len(self.tensors), count)
            arrived = self.passes[current]
            arrived.gradients[place] = gradient
            arrived.missing -= 1
            if not arrived.missing:
                del self.passes[current]
                self.call(arrived.gradients)

        return arrive


def _once(call: Callable[[Tensor], None]) -> Callable[[Tensor], None]:
    """The function, which is called with the first gradient of each pass only."""
    passes: WeakKeyDictionary[Pass, bool] = WeakKeyDictionary()

    def arrive(gradient: Tensor) -> None:
        if not passes.get(STATE.backward):
            passes[STATE.backward] = True
            call(gradient)

    return arrive


def register_multi_grad_hook(
    tensors: Sequence[Tensor], fn: Callable[..., None], *, mode: str = "all"
) -> _Handles:
    """Have `fn` called in each backward pass: in mode "all" with the gradients of all the tensors, when the
    last has been computed, None for those that the pass does not come to; in mode "any" with the first.
    """
    if mode not in ("all", "any"):
        raise ArgumentError(mirrored(f"Expects mode to be one of ('all', 'any') but got {mode}"))
    if mode == "any":
        first = _once(fn)
        return _Handles([x.register_hook(first) for x in tensors if x.requires_grad])
    if not all(x.requires_grad for x in tensors):
        raise RequirementError(
            mirrored("Expected gradient function to be set"),
            "a tensor without a gradient has no hooks",
        )
    together = _Together(tensors, fn)
    return _Handles([x.register_hook(together.hook(place)) for place, x in enumerate(tensors)])
