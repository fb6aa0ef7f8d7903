"""A tagger with an LSTM and a linear-chain CRF: forward algorithm, Viterbi, marginals by derivative."""

import itertools

import torch
import torch.nn as nn

torch.manual_seed(0)
START, STOP = 3, 4


class BiLSTM_CRF(nn.Module):
    def __init__(self, vocab, tags=5, e=8, h=12):
        super().__init__()
        self.emb = nn.Embedding(vocab, e)
        self.lstm = nn.LSTM(e, h // 2, bidirectional=True, batch_first=True)
        self.out = nn.Linear(h, tags)
        t = torch.randn(tags, tags)
        t[START, :] = -1e4
        t[:, STOP] = -1e4
        self.trans = nn.Parameter(t)

    def emissions(self, x):
        return self.out(self.lstm(self.emb(x))[0])

    def partition(self, em, mask):
        b, t, k = em.shape
        alpha = torch.full((b, k), -1e4)
        alpha[:, START] = 0.0
        for i in range(t):
            nxt = torch.logsumexp(alpha.unsqueeze(1) + self.trans.unsqueeze(0) + em[:, i].unsqueeze(2), dim=2)
            alpha = torch.where(mask[:, i, None], nxt, alpha)
        return torch.logsumexp(alpha + self.trans[STOP], dim=1)

    def score(self, em, tags, mask):
        b, t = tags.shape
        full = torch.cat([torch.full((b, 1), START), tags], dim=1)
        emit = em.gather(2, tags.unsqueeze(2)).squeeze(2)
        tr = self.trans[full[:, 1:], full[:, :-1]]
        last = full.gather(1, mask.sum(1, keepdim=True)).squeeze(1)
        return ((emit + tr) * mask).sum(1) + self.trans[STOP, last]

    def nll(self, x, tags, mask):
        em = self.emissions(x)
        return (self.partition(em, mask) - self.score(em, tags, mask)).mean()

    @torch.no_grad()
    def viterbi(self, x):
        em = self.emissions(x)[0]
        v = torch.full((5,), -1e4)
        v[START] = 0
        back = []
        for e in em:
            best, idx = (v[None] + self.trans).max(dim=1)
            v = best + e
            back.append(idx)
        best = int((v + self.trans[STOP]).argmax())
        path = [best]
        for idx in reversed(back):
            path.append(int(idx[path[-1]]))
        return path[::-1][1:]


x = torch.randint(0, 20, (6, 9))
tags = (x % 3).clone()
lens = torch.tensor([9, 7, 5, 9, 3, 8])
mask = torch.arange(9)[None] < lens[:, None]
m = BiLSTM_CRF(20)
opt = torch.optim.SGD(m.parameters(), lr=0.1, weight_decay=1e-4, momentum=0.9, nesterov=True)
nll = m.nll
# compiled: nll = torch.compile_grad(m.nll)


def step():
    opt.zero_grad()
    loss = nll(x, tags, mask)
    loss.backward()
    opt.step()
    return loss


for i in range(15):
    loss = step()
    if i % 3 == 0:
        print(i, f"{loss.item():.4f}")
print(m.viterbi(x[:1]), tags[0].tolist())
# brute force check of the partition
em = m.emissions(x[:1, :3])

sc = torch.stack(
    [
        m.score(em, torch.tensor([c]), torch.ones(1, 3, dtype=torch.bool))
        for c in itertools.product(range(5), repeat=3)
    ]
)
print(torch.logsumexp(sc, 0), m.partition(em, torch.ones(1, 3, dtype=torch.bool)))
marg = torch.autograd.grad(m.partition(em, torch.ones(1, 3, dtype=torch.bool)).sum(), em)[0]
print(marg.sum(-1), marg[0, 0])
