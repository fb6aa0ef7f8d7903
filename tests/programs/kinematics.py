"""A robot arm and a double pendulum: Jacobians and Hessians inside inverse kinematics and dynamics."""

import torch

torch.set_default_dtype(torch.float64)


def dh(theta, d, a, alpha):
    ct, st = theta.cos(), theta.sin()
    ca, sa = alpha.cos(), alpha.sin()
    z, o = torch.zeros_like(theta), torch.ones_like(theta)
    return torch.stack(
        [
            torch.stack([ct, -st * ca, st * sa, a * ct], -1),
            torch.stack([st, ct * ca, -ct * sa, a * st], -1),
            torch.stack([z, sa, ca, d], -1),
            torch.stack([z, z, z, o], -1),
        ],
        -2,
    )


D = torch.tensor([0.3, 0.0, 0.0, 0.25, 0.0, 0.1])
A = torch.tensor([0.0, 0.4, 0.02, 0.0, 0.0, 0.0])
AL = torch.tensor([1.57, 0.0, 1.57, -1.57, 1.57, 0.0])


def fk(q):
    T = torch.eye(4)
    for M in dh(q, D, A, AL):
        T = T @ M
    return T


def pos(q):
    return fk(q)[:3, 3]


q = torch.tensor([0.1, -0.4, 0.7, 0.2, 0.9, -0.3])
J = torch.func.jacfwd(pos)(q)
print(pos(q), J, torch.linalg.svdvals(J))
target = torch.tensor([0.3, 0.2, 0.5])


def ik(q):
    return (pos(q) - target).square().sum() + 1e-3 * q.square().sum()


# compiled: ik = torch.compile_grad(ik)
qv = q.clone().requires_grad_()
opt = torch.optim.Adam([qv], lr=0.05)


def step():
    opt.zero_grad()
    loss = ik(qv)
    loss.backward()
    opt.step()
    return loss


for i in range(30):
    loss = step()
print(f"{loss.item():.8f}", qv.detach())
for i in range(5):
    e = target - pos(q)
    Jq = torch.func.jacrev(pos)(q)
    q = q + Jq.T @ torch.linalg.solve(Jq @ Jq.T + 1e-4 * torch.eye(3), e)
    print(i, f"{e.norm().item():.8f}")


# Lagrangian dynamics of a double pendulum by autodiff
def L(q, v):
    t1, t2 = q.unbind()
    w1, w2 = v.unbind()
    T = 0.5 * w1**2 + 0.5 * (w1**2 + w2**2 + 2 * w1 * w2 * (t1 - t2).cos())
    return T + 9.81 * (2 * t1.cos() + t2.cos())


def accel(q, v):
    M = torch.func.hessian(L, 1)(q, v)
    c = torch.func.jacfwd(torch.func.grad(L, 1), 0)(q, v) @ v
    return torch.linalg.solve(M, torch.func.grad(L, 0)(q, v) - c)


s, v = torch.tensor([0.5, 1.0]), torch.zeros(2)
acc = accel
# compiled: acc = torch.compile_grad(accel)
for i in range(10):
    v = v + 0.01 * acc(s, v)
    s = s + 0.01 * v
print(s, v)
torch.set_default_dtype(torch.float32)
