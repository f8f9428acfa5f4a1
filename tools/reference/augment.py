"""Golden file of the augmentation: PyTorch's bilinear resize and Python's colorsys, in float64.

  python augment.py tests/golden/augment.safetensors
"""
import colorsys
import json
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

CASES = [  # name, (T, H, W), side, crop (y, x, h, w), flip, colour, replicate
    ("plain", (2, 9, 11), 7, (0, 0, 9, 11), False, None, None),
    ("enlarge", (2, 9, 11), 16, (1, 2, 5, 4), True, None, None),
    ("one_pixel", (1, 5, 5), 3, (2, 3, 1, 1), False, None, None),
    ("brightness_first", (3, 12, 10), 8, (1, 1, 10, 8), False,
     [("Brightness", 1.3), ("Contrast", 0.7), ("Saturation", 1.4), ("Hue", 0.1)], None),
    ("hue_first", (3, 12, 10), 8, (2, 0, 9, 10), True,
     [("Hue", -0.1), ("Saturation", 0.6), ("Contrast", 1.4), ("Brightness", 0.6)], None),
    ("saturated", (2, 8, 8), 8, (0, 0, 8, 8), False,
     [("Contrast", 1.4), ("Brightness", 1.4), ("Hue", 0.5), ("Saturation", 0.0)], None),
    ("replicate_2", (2, 10, 13), 6, (3, 4, 6, 7), True,
     [("Saturation", 1.2), ("Hue", 0.05), ("Brightness", 0.9), ("Contrast", 1.1)], 2),
    ("replicate_0", (1, 6, 6), 6, (0, 0, 6, 6), False, None, 0),
]


def grey(v):
    return 0.299 * v[..., 0:1] + 0.587 * v[..., 1:2] + 0.114 * v[..., 2:3]


def hue(v, turn):
    pixels = []
    for r, g, b in (v.reshape(-1, 3) / 255).tolist():
        h, s, val = colorsys.rgb_to_hsv(r, g, b)
        pixels.append(colorsys.hsv_to_rgb((h + turn) % 1.0, s, val))
    return (torch.tensor(pixels, dtype=torch.float64) * 255).reshape(v.shape)


def run(rgb, side, crop, flip, colour, replicate):
    y, x, h, w = crop
    v = rgb[:, y:y + h, x:x + w].double().permute(0, 3, 1, 2)
    v = F.interpolate(v, size=(side, side), mode="bilinear", align_corners=False).permute(0, 2, 3, 1)
    if flip:
        v = v.flip(2)
    for name, f in colour or []:
        f = float(torch.tensor(f, dtype=torch.float32))
        if name == "Brightness":
            v = v * f
        elif name == "Contrast":
            v = v * f + (1 - f) * grey(v).mean()
        elif name == "Saturation":
            v = v * f + (1 - f) * grey(v)
        else:
            v = hue(v, f)
        v = v.clamp(0, 255)
    if replicate is not None:
        v = v[..., replicate:replicate + 1].expand_as(v)
    return v / 127.5 - 1


def main():
    g = torch.Generator().manual_seed(11)
    tensors, cases = {}, []
    for name, (t, h, w), side, crop, flip, colour, replicate in CASES:
        rgb = torch.randint(0, 256, (t, h, w, 3), generator=g, dtype=torch.uint8)
        rgb[0, 0, 0], rgb[0, -1, -1], rgb[0, 0, -1] = 0, 255, 77   # black, white, grey
        tensors[f"{name}/rgb"] = rgb
        tensors[f"{name}/out"] = run(rgb, side, crop, flip, colour, replicate).float().contiguous()
        cases.append(dict(case=name, crop=crop, flip=flip, colour=colour, replicate=replicate))
    save_file(tensors, sys.argv[1], metadata={"hdc": json.dumps({"cases": cases})})


if __name__ == "__main__":
    main()
