"""Generators named by an address and a SHA-256, from a server on loopback."""

import hashlib
import json
import pickle
import struct
from pathlib import Path

import pytest
from support import call_cli

import ganvas
from ganvas.data.cached import cache_contents
from ganvas.errors import GanvasError
from ganvas.runs import pretrained, web_file

DIGITS = (pretrained.FOLDER / "digits.safetensors").read_bytes()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def address(web):
    web.files["x.safetensors"] = DIGITS
    return f"{web.address}good/x.safetensors"


def files_in_cache():
    return [entry.path.name for entry in cache_contents.entries() if entry.kind == "generator"]


def test_file_is_downloaded_once_and_used_by_every_command(web, address):
    named = f"{address}#sha256={digest(DIGITS)}"
    images = ganvas.load(named).sample(range(6))
    assert (images == ganvas.load("pretrained:digits").sample(range(6))).all()
    assert len(web.requests) == 1
    assert files_in_cache() == [f"{digest(DIGITS)}.safetensors"]
    web.stop()
    assert "60 images" in call_cli("sample", named, check=0).stdout
    call_cli("directions", named.replace(digest(DIGITS), digest(DIGITS).upper()), check=0)
    evaluated = call_cli("evaluate", named, "--quick", "--count", 40, "--quiet", "--json", check=0)
    assert json.loads(evaluated.stdout)["protocol"]["reference"]["data"] == "digits"
    call_cli("export", named, "--to", "pt2", "--out", "x.pt2", check=0)
    plan = json.loads(call_cli("train", "--from", named, "--dry-run", "--json", "--device", "cpu", check=0).stdout)
    assert plan["config"]["dataset"]["data"] == "digits"
    cache_contents.clean()
    assert not files_in_cache()


def test_a_file_in_the_cache_that_has_changed_is_downloaded_again(web, address, cache_root):
    named = f"{address}#sha256={digest(DIGITS)}"
    ganvas.load(named)
    (file,) = (cache_root / "generators").glob("*.safetensors")
    file.write_bytes(DIGITS[:-1] + b"\0")
    ganvas.load(named)
    assert len(web.requests) == 2
    assert file.read_bytes() == DIGITS


@pytest.mark.parametrize(
    ("suffix", "words"),
    [
        ("", "has no SHA-256"),
        ("#", "has no SHA-256"),
        ("#sha256=", "has no SHA-256"),
        ("#sha256=abc", "64 hexadecimal digits"),
        ("#md5=" + "0" * 32, "has no SHA-256"),
        ("#sha256=" + "g" * 64, "has no SHA-256"),
        ("#sha256=" + "0" * 65, "has no SHA-256"),
        ("#sha256=" + "0" * 64 + "#x", "has no SHA-256"),
    ],
)
def test_without_a_digest_nothing_is_asked(suffix, words, web, address):
    with pytest.raises(GanvasError, match=words):
        ganvas.load(address + suffix)
    assert not web.requests


@pytest.mark.parametrize(
    "name",
    [
        "http://", "https:///x.safetensors", "http://127.0.0.1/x.pt", "http://127.0.0.1:x/x.safetensors",
        "https://[/x.safetensors", "http://127.0.0.1",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(name, web):
    with pytest.raises(GanvasError, match="is no address of a generator"):
        ganvas.load(f"{name}#sha256={'0' * 64}")


def test_another_content_is_refused_and_leaves_nothing(web, address, cache_root):
    with pytest.raises(GanvasError, match="its SHA-256 is ") as caught:
        ganvas.load(f"{address}#sha256={'0' * 64}")
    assert digest(DIGITS) in caught.value.what
    assert [path.name for path in (cache_root / "generators").iterdir()] == [".lock"]


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("missing", "HTTP 404"), ("wrong", "its SHA-256 is"), ("cut", "ended .* bytes early"),
        ("ftp", "refers to ftp:"), ("other", "its SHA-256 is"), ("hang", "no answer within|ended"),
    ],
)  # fmt: skip
def test_server_that_does_not_give_it(folder, words, web, address, cache_root):
    named = address.replace("/good/", f"/{folder}/")
    with pytest.raises(GanvasError, match=words) as caught:
        ganvas.load(f"{named}#sha256={digest(DIGITS)}")
    assert "could not be downloaded" in caught.value.what
    assert [path.name for path in (cache_root / "generators").iterdir()] == [".lock"]


