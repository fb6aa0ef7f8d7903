"""A network that is pruned step by step, and then for good."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune

torch.manual_seed(0)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.hidden = nn.Linear(64, 8)
        self.out = nn.Linear(8, 3)

    def forward(self, x):
        return self.out(F.relu(self.hidden(F.relu(self.conv(x)).flatten(1))))


def share(x):
    return f"{float((x == 0).sum()) / x.nelement():.3f}"


net = Net()
x, y = torch.randn(10, 1, 6, 6), torch.randint(0, 3, (10,))
prune.random_unstructured(net.conv, name="weight", amount=0.3)
print([name for name, _ in net.conv.named_parameters()], [name for name, _ in net.conv.named_buffers()])
print(net.conv.weight_mask.flatten().tolist())
print(type(net.conv.weight).__name__, net.conv.weight.grad_fn is not None)
prune.l1_unstructured(net.conv, name="bias", amount=1)
print(net.conv.bias.tolist(), len(net.conv._forward_pre_hooks))
prune.ln_structured(net.conv, name="weight", amount=0.5, n=2, dim=0)
print(share(net.conv.weight), net.conv.weight.abs().sum(dim=(1, 2, 3)))
for hook in net.conv._forward_pre_hooks.values():
    hook = getattr(hook, "call", hook)
    print(type(hook).__name__, hook._tensor_name)
prune.random_structured(net.hidden, "weight", amount=2, dim=1)
prune.identity(net.out, "bias")
print(share(net.hidden.weight), share(net.out.bias), prune.is_pruned(net), prune.is_pruned(net.out))

optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for step in range(3):
    optimizer.zero_grad()
    loss = F.cross_entropy(net(x), y)
    loss.backward()
    optimizer.step()
    print(f"{loss.item():.4f}", share(net.hidden.weight), share(net.hidden.weight_orig.grad))

pairs = [(net.hidden, "weight"), (net.out, "weight")]
prune.global_unstructured(pairs, pruning_method=prune.L1Unstructured, amount=0.4)
print([share(getattr(module, name)) for module, name in pairs])
print(sorted(net.state_dict()))
prune.global_unstructured(
    pairs[1:], prune.L1Unstructured, {(net.out, "weight"): torch.arange(24.0).reshape(3, 8)}, amount=20
)
print(net.out.weight_mask.sum())


class Every(prune.BasePruningMethod):
    PRUNING_TYPE = "unstructured"

    def __init__(self, step):
        self.step = step

    def compute_mask(self, t, default_mask):
        mask = default_mask.clone()
        mask.view(-1)[:: self.step] = 0
        return mask


Every.apply(net.out, "bias", 2)
print(net.out.bias_mask)
prune.custom_from_mask(net.out, "bias", mask=torch.tensor([1.0, 0.0, 1.0]))
print(net.out.bias_mask, net(x)[0])
print(Every(3).prune(torch.ones(5)))

before = net(x)
for module, name in (*pairs, (net.conv, "weight"), (net.conv, "bias"), (net.out, "bias")):
    prune.remove(module, name)
print(torch.allclose(before, net(x)), prune.is_pruned(net), sorted(net.state_dict()))

for wrong in (
    lambda: prune.remove(net.out, "weight"),
    lambda: prune.l1_unstructured(net.out, "weight", amount=1.5),
    lambda: prune.l1_unstructured(net.out, "weight", amount=-1),
    lambda: prune.l1_unstructured(net.out, "weight", amount="much"),
    lambda: prune.l1_unstructured(net.out, "weight", amount=100),
    lambda: prune.ln_structured(net.out, "bias", amount=1, n=2, dim=0),
    lambda: prune.ln_structured(net.out, "weight", amount=1, n=2, dim=2),
    lambda: prune.l1_unstructured(net.out, "weight", 1, importance_scores=torch.ones(2)),
    lambda: prune.custom_from_mask(net.out, "weight", torch.ones(2)),
    lambda: prune.global_unstructured(3, prune.L1Unstructured, amount=1),
    lambda: prune.global_unstructured([(net.out, "weight")], prune.LnStructured, amount=1, n=2),
    lambda: prune.PruningContainer(3),
):
    try:
        print(wrong())
    except Exception as error:
        print(str(error).split("`pruning_method`")[0])
print(sorted(net.state_dict()))
