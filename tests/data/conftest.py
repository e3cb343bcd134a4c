import pytest


@pytest.fixture(autouse=True)
def cache_root(tmp_path_factory, monkeypatch):
    root = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("GANVAS_CACHE", str(root))
    return root


@pytest.fixture
def decodes(monkeypatch):
    """Counts how many pictures are decoded."""
    from ganvas.data import prepare

    seen = []
    genuine = prepare.decode
    monkeypatch.setattr(prepare, "decode", lambda *args: seen.append(1) or genuine(*args))
    return seen
