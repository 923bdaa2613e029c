"""What a file is, by what it holds rather than by its name: to tell who gave the wrong one."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

LFS = "run `git lfs pull`, which puts the file in its place"
"""How to go on from a pointer of Git LFS."""

_BEGINNINGS: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself", LFS),
    (b"<!doctype", "a web page", "download the file itself: the page is about it, or an error"),
    (b"<html", "a web page", "download the file itself: the page is about it, or an error"),
    (b"\x1f\x8b", "compressed by gzip", "unpack it"),
    (b"BZh", "compressed by bzip2", "unpack it"),
    (b"\xfd7zXZ", "compressed by xz", "unpack it"),
    (b"\x93numpy", "an .npy file, one array of NumPy", ""),
    (b"par1", "a Parquet file", ""),
    *(
        (
            b"\x80" + bytes([version]),
            "a pickle of Python, which is not opened: it could run code",
            "",
        )
        for version in range(2, 6)
    ),
)
"""What files begin with, in lower case; what they are, and what to do if that is known."""

_ENDINGS = {
    ".onnx": "an ONNX model",
    ".safetensors": "a file of tensors without a model (safetensors)",
    ".pb": "a graph of TensorFlow (.pb)",
    ".tflite": "a TensorFlow Lite model",
    ".pt": "a PyTorch file",
    ".pth": "a PyTorch file",
    ".ckpt": "a checkpoint of TensorFlow, weights without a model",
    ".index": "a checkpoint of TensorFlow, weights without a model",
}
"""Endings of files whose content tells less."""


def kind_of(content: bytes, path: Path) -> tuple[str, str] | None:
    """Return what a file is and what to do; None where that is not known.

    Args:
        content: What it holds.
        path: Its name, which tells where the content does not.
    """
    if not content:
        return "an empty file", "copy or download it again"
    if content[4:8] == b"TFL3":
        return _ENDINGS[".tflite"], ""
    if zipfile.is_zipfile(io.BytesIO(content)):
        return _archive(content)
    if path.suffix.lower() in _ENDINGS:
        return _ENDINGS[path.suffix.lower()], ""
    head = content[:64].lstrip().lower()
    for beginning, what, todo in _BEGINNINGS:
        if head.startswith(beginning):
            return what, todo
    if content[257:262] == b"ustar":
        return "a tar archive", "unpack it"
    if head.startswith(b"{") and b'"class_name"' in content:
        return "the configuration of a model, without its weights", ""
    return None


def _archive(content: bytes) -> tuple[str, str]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
    if any(name.endswith("data.pkl") for name in names):
        return _ENDINGS[".pt"], ""
    if names and all(name.endswith(".npy") for name in names):
        return "an .npz file, arrays of NumPy", ""
    return "a zip archive of other files", "unpack it"
