"""The cases of test_functions.py for shapes, products, indexing and gathering."""

from __future__ import annotations

from function_cases import lines

SHAPING = lines("""
    c.adjoint(), t.adjoint(x)
    t.alias_copy(x), t.detach_copy(x.detach()), t.t_copy(x), t.unsqueeze_copy(x, 0), t.squeeze_copy(one)
    t.view_copy(x, (4, 3))
    t.diagonal_copy(q, 1), t.expand_copy(v, (3, 4)), t.permute_copy(c, (2, 0, 1)), t.select_copy(x, 0, 1)
    t.split_copy(x, 2), t.split_with_sizes_copy(x, (1, 2)), t.unbind_copy(x), t.transpose_copy(c, 0, 2)
    t.unfold_copy(x, 1, 2, 1), t.narrow_copy(x.detach(), 0, 1, 2), x.detach().narrow_copy(0, 1, 2)
    x.reshape(4, 3)
    x.reshape((2, -1))
    x.reshape(-1)
    t.reshape(x, (2, 6))
    t.reshape(x, shape=(2, 6))
    n.reshape(6, 4)
    s.reshape(1, 1)
    empty.reshape(3, 0)
    empty.reshape(-1, 3)
    x.view(2, 6)
    x.view((12,))
    x.view_as(a[:3, :4])
    x.reshape_as(a[:3, :4])
    c.flatten()
    c.flatten(1)
    c.flatten(0, 1)
    s.flatten()
    t.flatten(c, start_dim=-2)
    x.unflatten(1, (2, 2))
    x.unflatten(-1, (2, -1))
    n.ravel()
    c.permute(2, 0, 1)
    c.permute((1, 0, -1))
    t.permute(c, dims=(0, 2, 1))
    c.transpose(0, 2)
    c.transpose(-1, 1)
    t.swapaxes(c, 0, 1)
    s.transpose(0, 0)
    c.movedim(0, 2)
    c.movedim((0, 1), (2, 0))
    t.moveaxis(c, 0, -1)
    x.t()
    v.t()
    x.T
    c.mT
    x.H
    one.squeeze()
    one.squeeze(0)
    one.squeeze(1)
    one.squeeze((0, 1))
    s.squeeze(0)
    x.unsqueeze(0)
    x.unsqueeze(-1)
    s.unsqueeze(0)
    one.expand(3, 4)
    v.expand(2, 3, -1)
    s.expand(2, 2)
    one.expand(-1, 4)
    one.expand_as(x)
    t.broadcast_to(v, (3, 4))
    t.broadcast_tensors(one, u.unsqueeze(1))
    t.broadcast_shapes((3, 1), (4,))
    v.unfold(0, 2, 1)
    x.unfold(1, 3, 1)
    line.unfold(-1, 3, 2)
    v.repeat(2)
    v.repeat(3, 2)
    x.repeat(1, 2)
    v.tile(2)
    x.tile((2,))
    t.tile(x, (2, 1, 2))
    x.flip(0)
    x.flip(0, 1)
    t.flip(c, dims=[0, -1])
    x.fliplr()
    x.flipud()
    x.roll(1)
    x.roll(2, 1)
    x.roll((1, -3), (0, 1))
    t.roll(v, shifts=-1, dims=0)
    x.rot90()
    x.rot90(2)
    x.rot90(-1, [1, 0])
    x.diagonal()
    x.diagonal(1)
    x.diagonal(-2)
    c.diagonal(0, 1, 2)
    c.diagonal(1, 0, 2)
    x.diagonal(9)
    v.diag()
    v.diag(1)
    v.diag(-2)
    x.diag()
    x.diag(1)
    t.block_diag(x, v, s)
    x.clone().fill_diagonal_(7)
    a.detach().clone().repeat(3, 1).fill_diagonal_(7, wrap=True)
    z = x.clone(); r = z.repeat(1, 1); r[0] = 5; (z, r)
    z = x.clone(); r = z.flip(0); r[0] = 5; (z, r)
    z = x.clone(); r = z.roll(0); r[0] = 5; (z, r)
    z = x.clone(); r = z.rot90(0); r[0] = 5; (z, r)
    z = q.clone(); r = z.diag(); r[0] = 5; (z, r)
    z = s.clone(); r = z.sum(); r += 1; (z, r)
    t.diag_embed(x)
    t.diag_embed(x, offset=1, dim1=0, dim2=2)
    t.diag_embed(empty.reshape(3, 0), 1)
    t.diagflat(x)
    x.tril()
    x.triu()
    x.tril(1)
    x.triu(-1)
    c.triu(1)
    c.tril(-1)
    i.triu()
    b.tril()
    t.tril_indices(3, 4)
    t.tril_indices(4, 3, -1)
    t.triu_indices(3, 3, 1)
    t.meshgrid(v, u, indexing="ij")
    t.meshgrid(v, u, indexing="xy")
    t.meshgrid([v, w, s], indexing="ij")
    t.cat([x, y])
    t.cat((x, y), 1)
    t.cat([x, y], dim=-1)
    t.concat([x, i[:, :1].expand(2, 4)])
    t.cat([t.zeros(0).to(x.dtype), x])
    t.cat([x])
    t.stack([x, y])
    t.stack((x, y), 1)
    t.stack([x, y], dim=-1)
    t.stack([s, s])
    t.hstack([x, y])
    t.hstack([v, s])
    t.vstack([x, v])
    t.dstack([x, y])
    t.column_stack([u, x])
    t.atleast_1d(s)
    t.atleast_2d(v)
    t.atleast_3d(v)
    t.atleast_3d(x)
    x.split(2)
    x.split(3, 1)
    x.split([1, 3], dim=1)
    t.split(c, 2, dim=-1)
    x.chunk(2)
    x.chunk(3, 1)
    x.chunk(7)
    x.tensor_split(3, 1)
    x.tensor_split([1, 3], 1)
    x.tensor_split((2, 9), 1)
    x.hsplit(2)
    x.vsplit([1])
    x.unbind()
    x.unbind(1)
    x.narrow(1, 1, 2)
    t.narrow(x, 0, -2, 1)
    x.select(1, 2)
    x.select(0, -1)
""")

