#!/usr/bin/env python3
"""The network that `automl train` builds of a cell of RENAS's space, trained in PyTorch by the same recipe.

    python benches/peers/train.py DATA/images/cifar10_small GENOTYPE.json --cells 1 --channels 8 --epochs 10 --seeds 3 --threads 1

Network, initial distributions, batches of even size, augmentation, schedule and weight decay are the same; random numbers are not. Prints
the test accuracy and the seconds of each seed, a line an epoch with `--verbose`; `--device cuda` trains on a card. With `--weights
MODEL.safetensors` nothing is trained: the network gets the weights that `automl train` left, and must find the accuracy that it printed.
Reads CIFAR's binary records and MNIST's IDX files, plain or gzipped. Needs torch, numpy.
"""

import argparse
import gzip
import json
import math
import struct
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


def read(path):
    path = next(p for p in (path, Path(f"{path}.gz")) if p.exists())
    raw = path.read_bytes()
    return np.frombuffer(gzip.decompress(raw) if path.suffix == ".gz" else raw, np.uint8)


def images(folder):
    """Training and test set as (pixels, labels)."""
    sets = []
    for idx, cifar in (("train", "train"), ("t10k", "test")):
        found = sorted(folder.glob(f"{cifar}*.bin*"))
        if found:
            rows = np.concatenate([read(path.with_suffix("") if path.suffix == ".gz" else path) for path in found]).reshape(-1, 3073)
            sets.append((rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0]))
        else:
            raw = read(folder / f"{idx}-images-idx3-ubyte")
            _, height, width = raw[4:16].view(">u4")
            sets.append((raw[16:].reshape(-1, 1, height, width), read(folder / f"{idx}-labels-idx1-ubyte")[8:]))
    return [(torch.from_numpy(pixels.copy()).float() / 255, torch.from_numpy(labels.astype(np.int64))) for pixels, labels in sets]


def conv_norm(inputs, outputs, kernel, stride=1):
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs))


class Separable(nn.Module):
    def __init__(self, channels, kernel, stride):
        super().__init__()
        parts = []
        for step in (stride, 1):
            parts += [nn.ReLU(), nn.Conv2d(channels, channels, kernel, step, kernel // 2, groups=channels, bias=False),
                      nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels)]
        self.parts = nn.Sequential(*parts)

    def forward(self, x):
        return self.parts(x)


