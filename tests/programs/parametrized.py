"""Constrained weights: parametrizations, spectral and weight norm, pruning by a mask, orthogonal layers."""

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.nn.utils.parametrize as parametrize
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch.nn.utils.parametrizations import orthogonal, spectral_norm, weight_norm

torch.manual_seed(0)


class Symmetric(nn.Module):
    def forward(self, X):
        return X.triu() + X.triu(1).transpose(-1, -2)


class MatrixExponential(nn.Module):
    def forward(self, X):
        return torch.matrix_exp(X)


class Skew(nn.Module):
    def forward(self, X):
        A = X.triu(1)
        return A - A.transpose(-1, -2)


layer = nn.Linear(3, 3)
parametrize.register_parametrization(layer, "weight", Symmetric())
A = layer.weight
print(torch.allclose(A, A.T), layer, list(dict(layer.named_parameters())))
layer_orthogonal = nn.Linear(3, 3)
parametrize.register_parametrization(layer_orthogonal, "weight", Skew())
parametrize.register_parametrization(layer_orthogonal, "weight", MatrixExponential())
X = layer_orthogonal.weight
print(torch.dist(X.T @ X, torch.eye(3)).item() < 1e-5, parametrize.is_parametrized(layer_orthogonal))
critic = nn.Sequential(
    spectral_norm(nn.Linear(6, 16)),
    nn.LeakyReLU(0.1),
    weight_norm(nn.Linear(16, 8)),
    nn.ELU(),
    nn.Linear(8, 1),
)
print(critic)
optimizer = torch.optim.RMSprop(critic.parameters(), lr=5e-3)
real, fake = torch.randn(32, 6) + 1, torch.randn(32, 6)
for it in range(6):
    alpha = torch.rand(32, 1)
    mix = (alpha * real + (1 - alpha) * fake).requires_grad_(True)
    (gradients,) = torch.autograd.grad(critic(mix).sum(), mix, create_graph=True)
    penalty = ((gradients.norm(2, dim=1) - 1) ** 2).mean()
    loss = critic(fake).mean() - critic(real).mean() + 10 * penalty
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(f"{it} {loss.item():.5f} {penalty.item():.5f}")
critic.eval()
print(torch.linalg.svdvals(critic[0].weight)[0])
rotation = orthogonal(nn.Linear(4, 4, bias=False))
opt = torch.optim.SGD(rotation.parameters(), lr=0.5)
for _ in range(3):
    opt.zero_grad()
    loss = F.mse_loss(rotation(torch.eye(4)), torch.eye(4).flip(0))
    loss.backward()
    opt.step()
print(loss, torch.dist(rotation.weight @ rotation.weight.T, torch.eye(4)).item() < 1e-5)
parametrize.remove_parametrizations(layer, "weight")
print(layer, layer.weight)
with parametrize.cached():
    print(critic[2].weight is critic[2].weight)
vector = parameters_to_vector(critic[4].parameters())
vector_to_parameters(vector * 0.5, critic[4].parameters())
print(vector.shape, critic[4].bias / vector[-1])
mask = (critic[4].weight.abs() > critic[4].weight.abs().median()).float()
with torch.no_grad():
    critic[4].weight.mul_(mask)
print(int((critic[4].weight == 0).sum()), critic[4].weight.count_nonzero())
