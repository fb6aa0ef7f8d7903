"""Derivatives compared with difference quotients.

In flow a function and its operands in double precision, out flows True, or a GradcheckError that shows both
Jacobians. `gradcheck` tries the first derivative, `gradgradcheck` the second. As `torch.autograd.gradcheck`.

A Jacobian has a row for each element of the operand. Its products come in three ways, all with plain vectors:
along one of the operand by central differences (`moved`) and by forward mode (`pushed`), along one of the
output by a backward pass (`pulled`). Slow mode compares them for all unit vectors, fast mode for one random
pair.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from retrograd.compiler import dtypes
from retrograd.compiler.errors import ArgumentError, GradientError, RequirementError, mirrored, warn
from retrograd.compiler.ir.graph import Array
from retrograd.compiler.ops.complexes import as_complex, as_real
from retrograd.compiler.record import record
from retrograd.runtime.autograd import forward_ad
from retrograd.runtime.autograd.differentiation import grad
from retrograd.runtime.tensor import Tensor, new

TensorFunction = Callable[..., Any]


class GradcheckError(GradientError):
    """The derivative is not what the difference quotients say."""


def gradcheck(
    func: TensorFunction, inputs: Any, *, eps: float = 1e-6, atol: float = 1e-5, rtol: float = 1e-3,
    raise_exception: bool = True, nondet_tol: float = 0.0, check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False, check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False, check_forward_ad: bool = False, check_backward_ad: bool = True,
    fast_mode: bool = False, masked: bool | None = None,
) -> bool:  # fmt: skip
    """Whether the gradients of all floating outputs by all operands that require grad agree with central
    differences.

    `nondet_tol` is how far two backward passes may differ. `check_forward_ad` compares forward mode, too;
    `check_undefined_grad` tries outputs without a cotangent, `check_batched_grad` several cotangents at
    once, `check_grad_dtypes` the gradients' dtypes. `fast_mode` compares products with one pair of random
    vectors in place of whole Jacobians. `check_batched_forward_grad` and `masked` change nothing: tangents
    are computed one at a time here, and there are no sparse Tensors. What is complex is compared by its real
    and imaginary parts. Where derivatives do not agree:
    GradcheckError, or False without `raise_exception`.
    """
    _require(check_forward_ad or check_backward_ad, "check_forward_ad or check_backward_ad")
    _require_for(check_batched_grad, "check_batched_grad", check_backward_ad, "check_backward_ad")
    _require_for(
        check_batched_forward_grad, "check_batched_forward_grad", check_forward_ad, "check_forward_ad"
    )
    operands = _tuple(inputs)
    places = _checked(operands)
    check = _Check(*_by_parts(func, operands), places, eps, atol, rtol, nondet_tol, fast_mode)
    steps: list[tuple[bool, Callable[[], None]]] = [
        (True, partial(check.jacobians, check_forward_ad, check_backward_ad)),
        (check_grad_dtypes and check_backward_ad, check.dtypes),
        (check_undefined_grad and check_backward_ad, check.undefined),
        (check_batched_grad, check.batched),
    ]
    try:
        for wanted, step in steps:
            if wanted:
                step()
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: TensorFunction, inputs: Any, grad_outputs: Any = None, *, eps: float = 1e-6, atol: float = 1e-5,
    rtol: float = 1e-3, gen_non_contig_grad_outputs: bool = False, raise_exception: bool = True,
    nondet_tol: float = 0.0, check_undefined_grad: bool = True, check_grad_dtypes: bool = False,
    check_batched_grad: bool = False, check_fwd_over_rev: bool = False, check_rev_over_rev: bool = True,
    fast_mode: bool = False, masked: bool = False,
) -> bool:  # fmt: skip
    """`gradcheck` of the gradients, by the operands and by `grad_outputs`: random ones, if none are given,
    not contiguous with `gen_non_contig_grad_outputs`. `check_fwd_over_rev` compares their forward mode.
    """
    _require(check_fwd_over_rev or check_rev_over_rev, "check_fwd_over_rev or check_rev_over_rev")
    _require_for(check_undefined_grad, "check_undefined_grad", check_rev_over_rev, "check_rev_over_rev")
    _require_for(check_batched_grad, "check_batched_grad", check_rev_over_rev, "check_rev_over_rev")
    operands = _tuple(inputs)
    if grad_outputs is None:
        seeds = [_random_like(y, gen_non_contig_grad_outputs) for y in _outputs(func, operands)]
    else:
        seeds = list(_tuple(grad_outputs))
    tracked = [isinstance(x, Tensor) and x.requires_grad for x in operands]

    def gradients(*both: Any) -> tuple[Tensor, ...]:
        xs = [
            x.requires_grad_() if is_tracked else x
            for x, is_tracked in zip(both[: len(operands)], tracked, strict=True)
        ]
        wanted = [x for x, is_tracked in zip(xs, tracked, strict=True) if is_tracked]
        found = grad(
            _outputs(func, tuple(xs)), wanted, both[len(operands) :], create_graph=True, allow_unused=True
        )
        return tuple(g for g in found if g is not None)

    return gradcheck(
        gradients,
        (*operands, *(seed.requires_grad_() for seed in seeds)),
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad,
        check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad,
        check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev,
        fast_mode=fast_mode,
    )


@record(slots=True)
class _Check:
    """A function at its operands, and what counts as equal."""

    func: TensorFunction
    operands: tuple[Any, ...]
    places: Sequence[int]
    """Of the operands that require grad."""
    eps: float
    atol: float
    rtol: float
    nondet_tol: float
    fast: bool

    def jacobians(self, forward: bool, backward: bool) -> None:
        """Of each output by each operand: those of either mode are as central differences say."""
        outputs = _outputs(self.func, self.operands)
        if not outputs:
            return self._without_outputs()
        for k, output in enumerate(outputs):
            for place in self.places:
                size, pair = self.operands[place].numel(), None
                if self.fast:
                    pair = (_direction(size, place), _direction(output.numel(), k))
                numerical = _rows(partial(self.moved, k, place), size, pair)
                if backward:
                    found = _columns(partial(self.pulled, output, place), output.numel(), pair)
                    self._compare(found, numerical, k, place, pair, "")
                    again = _columns(partial(self.pulled, output, place), output.numel(), pair)
                    self._same(found, again)
                if forward:
                    found = _rows(partial(self.pushed, k, place), size, pair)
                    self._compare(found, numerical, k, place, pair, "computed with forward mode ")
        return None

    def moved(self, k: int, place: int, u: Array) -> Array:
        """The k-th output's difference quotient along `u`."""
        fixed = self.operands[place].detach().cpu().numpy()
        ends = []
        for step in (self.eps, -self.eps):
            there = new(np.asarray(fixed + step * u.reshape(fixed.shape), fixed.dtype), self.operands[place])
            outputs = _floating(self.func, self._with(place, there.requires_grad_()))
            ends.append(_flat(outputs[k]).astype(float))
        quotient: Array = (ends[0] - ends[1]) / (2 * self.eps)
        return quotient

    def pushed(self, k: int, place: int, u: Array) -> Array:
        """The k-th output's tangent, where this operand's is `u`."""
        operand = self.operands[place]
        direction = new(u.reshape(operand.shape).astype(operand.dtype.numpy), operand)
        with forward_ad.dual_level():
            dual = forward_ad.make_dual(operand.detach(), direction)
            output = _floating(self.func, self._with(place, dual))[k]
            tangent = forward_ad.unpack_dual(output).tangent
        return np.zeros(output.numel()) if tangent is None else _flat(tangent)

    def pulled(self, output: Tensor, place: int, v: Array) -> Array:
        """This operand's gradient, where the output's cotangent is `v`."""
        seed = new(v.reshape(output.shape).astype(output.dtype.numpy), output)
        operand = self.operands[place]
        (found,) = grad(output, operand, seed, retain_graph=True, allow_unused=True)
        return np.zeros(operand.numel()) if found is None else _flat(found)

    def dtypes(self) -> None:
        """Gradients are of their operands' dtypes."""
        for output in _outputs(self.func, self.operands):
            for g, x in zip(self._gradients([output], [_ones(output)]), self._wanted(), strict=True):
                if g is not None and g.dtype is not x.dtype:
                    raise GradcheckError(mirrored("Gradient has dtype mismatch"))

    def undefined(self) -> None:
        """Without cotangents, or without one of several, there are no gradients but zeros."""
        outputs = _outputs(self.func, self.operands)
        chosen = [outputs] if len(outputs) == 1 else [outputs, *([y] for y in outputs)]
        for given in chosen:
            try:
                found = self._gradients(given, [_ones(y) * 0 for y in given])
            except RuntimeError as error:
                raise GradcheckError(
                    mirrored("Expected backward function to handle undefined output grads.")
                ) from error
            if any(g is not None and _flat(g).any() for g in found):
                raise GradcheckError(
                    mirrored(
                        "Expected all input grads to be undefined or zero when all output grads are "
                        "undefined or zero."
                    )
                )

    def batched(self) -> None:
        """Two cotangents at once give the gradients that they give one after the other."""
        for k, output in enumerate(_outputs(self.func, self.operands)):
            seeds = [_normal_like(output) for _ in range(2)]
            both = self._gradients([output], [new(np.stack(seeds), output)], batched=True)
            each = [self._gradients([output], [new(seed, output)]) for seed in seeds]
            for place, (together, *apart) in zip(self.places, zip(both, *each, strict=True), strict=True):
                alone = [0 * self.operands[place] if g is None else g for g in apart]
                found = np.zeros(2 * self.operands[place].numel()) if together is None else _flat(together)
                if not self._close(found, np.concatenate([*map(_flat, alone)])):
                    raise GradcheckError(
                        f"batched gradients of output {k} with respect to input {place} differ"
                    )

    # ---- helpers -------------------------------------------------------------------------------------------

    def _with(self, place: int, operand: Tensor) -> tuple[Any, ...]:
        return (*self.operands[:place], operand, *self.operands[place + 1 :])

    def _wanted(self) -> list[Tensor]:
        return [self.operands[place] for place in self.places]

    def _gradients(
        self, outputs: list[Tensor], seeds: list[Tensor], batched: bool = False
    ) -> tuple[Tensor | None, ...]:
        found: tuple[Tensor | None, ...] = grad(
            outputs, self._wanted(), seeds, retain_graph=True, allow_unused=True, is_grads_batched=batched
        )
        return found

    def _close(self, found: Array, expected: Array, scale: float = 1.0) -> bool:
        return np.allclose(found, expected, self.rtol, self.atol * scale, equal_nan=True)

    def _compare(self, found: Array, numerical: Array, k: int, place: int, pair: _Pair, how: str) -> None:
        scale = 1.0 if pair is None else float(pair[0].sum() * pair[1].sum())  # the tolerance is per element
        if not self._close(found, numerical, scale):
            hint = "" if pair is None else "These are products with random vectors; see fast_mode=False.\n"
            raise GradcheckError(
                mirrored(
                    f"Jacobian {how}mismatch for output {k} with respect to input {place},\n"
                    f"numerical:{new(numerical)}\nanalytical:{new(found)}\n{hint}"
                )
            )

    def _same(self, once: Array, again: Array) -> None:
        if np.abs(once - again).max(initial=0) > self.nondet_tol:
            raise GradcheckError(
                mirrored(
                    "Backward is not reentrant, i.e., running backward with same input and grad_output "
                    "multiple times gives different values, although analytical gradient matches "
                    "numerical gradient."
                    f"The tolerance for nondeterminism was {self.nondet_tol}."
                )
            )

    def _without_outputs(self) -> None:
        """Nothing can be differentiated, so nothing may change either."""
        for k, output in enumerate(_floating(self.func, self.operands)):
            for place in self.places:
                for u in np.eye(self.operands[place].numel()):
                    if output.numel() and self.moved(k, place, u).any():
                        raise GradcheckError(mirrored("Numerical gradient for function expected to be zero"))


