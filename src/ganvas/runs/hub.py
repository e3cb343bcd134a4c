"""Generators on the Hugging Face hub: hf:owner/name@revision is a folder in the cache, downloaded once.

Only config.json and model.safetensors are read, as `ganvas export --to hub` writes them. What the hub says of their
size and digest is checked. The address is that of HF_ENDPOINT, by default https://huggingface.co.
"""

import hashlib
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from filelock import FileLock

from ganvas.data.cached import cache_files
from ganvas.data.downloads import RemoteFile, fetch, read_small
from ganvas.errors import GanvasError
from ganvas.files import atomic_file, clean_leftovers, make_folder, write_json
from ganvas.reading import (
    MAX_DOCUMENT,
    check_fields,
    describe_reason,
    is_count,
    is_number,
    is_text,
    parse_json,
    read_json,
)
from ganvas.runs.card import HUB_CONFIG, HUB_WEIGHTS, LIBRARY, read_card, read_weight_shapes

FORM = "hf:owner/name, or hf:owner/name@revision"

_PREFIX = "hf:"
_NAME = re.compile(r"hf:(?P<repository>\w[\w.-]*/\w[\w.-]*)(?:@(?P<revision>\w[\w./-]*))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SEEN = "revision.json"
"""Which revisions of the hub a folder was, and when that was last seen: {name: seconds since 1970}."""


class Name(NamedTuple):
    """A generator on the hub: owner/name, and a branch, a tag or a commit."""

    repository: str
    revision: str

    def __str__(self) -> str:
        return f"{_PREFIX}{self.repository}@{self.revision}"


def is_name(path: Path) -> bool:
    """Whether a path is a name of the hub, right or wrong."""
    return str(path).startswith(_PREFIX) and not os.path.exists(path)


def has_revision(path: Path) -> bool:
    """Whether a path is a name of the hub with a revision; without one it may be a data set's too."""
    return is_name(path) and "@" in str(path)


def parse_name(text: str) -> Name:
    """The parts of hf:owner/name@revision; the revision is by default main.

    Raises:
        GanvasError: it is no such name.
    """
    match = _NAME.fullmatch(text)
    if match is None or ".." in text:
        raise GanvasError(f"{text!r} names no generator on the hub.", expected=FORM)
    return Name(match["repository"], match["revision"] or "main")


def find_local(path: Path) -> Path:
    """The folder of a generator: of a name of the hub the one in the cache, downloaded if needed; else `path` itself.

    Without a connection, the commit that the revision was when it was downloaded last is taken, with a note.

    Raises:
        GanvasError: it is no name, the hub has no such generator or cannot be reached, or it is not of Ganvas.
    """
    if not is_name(path):
        return path
    name = parse_name(str(path))
    root = cache_files.root() / cache_files.GENERATORS
    make_folder(root)
    with FileLock(root / ".lock"):
        clean_leftovers(root)
        if _COMMIT.fullmatch(name.revision) and _is_complete(kept := _folder(root, name, name.revision)):
            return kept
        if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
            return _use_kept(root, name, "HF_HUB_OFFLINE is set")
        try:
            listing = _ask(name)
        except _Unreachable as error:
            return _use_kept(root, name, str(error))
        folder = _folder(root, name, listing["sha"])
        if not _is_complete(folder):
            _download(name, listing, folder)
        write_json(folder / _SEEN, {**_seen(folder), name.revision: time.time()})
    read_card(folder)
    read_weight_shapes(folder)
    return folder


class _Unreachable(Exception):
    """The hub gives no answer; the message says why."""


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def _folder(root: Path, name: Name, commit: str) -> Path:
    return root / f"{name.repository.replace('/', '--')}--{commit}"


def _is_complete(folder: Path) -> bool:
    return all((folder / file).is_file() for file in (HUB_CONFIG, HUB_WEIGHTS))


def _ask(name: Name) -> dict[str, Any]:
    """What the hub says of a generator: {"sha": commit, "siblings": its files}.

    Raises:
        GanvasError: there is none of this name.
        _Unreachable: there is no answer.
    """
    url = f"{_endpoint()}/api/models/{name.repository}/revision/{quote(name.revision, safe='')}?blobs=true"
    try:
        listing = parse_json(read_small(url, MAX_DOCUMENT))
        check_fields(listing, {"sha": _is_commit, "siblings": lambda value: isinstance(value, list)})
        return listing
    except ValueError as error:
        if re.match("HTTP 40[0134]", str(error)):
            raise GanvasError(
                f"The hub has no generator {name} that everybody may read ({error}).",
                expected=FORM,
                fix=f"compare the name with its page on {_endpoint()}; of a private one, download the folder with "
                f"`hf download {name.repository}`, and name the folder.",
            ) from error
        raise _Unreachable(str(error)) from error


def _is_commit(value: Any) -> bool:
    return is_text(value) and _COMMIT.fullmatch(value) is not None


def _use_kept(root: Path, name: Name, reason: str) -> Path:
    """The newest folder in the cache that was this revision."""
    folders = filter(_is_complete, root.glob(f"{_folder(root, name, '').name}*"))
    found = {folder: seen for folder in folders if (seen := _seen(folder).get(name.revision))}
    if not found:
        raise GanvasError(
            f"{name} could not be downloaded ({reason}).",
            expected=f"a connection to {_endpoint()}, or a copy in the cache from an earlier time",
            fix="check the connection and try again, or name a folder on this machine.",
        )
    newest = max(found, key=found.__getitem__)
    print(f"Note: {_endpoint()} gives no answer ({reason}): {newest} is used.", file=sys.stderr)
    return newest


def _seen(folder: Path) -> dict[str, float]:
    try:
        return {name: at for name, at in read_json(folder / _SEEN).items() if is_number(at)}
    except (OSError, ValueError, AttributeError):
        return {}


def _download(name: Name, listing: dict[str, Any], folder: Path) -> None:
    files = {file["rfilename"]: file for file in listing["siblings"] if isinstance(file, dict) and "rfilename" in file}
    missing = [file for file in (HUB_CONFIG, HUB_WEIGHTS) if file not in files]
    if missing:
        raise GanvasError(
            f"{name} has no {missing[0]}.",
            expected=f"{HUB_CONFIG} and {HUB_WEIGHTS}, as ganvas export --to hub writes them; nothing else is read",
        )
    for file in (HUB_CONFIG, HUB_WEIGHTS):
        url = f"{_endpoint()}/{name.repository}/resolve/{listing['sha']}/{file}"
        with _explain(name, file):
            _download_file(url, files[file], folder / file, f"{file} of {name}")
        if file == HUB_CONFIG:
            _check_library(name, folder)


def _check_library(name: Name, folder: Path) -> None:
    """Refuses a generator of another program before its weights are downloaded."""
    try:
        config = read_json(folder / HUB_CONFIG)
    except ValueError:
        config = None
    if not (isinstance(config, dict) and config.get("library_name") == LIBRARY):
        (folder / HUB_CONFIG).unlink()
        folder.rmdir()
        raise GanvasError(f"{name} is not a generator of Ganvas.", expected="one that ganvas export --to hub wrote")


def _download_file(url: str, facts: dict[str, Any], path: Path, what: str) -> None:
    """Downloads a file and checks it: large ones by SHA-256, small ones by the digest that Git gives them."""
    large = facts.get("lfs")
    if isinstance(large, dict):
        check_fields(large, {"sha256": is_text, "size": is_count})
        remote = RemoteFile((url,), large["size"], large["sha256"])
        fetch(remote, path, what=what, fix="check the connection and try again.")
        return
    check_fields(facts, {"size": is_count, "blobId": is_text})
    content = read_small(url, MAX_DOCUMENT)
    if hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() != facts["blobId"]:
        raise ValueError("its content is not what the hub says of it")
    make_folder(path.parent)
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def _explain(name: Name, file: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise GanvasError(
            f"{file} of {name} could not be downloaded ({describe_reason(error)}).",
            expected=f"a generator of Ganvas on {_endpoint()}",
            fix="check the connection and try again.",
        ) from error
