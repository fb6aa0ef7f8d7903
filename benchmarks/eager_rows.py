"""More that users of PyTorch reach for, for `eager_overhead.py`: rows as there, and the names they need.

In flow one library or the other, out flow snippets and what their names stand for.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

MORE = (
    ("x == y", "x == y", 1),
    ("logical_and", "T.logical_and(c, c)", 1),
    ("c & c", "c & c", 1),
    ("~c", "~c", 1),
    ("isfinite", "T.isfinite(x)", 1),
    ("equal", "T.equal(x, y)", 1),
    ("any", "c.any()", 1),
    ("all", "c.all()", 1),
    ("bool(tensor)", "bool(s > 0)", 1),
    ("float(tensor)", "float(s)", 1),
    ("sqrt", "x.sqrt()", 1),
    ("sin", "x.sin()", 1),
    ("tanh", "x.tanh()", 1),
    ("abs", "x.abs()", 1),
    ("neg", "-x", 1),
    ("round", "x.round()", 1),
    ("rsqrt", "x.rsqrt()", 1),
    ("div", "x / y", 1),
    ("floor_divide", "x // y", 1),
    ("remainder", "x % y", 1),
    ("pow tensor", "x ** y", 1),
    ("2 ** x", "2 ** x", 1),
    ("lerp", "T.lerp(x, y, 0.5)", 1),
    ("addcmul", "T.addcmul(x, y, y, value=0.5)", 1),
    ("addcdiv", "T.addcdiv(x, y, y, value=0.5)", 1),
    ("add alpha", "T.add(x, y, alpha=2)", 1),
    ("sub alpha", "x.sub(y, alpha=2)", 1),
    ("int add", "k + k", 1),
    ("int add 1", "k + 1", 1),
    ("int // 2", "k // 2", 1),
    ("int + float", "k + 0.5", 1),
    ("int + float tensor", "k + x", 1),
    ("broadcast add", "m + x", 1),
    ("minimum", "T.minimum(x, y)", 1),
    ("clamp both", "x.clamp(0.1, 0.2)", 1),
    ("sub_", "z.sub_(y)", 1),
    ("mul_ number", "z.mul_(0.9)", 1),
    ("add_ alpha", "z.add_(y, alpha=-0.1)", 1),
    ("div_", "z.div_(2.0)", 1),
    ("z += y", "iadd(z, y)", 1),
    ("z *= 0.9", "imul(z, 0.9)", 1),
    ("addcmul_", "z.addcmul_(y, y, value=0.5)", 1),
    ("addcdiv_", "z.addcdiv_(y, y, value=0.5)", 1),
    ("lerp_", "z.lerp_(y, 0.1)", 1),
    ("clamp_", "z.clamp_(min=0)", 1),
    ("relu_", "z.relu_()", 1),
    ("exp_", "e.exp_()", 1),
    ("zero_", "z.zero_()", 1),
    ("fill_", "z.fill_(0.5)", 1),
    ("copy_", "z.copy_(y)", 1),
    ("masked_fill_", "z.masked_fill_(c, 0.5)", 1),
    ("index_add_", "z.index_add_(0, k, y)", 1),
    ("index_copy_", "z.index_copy_(0, k, y)", 1),
    ("index_fill_", "z.index_fill_(0, k, 0.5)", 1),
    ("index_put", "x.index_put((k,), y)", 1),
    ("index_put_", "z.index_put_((k,), y)", 1),
    ("index_put_, accumulating", "z.index_put_((k,), y, accumulate=True)", 1),
    ("masked_scatter", "x.masked_scatter(c, y)", 1),
    ("masked_scatter_", "z.masked_scatter_(c, y)", 1),
    ("scatter_", "z2.scatter_(1, g, 1.0)", 1),
    ("scatter_add_", "z2.scatter_add_(1, g, o3)", 1),
    ("m[0] = x", "z2[0] = x", 1),
    ("m[:, 1] = x", "z2[:, 1] = x", 1),
    ("m[0, 1] = number", "z2[0, 1] = 0.5", 1),
    ("x[k] = y", "z[k] = y", 1),
    ("x[[0, 2]] = number", "z[[0, 2]] = 0.5", 1),
    ("m[k, k] = y", "z2[k, k] = y", 1),
    ("m[:, k] = m", "z2[:, k] = m", 1),
    ("x[c] = number", "z[c] = 0.0", 1),
    ("x[c] = x[c]", "z[c] = y[c]", 1),
    ("x[c] *= number", "z[c] *= 0.5", 1),
    ("m[c2] = number", "z2[c2] = 0.0", 1),
    ("x[0] += 1", "z[0] += 1.0", 1),
    ("m[i, j]", "m[1, 2]", 1),
    ("x[-1]", "x[-1]", 1),
    ("x[::2]", "x[::2]", 1),
    ("x[None]", "x[None]", 1),
    ("m[..., 0]", "m[..., 0]", 1),
    ("m[1:, :2]", "m[1:, :2]", 1),
    ("m[k]", "m[k]", 1),
    ("m[:, k]", "m[:, k]", 1),
    ("m[k, k]", "m[k, k]", 1),
    ("m[range, k]", "m[T.arange(3), k]", 1),
    ("x[[0, 2]]", "x[[0, 2]]", 1),
    ("m[c]", "m[c]", 1),
    ("m[m > 0]", "m[m > 0]", 1),
    ("index_select", "m.index_select(0, k)", 1),
    ("take_along_dim", "T.take_along_dim(m, g, 1)", 1),
    ("take", "T.take(m, k)", 1),
    ("nonzero", "c.nonzero()", 1),
    ("where(c)", "T.where(c)", 1),
    ("where number", "T.where(c, x, 0.0)", 1),
    ("scatter", "m.scatter(1, g, 1.0)", 1),
    ("scatter_add", "m.scatter_add(1, g, o3)", 1),
    ("index_add", "x.index_add(0, k, y)", 1),
    ("one_hot", "F.one_hot(k, 3)", 1),
    ("embedding", "F.embedding(k, m)", 1),
    ("sort", "x.sort()", 1),
    ("argsort", "x.argsort()", 1),
    ("topk", "x.topk(2)", 1),
    ("cummin", "m.cummin(0)", 1),
    ("amax", "m.amax(1)", 1),
    ("max", "x.max()", 1),
    ("prod", "x.prod()", 1),
    ("sum keepdim", "m.sum(1, keepdim=True)", 1),
    ("mean over an axis", "m.mean(1)", 1),
    ("sum bool", "c.sum()", 1),
    ("var_mean", "T.var_mean(m)", 1),
    ("diff", "T.diff(x)", 1),
    ("split", "m.split(1)", 1),
    ("unbind", "m.unbind(0)", 1),
    ("cat axis 1", "T.cat([m, m], 1)", 1),
    ("stack axis 1", "T.stack([x, y], dim=1)", 1),
    ("repeat", "x.repeat(2)", 1),
    ("repeat_interleave", "x.repeat_interleave(2)", 1),
    ("roll", "T.roll(x, 1)", 1),
    ("flip", "T.flip(x, (0,))", 1),
    ("triu", "T.triu(m)", 1),
    ("tril", "T.tril(m)", 1),
    ("diag", "T.diag(x)", 1),
    ("diagonal", "m.diagonal()", 1),
    ("trace", "m.trace()", 1),
    ("m.T", "m.T", 1),
    ("m.mT", "m.mT", 1),
    ("transpose(0, 1)", "m.transpose(0, 1)", 1),
    ("select", "m.select(0, 1)", 1),
    ("narrow", "m.narrow(0, 1, 2)", 1),
    ("unfold", "x.unfold(0, 2, 1)", 1),
    ("float()", "k.float()", 1),
    ("long()", "x.long()", 1),
    ("double()", "x.double()", 1),
    ("to device", "x.to('cpu')", 1),
    ("cpu()", "x.cpu()", 1),
    ("zeros_like", "T.zeros_like(x)", 1),
    ("empty", "T.empty(3)", 1),
    ("linspace", "T.linspace(0, 1, 3)", 1),
    ("randn_like", "T.randn_like(x)", 1),
    ("tensor of a number", "T.tensor(0.5)", 1),
    ("tensor with grad", "T.tensor([0.1], requires_grad=True)", 1),
    ("normal", "T.normal(0.0, 1.0, (3,))", 1),
    ("dot", "x.dot(y)", 1),
    ("x @ y", "x @ y", 1),
    ("x @ m", "x @ m", 1),
    ("mv", "m.mv(x)", 1),
    ("outer", "T.outer(x, y)", 1),
    ("bmm", "T.bmm(m3, m3)", 1),
    ("baddbmm", "T.baddbmm(m3, m3, m3)", 1),
    ("addmm", "T.addmm(x, m, m)", 1),
    ("einsum matmul", "T.einsum('ij,jk->ik', m, m)", 1),
    ("tensordot", "T.tensordot(m, m, 1)", 1),
    ("cross", "T.linalg.cross(x, y)", 1),
    ("vector_norm", "T.linalg.vector_norm(x)", 1),
    ("norm over an axis", "m.norm(dim=1)", 1),
    ("inv", "T.linalg.inv(q)", 1),
    ("det", "T.linalg.det(q)", 1),
    ("slogdet", "T.linalg.slogdet(q)", 1),
    ("solve", "T.linalg.solve(q, x)", 1),
    ("cholesky", "T.linalg.cholesky(q)", 1),
    ("qr", "T.linalg.qr(q)", 1),
    ("eigh", "T.linalg.eigh(q)", 1),
    ("svd", "T.linalg.svd(q)", 1),
    ("solve_triangular", "T.linalg.solve_triangular(q, m, upper=False)", 1),
    ("leaky_relu", "F.leaky_relu(x)", 1),
    ("elu", "F.elu(x)", 1),
    ("softplus", "F.softplus(x)", 1),
    ("hardtanh", "F.hardtanh(x)", 1),
    ("hardswish", "F.hardswish(x)", 1),
    ("hardsigmoid", "F.hardsigmoid(x)", 1),
    ("glu", "F.glu(h4)", 1),
    ("mse_loss", "F.mse_loss(m, v2)", 1),
    ("l1_loss", "F.l1_loss(m, v2)", 1),
    ("mse_loss, sum", "F.mse_loss(m, v2, reduction='sum')", 1),
    ("mse_loss, none", "F.mse_loss(m, v2, reduction='none')", 1),
    ("cross_entropy", "F.cross_entropy(m, k)", 1),
    ("cross_entropy, probabilities", "F.cross_entropy(m, v2)", 1),
    ("layer_norm", "F.layer_norm(m, (3,), x, x)", 1),
    ("batch_norm, eval", "F.batch_norm(m, x, y)", 1),
    ("batch_norm, eval, recorded", "F.batch_norm(v, x, y)", 1),
    ("embedding with padding", "F.embedding(k, m, padding_idx=0)", 1),
    ("logit", "h.logit()", 1),
    ("sign", "x.sign()", 1),
    ("sinc", "x.sinc()", 1),
    ("fmax", "T.fmax(x, y)", 1),
    ("logaddexp", "T.logaddexp(x, y)", 1),
    ("xlogy", "T.xlogy(x, y)", 1),
    ("i0e", "T.special.i0e(x)", 1),
    ("log_ndtr", "T.special.log_ndtr(x)", 1),
    ("ndtri", "T.special.ndtri(h)", 1),
    ("conv1d", "F.conv1d(m3, m3)", 1),
    ("conv2d", "F.conv2d(i, f)", 1),
    ("conv_transpose2d", "F.conv_transpose2d(i, f)", 1),
    ("max_pool1d", "F.max_pool1d(m3, 2)", 1),
    ("max_pool2d", "F.max_pool2d(i, 2)", 1),
    ("avg_pool2d", "F.avg_pool2d(i, 2)", 1),
    ("adaptive_avg_pool2d", "F.adaptive_avg_pool2d(i, 1)", 1),
    ("interpolate nearest", "F.interpolate(i, scale_factor=2)", 1),
    ("interpolate bilinear", "F.interpolate(i, scale_factor=2, mode='bilinear')", 1),
    ("pad", "F.pad(x, (1, 1))", 1),
    ("pad, reflect", "F.pad(m3, (1, 1), mode='reflect')", 1),
    ("unfold images", "F.unfold(i, 2)", 1),
    ("pixel_shuffle", "F.pixel_shuffle(i4, 2)", 1),
    ("attention", "F.scaled_dot_product_attention(m3, m3, m3)", 1),
    ("attention, causal", "F.scaled_dot_product_attention(m3, m3, m3, is_causal=True)", 1),
    ("dropout, eval", "F.dropout(m, training=False)", 1),
    ("nn.ReLU", "mods['relu'](m)", 1),
    ("nn.Dropout", "mods['dropout'](m)", 1),
    ("nn.LayerNorm", "mods['layernorm'](m)", 1),
    ("nn.BatchNorm1d", "mods['batchnorm'](m)", 1),
    ("nn.BatchNorm2d", "mods['batchnorm2'](i)", 1),
    ("nn.Embedding", "mods['embedding'](k)", 1),
    ("nn.Conv1d", "mods['conv1'](m3)", 1),
    ("nn.Conv2d", "mods['conv2'](i)", 1),
    ("nn.MaxPool2d", "mods['pool'](i)", 1),
    ("nn.Flatten", "mods['flatten'](i)", 1),
    ("nn.MSELoss", "mods['mse'](m, v2)", 1),
    ("nn.CrossEntropyLoss", "mods['ce'](m, k)", 1),
    ("nn.RNNCell", "mods['rnncell'](m)", 1),
    ("nn.LSTMCell", "mods['lstmcell'](m)", 1),
    ("nn.GRUCell", "mods['grucell'](m)", 1),
    ("nn.RNN", "mods['rnn'](m3)", 1),
    ("nn.LSTM", "mods['lstm'](m3)", 1),
    ("nn.GRU", "mods['gru'](m3)", 1),
    ("nn.LSTM of middling size", "mods['lstm64'](seq)", 1),
    ("nn.GRU of middling size", "mods['gru64'](seq)", 1),
    ("nn.BatchNorm2d, eval", "mods['still'](i)", 1),
    ("nn.InstanceNorm2d, tracking", "mods['instance'](i)", 1),
    ("nn.MultiheadAttention", "mods['mha'](m3, m3, m3)", 1),
    ("nn.TransformerEncoderLayer", "mods['encoder'](m3)", 1),
    ("module.parameters()", "list(network.parameters())", 1),
    ("module.state_dict()", "network.state_dict()", 1),
    ("clip_grad_norm_", "T.nn.utils.clip_grad_norm_(list(network.parameters()), 1.0)", 1),
    ("sub, recorded", "w - y", 1),
    ("mul number, recorded", "w * 2.0", 1),
    ("div, recorded", "w / y", 1),
    ("pow, recorded", "w ** 2", 1),
    ("neg, recorded", "-w", 1),
    ("clamp, recorded", "w.clamp(min=0)", 1),
    ("add alpha, recorded", "T.add(w, y, alpha=2)", 1),
    ("softplus, recorded", "F.softplus(w)", 1),
    ("sigmoid, recorded", "w.sigmoid()", 1),
    ("x[k], recorded", "w[k]", 1),
    ("x[c], recorded", "w[c]", 1),
    ("m[c2], recorded", "v[c2]", 1),
    ("masked_select", "T.masked_select(x, c)", 1),
    ("masked_select, recorded", "T.masked_select(w, c)", 1),
    ("x[0] = y, recorded", "part_set(w, 0, y[1])", 1),
    ("x[c] = number, recorded", "part_set(w, c, 0.0)", 1),
    ("x[k] = y, recorded", "part_set(w, k, y)", 1),
    ("x[0].mul_, recorded", "part_scaled(v)", 1),
    ("x[0] += 1, recorded", "part_moved(w)", 1),
    ("x[0] += 1 and backward", "part_moved(w).sum().backward()", 1),
    ("zero_, recorded", "(w * 1).zero_()", 1),
    ("fill_, recorded", "(w * 1).fill_(0.5)", 1),
    ("copy_, recorded", "(w * 1).copy_(y)", 1),
    ("copy_ of what is recorded", "x.clone().copy_(w)", 1),
    ("x[k] = w, recorded", "part_set(y, k, w)", 1),
    ("index_put, recorded", "w.index_put((k,), y)", 1),
    ("index_put_, recorded", "(w * 1).index_put_((k,), y)", 1),
    ("masked_scatter, recorded", "w.masked_scatter(c, y)", 1),
    ("masked_scatter and backward", "w.masked_scatter(c, y).sum().backward()", 1),
    ("masked_fill_, recorded", "(w * 1).masked_fill_(c, 0.0)", 1),
    ("index_add_, recorded", "(w * 1).index_add_(0, k, y)", 1),
    ("x[0].zero_, recorded", "(v * 1)[0].zero_()", 1),
    ("fill_diagonal_", "z2.fill_diagonal_(0.5)", 1),
    ("dropout in place, recorded", "F.dropout(v * 1, inplace=True)", 1),
    ("relu in place, recorded", "F.relu(w * 1, inplace=True)", 1),
    ("sgd by hand", "stepped(T, w, y)", 1),
    ("x[0] = y and backward", "part_set(w, 0, y[1]).sum().backward()", 1),
    ("x[c] = number and backward", "part_set(w, c, 0.0).sum().backward()", 1),
    ("x[0].mul_ and backward", "part_scaled(v).sum().backward()", 1),
    ("gather, recorded", "v.gather(1, g)", 1),
    ("masked_fill, recorded", "w.masked_fill(c, 0.0)", 1),
    ("max over an axis, recorded", "v.max(1)", 1),
    ("unbind, recorded", "v.unbind(0)", 1),
    ("chunk, recorded", "v.chunk(3)", 1),
    ("split, recorded", "v.split(1)", 1),
    ("clone, recorded", "w.clone()", 1),
    ("embedding, recorded", "F.embedding(k, v)", 1),
    ("einsum, recorded", "T.einsum('ij,jk->ik', v, m)", 1),
    ("permute, recorded", "v.permute(1, 0)", 1),
    ("to dtype, recorded", "w.to(T.float64)", 1),
    ("conv2d, recorded", "F.conv2d(i, fw)", 1),
    ("cumsum, recorded", "v.cumsum(0)", 1),
    ("relu and backward", "F.relu(w).sum().backward()", 1),
    ("clamp and backward", "w.clamp(min=0).sum().backward()", 1),
    ("sigmoid and backward", "w.sigmoid().sum().backward()", 1),
    ("tanh and backward", "w.tanh().sum().backward()", 1),
    ("softplus and backward", "F.softplus(w).sum().backward()", 1),
    ("leaky_relu and backward", "F.leaky_relu(w).sum().backward()", 1),
    ("elu and backward", "F.elu(w).sum().backward()", 1),
    ("tanh gelu and backward", "F.gelu(v, approximate='tanh').sum().backward()", 1),
    ("logaddexp and backward", "T.logaddexp(w, y).sum().backward()", 1),
    ("lgamma and backward", "w.lgamma().sum().backward()", 1),
    ("digamma and backward", "w.digamma().sum().backward()", 1),
    ("div and backward", "(w / y).sum().backward()", 1),
    ("pow and backward", "(w ** 2).sum().backward()", 1),
    ("sqrt and backward", "w.sqrt().sum().backward()", 1),
    ("softmax and backward", "F.softmax(v, dim=1).sum().backward()", 1),
    ("max over an axis and backward", "v.max(1).values.sum().backward()", 1),
    ("amax and backward", "v.amax(1).sum().backward()", 1),
    ("max and backward", "v.max().backward()", 1),
    ("prod and backward", "v.prod().backward()", 1),
    ("var and backward", "v.var(1).sum().backward()", 1),
    ("x[k] and backward", "w[k].sum().backward()", 1),
    ("x[c] and backward", "w[c].sum().backward()", 1),
    ("x[:, 1] and backward", "v[:, 1].sum().backward()", 1),
    ("gather and backward", "v.gather(1, g).sum().backward()", 1),
    ("where and backward", "T.where(c, w, y).sum().backward()", 1),
    ("masked_fill and backward", "w.masked_fill(c, 0.0).sum().backward()", 1),
    ("cat and backward", "T.cat([w, y]).sum().backward()", 1),
    ("stack and backward", "T.stack([w, y]).sum().backward()", 1),
    ("unbind and backward", "(v.unbind(0)[0] * 2).sum().backward()", 1),
    ("chunk and backward", "v.chunk(3)[1].sum().backward()", 1),
    ("reshape and backward", "v.reshape(9).sum().backward()", 1),
    ("transpose and backward", "v.t().sum().backward()", 1),
    ("expand and backward", "w.expand(3, 3).sum().backward()", 1),
    ("flip and backward", "w.flip(0).sum().backward()", 1),
    ("roll and backward", "w.roll(1).sum().backward()", 1),
    ("tril and backward", "v.tril().sum().backward()", 1),
    ("diagonal and backward", "v.diagonal().sum().backward()", 1),
    ("pad and backward", "F.pad(w, (1, 1)).sum().backward()", 1),
    ("sort and backward", "w.sort().values.sum().backward()", 1),
    ("topk and backward", "w.topk(2).values.sum().backward()", 1),
    ("index_select and backward", "v.index_select(0, k).sum().backward()", 1),
    ("scatter_add and backward", "v.scatter_add(1, g, o3).sum().backward()", 1),
    ("index_add and backward", "w.index_add(0, k, y).sum().backward()", 1),
    ("embedding and backward", "F.embedding(k, v).sum().backward()", 1),
    ("einsum and backward", "T.einsum('ij,jk->ik', v, m).sum().backward()", 1),
    ("bmm and backward", "T.bmm(v3, m3).sum().backward()", 1),
    ("matrix times vector and backward", "(v @ y).sum().backward()", 1),
    ("dot and backward", "w.dot(y).backward()", 1),
    ("outer and backward", "T.outer(w, y).sum().backward()", 1),
    ("linear and backward", "F.linear(m, v, w).sum().backward()", 1),
    ("mse_loss and backward", "F.mse_loss(v, m).backward()", 1),
    ("l1_loss and backward", "F.l1_loss(v, m).backward()", 1),
    ("huber_loss and backward", "F.huber_loss(v, m).backward()", 1),
    ("nll_loss and backward", "F.nll_loss(v, k).backward()", 1),
    ("kl_div and backward", "F.kl_div(v, v2, reduction='batchmean').backward()", 1),
    ("bce with logits and backward", "F.binary_cross_entropy_with_logits(w, y).backward()", 1),
    ("binary_cross_entropy and backward", "F.binary_cross_entropy(w.sigmoid(), y).backward()", 1),
    ("conv1d and backward", "F.conv1d(m3, v3).sum().backward()", 1),
    ("conv2d and backward", "F.conv2d(i, fw).sum().backward()", 1),
    ("max_pool2d and backward", "F.max_pool2d(iw, 2).sum().backward()", 1),
    ("avg_pool2d and backward", "F.avg_pool2d(iw, 2).sum().backward()", 1),
    ("interpolate and backward", "F.interpolate(iw, scale_factor=2).sum().backward()", 1),
    ("group_norm and backward", "F.group_norm(v, 3).sum().backward()", 1),
    ("instance_norm and backward", "F.instance_norm(v3).sum().backward()", 1),
    ("dropout and backward", "F.dropout(v).sum().backward()", 1),
    ("attention and backward", "F.scaled_dot_product_attention(v3, m3, m3).sum().backward()", 1),
    ("inv and backward", "T.linalg.inv(qw).sum().backward()", 1),
    ("det and backward", "T.linalg.det(qw).backward()", 1),
    ("solve and backward", "T.linalg.solve(qw, x).sum().backward()", 1),
    ("cholesky and backward", "T.linalg.cholesky(qw).sum().backward()", 1),
    ("eigh and backward", "T.linalg.eigh(qw).eigenvalues.sum().backward()", 1),
    ("svd and backward", "T.linalg.svd(qw).S.sum().backward()", 1),
    ("LSTMCell and backward", "mods['lstmcell'](m)[0].sum().backward()", 1),
    ("GRUCell and backward", "mods['grucell'](m).sum().backward()", 1),
    ("LSTM and backward", "mods['lstm'](m3)[0].sum().backward()", 1),
    ("GRU and backward", "mods['gru'](m3)[0].sum().backward()", 1),
    ("LSTM of middling size and backward", "mods['lstm64'](seq)[0].sum().backward()", 1),
    ("GRU of middling size and backward", "mods['gru64'](seq)[0].sum().backward()", 1),
    ("LayerNorm and backward", "mods['layernorm'](m).sum().backward()", 1),
    ("BatchNorm1d and backward", "mods['batchnorm'](m).sum().backward()", 1),
    ("Conv2d and backward", "mods['conv2'](i).sum().backward()", 1),
    ("Embedding and backward", "mods['embedding'](k).sum().backward()", 1),
    ("MultiheadAttention and backward", "mods['mha'](m3, m3, m3)[0].sum().backward()", 1),
    ("TransformerEncoderLayer and backward", "mods['encoder'](m3).sum().backward()", 1),
    ("create_graph", "T.autograd.grad((w * w * w).sum(), w, create_graph=True)", 1),
    ("second derivative", "second(T, w)", 1),
    ("grad by two", "T.autograd.grad((v * u).sum(), [v, u])", 1),
    ("grad with a cotangent", "T.autograd.grad(w * y, w, y)", 1),
    ("backward to inputs", "(w * y).sum().backward(inputs=[w])", 1),
    ("backward with retain_graph", "(w * y).sum().backward(retain_graph=True)", 1),
    ("hook and backward", "hooked(w, y)", 1),
    ("in place, recorded", "inplace_recorded(w, y)", 1),
    ("custom Function", "custom(w)", 1),
    ("custom Function and backward", "custom(w).sum().backward()", 1),
    ("zero_grad", "sgd.zero_grad()", 1),
    ("momentum SGD step", "opts['momentum'].step()", 1),
    ("AdamW step", "opts['adamw'].step()", 1),
    ("RMSprop step", "opts['rmsprop'].step()", 1),
    ("Adagrad step", "opts['adagrad'].step()", 1),
    ("SGD step of 40", "many['sgd'].step()", 1),
    ("momentum SGD step of 40", "many['momentum'].step()", 1),
    ("Adam step of 40", "many['adam'].step()", 1),
    ("AdamW step of 40, 10,000 each", "many['adamw'].step()", 1),
    ("zero_grad of 40", "cleared(many['sgd'])", 1),
    ("t_", "z4.t_()", 1),
    ("transpose_", "z4.transpose_(0, 1)", 1),
    ("squeeze_", "z4.squeeze_()", 1),
    ("unsqueeze_ and squeeze_", "z4.unsqueeze_(0).squeeze_(0)", 2),
    ("untyped_storage", "x.untyped_storage()", 1),
    ("data_ptr of the storage", "x.untyped_storage().data_ptr()", 1),
    ("get_rng_state", "T.get_rng_state()", 1),
    ("set_rng_state", "T.set_rng_state(drawn)", 1),
    ("positive", "T.positive(x)", 1),
    ("real", "x.real", 1),
    ("exp of a transposed", "m4.t().exp()", 1),
    ("clamp of a transposed", "m4.t().clamp(0, 1)", 1),
    ("softplus of a transposed", "F.softplus(m4.t())", 1),
    ("gelu of a slice", "F.gelu(m4[:, :2])", 1),
    ("silu of a transposed and backward", "F.silu(v.t()).sum().backward()", 1),
    ("t().contiguous()", "m4.t().contiguous()", 1),
    ("type_as", "x.type_as(k)", 1),
    ("one_hot without a number of classes", "F.one_hot(k)", 1),
    ("relu, inplace=True", "F.relu(z, inplace=True)", 1),
    ("nn.LeakyReLU, inplace=True", "mods['leaky'](z)", 1),
    ("dropout, not training", "F.dropout(m, 0.5, False)", 1),
    ("tril_indices", "T.tril_indices(3, 4)", 1),
    ("split_copy", "T.split_copy(m, 1)", 1),
    ("nextafter", "T.nextafter(x, y)", 1),
    ("m[mask, 1]", "m4[c, 1]", 1),
    ("m[:, mask]", "m4[:, c]", 1),
    ("m[an array]", "m4[np.array([0, 2])]", 1),
    ("making a Linear", "T.nn.Linear(3, 3)", 1),
    ("making a Conv2d", "T.nn.Conv2d(1, 2, 3)", 1),
    ("making a ReLU", "T.nn.ReLU()", 1),
    ("random_", "z.random_(0, 5)", 1),
    ("randint_like", "T.randint_like(x, 5)", 1),
    ("masked_select, broadcast", "m4.masked_select(c)", 1),
    ("xavier_uniform_", "T.nn.init.xavier_uniform_(layer.weight)", 1),
    ("set_grad_enabled", "T.set_grad_enabled(True)", 1),
    ("typename", "T.typename(x)", 1),
    ("output_nr", "x.output_nr", 1),
)


def modules(nn: Any) -> dict[str, Any]:
    """Layers of three features, or of one channel."""
    return {
        "relu": nn.ReLU(), "dropout": nn.Dropout(), "layernorm": nn.LayerNorm(3),
        "batchnorm": nn.BatchNorm1d(3), "batchnorm2": nn.BatchNorm2d(1), "embedding": nn.Embedding(3, 3),
        "conv1": nn.Conv1d(3, 3, 2), "conv2": nn.Conv2d(1, 2, 3), "pool": nn.MaxPool2d(2),
        "leaky": nn.LeakyReLU(0.1, inplace=True),
        "flatten": nn.Flatten(), "mse": nn.MSELoss(), "ce": nn.CrossEntropyLoss(),
        "rnncell": nn.RNNCell(3, 3), "lstmcell": nn.LSTMCell(3, 3), "grucell": nn.GRUCell(3, 3),
        "rnn": nn.RNN(3, 3), "lstm": nn.LSTM(3, 3), "gru": nn.GRU(3, 3),
        "lstm64": nn.LSTM(32, 64), "gru64": nn.GRU(32, 64), "still": nn.BatchNorm2d(1).eval(),
        "instance": nn.InstanceNorm2d(1, track_running_stats=True),
        "mha": nn.MultiheadAttention(3, 1, batch_first=True),
        "encoder": nn.TransformerEncoderLayer(3, 1, 4, batch_first=True),
    }  # fmt: skip


def optimisers(T: Any, x: Any) -> dict[str, Any]:
    """Each of a layer of its own, with gradients."""
    layers = [T.nn.Linear(3, 3) for _ in range(4)]
    for layer in layers:
        layer(x).sum().backward()
    sgd, adamw, rmsprop, adagrad = (layer.parameters() for layer in layers)
    return {
        "momentum": T.optim.SGD(sgd, lr=1e-3, momentum=0.9), "adamw": T.optim.AdamW(adamw),
        "rmsprop": T.optim.RMSprop(rmsprop), "adagrad": T.optim.Adagrad(adagrad),
    }  # fmt: skip


def optimisers_of_many(T: Any) -> dict[str, Any]:
    """Each of 40 parameters with gradients, of 10 elements or, for AdamW, of 10,000."""

    def parameters(count: int) -> list[Any]:
        found = [T.nn.Parameter(T.full((count,), 0.5)) for _ in range(40)]
        for x in found:
            x.grad = T.full((count,), 1e-3)
        return found

    return {
        "sgd": T.optim.SGD(parameters(10), lr=1e-3), "adam": T.optim.Adam(parameters(10)),
        "momentum": T.optim.SGD(parameters(10), lr=1e-3, momentum=0.9),
        "adamw": T.optim.AdamW(parameters(10_000)),
    }  # fmt: skip


def cleared(optimizer: Any) -> None:
    """Gradients taken away, and given back."""
    params = optimizer.param_groups[0]["params"]
    gradients = [x.grad for x in params]
    optimizer.zero_grad()
    for x, gradient in zip(params, gradients):
        x.grad = gradient


def cube(T: Any) -> Any:
    """A Function of the user's."""

    class Cube(T.autograd.Function):  # type: ignore[misc]  # of whichever library
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x * x

        @staticmethod
        def backward(ctx: Any, cotangent: Any) -> Any:
            (x,) = ctx.saved_tensors
            return 3 * x * x * cotangent

    return Cube.apply


