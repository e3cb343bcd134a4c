"""Published weights of feature networks: downloaded once, checked, and an error that gives their address."""

import hashlib

import pytest
import torch
from safetensors.torch import save

from ganvas.data.downloads import RemoteFile
from ganvas.errors import GanvasError
from ganvas.features import weights

CONTENT = save({"features.0.weight": torch.zeros(64, 3, 3, 3), "features.0.bias": torch.zeros(64)})


def publish(monkeypatch, address, sha256=""):
    sha256 = sha256 or hashlib.sha256(CONTENT).hexdigest()
    remote = RemoteFile((f"{address}good/vgg19.safetensors",), len(CONTENT), sha256)
    monkeypatch.setitem(weights.PUBLISHED, "vgg19", remote)


def test_published_weights_are_downloaded_once(web, monkeypatch):
    web.files["vgg19.safetensors"] = CONTENT
    publish(monkeypatch, web.address)
    assert weights.load_network("vgg19").layer_names[-1] == "relu1_1"
    web.stop()
    assert weights.load_network("vgg19").layer_names[-1] == "relu1_1", "from the cache"
    assert len(web.requests) == 1


def test_other_content_than_published_is_not_kept(web, monkeypatch, cache_root):
    web.files["vgg19.safetensors"] = CONTENT
    publish(monkeypatch, web.address, "0" * 64)
    with pytest.raises(GanvasError, match="SHA-256"):
        weights.load_network("vgg19")
    assert {path.suffix for path in (cache_root / "weights").iterdir()} <= {".lock"}


def test_error_offline_gives_the_address_and_the_way_around(web, monkeypatch):
    publish(monkeypatch, web.address)
    web.stop()
    with pytest.raises(GanvasError, match="network vgg19 could not be downloaded") as caught:
        weights.load_network("vgg19")
    assert web.address in caught.value.expected
    assert "--weights vgg19.safetensors" in caught.value.fix
