"""Data: real images, distilled sets, augmentation, and the tf.data pipelines that feed every backend."""

from kerasticket.data.augmentation.presets import (
    DIGITS,
    IDC_TRAINING,
    MATCHING,
    PAPER_CIFAR,
    PAPER_IMAGENET,
    RECIPES,
    Augmentation,
)
from kerasticket.data.baselines import mix, random_real
from kerasticket.data.distilled import DistilledSet
from kerasticket.data.formats import importers
from kerasticket.data.images import ImageSet
from kerasticket.data.pipeline import pipeline
from kerasticket.data.sets import distilled_sets
from kerasticket.data.sources.decoding import StreamedImages
from kerasticket.data.sources.folders import IMAGENET10
from kerasticket.data.sources.real import DATASETS, load, load_folder
from kerasticket.data.zca import ZCA

__all__ = [
    "DATASETS",
    "DIGITS",
    "IDC_TRAINING",
    "IMAGENET10",
    "MATCHING",
    "PAPER_CIFAR",
    "PAPER_IMAGENET",
    "RECIPES",
    "ZCA",
    "Augmentation",
    "DistilledSet",
    "ImageSet",
    "StreamedImages",
    "distilled_sets",
    "importers",
    "load",
    "load_folder",
    "mix",
    "pipeline",
    "random_real",
]
