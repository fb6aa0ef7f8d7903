# ruff: noqa: E501  # the long lines are the document's
"""Document 004: Cotangents, accumulated gradients, and what is said of a graph that is gone.

The document's own outputs are of the 0.4 release, which padded numbers and did not print `requires_grad`; the texts
here are today's PyTorch's for the same program.
"""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from document import ADDRESS, Cell, check

import retrograd

CELLS = [
    Cell(
        """\
import {torch} as torch
import {torch}.nn as nn
from {torch}.autograd import Variable
import {torch}.optim as optim
import {torch}.nn.functional as F
# left out: import torchvision
import numpy as np
from collections import OrderedDict

torch.manual_seed(1)

import numpy as np
# left out: import matplotlib.pyplot as plt
# left out: %matplotlib inline
""",
    ),
    Cell(
        """\
# tensor를 생성하고 연산을 추적하기 위해 requries_grad=True로 설정함.
x= torch.ones(2,2, requires_grad=True)
print(x)
""",
        """\
tensor([[1., 1.],
        [1., 1.]], requires_grad=True)
""",
    ),
    Cell(
        """\
print(x.data)
""",
        """\
tensor([[1., 1.],
        [1., 1.]])
""",
    ),
    Cell(
        """\
print(x.grad) # 현재 gradient를 계산하지 않음
""",
        """\
None
""",
    ),
    Cell(
        """\
print(x.grad_fn) # 생성된 텐서임
""",
        """\
None
""",
    ),
    Cell(
        """\
# x에 대해 연산을 수행.
y= x+2
print(y)
""",
        """\
tensor([[3., 3.],
        [3., 3.]], grad_fn=<AddBackward0>)
""",
    ),
    Cell(
        """\
# 연산의 결과로 생성된 것이므로 grad_fn을 가짐.
print(y.grad_fn)
""",
        """\
<AddBackward0 object at 0x…>
""",
    ),
    Cell(
        """\
# y에 다른 연산을 수행
z= y*y*3
out= z.mean()
print(z)
print(out)
""",
        """\
tensor([[27., 27.],
        [27., 27.]], grad_fn=<MulBackward0>)
tensor(27., grad_fn=<MeanBackward0>)
""",
    ),
    Cell(
        """\
print(repr(z.grad_fn))  # added: a notebook shows it, without "object"
""",
        """\
<MulBackward0 object at 0x…>
""",
    ),
    Cell(
        """\
print(out)
out.backward()
print(x.grad)
""",
        """\
tensor(27., grad_fn=<MeanBackward0>)
tensor([[4.5000, 4.5000],
        [4.5000, 4.5000]])
""",
    ),
    Cell(
        """\
x= torch.ones(2,2, requires_grad=True)
y= 2*x+1
try:
    y.backward()
except Exception as e:
    print(e)
""",
        """\
grad can be implicitly created only for scalar outputs
""",
    ),
    Cell(
        """\
print(y)
""",
        """\
tensor([[3., 3.],
        [3., 3.]], grad_fn=<AddBackward0>)
""",
    ),
    Cell(
        """\
print(repr(torch.ones(2,2)))  # added: a notebook shows it
""",
        """\
tensor([[1., 1.],
        [1., 1.]])
""",
    ),
    Cell(
        """\
x= torch.ones(2,2, requires_grad=True)
y= 2*x+1
try:
    y.backward(torch.ones(2,2))
except Exception as e:
    print(e)
print(x.grad)
""",
        """\
tensor([[2., 2.],
        [2., 2.]])
""",
    ),
    Cell(
        """\
print(repr(torch.ones(2,2)*2))  # added: a notebook shows it
""",
        """\
tensor([[2., 2.],
        [2., 2.]])
""",
    ),
    Cell(
        """\
x= torch.ones(2,2, requires_grad=True)
y= 2*x+1
try:
    y.backward(torch.ones(2,2)*3)
except Exception as e:
    print(e)

print(x.grad)
""",
        """\
tensor([[6., 6.],
        [6., 6.]])
""",
    ),
    Cell(
        """\
x= torch.randn(2,2, requires_grad=True)
y= 2*x+2

z= y*y+2
z= z.sum()
try:
    z.backward() # retain_graph=True로 하면 내부 버퍼가 사라지는 것을 막아줌.

    print(x.grad)

    z.backward()
    print(x.grad)
except Exception as e:
    print(e)
""",
        """\
tensor([[13.2908, 10.1354],
        [ 8.4934, 12.9705]])
Trying to backward through the graph a second time (or directly access saved tensors after they have already been freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). Specify retain_graph=True if you need to backward through the graph a second time or if you need to access saved tensors after calling backward.
""",
        rounding=0.0001,
    ),
    Cell(
        """\
x= torch.randn(2,2, requires_grad=True)
y= 2*x+2

z= y*y+2
z= z.sum()
try:
    z.backward(retain_graph=True) # retain_graph=True로 하면 내부 버퍼가 사라지는 것을 막아줌.

    print(x.grad)

    z.backward()
    print(x.grad)
except Exception as e:
    print(e)
""",
        """\
tensor([[ 4.3848,  6.6710],
        [-4.1821, 11.0535]])
tensor([[ 8.7695, 13.3419],
        [-8.3643, 22.1069]])
""",
        rounding=0.0001,
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
# y에 다른 연산을 수행
z= y*y*3
out= z.mean()
print(z)
print(out)  # added: the cell again, as the document did last: its outputs of [21] and [22], chance included
""",
        """\
tensor([[ 3.6049,  8.3441],
        [ 3.2794, 22.9086]], grad_fn=<MulBackward0>)
tensor(9.5343, grad_fn=<MeanBackward0>)
""",
        rounding=0.0001,
    ),
    Cell(
        """\
try:  # added: the document's older name of retain_graph
    z.sum().backward(retain_variables=True)
except TypeError as error:
    print(error)
""",
        """\
Tensor.backward() got an unexpected keyword argument 'retain_variables'
""",
    ),
]


def test_every_cell_prints_what_it_is_to_print() -> None:
    check(CELLS, "retrograd")


@pytest.mark.usefixtures("torch")
def test_pytorch_prints_it_too() -> None:
    check(CELLS, "torch")


def test_a_notebook_shows_a_node_as_the_document_does() -> None:
    """[22], by what notebooks ask for."""
    z = (retrograd.ones(2, requires_grad=True) + 2) * 3
    assert z.grad_fn is not None
    found = io.StringIO()
    z.grad_fn._repr_pretty_(SimpleNamespace(text=found.write), False)
    assert ADDRESS.sub("0x…", found.getvalue()) == "<MulBackward0 at 0x…>"
