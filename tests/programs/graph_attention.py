"""Attention and convolution on a graph: scatters, index_add, a softmax over each node's edges."""

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(11)
N, E, C = 60, 240, 4
src, dst = torch.randint(0, N, (2, E))
src, dst = torch.cat([src, torch.arange(N)]), torch.cat([dst, torch.arange(N)])
labels = torch.randint(0, C, (N,))
feats = F.one_hot(labels, C).float() + 0.8 * torch.randn(N, C)


def segment_softmax(score, index, n):
    m = torch.full((n, score.shape[1]), -1e9).scatter_reduce(
        0, index[:, None].expand_as(score), score, "amax", include_self=True
    )
    e = (score - m[index]).exp()
    z = torch.zeros(n, score.shape[1]).index_add(0, index, e)
    return e / (z[index] + 1e-9)


class GAT(nn.Module):
    def __init__(self, cin, cout, heads):
        super().__init__()
        self.heads = heads
        self.lin = nn.Linear(cin, heads * cout, bias=False)
        self.a_src = nn.Parameter(torch.empty(1, heads, cout))
        self.a_dst = nn.Parameter(torch.empty(1, heads, cout))
        nn.init.xavier_uniform_(self.lin.weight)
        nn.init.xavier_uniform_(self.a_src)
        nn.init.xavier_uniform_(self.a_dst)

    def forward(self, x):
        h = self.lin(x).view(-1, self.heads, self.a_src.shape[-1])
        s, d = (h * self.a_src).sum(-1), (h * self.a_dst).sum(-1)
        alpha = segment_softmax(F.leaky_relu(s[src] + d[dst], 0.2), dst, x.shape[0])
        out = torch.zeros_like(h)
        out = out.index_add(0, dst, alpha.unsqueeze(-1) * h[src])
        return out.flatten(1)


class GCN(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.lin = nn.Linear(cin, cout)
        deg = torch.zeros(N).scatter_add_(0, dst, torch.ones(len(dst)))
        self.register_buffer("w", (deg[src] * deg[dst]).rsqrt())

    def forward(self, x):
        m = self.lin(x)[src] * self.w[:, None]
        return torch.zeros(N, m.shape[1]).scatter_add(0, dst[:, None].expand_as(m), m)


net = nn.ModuleDict({"a": GAT(C, 8, 2), "b": GCN(16, 16), "c": nn.Linear(16, C)})


def loss_fn(x, y, mask):
    h = F.elu(net["a"](x))
    h = F.relu(net["b"](h))
    g = torch.zeros(N, 16).index_reduce(0, dst, h[src], "mean", include_self=False)
    logits = net["c"](h + g)
    return F.cross_entropy(logits[mask], y[mask]), logits


run = loss_fn
mask = torch.arange(N) % 3 != 0
train_idx = mask.nonzero().squeeze(1)
# compiled: run = torch.compile_grad(loss_fn, has_aux=True)
opt = torch.optim.Adam(net.parameters(), lr=0.01, amsgrad=True)


def step():
    loss, logits = run(feats, labels, train_idx)
    opt.zero_grad()
    loss.backward()
    opt.step()
    return loss, logits


for i in range(20):
    loss, logits = step()
    if i % 4 == 0:
        acc = (logits.argmax(1) == labels)[~mask].float().mean()
        print(i, f"{loss.item():.5f} {acc.item():.3f}")
counts = torch.bincount(labels, minlength=C)
print(counts, torch.unique(dst, return_counts=True)[1][:8])
adj = torch.zeros(N, N).index_put_((dst, src), torch.ones(len(src)), accumulate=True)
print(adj.sum(), (adj @ adj).diagonal()[:6], torch.linalg.matrix_power(adj, 3).trace())
