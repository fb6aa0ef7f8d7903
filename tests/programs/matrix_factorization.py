"""Recommendations: users' and items' embeddings and biases, weight decay, sparse ratings, top items."""

import torch
from torch import nn

torch.manual_seed(11)
n_users, n_items, k = 30, 40, 6


class MatrixFactorization(nn.Module):
    def __init__(self, n_users, n_items, n_factors=20):
        super().__init__()
        self.user_factors = nn.Embedding(n_users, n_factors)
        self.item_factors = nn.Embedding(n_items, n_factors)
        self.user_biases = nn.Embedding(n_users, 1)
        self.item_biases = nn.Embedding(n_items, 1)
        self.mean = nn.Parameter(torch.tensor(3.5), requires_grad=False)
        for e in (self.user_factors, self.item_factors):
            e.weight.data.uniform_(0, 0.5)

    def forward(self, user, item):
        pred = self.mean + (self.user_factors(user) * self.item_factors(item)).sum(1, keepdim=True)
        pred += self.user_biases(user) + self.item_biases(item)
        return pred.squeeze()


model = MatrixFactorization(n_users, n_items, k)
users, items = torch.randint(n_users, (300,)), torch.randint(n_items, (300,))
ratings = (3 + (users % 3).float() - (items % 2).float() + 0.2 * torch.randn(300)).clamp(1, 5)


def loss_of(u, i, r):
    return nn.functional.mse_loss(model(u, i), r)


decay, no_decay = [], []
for name, p in model.named_parameters():
    (no_decay if "bias" in name else decay).append(p)
optimizer = torch.optim.Adam([{"params": decay, "weight_decay": 1e-4}, {"params": no_decay}], lr=0.02)
step = None
# compiled: step = torch.compile_step(loss_of, optimizer)
for epoch in range(5):
    perm, total = torch.randperm(300), 0.0
    for s in range(0, 300, 50):
        idx = perm[s : s + 50]
        if step is not None:
            loss = step(users[idx], items[idx], ratings[idx])
        else:
            optimizer.zero_grad()
            loss = loss_of(users[idx], items[idx], ratings[idx])
            loss.backward()
            optimizer.step()
        total += loss.item()
    print(f"epoch {epoch} rmse {(total / 6) ** 0.5:.4f}")
with torch.no_grad():
    scores = model.user_factors.weight @ model.item_factors.weight.t() + model.item_biases.weight.view(1, -1)
    scores[users, items] = float("-inf")
    best = scores.topk(3, dim=1)
    print(best.indices[:3], best.values[:3], torch.isinf(scores).sum())
