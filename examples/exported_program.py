"""Draws eight images with what `ganvas export RUN --to pt2` wrote; needs PyTorch and Pillow, not Ganvas.

python exported_program.py digits.pt2 row.png
"""

import json
import sys

import torch
from PIL import Image

files = {"card.json": ""}
generator = torch.export.load(sys.argv[1], extra_files=files).module()
card = json.loads(files["card.json"])
z = torch.stack([torch.randn(card["network"]["latent"], generator=torch.Generator().manual_seed(s)) for s in range(8)])
classes = [torch.arange(8) % card["shape"]["classes"]] if card["shape"]["classes"] else []
images, _ = generator(z, *classes, torch.tensor(1.0))  # uint8 [n c h w]; the last argument is the truncation
Image.fromarray(torch.cat(list(images), 2).permute(1, 2, 0).squeeze(2).numpy()).save(sys.argv[2])
