"""What a Tensor knows of derivatives: whether it is recorded, where it came from, its gradient, its hooks.

Tensor inherits it, and holds its state (`tensor.py` says which). In flow gradients and hooks, checked as
PyTorch checks them. The tape itself is in `eager/tape.py`, the way back in `autograd`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from retrograd.compiler.dtypes import DType
from retrograd.compiler.errors import (
    ArgumentError,
    DeviceError,
    DtypeError,
    GradientError,
    ShapeError,
    TraceError,
    mirrored,
    warn,
)
from retrograd.runtime.device import device
from retrograd.runtime.eager.tape import GradNode, Hook, Hooks, Output, RemovableHandle
from retrograd.runtime.modes import INFERENCE, STATE, is_sealed
from retrograd.runtime.names import C_NAMES, Size, bare_legacy_name


class Differentiable:
    """The part of Tensor that is about gradients."""

    if TYPE_CHECKING:  # what Tensor holds, and says of its elements
        _value: Any
        _requires_grad: bool
        _edge: GradNode | None
        _grad: Any
        _counter: list[Any] | None
        _view: Any
        _leaf: Hooks | None

        @property
        def shape(self) -> Size: ...
        @property
        def dtype(self) -> DType: ...
        @property
        def device(self) -> device: ...

    else:
        __slots__ = ()

    def _current_edge(self) -> GradNode | None:
        if self._view is not None:
            self._view.refresh(self)
        return self._edge

    @property
    def requires_grad(self) -> bool:
        if self._view is not None:
            self._view.refresh(self)
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if not isinstance(value, bool):
            raise ArgumentError(mirrored("requires_grad must be a bool"))
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Have operations on this leaf recorded, or no longer."""
        if not isinstance(requires_grad, bool):
            raise ArgumentError(
                mirrored(
                    "requires_grad_(): argument 'requires_grad' (position 1) must be bool, not "
                    f"{type(requires_grad).__name__}"
                )
            )
        if self._current_edge() is not None and not requires_grad:
            raise GradientError(
                mirrored(
                    "you can only change requires_grad flags of leaf variables. If you want to use a "
                    "computed "
                    "variable in a subgraph that doesn't require differentiation use var_no_grad = "
                    "var.detach()."
                )
            )
        if requires_grad and not self.dtype.is_inexact:
            raise DtypeError(
                mirrored("only Tensors of floating point dtype can require gradients"),
                f"this one is {self.dtype}",
            )
        if requires_grad and is_sealed(self._counter):
            raise GradientError(
                mirrored(
                    "Setting requires_grad=True on inference tensor outside InferenceMode is not allowed."
                )
            )
        if STATE.trace is not None:
            STATE.trace.remember(self)
        elif requires_grad and self._view is not None and self._view.tracked and self._edge is None:
            self._view.refresh(self)
            self._view = self._view.rooted()
        self._requires_grad = bool(requires_grad)
        return self

    @property
    def grad_fn(self) -> GradNode | None:
        edge = self._current_edge()
        return edge.edges[0] if isinstance(edge, Output) else edge

    @property
    def output_nr(self) -> int:
        edge = self._current_edge()
        if isinstance(edge, Output):
            return edge.place
        return 0 if edge is None else edge.output_nr

    @property
    def is_leaf(self) -> bool:
        return self._current_edge() is None

    @property
    def grad(self) -> Any:
        found = self._grad
        if found is None:
            self._warn_of_no_grad()
        return found

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is not None:
            self._check_grad(value)
        self._set_grad(value)

    @grad.deleter
    def grad(self) -> None:
        self._set_grad(None)

    def _warn_of_no_grad(self) -> None:
        """Where a backward pass will not put a gradient here either."""
        if STATE.trace is None and self._current_edge() is not None and not self.retains_grad:
            warn(
                "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad "
                "attribute won't be populated during autograd.backward(). If you indeed want the .grad field "
                "to be populated for a non-leaf Tensor, use .retain_grad() on the non-leaf Tensor. If you "
                "access the non-leaf Tensor by mistake, make sure you access the leaf Tensor instead. See "
                "github.com/pytorch/pytorch/pull/30531 for more information."
            )

    def _set_grad(self, value: Any) -> None:
        if STATE.trace is not None:
            STATE.trace.remember(self)
            STATE.trace.grads[self] = value
        self._grad = value

    def _check_grad(self, value: object) -> None:
        if value is self:
            raise GradientError(mirrored("can't assign Variable as its own grad"))
        if not isinstance(value, Differentiable):
            raise ArgumentError(
                mirrored(
                    "assigned grad expected to be a Tensor or None but got grad of type "
                    f"{type(value).__name__}"
                )
            )
        if value._value.shape != self._value.shape:
            raise ShapeError(
                mirrored(
                    f"attempting to assign a gradient of size '{list(value.shape)}' to a tensor of size "
                    f"'{list(self.shape)}'. Please ensure that the gradient and the tensor are the same size"
                )
            )
        if value.device != self.device:
            raise DeviceError(
                mirrored(
                    f"attempting to assign a gradient with device type '{value.device.type}' to a tensor "
                    f"with device type '{self.device.type}'. Please ensure that the gradient and the tensor "
                    "are on the same device"
                ),
                f"the gradient is on {value.device}, the tensor on {self.device}",
                "move the gradient with .to(device)",
            )
        if value.dtype is not self.dtype:
            given, own = C_NAMES[value.dtype], bare_legacy_name(self.dtype)
            raise DtypeError(
                mirrored(
                    f"attempting to assign a gradient with dtype '{given}' to a tensor with grad_dtype "
                    f"'{own}'. The gradient must match the tensor's grad_dtype (defaults to the tensor's "
                    "dtype). You can set the tensor's grad_dtype attribute with a specific dtype, or None to "
                    "allow any dtype. Set grad_dtype with caution. Diverging the dtypes of a tensor and its "
                    "gradient may break downstream systems that assume they match."
                ),
                f"a gradient of {value.dtype} for a tensor of {self.dtype}",
                "cast it with .to(dtype)",
            )

    def retain_grad(self) -> None:
        """Keep the gradient of a Tensor that is not a leaf in `.grad`, too."""
        if not self.requires_grad:
            raise GradientError(mirrored("can't retain_grad on Tensor that has requires_grad=False"))
        edge = self._edge
        if edge is not None:
            edge.extras.retain(self)

    @property
    def retains_grad(self) -> bool:
        edge = self._current_edge()
        return edge is not None and edge.hooks is not None and edge.hooks.retains(self)

    def register_hook(self, hook: Hook) -> RemovableHandle:
        """`hook(grad)` is called with the gradient when it has been computed; what it returns replaces it."""
        if not self.requires_grad:
            raise GradientError(mirrored("cannot register a hook on a tensor that doesn't require gradient"))
        hooks = self._edge.extras if self._edge is not None else self._leaf_hooks()
        return RemovableHandle(hooks.tensor, hook)

    def register_post_accumulate_grad_hook(self, hook: Hook) -> RemovableHandle:
        """`hook(leaf)` is called when `.grad` of this leaf has been added to."""
        if not self.requires_grad:
            raise GradientError(mirrored("cannot register a hook on a tensor that doesn't require gradient"))
        if not self.is_leaf:
            raise GradientError(
                mirrored("post accumulate grad hooks cannot be registered on non-leaf tensors")
            )
        if STATE.trace is not None:
            raise TraceError(
                "register_post_accumulate_grad_hook() in a compiled function",
                "gradients are added to .grad after it, by backward() outside",
                "register the hook outside, on the tensor that is passed in",
            )
        return RemovableHandle(self._leaf_hooks().accumulated, hook)

    def _leaf_hooks(self) -> Hooks:
        if self._leaf is None:
            self._leaf = Hooks()
        return self._leaf

    @property
    def _version(self) -> int:
        """How often the elements were changed in place."""
        if self._counter is INFERENCE:
            raise GradientError(mirrored("Inference tensors do not track version counter."))
        return self._counter[0] if self._counter is not None else 0

    def _is_view(self) -> bool:
        """Whether it shows elements of another Tensor, and knows of it."""
        return self._view is not None

    @property
    def _base(self) -> Any:
        """The Tensor of which it shows elements; None where these are its own."""
        return None if self._view is None else self._view.base
