"""Document 000: The two-layer network by autograd, and with a Function of its own.

The document shows no outputs: the losses are PyTorch's from this seed, every fiftieth of them.
"""

from __future__ import annotations

import pytest
from document import Cell, check

import retrograd as rg

NOISE = 3e-6
"""The last loss is what rounding leaves: 5.86e-5 in float32, 3e-6 in float64."""
ROUNDING = 0.01
"""By step 300 rounding has moved the printed loss by 2.6 % (float64: 0.006884), by step 350 by 44 %; the
order in which products are summed, which processors choose, moves it by 0.5 %."""

CELLS = [
    Cell(
        """\
# -*- coding: utf-8 -*-
import {torch} as torch
torch.manual_seed(0)  # added

dtype = torch.float
device = torch.device("cpu")
# device = torch.device("cuda:0") # 해당 코드는 GPU에서 돌아가게 하는 코드!

# N 배치 사이즈; D_in 인풋의 차원 # 여기선 위 그림의 세로 길이라고 생각하면 된다.
# H 은닉층의 차원; D_out 아웃풋의 차원
N, D_in, H, D_out = 64, 1000, 100, 10

# 임의의 인풋 아웃풋 텐서를 만든다.
# requires_grad=False 라고 설정하는 것은 역전파 전달 시
# 해당 텐서는 기울기 계산이 필요없다는 것을 의미한다. (즉, 업데이트가 필요없다!)
# 일반적으로 텐서를 만들 때, False가 기본으로 설정되어 있다.

x = torch.randn(N, D_in, device=device, dtype=dtype)
y = torch.randn(N, D_out, device=device, dtype=dtype)

# 가충치 텐서들을 임의로 생성한다.
# requires_grad=True 라고 설정하는 것은 역전파 전달 시
# 해당 텐서는 기울기 계산이 필요없다는 것을 의미한다. (즉, 업데이트가 필요하다!)
w1 = torch.randn(D_in, H, device=device, dtype=dtype, requires_grad=True)
w2 = torch.randn(H, D_out, device=device, dtype=dtype, requires_grad=True)

learning_rate = 1e-6
for t in range(500):
    # 순전파 : 텐서들의 연산을 통해서 예측되는 y을 계산하는 과정.
    # 그렇다면 이 전 코드와는 무엇이 다를까? autograd를 사용하지 않았을 때는
    # 후에 역전파 계산을 위한 중간결과값을 하나하나 저장해놔야 했다.
    #그러나 지금은 그런 계산 없이 바로 최종 y까지 한번에 연산식을 구하면 된다.
    y_pred = x.mm(w1).clamp(min=0).mm(w2)

    # 손실을 구해보자.
    # torch 0.4 버젼부터는 loss가 shape(1,) 1차원 텐서로 나온다
    # 그리고 loss.item()은 loss를 일반 스칼라값으로 변환하여 준다.
    # 생각보다 중요한 포인트다. 후에 메모리가 터지지 않으려면 loss는 스칼라값으로 갖고 있자.
    loss = (y_pred - y).pow(2).sum()
    print(t, loss.item())

    # 이제 역전파 계산을 위해서 autograd를 사용해보자. backward() 함수를 부른다는 것은
    # loss를 구하기 위해 사용되었던 텐서 중 requires_grad=True 라고 설정된 모든 텐서들의
    # 기울기를 구하라는 것이다. 이게 실행되고 나면 w1.grad와 w2.grad라는 해당 포인트에서
    # w1과 w2에 대한 loss의 기울기 값을 가지고 있는 텐서가 생성된다.
    loss.backward()

    # 기울기 하강법을 이용하여 가중치들을 업데이트 시켜보자. 코드를 보면 해당 부분이
    # torch.no_grad()로 감싸져 있는 것을 볼 수 있는데, 이것은 autograd가 연산을 추적하지
    # 하지 않아도 되기 때문이다. (이걸로 또 업데이트 할거 아니니까)
    # 다른 방법으로는 w.data 와 w.grad.data 를 사용하는 것이다.
    # Tensor.data는 Tensor와는 같은 저장공간을 활용하지만, 그 연산기록을 저장하지는 않는다.
    # 또는 그냥 torch.optim.SGD 를 이용해서 할 수도 있다.
    with torch.no_grad():
        w1 -= learning_rate * w1.grad
        w2 -= learning_rate * w2.grad

        # Manually zero the gradients after updating weights
        w1.grad.zero_()
        w2.grad.zero_()
""",
        """\
0 29428664.0
50 12694.0283203125
100 402.08123779296875
150 21.443159103393555
200 1.37167227268219
250 0.0949455052614212
300 0.007062416523694992
350 0.0007437523454427719
400 0.0001590483298059553
450 5.860175588168204e-05
""",
        rounding=ROUNDING,
        noise=NOISE,
        every=50,
    ),
    Cell(
        """\
# -*- coding: utf-8 -*-
import {torch} as torch
torch.manual_seed(0)  # added


class MyReLU(torch.autograd.Function):
    \"\"\"
    We can implement our own custom autograd Functions by subclassing
    torch.autograd.Function and implementing the forward and backward passes
    which operate on Tensors.
    \"\"\"

    @staticmethod
    def forward(ctx, input):
        \"\"\"
        In the forward pass we receive a Tensor containing the input and return
        a Tensor containing the output. ctx is a context object that can be used
        to stash information for backward computation. You can cache arbitrary
        objects for use in the backward pass using the ctx.save_for_backward method.
        \"\"\"
        ctx.save_for_backward(input)
        return input.clamp(min=0)

    @staticmethod
    def backward(ctx, grad_output):
        \"\"\"
        In the backward pass we receive a Tensor containing the gradient of the loss
        with respect to the output, and we need to compute the gradient of the loss
        with respect to the input.
        \"\"\"
        input, = ctx.saved_tensors
        grad_input = grad_output.clone()
        grad_input[input < 0] = 0
        return grad_input


dtype = torch.float
device = torch.device("cpu")
# device = torch.device("cuda:0") # Uncomment this to run on GPU

# N is batch size; D_in is input dimension;
# H is hidden dimension; D_out is output dimension.
N, D_in, H, D_out = 64, 1000, 100, 10

# Create random Tensors to hold input and outputs.
x = torch.randn(N, D_in, device=device, dtype=dtype)
y = torch.randn(N, D_out, device=device, dtype=dtype)

# Create random Tensors for weights.
w1 = torch.randn(D_in, H, device=device, dtype=dtype, requires_grad=True)
w2 = torch.randn(H, D_out, device=device, dtype=dtype, requires_grad=True)

learning_rate = 1e-6
for t in range(500):
    # To apply our Function, we use Function.apply method. We alias this as 'relu'.
    relu = MyReLU.apply

    # Forward pass: compute predicted y using operations; we compute
    # ReLU using our custom autograd operation.
    y_pred = relu(x.mm(w1)).mm(w2)

    # Compute and print loss
    loss = (y_pred - y).pow(2).sum()
    print(t, loss.item())

    # Use autograd to compute the backward pass.
    loss.backward()

    # Update weights using gradient descent
    with torch.no_grad():
        w1 -= learning_rate * w1.grad
        w2 -= learning_rate * w2.grad

        # Manually zero the gradients after updating weights
        w1.grad.zero_()
        w2.grad.zero_()
""",
        """\
0 29428664.0
50 12694.0283203125
100 402.08123779296875
150 21.443159103393555
200 1.37167227268219
250 0.0949455052614212
300 0.007062416523694992
350 0.0007437523454427719
400 0.0001590483298059553
450 5.860175588168204e-05
""",
        rounding=ROUNDING,
        noise=NOISE,
        every=50,
    ),
    Cell(
        """\
import {torch} as torch  # added: from here the other ways that the document's comments name
torch.manual_seed(0)
x, y = torch.randn(64, 1000), torch.randn(64, 10)
w1, w2 = torch.randn(1000, 100, requires_grad=True), torch.randn(100, 10, requires_grad=True)
loss = (x.mm(w1).clamp(min=0).mm(w2) - y).pow(2).sum()
print(loss.shape, type(loss.item()), w1.grad)
loss.backward()
print(w1.data.data_ptr() == w1.data_ptr(), w1.data.requires_grad, w1.data.grad_fn, w1.grad.requires_grad)
for t in range(2):
    for w in (w1, w2):
        w.data -= 1e-6 * w.grad.data
        w.grad = None
    loss = (x.mm(w1).clamp(min=0).mm(w2) - y).pow(2).sum()
    print(t, loss.item())
    loss.backward()
""",
        """\
torch.Size([]) <class 'float'> None
True False None False
0 22739448.0
1 20605262.0
""",
        rounding=1e-5,
    ),
    Cell(
        """\
optimizer = torch.optim.SGD([w1, w2], lr=1e-6)
for t in range(2):
    optimizer.step()
    optimizer.zero_grad()
    loss = (x.mm(w1).clamp(min=0).mm(w2) - y).pow(2).sum()
    print(t, loss.item())
    loss.backward()
""",
        """\
0 19520378.0
1 17810226.0
""",
        rounding=1e-5,
    ),
]


