"""The cases of test_functions.py that must fail."""

from __future__ import annotations

from function_cases import lines

ERRORS = lines("""
    x.take(t.tensor([12]))
    x.split(0)
    x.reshape(2.5, 2)
    t.cat([x, 1])
    t.zeros(2.5)
    t.zeros(2, dtype=3)
    x.expand(3)
    t.cat([])
    t.stack([])
    x.outer(v)
    t.einsum("ij,jk->ik", x, y)
    z = x.clone(); z[0] = u; z
    z = x.clone(); z[0] = "a"; z
    x.gather(0, k.to(t.float32))
    x.index_add(0, j, y)
    x.kthvalue(0)
    x.kthvalue(5)
    x.quantile(1.5)
    t.searchsorted(x, v)
    t.randperm(-1)
    F.embedding(x, y)
    F.embedding(t.tensor([9]), x)
    F.nll_loss(x, labels.to(t.float32))
    F.pad(x, (1, 2, 3))
    F.fold(c, (4, 4), 2)
    F.fold(t.zeros(2, 8, 5), (4, 4), 2)
    F.fold(v, (4, 4), 2)
    F.grid_sample(image, t.zeros(3, 2, 2, 2), align_corners=False)
    F.grid_sample(image, t.zeros(2, 2, 2, 3), align_corners=False)
    F.grid_sample(image, t.zeros(2, 2, 2, 2), "linear", align_corners=False)
    F.grid_sample(image, t.zeros(2, 2, 2, 2), padding_mode="zero", align_corners=False)
    F.grid_sample(image[None], t.zeros(1, 2, 2, 2, 3), "bicubic", align_corners=False)
    F.affine_grid(c, (2, 3, 4, 5), False)
    F.affine_grid(c, (2, 3, 4), False)
    F.embedding_bag(j, x)
    F.embedding_bag(j, x, t.tensor([1]))
    F.embedding_bag(j, x, t.tensor([0, 9]))
    F.embedding_bag(k, x, t.tensor([0]))
    F.embedding_bag(k, x, mode="min")
    F.embedding_bag(k, x, per_sample_weights=y[:2])
    F.max_unpool2d(c, i, 2)
    F.max_unpool2d(c, c, 2)
    F.max_unpool2d(c, t.full((2, 3, 4), 99), 2)
    F.max_unpool2d(c, t.zeros(2, 3, 4, dtype=t.int64), 2, output_size=(9, 9))
    F.ctc_loss(c, k, (2, 3, 1), (1, 1, 1))
    F.ctc_loss(c, k, (2, 2), (1, 1, 1))
    F.ctc_loss(c, t.zeros(3, 1, dtype=t.int64), (2, 2, 1), (1, 2, 1))
    F.ctc_loss(c, k, (2, 2, 1), (1, 1, 1), 9)
    F.multilabel_margin_loss(x, k)
    F.multilabel_margin_loss(x, y)
    F.multi_margin_loss(x, k[:1])
    F.adaptive_avg_pool2d(t.ones(1, 1, 0, 4), 2)
    F.adaptive_max_pool2d(t.ones(1, 0, 4), 2)
    F.conv2d(image[:, :, :2], kernel)
    F.max_pool2d(image, 9)
    t.unravel_index(x, (3, 4))
    t.unravel_index(i, (2, -3))
    t.cartesian_prod(x)
    t.combinations(x)
    t.combinations(v, -1)
    t.select_scatter(x, u, 0, 1)
    t.slice_scatter(x, v, 0, 1)
    t.dsplit(x, 2)
    t.dsplit(c, 3)
    t.positive(b)
    t.polygamma(-1, x)
    t.mvlgamma(x, 0)
    t.feature_dropout(v, 0.5, True)
    t.hann_window(-1)
    t.kaiser_window(-1)
    t.gradient(x, edge_order=3)
    t.gradient(v[:1])
    t.gradient(v[:2], edge_order=2)
    t.gradient(x, dim=5)
    t.gradient(x, dim=(0, 0))
    t.gradient(x, spacing=[1.0, 2.0, 3.0])
    t.gradient(x, spacing=(t.ones(2, 2), t.arange(4.0)))
    t.gradient(t.arange(5, dtype=t.uint8))
    x.sum(2)
    x.sum((0, 0))
    s.sum(1)
    t.sum([1, 2])
    i.mean()
    b.mean()
    i.var()
    empty.max()
    empty.max(0)
    empty.amax(0)
    empty.argmax()
    empty.argmin(0)
    x.argmax(5)
    x.cumsum(3)
    x.softmax(2)
    x.reshape(5, 2)
    x.reshape(-1, -1)
    empty.reshape(0, -1)
    n.view(-1)
    x.flatten(1, 0)
    x.unflatten(1, (3, 2))
    x.unflatten(1, ())
    c.permute(0, 1)
    c.permute(0, 1, 1)
    c.transpose(0, 3)
    c.t()
    v.mT
    c.movedim((0, 1), (0,))
    c.movedim((0, 0), (0, 1))
    x.squeeze(2)
    x.unsqueeze(3)
    x.expand(2, 4)
    x.expand(-1, 3, 4)
    x.repeat(2)
    x.flip(2)
    v.fliplr()
    s.flipud()
    x.roll((1, 2), 0)
    x.rot90(1, (0, 0))
    x.rot90(1, (0,))
    x.diagonal(0, 1, 1)
    c.diag()
    v.tril()
    x.repeat_interleave(-1)
    x.repeat_interleave(t.tensor([1, 2]), dim=0)
    t.meshgrid(v, indexing="ab")
    t.cat([x, v])
    t.cat([x, a])
    t.cat([s, s])
    t.cat([x, y], 2)
    t.stack([x, a])
    x.split(-1)
    x.split([1, 1])
    x.chunk(0)
    x.tensor_split(0)
    x.narrow(0, 2, 2)
    x.narrow(0, 4, 1)
    x.narrow(0, 0, -1)
    x.select(0, 3)
    s.select(0, 0)
    s.unbind()
    x @ y
    x @ w[:3]
    v @ y.T[:3]
    s @ x
    c @ c
    x.mm(v)
    x.mm(y)
    c.bmm(x)
    c.bmm(c)
    x.mv(u)
    v.dot(u)
    x.dot(y)
    v.inner(u)
    c.trace()
    t.tensordot(x, y, ([0], [1]))
    t.tensordot(x, y, ([0], [0, 1]))
    t.addmm(v, x, y)
    t.einsum("ij,jk->ik", x)
    t.einsum("ijk->i", x)
    t.einsum("ij->k", x)
    t.einsum("ij->ii", x)
    x[3]
    x[-4]
    x[0, 4]
    x[0, 0, 0]
    s[0]
    x[::-1]
    x[1.5]
    x[t.tensor(1.5)]
    x[[0, 3]]
    x[[0], [4]]
    x[[0, 1], [0, 1, 2]]
    x[v > 0]
    x[c > 0]
    z = x.clone(); z[[0, 1]] = u; z
    z = x.clone(); z[5] = 0; z
    x[0] = 1; x
    x.gather(0, j)
    x.gather(2, k)
    x.gather(1, t.tensor([[0], [1], [2], [3]]))
    x.scatter(0, k, y.to(t.float16))
    x.scatter(0, k, 1.0, reduce="foo")
    x.scatter_reduce(0, k, y, "foo")
    x.index_select(0, k)
    x.index_select(0, t.tensor([5]))
    x.index_fill(0, j[:2], v)
    x.masked_select(v)
    x.topk(5)
    x.sort(2)
    i.quantile(0.5)
    t.tensor([1, -1]).bincount()
    t.tensor("a")
    t.tensor([[1, 2], [3]])
    t.tensor([[1, 2], 3])
    t.tensor(2**70)
    t.tensor(None)
    t.from_numpy([1])
    t.zeros(2, foo=1)
    t.full((2,), [1])
    t.arange(0, 1, 0)
    t.arange(3, 0)
    t.arange(0, inf)
    t.linspace(0, 1, -1)
    t.eye(-1)
    t.randint(5, 3, (2,))
    t.normal(0., -1., (2,))
    t.rand(2).uniform_(3, 1)
    t.cdist(x, a)
    t.cdist(v, x)
    F.linear(x, y.T)
    F.glu(c, 1)
    F.gelu(x, approximate="foo")
    F.prelu(x, u)
    F.dropout(x, 1.5)
    F.embedding(k, v)
    F.one_hot(t.tensor([-1]))
    F.one_hot(t.tensor([3]), 2)
    F.layer_norm(x, (5,))
    F.batch_norm(x[:1], None, None, training=True)
    F.mse_loss(x, y, reduction="foo")
    F.mse_loss(x, u)
    F.cross_entropy(x, t.tensor([0, 1, 4]))
    F.binary_cross_entropy(x, v)
    F.binary_cross_entropy_with_logits(x, v)
    F.pad(line, (1, 0), mode="foo")
    F.conv2d(x, kernel)
    F.conv2d(image, kernel[:, :3])
    F.pixel_shuffle(image, 3)
""")
"""Cases that fail, with what PyTorch says (its first line)."""

