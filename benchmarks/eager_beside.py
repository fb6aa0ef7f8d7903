"""Lines for `eager_sweep.py` with names that the tests use in programs, and in no line of a table of cases.

In flow nothing; out flows `BESIDE`, lines as those of `tests/function_cases.py`, on its operands. A name that
is not swept yet is a word of one of these tables, or a line.
"""

from __future__ import annotations


def _words(table: str) -> list[str]:
    return table.split()


_UNARY = _words("""
    acos acosh arccos arccosh arcsin arcsinh arctan arctanh asin asinh atan atanh ceil cosh deg2rad
    erfinv digamma exp fix floor frac lgamma log log10 log2 logical_not nan_to_num neg negative rad2deg
    reciprocal rsqrt sgn sign sinh sqrt tan trunc abs cos sin tanh sigmoid square i0 round
""")
_BINARY = _words("""
    add sub mul div subtract multiply divide true_divide floor_divide remainder fmod pow float_power
    atan2 arctan2 copysign heaviside hypot igamma igammac eq ne lt le gt ge greater greater_equal less
    less_equal not_equal logical_and logical_or logical_xor
""")
_BITS = _words("""
    bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift
""")
_OUT_OF_PLACE = _words("""
    maximum(y) minimum(y) fmax(y) fmin(y) logaddexp(y) logaddexp2(y) allclose(y) equal(y) isclose(y)
    isfinite() isinf() isnan() isneginf() isposinf() signbit() clamp_max(0.5) clamp_min(0.5)
    clip(0.2,0.8) clamp(0.2,0.8) addcmul(y,y) addcdiv(y,y) lerp(y,0.5) bernoulli() multinomial(2)
""")

