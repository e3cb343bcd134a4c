import pytest
from web import Web


@pytest.fixture(autouse=True)
def cache_root(tmp_path_factory, monkeypatch):
    root = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("GANVAS_CACHE", str(root))
    return root


@pytest.fixture
def decoded_images(monkeypatch):
    """A list that grows by one entry for every decoded image."""
    from ganvas.data import prepare

    calls = []
    original = prepare.decode
    monkeypatch.setattr(prepare, "decode", lambda *args: calls.append(1) or original(*args))
    return calls


@pytest.fixture
def web(monkeypatch):
    """A web server on loopback; nothing else is asked, and a server that hangs is given up after half a second."""
    from ganvas.data import downloads

    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(downloads, "TIMEOUT", 0.5)
    with Web().running() as web:
        yield web