ERRORS_IN_OUR_WORDS = lines("""
    i.norm()   ->   linalg.vector_norm: Expected a floating point or complex tensor as input. Got Long
    i.softmax(0)   ->   "softmax_kernel_impl" not implemented for 'Long'
    x.reshape(-2, 6)   ->   invalid shape dimension -2
    c.H   ->   tensor.H is only supported on matrices (2-D tensors). Got 3-D tensor.
    t.broadcast_shapes((2,), (3,))   ->   The size of tensor a (2) must match the size of tensor b (3) at
    x.repeat(-1, 2)   ->   Trying to create tensor with negative dimension
    x.flip(0, 0)   ->   dim appears multiple times in the list of dims
    t.meshgrid(x, indexing="ij")   ->   torch.meshgrid: Expected 0D or 1D tensor in the tensor list but
    s.split(1)   ->   split() expects at least a 1-dimensional tensor
    v.vsplit(1)   ->   vsplit requires a tensor with at least 2 dimension, got 1
    x[:, :2] @ i   ->   expected m1 and m2 to have the same dtype, but got: float != long
    t.einsum("i1->i", x)   ->   einsum(): invalid subscript given: '1', subscripts must be in [a-zA-Z]
    t.einsum("ii->i", x)   ->   einsum(): subscript i is repeated for an operand but the sizes don't match,
    x.masked_fill(x > 2, v)   ->   masked_fill_ only supports a 0-dimensional value tensor, but got tensor
    x.masked_fill(x, 1)   ->   masked_fill_ only supports boolean masks, but got mask with dtype
    x.masked_scatter(b, v)   ->   Number of elements of source < number of ones in mask
    x.quantile(0.5, interpolation="foo")   ->   quantile() interpolation must be one of linear, lower,
    x.bincount()   ->   bincount only supports 1-d non-negative integral inputs.
    x.histc(0)   ->   bins must be > 0
    t.zeros(-1)   ->   zeros: Dimension size must be non-negative.
    t.bernoulli(t.tensor([2.]))   ->   Expected p_in >= 0 && p_in <= 1 to be true, but got false.
    t.rand(2, dtype=t.int64)   ->   these are floating-point numbers
    F.softshrink(x, -1)   ->   lambda must be greater or equal to 0, but found to be -1.
    F.huber_loss(x, y, delta=-1)   ->   it does not support non-positive values for delta
    F.conv2d(image, kernel, stride=(1, 2, 3))   ->   expected stride to be a single integer value or a list
    F.conv2d(image, kernel, padding="foo")   ->   Invalid padding string, should be one of 'valid', 'same'
    F.max_pool2d(image, 2, padding=2)   ->   pad should be at most half of effective kernel size
""")
"""Cases that fail as in PyTorch, and what is said."""

