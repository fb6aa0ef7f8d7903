"""The cases of test_wider_names.py: PyTorch's less common names, one line each, as in function_cases.py.

`COMPUTED` are computations of floating operands that have derivatives, and are compiled, too. `OTHERS` change
tensors in place, look at elements, or ask questions. `REFUSED` fail in PyTorch's words.
"""

from __future__ import annotations

from function_cases import lines

_DOMAINS = {
    "acosh": "abs() + 1.5", "arccosh": "abs() + 1.5", "log": "abs()", "log2": "abs()", "log10": "abs()",
    "arcsin": "tanh() * 1", "asin": "tanh() * 1", "arctanh": "tanh() * 1", "atanh": "tanh() * 1",
    "arcsinh": "sin() * 1", "asinh": "sin() * 1", "cosh": "sin() * 1", "erfc": "sin() * 1",
}  # fmt: skip
_IN_PLACE = [f"z = x.detach().{made}; t.{name}_(z), z" for name, made in _DOMAINS.items()]

COMPUTED = lines("""
    t.frobenius_norm(x, 1), t.frobenius_norm(c, [0, 2], True), t.frobenius_norm(x, [0, -1])
    t.nuclear_norm(x), t.nuclear_norm(c, [0, 2]), t.nuclear_norm(x, True), t.nuclear_norm(c, (1, 2), True)
    t.norm_except_dim(c), t.norm_except_dim(c, 2, 1), t.norm_except_dim(c, 1, 2), t.norm_except_dim(c, 3, -1)
    t.slice_copy(x), t.slice_copy(x, 1, 0, 4, 2), t.slice_copy(x, 0, -2), t.slice_copy(c, 1, 1)
    t.as_strided_copy(x, (2, 2), (1, 2), 1)
    t.unsafe_chunk(x, 2), x.unsafe_chunk(3, 1)
    t.unsafe_split(x, 2, 1), x.unsafe_split(2)
    t.unsafe_split_with_sizes(x, [1, 3], 1), x.unsafe_split_with_sizes((1, 2))
    t.frexp(x)[0], x.frexp().mantissa
    t.nextafter(x, y), x.nextafter(x + 1), t.nextafter(x, v)
    t.index_reduce(x, 0, t.tensor([0, 2, 0]), y, "prod")
    x.index_reduce(1, t.tensor([3]), y[:, :1], "mean")
    x.index_reduce(0, t.tensor([0, 2, 0]), y, "amax", include_self=False)
    t.index_reduce(c, 2, j, c * 2, "amin"), t.index_reduce(x, 1, j, y, "mean", include_self=False)
    z = x * 1; z.index_reduce_(0, t.tensor([1, 1]), y[:2], "prod"), z
    z = x * 1; z.renorm_(2, 0, 0.5), z
    z = x.abs() + 1; z.polygamma_(2), z
    z = v * 1; t.addmv_(z, q, w), z
    z = x * 1; t.conj_physical_(z), z.conj_physical_()
    t.segment_reduce(x, "sum", lengths=t.tensor([2, 0, 1]))
    t.segment_reduce(x, "prod", lengths=t.tensor([3]))
    t.segment_reduce(x, "max", lengths=t.tensor([2, 1])), t.segment_reduce(x, "min", lengths=t.tensor([1, 2]))
    t.segment_reduce(x, "mean", lengths=t.tensor([2, 1]))
    t.segment_reduce(u, "sum", offsets=t.tensor([0, 3]))
    t.segment_reduce(x, "sum", lengths=t.tensor([[2, 2], [1, 3], [4, 0]]), axis=1)
    t.segment_reduce(x, "mean", lengths=t.tensor([2, 1]), initial=1.5)
    t.segment_reduce(x, "max", lengths=t.tensor([2, 0, 1]), initial=0.1)
    F.avg_pool3d(image, 2), F.avg_pool3d(image[None], 3, 1, 1, count_include_pad=False)
    F.adaptive_avg_pool3d(image, (2, None, 3)), F.adaptive_max_pool3d(image, (2, 3, 2))
    F.conv_transpose3d(image[:, None], kernel[None, :1, :2]), t.conv_transpose3d(image, kernel[:2, :, None])
    F.conv_transpose3d(image, kernel[:2, :, None], stride=2, padding=1, output_padding=1)
    t.svd(x, compute_uv=False)
    t.native_layer_norm(x, (4,), v, w, 1e-5), t.native_layer_norm(image, (7, 6), None, None, 1e-3)
    t.native_group_norm(image, v, w, 2, 4, 42, 2, 1e-5)
    t.native_group_norm(line, None, None, 2, 4, 9, 4, 1e-5)
    t.native_batch_norm(image, v, w, None, None, True, 0.1, 1e-5)
    t.native_batch_norm(image, v, None, t.ones(4).to(image.dtype), t.ones(4).to(v.dtype), False, 0.1, 1e-5)
    t.native_dropout(x, 0.5, False), t.native_dropout(x, 0.0, True)
    t.max_pool1d_with_indices(line, 2), F.max_pool1d_with_indices(line, 3, 1, 1)
    F.max_pool2d_with_indices(image, 2), F.max_pool2d_with_indices(image, (3, 2), 2, 1)
    F.max_pool3d_with_indices(image, 2), F.adaptive_max_pool1d_with_indices(line, 4)
    F.adaptive_max_pool3d_with_indices(image, (2, 3, 2))
    t.convolution(image, kernel, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1)
    t.convolution(image, kernel[:4], None, [2, 2], [0, 0], [1, 1], True, [1, 1], 1)
    t.convolution(line, kernel1[:, :2], x.flatten()[:6], [1], [1], [1], False, [0], 2)
    t.conv_tbc(c, c.transpose(1, 2)[:, :, :2], u[:2], 1), F.conv_tbc(c, c.transpose(1, 2)[:1], u)
    t.grid_sampler(image, c[:, :, :2].reshape(2, 3, 1, 2), 0, 0, False)
    t.grid_sampler_2d(image, c[:, :, :2].reshape(2, 3, 1, 2), 2, 1, True)
    t.grid_sampler_3d(image[:, None], c[:, :, :3].reshape(2, 1, 3, 1, 3), 0, 0, False)
    t.affine_grid_generator(c.reshape(4, 2, 3), (4, 3, 2, 5), False)
    t.embedding_bag(x, j, t.tensor([0, 2])), t.embedding_bag(x, j, t.tensor([0, 1]), False, 1)
    t.embedding_bag(x, j, t.tensor([0, 2]), False, 2), t.embedding_bag(x, j, t.tensor([0, 2, 2]), True, 1)
    t.embedding_bag(x, j, t.tensor([0, 2]), False, 0, False, v)
    t.triangular_solve(x.T[:3], q[:3, :3] + 3)
    t.triangular_solve(c.mT[:, :3], q[:3, :3] + 3, False, True, True)
    F.linear_cross_entropy(x, a.T, t.tensor([0, 4, 2]))
    F.linear_cross_entropy(x, a.T, k[0, :3], linear_bias=a[0])
    t.lstm_cell(x, (y, x), c.reshape(6, 4).repeat(3, 1)[:16], q.repeat(4, 1), v.repeat(4), w.repeat(4))
    t.gru_cell(x, y, q.repeat(3, 1), q.repeat(3, 1), w.repeat(3), v.repeat(3))
    t.rnn_tanh_cell(x, y, q, q, v, w)
    t.rnn_relu_cell(x, y, q, q), t.gru_cell(x, y, q.repeat(3, 1), q.repeat(3, 1))
    t.lstm(c, (x[None, :3], y[None, :3]), [q.repeat(4, 1)] * 2, False, 1, 0.0, False, False, False)
    t.gru(c, c.flip(0)[:, :3], [q.repeat(3, 1)] * 4, False, 2, 0.0, False, False, False)
    t.gru(c, x[None], [q.repeat(3, 1)] * 2 + [v.repeat(3)] * 2, True, 1, 0.0, False, False, False)
    t.rnn_tanh(c, c[:, :2], [q, q, q * 2, q], False, 1, 0.0, False, True, True)
    t.rnn_relu(c[0], t.tensor([2, 1]), x[None, :2], [q, q, v, w], True, 1, 0.0, False, False)
    t.cond(True, lambda r: r * 2, lambda r: r.exp(), (x,)), t.cond(x.sum() > 9, t.sin, t.cos, (y,))
    t.while_loop(lambda n, r: n < 3, lambda n, r: (n + 1, r * 2), (t.tensor(0), x))[1]
    t.segment_reduce(x, "sum", lengths=t.tensor([1, 1]), unsafe=True)
""")

