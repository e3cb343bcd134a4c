"""What a file is, by its first bytes; and what to do with formats that Ganvas does not read."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ganvas.errors import GanvasError

HEAD_BYTES = 512
"""As many first bytes tell every format here."""

_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"PAR1", "Parquet"),
    (b"ARROW1", "Arrow"),
    (b"\x89HDF\r\n\x1a\n", "HDF5"),
    (b"8BPS", "PSD"),
    (b"gimp xcf", "XCF"),
    (b"%PDF-", "PDF"),
    (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "PostScript"),
    (b"v/1\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"DDS ", "DDS"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!\x1a\x07", "RAR"),
    (b"\x28\xb5\x2f\xfd", "Zstandard"),
    (b"PK\x03\x04", "zip"),
    (b"\x1aE\xdf\xa3", "Matroska"),
    (b"FLV\x01", "FLV"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "ASF"),
    (b"\0\0\x01\xba", "MPEG"),
    (b"NRRD", "NRRD"),
)
IMAGE_FORMATS = frozenset(("JPEG", "PNG", "GIF", "TIFF", "JPEG 2000", "BMP", "WebP", "PNM", "AVIF", "HEIC"))
VIDEO_FORMATS = {
    "Matroska": "matroska",
    "FLV": "flv",
    "ASF": "asf",
    "MPEG": "mpeg",
    "AVI": "avi",
    "MP4": "mov",
    "MPEG-TS": "mpegts",
}
"""Format -> FFmpeg's name of it."""


def detect_format(head: bytes) -> str:
    """The name of a format, or an empty string."""
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return "camera raw" if name == "TIFF" and head[8:10] == b"CR" else name
    if head[:2] == b"BM" and head[6:10] == bytes(4) and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    if head[:4] == b"RIFF":
        return {b"WEBP": "WebP", b"AVI ": "AVI"}.get(head[8:12], "")
    if head[4:8] == b"ftyp":
        return _detect_box(head[8:12])
    if head[4:8] in (b"moov", b"mdat", b"wide"):
        return "MP4"
    if re.match(rb"P[1-6]\s+(#[^\n]*\n\s*)*\d+\s", head):
        return "PNM"
    if head[128:132] == b"DICM":
        return "DICOM"
    if head[16:20] in (b"\xde\xc0\xef\xbe", b"\xbe\xef\xc0\xde"):
        return "LMDB"
    if len(head) > 376 and head[0] == head[188] == head[376] == 0x47:
        return "MPEG-TS"
    if re.match(rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?(<!DOCTYPE svg[^>]*>\s*)?<svg\b", head, re.S):
        return "SVG"
    return ""


_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)


def _detect_box(brand: bytes) -> str:
    if brand in (b"avif", b"avis"):
        return "AVIF"
    if brand == b"crx ":
        return "camera raw"
    if brand[:3] in (b"hei", b"hev") or brand in (b"mif1", b"msf1"):
        return "HEIC"
    return "MP4"


def looks_like_image(head: bytes) -> bool:
    """Whether a file that begins so is an image of a kind that is read."""
    return detect_format(head) in IMAGE_FORMATS


@dataclass(frozen=True)
class Unread:
    """A format that is not read, and what to do."""

    title: str
    fix: str


