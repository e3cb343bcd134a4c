"""The networks that are exported: a generator as a whole, and where it has a style for each layer, in two halves.

Inputs are z float [n latent], of a generator with classes the class int64 [n], and the truncation float []; outputs are
the images uint8 [n c h w] and the values float32 [n c h w], nominally in [-1, 1], of which they are rounded. The halves
are the mapping, whose output is the styles float [n layers k], and the synthesis, which makes images of them.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from ganvas import user_code
from ganvas.data.pixels import to_uint8
from ganvas.errors import GanvasError
from ganvas.networks import Generator
from ganvas.reading import describe_reason

EXAMPLES = 2
"""The images with which a network is traced; the batch size stays free."""


class _Network(nn.Module):
    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator


class WithClasses(_Network):
    """z, class, truncation -> images, values."""

    def forward(self, z: Tensor, label: Tensor, truncation: Tensor) -> tuple[Tensor, Tensor]:
        values = self.generator.truncated(z, label, truncation)  # type: ignore[arg-type]
        return to_uint8(values), values.float()


class WithoutClasses(_Network):
    """z, truncation -> images, values."""

    def forward(self, z: Tensor, truncation: Tensor) -> tuple[Tensor, Tensor]:
        values = self.generator.truncated(z, None, truncation)  # type: ignore[arg-type]
        return to_uint8(values), values.float()


class MappingWithClasses(_Network):
    """z, class, truncation -> styles."""

    def forward(self, z: Tensor, label: Tensor, truncation: Tensor) -> Tensor:
        return self.generator.truncate(self.generator.styles(z, label), label, truncation).float()  # type: ignore[arg-type]


class MappingWithoutClasses(_Network):
    """z, truncation -> styles."""

    def forward(self, z: Tensor, truncation: Tensor) -> Tensor:
        return self.generator.truncate(self.generator.styles(z), None, truncation).float()  # type: ignore[arg-type]


class Synthesis(_Network):
    """styles -> images, values, of a generator that does not need the class again (`needs_class_again`)."""

    def forward(self, styles: Tensor) -> tuple[Tensor, Tensor]:
        values = self.generator.draw(styles)
        return to_uint8(values), values.float()


@dataclass(frozen=True)
class Part:
    """A network to export, with examples of its inputs.

    Attributes:
        name: "" for the whole generator, mapping or synthesis.
        network: the module.
        inputs: name -> example; all but the truncation have a free first dimension.
        outputs: their names.
    """

    name: str
    network: nn.Module
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]

    def trace(self) -> ExportedProgram:
        """The network as a graph, for any batch size; without the places in the source from which each node comes.

        Raises:
            GanvasError: it cannot be traced.
        """
        n = Dim("n", min=1)
        free = tuple(None if name == "truncation" else {0: n} for name in self.inputs)
        with explain_failure("traced"), quiet(), torch.no_grad(), user_code.quote_loaded():
            program = torch.export.export(self.network, tuple(self.inputs.values()), dynamic_shapes=free)
        for node in program.graph.nodes:
            for name in ("stack_trace", "from_node", "source_fn_stack"):
                node.meta.pop(name, None)
        return program


@contextmanager
def quiet() -> Iterator[None]:
    """Without the notes of PyTorch's exporter and of the packages that it uses."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


@contextmanager
def explain_failure(what: str) -> Iterator[None]:
    """Turns an error of PyTorch's exporter in the block into one for users.

    Raises:
        GanvasError: the block fails.
    """
    try:
        yield
    except (GanvasError, MemoryError):
        raise
    except Exception as error:  # the exporter fails in any way
        raise GanvasError(
            f"The generator cannot be {what} ({type(error).__name__}: {describe_reason(error)}).",
            expected="a forward whose way does not depend on the numbers in its inputs, for any number of images",
            fix="in a network of your own: x.shape[0] in place of len(x), torch.where in place of if, no .item().",
        ) from error


def whole(generator: Generator) -> Part:
    """The generator as a whole."""
    network = (WithClasses if generator.shape.classes else WithoutClasses)(generator)
    return Part("", network, _inputs(generator), ("images", "values"))


def halves(generator: Generator) -> list[Part]:
    """Mapping and synthesis of a generator that has a style for each layer; none if both would take the class."""
    inputs = _inputs(generator)
    layers = generator.styles(inputs["z"], inputs.get("class")).shape[1]
    return [] if layers == 1 or needs_class_again(generator) else mapping_and_synthesis(generator)


def needs_class_again(generator: Generator) -> bool:
    """Whether it draws styles by their class too, as one of the user's own may: no family of Ganvas does."""
    classes = generator.shape.classes
    if not classes:
        return False
    labels = torch.tensor([0, classes - 1])
    with torch.no_grad(), user_code.quote_loaded():
        styles = generator.styles(torch.ones(len(labels), generator.latent), labels)
        own = generator.draw(styles, labels)
        try:
            return not torch.allclose(own, generator.draw(styles), atol=1e-4, equal_nan=True)
        except Exception:  # the user's own code without a class
            return True


def mapping_and_synthesis(generator: Generator) -> list[Part]:
    """The two parts of a generator whose space of styles is not z, between which styles are moved."""
    inputs = _inputs(generator)
    styles = generator.styles(inputs["z"], inputs.get("class"))
    mapping = (MappingWithClasses if generator.shape.classes else MappingWithoutClasses)(generator)
    return [
        Part("mapping", mapping, inputs, ("styles",)),
        Part("synthesis", Synthesis(generator), {"styles": styles.contiguous()}, ("images", "values")),
    ]


def _inputs(generator: Generator) -> dict[str, Tensor]:
    labels = {"class": torch.zeros(EXAMPLES, dtype=torch.long)} if generator.shape.classes else {}
    return {"z": torch.zeros(EXAMPLES, generator.latent), **labels, "truncation": torch.tensor(1.0)}
