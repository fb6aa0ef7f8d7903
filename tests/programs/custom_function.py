"""Functions with a derivative of one's own: Legendre polynomial, straight-through binarisation, checked."""

import math

import torch
from torch import nn


class LegendrePolynomial3(torch.autograd.Function):
    @staticmethod
    def forward(ctx, input):
        ctx.save_for_backward(input)
        return 0.5 * (5 * input**3 - 3 * input)

    @staticmethod
    def backward(ctx, grad_output):
        (input,) = ctx.saved_tensors
        return grad_output * 1.5 * (5 * input**2 - 1)


x = torch.linspace(-math.pi, math.pi, 2000)
y = torch.sin(x)
a = torch.full((), 0.0, requires_grad=True)
b = torch.full((), -1.0, requires_grad=True)
c = torch.full((), 0.0, requires_grad=True)
d = torch.full((), 0.3, requires_grad=True)


def loss_of(x, y):
    y_pred = a + b * LegendrePolynomial3.apply(c + d * x)
    return (y_pred - y).pow(2).sum()


# compiled: loss_of = torch.compile_grad(loss_of)
learning_rate = 5e-6
for t in range(300):
    loss = loss_of(x, y)
    if t % 100 == 99:
        print(t, loss.item())
    loss.backward()
    with torch.no_grad():
        for p in (a, b, c, d):
            p -= learning_rate * p.grad
            p.grad = None
print(f"Result: y = {a.item()} + {b.item()} * P3({c.item()} + {d.item()} x)")


class Binarize(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, clip: float = 1.0):
        ctx.save_for_backward(x)
        ctx.clip = clip
        ctx.set_materialize_grads(False)
        return x.sign()

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        assert ctx.needs_input_grad[0]
        return g * (x.abs() <= ctx.clip).to(g.dtype), None


class MyExp(torch.autograd.Function):
    @staticmethod
    def forward(x):
        return x.exp()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx, grad):
        (result,) = ctx.saved_tensors
        return grad * result


torch.manual_seed(0)
w = torch.randn(4, 3, requires_grad=True)
out = Binarize.apply(w)
print(out, out.grad_fn.name())
(out * torch.arange(12.0).view(4, 3)).sum().backward()
print(w.grad)
v = torch.randn(3, dtype=torch.double, requires_grad=True)
print(torch.autograd.gradcheck(MyExp.apply, (v,)), torch.autograd.gradgradcheck(MyExp.apply, (v,)))
(g,) = torch.autograd.grad(MyExp.apply(v).sum(), v, create_graph=True)
print(torch.autograd.grad(g.sum(), v)[0] - v.exp())


class BinaryLinear(nn.Linear):
    def forward(self, x):
        return nn.functional.linear(x, Binarize.apply(self.weight), self.bias)


layer = BinaryLinear(3, 2)
opt = torch.optim.SGD(layer.parameters(), 0.05)
for _ in range(4):
    opt.zero_grad()
    loss = layer(torch.ones(5, 3)).square().mean()
    loss.backward()
    opt.step()
print(layer, loss)