class Factorised(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.even = nn.Conv2d(inputs, outputs - outputs // 2, 1, 2, bias=False)
        self.odd = nn.Conv2d(inputs, outputs // 2, 1, 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x):
        x = F.relu(x)
        shifted = F.pad(x[:, :, 1:, 1:], (0, 1, 0, 1))
        return self.norm(torch.cat([self.even(x), self.odd(shifted)], 1))


def operator(name, channels, stride):
    if name == "identity":
        return nn.Identity() if stride == 1 else Factorised(channels, channels)
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, stride, 1, count_include_pad=False)
    if name == "max_pool_3x3":
        return nn.MaxPool2d(3, stride, 1)
    return Separable(channels, int(name[-1]), stride)


class Cell(nn.Module):
    def __init__(self, nodes, reads, channels, reduces, halved):
        super().__init__()
        self.nodes = nodes
        before, previous = reads
        self.before = Factorised(before, channels) if halved else nn.Sequential(nn.ReLU(), conv_norm(before, channels, 1))
        self.previous = nn.Sequential(nn.ReLU(), conv_norm(previous, channels, 1))
        self.operators = nn.ModuleDict()
        for index, node in enumerate(nodes):
            if index >= 2 and node["op"] not in ("sum", "cell"):
                stride = 2 if reduces and node["inputs"][0] < 2 else 1
                self.operators[str(index)] = operator(node["op"], channels, stride)
        self.width = channels * len(nodes[-1]["inputs"])

    def forward(self, before, previous):
        made = [self.before(before), self.previous(previous)]
        for index, node in enumerate(self.nodes[2:], 2):
            inputs = [made[i] for i in node.get("inputs", [])]
            if node["op"] == "cell":
                return torch.cat(inputs, 1)
            made.append(sum(inputs) if node["op"] == "sum" else self.operators[str(index)](inputs[0]))


class Network(nn.Module):
    def __init__(self, nodes, cells, channels, stem_stride, colours, classes):
        super().__init__()
        self.stem = conv_norm(colours, 3 * channels, 3, stem_stride)
        before = previous = 3 * channels
        self.cells, halved = nn.ModuleList(), False
        for stage in range(3):
            for index in range(cells + (stage > 0)):
                reduces = stage > 0 and index == 0
                self.cells.append(Cell(nodes, (before, previous), channels << stage, reduces, halved))
                before, previous, halved = previous, self.cells[-1].width, reduces
        self.classifier = nn.Linear(previous, classes)

    def forward(self, x):
        before = previous = self.stem(x)
        for cell in self.cells:
            before, previous = previous, cell(before, previous)
        return self.classifier(F.relu(previous).mean((2, 3)))


def varied(x, crop, flip, black):
    """Random crops of padded images, half of them mirrored."""
    count, _, height, width = x.shape
    if crop:
        padded = black.expand(count, -1, height + 2 * crop, width + 2 * crop).clone()
        padded[:, :, crop:crop + height, crop:crop + width] = x
        rows = torch.randint(0, 2 * crop + 1, (count, 1)) + torch.arange(height)
        columns = torch.randint(0, 2 * crop + 1, (count, 1)) + torch.arange(width)
        x = padded[torch.arange(count)[:, None, None, None], torch.arange(x.shape[1])[None, :, None, None],
                   rows[:, None, :, None], columns[:, None, None, :]]
    if flip:
        x = torch.where(torch.rand(count, 1, 1, 1) < 0.5, x.flip(3), x)
    return x


def tensors(path):
    """The tensors of a safetensors file by name, parameters and buffers alike."""
    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    found = {}
    for name, about in json.loads(raw[8:8 + size]).items():
        if name != "__metadata__":
            first, last = (8 + size + place for place in about["data_offsets"])
            found[name.split("/", 1)[1]] = torch.from_numpy(np.frombuffer(raw[first:last], np.float32).reshape(about["shape"]).copy())
    return found


def take(network, nodes, path):
    """Gives the network the weights of a model of `automl train`; none may be left."""
    left = tensors(path)

    def set_to(parameter, name, turned=False):
        numbers = left.pop(name)
        with torch.no_grad():
            parameter.copy_((numbers.T if turned else numbers).reshape(parameter.shape))

    def norm(module, name):
        for parameter, part in ((module.weight, "gain"), (module.bias, "shift"), (module.running_mean, "mean"), (module.running_var, "variance")):
            set_to(parameter, f"{name}.{part}")

    def factorised(module, name):
        set_to(module.even.weight, f"{name}.even")
        set_to(module.odd.weight, f"{name}.odd")
        norm(module.norm, f"{name}.norm")

    def named(start):
        """What names that begin so have in common, up to the last word: `cell.0.previous.12` of `cell.0.previous.12.conv`."""
        name = next(name for name in left if name.startswith(start) and name.rsplit(".", 1)[1] in ("conv", "even"))
        return name.rsplit(".", 1)[0]

    set_to(network.stem[0].weight, "stem.conv")
    norm(network.stem[1], "stem.norm")
    for number, cell in enumerate(network.cells):
        for module, role in ((cell.before, "before_previous"), (cell.previous, "previous")):
            name = named(f"cell.{number}.{role}.")
            if isinstance(module, Factorised):
                factorised(module, name)
            else:
                set_to(module[1][0].weight, f"{name}.conv")
                norm(module[1][1], f"{name}.norm")
        for index, module in cell.operators.items():
            if isinstance(module, Factorised):
                factorised(module, named(f"cell.{number}.{index}."))
            elif isinstance(module, Separable):
                name = f"cell.{number}.{index}.{nodes[int(index)]['op']}"
                for half in (0, 1):
                    set_to(module.parts[4 * half + 1].weight, f"{name}.depthwise_{half}")
                    set_to(module.parts[4 * half + 2].weight, f"{name}.pointwise_{half}")
                    norm(module.parts[4 * half + 3], f"{name}.norm_{half}")
    name = next(name for name in left if name.startswith("classifier."))
    set_to(network.classifier.weight, f"{name.rsplit('.', 1)[0]}.weight", turned=True)
    set_to(network.classifier.bias, f"{name.rsplit('.', 1)[0]}.bias")
    assert not left, sorted(left)


def judge(network, x, y):
    """Accuracy and mean loss."""
    network.eval()
    right, loss = 0, 0.0
    with torch.no_grad():
        for i in range(0, len(y), 128):
            said = network(x[i:i + 128])
            right += (said.argmax(1) == y[i:i + 128]).sum().item()
            loss += F.cross_entropy(said, y[i:i + 128], reduction="sum").item()
    return right / len(y), loss / len(y)


def train(args, nodes, data, seed):
    torch.manual_seed(seed)
    (x, y), (test_x, test_y) = [(pixels.to(args.device), labels.to(args.device)) for pixels, labels in data]
    mean = x.mean((0, 2, 3), keepdim=True)
    deviation = ((x * x).mean((0, 2, 3), keepdim=True) - mean * mean).sqrt()
    x, test_x, black = (x - mean) / deviation, (test_x - mean) / deviation, -mean / deviation
    network = Network(nodes, args.cells, args.channels, args.stem_stride, x.shape[1], int(y.max()) + 1)
    if args.weights:
        take(network, nodes, args.weights)
        accuracy, loss = judge(network, test_x, test_y)
        print(f"the weights of {args.weights}: accuracy {accuracy:.4f}, loss {loss:.6f}")
        raise SystemExit
    decayed = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim == 1]
    groups = [{"params": decayed, "weight_decay": args.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, args.rate, args.momentum)
    steps = math.ceil(len(y) / args.batch)
    batch, start = math.ceil(len(y) / steps), time.time()
    for epoch in range(args.epochs):
        network.train()
        order = torch.randperm(len(y))
        for step in range(steps):
            rows = order[step * batch:(step + 1) * batch]
            for group in optimizer.param_groups:
                group["lr"] = args.rate * (0.5 + 0.5 * math.cos(math.pi * (epoch + step / steps) / args.epochs))
            loss = F.cross_entropy(network(varied(x[rows], args.crop, args.flip, black)), y[rows])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), args.max_norm)
            optimizer.step()
        if args.verbose:
            print(f"epoch {epoch + 1}: loss of the last step {loss.item():.4f}, {time.time() - start:.2f} s so far", flush=True)
    float(loss)
    seconds = time.time() - start
    return judge(network, test_x, test_y)[0], seconds, sum(p.numel() for p in network.parameters())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("genotype", type=Path)
    for name, value in (("cells", 1), ("channels", 8), ("stem_stride", 1), ("epochs", 10), ("batch", 64), ("seeds", 3), ("threads", 1),
                        ("crop", 4)):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=value)
    for name, value in (("rate", 0.05), ("momentum", 0.9), ("weight_decay", 3e-4), ("max_norm", 5.0)):
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=value)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--flip", action=argparse.BooleanOptionalAction, default=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_default_device(args.device)
    nodes = json.loads(args.genotype.read_text())["nodes"]
    data = images(args.folder)
    found = []
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        accuracy, seconds, parameters = train(args, nodes, data, seed)
        found.append(accuracy)
        print(f"seed {seed}: accuracy {accuracy:.4f}, {seconds:.1f} s, {parameters} parameters", flush=True)
    print(f"accuracy {np.mean(found):.4f} ± {np.std(found):.4f}")


if __name__ == "__main__":
    main()
