"""`compile`: PyTorch's name for what `compile_grad` does.

In flow a function, or a module, out flows one that is called like it and runs as native code. Nothing falls
back to eager mode: what cannot be compiled is an error at the first call, as with `compile_grad`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from retrograd.compiler.errors import ArgumentError
from retrograd.runtime.compiled.compile_grad import compile_grad
from retrograd.runtime.nn.module import Module

__all__ = ["compile"]

_MODES = (None, "default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
_BACKENDS = ("inductor", "retrograd", "eager", "aot_eager")


class OptimizedModule(Module):
    """A module whose calls are compiled; its parameters are those of the module that it was made from."""

    def __init__(self, module: Module) -> None:
        super().__init__()
        self._orig_mod = module
        self._compile()

    def _compile(self) -> None:
        vars(self)["_compiled"] = compile_grad(self._orig_mod.__call__)

    def __getstate__(self) -> dict[str, Any]:
        """What is compiled is of this very module: a copy compiles its own."""
        return {name: value for name, value in super().__getstate__().items() if name != "_compiled"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._compile()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return vars(self)["_compiled"](*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("_orig_mod"), name)


def compile(
    model: Any = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: str = "inductor",
    mode: str | None = None,
    options: dict[str, Any] | None = None,
    disable: bool = False,
) -> Any:
    """The function or module, compiled, or a decorator; with `disable` itself.

    `fullgraph`, `dynamic`, `mode` and `options` ask PyTorch to compile in one way or another; here there is
    one way: always the whole function, for each new shape anew. `backend` is "inductor", "eager" or
    "aot_eager", which programs say, or "retrograd". Raises ArgumentError for another backend or mode, and for
    what is no function.
    """
    if backend not in _BACKENDS or mode not in _MODES:
        raise ArgumentError(
            f"compile(backend={backend!r}, mode={mode!r})",
            "there is one compiler here, and PyTorch's modes are hints to it",
            f"leave them out, or say one of {', '.join(map(repr, _BACKENDS))} and of "
            f"{', '.join(map(repr, _MODES[1:]))}",
        )
    if model is None:
        return lambda given: compile(given, fullgraph=fullgraph, dynamic=dynamic, disable=disable)
    if disable:
        return model
    if isinstance(model, Module):
        return OptimizedModule(model)
    if not isinstance(model, Callable):  # type: ignore[arg-type]  # an abstract class is a kind, too
        raise ArgumentError(f"compile() of a {type(model).__name__}", "it compiles functions and modules")
    return compile_grad(model)
