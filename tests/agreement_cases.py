"""The lines of test_agreement.py. Of several steps, the last one is compared, and compiled."""

from __future__ import annotations

from function_cases import lines

ERRORS = lines("""
    x = t.ones(3, 3); i = t.tensor([[-1, 0, 0]]); t.gather(x, 0, i)
    x = t.ones(3, 3); i = t.tensor([[0, 3, 0]]); t.gather(x, 1, i)
    x = t.tensor(1.0); i = t.tensor([1]); x.gather(0, i)
    x = t.ones(3, 3); i = t.tensor([[-1, 0, 0]]); x.scatter(0, i, 1.0)
    x = t.ones(3, 3); i = t.tensor([[1], [3]]); x.scatter(1, i, x)
    x = t.ones(3, 3); i = t.tensor([[-1, 0, 0]]); x.scatter_add(0, i, x)
    x = t.ones(3, 3); i = t.tensor([[-1, 0, 0]]); x.scatter_reduce(0, i, x, "amax")
    x = t.ones(3, 3); i = t.tensor([[3]]); x.scatter_reduce(1, i, x, "mean")
    x = t.ones(3, 3); i = t.tensor([-1]); x.index_select(0, i)
    x = t.ones(3, 3); i = t.tensor([1, 3]); x.index_select(0, i)
    x = t.ones(3, 3); i = t.tensor([-1]); x.index_add(0, i, t.ones(1, 3))
    x = t.ones(5); i = t.tensor([5]); x.index_add(0, i, t.ones(1))
    x = t.ones(3, 3); i = t.tensor([-1]); x.index_copy(0, i, t.ones(1, 3))
    x = t.ones(3, 3); i = t.tensor([3]); x.index_fill(0, i, 5.0)
    x = t.ones(3, 3); i = t.tensor([-1]); t.index_reduce(x, 0, i, t.ones(1, 3), "prod")
    x = t.ones(3, 3); i = t.tensor([2, -10]); x.take(i)
    x = t.ones(3, 3); i = t.tensor([-10]); x.put(i, t.ones(1))
    x = t.ones(3, 3); i = t.tensor([-1]); F.embedding(i, x)
    x = t.ones(3, 3); i = t.tensor([[0, -1]]); F.embedding_bag(i, x)
    x = t.ones(3, 3); i = t.tensor([0, 3]); x[i]
    x = t.ones(3, 3); i = t.tensor([0, -4]); x[:, i]
    x = t.ones(3, 3); i = t.tensor([0, 1]); j = t.tensor([0, 4]); x[i, j]
    x = t.ones(3, 3); i = t.tensor([0, 1]); j = t.tensor([0, 4]); x[i, j] = 2.0
    x = t.ones(2, 4, 3); i = t.tensor([0, 1]); j = t.tensor([0, 4]); x[:, i, j]
    x = t.ones(2, 4, 3); i = t.tensor([0, 5]); j = t.tensor([0, 1]); x[i, :, j]
    i = t.tensor([0, 7]); F.one_hot(i, 5)
    x = t.tensor([0.5, 2.0]); F.binary_cross_entropy(x, t.ones(2))
    x = t.tensor([3]); x // 0
    x = t.tensor([3]); y = t.tensor([0]); x // y
    x = t.tensor([3]); y = t.tensor([0], dtype=t.int16); x % y
    x = t.tensor([3]); y = t.tensor([0]); t.div(x, y, rounding_mode="trunc")
    x = t.tensor([3, 1]); y = t.tensor([1, 0]); t.fmod(x, y)
    x = t.ones(3); y = t.tensor([2.0], dtype=t.float64); x[[1]] = y
    x = t.ones(3); y = t.tensor(2.0, dtype=t.float64); x[[1]] = y
    x = t.ones(3); y = t.tensor([2, 2, 2]); x[x > 0] = y
    x = t.ones(3, 3); i = t.tensor([0]); y = t.tensor([2]); x[1:, i] = y
    x = t.ones(3).half(); y = t.ones(1); x.index_put_((t.tensor([0]),), y, accumulate=True)
    x = t.arange(6).to(t.int8).reshape(2, 3); y = t.ones(2, 2).to(t.int8); t.addmm(y, x, x.t(), alpha=300)
    x = t.arange(12).int().reshape(1, 1, 12); F.avg_pool1d(x, 2)
    x = t.tensor(1.0); i = t.tensor([0, 0]); x.index_select(0, i)
    x = t.ones(2, 2) > 0; x @ x
    x = t.ones(2, 2) > 0; x[0] @ x[0]
    x = t.ones(2, 2) > 0; x @ x[0]
    x = t.ones(1, 2, 2) > 0; x @ x
    x = t.ones(1, 2, 2) > 0; x @ x[0]
    x = t.ones(2, 2) > 0; F.linear(x, x)
    x = t.ones(3); x[[2**70]]
    x = t.ones(3); x[2**70]
    x = t.ones(3); x[["a"]]
    x = t.ones(3); x[[float("nan")]]
    x = t.tensor(1.0); x[0]
    x = t.tensor(1.0); x[:]
    x = t.tensor(1.0); x[[0]]
    x = t.tensor(1.0); x[[0], 0]
    x = t.tensor(1.0); x[None, 0]
    x = t.tensor(1.0); i = t.tensor([0]); x[i]
    x = t.tensor([3]); y = t.tensor(0); t.remainder(x, y)
    x = t.tensor([3]); 5 // (x - 3)
    x = t.tensor([3]); x //= x - 3
    x = t.ones(3, 4); i = t.ones(2); x.index_select(0, i)
    x = t.ones(3, 4); i = t.ones(2); x.index_add(0, i, x[:2])
    x = t.ones(3, 4); i = t.ones(2); x.take(i)
    x = t.ones(3, 4); F.batch_norm(x, None, None, t.ones(3), None, True)
    x = t.ones(3, 4); F.batch_norm(x, None, None, None, t.ones(3), True)
    x = t.ones(2, 3, 4); F.layer_norm(x, (3, 4), t.ones(2, 3))
    x = t.ones(2, 3, 4); F.layer_norm(x, (3, 4), t.ones(3, 4), t.ones(4))
    x = t.ones(2, 4, 3); F.group_norm(x, 2, t.ones(3))
    x = t.ones(2, 4, 7, 6); F.conv2d(x, t.ones(2, 2))
    x = t.ones(2, 4, 7, 6); F.conv2d(x, t.ones(2, 4, 2, 2), stride=0)
    x = t.ones(2, 4, 7, 6); F.conv2d(x, t.ones(2, 4, 2, 2), padding=-1)
    x = t.ones(2, 4, 7, 6); F.max_pool2d(x, 2, stride=0)
    x = t.ones(2, 4, 7, 6); F.max_pool2d(x, 3, padding=2)
    x = t.ones(2, 4, 7, 6); F.avg_pool2d(x, 2, stride=0)
    x = t.ones(2, 3, 4); F.scaled_dot_product_attention(x.double(), x, x)
    x = t.ones(2, 3, 4); F.scaled_dot_product_attention(t.ones(2), x, x)
    x = t.ones(2); x.inner(x.long())
    x = t.ones(2); x.masked_scatter(x > 0, x.long())
    x = t.ones(2, 3).long(); x.softmax(0)
    x = t.ones(2, 3).long(); F.log_softmax(x, dim=-1)
    x = t.ones(1, 3, 4); F.cross_entropy(x, t.zeros(3).long())
    x = t.ones(3, 4); F.cross_entropy(x, t.zeros(3, 1).long())
    x = t.ones(2, 3, 4); F.cross_entropy(x, t.zeros(2, 3).long())
    x = t.ones(4); F.cross_entropy(x, t.zeros(3).long())
    x = t.ones(3, 4); F.cross_entropy(x, t.zeros(()).long())
    x = t.ones(1, 2, 3, 3); F.cross_entropy(x, t.ones(1, 3, 2).long())
    x = t.ones(1, 2, 3, 3); F.nll_loss(x, t.ones(1, 3).long())
    t.zeros(2, -1)
    t.tensor(["a"])
    t.tensor([1, "a"])
    x = t.ones(2, 3); x.unfold(0, 9, 1)
    x = t.ones(2, 3); x.unfold(0, 1, 0)
    x = t.ones(2); x & x
    x = t.ones(2); x | 1
    x = t.ones(2); x << 1
    x = t.ones(2); t.gcd(x, x)
    x = t.ones(2); x.to("float32")
    t.device("cpu:01")
    t.device("")
    x = t.ones(2); x.masked_fill(x > 0, x)
    x = t.ones(2, 3); F.pixel_shuffle(x, 2)
    x = t.ones(2, 2); F.embedding(t.tensor([0]), x, padding_idx=5)
    x = t.ones(3, 4); F.cross_entropy(x, t.ones(4))
    x = t.ones(3, 4); F.cross_entropy(x, t.ones(3, 3))
    x = t.ones(3, 4); F.cross_entropy(x, t.ones(2, 4))
    x = t.ones(2, 3, 3); t.nn.MultiheadAttention(4, 2)(x, x, x)
    x = t.ones(4); t.nn.MultiheadAttention(4, 2)(x, x, x)
    x = t.ones(2, 3, 4); t.nn.MultiheadAttention(4, 2, batch_first=True)(x, x, t.ones(3, 3, 4))
    x = t.ones(2, 3, 3); t.nn.TransformerEncoderLayer(4, 2)(x)
    x = t.ones(2, 3); x.permute(0, 2, 1)
    x = t.ones(2, 3); x.permute(0)
    x = t.ones(2, 2); t.renorm(x, 2, 0, -1.0)
    x = t.ones(3); x.diff(-1)
    x = t.ones(3); F.dropout1d(x)
    x = t.ones(3); F.rrelu(x, 0.5, 0.1)
    t.from_numpy(t.ones(2))
    x = t.ones(3); x.index_put((t.tensor([0]),), t.tensor([2]))
    x = t.ones(3); x.index_put_((t.tensor([0]),), t.tensor([2]), accumulate=True)
    x = t.ones(2, requires_grad=True); t.autograd.grad((x // 2).sum(), x)
    x = t.ones(2, requires_grad=True); t.autograd.grad((2 // x).sum(), x)
    x = t.ones(2, requires_grad=True); t.autograd.grad((2 % x).sum(), x)
    x = t.ones(2, requires_grad=True); t.autograd.grad(t.heaviside(x, x).sum(), x)
    x = t.zeros(1, 3); x = x.expand(2, 3); x[:, 0] = 1.0
    x = t.zeros(1).expand(3); x.add_(1)
    x = t.zeros(1).expand(3); x.copy_(t.ones(3))
""")
"""Errors, of the same classes and in the same words."""

