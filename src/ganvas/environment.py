"""What this machine has: versions, devices, memory, folders. `ganvas info` prints it, for a bug report.

Every part is asked for by itself: one that is broken is described as such, and the others are there all the same.
"""

import os
import platform
import re
from collections.abc import Callable
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganvas.files import format_bytes
from ganvas.version import __version__

if TYPE_CHECKING:
    import torch

VARIABLES = re.compile(
    r"GANVAS_\w+|XDG_CACHE_HOME|CUDA_VISIBLE_DEVICES|PYTORCH_\w+|TORCH_\w+|NCCL_\w+|(OMP|MKL|OPENBLAS)_NUM_THREADS"
    r"|GOMP_SPINCOUNT|OMP_WAIT_POLICY|WORLD_SIZE|LOCAL_WORLD_SIZE|RANK|LOCAL_RANK|HF_HOME|HF_HUB_OFFLINE"
)
"""Environment variables that change what Ganvas does."""


def describe() -> dict[str, Any]:
    """The environment in plain values: versions, extras, platform, devices, CPU, threads, memory, cache, variables.

    A part that cannot be determined is `{"error": reason}`. Paths start with ~ where they are in the home folder.
    """
    parts: dict[str, Callable[[], Any]] = {
        "versions": _versions,
        "extras": _extras,
        "platform": platform.platform,
        "devices": _devices,
        "cpu": _cpu,
        "threads": _threads,
        "memory": _memory,
        "cache": _cache,
        "variables": lambda: {
            name: shorten_home(value) for name, value in sorted(os.environ.items()) if VARIABLES.fullmatch(name)
        },
    }
    return {name: _ask(part) for name, part in parts.items()}


def render(environment: dict[str, Any]) -> str:
    """What `describe` returns as text, a line or more for each part."""
    lines = []
    for name, value in environment.items():
        broken = isinstance(value, dict) and "error" in value
        texts = [f"cannot be determined: {value['error']}"] if broken else _LINES[name](value)
        lines += [f"{'' if i else name:11}{text}" for i, text in enumerate(texts or ["none"])]
    return "\n".join(lines)


_LINES: dict[str, Callable[[Any], list[str]]] = {
    "versions": lambda found: [f"{name} {version}" for name, version in found.items()],
    "extras": lambda found: [
        f"{extra}: " + ", ".join(f"{name} {version or 'not installed'}" for name, version in packages.items())
        for extra, packages in found.items()
    ],
    "platform": lambda found: [found],
    "devices": lambda found: [
        ", ".join(
            f"{format_bytes(value)} {key}" if key in ("free", "total") else f"{key} {value}" if key == "cuda" else value
            for key, value in device.items()
            if value is not None
        )
        for device in found
    ],
    "cpu": lambda found: [f"{found['cores']} cores, {found['usable']} of {found['logical']} logical ones usable"],
    "threads": lambda found: [f"{found} at most"],
    "memory": lambda found: [f"{format_bytes(found['total'])}, {format_bytes(found['free'])} free"],
    "cache": lambda found: [f"{found['folder']}, {format_bytes(found['bytes'])}"],
    "variables": lambda found: [f"{name}={value}" for name, value in found.items()],
}


def shorten_home(text: str) -> str:
    """The text with ~ in place of the home folder."""
    home = str(Path.home())
    return text.replace(home, "~") if len(home) > 1 else text


def _ask(part: Callable[[], Any]) -> Any:
    try:
        return part()
    except Exception as error:  # a broken installation fails in any way, and that is what is to be reported
        return {"error": shorten_home(f"{type(error).__name__}: {error}".splitlines()[0])}


def _versions() -> dict[str, str]:
    """Of Ganvas, Python, and the packages that Ganvas requires."""
    try:
        ganvas, packages = __version__, _requirements(None)
    except metadata.PackageNotFoundError:
        ganvas, packages = f"{__version__} (not installed: its packages are unknown)", []
    modules: dict[str, str] = {}
    for module, names in metadata.packages_distributions().items():
        for name in names if not module.startswith("_") else ():
            modules.setdefault(_normalise(name), module)
    found = {"ganvas": ganvas, "python": platform.python_version()}
    return found | {name: _describe_package(name, modules.get(_normalise(name), name)) for name in packages}