AUTOGRAD_ERRORS = lines("""
    z = x.mul(2).sum(); z.backward(); z.backward()
    z = (x / 3).sum(); z.backward(); z.backward()
    z = (x ** 2).sum(); z.backward(); z.backward()
    z = x * 2; r = z * z; z.add_(1); r.sum().backward()
    z = x * 2; r = z.exp(); r.mul_(z); r.sum().backward()
    z = q @ q; r = z @ z; z.mul_(2); r.sum().backward()
    z = x * 2; r, o = z.split(2, 1); r.add_(1)
    z = x * 2; r, o = z.split([1, 3], 1); o.mul_(2)
    z = x * 2; r, o = z.chunk(2, 1); o.zero_()
    z = x * 2; r = z.unbind(0)[1]; r += 1
    x.grad = x.detach().double()
    v.grad = t.zeros(4, dtype=t.int64)
    x.double().detach().requires_grad_().grad = x.detach()
    t.autograd.functional.jacobian(lambda z: z, 3.0)
    t.autograd.functional.hessian(lambda z: z.sum(), [1.0])
    t.autograd.functional.hessian(lambda z: z, v.detach())
    t.autograd.functional.vjp(lambda z: 3, v.detach())
    t.autograd.functional.vjp(lambda z: z, v.detach())
    t.autograd.functional.vjp(lambda z: (z, 2.0), v.detach())
    t.autograd.functional.jvp(lambda z: z, v.detach())
    t.autograd.functional.jvp(lambda z: z, v.detach(), u.detach())
    t.autograd.functional.hvp(lambda z: z.sum(), v.detach(), 3)
    t.autograd.functional.vhp(lambda z: z.sum(), v.detach(), (v.detach(), v.detach()))
    t.autograd.functional.vhp(lambda z: z.sum(), (v.detach(), 1.0), v.detach())
    F.cross_entropy(x, t.tensor([0, 1]))
    F.nll_loss(x, t.tensor([0, -1, 2]))
    F.cross_entropy(x, t.tensor([0, 4, 2]))
    (x * 2).backward()
    x.detach().sum().backward()
    z = (x * x).sum(); z.backward(); z.backward()
    z = x.exp().sum(); t.autograd.grad(z, x); t.autograd.grad(z, x)
    (x * 2).backward(v)
    (x * 2).backward(3.0)
    t.autograd.backward([x.sum(), x.sum()], [s])
    t.autograd.backward([x.sum()], inputs=[])
    x.sum().backward(inputs=[])
    t.autograd.grad(x.sum(), y)
    t.autograd.grad(x.sum(), x.detach())
    t.autograd.grad(x.sum(), [x, y], allow_unused=False)
    t.autograd.grad(x.sum(), x, allow_unused=False, materialize_grads=True)
    x.add_(1)
    x[0] = 1
    x[0].mul_(2)
    x.zero_()
    z = x.detach().clone(); z.requires_grad_(); z += 1
    z = x.exp(); z.add_(1); z.sum().backward()
    z = x.sigmoid(); z[0] = 0; z.sum().backward()
    (x * 2).requires_grad_(False)
    i.requires_grad_()
    i.requires_grad_(True)
    t.tensor([1, 2], requires_grad=True)
    t.zeros(2, dtype=t.int64, requires_grad=True)
    x.numpy()
    x.detach().retain_grad()
    x.detach().register_hook(lambda g: g)
    x.detach().register_post_accumulate_grad_hook(lambda g: g)
    (x * 2).register_post_accumulate_grad_hook(lambda g: g)
    x.register_hook(lambda g: 3); x.sum().backward()
    x.grad = v.detach()
    x.grad = 3
    x.detach_().item()
    x.item()
    len(s)
    list(s)
    bool(x)
    bool(empty)
    float(x)
    int(x)
    range(5)[x.detach()]
    z = x.view(12); z.detach_()
    z = (x * 2)[0]; z.detach_()
    z = x[0]; z.mul_(2)
    z = s.detach().expand(3); z.add_(1)
    v.detach().clone().add_(x.detach())
    x.data = 3
    float(x.detach()[0, :2])
    t.autograd.functional.jacobian(lambda z: z.detach(), x, strict=True)
    t.autograd.functional.vjp(lambda z: z * 2, x)
    t.autograd.functional.vjp(lambda z: z * 2, x, v.detach())
    t.autograd.functional.hessian(lambda z: z * 2, x)
    t.autograd.functional.jvp(lambda z: z * 2, x, v.detach())
    t.autograd.functional.jvp(lambda z: z * 2, x, (x.detach(), x.detach()))
    t.nn.Parameter(i)
    t.autograd.functional.hvp(lambda z: z.sum(), x, None)
    x.requires_grad_(False); x.sum().backward()
""")
"""Run as statements: what `tensor`, `backward`, `grad` and their kin refuse."""