LINEAR = lines("""
    x @ a
    x @ v
    u @ x
    v @ w
    c @ a
    c @ d
    v @ a
    c @ v
    v @ d
    x @ d
    c.unsqueeze(1) @ d
    empty.T @ empty
    i @ i.T
    x.mm(a)
    t.mm(x, mat2=a)
    c.bmm(d)
    x.mv(v)
    v.dot(w)
    t.vdot(v, w)
    v.inner(w)
    t.inner(c, x)
    t.inner(x, s)
    v.outer(u)
    t.ger(v, u)
    t.tensordot(c, a, 1)
    t.tensordot(c, d, dims=([0, 2], [0, 1]))
    t.tensordot(x, y)
    t.tensordot(v, w, 0)
    q.matrix_power(5)
    q.detach().matrix_power(0)
    t.kron(x, a)
    t.kron(v, x)
    q.trace()
    x.trace()
    t.addmm(one[:, :3], x.T[:3], x[:, :3])
    t.addmm(v[0], x, a, beta=2, alpha=0.5)
    t.addmm(x.detach() * nan, x, q, beta=0)
    t.addmv(u, x, v)
    t.addr(x, u, v, alpha=2)
    t.baddbmm(c[:, :, :1], c, d)
    t.addbmm(x[:, :1], c, d)
    t.einsum("ij,jk->ik", x, a)
    t.einsum("ij,jk", x, a)
    t.einsum("bij,bjk->bik", c, d)
    t.einsum("ij->ji", x)
    t.einsum("ij->", x)
    t.einsum("ii", q)
    t.einsum("ii->i", q)
    t.einsum("i,i", v, w)
    t.einsum("i,j->ij", v, u)
    t.einsum("ij,j->i", x, v)
    t.einsum("ij,ij->ij", x, y)
    t.einsum("ij,ij,j->i", x, y, v)
    t.einsum("bij,jk,bkl->bil", c, q, d)
    t.einsum("...ij,jk->...ik", c, a)
    t.einsum("...i,...i->...", c, x)
    t.einsum("i...,i->...", x, u)
    t.einsum("ij,kj->ik", [x, y])
    t.einsum("ij,ij->j", one, x)
    t.einsum("a b, b -> a", x, v)
""")

