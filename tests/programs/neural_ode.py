"""A neural ODE by Euler and Runge-Kutta steps, learned from a spiral's trajectory."""

import torch
import torch.nn as nn

torch.manual_seed(0)
true_A = torch.tensor([[-0.1, 2.0], [-2.0, -0.1]])
t = torch.linspace(0.0, 2.0, 21)


def odeint(func, y0, t, method="euler"):
    ys, y = [y0], y0
    for t0, t1 in zip(t[:-1], t[1:]):
        h = t1 - t0
        if method == "euler":
            dy = func(t0, y)
        else:
            k1 = func(t0, y)
            k2 = func(t0 + h / 2, y + h / 2 * k1)
            k3 = func(t0 + h / 2, y + h / 2 * k2)
            k4 = func(t1, y + h * k3)
            dy = (k1 + 2 * k2 + 2 * k3 + k4) / 6
        y = y + h * dy
        ys.append(y)
    return torch.stack(ys)


class ODEFunc(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 20), nn.Tanh(), nn.Linear(20, 2))
        for m in self.net.modules():
            if isinstance(m, nn.Linear):
                nn.init.normal_(m.weight, mean=0, std=0.1)
                nn.init.constant_(m.bias, val=0)

    def forward(self, t, y):
        return self.net(y**3)


class Lambda(nn.Module):
    def forward(self, t, y):
        return torch.mm(y**3, true_A)


true_y0 = torch.tensor([[2.0, 0.0]])
with torch.no_grad():
    true_y = odeint(Lambda(), true_y0, t * 0.25, method="rk4")
print(true_y.shape, true_y[-1])
func = ODEFunc()
optimizer = torch.optim.RMSprop(func.parameters(), lr=1e-3)
for itr in range(1, 9):
    optimizer.zero_grad()
    method = "euler" if itr % 2 else "rk4"
    pred_y = odeint(func, true_y0, t * 0.25, method)
    loss = torch.mean(torch.abs(pred_y - true_y))
    loss.backward()
    optimizer.step()
    print("Iter {:04d} | Total Loss {:.6f}".format(itr, loss.item()))
