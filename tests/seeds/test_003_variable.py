"""Document 003: The `Variable` of the first releases, which is the Tensor now.

The document's own outputs (`Variable containing: … [torch.FloatTensor of size 2x2]`, `AddConstant object`)
are of the 0.1 release; the texts here are today's PyTorch's for the same program.
"""

from __future__ import annotations

import pytest
from document import Cell, check

CELLS = [
    Cell(
        """\
import {torch} as torch
from {torch}.autograd import Variable
torch.manual_seed(3)  # added
""",
    ),
    Cell(
        """\
x = Variable(torch.ones(2, 2), requires_grad=True)
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
try:  # added: Variable.creator was renamed to grad_fn
    print(y.creator)
except AttributeError as error:  # added
    print(error)  # added
""",
        """\
'Tensor' object has no attribute 'creator'
""",
    ),
    Cell(
        """\
z = y * y * 3
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
out.backward()
print(x.grad)
""",
        """\
tensor([[4.5000, 4.5000],
        [4.5000, 4.5000]])
""",
    ),
    Cell(
        """\
x = torch.randn(3)
x = Variable(x, requires_grad=True)

y = x * 2
while y.data.norm() < 1000:
    y = y * 2

print(y)
""",
        """\
tensor([1645.1094,  358.0588,  182.2271], grad_fn=<MulBackward0>)
""",
        rounding=0.0001,
    ),
    Cell(
        """\
gradients = torch.FloatTensor([0.1, 1.0, 0.0001])
y.backward(gradients)

print(x.grad)
""",
        """\
tensor([2.0480e+02, 2.0480e+03, 2.0480e-01])
""",
    ),
    Cell(
        """\
x = Variable(torch.ones(2, 2), requires_grad=True)  # added: what the document says between its cells
out = (3 * (x + 2) ** 2).mean()
print(x.data, isinstance(x, Variable))
try:  # a scalar had one axis then
    out.backward(torch.Tensor([1.0]))
except RuntimeError as error:
    print(error)
out.backward(torch.tensor(1.0), retain_graph=True)
out.backward()
print(x.grad)  # accumulated
""",
        """\
tensor([[1., 1.],
        [1., 1.]]) True
Mismatch in shape: grad_output[0] has a shape of torch.Size([1]) and output[0] has a shape of torch.Size([]).
tensor([[9., 9.],
        [9., 9.]])
""",
    ),
]


def test_every_cell_prints_what_it_is_to_print() -> None:
    check(CELLS, "retrograd")


@pytest.mark.usefixtures("torch")
def test_pytorch_prints_it_too() -> None:
    check(CELLS, "torch")