def inplace_recorded(w: Any, y: Any) -> Any:
    z = w * 2
    z += y
    z.mul_(0.5)
    return z


def part_set(x: Any, index: Any, value: Any) -> Any:
    z = x * 1
    z[index] = value
    return z


def part_scaled(x: Any) -> Any:
    z = x * 1
    z[0].mul_(2.0)
    return z


def part_moved(x: Any) -> Any:
    z = x * 1
    z[0] += 1.0
    return z


def stepped(T: Any, x: Any, step: Any) -> None:
    with T.no_grad():
        x -= step


def second(T: Any, x: Any) -> Any:
    (first,) = T.autograd.grad((x * x * x).sum(), x, create_graph=True)
    return T.autograd.grad(first.sum(), x)


def hooked(x: Any, y: Any) -> None:
    product = x * y
    product.register_hook(lambda cotangent: cotangent * 2)
    product.sum().backward()


def more_names(T: Any, m: Any) -> dict[str, Any]:
    """What the snippets of `MORE` name; `m` is a matrix of 3 by 3."""
    q = T.tensor([[2.0, 0.5, 0.1], [0.5, 3.0, 0.2], [0.1, 0.2, 1.5]])
    i, f = (T.from_numpy(np.linspace(-1, 1, n * n, dtype=np.float32).reshape(1, 1, n, n)) for n in (4, 3))
    return {
        "q": q, "qw": q.clone().requires_grad_(), "i": i, "iw": i.clone().requires_grad_(), "f": f,
        "fw": f.clone().requires_grad_(), "v3": m.detach().clone().reshape(1, 3, 3).requires_grad_(),
        "i4": T.ones(1, 4, 2, 2), "h4": T.ones(4), "o3": T.ones(3, 1), "z2": T.zeros(3, 3),
        "z4": T.zeros(3, 3), "m4": m.detach(), "drawn": T.get_rng_state(),
        "z5": T.zeros(3, 3), "factored": T.linalg.lu_factor(q),
        "e": T.full((3,), -30.0), "c2": m > 0.5, "mods": modules(T.nn), "opts": optimisers(T, m.detach()),
        "iadd": operator.iadd, "imul": operator.imul, "custom": cube(T), "inplace_recorded": inplace_recorded,
        "part_set": part_set, "part_scaled": part_scaled, "part_moved": part_moved, "stepped": stepped,
        "seq": T.ones(20, 16, 32), "second": second,
        "great": T.eye(100) * 2 + T.linspace(-1, 1, 10000).reshape(100, 100) / 100,
        "column": T.ones(100, 1), "rates": T.tensor([0.5, 2.0, 7.0]),
        "rated": T.tensor([0.5, 2.0, 7.0], requires_grad=True), "rates100": T.full((100,), 0.01),
        "hooked": hooked, "many": optimisers_of_many(T), "cleared": cleared,
    }  # fmt: skip
