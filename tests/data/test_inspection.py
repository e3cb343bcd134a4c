"""`ganvas data` reports the properties and the problems of a data set."""

import io
import json

import numpy as np
import pytest
from helpers import encode, noise, write_folder, write_idx, write_zip
from rich.console import Console

from ganvas.data import inspect, prepare


def inspect_quietly(path, **options):
    return inspect(path, **options, quiet=True)


def render(report, width=100) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(report)
    return out.getvalue()


def test_all_problems_of_a_folder_are_reported(tmp_path):
    files = {f"many/{index}.png": encode(noise(20, 20, 3, seed=index)) for index in range(33)}
    files |= {f"few/{index}.png": encode(noise(20, 24, seed=index)) for index in range(2)}
    files["few/copy.png"] = files["many/7.png"]
    files["many/black.png"] = encode(np.zeros((12, 12), np.uint8))
    files["many/photo.png"] = encode(noise(20, 20, 3, seed=99), "JPEG")
    files["many/page.jpg"] = b"<html>"
    files["many/empty.webp"] = b""
    files["many/notes.txt"] = b"x"
    report = inspect_quietly(write_folder(tmp_path / "s", files), resolution="16")
    assert report.count == 38
    assert report.resolution == (16, 16)
    assert report.channels == 3
    assert report.original_sizes == {"20x20": 35, "20x24": 2, "12x12": 1}
    assert report.colour_modes == {"RGB": 35, "L": 3}
    assert report.class_counts == {"few": 3, "many": 35}
    assert report.duplicate_groups == (("few/copy.png", "many/7.png"),)
    assert report.blank_images == ("many/black.png",)
    assert dict(report.bad_files) == {
        "many/page.jpg": "not an image: it begins with '<html>'",
    }
    assert report.ignored_files == {".txt": 1, "(empty)": 1}
    assert report.misnamed_files == (("many/photo.png", "a JPEG named .png"),)
    warnings = "\n".join(report.warnings)
    for part in (
        "Bad files: 1 of 39 (2.6%).",
        "Few images: 38.",
        "many has 35 images, few has 3.",
        "Exact duplicates of other images: 1.\n    few/copy.png: identical to many/7.png",
        "Blank images, of a single colour: 1 (many/black.png)",
        "Images smaller than 16x16, which are enlarged: 1.",
        "Files whose extension names another format: 1.",
    ):
        assert part in warnings, part
    output = " ".join(render(report).split())
    assert "many/page.jpg: not an image: it begins with '<html>'" in output
    assert "read as 16x16, RGB (3 channels)" in output, "a training may choose another size"
    assert json.loads(json.dumps(report.to_json()))["duplicate_count"] == 1


def test_all_sizes_and_misnamed_files_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "_MAX_MISNAMED", 2)
    files = {f"{i}.png": encode(noise(9 + i, 12, seed=i), "JPEG" if i < 14 else "PNG") for i in range(16)}
    report = inspect_quietly(write_folder(tmp_path / "s", files), resolution="40")
    assert len(report.original_sizes) == 16
    assert (len(report.misnamed_files), report.misnamed_count) == (2, 14)
    warnings = "\n".join(report.warnings)
    assert "Images smaller than 40x40, which are enlarged: 16." in warnings
    assert "Files whose extension names another format: 14.\n    0.png" in warnings
    assert "and 12 more" in warnings


@pytest.mark.parametrize(("fit", "enlarged"), [("crop", 3), ("stretch", 3), ("pad", 1)])
def test_images_that_get_bars_are_not_enlarged(tmp_path, fit, enlarged):
    files = {f"{i}.png": encode(noise(*size)) for i, size in enumerate([(10, 40), (40, 10), (10, 10), (20, 40)])}
    report = inspect_quietly(write_folder(tmp_path / "s", files), resolution="20", fit=fit)
    assert f"Images smaller than 20x20, which are enlarged: {enlarged}." in report.warnings


def test_data_set_without_problems_has_no_warnings(tmp_path):
    write_idx(tmp_path / "s", noise(300, 8, 8), np.arange(300) % 3)
    report = inspect_quietly(tmp_path / "s")
    assert report.warnings == ()
    assert report.class_counts == {"0": 100, "1": 100, "2": 100}
    assert report.format == "IDX files"
    assert "No problems found." in render(report)


def test_duplicates_without_names_are_numbered(tmp_path):
    images = noise(300, 8, 8)
    images[[7, 8, 9]], images[200] = images[0], images[100]
    report = inspect_quietly(write_idx(tmp_path / "s", images))
    assert report.duplicate_groups == (("image 0", "image 7", "image 8", "image 9"), ("image 100", "image 200"))
    assert report.duplicate_count == 4


def test_set_of_bad_files_only_is_listed_and_not_refused(tmp_path):
    report = inspect_quietly(write_folder(tmp_path / "s", {"a.png": b"junk", "b.jpg": b"x"}))
    assert report.count == 0
    assert len(report.bad_files) == 2
    assert "training refuses this data set" in report.warnings[0]
    assert "a.png" in render(report)
    assert inspect_quietly(tmp_path / "s").notes == (), "an empty entry of the cache is valid"


def test_pictures_that_cannot_be_decoded_count_and_decide_nothing(tmp_path):
    files = {f"{i}.png": encode(noise(10, 12, seed=i)) for i in range(5)}
    files |= {"big.png": encode(noise(90, 80))[:4000], "cut.jpg": encode(noise(64, 64, 3), "JPEG")[:2000]}
    report = inspect_quietly(write_folder(tmp_path / "s", files))
    assert (report.count, len(report.bad_files)) == (5, 2)
    assert (report.resolution, report.channels) == ((10, 12), 1)
    assert report.original_sizes == {"10x12": 5}
    assert report.colour_modes == {"L": 5}
    assert report.notes == ()


def test_names_with_control_characters_are_escaped(tmp_path):
    files = {f"a\nb\x1b[31m/{i}.png": encode(noise(8, 8, seed=i)) for i in range(2)}
    files |= {"c/x\x07\n.png": b"junk", "c/2.png": encode(noise(8, 8, seed=2)), "c/z.t\nx": b"junk"}
    for source in (write_folder(tmp_path / "s\nt", files), write_zip(tmp_path / "s.zip", files)):
        report = inspect_quietly(source)
        assert report.class_counts == {r"a\nb\x1b[31m": 2, "c": 1}
        assert report.bad_files[0][0] == r"c/x\x07\n.png"
        assert report.ignored_files == {r".t\nx": 1}
        text = render(report)
        assert not [name for name in ("a\nb", "s\nt", "\x07", "\x1b[31m") if name in text]


def test_one_class_and_empty_classes_give_warnings(tmp_path):
    write_idx(tmp_path / "one", noise(210, 8, 8), np.zeros(210))
    assert "only one class" in "\n".join(inspect_quietly(tmp_path / "one").warnings)
    write_idx(tmp_path / "gap", noise(210, 8, 8), np.arange(210) % 2 * 2)
    assert "Classes without images: 1 (1)." in inspect_quietly(tmp_path / "gap").warnings


def test_names_are_printed_as_they_are(tmp_path):
    """Square brackets in file names must not be interpreted as rich markup."""
    report = inspect_quietly(write_zip(tmp_path / "s.zip", {"[red]x[/nonsense].png": b"junk"}))
    assert "[red]x[/nonsense].png" in render(report)
