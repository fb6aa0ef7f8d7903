"""An operation with a custom derivative: ReLU as an `autograd.Function`, eager and compiled."""

from __future__ import annotations

from typing import Any

import retrograd as rg


class MyReLU(rg.autograd.Function):
    """max(x, 0), whose derivative lets pass what was positive."""

    @staticmethod
    def forward(ctx: Any, input: Any) -> Any:
        ctx.save_for_backward(input)
        return input.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        (input,) = ctx.saved_tensors
        grad_input = grad_outputs[0].clone()
        grad_input[input < 0] = 0
        return grad_input


def loss(x: Any, y: Any, w1: Any, w2: Any) -> Any:
    y_pred = MyReLU.apply(x.mm(w1)).mm(w2)
    return (y_pred - y).pow(2).sum()


def main() -> None:
    rg.manual_seed(0)
    x, y = rg.randn(64, 1000), rg.randn(64, 10)
    w1, w2 = rg.randn(1000, 100, requires_grad=True), rg.randn(100, 10, requires_grad=True)
    compiled = rg.compile_grad(wrt=("w1", "w2"))(loss)
    eager = rg.autograd.grad(loss(x, y, w1, w2), (w1, w2))
    off = max(((a - b).norm() / b.norm()).item() for a, b in zip(compiled.grad(x, y, w1, w2), eager))
    print(f"gradients differ from those of eager mode by {off:.1e}")
    for step in range(500):
        value, gradients = compiled.value_and_grad(x, y, w1, w2)
        if step % 100 == 0:
            print(f"step {step:3}   loss {value.item():.6g}")
        with rg.no_grad():
            for w, gradient in zip((w1, w2), gradients):
                w -= 1e-6 * gradient


if __name__ == "__main__":
    main()
