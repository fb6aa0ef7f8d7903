"""The cases of test_grad_names.py: one line of text each, with the operands of test_functions.py."""

from __future__ import annotations

from function_cases import lines

NAMES = lines("""
    1 - x
    2 ** x
    1 / x
    x ** y
    x - 1
    x / y
    x % 2
    x % y
    t.fmod(x, 2)
    t.fmod(x, y)
    x.remainder(y)
    t.rsub(x, 2)
    t.rsub(x, y)
    t.sub(x, y, alpha=2)
    t.add(x, y, alpha=2)
    t.mul(x, 2)
    t.lerp(x, y, 0.5)
    t.lerp(x, y, y)
    t.xlogy(x, y)
    t.xlogy(x, 2)
    t.xlogy(2, x)
    t.copysign(x, 2)
    t.copysign(x, y)
    t.hypot(x, y)
    t.atan2(x, y)
    t.div(x, 2, rounding_mode="floor")
    t.div(x, y, rounding_mode="trunc")
    t.div(x, 2)
    t.true_divide(x, y)
    t.float_power(x.abs(), 2)
    t.float_power(x.abs(), y)
    t.clamp(x, min=0)
    t.clamp(x, max=0)
    t.clamp(x, 0, 1)
    t.clamp(x, y)
    t.clamp(x, y, y + 1)
    t.clamp(x, max=y)
    x.clamp_min(0)
    x.clamp_max(0)
    x.clamp_min(y)
    x.clamp_max(y)
    x.clip(0, 1)
    t.maximum(x, y)
    t.minimum(x, y)
    t.fmax(x, y)
    t.fmin(x, y)
    t.max(x, y)
    t.min(x, y)
    t.logaddexp(x, y)
    t.logaddexp2(x, y)
    t.addcmul(x, y, y)
    t.addcdiv(x, y, y)
    t.nan_to_num(x)
    t.logit(x.sigmoid())
    t.logit(x.sigmoid(), 0.1)
    t.round(x)
    t.round(x, decimals=2)
    t.sgn(x)
    t.sign(x)
    t.frac(x)
    t.trunc(x)
    t.floor(x)
    t.ceil(x)
    t.abs(x)
    t.absolute(x)
    t.negative(x)
    t.square(x)
    t.sqrt(x.abs())
    t.rsqrt(x.abs())
    t.reciprocal(x)
    t.exp2(x)
    t.log(x.abs())
    t.log2(x.abs())
    t.log10(x.abs())
    t.log1p(x.abs())
    t.erf(x)
    t.erfc(x)
    t.erfinv(x.tanh())
    t.lgamma(x.abs())
    t.digamma(x.abs())
    t.sinc(x)
    t.deg2rad(x)
    t.rad2deg(x)
    t.sigmoid(x)
    t.tanh(x)
    t.where(x > 0, x, 0.)
    t.where(x > 0, 1., x)
    x.masked_fill(x > 0, 0)
    x.relu()
    F.relu(x)
    F.relu6(x)
    F.leaky_relu(x)
    F.elu(x)
    F.selu(x)
    F.celu(x)
    F.gelu(x)
    F.gelu(x, approximate="tanh")
    F.silu(x)
    F.mish(x)
    F.softplus(x)
    F.softsign(x)
    F.logsigmoid(x)
    F.tanhshrink(x)
    F.softshrink(x)
    F.hardshrink(x)
    F.hardtanh(x)
    F.hardsigmoid(x)
    F.hardswish(x)
    F.threshold(x, 0.1, 0.2)
    F.glu(x)
    F.softmin(x, 1)
    F.softmax(x, 1)
    F.log_softmax(x, 1)
    F.normalize(x)
    F.dropout(x, 0.5)
    F.dropout(x, 0.5, False)
    F.mse_loss(x, y)
    F.mse_loss(x, y, reduction="none")
    F.l1_loss(x, y)
    F.l1_loss(x, y, reduction="none")
    F.l1_loss(x, y, reduction="sum")
    F.smooth_l1_loss(x, y)
    F.huber_loss(x, y)
    F.cross_entropy(x, t.tensor([0, 1, 2]))
    F.cross_entropy(x, t.tensor([0, 1, 2]), reduction="none")
    F.nll_loss(x, t.tensor([0, 1, 2]))
    F.nll_loss(c, k[:2] * 0)
    F.binary_cross_entropy(x.sigmoid(), y.detach().sigmoid())
    F.binary_cross_entropy_with_logits(x, y.detach())
    F.binary_cross_entropy_with_logits(x, y.detach(), reduction="sum")
    F.kl_div(x, y.softmax(1), reduction="batchmean")
    F.kl_div(x, y.softmax(1), reduction="sum")
    F.poisson_nll_loss(x, y.detach())
    F.hinge_embedding_loss(x, y.detach().sign())
    F.margin_ranking_loss(v, w, w.detach().sign())
    F.cosine_embedding_loss(x, y, u.detach().sign())
    F.triplet_margin_loss(x, y, x + y)
    F.gaussian_nll_loss(x, y, x.exp())
    F.soft_margin_loss(x, y.detach().sign())
    F.multi_margin_loss(x, t.tensor([0, 1, 2]))
    F.multilabel_soft_margin_loss(x, (y > 0).float())
    F.conv1d(line, kernel1)
    F.conv2d(image, kernel)
    F.conv_transpose2d(image, kernel.transpose(0, 1))
    F.max_pool2d(image, 2)
    F.max_pool1d(line, 2)
    F.avg_pool2d(image, 2)
    F.avg_pool1d(line, 2)
    F.adaptive_avg_pool2d(image, 1)
    F.adaptive_avg_pool2d(image, 2)
    F.adaptive_max_pool2d(image, 2)
    F.adaptive_avg_pool1d(line, 1)
    F.batch_norm(image, None, None, training=True)
    F.layer_norm(x, (4,))
    F.group_norm(image, 2)
    F.instance_norm(image)
    F.rms_norm(x, (4,))
    F.embedding(t.tensor([0, 1]), x)
    F.linear(x, y)
    F.linear(x, y, u)
    F.linear(c, y, u)
    F.linear(c, y)
    F.linear(v, y)
    F.linear(v, y, u)
    F.bilinear(x, y, c.reshape(2, 3, 4)[:, :, :].permute(0, 2, 1).matmul(x), None)
    F.pad(x, (1, 1))
    F.pad(image, (1, 1, 1, 1), mode="reflect")
    F.pad(image, (1, 1, 1, 1), mode="replicate")
    F.pad(image, (1, 1, 1, 1), mode="circular")
    F.pairwise_distance(x, y)
    F.cosine_similarity(x, y)
    F.scaled_dot_product_attention(c, c, c)
    F.pixel_shuffle(image, 2)
    F.unfold(image, 2)
    F.fold(c, (4, 3), (1, 3))
    F.affine_grid(c, (2, 1, 2, 2, 2), False)
    F.grid_sample(image, t.zeros(2, 2, 2, 2), align_corners=False)
    F.embedding_bag(k, x)
    F.max_unpool2d(*F.max_pool2d(image, 2, return_indices=True), 2, output_size=(7, 6))
    F.ctc_loss(c, t.tensor([1, 2, 1]), (2, 2, 2), (1, 1, 1), reduction="none")
    F.multilabel_margin_loss(x, t.tensor([[3, 0, -1, 1], [0, 1, 2, 3], [-1, 1, 1, 1]]))
    F.one_hot(j)
    x.sum()
    x.sum(0)
    x.sum(0, keepdim=True)
    x.sum((0, 1))
    x.mean()
    x.mean(0)
    x.mean(0, True)
    x.prod()
    x.prod(0)
    x.prod(0, True)
    x.max()
    x.min()
    x.max(0)
    x.min(0)
    x.max(0, keepdim=True)
    x.amax()
    x.amax(0)
    x.amax(0, keepdim=True)
    x.amin(1)
    x.median()
    x.median(0)
    x.mode()
    x.kthvalue(1)
    x.sort()
    x.topk(2)
    x.std()
    x.var()
    x.std(0)
    x.var(0)
    x.std(0, keepdim=True)
    t.std_mean(x)
    x.norm()
    x.norm(1)
    x.norm(2, 0)
    x.norm("fro")
    x.norm(dim=0)
    x.norm(p=float("inf"))
    x.norm(2, 0, True)
    t.norm(x, 3)
    t.dist(x, y)
    x.logsumexp(0)
    x.logsumexp(0, True)
    x.nansum()
    x.nansum(0)
    x.nanmean()
    x.nanmean(0)
    x.cumsum(0)
    x.cumprod(0)
    x.logcumsumexp(0)
    x.cummax(0)
    x.cummin(0)
    x.diff()
    x.cov()
    t.trace(q)
    q @ q
    x @ v
    u @ x
    v @ w
    c @ d
    c @ q
    c @ v
    v @ q
    x.T @ x
    t.matmul(c, q)
    t.mm(q, q)
    t.mv(q, v)
    t.dot(v, w)
    t.outer(v, w)
    t.ger(v, w)
    t.inner(v, w)
    t.inner(x, y)
    t.vdot(v, w)
    t.bmm(c, d)
    t.addmm(q, q, q)
    t.addmv(u, x, v)
    t.addr(x, u, v)
    t.baddbmm(c[:, :, :1], c, d)
    t.addbmm(x[:, :1], c, d)
    t.kron(x, y)
    t.tensordot(x, y, 2)
    t.einsum("ij,kj->ik", x, y)
    t.einsum("ij->i", x)
    t.einsum("ii", q)
    t.einsum("i,i", v, w)
    t.einsum("ij->ji", x)
    t.einsum("bij,bjk->bik", c, d)
    t.cross(zero, ties)
    t.linalg.cross(zero, ties)
    t.matrix_power(q, 3)
    t.chain_matmul(q, q, q)
    t.cdist(x, y)
    t.linalg.norm(x)
    t.linalg.norm(x, 1)
    t.linalg.vector_norm(x)
    t.linalg.matrix_norm(x)
    t.linalg.inv(q)
    t.inverse(q)
    t.linalg.det(q)
    t.det(q)
    t.linalg.slogdet(q)
    t.slogdet(q)
    t.logdet(q @ q.T + t.eye(4))
    t.linalg.solve(q, v)
    t.linalg.solve(q, q)
    t.linalg.cholesky(q @ q.T + t.eye(4))
    t.cholesky(q @ q.T + t.eye(4))
    t.linalg.qr(q)
    t.qr(q)
    t.linalg.eigh(q + q.T)
    t.linalg.eigvalsh(q + q.T)
    t.linalg.svd(q)
    t.svd(q)
    t.linalg.svdvals(q)
    t.linalg.pinv(q)
    t.pinverse(q)
    t.linalg.matrix_power(q, 2)
    t.linalg.multi_dot([q, q, q])
    t.linalg.solve_triangular(q, q, upper=True)
    t.linalg.vecdot(v, w)
    t.linalg.diagonal(q)
    x.view(12)
    x.view(4, 3)
    x.reshape(4, 3)
    x.reshape(-1)
    x.flatten()
    x.ravel()
    n.reshape(-1)
    n.flatten()
    x.unflatten(1, (2, 2))
    x.squeeze()
    x[None].squeeze(0)
    x[None].squeeze()
    x[None].squeeze((0, 1))
    x.unsqueeze(0)
    x.unsqueeze(-1)
    x.t()
    x.T
    x.mT
    x.transpose(0, 1)
    x.swapaxes(0, 1)
    c.permute(2, 0, 1)
    c.movedim(0, 1)
    c.moveaxis(0, 1)
    v.expand(3, 4)
    x.expand(2, 3, 4)
    x.expand(3, 4)
    x.expand_as(c)
    t.broadcast_to(v, (3, 4))
    t.broadcast_tensors(v, x)
    x.repeat(2, 2)
    x.tile(2)
    x.repeat_interleave(2)
    x.repeat_interleave(2, 0)
    x.flip(0)
    x.fliplr()
    x.flipud()
    x.roll(1)
    x.roll(1, 0)
    x.rot90()
    x.diagonal()
    q.diag()
    v.diag()
    v.diagflat()
    v.diag_embed()
    x.tril()
    x.triu()
    t.cat([x, y])
    t.stack([x, y])
    t.hstack([x, y])
    t.vstack([x, y])
    t.dstack([x, y])
    t.column_stack([v, w])
    x.split(2)
    x.split(2, 1)
    x.split([1, 2])
    x.chunk(2)
    x.unbind()
    x.unbind(1)
    x.tensor_split(2)
    x.hsplit(2)
    x.vsplit(3)
    x.narrow(0, 0, 2)
    x.select(0, 1)
    x.index_select(0, t.tensor([0]))
    x.gather(1, k)
    x.take(t.tensor([0, 3]))
    x.masked_select(x > 0)
    x[0]
    x[0, 0]
    x[0:2]
    x[:]
    x[...]
    x[..., 0]
    x[..., None]
    x[None]
    x[:, None]
    x[:, 1:3]
    x[::2, 1]
    x[1, ::2]
    x[None, 0]
    x[0, None]
    x[t.tensor([0, 1])]
    x[x > 0]
    x[row]
    x[0, t.tensor([0, 1])]
    x[[0, 1], [1, 2]]
    x[-1]
    x[True]
    v[2]
    v[1:]
    list(x)
    x.unfold(0, 2, 1)
    x.clone()
    x.contiguous()
    n.contiguous()
    x.double()
    x.to(t.float64)
    x.half()
    x.float()
    x.type(t.float64)
    x.type(t.DoubleTensor)
    x.detach()
    x.index_add(0, t.tensor([0]), y[:1])
    x.index_copy(0, t.tensor([0]), y[:1])
    x.index_fill(0, t.tensor([0]), 1.)
    x.scatter(0, k, y)
    x.scatter(0, k, 1.)
    x.scatter_add(0, k, y)
    x.scatter_reduce(0, k, y, "sum")
    x.index_reduce(0, t.tensor([0, 2, 0]), y, "prod")
    t.segment_reduce(x, "mean", lengths=t.tensor([2, 1]))
    x.masked_scatter(x > 0, y)
    x.put(t.tensor([0]), s.reshape(1))
    z = x.clone(); z.t_(); z
    z = x.clone(); z.transpose_(0, 1); z
    z = x.clone(); z.swapaxes_(0, 1); z
    z = x.clone(); z.swapdims_(0, 1); z
    z = x.clone(); z.unsqueeze_(0); z
    z = x.clone(); z.squeeze_(); z
    z = x.clone(); z.squeeze_(0); z
    z = x.clone(); z.squeeze_((0, 1)); z
    z = x.clone(); z.as_strided_((2,), (1,)); z
    x.as_strided((2, 2), (1, 1))
    x.as_strided_scatter(v[:2], (2,), (5,), 3)
    z = x.clone(); z.diagonal().fill_(2); z
    z = x.clone(); z[0] = 1; z
    z = x.clone(); z[0] = y[0]; z
    z = x.clone(); z[0, 1] = 5; z
    z = x.clone(); z[:, 1:] = 0; z
    z = x.clone(); z[...] = 0; z
    z = x.clone(); z[x > 0] = 0; z
    z = x.clone(); z[x > 0] = s; z
    z = x.clone(); z[[0, 1]] = 0; z
    z = x.clone(); z[:, [0, 1]] = 0; z
    z = x.clone(); z[0] += 1; z
    z = x.clone(); z[0].add_(1); z
    z = x.clone(); z[0].mul_(2); z[0]
    z = x.clone(); z.add_(1); z
    z = x.clone(); z += y; z
    z = x.clone(); z -= y; z
    z = x.clone(); z *= 2; z
    z = x.clone(); z /= 2; z
    z = x.clone(); z **= 2; z
    z = x.clone(); z %= 2; z
    z = x.clone(); z.zero_(); z
    z = x.clone(); z.fill_(2); z
    z = x.clone(); z.fill_(s); z
    z = x.clone(); z.copy_(y); z
    z = x.clone(); z.sub_(1); z
    z = x.clone(); z.div_(y); z
    z = x.clone(); z.pow_(2); z
    z = x.clone(); z.exp_(); z
    z = x.clone(); z.sigmoid_(); z
    z = x.clone(); z.tanh_(); z
    z = x.clone(); z.relu_(); z
    z = x.clone(); z.clamp_(min=0); z
    z = x.clone(); z.clamp_min_(0); z
    z = x.clone(); z.masked_fill_(x > 0, 1.); z
    z = x.clone(); z.neg_(); z
    z = x.clone(); z.abs_(); z
    z = x.clone(); z.sqrt_(); z
    z = x.clone(); z.lerp_(y, 0.5); z
    z = x.clone(); z.addcmul_(y, y); z
    z = x.clone(); z.addcdiv_(y, y); z
    z = q.clone(); z.addmm_(q, q); z
    z = x.clone(); z.normal_(); z
    z = x.clone(); z.uniform_(); z
    z = x.clone(); z.bernoulli_(); z
    z = x.clone(); z.exponential_(); z
    z = x.clone(); z.index_fill_(0, t.tensor([0]), 1.); z
    z = x.clone(); z.index_add_(0, t.tensor([0]), y[:1]); z
    z = x.clone(); z.cumsum_(0); z
    z = x.clone(); z.tril_(); z
    z = x.clone(); z.fill_diagonal_(0); z
    z = x.clone(); z.round_(); z
    z = x.clone(); z.floor_(); z
    t.nn.Linear(4, 2)(x)
    t.nn.Linear(4, 2)(c)
    t.nn.Linear(4, 2, bias=False)(c)
    t.nn.Conv2d(4, 2, 3)(image)
    t.nn.BatchNorm2d(4)(image)
    t.nn.LSTM(4, 3)(x)
    t.nn.GRU(4, 3)(x)
    t.nn.RNN(4, 3)(x)
    t.nn.LSTMCell(4, 3)(x)
    t.nn.GRUCell(4, 3)(x)
    t.nn.RNNCell(4, 3)(x)
    t.nn.MultiheadAttention(4, 2)(x, x, x)
    t.nn.Sequential(t.nn.Linear(4, 3), t.nn.ReLU())(x)
    t.nn.Flatten()(image)
    t.nn.Softmax(1)(x)
    t.nn.PReLU()(x)
    t.nn.Bilinear(4, 4, 2)(x, y)
    t.nn.Embedding(3, 2)(j)
    t.nn.CosineSimilarity()(x, y)
    x.H
    x.mH
    x.real
    x.positive()
    x.conj()
    x.resolve_conj()
    x.view_as(y)
    x.reshape_as(y)
    x.expand_as(x)
    x.sum_to_size(4)
    x.corrcoef()
    t.trapezoid(x)
    t.cumulative_trapezoid(x)
    t.meshgrid(v, u, indexing="ij")
    t.block_diag(x, x)
    t.atleast_2d(v)
    t.atleast_1d(v)
    t.combinations(v)
    t.cartesian_prod(v, w)
    x.quantile(0.5)
    x.nanquantile(0.5)
    t.polygamma(1, x)
    t.mvlgamma(x.abs() + 3, 2)
    t.histc(x.detach())
    t.var_mean(x)
""")

