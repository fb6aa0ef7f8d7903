# ruff: noqa: E501  # the long lines are the document's
"""Document 002: A layer and a loss; gradient tracking switched on and off.

Outputs are the document's own, but where chance is in them PyTorch's from this seed.
"""

from __future__ import annotations

import pytest
from document import Cell, check

CELLS = [
    Cell(
        """\
import {torch} as torch
torch.manual_seed(2)  # added

x = torch.ones(5)  # 입력 텐서
y = torch.zeros(3) # 기대되는 출력
w = torch.randn(5, 3, requires_grad = True)
b = torch.randn(3, requires_grad = True)
z = torch.matmul(x, w) + b
loss = torch.nn.functional.binary_cross_entropy_with_logits(z, y)
print(z, loss)  # added
""",
        """\
tensor([-3.5586,  2.0573, -0.9383], grad_fn=<AddBackward0>) tensor(0.8453, grad_fn=<BinaryCrossEntropyWithLogitsBackward0>)
""",
        rounding=0.0001,
    ),
    Cell(
        """\
x = torch.ones(5)  # 입력 텐서
y = torch.zeros(3) # 기대되는 출력
w = torch.randn(5, 3)
b = torch.randn(3)
w = w.requires_grad_(True)
b = b.requires_grad_(True)
z = torch.matmul(x, w) + b
loss = torch.nn.functional.binary_cross_entropy_with_logits(z, y)
print(z, loss)  # added
""",
        """\
tensor([-1.8681,  0.5617, -2.1524], grad_fn=<AddBackward0>) tensor(0.4221, grad_fn=<BinaryCrossEntropyWithLogitsBackward0>)
""",
        rounding=0.0001,
    ),
    Cell(
        """\
loss.backward()
print(w.grad)
print(b.grad)
""",
        """\
tensor([[0.0446, 0.2123, 0.0347],
        [0.0446, 0.2123, 0.0347],
        [0.0446, 0.2123, 0.0347],
        [0.0446, 0.2123, 0.0347],
        [0.0446, 0.2123, 0.0347]])
tensor([0.0446, 0.2123, 0.0347])
""",
        rounding=0.0001,
    ),
    Cell(
        """\
z = torch.matmul(x, w)+b
print(z.requires_grad)

with torch.no_grad():
    z = torch.matmul(x, w)+b
print(z.requires_grad)
""",
        """\
True
False
""",
    ),
    Cell(
        """\
z = torch.matmul(x, w) + b
print(z.requires_grad)

with torch.no_grad():
    z = torch.matmul(x, w) + b
print(z.requires_grad)
""",
        """\
True
False
""",
    ),
    Cell(
        """\
z = torch.matmul(x, w)+b
z_det = z.detach()
print(z_det.requires_grad)
""",
        """\
False
""",
    ),
    Cell(
        """\
z = torch.matmul(x, w) + b
z_det = z.detach()
print(z_det.requires_grad)
""",
        """\
False
""",
    ),
]


def test_every_cell_prints_what_it_is_to_print() -> None:
    check(CELLS, "retrograd")


@pytest.mark.usefixtures("torch")
def test_pytorch_prints_it_too() -> None:
    check(CELLS, "torch")
