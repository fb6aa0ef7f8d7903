"""Per-sample gradients by vmap(grad), Fisher factors, stacked ensembles, jacobians, a Laplacian."""

import copy

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, stack_module_state, vjp, vmap

torch.manual_seed(0)


class SimpleMLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(12, 16)
        self.fc2 = nn.Linear(16, 4)

    def forward(self, x):
        return self.fc2(F.relu(self.fc1(x.flatten(-1))))


model = SimpleMLP()
data, targets = torch.randn(10, 12), torch.randint(0, 4, (10,))
params = {k: v.detach() for k, v in model.named_parameters()}
buffers = {k: v.detach() for k, v in model.named_buffers()}


def compute_loss(params, buffers, sample, target):
    predictions = functional_call(model, (params, buffers), (sample.unsqueeze(0),))
    return F.cross_entropy(predictions, target.unsqueeze(0))


ft_per_sample_grads = vmap(grad(compute_loss), in_dims=(None, None, 0, 0))(params, buffers, data, targets)
for k, v in ft_per_sample_grads.items():
    print(k, v.shape, v.flatten(1).norm(dim=1)[:4])
one = torch.autograd.grad(F.cross_entropy(model(data[:1]), targets[:1]), list(model.parameters()))
print(all(torch.allclose(a, b[0], atol=1e-6) for a, b in zip(one, ft_per_sample_grads.values())))
g = ft_per_sample_grads["fc2.weight"]
G = torch.einsum("bij,bkj->ik", g, g) / len(g)
A = torch.einsum("bij,bik->jk", g, g) / len(g)
damped = torch.linalg.solve(G + 0.1 * torch.eye(4), g.mean(0)) @ torch.linalg.inv(A + 0.1 * torch.eye(16))
print(damped.norm(), torch.linalg.eigvalsh(G))

models = [SimpleMLP() for _ in range(5)]
params, buffers = stack_module_state(models)
base_model = copy.deepcopy(models[0])


def fmodel(params, buffers, x):
    return functional_call(base_model, (params, buffers), (x,))


predictions = vmap(fmodel, in_dims=(0, 0, None))(params, buffers, data)
print(predictions.shape, torch.allclose(predictions, torch.stack([m(data) for m in models]), atol=1e-5))
print(vmap(fmodel)(params, buffers, torch.randn(5, 3, 12)).std(0).mean(), params["fc1.weight"].shape)

W, x = torch.randn(4, 3), torch.randn(3)
f = lambda x: (W @ x).sin()
print(torch.allclose(jacrev(f)(x), jacfwd(f)(x), atol=1e-6), jacrev(f)(x))
print(hessian(lambda x: f(x).prod())(x))
out, vjp_fn = vjp(f, x)
print(vjp_fn(torch.ones(4))[0], jvp(f, (x,), (torch.ones(3),))[1])
laplacian = vmap(lambda z: torch.trace(hessian(lambda z: f(z).sum())(z)))(torch.randn(6, 3))
print(laplacian)
noise = vmap(lambda z: z + torch.randn(()), randomness="different")(torch.zeros(3))
print(noise.unique().numel())
