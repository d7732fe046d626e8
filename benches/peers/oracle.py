"""What PyTorch makes of fixed numbers: prints the table of `automl-nas/src/tensor/image/oracle.rs`, and the constants of the
tests of the optimizers and of the LSTM.

Usage: oracle.py
"""

import torch
from torch.nn import functional as F


def numbers(*shape, seed=0):
    count = torch.Size(shape).numel()
    return torch.tensor([((index * 37 + seed * 11) % 101) / 50 - 1 for index in range(count)], dtype=torch.float32).reshape(shape)


def some(values, count=5):
    """Numbers at places that are spread over all of them."""
    flat = values.detach().flatten()
    return [flat[index * (len(flat) - 1) // (count - 1)].item() for index in range(count)]


def show(name, leaves, out):
    out.backward(numbers(*out.shape, seed=7))
    rows = [some(out), *(some(leaf.grad) for leaf in leaves)]
    print(f'    ("{name}", &[' + ", ".join("[" + ", ".join(f"{x:.6}" for x in row) + "]" for row in rows) + "]),")


def leaf(*shape, seed=0):
    return numbers(*shape, seed=seed).requires_grad_()


def conv(name, shape, outputs, kernel, **settings):
    x, w = leaf(*shape, seed=1), leaf(outputs, shape[1] // settings.get("groups", 1), *kernel, seed=2)
    show(name, [x, w], F.conv2d(x, w, **settings))


conv("conv 3x3", (2, 3, 7, 6), 4, (3, 3), padding=1)
conv("conv 3x3, stride 2", (2, 3, 7, 6), 4, (3, 3), padding=1, stride=2)
conv("conv 1x7", (2, 3, 7, 9), 4, (1, 7), padding=(0, 3))
conv("conv 3x3, dilation 2, groups 2", (2, 4, 9, 8), 6, (3, 3), padding=2, dilation=2, groups=2)
conv("depthwise 5x5", (2, 3, 9, 8), 3, (5, 5), padding=2, groups=3)
conv("depthwise 3x3, stride 2, dilation 2", (2, 3, 9, 8), 3, (3, 3), padding=2, stride=2, dilation=2, groups=3)
x = leaf(2, 3, 7, 6, seed=1)
show("max pool 3x3, stride 2", [x], F.max_pool2d(x, 3, 2, 1))
x = leaf(2, 3, 7, 6, seed=1)
show("average pool 3x3", [x], F.avg_pool2d(x, 3, 1, 1, count_include_pad=False))
x = leaf(2, 3, 7, 6, seed=1)
show("global average", [x], x.mean((2, 3)))
for training in (True, False):
    x, gain, shift = leaf(3, 4, 5, 5, seed=1), leaf(4, seed=2), leaf(4, seed=3)
    mean, variance = torch.tensor([0.1, -0.2, 0.3, 0.0]), torch.tensor([1.0, 0.5, 2.0, 0.25])
    out = F.relu(F.batch_norm(x, mean, variance, gain, shift, training, 1.0))
    show(f"batch norm, {'training' if training else 'evaluation'}", [x, gain, shift], out)
    print("    // running mean and variance:", mean.tolist(), variance.tolist())

for name, optimizer in {
    "SGD": lambda w: torch.optim.SGD([w], lr=0.1, momentum=0.9, weight_decay=0.1),
    "SGD, Nesterov": lambda w: torch.optim.SGD([w], lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True),
    "Adam": lambda w: torch.optim.Adam([w], lr=0.1, weight_decay=0.1),
    "AdamW": lambda w: torch.optim.AdamW([w], lr=0.1, weight_decay=0.1),
}.items():
    weight = torch.tensor([1.0, -2.0], requires_grad=True)
    optimizer = optimizer(weight)
    for _ in range(3):
        optimizer.zero_grad()
        (weight * weight * torch.tensor([0.5, 1.5])).sum().backward()
        optimizer.step()
    print(f"// {name}, three steps on 0.5 a² + 1.5 b²:", weight.tolist())

lstm = torch.nn.LSTM(4, 5)
with torch.no_grad():
    # PyTorch's gates stand in the same order, input, forget, candidate, output; its matrices are the other way round.
    lstm.weight_ih_l0.copy_(numbers(4, 20, seed=1).T), lstm.weight_hh_l0.copy_(numbers(5, 20, seed=2).T)
    lstm.bias_ih_l0.copy_(numbers(20, seed=3)), lstm.bias_hh_l0.zero_()
x = leaf(6, 3, 4, seed=4)
out = lstm(x)[0]
out.backward(numbers(6, 3, 5, seed=7))
print("// LSTM: states, and gradients of inputs, input weights, hidden weights, biases")
for values in (out, x.grad, lstm.weight_ih_l0.grad.T.contiguous(), lstm.weight_hh_l0.grad.T.contiguous(), lstm.bias_ih_l0.grad):
    print("    ", [round(x, 6) for x in some(values)])
