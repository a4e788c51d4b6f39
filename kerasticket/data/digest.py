"""A digest of data, which belongs to all that can be gone on with: the same name may be of other images tomorrow."""

import hashlib

from kerasticket.data.distilled import DistilledSet
from kerasticket.data.images import ImageSet
from kerasticket.data.sources.decoding import StreamedImages


def digest(data: DistilledSet | ImageSet | StreamedImages) -> str:
    """SHA-256 of images and labels; of images that are not in memory, of their files, each of which is read once.

    Raises:
        ValueError: a file cannot be read.
    """
    if not isinstance(data, StreamedImages):
        return hashlib.sha256(data.images.tobytes() + data.labels.tobytes()).hexdigest()
    found = hashlib.sha256(repr(data.input_shape).encode() + data.labels.tobytes())
    for file in data.files:
        found.update(hashlib.sha256(file if isinstance(file, bytes) else _content(file)).digest())
    return found.hexdigest()


def _content(file: str) -> bytes:
    try:
        with open(file, "rb") as opened:
            return opened.read()
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from error