LAYOUTS = lines("""
    x = t.zeros(0, 3); x + 1
    x = t.zeros(2, 0, 3); x.exp()
    x = t.ones(4, 3); x[:0] * 2
    x = t.ones(3); x.expand(4, 3).clone()
    x = t.ones(3); x.expand(4, 3).double()
    x = t.ones(2, 3); x.expand(4, 2, 3).clone().view(-1)
    x = t.ones(2, 3); x.t().expand(4, 3, 2).clone()
    x = t.ones(4, 1); x.repeat(2, 3)
    x = t.ones(4, 3); i = t.zeros(0, dtype=t.int64); x[i]
    x = t.ones(3, 3); i = t.tensor([[0, 2, 1]]); x.t().gather(0, i)
    x = t.ones(3, 4).t(); y = t.ones(4, 3); x + y, y + x, x * y, y / x, x > y, y.maximum(x), x**y
    x = t.ones(2, 3, 4).permute(2, 0, 1); y = t.ones(2, 4, 3).permute(1, 0, 2); x + y, y + x
    x = t.ones(3, 4).t(); y = t.ones(4, 3); t.where(x > 0, y, x), t.where(y > 0, x, y), t.lerp(x, y, 0.5)
    x = t.ones(3, 4).t(); y = t.ones(4, 3); t.addcmul(x, y, y), t.addcdiv(y, x, y), t.clamp(x, y, y)
    x = t.ones(3, 4).t(); t.zeros_like(x), t.ones_like(x), t.full_like(x, 3), t.zeros_like(x, dtype=t.int64)
    x = t.ones(3, 4).t()[:, :2]; t.zeros_like(x), x.masked_fill(x > 0, 2.0), F.logsigmoid(x)
    x = t.ones(1, 3).expand(4, 3); t.zeros_like(x), x.flip(0)
    x = t.arange(12.0).view(3, 4).t(); x.sort(), x.sort(0, descending=True), x.argsort(), x.msort()
    x = t.arange(24.0).view(2, 3, 4).permute(2, 0, 1); x.flip(0), x.sort(1), x.fliplr(), x.flipud()
    x = t.arange(16.0).view(4, 4).t(); F.glu(x), x.diff(), F.normalize(x), t.addr(x, x[0], x[1])
    x = t.ones(3, 4).t(); i = t.tensor([0]); x.index_fill(0, i, 2.0), x.select_scatter(x[0], 0, 1)
    x = t.ones(2, 5, 6, 3).permute(0, 3, 1, 2); F.conv2d(x, t.ones(4, 3, 2, 2)), F.max_pool2d(x, 2)
    x = t.ones(2, 5, 6, 3).permute(0, 3, 1, 2); F.avg_pool2d(x, 2), F.interpolate(x, scale_factor=2.0)
    x = t.ones(2, 5, 6, 3).permute(0, 3, 1, 2); F.pad(x, (1, 2)), F.group_norm(x, 1), F.relu(x)
    x = t.ones(2, 3, 5, 6); F.conv2d(x, t.ones(4, 3, 2, 2).to(memory_format=t.channels_last))
    x = t.ones(3, 4, 5).nonzero(); y = t.argwhere(t.ones(2, 3)); x + 1, y * 2
""")
"""How results lie in memory."""

