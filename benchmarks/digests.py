"""Has a change of the code changed a training? SHA-256 of the weights that each recipe has after a few rounds.

    python benchmarks/digests.py [RECIPE …] [--kimg 1] [--seed 5] [--data digits] [--resolution 16]

Trains on one CPU thread and prints a line per recipe: the digest of the averaged generator of the last snapshot, and
that of everything in the saved state that has a shape (G, D, average, optimisers). Tensors count by their bytes,
whatever their names. Digests compare between two checkouts on one machine, with one version of PyTorch.
"""

import argparse
import hashlib
import os
import tempfile
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

from safetensors.numpy import load_file

import ganvas
from ganvas.recipes import RECIPES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", default=list(RECIPES))
    parser.add_argument("--kimg", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--resolution", default="16")
    asked = parser.parse_args()
    knobs = {"kimg": asked.kimg, "seed": asked.seed, "data": asked.data, "resolution": asked.resolution}
    for recipe in asked.recipes:
        with tempfile.TemporaryDirectory() as folder:
            run = ganvas.train(recipe, out=folder, quiet=True, device="cpu", **knobs)
            average = max(run.path.glob("snapshots/[0-9]*/G.safetensors"))
            state = run.path / "state" / "latest.safetensors"
            print(f"{recipe:20} {digest(average)} {digest(state)}", flush=True)


def digest(file: Path) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of all tensors' own digests, sorted."""
    tensors = (hashlib.sha256(tensor.tobytes()).digest() for tensor in load_file(file).values() if tensor.ndim)
    return hashlib.sha256(b"".join(sorted(tensors))).hexdigest()[:16]


if __name__ == "__main__":
    main()
