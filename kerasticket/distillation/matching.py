"""Gradient matching with multi-formation: IDC (Kim et al. 2022, "Dataset Condensation via Efficient
Synthetic-Data Parameterization"), with DC and DSA (Zhao et al. 2021, Zhao & Bilen 2021) as settings of it.

Images are optimized so that the gradient of a network's loss on them equals its gradient on real images of
the same class, along the path of networks that are trained: on real data (IDC), or on the images (DC, DSA).
"""

import dataclasses
from pathlib import Path
from typing import Any, ClassVar

from kerasticket.data import IDC_TRAINING, MATCHING, Augmentation, DistilledSet, ImageSet
from kerasticket.distillation.initialization import INITIALIZATIONS, check_matching, starting_images
from kerasticket.distillation.loop import Progress, finished, run
from kerasticket.distillation.matcher import DISTANCES, OBJECTIVES, Matcher
from kerasticket.models import MODELS


@dataclasses.dataclass(frozen=True)
class GradientMatching:
    """IDC's settings; the defaults are those of its authors' code for CIFAR-10 at 10 images per class.

    Attributes:
        factor: multi-formation: a stored image is decoded into factor x factor training images.
        initialization: "mix" (real images in the cells), "random" (real images), "noise".
        resize: how "mix" shrinks real images, "nearest" as IDC, "area" or "bilinear".
        networks: how many fresh networks the images are matched on, one after the other (outer loop).
        iterations: matching steps per network, each over all classes (inner loop).
        learning_rate: of the images, SGD. IDC's base rate for CIFAR (.005) times ipc / 10 times
            (side / 32)^2; in pixels of [0, 1].
        normalized_rate: whether `learning_rate` is of normalized pixels, as in DC and DSA.
        momentum: of the images' SGD.
        together: whether all classes step at once, as in DC and DSA; else one after the other, as in IDC.
        objective: what is compared, a name in `OBJECTIVES`: "gradients" of the loss in kernels, or the mean
            "features" that the last layer gets, which needs no second derivative.
        classifier: whether the gradient of the classifier's kernel is matched too; biases and norms never are.
        distance: a name in `DISTANCES`.
        real_batch: real images per class and step.
        decoded_batch: at most so many decoded images per class and step, chosen at random.
        early_images: real images that a fresh network is trained on before it is matched on: 10 passes in IDC
            on ImageNet-10.
        net_images: real images that the network is trained on after each matching step.
        synthetic_passes: passes over the synthetic images that it is trained on after each matching step.
        net_batch, net_learning_rate, net_momentum, net_l2: of that training.
        matching: augmentation of the matched images, one draw for real and synthetic.
        training: augmentation of the network's training.
        model, width: the network, a name in `kerasticket.models.MODELS`.
    """

    name: ClassVar[str] = "idc"
    factor: int = 2
    initialization: str = "mix"
    resize: str = "nearest"
    networks: int = 2000
    iterations: int = 100
    learning_rate: float = 0.005
    normalized_rate: bool = False
    momentum: float = 0.5
    together: bool = False
    objective: str = "gradients"
    classifier: bool = False
    distance: str = "mse"
    real_batch: int = 64
    decoded_batch: int = 128
    early_images: int = 0
    net_images: int = 2000
    synthetic_passes: int = 0
    net_batch: int = 64
    net_learning_rate: float = 0.01
    net_momentum: float = 0.9
    net_l2: float = 5e-4
    matching: Augmentation = MATCHING
    training: Augmentation | None = IDC_TRAINING
    model: str = "convnet"
    width: int = 128

    def __post_init__(self):
        for name, known in (
            ("distance", list(DISTANCES)),
            ("objective", list(OBJECTIVES)),
            ("initialization", list(INITIALIZATIONS)),
            ("model", list(MODELS)),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"Expected {name} among {known}. Received: {name}={getattr(self, name)!r}")
        if not (self.learning_rate > 0 and 0 <= self.momentum < 1):
            raise ValueError(
                "Expected learning_rate > 0 and momentum in [0, 1). Received: "
                f"learning_rate={self.learning_rate}, momentum={self.momentum}"
            )
        for name in ("factor", "networks", "iterations", "real_batch", "decoded_batch", "net_batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"Expected {name} >= 1. Received: {name}={getattr(self, name)}")
        for name in ("net_images", "early_images"):
            if getattr(self, name) < self.net_batch and getattr(self, name) != 0:
                raise ValueError(
                    f"Expected {name} of 0, or at least net_batch={self.net_batch}. "
                    f"Received: {name}={getattr(self, name)}"
                )
        if self.synthetic_passes < 0:
            raise ValueError(f"Expected synthetic_passes >= 0. Received: {self.synthetic_passes}")
        check_matching(self.matching)
        if (self.distance, self.objective) == ("cosine", "features"):
            raise ValueError(
                "Expected distance 'mse' or 'l1' for features: 'cosine' compares the gradients of output units. "
                "Received: distance='cosine', objective='features'"
            )

    def distill(
        self,
        images: ImageSet,
        *,
        ipc: int,
        seed: int,
        progress: Progress | None = None,
        checkpoint: str | Path | None = None,
    ) -> DistilledSet:
        """Distils real images into `ipc` stored images per class; a pure function of the first three arguments.

        Args:
            images: real training images.
            ipc: stored images per class.
            seed: of batches, augmentation and networks. The starting images of "mix" are the first of each
                class, as in IDC.
            progress: called after each matching step with (steps done, the images, mean matching loss); there
                are networks * iterations of them.
            checkpoint: a file to go on from after a kill, see `kerasticket.distillation.loop`.

        Raises:
            ValueError: a class has too few images, the factor does not fit the image size, the network has no
                convolutions or keeps statistics, or the checkpoint is of another distillation.
            FloatingPointError: the matching loss is not finite.

        Example:

        >>> import kerasticket as kt
        >>> method = GradientMatching(networks=1, iterations=2, real_batch=4, net_images=64, width=4)
        >>> method.distill(kt.data.load("digits"), ipc=1, seed=0).images.shape
        (10, 16, 16, 1)
        """
        start = self.start(images, ipc, seed)
        matcher = Matcher(self, images, start.images.copy(), ipc, seed)
        run(
            self,
            start,
            matcher,
            real=images,
            steps=self.steps,
            seed=seed,
            extends="networks",
            progress=progress,
            checkpoint=checkpoint,
        )
        return finished(self, start, matcher.images, seed)

    @property
    def steps(self) -> int:
        """How often `progress` is called: the matching steps in all."""
        return self.networks * self.iterations

    def start(self, images: ImageSet, ipc: int, seed: int) -> DistilledSet:
        """The images before the first step."""
        return starting_images(
            images, ipc, seed, initialization=self.initialization, factor=self.factor, resize=self.resize
        )


def dc(ipc: int, **changes: Any) -> GradientMatching:
    """DC, "Dataset Condensation with Gradient Matching" (Zhao et al. 2021), in its authors' settings but one.

    Noise becomes images without augmentation; a network is matched and trained on them in turns. Here images stay in
    [0, 1], cut after each step, where the authors let normalized pixels run free: their published set loses 2 points
    of accuracy when it is cut so.

    Args:
        ipc: images per class, which says how long each network is matched and trained.
        changes: fields of `GradientMatching` that shall differ.

    Raises:
        ValueError: `ipc` is below 1, or a change is out of range.

    Example:

    >>> dc(10).iterations, dc(10).synthetic_passes
    (10, 50)
    """
    if ipc < 1:
        raise ValueError(f"Expected ipc >= 1. Received: ipc={ipc}")
    matched, trained = LOOPS[max(known for known in LOOPS if known <= ipc)]
    settings: dict[str, Any] = {
        "factor": 1,
        "initialization": "noise",
        "networks": 1000,
        "iterations": matched,
        "learning_rate": 0.1,
        "normalized_rate": True,
        "together": True,
        "classifier": True,
        "distance": "cosine",
        "real_batch": 256,
        "decoded_batch": 10**9,
        "net_images": 0,
        "synthetic_passes": trained,
        "net_batch": 256,
        "net_momentum": 0.0,
        "net_l2": 0.0,
        "matching": Augmentation(siamese=True),
        "training": None,
    }
    return GradientMatching(**(settings | changes))


def dsa(ipc: int, **changes: Any) -> GradientMatching:
    """DSA, "Dataset Condensation with Differentiable Siamese Augmentation" (Zhao & Bilen 2021).

    DC that begins with real images and augments. Theirs draws one of six operations; here, all of IDC's
    matching augmentation and the mirror apply at once.

    Example:

    >>> dsa(1).initialization, dsa(1).matching.flip
    ('random', True)
    """
    training = Augmentation(flip=True, color=True, one_of=("crop",), cutout=True)
    matching = dataclasses.replace(training, siamese=True)
    return dc(ipc, **({"initialization": "random", "matching": matching, "training": training} | changes))


# DC's `get_loops`: from images per class to (matching steps per network, passes over the synthetic images after
# each of them).
LOOPS = {1: (1, 1), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10)}
