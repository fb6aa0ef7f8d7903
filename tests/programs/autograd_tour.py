"""Autograd: graphs, hooks, accumulated gradients, double backward, Jacobians, custom functions."""

import warnings

import torch
from torch.autograd import Function, gradcheck

warnings.simplefilter("ignore")
torch.manual_seed(0)
x = torch.ones(5)
y = torch.zeros(3)
w = torch.randn(5, 3, requires_grad=True)
b = torch.randn(3, requires_grad=True)
z = torch.matmul(x, w) + b
loss = torch.nn.functional.binary_cross_entropy_with_logits(z, y)
print(f"Gradient function for z = {z.grad_fn}")
print(f"Gradient function for loss = {loss.grad_fn}")
loss.backward()
print(w.grad)
print(b.grad)
z = torch.matmul(x, w) + b
print(z.requires_grad)
with torch.no_grad():
    z = torch.matmul(x, w) + b
print(z.requires_grad)
z = torch.matmul(x, w) + b
z_det = z.detach()
print(z_det.requires_grad)
inp = torch.eye(4, 5, requires_grad=True)
out = (inp + 1).pow(2).t()
out.backward(torch.ones_like(out), retain_graph=True)
print(f"First call\n{inp.grad}")
out.backward(torch.ones_like(out), retain_graph=True)
print(f"\nSecond call\n{inp.grad}")
inp.grad.zero_()
out.backward(torch.ones_like(out), retain_graph=True)
print(f"\nCall after zeroing gradients\n{inp.grad}")

x = torch.tensor([2.0, 3.0], requires_grad=True)
y = x**3
g = torch.autograd.grad(y.sum(), x, create_graph=True)[0]
print(g)
gg = torch.autograd.grad(g.sum(), x, create_graph=True)[0]
print(gg, gg.grad_fn)
y.sum().backward(create_graph=True)
print(x.grad)
x.grad = None
print(
    torch.autograd.functional.jacobian(lambda v: v**2, x),
    torch.autograd.functional.hessian(lambda v: (v**3).sum(), x),
)


def walk(fn, depth=0):
    if fn is None:
        print("  " * depth + "None")
        return
    print("  " * depth + fn.name())
    for child, _ in fn.next_functions:
        walk(child, depth + 1)


a = torch.randn(3, requires_grad=True)
c = torch.randn(3, requires_grad=True)
walk(((a * c).sum() + a.exp().mean() / 2).grad_fn)
walk(
    (
        torch.nn.functional.linear(
            torch.randn(2, 3), torch.randn(4, 3, requires_grad=True), torch.randn(4, requires_grad=True)
        )
        .relu()
        .max(1)[0]
        .sum()
    ).grad_fn
)
walk(torch.stack([a, c]).view(-1)[1:3].log_softmax(0)[0].grad_fn)

h = a * 2
h.register_hook(lambda grad: print("hook", grad))
h.retain_grad()
(h * h).sum().backward()
print(h.grad, a.grad, h.is_leaf, a.is_leaf)
handle = a.register_hook(lambda grad: grad * 2)
(a.sum()).backward()
handle.remove()
print(a.grad)


class Exp(Function):
    @staticmethod
    def forward(ctx, i):
        result = i.exp()
        ctx.save_for_backward(result)
        return result

    @staticmethod
    def backward(ctx, grad_output):
        (result,) = ctx.saved_tensors
        return grad_output * result


class Cube(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return CubeBackward.apply(x, g)


class CubeBackward(Function):
    @staticmethod
    def forward(ctx, x, g):
        ctx.save_for_backward(x, g)
        return 3 * x**2 * g

    @staticmethod
    def backward(ctx, gg):
        x, g = ctx.saved_tensors
        print("double backward", ctx.needs_input_grad)
        return 6 * x * g * gg, 3 * x**2 * gg


v = torch.randn(4, dtype=torch.double, requires_grad=True)
print(gradcheck(Exp.apply, (v,)), torch.autograd.gradgradcheck(lambda t: t.sin() * t, (v,)))
u = torch.tensor([1.0, 2.0], requires_grad=True)
out = Cube.apply(u)
print(out)
(d1,) = torch.autograd.grad(out.sum(), u, create_graph=True)
print(d1)
(d2,) = torch.autograd.grad(d1.sum(), u)
print(d2)
print(
    torch.autograd.grad(u.sum(), u, allow_unused=True),
    torch.autograd.grad((u * 2).sum(), [u, v], allow_unused=True),
)
for bad in (
    lambda: torch.ones(3, requires_grad=True).backward(),
    lambda: torch.ones(3).sum().backward(),
    lambda: (lambda loss: (loss.backward(), loss.backward()))((u * u).sum()),
    lambda: u.add_(1),
    lambda: u.numpy(),
    lambda: torch.autograd.grad(u.sum(), v),
    lambda: torch.tensor([1, 2], requires_grad=True),
    lambda: (
        (lambda e: (e.mul_(2), e.sum().backward()))(u.exp())
        if False
        else (lambda e: (e, e.exp()))(u)[1].sum().backward(torch.ones(2))
    ),
    lambda: Exp()(u),
    lambda: u.view(3),
):
    try:
        bad()
    except Exception as e:
        print(type(e).__mro__[-3].__name__, str(e).splitlines()[0])
e = u.exp()
s = e.sum()
e.mul_(2)
try:
    s = (e.sigmoid() * e).sum()
    e.add_(1)
    s.backward()
except RuntimeError as err:
    print(err)
with torch.autograd.set_detect_anomaly(True):
    try:
        q = torch.tensor([-1.0], requires_grad=True)
        q.sqrt().sum().backward()
    except RuntimeError as err:
        print(err)
with torch.enable_grad(), torch.inference_mode():
    print(torch.is_grad_enabled(), (u * 2).requires_grad, torch.is_inference_mode_enabled())
print(u.grad_fn, u.requires_grad, (u * 1).requires_grad_().requires_grad, u.detach().requires_grad_().is_leaf)