OTHERWISE = {
    "x[t.tensor(True)]",
    "x @ d",
    't.einsum("i,j->ij", v, u)',
    't.einsum("ij,ij->ij", x, y)',
    "t.autograd.grad((x ** 3).sum(), x, create_graph=True)",
    "t.atleast_1d(s)",
    "z = x.clone(); r = z.roll(0); r[0] = 5; (z, r)",
}
"""Cases of other tables whose last step is another one here, or an error there."""


def _all(*tables: list[str]) -> frozenset[str]:
    return frozenset(case for table in tables for case in table)


LEADS_OTHERWISE = _all(
    # Products are one product of matrices here, with other views about it.
    lines("""
        F.bilinear(x, y, c.reshape(2, 3, 4)[:, :, :].permute(0, 2, 1).matmul(x), None)
        x.cov()
        c @ v
        t.inner(v, w)
        t.inner(x, y)
        t.tensordot(x, y, 2)
        t.einsum("ij,kj->ik", x, y)
        t.einsum("i,i", v, w)
        t.einsum("bij,bjk->bik", c, d)
        t.matrix_power(q, 3)
        t.chain_matmul(q, q, q)
        t.linalg.multi_dot([q, q, q])
        x.corrcoef()
        F.linear(x, v)
        t.einsum("...ij,jk->...ik", c, a)
        t.einsum("a b, b -> a", x, v)
        t.einsum("i...,i->...", x, u)
        t.einsum("ij,ij,j->i", x, y, v)
        t.einsum("ij,j->i", x, v)
        t.einsum("ij,jk", x, a)
        t.einsum("ij,jk->ik", x, a)
        t.einsum("ij,kj->ik", [x, y])
        t.tensordot(c, d, dims=([0, 2], [0, 1]))
        t.tensordot(v, w, 0)
        t.tensordot(x, y)
        v @ d
        v.inner(w)
        x.cov(correction=0)
        x.cov(fweights=t.tensor([1, 2, 1, 3]))
        x.cov(fweights=t.tensor([1, 2, 1, 3]), aweights=v.detach().abs())
    """),
    # Functions of several steps in PyTorch, which are others here.
    lines("""
        F.normalize(x)
        F.kl_div(x, y.softmax(1), reduction="batchmean")
        F.multilabel_soft_margin_loss(x, (y > 0).float())
        F.pairwise_distance(x, y)
        F.cosine_similarity(x, y)
        x.nanmean()
        x.nanmean(0)
        t.linalg.norm(x, 1)
        v.diagflat()
        t.dstack([x, y])
        t.nn.PReLU()(x)
        t.nn.CosineSimilarity()(x, y)
        x.sum_to_size(4)
        t.cumulative_trapezoid(x)
        t.combinations(v)
        t.cartesian_prod(v, w)
        x.quantile(0.5)
        x.nanquantile(0.5)
        F.cross_entropy(x, labels, label_smoothing=0.2)
        F.cross_entropy(x, labels, v.detach().abs(), label_smoothing=0.2, reduction="none")
        F.embedding_bag(k, x, mode="sum", per_sample_weights=y[:2])
        t.gradient(x)
        t.gradient(x, edge_order=2)
        t.gradient(c, dim=(2, 0), spacing=[0.5, 2.0])
        t.gradient(c, dim=-1, spacing=0.25, edge_order=2)
        t.gradient(c, dim=2, spacing=(w.detach().abs().cumsum(0),))
        t.gradient(c, dim=[2], spacing=(w.detach().abs().cumsum(0),), edge_order=2)
        t.gradient(c[:, :, :2], spacing=s.detach().exp())
        t.gradient(x[:, :2], dim=1), t.gradient(t.arange(5)), t.gradient(s)
        F.kl_div(x, y, log_target=True, reduction="batchmean")
        F.normalize(x, p=1, dim=0)
        F.normalize(zero * 0, dim=1)
        F.pairwise_distance(x, y, keepdim=True)
        bad.nanmean(1)
        c.sum_to_size(4)
        t.atleast_3d(v)
        t.cartesian_prod(u, v)
        t.cartesian_prod(u, v, w)
        t.combinations(u, 5)
        t.combinations(v, 3)
        t.combinations(v, r=2, with_replacement=True)
        t.cosine_similarity(c, c[0], 1)
        t.cosine_similarity(x, v, dim=-1)
        t.cosine_similarity(x, y)
        t.cumulative_trapezoid(x, dx=2.)
        t.meshgrid(v, u, indexing="xy")
        t.pairwise_distance(x, y)
        t.special.ndtr(x), t.special.ndtri(x.sigmoid()), t.special.log_ndtr(x * 5)
        t.take_along_dim(x, i)
        t.trapezoid(x, v)
        t.trapezoid(x, y, dim=0)
        t.vstack([x, v])
        x.index_add(1, j, y[:, :4], alpha=2)
        x.quantile(0.3)
        x.quantile(0.3, 1)
        x.quantile(0.4, dim=1, interpolation="higher")
        x.quantile(0.4, dim=1, keepdim=True, interpolation="lower")
        x.quantile(0.4, interpolation="midpoint")
        x.quantile(0.6, 0, interpolation="nearest")
        x.quantile(t.tensor([0.25, 0.5, 1.0]).to(x.dtype), dim=0)
        x.quantile(t.tensor([0.25, 0.5]).to(x.dtype), dim=1, keepdim=True)
        x.take_along_dim(k, 0)
        x.take_along_dim(t.tensor([[1], [0], [3]]), dim=1)
        F.prelu(x, v)
    """),
    # Windows along one axis, corners, and what a reshape is called.
    lines("""
        F.adaptive_avg_pool1d(line, 1)
        F.pad(image, (1, 1, 1, 1), mode="circular")
        F.adaptive_avg_pool1d(line, 4)
        F.adaptive_max_pool1d(line, 4)
        t.adaptive_max_pool1d(line, 4)
        F.grid_sample(image, c[:, :, :2].reshape(2, 1, 3, 2), "bicubic", "border", True)
        F.grid_sample(image, c[:, :, :2].reshape(2, 1, 3, 2), "bicubic", align_corners=False)
        F.grid_sample(image, c[:, :, :2].reshape(2, 1, 3, 2), "nearest", align_corners=False)
        F.grid_sample(image, c[:, :, :2].reshape(2, 3, 1, 2), align_corners=False)
        F.grid_sample(image[:, None], c[:, :, :3].reshape(2, 1, 3, 1, 3), "nearest", "border", True)
        F.grid_sample(image[:, None], c[:, :, :3].reshape(2, 1, 3, 1, 3), align_corners=False)
        F.max_pool1d(line, 3, stride=1, padding=1)
        F.max_unpool1d(*F.max_pool1d(line, 2, return_indices=True), 2)
        F.pad(image, (1, 2, 3, 0), mode="circular")
        F.pad(line, (1, 4), mode="circular")
        F.pixel_shuffle(image[:, :4], 2)
    """),
    # Views of views are one view here, and a mask or a number in an index is no step.
    lines("""
        x[None, 0]
        x[True]
        z = x.clone(); z.fill_diagonal_(0); z
        c[:, None, [1, 0]]
        x.clone().fill_diagonal_(7)
        x[:, None, 1]
        x[False]
        x[t.tensor(1), k]
        z = x.clone(); r = z[1:]; r.t_(); r.mul_(2); (z, r)
        z = x.clone(); z.t().as_strided((3, 2), (1, 4), 1)
        z = x.clone(); z[0] = one; z
        z = x.clone(); z[1:].as_strided((2, 2), (1, 2))
        z = x.clone(); z[True] = y; z
    """),
)
"""Cases whose last step leads to other steps here than in PyTorch, though it has the same name."""

