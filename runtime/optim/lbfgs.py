"""L-BFGS: steps by the curvature along the last steps (Nocedal and Wright, Numerical Optimization, ch. 7).

All parameters are one vector. `step(closure)` takes up to `max_iter` steps; with
`line_search_fn="strong_wolfe"` each has a length that satisfies the strong Wolfe conditions, found by
`wolfe.search`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from retrograd.compiler.errors import ArgumentError, mirrored
from retrograd.runtime.functions import FUNCTIONS
from retrograd.runtime.modes import enable_grad, no_grad
from retrograd.runtime.optim.optimizer import Closure, Optimizer, check_options
from retrograd.runtime.optim.update import by_parts
from retrograd.runtime.optim.wolfe import search
from retrograd.runtime.tensor import Tensor

_CURVED = 1e-10
"""Curvature from which on a step is remembered."""


class LBFGS(Optimizer):
    """Of one group of parameters. `lr` is the length of a step, where no line search finds one."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        check_options(lr=(lr >= 0.0, f"Invalid learning rate: {lr}"))
        super().__init__(
            params,
            {
                "lr": lr,
                "max_iter": max_iter,
                "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
                "tolerance_grad": tolerance_grad,
                "tolerance_change": tolerance_change,
                "history_size": history_size,
                "line_search_fn": line_search_fn,
            },
        )
        if len(self.param_groups) != 1:
            raise ArgumentError(mirrored("LBFGS doesn't support per-parameter options (parameter groups)"))

    @property
    def _params(self) -> list[Any]:
        return self.param_groups[0]["params"]  # type: ignore[no-any-return]  # what a group holds

    def _stepped(self, closure: Closure | None) -> Any:
        if closure is None:
            raise ArgumentError(
                mirrored("LBFGS.step() missing 1 required positional argument: 'closure'"),
                "",
                "pass one that computes the loss anew",
            )
        with no_grad():
            return _Descent(self, closure).run()

    # ---- all parameters as one vector ----------------------------------------------------------------------

    def _gradient(self) -> Tensor:
        """Complex ones by their real and imaginary parts."""
        gradients = [p.new_zeros(p.shape) if p.grad is None else p.grad for p in self._params]
        parts = [by_parts(g).reshape(-1) for g in gradients]
        vector: Tensor = FUNCTIONS["cat"](parts)
        return vector

    def _move(self, length: float, direction: Tensor) -> None:
        start = 0
        for p in map(by_parts, self._params):
            end = start + p.numel()
            p.add_(direction[start:end].reshape(p.shape), alpha=length)
            start = end


class _Descent:
    """One call of `step`. What it remembers is the state of the first parameter, as in PyTorch."""

    def __init__(self, owner: LBFGS, closure: Closure) -> None:
        self._owner = owner
        self._options = owner.param_groups[0]
        self._state = owner.state[owner._params[0]]
        for name, start in (("func_evals", 0), ("n_iter", 0)):
            self._state.setdefault(name, start)
        self._closure = closure
        self._calls = 0

    def _evaluate(self) -> tuple[Any, Tensor]:
        """The loss and its gradient where the parameters are now."""
        with enable_grad():
            loss = self._closure()
        self._calls += 1
        self._state["func_evals"] += 1
        return loss, self._owner._gradient()

    def _flat(self, gradient: Tensor) -> bool:
        return bool(gradient.abs().max() <= self._options["tolerance_grad"])

    def run(self) -> Any:
        options, state = self._options, self._state
        first, gradient = self._evaluate()
        loss = float(first.detach())
        if self._flat(gradient):
            return first
        for k in range(1, options["max_iter"] + 1):
            state["n_iter"] += 1
            direction = self._direction(gradient)
            before = loss
            state["prev_flat_grad"], state["prev_loss"] = gradient, before
            slope = float(gradient.dot(direction))
            state["d"] = direction
            length = float(options["lr"])
            if state["n_iter"] == 1:
                length *= min(1.0, 1.0 / float(gradient.abs().sum()))
            state["t"] = length
            if slope > -options["tolerance_change"]:
                break
            loss, gradient, length = self._go(direction, length, loss, gradient, slope, k)
            state["t"] = length
            if self._done(k, gradient, direction, length, loss - before):
                break
        return first

    def _done(self, k: int, gradient: Tensor, direction: Tensor, length: float, change: float) -> bool:
        options = self._options
        least = options["tolerance_change"]
        return (
            k == options["max_iter"]
            or self._calls >= options["max_eval"]
            or self._flat(gradient)
            or float(direction.abs().max()) * abs(length) <= least
            or abs(change) < least
        )

    def _go(
        self, direction: Tensor, length: float, loss: float, gradient: Tensor, slope: float, k: int
    ) -> tuple[float, Tensor, float]:
        """Move along the direction; the loss and gradient there, and how far it was."""
        kind = self._options["line_search_fn"]
        if kind is None:
            self._owner._move(length, direction)
            if k == self._options["max_iter"]:
                return loss, gradient, length  # nobody will ask for those of the last step
            value, gradient = self._evaluate()
            return float(value.detach()), gradient, length
        if kind != "strong_wolfe":
            raise ArgumentError(mirrored("only 'strong_wolfe' is supported"))
        return self._search(direction, length, loss, gradient, slope)

    def _search(
        self, direction: Tensor, length: float, loss: float, gradient: Tensor, slope: float
    ) -> tuple[float, Tensor, float]:
        start = [p.detach().clone() for p in self._owner._params]

        def there(length: float) -> tuple[float, Tensor, float]:
            self._owner._move(length, direction)
            value, gradient = self._evaluate()
            for p, x in zip(self._owner._params, start):
                p.copy_(x)
            return float(value.detach()), gradient, float(gradient.dot(direction))

        best = search(
            there,
            length,
            (loss, gradient, slope),
            float(direction.abs().max()),
            self._options["max_eval"] - self._calls,
        )
        self._owner._move(best.length, direction)
        return best.loss, best.gradient, best.length

    def _direction(self, gradient: Tensor) -> Tensor:
        """The gradient times the inverse of the curvature as far as it is known: the two-loop recursion."""
        state = self._state
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1)
            return -gradient
        self._remember(gradient - state["prev_flat_grad"], state["d"] * state["t"])
        memory = list(zip(state["old_dirs"], state["old_stps"], state["ro"]))
        shares = state.setdefault("al", [None] * self._options["history_size"])
        direction: Tensor = -gradient
        for k, (change, step, scale) in reversed(list(enumerate(memory))):
            shares[k] = step.dot(direction) * scale
            direction = direction - shares[k] * change
        direction = direction * state["H_diag"]
        for (change, step, scale), share in zip(memory, shares):
            direction = direction + (share - change.dot(direction) * scale) * step
        return direction

    def _remember(self, change: Tensor, step: Tensor) -> None:
        """How the gradient changed along a step."""
        state = self._state
        curvature = change.dot(step)
        if float(curvature) <= _CURVED:
            return
        new: dict[str, Callable[[], Any]] = {
            "old_dirs": lambda: change,
            "old_stps": lambda: step,
            "ro": lambda: 1.0 / curvature,
        }
        for name, value in new.items():
            kept = state[name][1:] if len(state[name]) == self._options["history_size"] else state[name]
            state[name] = [*kept, value()]
        state["H_diag"] = curvature / change.dot(change)
