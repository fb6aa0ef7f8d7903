"""The cases of test_functions.py for what stands beside the main roads: names in place, questions,
combinations, windows, random masks, derivatives of functions.
"""

from __future__ import annotations

from function_cases import lines

AT_TOP = lines("""
    abs
    acos
    atan
    ceil
    cos
    deg2rad
    erf
    exp
    exp2
    expm1
    floor
    frac
    log1p
    neg
    negative
    rad2deg
    reciprocal
    relu
    round
    rsqrt
    selu
    sigmoid
    sin
    sinc
    sinh
    sqrt
    square
    tan
    tanh
    trunc
    arctan
    fix
""")
IN_PLACE = [
    *(f"z = x.detach() * 0.5; t.{name}_(z), z" for name in AT_TOP),
    *lines("""
        z = x * 1; t.clamp_(z, -0.5, 0.5), z
        z = x * 1; t.clamp_min_(z, 0), z
        z = x * 1; t.clamp_max_(z, 0), z
        z = x * 1; t.clip_(z, min=0), z
        z = x * 1; t.xlogy_(z, y.detach().abs()), z
        z = bad * 1; t.nan_to_num_(z, 0.0), z
        z = x.sigmoid() * 1; t.logit_(z), z
        z = x * 1; t.fill_(z, 3.0), z
        z = x * 1; t.zero_(z), z
        z = x * 1; t.detach_(z).requires_grad
        z = x * 1; F.relu_(z), z
        z = x * 1; F.elu_(z, 0.7), z
        z = x * 1; F.celu_(z, 0.5), z
        z = x * 1; t.celu_(z), z
        z = x * 1; F.selu_(z), z
        z = x * 1; F.leaky_relu_(z, 0.2), z
        z = x * 1; F.hardtanh_(z, -0.2, 0.3), z
        z = x * 1; F.threshold_(z, 0.1, 2.0), z
        z = x * 1; t.threshold_(z, 0.1, 2.0), z
        z = x * 1; F.rrelu_(z), z
    z = x * 1; z.clip_(-0.3), z.clamp_(max=0.2)
        z = x * 1; z.ldexp_(j), z
    """),
]

QUESTIONS = lines("""
    str(x.layout), str(t.strided), x.layout == t.strided, type(x.layout) is t.layout
    t.is_floating_point(x), t.is_floating_point(i), x.is_floating_point()
    t.is_complex(x), x.is_complex()
    t.is_nonzero(s), s.is_nonzero()
    t.is_same_size(x, y), x.is_same_size(v)
    t.is_tensor(x), t.is_tensor(3)
    t.numel(x)
    t.is_signed(x), t.is_signed(b), i.is_signed(), t.is_signed(i.to(t.uint8))
    t.isreal(x), x.isreal()
    t.is_conj(x), x.is_conj(), t.is_neg(x), x.is_neg()
    t.is_inference(x), x.is_inference()
    x.is_cpu, x.is_cuda, x.is_sparse, x.is_quantized, x.is_meta, x.is_nested, x.is_mkldnn
    x.get_device(), t.get_device(x)
    x.is_shared(), x.is_pinned()
    x.ndimension(), s.ndimension()
    x.itemsize, i.itemsize
    c.mH
    t.typename(x), t.typename(i), t.typename(3)
    t.real(x), x.conj(), t.conj_physical(x), x.resolve_conj(), t.resolve_neg(x)
    str(t.get_default_dtype())
    str(t.promote_types(t.int32, t.float32)), str(t.result_type(x, i)), str(t.result_type(i, 1.5))
    t.can_cast(t.float64, t.float32), t.can_cast(t.float32, t.int64)
    t.empty_like(x).shape, str(t.empty_like(x, dtype=t.int64).dtype), x.new_empty(2, 3).shape
    t.positive(x), x.positive()
    t.clone(x), t.detach(x)
    t.fill(x, 2.5), t.fill(i, 7)
    t.manual_seed(5); t.initial_seed()
    t.manual_seed(5); z = t.get_rng_state(); t.rand(7); t.set_rng_state(z); t.rand(3)
    t.manual_seed(5); t.rand_like(x), t.randn_like(x), t.randint_like(i, 5)
    t.manual_seed(5); t.randn_like(x, dtype=t.float64), t.randint_like(x, 2, 9)
""")

