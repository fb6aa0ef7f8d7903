"""A physics-informed network: u'' = -pi² sin(pi x) with boundary conditions, second derivatives."""

import math

import torch
import torch.nn as nn

torch.manual_seed(0)


class MLP(nn.Module):
    def __init__(self, width=20, depth=3):
        super().__init__()
        layers = [nn.Linear(1, width), nn.Tanh()]
        for _ in range(depth - 1):
            layers += [nn.Linear(width, width), nn.Tanh()]
        self.net = nn.Sequential(*layers, nn.Linear(width, 1))
        for m in self.modules():
            if isinstance(m, nn.Linear):
                nn.init.xavier_uniform_(m.weight, gain=nn.init.calculate_gain("tanh"))
                nn.init.zeros_(m.bias)

    def forward(self, x):
        return self.net(x)


model = MLP()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
boundary = torch.tensor([[-1.0], [1.0]])


def residual(x):
    u = model(x)
    (u_x,) = torch.autograd.grad(u, x, grad_outputs=torch.ones_like(u), create_graph=True)
    (u_xx,) = torch.autograd.grad(u_x, x, torch.ones_like(u_x), create_graph=True, retain_graph=True)
    return u_xx + math.pi**2 * torch.sin(math.pi * x)


def loss_of(x):
    pde = residual(x).pow(2).mean()
    bc = model(boundary).pow(2).mean()
    return pde + 10 * bc


# compiled: loss_of = torch.compile_grad(loss_of)
for it in range(30):
    x = (torch.rand(64, 1) * 2 - 1).requires_grad_(True)
    optimizer.zero_grad()
    loss = loss_of(x)
    loss.backward()
    optimizer.step()
    if it % 10 == 0:
        print(f"iter {it:4d} loss {loss.item():.5f}")
with torch.no_grad():
    xs = torch.linspace(-1, 1, 5).view(-1, 1)
    print(torch.cat([xs, model(xs), torch.sin(math.pi * xs)], 1))