OTHERS = [
    *_IN_PLACE,
    *lines("""
    t.range(0, 5), t.range(1, 10, 3), t.range(1.5, 3), t.range(5, 1, -2, dtype=t.int64), t.range(0, 1, 0.1)
    z = i + 0; t.gcd_(z, i + 4), z
    z = i + 0; t.lcm_(z, i + 1), z
    z = x.detach() * 1; t.feature_alpha_dropout_(z, 0.5, False), z
    t.manual_seed(3); z = image.detach() * 1; t.feature_alpha_dropout_(z, 0.5, True), z
    t.manual_seed(3); z = image.detach() * 1; t.feature_dropout_(z, 0.5, True), z
    t.frexp(x)[1], t.frexp(bad.detach()), t.frexp(t.tensor([0.0, -3.0, 1e-45, 0.5, -0.0])), t.frexp(x.half())
    t.nextafter(bad.detach(), zero[:2].detach()), t.nextafter(zero.detach(), ties.detach())
    t.nextafter(x.detach(), x.detach()), t.nextafter(x.detach().double(), y.detach().float())
    t.nextafter(x.detach().half(), y.detach().half())
    z = x.detach() * 1; z.nextafter_(y), z
    t.nonzero_static(i, size=3), t.nonzero_static(i, size=8, fill_value=-2), i.nonzero_static(size=0)
    t.nonzero_static(t.tensor(3), size=2), t.nonzero_static(x, size=20)
    t.histogram(x.detach(), 4), x.detach().histogram(bins=2), t.histogram(x.detach(), 5, range=(-1.0, 0.5))
    t.histogram(x.detach(), t.tensor([-1.0, 0.1, 2]).to(x.dtype)), t.histogram(x.detach(), 3, density=True)
    t.histogram(x.detach(), 4, weight=y.detach()), t.histogram(ties.detach() * 0, 3)
    t.histogram(x.detach(), 4, weight=y.detach().abs(), density=True), t.histogram(empty.detach(), 2)
    t.histogram(x.detach(), t.tensor([3.0, 1.0, 2.0]).to(x.dtype)), t.histogram(i.to(x.dtype), 3)
    t.histogramdd(c.detach(), 3), t.histogramdd(x.detach()[:, :2], (2, 3), range=(-1.0, 1.0, -2.0, 0.5))
    t.histogramdd(x.detach()[:, :2], 2, weight=u.detach()), t.histogramdd(x.detach()[:, :3], (1, 2, 3))
    t.histogramdd(x.detach()[:, :2], (t.tensor([-9.0, 0, 1]).to(x.dtype), t.tensor([0.0, 6]).to(x.dtype)))
    t.histogramdd(x.detach()[:, :2], (2, 2), density=True)
    i.index_reduce(0, t.tensor([1, 1]), i + 3, "mean", include_self=False)
    i.index_reduce(1, j[:3], i, "prod")
    t.segment_reduce(x.detach(), "mean", lengths=t.tensor([2, 0, 1]))
    t.segment_reduce(x.detach(), "min", lengths=t.tensor([0, 3]))
    z = x.detach() * 1; z.resize_(2, 3), z
    z = x.detach() * 1; z.resize_((2,)), z.is_contiguous(), z.t().resize_(1, 2)
    z = x.detach().t(); z.resize_(2, 2), z
    z = x.detach()[1:]; z.resize_(2, 3), z.storage_offset()
    z = x.detach() * 1; z.resize_(5, 4)[:3], z.shape
    z = x.detach() * 1; z.resize_as_(i), t.resize_as_(z, v).shape
    z = t.zeros(2, dtype=x.dtype); z.set_(x.detach()), z.data_ptr() == x.data_ptr()
    z = t.zeros(2, dtype=x.dtype); z.set_(x.detach().clone().untyped_storage()), z
    z = t.zeros(2); z.set_(), z.shape
    z = t.zeros(2, dtype=x.dtype); z.set_((x.detach() * 1).untyped_storage(), 1, (2, 2), (1, 2)), z.stride()
    z = t.zeros(2, dtype=x.dtype); z.set_((x.detach() * 1).storage(), 1, (2, 2)), z.storage_offset()
    z = t.zeros(2, dtype=x.dtype); z.set_(x.detach(), 1, (2, 2), (4, 1)), z
    z = t.zeros(2); z.set_(t.arange(12.0)[2:], 1, (2, 2), (3, 1)), z.storage_offset()
    z = t.zeros(0); z.set_(t.zeros(4), 4, (0, 2), (5, 1)), z.stride(), z.storage_offset()
    z = t.arange(12).half().view(3, 4).t(); z.resize_(2, 5), z.untyped_storage().nbytes()
    z = t.arange(12)[3:]; z.resize_(3, 4), z.resize_(0, 3), z.storage_offset()
    z = t.arange(12).reshape(3, 4).t().clone(); z.resize_(2, 2), z.resize_(4, 3), z._version
    z = t.arange(6.0); w = z.view(2, 3); w.resize_(3, 2), w.add_(1), z, z._version, w._version
    z = t.ones(3); z.resize_(2, 2).numel(), z.shape, z._version, z.resize_(3, 3)._version, z.flatten()[:3]
    z = t.arange(6.0).view(t.int32)[1:]; z.resize_(2, 2), z
    x.is_set_to(x), x.is_set_to(x.view(12)), x.is_set_to(x.view(3, 4)), x.is_set_to(x.clone())
    x.detach().new(), x.detach().new(2, 3).shape, i.new([1, 2]), x.new((2, 3)), x.new(x.shape).shape
    z = x.detach(); z.new(z).data_ptr() == z.data_ptr(), str(i.new(2).dtype)
    t.empty_strided((2, 3), (1, 2)).stride(), str(t.empty_strided((2, 3), (1, 2), dtype=t.int64).dtype)
    i.new_empty_strided((2, 3), (4, 1)).stride(), str(i.new_empty_strided((2,), (3,)).dtype)
    t.empty_strided((2, 3), (0, 1)).stride(), t.empty_strided((0, 3), (7, 1)).shape
    t.empty_permuted((2, 3, 5), (2, 0, 1)).stride(), t.empty_permuted((2,), (0,), dtype=t.int32).shape
    z = x.detach() * 1; z.apply_(lambda r: r * 2 + 1), z
    z = i + 0; z.apply_(lambda r: r // 2), z.t().apply_(lambda r: r + 1), z
    z = x.detach() * 1; z.map_(y.detach(), lambda r, s: r * s), z
    z = x.detach() * 1; z.map_(v.detach(), lambda r, s: r - s), z
    z = x.detach() * 1; z.map2_(y.detach(), one.detach(), lambda r, s, o: r + s * o), z
    t.frombuffer(bytearray(range(8)), dtype=t.int32), t.frombuffer(bytearray(8), dtype=t.float64)
    t.frombuffer(bytearray(b"abcdefgh"), dtype=t.uint8, count=3, offset=2)
    t.frombuffer(np.arange(6.0), dtype=t.float64), t.frombuffer(np.arange(6), dtype=t.int64, count=2)
    z = np.arange(3.0); r = t.frombuffer(z, dtype=t.float64); z[1] = 7; r
    t.manual_seed(3); F.dropout3d(image, 0.5), F.dropout3d(image, 0.3, False)
    t.sym_int(3.7), t.sym_int(-3.7), t.sym_float(3), t.sym_max(2, 3.5), t.sym_max(2, 1), t.sym_min(2, 3.5)
    t.sym_min(2, 1.0), t.sym_not(True), t.sym_ite(True, 1, 2), t.sym_sum([1, 2, 3]), t.sym_sum(1, 2)
    t.sym_sqrt(4), t.sym_sqrt(2.5), t.sym_sum([])
    t.manual_seed(3); F.fractional_max_pool2d_with_indices(image, 2, (3, 4))
    t.manual_seed(3); F.fractional_max_pool3d_with_indices(image, 2, 2), F.fractional_max_pool3d(image, 2, 1)
    z = t.ones(2, 4, 2).to(x.dtype) * 0.3; F.fractional_max_pool2d(image, 2, (3, 2), _random_samples=z)
    t.manual_seed(3); z = t.svd_lowrank(x.detach(), 2); z[1], z[0].abs(), z[2].abs()
    t.manual_seed(3); z = t.svd_lowrank(c.detach(), 3, 1, c.detach().mean(1, True)); z[1][:, :2]
    t.manual_seed(3); z = t.pca_lowrank(a.detach()); z[1][:3], z[2][:, :3].abs()
    t.manual_seed(3); z = t.pca_lowrank(a.detach().T, 3, False); z[1], z[0].abs(), t.rand(2)
    t.manual_seed(3); t.svd_lowrank(x, 3)[1], t.pca_lowrank(a, 2, niter=3)[1]
    z = x.detach() * 1; t.embedding_renorm_(z, t.tensor([0, 2, 0]), 1.0, 2.0), z
    t.manual_seed(3); t.native_dropout(x.detach(), 0.4, True)
    x.dim_order(), x.t().dim_order(), s.dim_order(), c.permute(2, 0, 1).dim_order()
    x.const_data_ptr() == x.data_ptr()
    z = i.storage(); z.size(), list(z), z[2], z.nbytes(), str(z.dtype), z.element_size(), len(z), z.tolist()
    str(t.ones(2).storage()), t.ones(2).untyped_storage().tolist(), t.ones(2).untyped_storage()[2]
    i.storage_type().__name__, isinstance(i.storage(), i.storage_type()), x.bool().storage_type().__name__
    isinstance(x.storage(), i.storage_type()), i.storage_type() is j.storage_type()
    t.ones(3).storage().fill_(2.0).tolist(), i.storage().untyped().nbytes()
    """),
]