COMBINATIONS = lines("""
    t.gradient(x)
    t.gradient(x, edge_order=2)
    t.gradient(c, dim=(2, 0), spacing=[0.5, 2.0])
    t.gradient(c, dim=-1, spacing=0.25, edge_order=2)
    t.gradient(c, dim=2, spacing=(w.detach().abs().cumsum(0),))
    t.gradient(c, dim=[2], spacing=(w.detach().abs().cumsum(0),), edge_order=2)
    t.gradient(c[:, :, :2], spacing=s.detach().exp())
    t.gradient(x[:, :2], dim=1), t.gradient(t.arange(5)), t.gradient(s)
    t.gcd(i, i + 4)
    t.lcm(i, t.tensor([4, 6, 9]))
    i.gcd(t.tensor(6, dtype=t.int32))
    z = i + 0; z.gcd_(i * 2), z
    z = i + 0; z.lcm_(i), z
    t.unravel_index(i, (4, 5))
    t.unravel_index(t.tensor(7), (2, 3, 4))
    t.unravel_index(t.tensor([3, 1]), 5)
    t.cartesian_prod(u, v)
    t.cartesian_prod(u, v, w)
    t.cartesian_prod(u)
    t.combinations(v)
    t.combinations(v, 3)
    t.combinations(v, r=2, with_replacement=True)
    t.combinations(u, 5)
    t.combinations(v, 0)
    t.select_scatter(x, v, 0, 1)
    x.select_scatter(u, 1, -1)
    t.slice_scatter(x, a[:2, :4], 0, 1)
    x.slice_scatter(a[:3, :2], 1, 0, 4, 2)
    x.split_with_sizes([1, 2]), t.split_with_sizes(x, (3, 1), 1)
    t.dsplit(c, 2), c.dsplit([1, 3])
    t.ldexp(x, j), t.ldexp(i, t.tensor(2))
    t.polygamma(0, x.detach().exp()), t.polygamma(2, x.exp()), (x.exp() + 1).polygamma(3)
    t.mvlgamma(x.abs() + 3, 3), (x.abs() + 1).mvlgamma(2)
""")

WINDOWS = [
    f"t.{name}_window({arguments})"
    for name in ("hann", "hamming", "blackman", "bartlett", "kaiser")
    for arguments in ("0", "1", "2", "7", "8, periodic=False", "9, False, dtype=t.float64")
] + ["t.kaiser_window(7, True, beta=3.5)", "t.kaiser_window(6, True, 0.0)"]

RANDOM = lines("""
    t.manual_seed(3); t.dropout(x, 0.4, True)
    t.dropout(x, 0.4, False)
    t.manual_seed(3); z = x * 1; t.dropout_(z, 0.4, True), z
    t.manual_seed(3); t.alpha_dropout(x, 0.4, True), F.alpha_dropout(x, 0.3, training=True)
    F.alpha_dropout(x, 0.4), F.alpha_dropout(x, 1.0, True), F.alpha_dropout(x, 0.0, True)
    t.manual_seed(3); z = x * 1; t.alpha_dropout_(z, 0.4, True), z
    t.manual_seed(3); t.feature_dropout(image, 0.5, True)
    t.manual_seed(3); t.feature_alpha_dropout(image, 0.5, True), F.feature_alpha_dropout(image, 0.2, True)
    t.manual_seed(3); t.nn.AlphaDropout(0.3)(x), t.nn.FeatureAlphaDropout(0.3)(image)
    t.nn.AlphaDropout(0.3).eval()(x)
    t.manual_seed(3); F.gumbel_softmax(x), F.gumbel_softmax(x, hard=True)
    t.manual_seed(3); t.nn.Dropout1d(0.3)(line)
""")

