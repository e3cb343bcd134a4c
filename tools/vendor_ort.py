"""Puts ONNX Runtime Web into src/ganvas/exporting/web/runtime/, for the pages of `ganvas export --to web`.

    python tools/vendor_ort.py    # needs npm and pip

Two files are those of the npm package onnxruntime-web, which has no texts of licences; those are of the wheel of
onnxruntime, made of the same source. All four are checked by their SHA-256 in ganvas.exporting.web_runtime, and so is
the npm package: the same version gives the same files. For another version, change VERSION and the digests, which this
tool then prints.
"""

import gzip
import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from zipfile import ZipFile

from ganvas.exporting.web_runtime import DIGESTS, FOLDER, LICENCE, MODULE, NOTICES, VERSION, WASM

PACKAGE = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"
"""SHA-256 of the npm package."""


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", f"onnxruntime-web@{VERSION}"], check=True, cwd=folder)
        package = next(Path(folder).glob("*.tgz"))
        check("the npm package", package.read_bytes(), PACKAGE)
        with tarfile.open(package) as archive:
            for name in (MODULE, WASM):
                member = archive.extractfile(f"package/dist/{name}")
                assert member is not None
                write(name, member.read())
        flags = ["--quiet", "--no-deps", "--only-binary", ":all:", "--dest", folder]
        subprocess.run([sys.executable, "-m", "pip", "download", *flags, f"onnxruntime=={VERSION}"], check=True)
        with ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
            write(LICENCE, wheel.read("onnxruntime/LICENSE"))
            write(NOTICES, wheel.read("onnxruntime/ThirdPartyNotices.txt"))


def check(what: str, content: bytes, expected: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise SystemExit(f"{what} has the SHA-256 {found}, expected {expected}")


def write(name: str, content: bytes) -> None:
    """Writes a file, the WebAssembly packed."""
    check(name, content, DIGESTS[name])
    if name == WASM:
        name, content = f"{name}.gz", gzip.compress(content, 9, mtime=0)
    (FOLDER / name).write_bytes(content)
    print(f"{name}: {len(content):,} bytes")


if __name__ == "__main__":
    main()