def test_every_cell_prints_what_it_is_to_print() -> None:
    check(CELLS, "retrograd")


IN_DOUBLE_PRECISION = (
    29428664.04, 12694.02764, 402.0822586, 21.44304288, 1.371659161, 0.09494904912, 0.006883825497,
    0.000516421185, 3.983298425e-05, 3.14431254e-06,
)  # fmt: skip
"""The same losses in float64, from the same numbers: PyTorch's, which rounding does not move."""


def test_in_double_precision_each_loss_is_pytorchs() -> None:
    rg.manual_seed(0)
    x, y, w1, w2 = (rg.randn(*shape).double() for shape in ((64, 1000), (64, 10), (1000, 100), (100, 10)))
    w1.requires_grad_(), w2.requires_grad_()
    losses = []
    for _ in range(500):
        loss = (x.mm(w1).clamp(min=0).mm(w2) - y).pow(2).sum()
        losses.append(loss.item())
        gradients = rg.autograd.grad(loss, (w1, w2))
        with rg.no_grad():
            for w, gradient in zip((w1, w2), gradients):
                w -= 1e-6 * gradient
    assert losses[::50] == pytest.approx(IN_DOUBLE_PRECISION, rel=1e-8)


@pytest.mark.usefixtures("torch")
def test_pytorch_prints_it_too() -> None:
    check(CELLS, "torch")
