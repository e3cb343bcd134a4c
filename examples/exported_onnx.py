"""Draws eight images with what `ganvas export RUN --to onnx` wrote; needs ONNX Runtime, NumPy and Pillow, not Ganvas.

python exported_onnx.py digits.onnx row.png
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
card = json.loads(session.get_modelmeta().custom_metadata_map["ganvas_card"])
inputs = {
    "z": np.random.default_rng(0).standard_normal((8, card["network"]["latent"]), np.float32),
    "truncation": np.array(1, np.float32),  # an array without dimensions, not a NumPy scalar
}
if card["shape"]["classes"]:
    inputs["class"] = np.arange(8) % card["shape"]["classes"]  # int64
images = np.asarray(session.run(["images"], inputs)[0])  # uint8 [n c h w]
row = np.concatenate(list(images), 2).transpose(1, 2, 0)
Image.fromarray(row[..., 0] if row.shape[2] == 1 else row).save(sys.argv[2])