_TO_FOLDER = "convert them to JPEG or PNG first"
_UNREAD = {
    "DICOM": Unread(
        "DICOM",
        "convert each with: from pydicom import dcmread; x = dcmread(path).pixel_array;"
        " PIL.Image.fromarray(x.astype('uint16')).save(path + '.png')",
    ),
    "camera raw": Unread("camera raw files", "develop them to JPEG first, for example with darktable-cli IN OUT.jpg"),
    "PSD": Unread("Photoshop files", "export them as PNG first, for example with: magick 'IN[0]' OUT.png"),
    "XCF": Unread("GIMP files", "export them as PNG first"),
    "PDF": Unread("PDF", "render the pages first: pdftoppm -png IN.pdf OUT"),
    "PostScript": Unread("PostScript", "render them first: gs -sDEVICE=png16m -r150 -o OUT-%03d.png IN"),
    "SVG": Unread("drawings of vectors", "render them first: rsvg-convert -w 256 IN.svg -o OUT.png"),
    "OpenEXR": Unread("OpenEXR", f"{_TO_FOLDER}, with a tone curve of your choice"),
    "Radiance HDR": Unread("Radiance HDR", f"{_TO_FOLDER}, with a tone curve of your choice"),
    "DDS": Unread("textures", f"{_TO_FOLDER}: PIL.Image.open(path).save(path + '.png')"),
    "NRRD": Unread("volumes", "save slices with numpy: numpy.save('slices.npy', uint8 [n height width])"),
    "NIfTI": Unread(
        "volumes",
        "save slices: x = nibabel.load(path).get_fdata(); x = (x - x.min()) / (x.max() - x.min()) * 255;"
        " numpy.save('slices.npy', x.round().astype('uint8').transpose(2, 0, 1))",
    ),
    "HDF5": Unread(
        "HDF5",
        "write an npz with Python: import h5py, numpy; f = h5py.File(PATH); print(list(f));"
        " numpy.savez('data.npz', images=f['images'][:], labels=f['labels'][:]) with the names that it prints",
    ),
    "LMDB": Unread(
        "LMDB",
        "write a folder with Python: import lmdb; t = lmdb.open(PATH, readonly=True, lock=False).begin();"
        " [open(f'images/{i:08}.img', 'wb').write(v) for i, (k, v) in enumerate(t.cursor())]"
        " (after mkdir images; each value must be an encoded image)",
    ),
    "TFRecord": Unread(
        "TFRecord",
        "write a folder with Python: import tensorflow as tf; for i, r in enumerate(tf.data.TFRecordDataset(PATHS)):"
        " e = tf.train.Example.FromString(r.numpy()).features.feature;"
        " open(f'images/{i:08}.img', 'wb').write(e['image/encoded'].bytes_list.value[0]) (list(e) has the names)",
    ),
    "7z": Unread("7z archives", "unpack them and give the folder"),
    "RAR": Unread("RAR archives", "unpack them and give the folder"),
    "Zstandard": Unread("Zstandard files", "unpack them first: unzstd FILE"),
    "zip": Unread("zips inside", "unpack the inner zips and give the folder, or give the path of one of them"),
    "tar": Unread("tars inside", "unpack them and give the folder, or give the path of one of them"),
    "video": Unread("videos", "give the path of one video as --data"),
    "pickle": Unread("pickles, which can run programs", "write an .npz with numpy.savez in the program that made them"),
    "arrays": Unread("arrays", "give the path of the file itself"),
}
_BY_SUFFIX = {
    f".{suffix}": kind
    for kind, suffixes in {
        "DICOM": "dcm dicom",
        "camera raw": "cr2 cr3 nef arw dng orf rw2 raf pef srw",
        "PSD": "psd",
        "XCF": "xcf",
        "PDF": "pdf",
        "PostScript": "ps eps ai",
        "SVG": "svg",
        "OpenEXR": "exr",
        "Radiance HDR": "hdr",
        "DDS": "dds tga ico",
        "NRRD": "nrrd mha",
        "NIfTI": "nii",
        "HDF5": "h5 hdf5 hdf",
        "LMDB": "mdb lmdb",
        "TFRecord": "tfrecord tfrecords",
        "7z": "7z",
        "RAR": "rar",
        "zip": "zip",
        "tar": "tar tgz tbz2 txz",
        "video": "mp4 m4v mov avi mkv webm mpg mpeg wmv flv 3gp",
        "pickle": "pkl pickle",
        "arrays": "npy npz parquet arrow",
    }.items()
    for suffix in suffixes.split()
}


def name_unread(extension: str) -> Unread | None:
    """What the files of an extension, such as `.dcm` or `(DICOM)`, are, if they hold images that are not read."""
    return _UNREAD.get(_BY_SUFFIX.get(extension, extension.strip("()")))


def unread_notes(ignored: Mapping[str, int]) -> tuple[str, ...]:
    """A sentence for each kind of ignored file that may hold images."""
    found = [(extension, count, name_unread(extension)) for extension, count in ignored.items()]
    return tuple(f"Not read: {count} {ext} ({kind.title}); {kind.fix}." for ext, count, kind in found if kind)


def kind_of_ignored(name: str, head: bytes) -> str:
    """How a file that is not read is counted: by its content if that says more than its name."""
    suffix = PurePosixPath(name).suffix.lower()
    format = detect_format(head)
    known = format in _UNREAD and suffix not in _BY_SUFFIX
    if known or _is_tfrecord_name(name):
        return f"({format or 'TFRecord'})"
    return suffix if 0 < len(suffix) <= 12 else "(no extension)"


def _is_tfrecord_name(name: str) -> bool:
    return re.search(r"\.tfrecords?(-\d+-of-\d+)?(\.gz)?$", name, re.I) is not None


def refuse_unread(path: Path, head: bytes) -> None:
    """Raises GanvasError with the way out for a file of a known format that is not read."""
    format = detect_format(head)
    kind = _UNREAD.get("TFRecord" if _is_tfrecord_name(path.name) else format)
    if kind is None and not format:
        kind = name_unread(path.suffix.lower()) if path.suffix.lower() in (".nii", ".pkl", ".pickle", ".mha") else None
    if kind is not None:
        raise GanvasError(
            f"{path} has no format that Ganvas reads: {kind.title}.",
            expected="images in a folder, zip or tar, arrays, Parquet or a video",
            fix=f"{kind.fix}.",
        )