_METHODS = """
    x.bfloat16(); x.half(); x.byte(); x.char(); x.int(); x.short(); x.contiguous(); x.cpu(); x.type_as(i)
    x.type(); x.type(t.float64); x.dim(); x.ndim; x.device; x.grad; x.grad_fn; x.is_leaf; x.nelement()
    x.real; x.output_nr; x.retains_grad; x.detach().numpy(); s.item(); x.where(x > 0, y)
    x.requires_grad_(); x.data; x.layout; x.is_cuda; x.names; x.untyped_storage(); x.storage()
    x.storage().size(); x.is_shared(); x.untyped_storage().data_ptr(); x.untyped_storage().nbytes()
    x.__dlpack__(); len(x); x.positive(); t.positive(x); +x; x.t().contiguous(); x.mode(); x.T; x.mT; x.H
    x.itemsize; x.nbytes; x.put(t.tensor([0]), t.ones(1)); i.bitwise_not(); t.bitwise_not(i); ~i
    x.sum_to_size(4); x.is_same_size(y); x.new(); x.tolist(); x.stride(); x.is_contiguous()
    x.is_set_to(y); x.get_device(); x.has_names(); x.element_size(); x.storage_offset(); x.data_ptr()
    x.dim_order(); x.resolve_conj(); x.resolve_neg(); x.to(i); x.to(dtype=t.float64); x.to("cpu")
    x.to(t.float64, copy=True); x.to("cpu", t.float64); x.size(); x.size(0); x.shape; x.shape[0]
    x.shape.numel(); x.dtype.is_floating_point; t.Size([3, 4]); x.nonzero(); x.register_hook(abs)
    (x * 1).retain_grad(); x.as_subclass(t.Tensor)
"""
_IN_PLACE = """
    z.t_(); z.unsqueeze_(0); z.squeeze_(); z.transpose_(0, 1); z.swapaxes_(0, 1); z.swapdims_(0, 1)
    z.tril_(); z.triu_(); z.copy_(y); z.cumprod_(0); z.cumsum_(0); z.mvlgamma_(1)
    z.index_fill_(0, t.tensor([0]), 1.0); z.index_copy_(0, t.tensor([0]), y[:1])
    z.masked_scatter_(x > 0, y); z.masked_fill_(x > 0, 0.0); z.scatter_reduce_(0, k, y, "sum")
    z.scatter_(0, k, y); z.scatter_add_(0, k, y); z.gather(0, k); z.addcmul_(y, y); z.addcdiv_(y, y)
    z.lerp_(y, 0.5); z.clamp_(0.2, 0.8); z.clip_(0.2, 0.8); z.clamp_min_(0.1); z.clamp_max_(0.9)
    z.bernoulli_(); z.cauchy_(); z.exponential_(); z.geometric_(0.5); z.log_normal_(); z.normal_()
    z.random_(); z.uniform_(); z.detach_(); z.zero_(); z.fill_(1.0); z.requires_grad_()
    z.fill_diagonal_(0.0); z.put_(t.tensor([0]), t.ones(1)); z.resize_(3, 4)
    z.index_add_(0, t.tensor([0]), y[:1]); z.index_put_((t.tensor([0]),), y[:1]); z.erfinv_(); z.set_(y)
    z.share_memory_(); z.relu_(); z.renorm_(2, 0, 1.0); z.sigmoid_(); z.logit_(); z.xlogy_(y)
    z.nan_to_num_(); z[0] = 1.0; z[0] = y[0]; z[:, 1] = 2.0; z[z > 0.5] = 0.0; z[0] += 1
"""
_MATRICES = """
    z.addmm_(z, z); z.addr_(v, w)
"""
_FUNCTIONS = """
    t.empty(3); t.randn(3); t.randint(0, 5, (3,)); t.randperm(3); t.normal(0.0, 1.0, (3,)); t.rsub(x, y)
    t.poisson(z); t.bernoulli(z); t.multinomial(z, 2); t.binomial(z.round() + 3, z); t.selu(x)
    t.is_grad_enabled(); t.is_inference_mode_enabled(); t.get_default_device(); t.get_default_dtype()
    t.get_num_threads(); t.get_num_interop_threads(); t.get_rng_state(); t.initial_seed()
    t.manual_seed(3); t.get_float32_matmul_precision(); t.is_warn_always_enabled()
    t.are_deterministic_algorithms_enabled(); t.is_anomaly_enabled(); t.is_anomaly_check_nan_enabled()
    t.is_autocast_enabled(); t.is_autocast_cache_enabled(); t.get_autocast_dtype("cpu")
    t.get_deterministic_debug_mode(); t.set_rng_state(t.get_rng_state())
    t.is_deterministic_algorithms_warn_only_enabled(); t.set_default_dtype(t.float32)
    t.set_num_threads(1); t.set_grad_enabled(True); t.no_grad(); t.enable_grad(); t.inference_mode()
    t.set_warn_always(False); t.set_float32_matmul_precision("highest")
    t.use_deterministic_algorithms(False); t.set_flush_denormal(False); t.typename(x); t.typename(3)
    t.is_tensor(x); t.is_floating_point(x); t.is_complex(x); t.is_nonzero(s); t.numel(x)
    t.finfo(t.float32); t.finfo(t.float32).eps; t.iinfo(t.int64).max; t.result_type(x, i)
    t.can_cast(t.int64, t.float32); t.promote_types(t.int64, t.float32); t.device("cpu"); t.Generator()
    t.Generator().manual_seed(0); t.seed(); t.from_numpy(np.zeros(3)); t.tensor(1.5); t.tensor(3)
    t.scalar_tensor(1.5); t.asarray([1.0, 2.0]); t.asarray(np.zeros(3))
    t.frombuffer(bytearray(8), dtype=t.float32); t.from_dlpack(x.detach()); t.Tensor(2, 3)
    t.FloatTensor([1.0]); t.LongTensor([1]); t.empty_like(x); t.eye(3); t.arange(3); t.zeros(3); t.ones(3)
    t.full((3,), 1.0); t.zeros_like(x); t.full_like(x, 2.0); t.randn_like(x); t.rand_like(x)
    t.randint_like(x, 5); t.rand(3, generator=t.Generator()); t.empty(3, dtype=t.int64)
    t.autograd.grad((x * y).sum(), x) if x.requires_grad else 0; t.isin(i, j); t.einsum("ij,ij->i", x, y)
    t.meshgrid(v, w, indexing="ij"); t.cartesian_prod(v, w); t.combinations(v); t.block_diag(q, q)
    t.broadcast_tensors(x, v); t.broadcast_shapes((3, 4), (4,)); t.atleast_1d(s); t.atleast_2d(v)
    t.atleast_3d(x)
"""
_MADE = """
    nn.Linear(3, 3); nn.ReLU(); nn.Sequential(nn.ReLU(), nn.ReLU()); nn.Parameter(x.detach())
    nn.Conv2d(2, 2, 2); nn.ModuleList([nn.ReLU()]); nn.ModuleDict({"a": nn.ReLU()})
    nn.ParameterList([x.detach()]); nn.Dropout(0.5); nn.BatchNorm2d(3); nn.LayerNorm(3)
    nn.Embedding(3, 3); nn.LSTM(3, 3); nn.MSELoss(); nn.CrossEntropyLoss(); nn.MultiheadAttention(4, 2)
    nn.Buffer(x.detach()); nn.Module(); nn.Identity()
"""
_LAYERS = """
    p = [nn.Parameter(x.detach()), nn.Parameter(y.detach())]; nn.utils.parameters_to_vector(p)
    p = [nn.Parameter(x.detach())]; nn.utils.vector_to_parameters(t.zeros(12), p)
    p = [nn.Parameter(x.detach())]; p[0].grad = y.detach(); nn.utils.clip_grad_norm_(p, 1.0)
    p = [nn.Parameter(x.detach())]; p[0].grad = y.detach(); nn.utils.clip_grad_value_(p, 1.0)
    p = [nn.Parameter(x.detach())]; p[0].grad = y.detach(); nn.utils.get_total_norm([p[0].grad])
    l = [x[0], y[0, :2]]; nn.utils.rnn.pad_sequence(l)
    l = [x[0], y[0, :2]]; nn.utils.rnn.pack_sequence(l)
    l = [x[0], y[0, :2]]; nn.utils.rnn.pad_packed_sequence(nn.utils.rnn.pack_sequence(l))
    nn.utils.rnn.pack_padded_sequence(c, t.tensor([2, 2, 1]))
    F.multi_margin_loss(x, j[:3]); F.multilabel_soft_margin_loss(x, b.float())
"""
_NETWORK = "m = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3))"
_OF_NETWORK = """
    list(m.parameters()); list(m.named_parameters()); m.state_dict(); m.load_state_dict(m.state_dict())
    m.zero_grad(); m.train(); m.eval(); m.requires_grad_(True); m.to(t.float32); m.float(); repr(m)
    list(m.modules()); list(m.children()); list(m.buffers()); m.apply(id); m[0]
    m.get_parameter("0.weight"); m[0].weight
"""
_INITIALISED = """
    constant_(z,1.0) eye_(z) kaiming_normal_(z) kaiming_uniform_(z) normal_(z) ones_(z) orthogonal_(z)
    zeros_(z) sparse_(z,0.5) trunc_normal_(z) uniform_(z) xavier_normal_(z) xavier_uniform_(z)
"""
_OPTIMISERS = _words("""
    ASGD Adadelta Adafactor Adagrad Adam AdamW Adamax NAdam RAdam RMSprop Rprop SGD Muon
""")
_SCHEDULES = (
    "ConstantLR(a)", "ExponentialLR(a, 0.9)", "StepLR(a, 3)", "LinearLR(a)", "CosineAnnealingLR(a, 9)",
    "MultiStepLR(a, [3])", "PolynomialLR(a)", "CosineAnnealingWarmRestarts(a, 9)", "CyclicLR(a, 0.1, 0.2)",
    "OneCycleLR(a, 0.1, 9999999)", "LambdaLR(a, lambda e: 0.5)",
)  # fmt: skip
_DISTRIBUTIONS = _words("""
    Bernoulli(p) Beta(p,p) Binomial(3,p) Categorical(p) Cauchy(x,p) Chi2(p) ContinuousBernoulli(p)
    Dirichlet(p) Exponential(p) FisherSnedecor(p,p) Gamma(p,p) Geometric(p) Gumbel(x,p) HalfCauchy(p)
    HalfNormal(p) Kumaraswamy(p,p) Laplace(x,p) LogNormal(x,p) Multinomial(3,p) NegativeBinomial(3,p)
    Normal(x,p) OneHotCategorical(p) Pareto(p,p) Poisson(p) StudentT(p) Uniform(x,x+p) VonMises(x,p)
    Weibull(p,p) InverseGamma(p,p) MultivariateNormal(v,t.eye(4)) RelaxedBernoulli(s.abs(),p)
    Independent(D.Normal(x,p),1)
""")
_MODEL = "m = nn.Linear(3, 3); m(t.ones(2, 3)).sum().backward()"