INDEXING = lines("""
    t.diagonal_scatter(q, v), x.diagonal_scatter(u[:2], 2)
    x[0]
    x[-1]
    x[1, 2]
    x[:, 1]
    x[1:]
    x[:, ::2]
    x[..., 0]
    x[None]
    x[:, None, 1]
    c[0, ..., 1:3]
    x[5:]
    x[2:1]
    s[...]
    s[None]
    s[()]
    x[True]
    x[False]
    x[t.tensor(True)]
    x[[0, 2]]
    x[[0, 2], [1, 3]]
    x[:, [3, 0, 0]]
    x[j[:2]]
    c[:, [0, 2], [1, 1]]
    c[[0, 1], :, [2, 3]]
    c[[0, 1], 1]
    c[0, :, [1, 2]]
    c[0, [2], :]
    c[..., [1, 0]]
    c[:, None, [1, 0]]
    x[k]
    x[-1, k]
    x[t.tensor(1)]
    x[np.int64(1)]
    x[np.array([0, 1])]
    x[t.tensor(1), k]
    x[b]
    x[row]
    x[row, 1]
    x[row, [1, 2]]
    x[:, t.tensor([True, False, True, True])]
    c[:, b]
    x[x > 0]
    x[[]]
    x[[[0, 1], [2, 0]]]
    x[t.tensor([[0], [2]]), t.tensor([1, 3])]
    x[[True, False, True]]
    x[-1][-1]
    empty[:, 0]
    n[1, :, 0]
    i[1, 1:]
    z = x.clone(); z[0] = 1; z
    z = x.clone(); z[:, 1] = v[:3]; z
    z = x.clone(); z[1:, ::2] = y[1:, ::2] * 2; z
    z = x.clone(); z[...] = s; z
    z = x.clone(); z[1, 2] = s; z
    z = x.clone(); z[0] = one; z
    z = x.clone(); z[z < 0] = 0; z
    z = x.clone(); z[b] = s; z
    z = x.clone(); z[row] = v; z
    z = x.clone(); z[row] = y[:2]; z
    z = x.clone(); z[x > 0] = y[x > 0]; z
    z = x.clone(); z[row, 1] = 5; z
    z = x.clone(); z[[0, 2]] = y[:2]; z
    z = x.clone(); z[[0, 2], [1, 3]] = v[:2]; z
    z = x.clone(); z[:, [1, 3]] = u[:, None]; z
    z = c.clone(); z[:, [0, 2], 1] = v[:2]; z
    z = c.clone(); z[[0, 1], :, [2, 3]] = x[:2, :3]; z
    z = c.clone(); z[:, b] = 2; z
    z = c.clone(); z[:, b] = s; z
    z = c.clone(); z[0][1] = v; z
    z = x.clone(); z[t.tensor(1)] = v; z
    z = x.clone(); z[True] = y; z
    z = x.clone(); z[[]] = 0; z
    z = x.detach().clone(); z[0] = 1; z[row] = v.detach(); z[:, [1, 3]] = 7; z[z > 1] = -1; z
    z = i.clone(); z[0, 1] = 2.7; z
    z = x.clone(); z[0] += v; z
    z = x.clone(); z[:, 0] *= 2; z
    z = x.clone(); z.diagonal(); z
    z = x.clone(); r = z.diagonal(); r[0] = 5; (z, r)
    z = x.clone(); z.diagonal(1).mul_(v[:3]); z
    z = c.clone(); z.diagonal(0, 1, 2).copy_(x[:2, :3]); z
    z = c.clone(); z.diagonal(-1, 0, 2)[0] = 7; (z, z.diagonal(0, 0, 1))
    z = x.clone(); r = z.diagonal(); z += 1; (z, r)
    z = x.t().clone(); z.diagonal(-1).exp_(); z
    z = x.clone(); z.t_(); z
    z = x.clone(); z.t_(); z *= y.t(); z
    z = x.clone(); z.unsqueeze_(1); z * v
    z = c.clone(); z.transpose_(0, -1); z
    z = c.clone(); z.swapaxes_(0, 1); z[0] = 3; z
    z = c.clone(); z.swapdims_(1, 2); z.mean(0)
    z = x.clone().unsqueeze(0); z.squeeze_(); z
    z = x.clone().reshape(1, 3, 1, 4); z.squeeze_(0); z
    z = x.clone().reshape(1, 3, 1, 4); z.squeeze_((0, 2)); z
    z = x.clone(); r = z[1:]; r.t_(); r.mul_(2); (z, r)
    z = s.clone(); z.t_(); z.unsqueeze_(0); z
    x.clone().as_strided((2, 3), (4, 1), 1)
    x.clone().as_strided((3, 3), (1, 1))
    t.as_strided(x.clone(), (2, 2, 2), (5, 0, 1), 2)
    x.clone().as_strided((), (), 7)
    x.clone().as_strided((0, 2), (3, 1))
    z = x.clone(); z[1:].as_strided((2, 2), (1, 2))
    z = x.clone(); z.t().as_strided((3, 2), (1, 4), 1)
    z = x.clone(); r = z.as_strided((2, 2), (5, 1), 1); r.mul_(3); (z, r)
    z = x.clone(); z.as_strided((3,), (5,)).copy_(v[:3]); z
    z = x.clone(); z.as_strided_((4, 3), (1, 4)); z
    x.as_strided_scatter(v[:2], (2,), (5,), 3).detach()
    t.as_strided_scatter(c, y, (3, 4), (1, 3), 2).detach()
    z = x.clone(); z.view(-1)[3] = s; z
    x.index_put((j[:3],), v)
    x.index_put((j[:2], j[1:3]), v[:2], accumulate=True)
    x.clone().index_put_((j,), v, accumulate=True)
    x.clone().index_put_((k,), v, True)
    2 in i
    3 in i
""")

