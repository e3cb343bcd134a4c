import pytest


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
