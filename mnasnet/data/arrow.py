"""Pixels where Pillow decoded them, by the Arrow C data interface that its images offer since version 11.2.

``numpy.array`` packs and copies an image piece by piece while all other threads of Python wait, those that classify a
folder's other photos among them. Nothing is copied here.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CHANNELS = 4  # of an RGB image as Pillow keeps it: the fourth byte means nothing


class _Schema(ctypes.Structure):
    _fields_ = (  # https://arrow.apache.org/docs/format/CDataInterface.html
        ("format", ctypes.c_char_p),
        ("name", ctypes.c_char_p),
        ("metadata", ctypes.c_char_p),
        ("flags", ctypes.c_int64),
        ("n_children", ctypes.c_int64),
        ("children", ctypes.c_void_p),
        ("dictionary", ctypes.c_void_p),
        ("release", ctypes.c_void_p),
        ("private_data", ctypes.c_void_p),
    )


class _Array(ctypes.Structure):
    """A C struct of Arrow; it refers to itself."""


_Array._fields_ = (
    ("length", ctypes.c_int64),
    ("null_count", ctypes.c_int64),
    ("offset", ctypes.c_int64),
    ("n_buffers", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(_Array))),
    ("dictionary", ctypes.c_void_p),
    ("release", ctypes.c_void_p),
    ("private_data", ctypes.c_void_p),
)


# a function of our own: ctypes.pythonapi is everybody's, and so are the types that are set there
_pointer_in = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


def shared_pixels(image: Image.Image) -> tuple[NDArray[np.uint8], object] | None:
    """The memory of an RGB ``image``, H x W x 4, and what must be kept for as long as it is read.

    None where Pillow does not share it: an older one, an image above 16 MB, which lies in several pieces.
    """
    try:
        schema, array = image.__arrow_c_array__()
    except (AttributeError, ValueError, MemoryError):
        return None
    pixels = _struct(array, b"arrow_array", _Array)
    if (
        _struct(schema, b"arrow_schema", _Schema).format != f"+w:{CHANNELS}".encode()  # lists of four bytes
        or (pixels.length, pixels.offset, pixels.n_children) != (image.width * image.height, 0, 1)
    ):
        return None
    values = pixels.children[0].contents
    if (values.length, values.offset, values.n_buffers) != (image.width * image.height * CHANNELS, 0, 2):
        return None
    memory = (ctypes.c_uint8 * values.length).from_address(values.buffers[1])
    return np.frombuffer(memory, np.uint8).reshape(image.height, image.width, CHANNELS), array


def _struct(capsule: object, name: bytes, kind: type[Any]) -> Any:
    return ctypes.cast(_pointer_in(capsule, name), ctypes.POINTER(kind)).contents
