"""--to onnx: a file for ONNX Runtime and other programs; of families with a style for each layer two more files.

NAME.onnx takes z, the class and the truncation, and gives images and values. NAME.mapping.onnx gives the styles of each
layer, and NAME.synthesis.onnx makes images of styles: between them styles are mixed or moved. Where a family has noise
maps, the synthesis takes them as inputs with default values, those of the run; the other files have them built in.
"""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganvas.errors import GanvasError
from ganvas.exporting.exported import Exported, check_suffix, public_card
from ganvas.exporting.parity import Parity, check, compare_with_own
from ganvas.exporting.parts import Part, explain_failure, halves, quiet, whole
from ganvas.files import atomic_file, check_writable, format_bytes, make_folder
from ganvas.sampling import Sampler

MAX_BYTES = 2**31 - 1
"""The largest file: protobuf's limit."""

NOISE = "noise_const"
"""The name of a buffer with a noise map, in every family that has some."""

MIN_HALVED = 16
"""Weights with fewer numbers keep their precision."""


def write(sampler: Sampler, path: Path, options: Any) -> Exported:
    """Writes the file, or all three.

    Raises:
        GanvasError: the network cannot be exported, draws other images, is too large, or a file cannot be written.
    """
    check_suffix(path, ".onnx")
    kind = "float16" if options.half else "float32"
    parts = [whole(sampler.generator), *halves(sampler.generator)]
    files = [_file_of(path, part) for part in parts]
    for file in files:
        check_writable(file)
    converted = (convert(part, half=options.half, open_noise=True) for part in parts)
    models = dict(zip(files, converted, strict=True))
    contents = {file: _serialise(model, file) for file, model in models.items()}
    sessions = [Session(content) for content in contents.values()]
    parity = [compare_with_own(path.name, sampler, sessions[0].draw)]
    if len(sessions) > 1:
        both = lambda *inputs: sessions[2].draw_styles(sessions[1].run("styles", *inputs))  # noqa: E731
        parity.append(compare_with_own("mapping and synthesis", sampler, both))
    for one in parity:
        check(one, half=options.half)
    card = {**public_card(sampler.card), "export": _facts(kind, parity)}
    make_folder(path.parent)
    for part, (file, model) in zip(parts, models.items(), strict=True):
        _describe(model, part, sampler, card)
        content = _serialise(model, file)
        with atomic_file(file) as temporary:
            temporary.write_bytes(content)
    notes = (f"Weights are in half precision: {parity[0].mean:.2g} of 255 on average.",) if options.half else ()
    return Exported("onnx", tuple(models), tuple(parity), notes)


def _file_of(path: Path, part: Part) -> Path:
    return path.with_name(f"{path.stem}.{part.name}{path.suffix}") if part.name else path


def _facts(kind: str, parity: list[Parity]) -> dict[str, Any]:
    """What the card says of the export."""
    return {"weights": kind, "parity": [one.to_json() for one in parity]}


def convert(part: Part, *, half: bool = False, open_noise: bool = False) -> Any:
    """The model of a part, as onnx's ModelProto; with `open_noise`, noise maps of the synthesis are inputs."""
    program = part.trace()
    with explain_failure("exported to ONNX"), quiet():
        made = torch.onnx.export(
            program, dynamo=True, optimize=False, verbose=False,
            input_names=list(part.inputs), output_names=list(part.outputs),
        )  # fmt: skip
        assert made is not None
        if open_noise and part.name == "synthesis":
            _open_noise(made.model.graph)
        made.optimize()
        model = made.model_proto
    for entry in [*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output]:
        del entry.metadata_props[:]  # where in the source it comes from, with this machine's folders
    _name_batch(model)
    if half:
        halve(model)
    return model


def _open_noise(graph: Any) -> None:
    """Makes inputs with default values of the noise maps: noise0, noise1 …"""
    names = [name for name in graph.initializers if name.endswith(f".{NOISE}")]
    for i, name in enumerate(names):
        graph.initializers[name].name = f"noise{i}"
        graph.inputs.append(graph.initializers[f"noise{i}"])


