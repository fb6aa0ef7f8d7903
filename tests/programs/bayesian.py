"""Bayesian linear regression: a variational posterior by distributions, KL, rsample; a Metropolis chain."""

import math

import torch
from torch import nn
from torch.distributions import Gamma, Independent, MultivariateNormal, Normal, kl_divergence

torch.manual_seed(0)
X = torch.cat([torch.randn(60, 2), torch.ones(60, 1)], 1)
y = X @ torch.tensor([1.5, -0.7, 0.3]) + 0.2 * torch.randn(60)
prior = Independent(Normal(torch.zeros(3), torch.ones(3)), 1)
loc, log_scale = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.full((3,), -1.0))
log_noise = nn.Parameter(torch.tensor(0.0))
optimizer = torch.optim.Adam([loc, log_scale, log_noise], lr=0.05)


def elbo(samples=8):
    q = Independent(Normal(loc, log_scale.exp()), 1)
    w = q.rsample((samples,))
    likelihood = Normal(w @ X.T, log_noise.exp()).log_prob(y).sum(-1).mean()
    return likelihood - kl_divergence(q, prior)


for step in range(40):
    optimizer.zero_grad()
    loss = -elbo()
    loss.backward()
    optimizer.step()
    if step % 10 == 0:
        print(f"step {step} -elbo {loss.item():.3f}")
print(loc.data, log_scale.exp().data, log_noise.exp().item())
precision = torch.eye(3) + X.T @ X / 0.04
exact = MultivariateNormal(torch.linalg.solve(precision, X.T @ y / 0.04), precision_matrix=precision)
print(
    exact,
    exact.mean,
    exact.entropy(),
    exact.log_prob(loc.detach()),
    exact.covariance_matrix.diagonal().sqrt(),
)
print(Gamma(torch.tensor(2.0), torch.tensor(3.0)), kl_divergence(Normal(0.0, 1.0), Normal(1.0, 2.0)))


def log_posterior(w):
    return prior.log_prob(w) + Normal(X @ w, 0.2).log_prob(y).sum()


w, kept, accepted = torch.zeros(3), [], 0
with torch.no_grad():
    for i in range(150):
        proposal = w + 0.05 * torch.randn(3)
        if torch.rand(1).log() < log_posterior(proposal) - log_posterior(w):
            w, accepted = proposal, accepted + 1
        kept.append(w)
chain = torch.stack(kept[75:])
print(accepted, chain.mean(0), chain.std(0), torch.cov(chain.T).shape)
step_size, q = 0.01, torch.zeros(3, requires_grad=True)
p = torch.randn(3)
for _ in range(10):
    p = p + step_size / 2 * torch.autograd.grad(log_posterior(q), q)[0]
    q = (q + step_size * p).detach().requires_grad_()
    p = p + step_size / 2 * torch.autograd.grad(log_posterior(q), q)[0]
print(q, math.isfinite(log_posterior(q).item()))
