"""MAML on sine waves: inner steps with create_graph, an outer optimiser, functional forward."""

import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(1, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 1))
params = [p.detach().clone().requires_grad_() for p in net.parameters()]


def forward(x, params):
    for i in range(0, len(params), 2):
        x = F.linear(x, params[i], params[i + 1])
        if i < len(params) - 2:
            x = F.relu(x)
    return x


def sample_task():
    amplitude, phase = torch.empty(1).uniform_(0.1, 5.0), torch.empty(1).uniform_(0, 3.14)
    return lambda x: amplitude * torch.sin(x + phase)


def adapted(params, x, y, inner_lr=0.01, steps=2):
    fast = params
    for _ in range(steps):
        loss = F.mse_loss(forward(x, fast), y)
        grads = torch.autograd.grad(loss, fast, create_graph=True)
        fast = [p - inner_lr * g for p, g in zip(fast, grads)]
    return fast


meta_optimizer = torch.optim.Adam(params, lr=1e-3)
for iteration in range(8):
    meta_optimizer.zero_grad()
    meta_loss = 0.0
    for _ in range(3):
        task = sample_task()
        x_support, x_query = torch.rand(10, 1) * 10 - 5, torch.rand(10, 1) * 10 - 5
        fast = adapted(params, x_support, task(x_support))
        meta_loss = meta_loss + F.mse_loss(forward(x_query, fast), task(x_query))
    meta_loss = meta_loss / 3
    meta_loss.backward()
    meta_optimizer.step()
    print(f"{iteration} {meta_loss.item():.5f} {sum(p.grad.norm() ** 2 for p in params) ** 0.5:.5f}")
