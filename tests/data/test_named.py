"""The data sets that are fetched by name, from a server on loopback."""

import gzip
import hashlib
import re
import shutil

import numpy as np
import pytest
from helpers import idx_bytes, labels_of, noise, open_data, write_zip
from test_published import idx_of
from test_readers import cifar_files, write_tar

from ganvas.data import named
from ganvas.data.cached import cache_contents
from ganvas.data.options import DataOptions
from ganvas.data.sources import find_source
from ganvas.errors import GanvasError

IMAGES = {"train": noise(20, 9, 9), "t10k": noise(6, 9, 9, seed=1)}
LABELS = {"train": np.arange(20) % 10, "t10k": np.arange(6)}


def offer(web, monkeypatch, name, files):
    """Puts files on the server, and makes it the mirror of a set, behind one that does not have them."""
    web.files |= files
    facts = tuple((file, len(content), hashlib.sha256(content).hexdigest()) for file, content in files.items())
    changed = named.replace(named.SETS[name], mirrors=(f"{web.address}missing/", f"{web.address}good/"), files=facts)
    monkeypatch.setitem(named.SETS, name, changed)


def idx_files():
    return {
        f"{split}-{kind}-ubyte.gz": gzip.compress(idx_bytes(arrays[split]))
        for kind, arrays in (("images-idx3", IMAGES), ("labels-idx1", LABELS))
        for split in ("train", "t10k")
    }


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "kmnist"])
def test_a_set_of_idx_files(web, monkeypatch, name):
    offer(web, monkeypatch, name, idx_files())
    train, test = open_data(name), open_data(name, split="test")
    for images, split in ((train, "train"), (test, "t10k")):
        assert images.name == name
        assert np.array_equal(images.images[:, 0], IMAGES[split])
        assert np.array_equal(labels_of(images), LABELS[split])
    names = {"mnist": "0 1 2", "fashion-mnist": "T-shirt/top Trouser Pullover", "kmnist": "o ki su"}[name]
    assert train.class_names[:3] == tuple(names.split())
    assert train.classes == 10
    good = [path for path, _ in web.requests if path.startswith("/good/")]
    assert sorted(good) == sorted(f"/good/{file}" for file in idx_files()), "each file once, for both splits"


def test_qmnist(web, monkeypatch):
    wide = {"train": np.zeros((20, 8), np.int32), "test": np.zeros((6, 8), np.int32)}
    wide["train"][:, 0], wide["test"][:, 0] = LABELS["train"], LABELS["t10k"]
    images = {"train": IMAGES["train"], "test": IMAGES["t10k"]}
    files = {f"qmnist-{split}-images-idx3-ubyte.gz": gzip.compress(idx_bytes(images[split])) for split in images}
    files |= {f"qmnist-{split}-labels-idx2-int.gz": gzip.compress(idx_of(wide[split], 0x0C, ">i4")) for split in wide}
    offer(web, monkeypatch, "qmnist", files)
    for split in ("train", "test"):
        found = open_data("qmnist", split=split)
        assert np.array_equal(found.images[:, 0], images[split])
        assert labels_of(found).tolist() == wide[split][:, 0].tolist()


def test_the_sets_of_emnist_are_parts_of_one_download(web, monkeypatch, tmp_path):
    images = noise(94, 28, 28)
    files = {
        f"gzip/emnist-{part}-{split}-{kind}": gzip.compress(content)
        for part, first, n in (("balanced", 0, 47), ("letters", 1, 26))
        for split, rows in (("train", slice(0, n)), ("test", slice(47, 47 + n)))
        for kind, content in (
            ("images-idx3-ubyte.gz", idx_bytes(images[rows].transpose(0, 2, 1))),
            ("labels-idx1-ubyte.gz", idx_bytes(np.arange(first, first + n))),
        )
    }
    content = write_zip(tmp_path / "x.zip", files).read_bytes()
    for name in ("emnist", "emnist-letters"):
        offer(web, monkeypatch, name, {"gzip.zip": content})
    balanced, letters, held_out = (open_data("emnist"), open_data("emnist-letters"), open_data("emnist", split="test"))
    assert np.array_equal(balanced.images[:, 0], images[:47])
    assert np.array_equal(held_out.images[:, 0], images[47:])
    assert "".join(balanced.class_names) == "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt"
    assert np.array_equal(letters.images[:, 0], images[:26])
    assert (letters.class_names[0], letters.class_names[-1], letters.classes) == ("a", "z", 26)
    assert len([path for path, _ in web.requests if path.startswith("/good/")]) == 1