def _name_batch(model: Any) -> None:
    """Calls the free dimension n, as in our documentation."""
    graph = model.graph
    symbol = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in [*graph.input, *graph.output, *graph.value_info]:
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param:
                dimension.dim_param = re.sub(rf"\b{re.escape(symbol)}\b", "n", dimension.dim_param)


def halve(model: Any) -> None:
    """Keeps the weights in half precision, and casts them where they are used; those beyond its range stay."""
    import onnx

    graph, inputs, casts = model.graph, {value.name for value in model.graph.input}, []
    for weight in graph.initializer:
        if weight.data_type != onnx.TensorProto.FLOAT or weight.name in inputs:
            continue
        numbers = onnx.numpy_helper.to_array(weight)
        with np.errstate(over="ignore", under="ignore"):
            rounded = numbers.astype(np.float16)
        if numbers.size < MIN_HALVED or not np.isfinite(rounded).all():
            continue
        name = weight.name
        weight.CopyFrom(onnx.numpy_helper.from_array(rounded, f"{name}_half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _describe(model: Any, part: Part, sampler: Sampler, card: dict[str, Any]) -> None:
    """Writes the card into the file's metadata, and what its inputs and outputs are."""
    import onnx

    shape = sampler.card.shape
    texts = {
        "z": "float32 [n latent], from a standard normal distribution",
        "class": f"int64 [n], from 0 to {shape.classes - 1}",
        "truncation": "float32 []: 1 as it was trained, below 1 more typical and less varied",
        "styles": "float32 [n layers k], coarse layers first",
        "images": "uint8 [n c h w]",
        "values": "float32 [n c h w], nominally from -1 to 1; the images are round(127.5 * (values + 1)), clipped",
    }
    graph = model.graph
    for value in [*graph.input, *graph.output]:
        value.doc_string = texts.get(value.name, "float32 [1 1 h w]: noise, by default that of the run")
    model.producer_name, model.producer_version = "ganvas", card["versions"]["ganvas"]
    graph.name = f"ganvas {part.name}".strip()
    model.doc_string = (
        f"Generator of {shape.height}×{shape.width}×{shape.channels} images, trained with the recipe {card['recipe']} "
        f"on {card['data']['name']}."
    )
    onnx.helper.set_model_props(model, {"ganvas_card": json.dumps(card), "ganvas_part": part.name or "whole"})


def _serialise(model: Any, file: Path) -> bytes:
    size = model.ByteSize()
    if size > MAX_BYTES:
        raise GanvasError(
            f"{file} would have {format_bytes(size)}.",
            expected=f"at most {format_bytes(MAX_BYTES)}, the limit of the format",
            fix="--half, or --to pt2, which has no limit.",
        )
    return model.SerializeToString()


class Session:
    """A model in ONNX Runtime, on the CPU."""

    def __init__(self, content: bytes) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # inputs with default values are meant
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        with explain_failure("run by ONNX Runtime"):
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def run(self, output: str | None, z: Tensor, labels: Tensor | None, truncation: float) -> Any:
        """All outputs, or one."""
        classes = {} if labels is None else {"class": labels.numpy()}
        inputs = {"z": z.numpy(), **classes, "truncation": np.array(truncation, np.float32)}
        with explain_failure("run by ONNX Runtime"):
            found = self._session.run(None if output is None else [output], inputs)
        return found if output is None else found[0]

    def draw(self, z: Tensor, labels: Tensor | None, truncation: float) -> tuple[np.ndarray, np.ndarray]:
        """Images and values of latents."""
        images, values = self.run(None, z, labels, truncation)
        return images, values

    def draw_styles(self, styles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Images and values of styles."""
        with explain_failure("run by ONNX Runtime"):
            images, values = self._session.run(None, {"styles": styles})
        return np.asarray(images), np.asarray(values)