GRAPHS = lines("""
    t.nn.Sequential(t.nn.Linear(4, 3), t.nn.ReLU(), t.nn.Linear(3, 1))(x).sum()
    F.cross_entropy(F.linear(x, y, u), labels.clamp(max=2))
    F.cross_entropy(F.linear(x, y, u), y.softmax(1)[:, :3])
    F.cross_entropy(c, k[:2] * 0)
    F.linear(F.linear(c, y, u), q[:, :3])
    F.linear(v, y, u)
    F.linear(v, y)
    (c @ d).tanh().sum()
    F.l1_loss(x.exp(), y)
    F.kl_div(x, y, log_target=True)
    F.kl_div(x.log_softmax(1), y.softmax(1), reduction="sum")
    F.max_pool1d(line, 2).mean()
    F.avg_pool1d(line, 2)
    F.instance_norm(image, weight=v, bias=w)
    F.rms_norm(x, (4,), v)
    F.softsign(x * 2)
    (1 / x.exp()).sum()
    n.reshape(-1).norm()
    F.softplus(F.softplus(x)).std()
    t.addmm(q, q, q.exp()).clamp(0, 1).amax(0, keepdim=True)
    x.sort()[0].cumsum(0).logsumexp(0, True)
    t.linalg.slogdet(q)[1]
    t.stack([x, y]).nansum(0).roll(1).flip(0)
    z = x.clone(); z[0] = u[0]; z[1] *= 2; z.exp()
    z = x * 1; z[x > 0] = 0; z.add_(1); z.clamp_(0, 1); z
""")
"""Cases whose whole graph is PyTorch's, down to the leaves."""
