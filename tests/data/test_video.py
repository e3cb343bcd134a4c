"""A video is a set of images: every n-th frame."""

import sys
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from helpers import open_data

from ganvas.data.formats.video import choose_step
from ganvas.errors import GanvasError

av: Any = pytest.importorskip("av", reason="the extra `video` is not installed")


def write_video(path, frames: np.ndarray, codec="mpeg4", **stream_options):
    """uint8 [n h w 3] -> a video."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=24)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        stream.bit_rate = 4_000_000
        for name, value in stream_options.items():
            setattr(stream, name, value)
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())
    return path


def drift(count: int, slowness: int, height=32, width=48) -> np.ndarray:
    """A picture that moves by two pixels every few frames."""
    rng = np.random.default_rng(0)
    wide = rng.integers(0, 256, (height // 4, (width + 2 * count) // 4 + 2, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    return np.stack([wide[:, 2 * (i // slowness) : 2 * (i // slowness) + width] for i in range(count)])


@pytest.mark.parametrize("suffix", ["mp4", "avi", "mkv", "mov", "ts"])
def test_video_is_read_whatever_its_container(tmp_path, suffix):
    frames = drift(60, 1)
    found = open_data(write_video(tmp_path / f"clip.{suffix}", frames))
    assert found.images.shape == (60, 3, 32, 48)
    assert found.name == "clip" or suffix == "ts"
    assert np.abs(found.images.transpose(0, 2, 3, 1).astype(int) - frames).mean() < 20
    assert "Every frame is used: 60 images." in found.notes


def test_slow_video_is_read_at_every_nth_frame(tmp_path):
    found = open_data(write_video(tmp_path / "slow.mp4", drift(1200, 12)))
    [note] = [note for note in found.notes if note.startswith("Every")]
    step = int(note.split()[1].rstrip("stndrh"))
    assert 4 <= step <= 12
    assert f"of 1,200 frames is used: {len(found)} images." in note
    assert len(found) == -(-1200 // step)


def test_step_leaves_a_hundred_frames_of_a_still_video():
    assert choose_step(np.zeros((1000, 256), np.uint8)) == 10
    assert choose_step(np.zeros((50, 256), np.uint8)) == 1
    moving = np.arange(1000, dtype=np.uint8)[:, None].repeat(256, 1)
    assert choose_step(moving) == 3  # 3 grey levels differ by more than 2


def test_video_is_upright_and_its_pixels_square(tmp_path):
    path = write_video(tmp_path / "wide.mkv", drift(30, 1), sample_aspect_ratio=Fraction(2))
    assert open_data(path).resolution == (32, 96)


def test_rotated_video_is_upright(monkeypatch, tmp_path):
    from ganvas.data.formats import video

    frames = drift(20, 1)
    path = write_video(tmp_path / "phone.mp4", frames)
    original = video._frames

    class Turned:
        rotation = -90  # shown after a clockwise quarter turn: FFmpeg counts counter-clockwise

        def __init__(self, frame):
            self.frame, self.width, self.height = frame, frame.width, frame.height

        def reformat(self, **options):
            return self.frame.reformat(**options)

    monkeypatch.setattr(video, "_frames", lambda path: ((Turned(frame), ratio) for frame, ratio in original(path)))
    found = open_data(path)
    assert found.resolution == (48, 32)
    upright = np.rot90(frames[0], -1)
    assert np.abs(found.images[0].transpose(1, 2, 0).astype(int) - upright).mean() < 20


def test_damaged_video_is_used_up_to_the_damage_or_refused(tmp_path):
    path = write_video(tmp_path / "x.mkv", drift(60, 1))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert 5 < len(open_data(path)) < 60
    path.write_bytes(content[:400])
    with pytest.raises(GanvasError, match="no frame that can be decoded"):
        open_data(path)
    (tmp_path / "fake.mp4").write_bytes(b"\0\0\0\x18ftypisom" + b"#EXTM3U\nhttp://127.0.0.1/x.ts\n" * 9)
    with pytest.raises(GanvasError, match="no frame that can be decoded"):
        open_data(tmp_path / "fake.mp4")


def test_without_pyav_the_extra_is_named(tmp_path, monkeypatch):
    path = write_video(tmp_path / "x.mp4", drift(3, 1))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(GanvasError) as caught:
        open_data(path)
    assert "pip install 'ganvas[video]'" in caught.value.fix
    assert "ffmpeg -i" in caught.value.fix


def test_video_has_no_test_split(tmp_path):
    with pytest.raises(GanvasError, match="no test split"):
        open_data(write_video(tmp_path / "x.mp4", drift(3, 1)), split="test")
