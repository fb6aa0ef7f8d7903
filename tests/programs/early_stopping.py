"""Logistic regression with schedules and early stopping; the best state saved, loaded and resumed."""

import os
import tempfile
from collections import OrderedDict

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Subset, TensorDataset

torch.manual_seed(3)
X = torch.randn(200, 8)
w_true = torch.randn(8)
y = ((X @ w_true + 0.5 * torch.randn(200)) > 0).float()
dataset = TensorDataset(X, y)
train_set, val_set = Subset(dataset, range(160)), Subset(dataset, range(160, 200))
train_loader = DataLoader(train_set, batch_size=32, shuffle=True, generator=torch.Generator().manual_seed(9))
val_loader = DataLoader(val_set, batch_size=40)


class EarlyStopping:
    def __init__(self, patience=2, delta=0.0):
        self.patience, self.delta, self.best, self.counter, self.stop = patience, delta, None, 0, False

    def __call__(self, val_loss, model, path):
        if self.best is None or val_loss < self.best - self.delta:
            self.best, self.counter = val_loss, 0
            torch.save({"model": model.state_dict(), "best": val_loss}, path)
        else:
            self.counter += 1
            self.stop = self.counter >= self.patience


model = nn.Sequential(
    OrderedDict([("hidden", nn.Linear(8, 8)), ("act", nn.GELU()), ("out", nn.Linear(8, 1))])
)
criterion = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(1.2))
optimizer = torch.optim.NAdam(model.parameters(), lr=0.1)
scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[3, 6], gamma=0.3)
with tempfile.TemporaryDirectory() as folder:
    path, stopper = os.path.join(folder, "best.pt"), EarlyStopping()
    for epoch in range(12):
        model.train()
        for xb, yb in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(xb).squeeze(-1), yb)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            val = sum(criterion(model(xb).squeeze(-1), yb).item() * len(xb) for xb, yb in val_loader) / len(
                val_set
            )
            acc = sum(((model(xb).squeeze(-1) > 0) == yb.bool()).sum().item() for xb, yb in val_loader) / len(
                val_set
            )
        scheduler.step()
        print(
            f"epoch {epoch} train {loss.item():.4f} val {val:.4f} acc {acc:.3f} lr {scheduler.get_last_lr()}"
        )
        stopper(val, model, path)
        if stopper.stop:
            print("Early stopping")
            break
    checkpoint = torch.load(path)
    model.load_state_dict(checkpoint["model"])
    print(f"best {checkpoint['best']:.4f}", list(checkpoint["model"]))
    torch.save({"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}, path)
    resumed = torch.load(path)
    optimizer.load_state_dict(resumed["optimizer"])
    scheduler.load_state_dict(resumed["scheduler"])
    print(sorted(resumed["scheduler"]), sorted(resumed["optimizer"]["param_groups"][0]))
try:
    model.load_state_dict({"hidden.weight": torch.zeros(3, 3)})
except RuntimeError as error:
    print(error)
print(model.load_state_dict({"hidden.bias": torch.zeros(8), "extra": torch.zeros(1)}, strict=False))