# ---- Jacobians ---------------------------------------------------------------------------------------------

_Pair = tuple[Array, Array] | None
"""Vectors of an operand and an output, whose product with the Jacobian stands for it; None for all units."""


def _rows(product: Callable[[Array], Array], size: int, pair: _Pair) -> Array:
    """The Jacobian, a row for each element of the operand, by products along those; or the pair's product."""
    if pair is not None:
        return np.asarray(product(pair[0]) @ pair[1])
    return np.array([product(unit) for unit in np.eye(size)]) if size else np.zeros((0, 0))


def _columns(product: Callable[[Array], Array], size: int, pair: _Pair) -> Array:
    """The same by products along the elements of the output."""
    if pair is not None:
        return np.asarray(product(pair[1]) @ pair[0])
    return np.array([product(unit) for unit in np.eye(size)]).T if size else np.zeros((0, 0))


def _direction(size: int, seed: int) -> Array:
    """A random vector of length 1, nowhere negative, so that errors do not cancel."""
    found: Array = np.random.default_rng(seed).random(size) + 1e-3
    length: Array = np.sqrt((found * found).sum())
    return found / length


def _flat(x: Tensor) -> Array:
    elements: Array = x.detach().cpu().numpy()
    return elements.ravel()


def _ones(x: Tensor) -> Tensor:
    return new(np.ones(x.shape, x.dtype.numpy), x)


