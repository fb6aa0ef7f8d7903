"""Document 001: Tensors, `grad_fn`, gradients, a loop that looks at values, `no_grad` and `detach`.

Outputs are the document's own, but where chance is in them PyTorch's from this seed.
"""

from __future__ import annotations

import pytest
from document import Cell, check

CELLS = [
    Cell(
        """\
import {torch} as torch
torch.manual_seed(1)  # added
""",
    ),
    Cell(
        """\
x = torch.ones(2, 2, requires_grad=True)
print(x)
""",
        """\
tensor([[1., 1.],
        [1., 1.]], requires_grad=True)
""",
    ),
    Cell(
        """\
y = x + 2
print(y)
""",
        """\
tensor([[3., 3.],
        [3., 3.]], grad_fn=<AddBackward0>)
""",
    ),
    Cell(
        """\
print(y.grad_fn)
""",
        """\
<AddBackward0 object at 0x…>
""",
    ),
    Cell(
        """\
z = y*y*3 # z = 3(x+2)^2
out = z.mean()
print(z, out)
""",
        """\
tensor([[27., 27.],
        [27., 27.]], grad_fn=<MulBackward0>) tensor(27., grad_fn=<MeanBackward0>)
""",
    ),
    Cell(
        """\
a = torch.randn(2, 2)
a = ((a*3)/(a-1))
print(a.requires_grad)
""",
        """\
False
""",
    ),
    Cell(
        """\
a.requires_grad_(True)
print(a.requires_grad)
""",
        """\
True
""",
    ),
    Cell(
        """\
b = (a*a).sum()
print(b.grad_fn)
""",
        """\
<SumBackward0 object at 0x…>
""",
    ),
    Cell(
        """\
print(repr(out))  # added: a notebook shows it
""",
        """\
tensor(27., grad_fn=<MeanBackward0>)
""",
    ),
    Cell(
        """\
out.backward()
""",
    ),
    Cell(
        """\
print(repr(x))  # added: a notebook shows it
""",
        """\
tensor([[1., 1.],
        [1., 1.]], requires_grad=True)
""",
    ),
    Cell(
        """\
print(x.grad)
""",
        """\
tensor([[4.5000, 4.5000],
        [4.5000, 4.5000]])
""",
    ),
    Cell(
        """\
x = torch.randn(3, requires_grad=True)

y = x*2
while y.data.norm() < 1000: # norm -> l2 norm
    y = y * 2

print(y)
""",
        """\
tensor([ -462.7517,  -170.1174, -1559.3149], grad_fn=<MulBackward0>)
""",
        rounding=0.0001,
    ),
    Cell(
        """\
v = torch.tensor([0.1, 1.0, 0.0001], dtype=torch.float)
y.backward(v)

print(x.grad)
""",
        """\
tensor([1.0240e+02, 1.0240e+03, 1.0240e-01])
""",
    ),
    Cell(
        """\
print(x.requires_grad)
print((x**2).requires_grad)

with torch.no_grad():
    print((x**2).requires_grad)
""",
        """\
True
True
False
""",
    ),
    Cell(
        """\
print(x.requires_grad)
y = x.detach()
print(y.requires_grad)
print(x.eq(y).all())
""",
        """\
True
False
tensor(True)
""",
    ),
    Cell(
        """\
x = torch.ones(2, 2, requires_grad=True)  # added: from here what the document says between its cells
((x + 2) ** 2 * 3).mean().backward(torch.tensor(1.))
print(x.grad, x.grad_fn, torch.ones(1).requires_grad_().requires_grad)

def y(x):
    return 3 * (x + 2) ** 2

J = torch.autograd.functional.jacobian(y, x).reshape(4, 4)
v = torch.tensor([1., 2., 3., 4.])
print(J)
print(v @ J, J.T @ v)
print(torch.autograd.functional.vjp(y, x, v.reshape(2, 2))[1])
try:
    y(x).backward()
except RuntimeError as error:
    print(error)
""",
        """\
tensor([[4.5000, 4.5000],
        [4.5000, 4.5000]]) None True
tensor([[18.,  0.,  0.,  0.],
        [ 0., 18.,  0.,  0.],
        [ 0.,  0., 18.,  0.],
        [ 0.,  0.,  0., 18.]])
tensor([18., 36., 54., 72.]) tensor([18., 36., 54., 72.])
tensor([[18., 36.],
        [54., 72.]])
grad can be implicitly created only for scalar outputs
""",
    ),
]


def test_every_cell_prints_what_it_is_to_print() -> None:
    check(CELLS, "retrograd")


@pytest.mark.usefixtures("torch")
def test_pytorch_prints_it_too() -> None:
    check(CELLS, "torch")