GATHERING = lines("""
    x.gather(0, k)
    x.gather(1, k)
    t.gather(x, 1, index=k[:, :2])
    x.gather(-1, t.tensor([[3], [0], [1]]))
    s.gather(0, t.tensor(0))
    x.scatter(0, k[:, :3], y[:2, :3])
    x.scatter(1, k[:1], 5)
    x.scatter(1, t.tensor([[0, 3], [1, 2]]), y[:2, :2])
    x.scatter(0, k[:1], value=2.5)
    x.detach().scatter(0, k, y.detach()[:2], reduce="add")
    x.scatter_add(0, k, y[:2])
    x.scatter_add(1, k, y[:2])
    x.scatter_reduce(0, k, y[:2], "sum")
    x.scatter_reduce(0, k, y[:2], "mean")
    x.scatter_reduce(0, k, y[:2], "prod")
    x.scatter_reduce(0, k, y[:2], "amax")
    x.scatter_reduce(1, k, y[:2], "amin", include_self=False)
    x.scatter_reduce(0, k, y[:2], "sum", include_self=False)
    x.scatter_reduce(0, k, y[:2], "mean", include_self=False)
    x.clone().scatter_(0, k, 1.0)
    x.clone().scatter_add_(0, k, y[:2])
    x.index_select(0, t.tensor([2, 0, 2]))
    x.index_select(1, j)
    s.index_select(0, t.tensor([0]))
    v.index_select(0, t.tensor(1))
    x.index_add(0, t.tensor([2, 0]), y[:2])
    x.index_add(1, j, y[:, :4], alpha=2)
    x.index_copy(0, t.tensor([2, 0]), y[:2])
    x.index_copy(1, t.tensor([3, 1]), y[:, :2])
    x.index_fill(0, t.tensor([0, 2]), 5)
    x.index_fill(1, t.tensor([0]), s)
    x.clone().index_add_(0, t.tensor([0, 0]), y[:2])
    x.take(i)
    t.take(x, t.tensor([-1, 0]))
    x.clone().put_(i[0], u)
    x.clone().put_(t.tensor([1, 1, 0]), u, accumulate=True)
    x.take_along_dim(k, 0)
    x.take_along_dim(t.tensor([[1], [0], [3]]), dim=1)
    t.take_along_dim(x, i)
    x.masked_fill(b, 3)
    x.masked_fill(b, s)
    x.masked_fill(row[:, None], -inf)
    x.clone().masked_fill_(b, 0.5)
    x.masked_select(b)
    x.masked_select(row[:, None])
    x.masked_scatter(b, y)
    x.masked_scatter(row[:, None], y)
    x.repeat_interleave(2)
    x.repeat_interleave(3, 1)
    x.repeat_interleave(t.tensor([1, 0, 2]), dim=0)
    t.repeat_interleave(t.tensor([1, 0, 2]))
    zero.nonzero()
    b.nonzero(as_tuple=True)
    t.argwhere(zero)
    s.nonzero()
    t.where(b)
    i.unique()
    i.unique(return_inverse=True, return_counts=True)
    ties.detach().unique(dim=0)
    bad[:1].detach().unique()
    j.unique_consecutive()
    k[0].unique_consecutive(return_inverse=True, return_counts=True)
    ties.detach().unique_consecutive(dim=1)
    j.bincount()
    j.bincount(minlength=6)
    j.bincount(weights=v.detach())
    x.detach().histc(4, -1, 1)
    x.detach().histc(5)
    x.detach().histc(7, 2, 2), bad.detach().histc(9, -0.7, 0.1), t.tensor([0.1, 0.2, 0.3]).histc(3, 0, 0.3)
    t.isin(i, t.tensor([2, 9]))
""")

TABLES = {"shaping": SHAPING, "linear": LINEAR, "indexing": INDEXING, "gathering": GATHERING}
