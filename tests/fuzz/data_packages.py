"""Writes data sets that other packages write: Parquet and Arrow as Hugging Face's `datasets` does, and videos."""

import json
from pathlib import Path
from typing import Any

import av  # type: ignore[import-not-found]
import numpy as np
import pyarrow as pa  # type: ignore[import-not-found]
import pyarrow.parquet as parquet  # type: ignore[import-not-found]
from data_formats import Valid, classes, encoded, form, noise

NAMES = ["cat", "dog's", "ünïcode 🎨"]
CELL = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def table_of_images(pixels: np.ndarray, labels: list[int], *, plain: bool = False) -> Any:
    """Images as Hugging Face has them, with their labels; or `plain`, bytes and words, as pandas writes them."""
    if plain:
        return pa.table({"image": pa.array(map(encoded, pixels)), "label": pa.array(NAMES[k] for k in labels)})
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": NAMES}}
    found = pa.table({
        "image": pa.array([{"bytes": encoded(one), "path": f"{i}.png"} for i, one in enumerate(pixels)], CELL),
        "label": pa.array(labels),
    })  # fmt: skip
    return found.replace_schema_metadata({b"huggingface": json.dumps({"info": {"features": features}}).encode()})


@form
def parquet_file(folder: Path, random: np.random.Generator) -> Valid:
    folder.mkdir()
    pixels, labels, plain = noise(random), classes(12, random), random.random() < 0.3
    packed = str(random.choice(["snappy", "zstd", "gzip", "none"]))
    path = folder / "train-00000-of-00001.parquet"
    parquet.write_table(table_of_images(pixels, labels, plain=plain), path, row_group_size=5, compression=packed)
    return Valid(f"a Parquet file ({packed})", path, pixels, [NAMES[k] for k in labels], named=True)


@form
def parquet_folder(folder: Path, random: np.random.Generator) -> Valid:
    """Shards of two splits: the first is read."""
    (folder / "data").mkdir(parents=True)
    pixels, labels = noise(random), classes(12, random)
    parts = {"train-00000-of-00002": slice(7), "train-00001-of-00002": slice(7, None)}
    for name, part in parts.items():
        parquet.write_table(table_of_images(pixels[part], labels[part]), folder / f"data/{name}.parquet")
    parquet.write_table(table_of_images(pixels[:3, :, ::-1], labels[:3]), folder / "data/test-00000-of-00001.parquet")
    return Valid("a folder of Parquet files", folder, pixels, [NAMES[k] for k in labels], named=True)


@form
def saved_to_disk(folder: Path, random: np.random.Generator) -> Valid:
    """As `datasets.Dataset.save_to_disk` or `DatasetDict.save_to_disk` writes it: Arrow streams."""
    several = random.random() < 0.5
    pixels, labels = noise(random), classes(12, random)
    own = folder / "train" if several else folder
    own.mkdir(parents=True)
    write_stream(own / "data-00000-of-00001.arrow", table_of_images(pixels, labels))
    (own / "dataset_info.json").write_text('{"features": {}}')
    (own / "state.json").write_text('{"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_split": "train"}')
    if several:
        (folder / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
        (folder / "test").mkdir()
        write_stream(folder / "test/data-00000-of-00001.arrow", table_of_images(pixels[:2, :, ::-1], labels[:2]))
    return Valid("a folder of save_to_disk", folder, pixels, [NAMES[k] for k in labels], named=True)


def write_stream(path: Path, content: Any) -> None:
    with pa.ipc.new_stream(str(path), content.schema) as writer:
        writer.write_table(content, max_chunksize=5)


@form
def video(folder: Path, random: np.random.Generator) -> Valid:
    """A video without losses: every frame is an image."""
    folder.mkdir()
    pixels = noise(random, c=3, size=(16, 24))
    suffix = str(random.choice(["avi", "mov"]))
    with av.open(str(folder / f"clip.{suffix}"), "w") as container:
        stream = container.add_stream("png", rate=24)
        stream.width, stream.height, stream.pix_fmt = 24, 16, "rgb24"
        for one in pixels:
            frame = np.ascontiguousarray(one.transpose(1, 2, 0))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return Valid(f"a video (.{suffix})", folder / f"clip.{suffix}", pixels)