DERIVATIVES = lines("""
    t.autograd.functional.jacobian(lambda z: z.sin() @ a.detach(), x.detach())
    t.autograd.functional.jacobian(lambda z, r: (z * r).sum(1), (x.detach(), v.detach()))
    t.autograd.functional.jacobian(lambda z: (z, z.exp()), u.detach(), create_graph=False)
    t.autograd.functional.jacobian(lambda z: u.detach() * 2, x.detach())
    t.autograd.functional.hessian(lambda z: (z.sin() * z).sum(), x.detach())
    t.autograd.functional.hessian(lambda z, r: (z.exp() * r).sum() * r[0], (v.detach(), w.detach()))
    t.autograd.functional.jvp(lambda z: z.tanh().sum(1), x.detach(), y.detach())
    t.autograd.functional.jvp(lambda z, r: z * r.exp(), (x.detach(), v.detach()), (y.detach(), w.detach()))
    t.autograd.functional.vhp(lambda z: (z ** 3).sum(), x.detach(), y.detach())
    t.autograd.functional.vhp(lambda z, r: (z * z * r).sum(), (v.data, w.data), (w.data, v.data))
    t.autograd.functional.hvp(lambda z: (z ** 3).sum(), x.detach(), y.detach())
    t.autograd.functional.vjp(lambda z: z.cos(), x.detach(), y.detach())
    t.autograd.grad((x * y).sum(), [x, y])
    t.autograd.grad(x.sin(), x, y.detach())
    t.autograd.grad((x ** 3).sum(), x, create_graph=True)
    t.autograd.grad(x.sum(), [x, y], allow_unused=True)
    t.autograd.grad(x.sum(), [x, y], materialize_grads=True)
    t.autograd.grad(x.sum(1), x, t.eye(3, dtype=x.dtype), is_grads_batched=True)
    t.autograd.grad((x * v).sin().sum(1), [x, v], t.eye(3, dtype=x.dtype), is_grads_batched=True)
""")

EDGES = lines("""
    z = F.binary_cross_entropy_with_logits(x, y.detach().double().sigmoid()); z.dtype, z.float()
    z = F.binary_cross_entropy_with_logits(x, (y.detach() > 0).float()); z.dtype, z.float()
    F.scaled_dot_product_attention(x, x, y, attn_mask=t.tensor([[True], [False], [True]]))
    F.scaled_dot_product_attention(x, x, y, attn_mask=(x[:, :3] - inf).detach())
    F.scaled_dot_product_attention(x[:, :0], y[:, :0], x)
    F.hardswish(bad[1:]), F.hardswish(t.tensor([-3.0, 3.0, 0.0, 5.0]).to(x.dtype) * s.exp() / s.exp())
    F.smooth_l1_loss(bad, zero[1:].detach(), reduction="none"), F.huber_loss(bad, zero[1:].detach(), "none")
    F.smooth_l1_loss(x, y, beta=0.3, reduction="none"), F.huber_loss(x, y, "none", 0.3)
    F.hardtanh(i), F.relu6(i), F.threshold(i, 2.5, 0.5), F.relu6(i.int())
    F.linear(i, i), F.linear(i, i, i[0, :2])
    F.l1_loss(i, i * 2, reduction="sum"), F.l1_loss(i, i[:1], reduction="none")
    t.trapezoid(bad), t.trapezoid(bad, dim=0), t.trapezoid(i), t.trapezoid(i[:, :0])
    t.cov(one), t.cov(x), t.cosine_similarity(s, s * 2, 0)
    t.tensordot(x, one[:, :1], 1), t.tensordot(a[:, :1], q, 1)
    t.isclose(b, b), t.allclose(b, ~b), F.batch_norm(t.zeros(2, 0, 3), None, None, training=True)
    z = v * 1; z.unfold(0, 2, 2).mul_(w[:2]); z
    z = v * 1; r = z.unfold(0, 3, 1); z.mul_(w); r
    z = x.t() * 1; r = z.unfold(1, 2, 1).unfold(0, 3, 1); z.add_(1); r
    z = i * 1; z.unfold(1, 1, 2).add_(3); z
    z = (x * 2).round() + x - x.detach(); z.median(), z.nanmedian(), (z / z).median(), (z * s).t().median()
    z = i * 1; z[:0].expand(3, 0, 3).add_(1), z[:0, :1].expand(0, 4).mul_(2), z
    t.float_power(x.detach().abs() + 1, 0.1), t.float_power(0.3, x.detach()), i.float_power(0.7)
    t.addcmul(i.int(), i.int(), i.int(), value=1.7), t.addcmul(x.float() / 3, y.double(), x.float() / 7)
    t.addcmul(x.float(), s.float() * 3e38 / s.detach().float(), s.float() * 0, value=20)
    z = t.cdist(t.tensor([[nan, 1.0], [2.0, inf]]), t.tensor([[2.0, 1.0], [nan, inf]]), p=0.0); z
    z = b.clone(); z.unfold(1, 2, 2).logical_not_(); z
""")
"""Empty, infinite and mixed operands, and views of windows."""

TABLES = {
    "in place": IN_PLACE,
    "questions": QUESTIONS,
    "combinations": COMBINATIONS,
    "windows": WINDOWS,
    "random": RANDOM,
    "derivatives": DERIVATIVES,
}
