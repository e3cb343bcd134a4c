"""Networks, objectives, augmentations and extractors of the user's own, named by a *spec* (`ganvas.specs`).

A spec fits into a command, a configuration and a card.json; an object from Python is turned into one by `describe`.
Nothing is evaluated: arguments are literals, and whoever loads a name decides which kinds of object are accepted.
"""

import functools
import hashlib
import importlib
import importlib.util
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from ganvas.errors import GanvasError, did_you_mean
from ganvas.reading import describe_reason, read_bytes
from ganvas.specs import FORM, MAX_SOURCE, SESSION, Spec, is_spec, names_in, parse, unknown
from ganvas.values import real_path

_FIXES = {
    "before Module.__init__": "call super().__init__() first in __init__.",
    "CUDA|NVIDIA|on the same device": "leave .cuda() and .to(…) out, the program moves the network; a new tensor gets "
    "device=z.device.",
    "in-?place": "clone the input first: x = x.clone().",
}
"""What to do about an error whose text contains this."""

_FILE_MODULE = "ganvas_user_file_"
_session: dict[str, Any] = {}  # spec -> object of this process, which is not loaded from its source
_files: dict[str, ModuleType] = {}  # name of the module, from path and content -> module
_digests: dict[str, str] = {}  # source -> digest of what this process has loaded
_known: dict[str, Any] = {}  # spec -> what its loader has made of it
_loading: list[str] = []  # sources that are being executed


# Objects of this process


def describe(value: Any) -> str:
    """The spec of a class, a function, another object, or a `functools.partial` of one with keyword arguments.

    An object of a script is used as it is in this process, and read from the script's file in others. One that no
    file defines exists only in this process.

    Raises:
        GanvasError: the arguments of a `partial` are no literals, or have no names.
    """
    if isinstance(value, functools.partial):
        arguments = ", ".join(f"{name}={argument!r}" for name, argument in value.keywords.items())
        spec = f"{describe(value.func)}({arguments})"
        if value.args or parse(spec).arguments != value.keywords:
            what = f"The arguments of {title(describe(value.func))} do not fit into a text."
            raise GanvasError(what, expected="named literals, as in functools.partial(Class, width=16)")
        return spec
    for spec, registered in _session.items():
        if registered is value:
            return spec
    source, name = _find_definition(value)
    if source == SESSION and hasattr(value, "__qualname__"):
        name = value.__qualname__.replace("<locals>.", "").replace("<lambda>", "function")
    if source == SESSION or source.endswith(".py"):
        _session[f"{source}:{name}"] = value
    return f"{source}:{name}"


def describe_class(value: Any, knob: str) -> str:
    """The spec of a class, or of a `functools.partial` of one.

    Raises:
        GanvasError: it is something else, such as an instance.
    """
    kind = value.func if isinstance(value, functools.partial) else value
    if not isinstance(kind, type):
        found = "a function" if inspect.isroutine(kind) else f"an object of type {type(kind).__name__}"
        raise GanvasError(f"{knob} is {found}.", expected="a class, or functools.partial(Class, width=16)")
    return describe(value)


def title(text: str) -> str:
    """A spec as messages name it: an object of this session in words."""
    spec = parse(text)
    if spec.source != SESSION:
        return text
    value = _session.get(f"{SESSION}:{spec.name}")
    name = getattr(value, "__name__", None)
    named = type(value).__name__ if name is None else f"{'class' if isinstance(value, type) else 'function'} {name}"
    return f"the {named.removesuffix(' <lambda>')} of this session"


def _find_definition(value: Any) -> tuple[str, str]:
    """(source, name) of an object; its source is `SESSION` where another process could not find it."""
    name = getattr(value, "__qualname__", None)
    modules: dict[str, ModuleType] = dict(sys.modules)
    if name is not None:
        modules = {value.__module__: modules[value.__module__]} if value.__module__ in modules else {}
    for module in modules.values():
        defined = list(getattr(module, "__dict__", {}).items())
        names = [name] if name else [key for key, found in defined if found is value]
        for found in names:
            if "<" in found:
                continue
            if module.__name__ != "__main__" and not module.__name__.startswith(_FILE_MODULE):
                return module.__name__, found
            if (file := getattr(module, "__file__", None)) and file.endswith(".py"):
                near = os.path.relpath(file)
                return (file if near.startswith("..") else near), found
    return SESSION, f"{type(value).__name__}_{len(_session)}"


def known(text: str) -> Any:
    """What `remember` has noted for a spec in this process, or None."""
    return _known.get(text)


def remember(text: str, value: Any) -> None:
    """Notes what a spec has been loaded as, for those who must not load it."""
    _known[text] = value


# Loading


