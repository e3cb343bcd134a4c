"""Makes src/ganvas/data/digits28.npz.xz of MNIST's IDX files: the first images of each class, in their order.

    python tools/make_digits28.py FOLDER     # with the four .gz files

Prints the size and the SHA-256 of the file, which are in its card (DIGITS28.md) and in tests/data/test_readers.py.
"""

import hashlib
import io
import lzma
import sys
from pathlib import Path

import numpy as np

from ganvas.data import DataOptions, open_images
from ganvas.data.digits import DIGITS28, DIGITS28_PER_CLASS


def main(folder: str) -> None:
    arrays = {}
    for split, per_class in DIGITS28_PER_CLASS.items():
        mnist = open_images(DataOptions(folder, split))
        assert mnist.labels is not None
        rows = np.sort(np.concatenate([np.flatnonzero(mnist.labels == label)[:per_class] for label in range(10)]))
        arrays |= {f"{split}_images": mnist.images[rows], f"{split}_labels": mnist.labels[rows].astype(np.uint8)}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    packed = lzma.compress(buffer.getvalue(), preset=9 | lzma.PRESET_EXTREME)
    path = Path(str(DIGITS28))
    path.write_bytes(packed)
    print(f"{path}: {len(packed):,} bytes, SHA-256 {hashlib.sha256(packed).hexdigest()}")


if __name__ == "__main__":
    main(sys.argv[1])
