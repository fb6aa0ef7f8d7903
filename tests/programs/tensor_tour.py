"""A tour of tensors: making, printing, indexing, the bridge to NumPy, in-place."""

import numpy as np
import torch

torch.manual_seed(0)
data = [[1, 2], [3, 4]]
x_data = torch.tensor(data)
np_array = np.array(data)
x_np = torch.from_numpy(np_array)
x_ones = torch.ones_like(x_data)
print(f"Ones Tensor: \n {x_ones} \n")
x_rand = torch.rand_like(x_data, dtype=torch.float)
print(f"Random Tensor: \n {x_rand} \n")
shape = (
    2,
    3,
)
print(torch.rand(shape), torch.ones(shape), torch.zeros(shape))
tensor = torch.rand(3, 4)
print(f"Shape of tensor: {tensor.shape}")
print(f"Datatype of tensor: {tensor.dtype}")
print(f"Device tensor is stored on: {tensor.device}")
tensor = torch.ones(4, 4)
print(f"First row: {tensor[0]}")
print(f"First column: {tensor[:, 0]}")
print(f"Last column: {tensor[..., -1]}")
tensor[:, 1] = 0
print(tensor)
t1 = torch.cat([tensor, tensor, tensor], dim=1)
print(t1)
y1 = tensor @ tensor.T
y2 = tensor.matmul(tensor.T)
y3 = torch.rand_like(y1)
print(torch.matmul(tensor, tensor.T, out=y3))
z1 = tensor * tensor
z3 = torch.rand_like(tensor)
torch.mul(tensor, tensor, out=z3)
agg = tensor.sum()
agg_item = agg.item()
print(agg_item, type(agg_item))
print(tensor, "\n")
tensor.add_(5)
print(tensor)
t = torch.ones(5)
print(f"t: {t}")
n = t.numpy()
print(f"n: {n}")
t.add_(1)
print(f"t: {t}")
print(f"n: {n}")
n = np.ones(5)
t = torch.from_numpy(n)
np.add(n, 1, out=n)
print(f"t: {t}")
print(f"n: {n}")
for value in (
    torch.tensor(3.0),
    torch.tensor([1e10, 1e-10]),
    torch.tensor([float("nan"), float("inf"), -1.0]),
    torch.arange(2000),
    torch.tensor([]),
    torch.zeros(0, 3),
    torch.tensor([True, False]),
    torch.tensor([1.5, 2.25]).half(),
    torch.tensor([1, 2], dtype=torch.int8),
    torch.randn(2, 2).bfloat16(),
    torch.randn(2, 2, requires_grad=True),
    torch.randn(3, 3, 3) * 1000,
    torch.linspace(0, 1, 7, dtype=torch.float64),
    torch.eye(2).bool(),
    torch.tensor([0.1, 100000.0]),
    torch.arange(24).reshape(2, 3, 4),
    torch.full((2, 2), 3.0),
    torch.tensor([[1.0, 2.0], [3.0, 4.0]]).sum(),
    torch.randn(50, 60),
):
    print(value)
    print(value.size(), value.stride(), value.numel(), value.is_contiguous(), value.element_size())
x = torch.arange(12.0).view(3, 4)
print(x.t().is_contiguous(), x.t().contiguous().stride(), x.view(-1, 6), x.view(2, -1).shape)
print(
    x[x > 5],
    x[[0, 2]],
    x[torch.tensor([0, 2]), torch.tensor([1, 3])],
    x[1:, ::2],
    x[None].shape,
    x[:, None, :].shape,
)
print(
    torch.where(x > 5, x, -x),
    x.masked_fill(x > 9, 0.0),
    x.clamp(2, 8),
    x.argmax(),
    x.argmax(dim=1),
    x.max(dim=0),
)
print(x.mean(dim=1, keepdim=True), x.std(), x.var(dim=0, unbiased=False), x.cumsum(1), x.prod(), x.norm())
print(torch.stack([x, x]).shape, torch.split(x, 2), torch.chunk(x, 3, dim=1), torch.unbind(x))
print(
    torch.sort(torch.tensor([3, 1, 2]), descending=True),
    torch.topk(torch.tensor([1.0, 4.0, 2.0]), 2),
    torch.unique(torch.tensor([1, 3, 1, 2]), return_counts=True),
)
print(torch.meshgrid(torch.arange(2), torch.arange(3), indexing="ij"))
print(torch.equal(x, x.clone()), torch.allclose(x, x + 1e-9), torch.isnan(x).any(), torch.is_tensor(x))
print(x.dtype, x.long().dtype, x.double().dtype, x.to(torch.int32), x.type(), x.int().type(), x.half().type())
print(
    torch.get_default_dtype(),
    torch.tensor(1).dtype,
    torch.tensor(1.0).dtype,
    (torch.tensor(1) + 1.5).dtype,
    torch.tensor([1]) / 2,
)
print(torch.finfo(torch.float32), torch.iinfo(torch.int16), torch.finfo(torch.float16).max)
torch.set_printoptions(precision=2, sci_mode=False)
print(torch.tensor([1.23456, 1e-5, 12345.678]))
torch.set_printoptions(profile="default")
print(torch.tensor([1.23456, 1e-5, 12345.678]))
a = torch.randn(2, 3)
b = a
b[0, 0] = 100
print(a[0, 0], a is b, a.data_ptr() == b.data_ptr(), a.clone().data_ptr() == a.data_ptr(), id(a) == id(b))
print(torch.broadcast_tensors(torch.arange(3).view(1, 3), torch.arange(2).view(2, 1)))
print(
    a.tolist()[0][0],
    a.shape[0],
    len(a),
    [row.shape for row in a],
    bool(torch.tensor(1)),
    int(torch.tensor(7.9)),
    float(torch.tensor(2)),
)
print(torch.tensor([1, 2]) == torch.tensor([1, 3]), torch.tensor([1, 2]).eq(1), 3 in torch.tensor([1, 3]))
print(
    torch.bincount(torch.tensor([0, 1, 1, 3])),
    torch.nn.functional.one_hot(torch.tensor([0, 2]), 3),
    torch.tril(torch.ones(3, 3)),
)
print(
    torch.einsum("ij,kj->ik", x, x),
    torch.outer(torch.arange(3.0), torch.arange(2.0)),
    torch.dot(torch.ones(3), torch.arange(3.0)),
)
print(
    repr(torch.Size([2, 3])),
    torch.Size([2, 3]).numel(),
    torch.Size([1]) + torch.Size([2]),
    torch.zeros(2, 3).size(0),
    torch.device("cpu"),
)