@pytest.mark.parametrize("split", ["train", "test"])
def test_cifar10(web, monkeypatch, tmp_path, split):
    files, *_ = cifar_files("python")
    content = write_tar(tmp_path / "x.tar.gz", files).read_bytes()
    offer(web, monkeypatch, "cifar10", {"cifar-10-python.tar.gz": content})
    found, local = open_data("cifar10", split=split), open_data(tmp_path / "x.tar.gz", split=split)
    assert found.fingerprint == local.fingerprint
    assert found.class_names == local.class_names


def test_a_decoded_set_needs_neither_network_nor_files(web, monkeypatch):
    offer(web, monkeypatch, "mnist", idx_files())
    first = open_data("mnist")
    web.stop()
    (removal,) = [removal for removal in cache_contents.clean(dry_run=True) if removal.reason == "download"]
    shutil.rmtree(removal.path)
    assert open_data("mnist").fingerprint == first.fingerprint
    cache_contents.clean()
    with pytest.raises(GanvasError, match="Connection refused"):
        open_data("mnist")


def test_the_cache_lists_and_removes_a_download(web, monkeypatch, cache_root):
    offer(web, monkeypatch, "mnist", idx_files())
    folder = named.fetch_files("mnist", progress=False)
    part = folder / ".train-images-idx3-ubyte.gz.part"
    part.write_bytes(bytes(1000))
    (entry,) = [entry for entry in cache_contents.entries() if entry.kind == "download"]
    assert (entry.path, entry.name) == (folder, "mnist")
    assert entry.bytes == sum(file.stat().st_size for file in folder.iterdir())
    with named.FileLock(f"{folder}.lock"):
        assert not cache_contents.clean()
    assert folder.exists(), "it is being fetched"
    (folder / "thesis.tex").write_text("")
    assert not cache_contents.clean(), "a folder with files of the user is not touched"
    (folder / "thesis.tex").unlink()
    assert [removal.path for removal in cache_contents.clean()] == [folder]
    assert not list((cache_root / "downloads").iterdir())


@pytest.mark.parametrize("name", named.SETS)
def test_without_a_network_the_local_forms_are_named(web, monkeypatch, cache_root, name):
    monkeypatch.setitem(named.SETS, name, named.replace(named.SETS[name], mirrors=("http://nowhere.invalid/",)))
    with pytest.raises(GanvasError) as caught:
        open_data(name)
    assert f"of {name} could not be downloaded (nowhere.invalid: " in caught.value.what
    assert "--data digits28" in caught.value.fix
    assert re.search(r"torchvision's folder|tar\.gz|\.mat", caught.value.fix)
    assert ".npz" in caught.value.fix
    assert not list((cache_root / "downloads").glob("*/")), "no empty folder"


@pytest.mark.parametrize("name", named.SETS)
def test_the_table_is_complete(name):
    chosen = named.SETS[name]
    assert set(chosen.opened) == {"train", "test"}
    assert set(chosen.opened.values()) <= {file for file, *_ in chosen.files}
    assert all(re.fullmatch(r"https?://[\w.-]+/.*/|https?://[\w.-]+/", mirror) for mirror in chosen.mirrors)
    assert all(re.fullmatch(r"[0-9a-f]{64}", sha256) and size > 4000 for _, size, sha256 in chosen.files)
    assert len(chosen.class_names) in (0, 10, 26, 47, 62)
    assert find_source(DataOptions(name)).name == name


def test_a_name_that_is_near_is_suggested():
    with pytest.raises(GanvasError, match="did you mean fashion-mnist"):
        open_data("fashion_mnist")