def _normalise(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


def _describe_package(package: str, module: str) -> str:
    """The version of a package, and whether it cannot be imported."""
    if (version := _version(package)) is None:
        return "missing"
    try:
        import_module(module)
    except Exception as error:  # a broken installation fails in any way
        return shorten_home(f"{version} (cannot be imported: {type(error).__name__}: {error}".splitlines()[0] + ")")
    return version


def _extras() -> dict[str, dict[str, str | None]]:
    """extra -> package -> its version, or None where it is not installed."""
    extras = metadata.metadata("ganvas").get_all("Provides-Extra") or []
    return {extra: {name: _version(name) for name in _requirements(extra)} for extra in extras if extra != "dev"}


def _requirements(extra: str | None) -> list[str]:
    """The packages that Ganvas requires, always or for an extra."""
    found = []
    for line in metadata.requires("ganvas") or []:
        requirement, _, marker = line.partition(";")
        wanted = re.search(r"extra\s*==\s*['\"](.+?)['\"]", marker)
        if (wanted[1] if wanted else None) == extra and (name := re.match(r"[\w.-]+", requirement.strip())):
            found.append(name[0])
    return found


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _devices() -> list[dict[str, Any]]:
    """What PyTorch can compute on, with bytes of memory; the first is what `auto` takes."""
    import torch

    from ganvas.pytorch_state import GPU_MODULES

    found: list[dict[str, Any]] = []
    indices = [(kind, index) for kind, module in GPU_MODULES.items() for index in range(module.device_count())]
    for kind, index in indices:
        entry: dict[str, Any] = {"device": f"{kind}:{index}"}
        try:
            free, total = GPU_MODULES[kind].mem_get_info(index)
            entry |= {"name": GPU_MODULES[kind].get_device_name(index), "free": free, "total": total}
        except RuntimeError as error:  # a GPU that is there and does not work
            entry["error"] = str(error).splitlines()[0]
        found.append(entry)
    if torch.backends.mps.is_available():
        found.append({"device": "mps", "name": platform.processor() or "Apple"})
    return [*found, {"device": "cpu", "name": _processor(), "cuda": torch.version.cuda}]


def name_device(device: "torch.device") -> str:
    """The kind and the model of a device, of a CPU with its cores: runs on devices of one name can be timed alike."""
    from ganvas.pytorch_state import GPU_MODULES

    if device.type in GPU_MODULES:
        return f"{device.type}: {GPU_MODULES[device.type].get_device_name(device)}"
    return f"{device.type}: {_processor()}, {os.cpu_count()} cores"


def name_devices(device: "torch.device", count: int) -> str:
    """As `name_device`, for that many processes: 2 × cuda: NVIDIA H200."""
    return f"{count} × {name_device(device)}"


def _processor() -> str:
    """The processor's name, where the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return named[1] if named else platform.processor() or platform.machine()


def _cpu() -> dict[str, Any]:
    """Cores, and those that this process may use."""
    import psutil

    return {"cores": psutil.cpu_count(logical=False), "logical": psutil.cpu_count(), "usable": usable_cores()}


def usable_cores() -> int:
    """The logical cores that this process may use: fewer than there are in a container or a job of a scheduler."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _threads() -> int:
    """The threads of a large computation on the CPU; a small one uses fewer."""
    import torch

    return torch.get_num_threads()


def _memory() -> dict[str, int]:
    """Bytes."""
    import psutil

    memory = psutil.virtual_memory()
    return {"total": memory.total, "free": memory.available}


def _cache() -> dict[str, Any]:
    """The cache folder, and the bytes in it."""
    from ganvas.data.cached import cache_contents, cache_files

    return {
        "folder": shorten_home(str(cache_files.root())),
        "bytes": sum(entry.bytes for entry in cache_contents.entries()),
    }