def _normal_like(x: Tensor) -> Array:
    found: Any = new(np.empty(x.shape, x.dtype.numpy), x)
    array: Array = found.normal_().cpu().numpy()
    return array


def _random_like(x: Tensor, strided: bool) -> Tensor:
    """Cotangents between -1 and 1, PyTorch's; with `strided` every other element of memory."""
    found: Any = new(np.empty(x.shape, x.dtype.numpy), x)
    found.uniform_(-1, 1)
    cotangents: Tensor = found.repeat_interleave(2, -1)[..., ::2] if strided and x.ndim else found
    return cotangents


# ---- what is asked -----------------------------------------------------------------------------------------


def _require(given: bool, either: str) -> None:
    if not given:
        raise RequirementError(mirrored(f"Expected at least one of {either} to be True"))


def _require_for(wanted: bool, name: str, given: bool, needed: str) -> None:
    if wanted and not given:
        raise RequirementError(mirrored(f"Setting {name}=True requires {needed} to be True"))


def _checked(operands: tuple[Any, ...]) -> list[int]:
    """The places of operands that require grad; PyTorch warns of those that are not precise enough."""
    places = [k for k, x in enumerate(operands) if isinstance(x, Tensor) and x.requires_grad]
    for place in places:
        x = operands[place]
        if x.dtype not in (dtypes.float64, dtypes.complex128):
            warn(
                f"Input #{place} requires gradient and is not a double precision floating point or complex. "
                "This check will likely fail if all the inputs are not of double precision floating point or "
                "complex. "
            )
        if any(step == 0 and size > 1 for step, size in zip(x.stride(), x.shape, strict=True)):
            raise GradientError(
                mirrored(
                    f"The {place}th input has a dimension with stride 0. gradcheck only supports inputs that "
                    "are non-overlapping to be able to compute the numerical gradients correctly. You should "
                    "call .contiguous on the input before passing it to gradcheck."
                )
            )
    if not places:
        raise ArgumentError(
            mirrored(
                "gradcheck expects at least one input tensor to require gradient, but none of them have "
                "requires_grad=True."
            )
        )
    return places