_RATED = f"{_MODEL}; a = o.SGD([m.weight], 0.01, momentum=0.9)"


def _split(table: str) -> list[str]:
    return [part.strip() for line in table.strip().splitlines() for part in line.split("; ")]


def _with_z(call: str) -> str:
    """The function's call for a method's."""
    return call.replace("()", "(z)") if "()" in call else call.replace("(", "(z, ", 1)


def _whole(table: str) -> list[str]:
    return [line.strip() for line in table.strip().splitlines()]


_Z = "z = x.detach().sigmoid()"
_D = "D = t.distributions; p = x.detach().sigmoid()"

BESIDE = (
    *(f"{_Z}; {line}" for n in _UNARY for line in (f"t.{n}(z)", f"z.{n}()", f"z.{n}_()")),
    *(f"{_Z}; {line}" for n in _BINARY for line in (f"t.{n}(z, y)", f"z.{n}(y)", f"z.{n}_(y)")),
    *(f"z = i * 1; {line}" for n in _BITS for line in (f"t.{n}(z, i)", f"z.{n}(i)", f"z.{n}_(i)")),
    *(f"{_Z}; {line}" for call in _OUT_OF_PLACE for line in (f"z.{call}", f"t.{_with_z(call)}")),
    *(f"{_Z}; {line}" for line in (*_split(_METHODS), *_split(_IN_PLACE), *_split(_FUNCTIONS))),
    *(f"z = q.detach() * 1; {line}" for line in _split(_MATRICES)),
    *_split(_MADE),
    *_whole(_LAYERS),
    *(f"{_NETWORK}; {line}" for line in _split(_OF_NETWORK)),
    *(f"{_Z}; nn.init.{call}" for call in _INITIALISED),
    *(f"{_MODEL}; a = o.{n}([m.weight], 0.01); a.step()" for n in _OPTIMISERS),
    *(f"{_MODEL}; a = o.{n}([m.weight], 0.01); a.zero_grad()" for n in ("SGD", "Adam")),
    *(f"{_MODEL}; o.{n}([m.weight], 0.01)" for n in ("SGD", "Adam")),
    *(f"{_RATED}; w = o.lr_scheduler.{made}; w.step()" for made in _SCHEDULES),
    *(f"{_D}; D.{made}" for made in _DISTRIBUTIONS),
    *(f"{_D}; w = D.{made}; w.sample()" for made in _DISTRIBUTIONS),
    *(f"{_D}; w = D.{made}; u = w.sample(); w.log_prob(u)" for made in _DISTRIBUTIONS),
    *(f"{_D}; w = D.{made}; w.entropy()" for made in _DISTRIBUTIONS),
    *(f"{_D}; w = D.{made}; w.mean" for made in _DISTRIBUTIONS),
    f"{_D}; D.kl_divergence(D.Normal(x, p), D.Normal(x, p))",
)
