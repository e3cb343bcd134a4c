"""What is dropped on the studio's pages for the pictures and the film of the docs: images, photos, a log."""

import base64
import io
import math
import zipfile

from PIL import Image
from playwright.sync_api import Page
from sklearn.datasets import load_sample_images

from ganvas.data import DataOptions, open_images


def drop(page: Page, name: str, content: bytes, zone: str = ".drop") -> None:
    """Drops a file on a zone of the page."""
    transfer = page.evaluate_handle(
        """([name, text]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], name));
            return transfer;
        }""",
        [name, base64.b64encode(content).decode()],
    )
    for event in ("dragenter", "dragover", "drop"):
        page.dispatch_event(zone, event, {"dataTransfer": transfer})


def failing_log() -> bytes:
    """The CSV of a training whose D becomes too strong."""
    rows = [f"{i * 10},{0.9 * math.exp(-i / 40) + 0.002 * (i % 3):.5f},{0.8 + i / 30:.4f}" for i in range(300)]
    return "\n".join(["step,d_loss,g_loss", *rows]).encode()


def photos() -> list[bytes]:
    """The two photos that come with scikit-learn, as PNG: a temple and a flower."""
    return [_encode(Image.fromarray(photo)) for photo in load_sample_images().images]


def class_folders(data: str, count: int = 200) -> bytes:
    """A zip of images in a folder for each class, with two broken files and two copies."""
    images = open_images(DataOptions(data), progress=False)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for number, pixels in enumerate(images.images[:count]):
            label = images.class_names[images.labels[number]] if images.labels is not None else ""
            png = _encode(Image.fromarray(pixels.transpose(1, 2, 0).squeeze()))
            file.writestr(f"{label}/{number:04}.png", png)
            if number in (3, 17):
                file.writestr(f"{label}/copy-{number:04}.png", png)
                file.writestr(f"{label}/broken-{number:04}.png", png[: len(png) // 2])
    return content.getvalue()


def _encode(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()
