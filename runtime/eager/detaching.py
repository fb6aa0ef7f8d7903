"""The same elements without the history, and Tensors that leave their elements for others.

In flow Tensors; out flow Tensors that share their memory (`detach`, `data`), and the Tensors themselves,
without history (`detach_`) or in other memory (`leave`, `data = `). A counter of versions stays with the
memory: so the views of a Tensor that leaves are told from those made afterwards.
"""

from __future__ import annotations

from retrograd.compiler.errors import ArgumentError, GradientError, mirrored
from retrograd.compiler.ir.graph import Value
from retrograd.runtime.eager.inplace import changed
from retrograd.runtime.eager.opnodes import counter_of
from retrograd.runtime.eager.views import Alias, stay_behind
from retrograd.runtime.modes import INFERENCE, STATE
from retrograd.runtime.tensor import Tensor, method


def leave(tensor: Tensor, value: Value) -> None:
    """Another value in place of a Tensor's, which its views go on showing."""
    if tensor._counter is not None and tensor._counter is not INFERENCE:
        if tensor._edge is not None:
            stay_behind(tensor)
        tensor._counter = tensor._counter[:1]
    tensor._value, tensor._view = value, None


def _alias(tensor: Tensor, shares_version: bool) -> Tensor:
    """Another Tensor of the same elements, without history. Inside a trace, a view that sees its base's
    updates.
    """
    if tensor._view is not None:
        tensor._view.refresh(tensor)
    trace = STATE.trace
    result = Tensor(tensor._value if trace is None else trace.cut(tensor))
    if trace is not None:
        trace.detached = True
        counter = result._counter = counter_of(tensor)
        result._view = Alias(tensor, (), False, counter[0])
        trace.views.append(result._view)
        trace.lay(result, trace.strides(tensor))
    elif shares_version or tensor._counter is INFERENCE:
        result._counter = counter_of(tensor)
    else:
        result._counter = None
    return result


@method()
def detach(self: Tensor) -> Tensor:
    """The same elements, sharing memory, without history."""
    return _alias(self, shares_version=True)


@method()
def detach_(self: Tensor) -> Tensor:
    """Forget this Tensor's own history."""
    if self._view is not None and not isinstance(self._view, Alias):
        raise GradientError(
            mirrored(
                "Can't detach views in-place. Use detach() instead. If you are using DistributedDataParallel "
                "(DDP) for training, and gradient_as_bucket_view is set as True, gradients are views of DDP "
                "buckets, and hence detach_() cannot be called on these gradients. To fix this error, please "
                "refer to the Optimizer.zero_grad() function in torch/optim/optimizer.py as the solution."
            )
        )
    trace = STATE.trace
    if trace is not None:
        trace.remember(self)
        if trace.owns(self):
            self._value = trace.cut(self)
    self._edge, self._requires_grad = None, False
    return self


def _data(self: Tensor) -> Tensor:
    """The same elements, sharing memory; changes through it are seen by no version check."""
    return _alias(self, shares_version=False)


def _set_data(self: Tensor, new: Tensor) -> None:
    if not isinstance(new, Tensor):
        raise ArgumentError(mirrored(f"Variable data has to be a tensor, but got {type(new).__name__}"))
    if self._requires_grad and not new.dtype.is_inexact:
        raise GradientError(
            mirrored("data set to a tensor that requires gradients must be floating point or complex dtype")
        )
    trace = STATE.trace
    if trace is None:
        leave(self, new._value)
        return
    node = trace.lift(new)
    trace.leave_views(self)
    if not trace.owns(self):
        trace.replace(self, node)
        changed(self)
        return
    counter = self._counter = counter_of(new)
    self._value, self._view = node, Alias(new, (), False, counter[0])
    trace.lay(self, trace.strides(new))


setattr(Tensor, "data", property(_data, _set_data))  # noqa: B010  # entered, as methods are
