"""The data doctor names what is there and what is wrong."""

import io
import json

import numpy as np
from making import encoded, noise, write_folder, write_idx, write_zip
from rich.console import Console

from ganvas.data import PictureOptions, inspect


def looked_at(path, **options):
    return inspect(PictureOptions(str(path), **options), progress=False)


def printed(report, width=100) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(report.render())
    return out.getvalue()


def test_a_folder_with_everything_wrong(tmp_path):
    files = {f"many/{index}.png": encoded(noise(20, 20, 3, seed=index)) for index in range(33)}
    files |= {f"few/{index}.png": encoded(noise(20, 24, seed=index)) for index in range(2)}
    files["few/copy.png"] = files["many/7.png"]
    files["many/black.png"] = encoded(np.zeros((12, 12), np.uint8))
    files["many/photo.png"] = encoded(noise(20, 20, 3, seed=99), "JPEG")
    files["many/page.jpg"] = b"<html>"
    files["many/empty.webp"] = b""
    files["many/notes.txt"] = b"x"
    report = looked_at(write_folder(tmp_path / "s", files), resolution="16")
    assert report.count == 38
    assert report.resolution == (16, 16)
    assert report.channels == 3
    assert report.sizes == {"20x20": 35, "20x24": 2, "12x12": 1}
    assert report.modes == {"RGB": 35, "L": 3}
    assert report.classes == {"few": 3, "many": 35}
    assert report.duplicates == (("few/copy.png", "many/7.png"),)
    assert report.blank == ("many/black.png",)
    assert dict(report.bad) == {
        "many/page.jpg": "not a picture: begins with '<html>'",
        "many/empty.webp": "an empty file",
    }
    assert report.ignored == {".txt": 1}
    assert report.misnamed == (("many/photo.png", "a JPEG named .png"),)
    told = "\n".join(report.wrong)
    for part in (
        "Bad files: 2 of 40 (5.0%).",
        "Few pictures: 38.",
        "many has 35 pictures, few 3",
        "Exact duplicates of other pictures: 1.\n    few/copy.png: equal to many/7.png",
        "of a single colour: 1 (many/black.png)",
        "Smaller than 16x16, and so enlarged: 1.",
        "Not what the extension says: 1.",
    ):
        assert part in told, part
    shown = " ".join(printed(report).split())
    assert "many/page.jpg: not a picture: begins with '<html>'" in shown
    assert json.loads(json.dumps(report.to_json()))["redundant"] == 1


def test_a_sound_set(tmp_path):
    write_idx(tmp_path / "s", noise(300, 8, 8), np.arange(300) % 3)
    report = looked_at(tmp_path / "s")
    assert report.wrong == ()
    assert report.classes == {"0": 100, "1": 100, "2": 100}
    assert report.form == "IDX files"
    assert "Nothing is wrong." in printed(report)


def test_duplicates_without_names_are_numbered(tmp_path):
    images = noise(300, 8, 8)
    images[[7, 8, 9]], images[200] = images[0], images[100]
    report = looked_at(write_idx(tmp_path / "s", images))
    assert report.duplicates == (("picture 0", "picture 7", "picture 8", "picture 9"), ("picture 100", "picture 200"))
    assert report.redundant == 4


def test_nothing_but_bad_files_is_listed_not_refused(tmp_path):
    report = looked_at(write_folder(tmp_path / "s", {"a.png": b"junk", "b.jpg": b""}))
    assert report.count == 0
    assert len(report.bad) == 2
    assert "`train` refuses the set" in report.wrong[0]
    assert "a.png" in printed(report)


def test_one_class_and_empty_classes(tmp_path):
    write_idx(tmp_path / "one", noise(210, 8, 8), np.zeros(210))
    assert "one class only" in "\n".join(looked_at(tmp_path / "one").wrong)
    write_idx(tmp_path / "gap", noise(210, 8, 8), np.arange(210) % 2 * 2)
    assert "Classes without a picture: 1 (1)." in looked_at(tmp_path / "gap").wrong


def test_names_are_printed_as_they_are(tmp_path):
    """Square brackets are markup to rich, and must not be when they come from a file name."""
    report = looked_at(write_zip(tmp_path / "s.zip", {"[red]x[/nonsense].png": b"junk"}))
    assert "[red]x[/nonsense].png" in printed(report)