ALIKE = lines("""
    x = (t.arange(20000.0) * 0.1).sin(); (x.cumsum(0) - x.double().cumsum(0).float()).abs().max()
    x = 1 + (t.arange(999.0) * 0.1).sin() / 99; (x.cumprod(0) - x.double().cumprod(0).float()).abs().max()
    x = t.linspace(-1, 1, 300).reshape(3, 100).half(); t.addmm(x[:, :3], x, x.t(), beta=0.7, alpha=2).float()
    x = t.linspace(-1, 1, 300).reshape(3, 100).bfloat16(); t.addmm(x[:, :3], x, x.t()).float()
    x = t.linspace(-1, 1, 60).reshape(3, 4, 5).half(); t.baddbmm(x[:, :, :4], x, x.mT, alpha=0.3).float()
    x = t.ones(3); x[[1.5, 0.2]]
    x = t.ones(3); x.real
    x = t.ones(2, 3, requires_grad=True); x.sum(1, keepdim=True)._base is None
    x = t.ones(2, 3); x.amax(1, keepdim=True).detach_()
    x = t.ones(3); x.index_put((x > 0,), t.tensor(2))
    x = t.arange(6).to(t.int8).reshape(2, 3); y = t.ones(2, 2).to(t.int8); t.addmm(y, x, x.t(), alpha=1.5)
    x = t.arange(6).reshape(2, 3); y = t.ones(1, 2, 2).long(); t.baddbmm(y, x[None], x.t()[None], beta=1.9)
    x = t.arange(12).reshape(1, 1, 12) - 6; F.conv1d(x, t.ones(1, 1, 3).long(), t.ones(1).long(), 2, 1)
    x = t.arange(12).to(t.uint8).reshape(1, 1, 12); F.conv1d(x, t.full((1, 1, 3), 9).to(t.uint8))
    x = t.arange(24).short().reshape(1, 2, 3, 4); F.conv2d(x, t.ones(2, 1, 2, 2).short(), groups=2)
    x = t.arange(12).reshape(1, 1, 12) - 6; F.conv_transpose1d(x, t.ones(1, 1, 3).long())
    x = t.arange(12).reshape(1, 1, 12) - 6; F.avg_pool1d(x, 3, 2, 1)
    x = t.arange(12).reshape(1, 1, 3, 4) - 6; F.avg_pool2d(x, 2, padding=1, count_include_pad=False)
    x = t.arange(12).reshape(1, 1, 3, 4) - 6; F.avg_pool2d(x, 2, divisor_override=3)
    x = t.arange(48).reshape(1, 1, 3, 4, 4) - 20; F.avg_pool3d(x, (2, 2, 3))
    x = t.tensor(1.0); x[None], x[...], x[True], x[False]
    x = t.ones(3); y = t.tensor([2]); x[x > 0] = y
    x = t.ones(3); y = t.tensor(2, dtype=t.int8); x[1:] = y
    x = t.tensor([[1.0, float("nan"), 3.0, 4.0, 5.0]]); F.adaptive_avg_pool1d(x, 3)
    x = t.tensor([[1.0, float("inf"), 3.0, 4.0, 5.0]]); F.adaptive_avg_pool1d(x, 3)
    x = t.arange(25.0).reshape(1, 1, 5, 5); x = x / x; F.adaptive_avg_pool2d(x, (3, 2))
    x = t.zeros(1, 1, 7, 5, 4); F.adaptive_avg_pool3d(x, (3, 2, 3))
    x = t.tensor([float("nan"), 1.0, 1.0], requires_grad=True); t.autograd.grad(x.amax(), x)
    x = t.tensor([3.0, 1.0, 1.0], requires_grad=True); t.autograd.grad(x.amin(), x)
    x = t.ones(3, requires_grad=True); y = t.zeros(3); (y.add_(x * 2) * 3, y)
    x = t.ones(3, 3); i = t.tensor([-1]); x.take(i)
    x = t.ones(3, 3); i = t.tensor([[-1, 0, 0]]); t.take_along_dim(x, i, 0)
    x = t.ones(3, 3); i = t.tensor([-1]); x.index_fill(0, i, 5.0)
    x = t.zeros(0, dtype=t.int64); x // 0
    x = t.zeros(0, dtype=t.int64); y = t.tensor([0]); x % y
    x = t.tensor([-7, 7]); y = t.tensor([2, -2], dtype=t.int8); t.div(x, y, rounding_mode="floor")
    x = t.ones(2, requires_grad=True); t.autograd.grad(t.div(x, 2, rounding_mode="floor").sum(), x)
    x = t.ones(2, requires_grad=True); t.autograd.grad((x % t.tensor([2.0, 3.0])).square().sum(), x)
    x = t.tensor([1.0, float("nan"), float("nan")], requires_grad=True); t.autograd.grad(x.max(), x)
    x = t.tensor([[1.0, 1.0], [2.0, 1.0]], requires_grad=True); t.autograd.grad(x.min(), x)
    x = t.zeros(3); i = t.tensor([0, 0, 1]); v = t.ones(3, requires_grad=True); x.put(i, v)
    v = t.ones(2, requires_grad=True); i = v.long(); t.autograd.grad(t.zeros(2).scatter(0, i, v * 2).sum(), v)
    v = t.ones(2, requires_grad=True); i = v.long(); t.autograd.grad(t.zeros(2).put(i, v * 2).sum(), v)
    x = t.ones(2, 3); t.matmul(x, x.T, out=t.zeros(2, 2)), t.cat([x, x], out=t.zeros(4, 3))
    x = t.ones(2, 3); t.sum(x, 1, out=t.zeros(2)), t.sum(x, 1, out=t.zeros(2).long())
    x = t.tensor([[3.0, 1.0, 2.0]]); tuple(t.sort(x, out=(t.zeros(1, 3), t.zeros(1, 3).long())))
    x = t.ones(3, 3) + t.eye(3); t.linalg.inv(x, out=t.zeros(3, 3)), t.where(x > 1, x, -x, out=t.zeros(3, 3))
    x = t.ones(3); t.lerp(x, 2 * x, 0.5, out=x), t.nan_to_num(x, out=t.zeros(3))
    v = t.ones((), requires_grad=True); t.autograd.grad(t.zeros(2).index_put((t.tensor([1, 1]),), v).sum(), v)
    x = t.zeros(0); F.cross_entropy(x, x), F.cross_entropy(x, x, reduction="none")
    x = t.zeros(4, 0); F.cross_entropy(x, x), F.cross_entropy(x, x, reduction="none")
""")
"""Values, dtypes and strides."""
