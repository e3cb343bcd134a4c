"""Trains the classifier of the embedded digits (src/ganvas/features/classifier.py) and puts it into the package.

    python tools/train_digits_classifier.py

Weights are kept in half precision, as the eye's are. A change of the training counts up `classifier.VERSION`, which is
part of the file's name; run this again then, and remove the old file. Prints the accuracy on the held-out digits.
"""

import os
import tempfile
from pathlib import Path

from safetensors.torch import load_file, save_file

from ganvas.data import DataOptions, open_images
from ganvas.features.classifier import bundled_weights, classifier_extractor


def main() -> None:
    train, held_out = (open_images(DataOptions("digits", split)) for split in ("train", "test"))
    file = Path(str(bundled_weights(train)))
    file.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GANVAS_CACHE"] = folder
        classifier_extractor(train)
        (trained,) = Path(folder).glob("classifiers/*.safetensors")
        halves = {name: w.half() if w.is_floating_point() else w for name, w in load_file(trained).items()}
        save_file(halves, file)
        print(f"{file}: {file.stat().st_size:,} bytes; {classifier_extractor(train, held_out).facts}")


if __name__ == "__main__":
    main()