_BESSEL = (
    "airy_ai", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "modified_bessel_k0", "modified_bessel_k1",
    "scaled_modified_bessel_k0", "scaled_modified_bessel_k1", "spherical_bessel_j0",
)  # fmt: skip
_KINDS = (
    *(f"{lead}chebyshev_polynomial_{kind}" for lead in ("", "shifted_") for kind in "tuvw"),
    "hermite_polynomial_h", "hermite_polynomial_he", "laguerre_polynomial_l", "legendre_polynomial_p",
)  # fmt: skip
PHYSICS = [
    *(f"t.special.{name}(x.abs() * 2), t.special.{name}(x * 2), t.special.{name}(i)" for name in _BESSEL),
    *(f"t.special.{name}(ties.detach() * 0), t.special.{name}(bad[0])" for name in _BESSEL),
    *(
        f"t.special.{name}(x, 2), t.special.{name}(x, i.float()[:1, :1]), t.special.{name}(0.3, j), "
        f"t.special.{name}(x, -1), t.special.{name}(i, 3), t.special.{name}(x, 2.7), t.special.{name}(x, 9)"
        for name in _KINDS
    ),
]
"""Without derivatives; PyTorch's have seven digits or so far from 0."""

REFUSED = lines("""
    t.range(0, 5, -1)
    t.range(0, 1, 0)
    t.frobenius_norm(c, [0, 1, 2])
    t.frexp(i)
    t.nextafter(i, i)
    t.nonzero_static(i, size=-1)
    t.histogram(i, 3)
    t.histogram(x.detach(), 0)
    t.histogram(x.detach(), 3, range=(2.0, 1.0))
    t.histogram(x.detach(), 3, weight=v.detach())
    t.histogram(x.detach(), t.tensor([[0.0, 1]]))
    t.histogram(x.detach(), t.tensor([0.0, 1]).double())
    t.histogram(bad.detach(), 3)
    t.histogramdd(x.detach(), (2,))
    t.histogramdd(x.detach()[:, :2], 2, range=(0.0, 1.0))
    t.histogramdd(v.detach(), 2)
    x.index_reduce(0, j[:1], x[:1], "sum")
    x.index_reduce(0, t.tensor([5]), x[:1], "amin")
    x.index_reduce(0, t.tensor([0, 1]), x[:1], "amin")
    x.index_reduce(0, t.tensor([0]), y[:1, :2], "amin")
    t.segment_reduce(x, "sum", lengths=t.tensor([2, 0]))
    t.segment_reduce(x, "foo", lengths=t.tensor([2, 1]))
    t.segment_reduce(x, "sum")
    t.segment_reduce(i, "sum", lengths=t.tensor([2, 1]))
    t.segment_reduce(x, "sum", lengths=t.tensor([2, -1, 2]))
    t.segment_reduce(x, "sum", lengths=t.tensor([2, 1]), axis=1)
    x.resize_(2, 2)
    (x * 1).resize_(2)
    t.zeros(2).set_(i)
    t.zeros(2).set_(t.zeros(12), -1, (2, 3), (3, 1))
    t.zeros(2).set_(t.zeros(12), 3, (-2, 3), (3, 1))
    t.empty_strided((2, 3), (1, 2, 3))
    t.empty_permuted((2, 3), (0, 0))
    t.empty_permuted((2, 3), (0,))
    x.apply_(abs)
    z = x.detach().float() * 1; z.map_(i, max)
    t.frombuffer(bytearray(9), dtype=t.int32)
    t.frombuffer(bytearray(8), dtype=t.int32, offset=9)
    t.frombuffer(bytearray(8), dtype=t.int32, count=3)
    t.frombuffer(bytearray(0), dtype=t.int32)
    t.frombuffer(3, dtype=t.int32)
    t.pca_lowrank(x, 5)
    t.pca_lowrank(x, 2, niter=-1)
    t.special.bessel_j0(x.half())
    t.special.hermite_polynomial_h(x.half(), 2)
    F.fractional_max_pool2d(image, 2)
    t.nn.FractionalMaxPool2d(2)
    t.nn.FractionalMaxPool2d(2, 3, 0.5)
    t.nn.FractionalMaxPool3d(2, output_ratio=1.5)
    t.nn.LinearCrossEntropyLoss(3, 5, label_smoothing=2.0)
    t.nn.LinearCrossEntropyLoss(3, 5, weight=v)
    t.sym_ite(1, 1, 2)
    t.sym_ite(True, 1, 2.0)
    t.sym_max("2", 3)
    t.use_deterministic_algorithms(1)
    t.set_deterministic_debug_mode(5)
    t.set_deterministic_debug_mode("x")
    t.set_deterministic_debug_mode(1.5)
    t.set_default_tensor_type(t.IntTensor)
    t.set_default_tensor_type(t.float32)
""")
