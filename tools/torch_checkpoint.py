#!/usr/bin/env python3
"""A checkpoint of hdc as plain PyTorch modules, and the features that `hdc features` makes.

As a library: `model, config = load("run/checkpoints/step-500.safetensors")`; then `model(clips)` gives the feature maps of
blocks 3, 4, 5, `(N, C, T, H, W)`, for clips `(N, 3, T, H, W)` from -1 to 1. `read_features` reads what `hdc features` wrote
with NumPy alone. It needs torch and numpy, Python 3.11 or newer.

As a program: compares the features of decoded frames with those of the engine.

    tools/torch_checkpoint.py CHECKPOINT FRAMES.npy FEATURES

FRAMES.npy holds the frames of each video's clips, u8 `(videos, clips, T, height, width, 3)`, as `hdc` scaled them.
"""
import argparse
import json
import tomllib

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


def read_safetensors(path):
    """Metadata and F32 tensors by name: 8 bytes of length, a JSON header, the numbers."""
    data = np.fromfile(path, dtype=np.uint8)
    start = 8 + int(data[:8].view("<u8")[0])
    header = json.loads(data[8:start].tobytes())
    notes = header.pop("__metadata__", {})
    def tensor(t):
        assert t["dtype"] == "F32", t
        begin, end = t["data_offsets"]
        return data[start + begin:start + end].copy().view("<f4").reshape(t["shape"])
    return notes, {name: tensor(t) for name, t in header.items()}


def read_features(path):
    """Keys, labels by name (None where a video has none), and embeddings (videos, dim) of a feature file."""
    notes, tensors = read_safetensors(path)
    return json.loads(notes["keys"]), json.loads(notes["labels"]), tensors["embeddings"], notes


class Norm(nn.Module):
    """Instance norm over T, H, W: biased variance, affine. PyTorch's own refuses maps of one place."""

    def __init__(self, channels, eps):
        super().__init__()
        self.weight, self.bias, self.eps = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels)), eps

    def forward(self, x):
        var, mean = torch.var_mean(x, dim=(2, 3, 4), correction=0, keepdim=True)
        scale, shift = (p.view(-1, 1, 1, 1) for p in (self.weight, self.bias))
        return (x - mean) * torch.rsqrt(var + self.eps) * scale + shift


def conv(i, o, kernel, stride=1, padding=0):
    return nn.Conv3d(i, o, kernel, stride, padding, bias=False)


class C3D(nn.Module):
    def __init__(self, w, eps):
        super().__init__()
        plan = {"1": (3, w), "2": (w, 2 * w), "3a": (2 * w, 4 * w), "3b": (4 * w, 4 * w), "4a": (4 * w, 8 * w),
                "4b": (8 * w, 8 * w), "5a": (8 * w, 8 * w), "5b": (8 * w, 8 * w)}
        for name, (i, o) in plan.items():
            self.add_module(f"conv{name}", conv(i, o, 3, 1, 1))
            self.add_module(f"norm{name}", Norm(o, eps))

    def layers(self, x, *names):
        for name in names:
            x = F.relu(self.get_submodule(f"norm{name}")(self.get_submodule(f"conv{name}")(x)))
        return x

    def forward(self, x):
        x = F.max_pool3d(self.layers(x, "1"), (1, 2, 2))
        f3 = self.layers(F.max_pool3d(self.layers(x, "2"), 2), "3a", "3b")
        f4 = self.layers(F.max_pool3d(f3, 2), "4a", "4b")
        return {3: f3, 4: f4, 5: self.layers(F.max_pool3d(f4, 2), "5a", "5b")}


class Factorised(nn.Module):
    """Spatial convolution, norm, ReLU, temporal convolution."""

    def __init__(self, i, o, kernel, stride, padding, eps):
        super().__init__()
        kt, k = kernel
        mid = kt * k * k * i * o // (k * k * i + kt * o)
        self.spatial = conv(i, mid, (1, k, k), (1, stride[1], stride[1]), (0, padding[1], padding[1]))
        self.norm = Norm(mid, eps)
        self.temporal = conv(mid, o, (kt, 1, 1), (stride[0], 1, 1), (padding[0], 0, 0))

    def forward(self, x):
        return self.temporal(F.relu(self.norm(self.spatial(x))))


