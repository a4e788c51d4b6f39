"""TensorFlow Datasets on disk: labels first, then only the chosen images are decoded."""

import os
import socket
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np

from kerasticket.data.classes import numbered
from kerasticket.data.images import ImageSet
from kerasticket.data.sources.decoding import StreamedImages, decode, fill
from kerasticket.data.tensorflow_ops import plain, tensorflow

PROBE_SECONDS = 10


class Archive:
    """One split of a TensorFlow Datasets data set.

    Args:
        name: as TFDS names it, such as "imagenette/160px-v2".
        split: as TFDS names it.
        data_dir: TFDS folder; None: the environment's TFDS_DATA_DIR, then TFDS' default.
        url: where TFDS downloads the data from; None refuses to download.

    Raises:
        ValueError: if the data are absent and cannot be downloaded; names the folder that was looked in.
    """

    def __init__(self, name: str, split: str, data_dir: str | None, url: str | None) -> None:
        import tensorflow_datasets as tfds

        self.name, self.split = name, split
        with quiet():
            self.builder = tfds.builder(name, data_dir=data_dir or os.environ.get("TFDS_DATA_DIR"), try_gcs=False)
            prepared = self.builder.is_prepared()
        if not prepared:
            self._download(url)

    def _download(self, url: str | None) -> None:
        folder = Path(self.builder.data_dir)
        absent = f"The data set {self.name!r} is not in {folder}"
        remedy = "Set data_dir or TFDS_DATA_DIR to a TFDS folder that holds it, or connect to the network."
        if url is None:
            raise ValueError(f"{absent}, and download=False. {remedy}")
        try:
            probe(url)
            self.builder.download_and_prepare()
        except Exception as error:  # TFDS raises whatever its downloader, reader or file system raises
            raise ValueError(f"{absent}, and downloading it from {url} failed: {error!r}. {remedy}") from error

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the labels; numbers where the data set has whole numbers without names."""
        names = getattr(self.builder.info.features["label"], "names", None)
        return tuple(names) if names else numbered(int(self.labels.max()) + 1)

    @property
    def source(self) -> str:
        """Name, version and split."""
        return f"{self.name}:{self.builder.info.version}/{self.split}"

    def image_shape(self, image_size: int | None) -> tuple[int, int, int]:
        """(height, width, channels) of the images: as stored, or square of `image_size`."""
        height, width, channels = self.builder.info.features["image"].shape
        return (height, width, channels) if image_size is None else (image_size, image_size, channels)

    def _records(self, fields: dict):
        """A tf.data pipeline of the chosen fields, images still encoded, always in the same order."""
        import tensorflow_datasets as tfds

        skip = {"image": tfds.decode.SkipDecoding()} if "image" in fields else None
        with quiet():
            return self.builder.as_dataset(
                split=self.split,
                shuffle_files=False,
                decoders=tfds.decode.PartialDecoding(fields, decoders=skip),
                read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
            )

    @cached_property
    def labels(self) -> np.ndarray:
        """int64 (n,), without touching an image."""
        records = self._records({"label": True}).batch(4096)
        try:
            batches = [batch["label"] for batch in records.as_numpy_iterator()]
        except tensorflow().errors.OpError as error:
            raise ValueError(
                f"The files of {self.source} in {self.builder.data_dir} are damaged or missing: {error.message}. "
                "Delete that folder, so that they are downloaded again."
            ) from error
        return np.concatenate(batches).astype(np.int64)

    def _encoded(self, chosen: np.ndarray):
        tf = tensorflow()
        wanted = np.zeros(len(self.labels), bool)
        wanted[chosen] = True
        keep = tf.data.Dataset.from_tensor_slices(wanted)
        records = tf.data.Dataset.zip(self._records({"image": True}), keep)
        chosen_records = records.filter(plain(lambda record, wanted: wanted))
        return chosen_records.map(plain(lambda record, wanted: record["image"]))

    def load(self, chosen: np.ndarray, shape: tuple[int, int, int], mean, std) -> ImageSet:
        """The chosen images (positions in ascending order), decoded."""
        decoded = self._encoded(chosen).map(plain(lambda encoded: decode(encoded, *shape)), tensorflow().data.AUTOTUNE)
        images = fill(decoded, len(chosen), shape, self.source)
        return ImageSet(images, self.labels[chosen], self.class_names, self.source, mean, std)

    def stream(self, chosen: np.ndarray, shape: tuple[int, int, int], mean, std) -> StreamedImages:
        """The chosen images still encoded."""
        encoded = np.array(list(self._encoded(chosen).as_numpy_iterator()), dtype=object)
        return StreamedImages(encoded, self.labels[chosen], self.class_names, self.source, mean, std, shape)


@contextmanager
def quiet() -> Iterator[None]:
    """Holds back TFDS' warnings about its own deprecated names and absent folders."""
    from absl import logging

    level = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(level)


def probe(url: str) -> None:
    """Raises OSError within `PROBE_SECONDS` if the host cannot be reached; TFDS itself retries for minutes.

    Behind a proxy nothing is probed, as the host need not be reachable directly.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme in urllib.request.getproxies():
        return
    port = {"http": 80, "https": 443}[parts.scheme]
    socket.create_connection((parts.hostname, port), timeout=PROBE_SECONDS).close()
