"""The images of a study: real ones of both splits and a distilled set, in one space, with one order of classes."""

import dataclasses
from typing import Any, NamedTuple

import kerasticket as kt
from kerasticket.data.classes import check_same, in_the_order_of
from kerasticket.data.digest import digest
from kerasticket.data.sets import file_of
from kerasticket.experiments.config import Config

Images = kt.data.ImageSet | kt.data.StreamedImages | kt.data.DistilledSet  # the last: whitened real images
DIGESTS = ("train_sha256", "test_sha256")  # of the real data; runs of earlier versions have none


class StudyImages(NamedTuple):
    """All images of a study.

    Attributes:
        train, test: real images, in the space of the distilled set.
        distilled: the distilled set; None where no search needs one.
        digests: `DIGESTS` of the real images before they are whitened, whose bits depend on the machine.
    """

    train: Images
    test: Images
    distilled: kt.data.DistilledSet | None
    digests: dict[str, str]


@dataclasses.dataclass(frozen=True)
class Own:
    """Images of the caller's, in place of those that the configuration names.

    Attributes:
        train, test: real images; None: `Config.dataset`.
        distilled: a distilled set; None: `Config.distilled`.
    """

    train: kt.data.ImageSet | None = None
    test: kt.data.ImageSet | None = None
    distilled: kt.data.DistilledSet | None = None


def own_images(train: Any, test: Any, distilled: kt.data.DistilledSet | None = None) -> Own:
    """Pairs (images, labels) of arrays, or image sets; test images are standardized as the training images are.

    Raises:
        ValueError: one of the two alone, or arrays that `ImageSet.from_arrays` refuses.
    """
    if (train is None) != (test is None):
        raise ValueError(
            f"Expected both train and test, (images, labels) each, or neither. "
            f"Received: {'test' if train is None else 'train'} alone."
        )
    if train is None:
        return Own(distilled=distilled)
    first = train if isinstance(train, kt.data.ImageSet) else kt.data.ImageSet.from_arrays(*_pair(train, "train"))
    if isinstance(test, kt.data.ImageSet):
        return Own(first, test, distilled)
    pair = _pair(test, "test")
    return Own(first, kt.data.ImageSet.from_arrays(*pair, mean=first.mean, std=first.std), distilled)


def load_data(config: Config, own: Own = Own()) -> StudyImages:
    """The images of a study.

    Whatever kinds there are: with others added later, all results of a run are of one space.
    """
    train = _real(config, own, "train", config.images_per_class)
    test = _real(config, own, "test", None)
    check_same(train.class_names, test.class_names, "the training images", "the test images")
    test = in_the_order_of(test, train.class_names, "the training images")
    digests = dict(zip(DIGESTS, map(digest, (train, test)), strict=True))
    distilled = own.distilled or _load_distilled(config)
    if distilled and "synthetic" in config.kinds:
        distilled = in_the_order_of(distilled, train.class_names, f"the real data of {train.source!r}")
    if distilled:
        train, test = _in_the_space_of(distilled, config, own, train, test)
        if "synthetic" in config.kinds:
            distilled.check_matches(train)
    return StudyImages(train, test, distilled, digests)


def _pair(arrays: Any, name: str) -> Any:
    if not isinstance(arrays, (tuple, list)) or len(arrays) not in (2, 3):
        raise ValueError(f"Expected {name}=(images, labels), or with class names third. Received: {type(arrays)}.")
    return arrays


def _real(config: Config, own: Own, split: str, images_per_class: int | None) -> Images:
    images = getattr(own, split)
    if images is not None:
        return images if images_per_class is None else images.subset(images_per_class, 0)
    return kt.data.load(
        config.dataset,
        split,
        images_per_class=images_per_class,
        data_dir=config.data_dir,
        image_size=config.image_size,
    )


def _in_the_space_of(
    distilled: kt.data.DistilledSet, config: Config, own: Own, train: Images, test: Images
) -> list[Images]:
    """Real images as networks of the distilled set's space take them: whitened for ZCA, else as they are."""
    if distilled.space != "zca":
        return [train, test]
    every = _in_memory(_real(config, own, "train", None))
    zca = kt.data.ZCA.fit(every, distilled.zca["epsilon"])
    return [zca.whiten(_in_memory(images)) for images in (train, test)]


def _in_memory(images: Images) -> kt.data.ImageSet:
    if not isinstance(images, kt.data.ImageSet):
        raise ValueError(f"Distilled images in ZCA space need real ones in memory. Received: {type(images).__name__}")
    return images


def _load_distilled(config: Config) -> kt.data.DistilledSet | None:
    """The distilled set; it may be absent where no search uses it, but counts as part of the run if it is there."""
    if file_of(config.distilled) is None:
        if "synthetic" not in config.kinds:
            return None
        preset = {"cifar10": " --preset cifar10-cpu", "digits": ""}.get(config.dataset, "")
        size = f" --image-size {config.image_size}" if config.image_size else ""
        augmentation = "" if preset else f" --augmentation {config.augmentation}"
        raise ValueError(
            f"Expected a distilled set (HDF5). Received: --distilled '{config.distilled}': no such file. Make one, "
            f"e.g. python scripts/distill_dataset.py{preset} --dataset {config.dataset}{size}{augmentation} --out "
            f"{config.distilled}"
        )
    return kt.data.DistilledSet.load(config.distilled)
