"""ONNX Runtime Web, the engine of the pages of `--to web`, as tools/vendor_ort.py put it into the package.

It is the smallest build: WebAssembly for the CPU, and the module that starts it, unchanged; both MIT.
"""

import re
from pathlib import Path

VERSION = "1.30.0"
FOLDER = Path(__file__).parent / "web" / "runtime"
MODULE = "ort.wasm.bundle.min.mjs"
WASM = "ort-wasm-simd-threaded.wasm"
LICENCE, NOTICES = "ONNXRUNTIME-LICENSE.txt", "ONNXRUNTIME-NOTICES.txt"

DIGESTS = {
    MODULE: "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    WASM: "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    LICENCE: "2f07c72751aed99790b8a4869cf2311df85a860b22ded05fa22803587a48922c",
    NOTICES: "143764b952fdb1a7c69ce653bfba74a7744d6a8a573bfb73e235fba356c83de3",
}
"""SHA-256 of the files as they are published; of the WebAssembly before it is packed."""

_NAMES = ("InferenceSession", "Tensor", "env")


def packed_wasm() -> bytes:
    """The WebAssembly, packed by gzip, which browsers unpack."""
    return (FOLDER / f"{WASM}.gz").read_bytes()


def module_script() -> str:
    """The module as a script of a page, which sets `globalThis.ort`: nothing can import what a page holds itself."""
    text = (FOLDER / MODULE).read_text(encoding="utf-8")
    before, _, after = text.rpartition("export{")
    exported = {name: own for own, name in re.findall(r"([\w$]+) as ([\w$]+)", after.partition("}")[0])}
    return before + "globalThis.ort={" + ",".join(f"{name}:{exported[name]}" for name in _NAMES) + "};\n"


def licence() -> str:
    """The text of its licence."""
    return (FOLDER / LICENCE).read_text(encoding="utf-8")


def notices() -> str:
    """The licences of what is in it."""
    return (FOLDER / NOTICES).read_text(encoding="utf-8")