def _by_parts(func: TensorFunction, operands: tuple[Any, ...]) -> tuple[TensorFunction, tuple[Any, ...]]:
    """The function from the parts of complex operands that require grad to those of its complex outputs."""

    def is_complex(x: Any) -> bool:
        return isinstance(x, Tensor) and x.dtype.is_complex

    taken = [is_complex(x) and x.requires_grad for x in operands]

    def of_parts(*given: Any) -> tuple[Any, ...]:
        whole = [as_complex(x) if apart else x for x, apart in zip(given, taken, strict=True)]
        return tuple(as_real(y) if is_complex(y) else y for y in _tuple(func(*whole)))

    parts = [
        as_real(x.detach()).clone().requires_grad_() if apart else x
        for x, apart in zip(operands, taken, strict=True)
    ]
    return of_parts, tuple(parts)


def _tuple(inputs: Any) -> tuple[Any, ...]:
    return tuple(inputs) if isinstance(inputs, Sequence) else (inputs,)


def _floating(func: TensorFunction, operands: tuple[Any, ...]) -> list[Tensor]:
    """The outputs that have derivatives where anything has."""
    return [y for y in _tuple(func(*operands)) if isinstance(y, Tensor) and y.dtype.is_inexact]


def _outputs(func: TensorFunction, operands: tuple[Any, ...]) -> list[Tensor]:
    return [y for y in _tuple(func(*operands)) if isinstance(y, Tensor) and y.requires_grad]
