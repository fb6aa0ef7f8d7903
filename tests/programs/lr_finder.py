"""A learning-rate finder, then training with accumulated gradients under several schedules."""

import copy

import torch
from torch import nn
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(7)
X = torch.randn(128, 6)
y = (X @ torch.randn(6, 1)).squeeze(1) + 0.1 * torch.randn(128)
loader = DataLoader(TensorDataset(X, y), batch_size=16, shuffle=True, drop_last=True)
model = nn.Sequential(nn.Linear(6, 16), nn.SiLU(), nn.LayerNorm(16), nn.Linear(16, 1), nn.Flatten(0))
initial = copy.deepcopy(model.state_dict())
optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
rates, losses, best = [], [], float("inf")
scheduler = lr_scheduler.ExponentialLR(optimizer, gamma=2.0)
for xb, yb in loader:
    optimizer.zero_grad(set_to_none=True)
    loss = nn.functional.huber_loss(model(xb), yb)
    loss.backward()
    optimizer.step()
    rates.append(optimizer.param_groups[0]["lr"])
    losses.append(loss.item())
    scheduler.step()
print([f"{r:.4g}" for r in rates])
print([f"{v:.4f}" for v in losses])
schedules = {
    "onecycle": lambda o: lr_scheduler.OneCycleLR(o, max_lr=0.05, total_steps=8),
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=8),
    "warm": lambda o: lr_scheduler.SequentialLR(
        o,
        [lr_scheduler.LinearLR(o, 0.1, total_iters=3), lr_scheduler.PolynomialLR(o, 5, 2.0)],
        milestones=[3],
    ),
    "cyclic": lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.05, step_size_up=5),
}
accumulation_steps = 2
for name, make in schedules.items():
    model.load_state_dict(initial)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-4)
    scheduler = make(optimizer)
    for epoch in range(2):
        for i, (xb, yb) in enumerate(loader):
            loss = nn.functional.mse_loss(model(xb), yb) / accumulation_steps
            loss.backward()
            if (i + 1) % accumulation_steps == 0:
                norm = torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
                optimizer.step()
                optimizer.zero_grad()
                scheduler.step()
    print(f"{name}: loss {loss:.4f} norm {norm.item():.4f} lr {scheduler.get_last_lr()[0]:.6f}")
plateau = lr_scheduler.ReduceLROnPlateau(optimizer, "min", factor=0.5, patience=1)
for value in [1.0, 0.9, 0.95, 0.97, 0.99, 0.8]:
    plateau.step(value)
    print(value, optimizer.param_groups[0]["lr"])
