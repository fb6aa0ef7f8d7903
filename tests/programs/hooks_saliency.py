"""Looking into a network: forward and backward hooks, activations kept, saliency, Grad-CAM, attacks."""

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(3, 8, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(8, 16, 3, padding=1),
    nn.ReLU(),
    nn.AdaptiveAvgPool2d(1),
    nn.Flatten(),
    nn.Linear(16, 5),
)
activation, gradients = {}, {}


def get_activation(name):
    def hook(module, input, output):
        activation[name] = output.detach()

    return hook


handles = [
    layer.register_forward_hook(get_activation(f"{i}:{type(layer).__name__}"))
    for i, layer in enumerate(model)
]
handles.append(model[3].register_full_backward_hook(lambda m, gi, go: gradients.update(conv=go[0])))
handles.append(model[0].register_forward_pre_hook(lambda m, args: (args[0] * 2 - 1,)))
x = torch.rand(2, 3, 16, 16, requires_grad=True)
scores = model(x)
score, index = scores.max(dim=1)
score.sum().backward()
for name, value in activation.items():
    print(
        f"{name:22s} {tuple(value.shape)} {value.mean():+.4f} {value.std():.4f}",
        f"{(value == 0).float().mean():.3f}",
    )
saliency, _ = x.grad.data.abs().max(dim=1)
print(saliency.shape, saliency.view(2, -1).max(1))
weights = gradients["conv"].mean(dim=(2, 3), keepdim=True)
cam = F.relu((weights * activation["3:Conv2d"]).sum(1, keepdim=True))
cam = F.interpolate(cam, size=(16, 16), mode="bilinear", align_corners=False)
cam -= cam.amin((2, 3), keepdim=True)
cam /= cam.amax((2, 3), keepdim=True)
print(cam[0, 0, ::5, ::5])
for handle in handles:
    handle.remove()
activation.clear()
model(x)
print(activation, model[0]._forward_hooks)


def fgsm_attack(image, epsilon, data_grad):
    perturbed_image = image + epsilon * data_grad.sign()
    return torch.clamp(perturbed_image, 0, 1)


for epsilon in (0, 0.05, 0.2):
    data = x.detach().clone().requires_grad_(True)
    loss = F.cross_entropy(model(data), index)
    model.zero_grad()
    loss.backward()
    perturbed = fgsm_attack(data, epsilon, data.grad)
    print(f"Epsilon: {epsilon}\t{F.cross_entropy(model(perturbed), index):.4f}")

smooth = torch.zeros_like(x)
for _ in range(5):
    noisy = (x.detach() + 0.1 * torch.randn_like(x)).requires_grad_()
    smooth += torch.autograd.grad(model(noisy)[range(2), index].sum(), noisy)[0] / 5
print(smooth.pow(2).sum((1, 2, 3)))
z = torch.ones(3, requires_grad=True)
h = z.register_hook(lambda g: g * 2)
y = z * 3
y.retain_grad()
y.register_hook(lambda g: print("grad of y:", g))
y.sum().backward()
print(z.grad, y.grad)
