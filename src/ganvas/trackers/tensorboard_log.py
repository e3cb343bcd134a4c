"""TensorBoard: an event file for each session in RUN/tensorboard, by TensorBoard's own writer, without PyTorch."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ganvas.trackers.tracker import Facts, Note, Opened, State


class Log:
    """Writes event files. A later one begins by saying where it goes on; readers drop what came after that."""

    rewinds = True

    def open(self, facts: Facts, id: str | None, after: int) -> Opened:
        from tensorboard.compat.proto import event_pb2, summary_pb2  # type: ignore[import-not-found]
        from tensorboard.plugins.text.metadata import create_summary_metadata  # type: ignore[import-not-found]
        from tensorboard.summary.writer.event_file_writer import EventFileWriter  # type: ignore[import-not-found]

        self._event, self._summary, self._text_metadata = event_pb2, summary_pb2, create_summary_metadata
        folder = facts.path / "tensorboard"
        self._writer: Any = EventFileWriter(str(folder))
        if id is not None:
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._writer.add_event(event_pb2.Event(wall_time=time.time(), step=after + 1, session_log=start))
        if id is None or after < 0:
            self._write_text(0, "config", facts.table, time.time())
        return Opened("tensorboard", str(folder), f"tensorboard --logdir {facts.path.parent} shows it.")

    def log_numbers(self, nimg: int, numbers: Mapping[str, float], time: float) -> None:
        values = [self._summary.Summary.Value(tag=name, simple_value=value) for name, value in numbers.items()]
        self._write(nimg, values, time)

    def log_image(self, nimg: int, name: str, file: Path, time: float) -> None:
        with Image.open(file) as image:
            width, height, channels = *image.size, len(image.getbands())
        content = self._summary.Summary.Image(
            height=height, width=width, colorspace=channels, encoded_image_string=file.read_bytes()
        )
        self._write(nimg, [self._summary.Summary.Value(tag=name, image=content)], time)

    def log_notes(self, new: Sequence[Note], every: Sequence[Note]) -> None:
        together: dict[tuple[int, str], list[str]] = {}
        for note in new:  # two texts of one tag and one step would be one
            together.setdefault((note.nimg, note.kind), []).append(note.text)
        for (nimg, kind), texts in together.items():
            self._write_text(nimg, f"events/{kind}", "\n\n".join(texts), time.time())

    def log_evaluation(self, nimg: int, numbers: Mapping[str, float], table: str, time: float) -> None:
        self.log_numbers(nimg, numbers, time)
        self._write_text(nimg, "evaluation", table, time)

    def save(self) -> None:
        self._writer.flush()

    def close(self, state: State) -> None:
        self._writer.close()

    def _write_text(self, nimg: int, tag: str, text: str, time: float) -> None:
        from tensorboard.compat.proto import tensor_pb2, tensor_shape_pb2, types_pb2  # type: ignore[import-not-found]

        shape = tensor_shape_pb2.TensorShapeProto(dim=[tensor_shape_pb2.TensorShapeProto.Dim(size=1)])
        tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, tensor_shape=shape, string_val=[text.encode()])
        metadata = self._text_metadata(display_name="", description="")
        self._write(nimg, [self._summary.Summary.Value(tag=tag, tensor=tensor, metadata=metadata)], time)

    def _write(self, nimg: int, values: list[Any], time: float) -> None:
        event = self._event.Event(wall_time=time, step=nimg, summary=self._summary.Summary(value=values))
        self._writer.add_event(event)