def test_redirect_to_another_page_of_the_web_is_followed(web, address):
    ganvas.load(f"{address.replace('/good/', '/away/')}#sha256={digest(DIGITS)}")


@pytest.mark.parametrize("folder", ["good", "long"])
def test_file_of_too_many_bytes_is_refused(folder, web, address, monkeypatch, cache_root):
    """One that says how long it is, and one that does not."""
    monkeypatch.setattr(web_file, "MAX_BYTES", 1000)
    with pytest.raises(GanvasError, match="more than 1,000"):
        ganvas.load(f"{address.replace('/good/', f'/{folder}/')}#sha256={digest(DIGITS)}")
    assert [path.name for path in (cache_root / "generators").iterdir()] == [".lock"]


def test_offline_the_error_says_what_to_do(web, address):
    web.stop()
    with pytest.raises(GanvasError, match="could not be downloaded") as caught:
        ganvas.load(f"{address}#sha256={digest(DIGITS)}")
    assert "check the connection" in caught.value.fix
    assert not caught.value.what.count("Traceback")


class Evil:
    """What a pickle executes when it is read."""

    def __reduce__(self):
        return Path.touch, (Path("executed"),)


def safetensors(metadata):
    """A file without tensors."""
    header = json.dumps({"__metadata__": metadata} if metadata is not None else {}).encode()
    return struct.pack("<Q", len(header)) + header


def card_with(**changes):
    length = int.from_bytes(DIGITS[:8], "little")
    card = json.loads(json.loads(DIGITS[8 : 8 + length])["__metadata__"]["ganvas"])
    header = json.loads(DIGITS[8 : 8 + length])
    header["__metadata__"]["ganvas"] = json.dumps(card | changes)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + DIGITS[8 + length :]


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(Evil()), b"", b"\0" * 8, b"\xff" * 64, DIGITS[:-10], DIGITS + b"x", safetensors(None),
        safetensors({}), safetensors({"ganvas": "[]"}), safetensors({"ganvas": "{"}), safetensors({"ganvas": "{}"}),
        safetensors({"ganvas": 1}), safetensors([1]), card_with(format=99), card_with(licence=3),
        card_with(sources={"evil.py": {"sha256": "0" * 64}}),
        card_with(network={"family": "custom", "g": "evil.py:Generator", "d": "dcgan", "latent": 4}),
        card_with(shape={"channels": 1, "height": 9, "width": 8, "classes": 10}), card_with(class_names=[]),
    ],
    ids=["pickle", "empty", "zeros", "ones", "cut", "longer", "no metadata", "no card", "list", "half", "object",
         "number", "metadata", "format", "licence", "sources", "code", "other network", "no names"],
)  # fmt: skip
def test_what_is_no_generator_is_refused_and_nothing_executed(content, web, address):
    web.files["x.safetensors"] = content
    Path("evil.py").write_text("import pathlib; pathlib.Path('executed').touch()\nGenerator = None\n")
    for name in (f"{address}#sha256={digest(content)}", "local.safetensors"):
        Path("local.safetensors").write_bytes(content)
        with pytest.raises(GanvasError):
            ganvas.load(name)
        result = call_cli("train", "--from", name, "--dry-run", check=None)  # which reads headers only
        assert "Traceback" not in result.stderr
    assert not Path("executed").exists()


def test_single_file_is_no_run_folder_beside_it(web, tmp_path):
    """A file in a run's folder is not that run's snapshot."""
    folder = tmp_path / "run" / "snapshots"
    folder.mkdir(parents=True)
    (tmp_path / "run" / "config.json").write_text("{}")
    (folder / "x.safetensors").write_bytes(DIGITS)
    assert ganvas.load(folder / "x.safetensors").name.endswith("x.safetensors")
    found = call_cli("evaluate", folder / "x.safetensors", "--quick", "--count", 40, "--quiet", "--json", check=0)
    assert json.loads(found.stdout)["protocol"]["reference"]["data"] == "digits"
