"""PyTorch's times of the operations of `benches/examples/tensors.rs`: forward and backward, on the processor or on a card.

Usage: tensors.py THREADS|cuda|cuda-tf32 [ROUNDS]

Prints one JSON object, operation -> seconds (the median of the rounds). Images are 32 x 64 x 32 x 32, and stand among the
parameters, so that gradients flow to them, too. `tensors.sh` runs both sides in turn and prints the ratios. A card is waited for
after each way, as there; `cuda` computes with 32-bit floats throughout, `cuda-tf32` as PyTorch does unless told otherwise.
"""

import json
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

DEVICE = "cuda" if sys.argv[1].startswith("cuda") else "cpu"
if DEVICE == "cpu":
    torch.set_num_threads(int(sys.argv[1]))
else:
    torch.backends.cudnn.allow_tf32 = sys.argv[1] == "cuda-tf32"
    torch.set_default_device(DEVICE)
wait = torch.cuda.synchronize if DEVICE == "cuda" else lambda: None
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 7
BATCH, CHANNELS, SIZE = 32, 64, 32


def image(channels=CHANNELS, size=SIZE, batch=BATCH):
    return torch.randn(batch, channels, size, size, requires_grad=True)


class Separable(nn.Module):
    """ReLU, depthwise, pointwise, batch norm: half of NASNet's separable convolution."""

    def __init__(self, channels, kernel, stride=1):
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x):
        return self.norm(self.pointwise(self.depthwise(F.relu(x))))


class Cell(nn.Module):
    """A normal cell as in NASNet-A: two inputs, five sums of two operations each, all of them put together."""

    def __init__(self, channels):
        super().__init__()
        twice = lambda kernel: nn.Sequential(Separable(channels, kernel), Separable(channels, kernel))
        self.squeeze = nn.ModuleList([nn.Conv2d(channels, channels, 1, bias=False) for _ in range(2)])
        self.norms = nn.ModuleList([nn.BatchNorm2d(channels) for _ in range(2)])
        self.separable = nn.ModuleList([twice(kernel) for kernel in (3, 5, 5, 3, 3)])

    def forward(self, a, b):
        a, b = (norm(squeeze(F.relu(x))) for norm, squeeze, x in zip(self.norms, self.squeeze, (a, b)))
        average = lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        nodes = [
            self.separable[0](b) + b,
            self.separable[4](a) + self.separable[1](b),
            average(b) + a,
            average(a) + average(a),
            self.separable[2](a) + self.separable[3](a),
        ]
        return torch.cat([b, *nodes], 1)


class Small(nn.Module):
    """Two convolutions with batch norm and pooling, and a linear layer, on 28 x 28."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 32, 3, padding=1, bias=False), nn.Conv2d(32, 64, 3, padding=1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(32), nn.BatchNorm2d(64)])
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.norms[0](self.first(x))), 2)
        x = F.max_pool2d(F.relu(self.norms[1](self.second(x))), 2)
        return self.head(x.mean((2, 3)))


def timed(name, inputs, forward, modules=()):
    leaves = [*inputs, *(p for m in modules for p in m.parameters())]
    seconds = []
    gradient = None
    for _ in range(ROUNDS + 2):
        for leaf in leaves:
            leaf.grad = None
        wait()
        start = time.perf_counter()
        out = forward(*inputs)
        if gradient is None:
            gradient = torch.randn_like(out)
        wait()
        out.backward(gradient)
        wait()
        seconds.append(time.perf_counter() - start)
    results[name] = statistics.median(seconds[2:])


results = {}
conv = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False)
timed("conv 3x3", [image()], conv, [conv])
for kernel in (3, 5, 7):
    depthwise = nn.Conv2d(CHANNELS, CHANNELS, kernel, padding=kernel // 2, groups=CHANNELS, bias=False)
    timed(f"depthwise {kernel}x{kernel}", [image()], depthwise, [depthwise])
dilated = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=2, dilation=2, groups=CHANNELS, bias=False)
timed("depthwise 3x3, dilation 2", [image()], dilated, [dilated])
strided = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, stride=2, groups=CHANNELS, bias=False)
timed("depthwise 3x3, stride 2", [image()], strided, [strided])
pointwise = nn.Conv2d(CHANNELS, CHANNELS, 1, bias=False)
timed("pointwise", [image()], pointwise, [pointwise])
separable = Separable(CHANNELS, 3)
timed("separable 3x3 with batch norm", [image()], separable, [separable])
rows, columns = nn.Conv2d(CHANNELS, CHANNELS, (1, 7), padding=(0, 3), bias=False), nn.Conv2d(CHANNELS, CHANNELS, (7, 1), padding=(3, 0), bias=False)
timed("conv 1x7 + 7x1", [image()], lambda x: columns(rows(x)), [rows, columns])
norm = nn.BatchNorm2d(CHANNELS)
timed("batch norm", [image()], norm, [norm])
timed("batch norm + ReLU", [image()], lambda x: F.relu(norm(x)), [norm])
timed("max pool 3x3", [image()], lambda x: F.max_pool2d(x, 3, 1, 1))
timed("average pool 3x3", [image()], lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False))
timed("ReLU", [image()], F.relu)
timed("add", [image(), image()], torch.add)
timed("concat of 2", [image(), image()], lambda a, b: torch.cat([a, b], 1))
timed("global average", [image()], lambda x: x.mean((2, 3)))
cell = Cell(32)
timed("NASNet-like cell, 32 channels", [image(32), image(32)], cell, [cell])
small = Small()
timed("small CNN, 28x28, batch 64", [torch.randn(64, 1, 28, 28)], small, [small])
for units, steps, batch in ((96, 40, 100), (96, 20, 32)):
    lstm = nn.LSTM(units, units)
    tokens = torch.randn(steps, batch, units, requires_grad=True)
    timed(f"LSTM({units}), {steps} steps, batch {batch}", [tokens], lambda x: lstm(x)[0], [lstm])
print(json.dumps(results))