class Block(nn.Module):
    """Two convolutions and a shortcut; the shortcut has one of its own (type B) where extents change."""

    def __init__(self, i, o, stride, eps, factorised):
        super().__init__()
        def make(i, o, k, s, p):
            return Factorised(i, o, (k, k), (s, s), (p, p), eps) if factorised else conv(i, o, k, s, p)
        self.conv1, self.norm1 = make(i, o, 3, stride, 1), Norm(o, eps)
        self.conv2, self.norm2 = make(o, o, 3, 1, 1), Norm(o, eps)
        self.down = stride != 1 or i != o
        if self.down:
            self.convd, self.normd = make(i, o, 1, stride, 0), Norm(o, eps)

    def forward(self, x):
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(y + (self.normd(self.convd(x)) if self.down else x))


class ResNet(nn.Module):
    """3D-ResNet18, or R(2+1)D-10: one factorised block a stage, and no pool after the stem."""

    def __init__(self, w, eps, factorised):
        super().__init__()
        self.stem = (Factorised(3, w, (3, 7), (1, 2), (1, 3), eps) if factorised else conv(3, w, 7, (1, 2, 2), 3))
        self.norm, self.pooled, channels = Norm(w, eps), not factorised, w
        for k, (o, stride) in enumerate([(w, 1), (2 * w, 2), (4 * w, 2), (8 * w, 2)], start=2):
            block = Block(channels, o, stride, eps, factorised)
            self.add_module(f"block{k}", block if factorised else nn.Sequential(block, Block(o, o, 1, eps, False)))
            channels = o

    def forward(self, x):
        x = F.relu(self.norm(self.stem(x)))
        x = self.block2(F.max_pool3d(x, 3, 2, 1) if self.pooled else x)
        f3 = self.block3(x)
        f4 = self.block4(f3)
        return {3: f3, 4: f4, 5: self.block5(f4)}


def load(path, dtype=torch.float32):
    """The backbone of a checkpoint, and its configuration."""
    notes, tensors = read_safetensors(path)
    config = tomllib.loads(notes["config"])
    model, eps = config["model"], config["model"]["norm_eps"]
    width = int(64 * model["width"] + 0.5)
    make = {"c3d": C3D, "r3d18": lambda w, e: ResNet(w, e, False), "r21d10": lambda w, e: ResNet(w, e, True)}
    net = make[model["backbone"]](width, eps)
    of_backbone = {n.removeprefix("backbone."): torch.from_numpy(t) for n, t in tensors.items() if n.startswith("backbone.")}
    net.load_state_dict(of_backbone)  # strict: every parameter, under its name, and no other
    return net.to(dtype).eval().requires_grad_(False), config


def clips_of(frames, crop, dtype=torch.float32):
    """Decoded frames u8 (N, T, height, width, 3) → the centre, 112/128 of the shorter side, (N, 3, T, crop, crop)."""
    n, t, height, width, _ = frames.shape
    side = (min(height, width) * 112 + 64) // 128
    y, x = (height - side) // 2, (width - side) // 2
    square = torch.from_numpy(frames[:, :, y:y + side, x:x + side]).to(dtype).permute(0, 1, 4, 2, 3).flatten(0, 1)
    square = F.interpolate(square, (crop, crop), mode="bilinear", align_corners=False)
    return (square / 127.5 - 1).unflatten(0, (n, t)).transpose(1, 2)


def pooled(maps, pool):
    """One vector a clip of maps (N, C, T, H, W)."""
    if pool == "gavg":
        return maps.mean(dim=(2, 3, 4))
    if pool == "savg":
        return maps.mean(dim=(3, 4)).transpose(1, 2).flatten(1)
    window = (1, min(2, maps.shape[3]), min(2, maps.shape[4]))
    return F.max_pool3d(maps, window).permute(0, 2, 3, 4, 1).flatten(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("frames")
    parser.add_argument("features")
    parser.add_argument("--double", action="store_true", help="compute in float64")
    args = parser.parse_args()
    dtype = torch.float64 if args.double else torch.float32
    net, config = load(args.checkpoint, dtype)
    _, _, expect, notes = read_features(args.features)
    rows = []
    for frames in np.load(args.frames):
        maps = net(clips_of(frames, config["clip"]["crop"], dtype))[int(notes["block"])]
        rows.append(pooled(maps, notes["pool"]).mean(dim=0).double().numpy())
    rows = np.stack(rows)
    assert rows.shape == expect.shape, (rows.shape, expect.shape)
    print(f"relative L2 {np.linalg.norm(rows - expect) / np.linalg.norm(rows):.3e}")


if __name__ == "__main__":
    main()