def load(text: str) -> Any:
    """The object that a spec names; its source is executed if this process has not done so yet.

    Raises:
        GanvasError: the source or the name is missing, or the source raises an error, which is quoted.
    """
    spec = parse(text)
    plain, key = f"{spec.source}:{spec.name}", _key(spec)
    if plain in _session:
        _digests[key] = _digest_of(_session[plain]) if spec.source == SESSION else _read_digest(spec.source)
        return _session[plain]
    if spec.source == SESSION:
        raise GanvasError(
            f"{spec.name} exists only in the Python session that made it: a notebook, or a function.",
            expected="a class or function of a file, which other processes can read",
            fix=f"put it into a file, and name it FILE.py:{spec.name.rpartition('.')[2]}.",
        )
    if not spec.source:
        raise GanvasError(f"'{text}' names no module and no file.", expected=FORM)
    value: Any = _load_file(spec.source) if spec.source.endswith(".py") else _import_module(spec.source)
    _digests[key] = _read_digest(spec.source)
    for part in spec.name.split("."):
        if not hasattr(value, part):
            names = list(names_in(getattr(value, "__file__", None) or ""))
            raise GanvasError(
                f"{spec.source} has no '{spec.name}'.",
                expected="a name that it defines",
                fix=did_you_mean(part, names) or f"it defines {', '.join(names) or 'no class and no function'}.",
            )
        value = getattr(value, part)
    return value


def call(text: str, function: Callable[..., Any], *arguments: Any, expected: str) -> Any:
    """Calls what a spec names with these arguments, then those of the spec.

    Args:
        expected: how it is called, for an error.

    Raises:
        GanvasError: it takes other arguments, or raises an error, which is quoted with its place.
    """
    named = parse(text).arguments
    try:
        inspect.signature(function).bind(*arguments, **named)
    except TypeError as error:
        raise GanvasError(f"{title(text)} cannot be called: {error}.", expected=expected) from None
    except ValueError:  # it has no signature
        pass
    with quote_errors(text, "cannot be made"):
        return function(*arguments, **named)


@contextmanager
def quote_errors(text: str, what: str, fix: str = "correct the code, or its arguments.") -> Iterator[None]:
    """Turns an error of the user's code in the block into one that quotes it, with its file and line.

    Raises:
        GanvasError: the block raises an error.
    """
    try:
        yield
    except GanvasError:
        raise
    except (Exception, SystemExit) as error:
        name = title(text.partition("(")[0]) if is_spec(text) else text
        raise _quote(error, f"{name} {what}", parse(text).source or text, fix) from error


@contextmanager
def quote_loaded() -> Iterator[None]:
    """`quote_errors` for a block that calls all kinds of code: an error from elsewhere, and of memory, stays.

    Raises:
        GanvasError: an error comes from code that has been loaded for a spec.
    """
    try:
        yield
    except (GanvasError, MemoryError):
        raise
    except Exception as error:
        for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
            if "memory" not in str(error) and (found := _find_loaded(frame.f_code)):
                raise _quote(error, f"{title(':'.join(found))} fails", found[0], "correct the code.") from error
        raise


def _find_loaded(code: CodeType) -> tuple[str, str] | None:
    """(source, name) of a class or function that has been loaded, if this is code of it."""
    name = code.co_qualname.replace("<locals>.", "").replace("<lambda>", "function")
    for key in _digests:
        own = key.removeprefix(f"{SESSION}:")
        if own != key and f"{name}.".startswith(f"{own}."):
            return SESSION, own
        if own == key and _path_of(key) == Path(code.co_filename).resolve():
            return key, name.partition(".")[0]
    return None


def _quote(error: BaseException, what: str, source: str, fix: str) -> GanvasError:
    """The error as one for users, with the last place in the user's code."""
    file = Path(source).name if source.endswith(".py") else f"{source.rpartition('.')[2]}.py"
    frames = [(Path(f.filename).name, f.lineno) for f in traceback.extract_tb(error.__traceback__)]
    text, places = str(error), [place for place in frames if place[0] == file]
    if isinstance(error, SyntaxError) and error.filename:
        text, places = error.msg, [(Path(error.filename).name, error.lineno)]
    place = f" ({places[-1][0]}, line {places[-1][1]})" if places else ""
    reason = f"{type(error).__name__}: {(text.splitlines() or ['no message'])[0].rstrip('.')}"
    fix = next((known for part, known in _FIXES.items() if re.search(part, text)), fix)
    return GanvasError(f"{what}: {reason}{place}.", fix=fix)


@contextmanager
def _executing(source: str) -> Iterator[None]:
    _loading.append(source)
    try:
        with quote_errors(source, "cannot be imported", "correct the code."):
            yield
    finally:
        _loading.pop()


def refuse_while_loading(what: str) -> None:
    """Refuses to train or compare from within a file that is only being read for the networks in it.

    Raises:
        GanvasError: such a file is being executed.
    """
    if _loading:
        raise GanvasError(
            f"{_loading[-1]} calls {what} when it is imported.",
            expected="a file that only defines what others use",
            fix='put the call under if __name__ == "__main__":',
        )


