"""The frame of all methods, around one of NumPy alone; what each method makes of it is in test_methods.py."""

import dataclasses
from typing import ClassVar

import numpy as np
import pytest

import kerasticket as kt
from kerasticket.distillation import Method
from kerasticket.distillation.method import check_one_of, check_positive, check_rate
from kerasticket.files import checkpoint

pytestmark = pytest.mark.same_on_every_backend


@dataclasses.dataclass(frozen=True)
class Drift(Method):
    """Each step adds random numbers to all images; its loss is the number of the step."""

    name: ClassVar[str] = "drift"
    extends: ClassVar[str] = "iterations"
    iterations: int = 4
    learning_rate: float = 0.1
    momentum: float = 0.5
    model: str = "convnet"
    breaks_at: int | None = None

    @property
    def steps(self):
        return self.iterations

    def start(self, images, ipc, seed):
        return kt.data.random_real(images, ipc, seed)

    def begin(self, images, ipc, seed):
        start = self.start(images, ipc, seed)
        return start, Drifting(self, start.images.copy(), seed)


class Drifting:
    def __init__(self, settings, images, seed):
        self.settings, self.images, self.seed = settings, images, seed

    def step(self, index):
        drawn = np.random.default_rng([self.seed, index]).normal(size=self.images.shape).astype("float32")
        self.images = self.images + np.float32(self.settings.learning_rate) * drawn
        return float("nan") if index == self.settings.breaks_at else float(index)

    def state(self):
        return {"images": self.images}

    def restore(self, state):
        self.images = state["images"]


@pytest.fixture(scope="module")
def digits():
    return kt.data.load("digits", "train", images_per_class=4)


@pytest.fixture
def at_once(monkeypatch):
    """A checkpoint after each step."""
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)


def distilled(digits, path=None, seed=3, progress=None, **settings):
    return Drift(**settings).distill(digits, ipc=1, seed=seed, checkpoint=path, progress=progress)


def test_all_steps_are_done_and_told(digits):
    told = []
    made = distilled(digits, progress=lambda done, images, loss: told.append((done, images, loss)))
    assert [(done, loss) for done, _, loss in told] == [(1, 0.0), (2, 1.0), (3, 2.0), (4, 3.0)]
    np.testing.assert_array_equal(made.images, np.clip(told[-1][1], 0, 1))
    assert (told[-1][1] > 1).any()
    assert (made.method, made.seeds) == ("drift", {"distillation": 3})
    assert made.settings == dataclasses.asdict(Drift())
    assert made.images.dtype == np.float32


def test_progress_gets_images_of_its_own(digits):
    def spoil(done, images, loss):
        images[:] = np.nan

    np.testing.assert_array_equal(distilled(digits, progress=spoil).images, distilled(digits).images)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("killed_after", [1, 2, 4])
def test_a_killed_distillation_goes_on_to_the_same_images(killed_after, digits, tmp_path):
    def kill(done, images, loss):
        if done == killed_after:
            raise KeyboardInterrupt

    told = []
    with pytest.raises(KeyboardInterrupt):
        distilled(digits, tmp_path / "state.npz", progress=kill)
    made = distilled(digits, tmp_path / "state.npz", progress=lambda *state: told.append(state[0]))
    np.testing.assert_array_equal(made.images, distilled(digits).images)
    assert told == list(range(killed_after + 1, 5))


def test_a_longer_distillation_goes_on_from_a_shorter_one(digits, tmp_path):
    path = tmp_path / "state.npz"
    distilled(digits, path)
    made = distilled(digits, path, iterations=6)
    np.testing.assert_array_equal(made.images, distilled(digits, iterations=6).images)
    with pytest.raises(ValueError, match="at least the 6 steps that '.*state.npz' has behind it. Received: 4"):
        distilled(digits, path)


def test_another_distillation_is_refused_by_name(digits, tmp_path):
    """Of other settings, another seed, or other real images, though those that it began with may be the same."""
    path = tmp_path / "state.npz"
    distilled(digits, path)
    with pytest.raises(ValueError, match="another distillation: momentum was 0.5, is now 0.4"):
        distilled(digits, path, momentum=0.4)
    with pytest.raises(ValueError, match="seed was 3, is now 4"):
        distilled(digits, path, seed=4)
    changed = digits.images.copy()
    taken = {image.tobytes() for image in Drift().start(digits, 1, 3).images}
    other = next(i for i, image in enumerate(digits.to_float(slice(None))) if image.tobytes() not in taken)
    changed[other] = 255 - changed[other]
    with pytest.raises(ValueError, match="another distillation: data_sha256 was '[^;]*Go back"):
        distilled(dataclasses.replace(digits, images=changed), path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="damaged"):
        distilled(digits, path)


def test_a_state_that_the_method_cannot_take_is_refused(digits, tmp_path, monkeypatch):
    distilled(digits, tmp_path / "state.npz")
    monkeypatch.setattr(Drifting, "restore", lambda self, state: state["velocity"])
    with pytest.raises(ValueError, match="damaged file, or none of a distillation: 'velocity'. Delete it"):
        distilled(digits, tmp_path / "state.npz")


@pytest.mark.usefixtures("at_once")
def test_a_loss_that_is_not_finite_leaves_the_last_good_state(digits, tmp_path):
    path = tmp_path / "state.npz"
    with pytest.raises(FloatingPointError, match="nan at step 2 of 4.*lower learning_rate=0.1.*last good state"):
        distilled(digits, path, breaks_at=2)
    with np.load(path) as file:
        assert np.isfinite(file["state:images"]).all()
    with pytest.raises(FloatingPointError, match=r"not finite: lower learning_rate=1e\+39.$"):
        distilled(digits, learning_rate=1e39)


def test_a_method_says_what_it_must():
    with pytest.raises(TypeError, match="begin.*start.*steps"):
        Method()


def test_settings_are_checked():
    with pytest.raises(ValueError, match=r"Expected momentum to be one of \['fast'\]. Received: momentum=0.5"):
        check_one_of(Drift(), momentum=("fast",))
    with pytest.raises(
        ValueError, match="Expected model to be one of .*Received: model='convnets'. Did you mean 'convnet'"
    ):
        check_one_of(Drift(model="convnets"))
    with pytest.raises(ValueError, match="Expected iterations >= 1. Received: iterations=0"):
        check_positive(Drift(iterations=0), "iterations")
    for options in ({"learning_rate": 0.0}, {"momentum": 1.0}):
        with pytest.raises(ValueError, match="learning_rate > 0 and momentum in"):
            check_rate(Drift(**options))