def _add_to_path(folder: Path) -> None:
    """Puts a folder first on sys.path, unless it is there, as Python does with that of a script."""
    if str(folder) not in sys.path and not (folder == Path.cwd() and "" in sys.path):
        sys.path.insert(0, str(folder))


def _load_file(source: str) -> ModuleType:
    path = _path_of(source)
    assert path is not None
    main = sys.modules.get("__main__")
    if main is not None and getattr(main, "__file__", None) and Path(main.__file__).resolve() == path:  # type: ignore[arg-type]
        return main
    name = f"{_FILE_MODULE}{path.stem}_{hashlib.sha256(f'{path}{_read_digest(source)}'.encode()).hexdigest()[:12]}"
    if name not in _files:
        _add_to_path(path.parent)
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses and pickling look it up there
        try:
            with _executing(source):
                # the loader would take cached bytecode of an older file of the same second and size
                exec(compile(read_bytes(path, MAX_SOURCE), path, "exec"), module.__dict__)
        except BaseException:
            del sys.modules[name]
            raise
        _files[name] = module
    return _files[name]


def _import_module(source: str) -> ModuleType:
    if source in sys.modules:
        return sys.modules[source]
    _add_to_path(Path.cwd())
    importlib.invalidate_caches()
    with _executing(source):
        try:
            return importlib.import_module(source)
        except ModuleNotFoundError as error:
            if error.name and (source == error.name or source.startswith(f"{error.name}.")):
                raise GanvasError(
                    f"There is no module '{error.name}'.",
                    expected=f"a module in {Path.cwd()}, or an installed one",
                    fix=f"is it a file? Then {source.replace('.', '/')}.py:NAME names it.",
                ) from error
            raise


# Has the source changed?


def digest(text: str) -> str:
    """The SHA-256 of the file that a spec names: of what this process has loaded, else as it is now.

    Other files that it imports are not in it. Empty where the source is no file, or has no text.

    Raises:
        GanvasError: the file or the module does not exist.
    """
    spec = parse(text)
    return _digests[key] if (key := _key(spec)) in _digests else _read_digest(spec.source)


def _key(spec: Spec) -> str:
    """What has a digest of its own: a source, or an object of this session."""
    return f"{SESSION}:{spec.name}" if spec.source == SESSION else spec.source


def sources(specs: Iterable[str]) -> dict[str, dict[str, str]]:
    """source -> its digest ("sha256"), and for a file its path, for the metadata of a run or a snapshot."""
    found = {}
    for text in specs:
        spec = parse(text)
        path = {"path": str(_path_of(spec.source))} if spec.source.endswith(".py") else {}
        found[_key(spec)] = {"sha256": digest(text), **path}
    return found


def changed_sources(before: dict[str, dict[str, str]]) -> list[str]:
    """Which of these sources have another content now, or none."""
    changed = []
    for source, recorded in before.items():
        now = None
        with suppress(GanvasError):
            now = digest(source if source.startswith(SESSION) else f"{source}:x")
        if now != recorded["sha256"]:
            changed.append(source)
    return changed


def absolute(text: str) -> str:
    """A spec of a file with its absolute path, valid in any working folder; another one as it is."""
    source = parse(text).source if is_spec(text) else ""
    return text.replace(source, str(_path_of(source)), 1) if source.endswith(".py") else text


def _path_of(source: str) -> Path | None:
    """The file of a source; None if it has none."""
    if source.endswith(".py"):
        return real_path(source)
    _add_to_path(Path.cwd())
    found = None
    with suppress(ImportError, ValueError, AttributeError):
        found = importlib.util.find_spec(source)
    return real_path(found.origin) if found is not None and found.origin else None


def _read_digest(source: str) -> str:
    path = None if source == SESSION else _path_of(source)
    if path is None or not (source.endswith(".py") or path.is_file()):  # a built-in module
        return ""
    try:
        return hashlib.sha256(read_bytes(path, MAX_SOURCE)).hexdigest()
    except (OSError, ValueError) as error:
        raise GanvasError(
            f"{source} cannot be read ({describe_reason(error)}).",
            expected=f"a Python file, relative to the working directory ({Path.cwd()})",
            fix="give its path from here, or change the directory.",
        ) from error


def _digest_of(value: Any) -> str:
    """The SHA-256 of the source text of an object of this session, as far as Python knows it."""
    texts = []
    for part in (value, *vars(value).values()) if isinstance(value, type) else (value,):
        with suppress(OSError, TypeError):
            texts.append(inspect.getsource(part))
    return hashlib.sha256("".join(texts).encode()).hexdigest()


__all__ = [
    "FORM", "SESSION", "absolute", "call", "changed_sources", "describe", "describe_class", "digest", "is_spec",
    "known", "load", "parse", "quote_errors", "quote_loaded", "refuse_while_loading", "remember", "sources",
    "title", "unknown",
]  # fmt: skip
