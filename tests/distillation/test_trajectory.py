"""Trajectory matching: its derivatives, experts kept on disk, and that it brings students nearer to their targets."""

import dataclasses

import numpy as np
import pytest
from keras import ops

import kerasticket as kt
from kerasticket.distillation import TrajectoryMatching, experts, record_experts
from kerasticket.distillation.student import FORMS, Student, distance
from kerasticket.distillation.trajectory import _Matcher

pytestmark = pytest.mark.usefixtures("plain_operations")

PLAIN = kt.data.Augmentation(color=True, one_of=("crop",), siamese=True)
SMALL = TrajectoryMatching(
    zca=False, iterations=2, student_steps=3, start_epochs=2, experts=2, epochs=3, width=4,
    student_learning_rate=0.05, learning_rate=1.0, matching=PLAIN, expert_augmentation=None, expert_batch=32,
)  # fmt: skip


@pytest.fixture(scope="module")
def digits():
    return kt.data.load("digits", "train", images_per_class=12)


def prepared(digits, **options):
    """A matcher in float64, two points in weight space, and the batches between them."""
    method = dataclasses.replace(SMALL, **options)
    matcher, rng = _Matcher(method, method.start(digits, 1, 0), 0), np.random.default_rng(0)
    network = kt.models.convnet((16, 16, 1), 10, width=4, seed=3)
    start = [np.array(ops.convert_to_numpy(variable)) for variable in network.trainable_variables]
    target = [value + 0.05 * rng.normal(size=value.shape) for value in start]
    images = rng.uniform(0.2, 0.8, (10, 16, 16, 1))
    as_tensors = [[ops.convert_to_tensor(value, "float64") for value in values] for values in (start, target)]
    return matcher, *as_tensors, images, matcher._batches(rng)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("factor", [1, 2])
def test_the_gradients_of_mtt_equal_finite_differences(factor, digits):
    """In the images and in the rate, through three steps of the student on augmented batches."""
    matcher, start, target, images, batches = prepared(digits, factor=factor, student_batch=5)
    rng, rate, step = np.random.default_rng(1), np.float64(0.1), 1e-5
    value, in_images, in_rate = matcher.student.match(start, target, images, rate, batches)
    direction = rng.normal(size=images.shape)

    def at(images, rate):
        return float(matcher.student.match(start, target, images, rate, batches)[0])

    slope = (at(images + step * direction, rate) - at(images - step * direction, rate)) / (2 * step)
    assert np.sum(ops.convert_to_numpy(in_images) * direction) == pytest.approx(slope, rel=1e-5)
    slope = (at(images, rate + step) - at(images, rate - step)) / (2 * step)
    assert float(in_rate) == pytest.approx(slope, rel=1e-5)
    assert float(value) == pytest.approx(at(images, rate))


@pytest.mark.usefixtures("float64")
def test_tesla_leaves_out_what_a_step_does_to_later_ones():
    """Cui et al. 2023 by hand, for a quadratic loss sum (w - x b)^2 / 2: g = w - x b, dg/dx = -b."""
    student = Student(lambda weights, images, batch: ops.sum((weights[0] - images * batch) ** 2) / 2, "constant-memory")
    start, target, images = np.array([1.0, 2.0]), np.array([0.5, 3.0]), np.array([0.3, 0.7])
    rate, batches = 0.1, [np.array([1.0, 2.0]), np.array([3.0, -1.0]), np.array([0.5, 0.5])]
    weights, gradients = start, []
    for batch in batches:
        gradients.append(weights - images * batch)
        weights = weights - rate * gradients[-1]
    total, scale = np.sum(gradients, axis=0), np.sum((start - target) ** 2)
    value, in_images, in_rate = student.match([start], [target], images, np.float64(rate), batches)
    assert float(value) == pytest.approx(np.sum((weights - target) ** 2) / scale)
    first = 2 / scale * (rate * (target - start) + rate**2 * total)
    by_hand = sum(first * -batch for batch in batches)
    np.testing.assert_allclose(ops.convert_to_numpy(in_images), by_hand, rtol=1e-10)
    assert float(in_rate) == pytest.approx(2 / scale * np.sum(total * (rate * total + target - start)))


@pytest.mark.usefixtures("float64")
def test_the_forms_agree_on_one_step_and_differ_on_more(digits):
    for steps, alike in ((1, True), (3, False)):
        found = []
        for form in FORMS:
            matcher, *arguments, batches = prepared(digits, form=form, student_steps=steps)
            found.append(ops.convert_to_numpy(matcher.student.match(*arguments, np.float64(0.1), batches)[1]))
        assert np.allclose(*found, rtol=1e-9, atol=1e-14) == alike


def test_the_distance_by_hand():
    """((1 - 3)^2 + (2 - 2)^2) / ((0 - 3)^2 + (1 - 2)^2), over two arrays."""
    lists = [
        [np.array([first], "float32"), np.array([[second]], "float32")] for first, second in ((1, 2), (0, 1), (3, 2))
    ]
    assert float(distance(*lists)) == pytest.approx(4 / 10)


@pytest.mark.parametrize("form", FORMS)
def test_students_come_nearer_to_their_targets(form, digits):
    """The loss falls, and the rate is learned."""
    method = dataclasses.replace(
        SMALL, form=form, iterations=40, start_epochs=1, experts=1, student_steps=5, width=8, expert_learning_rate=0.1,
        student_learning_rate=0.02, learning_rate=100.0, rate_learning_rate=1e-5,
    )  # fmt: skip
    losses = []
    made = method.distill(digits, ipc=1, seed=0, progress=lambda done, images, loss: losses.append(loss))
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
    assert made.settings["learned_student_rate"] != method.student_learning_rate


@pytest.mark.same_on_every_backend
def test_whitened_images_stay_in_their_space(digits):
    """Experts, images and the set: all in ZCA space, not cut to [0, 1]."""
    method = dataclasses.replace(SMALL, zca=True)
    start, made = method.start(digits, 1, 0), method.distill(digits, ipc=1, seed=0)
    zca = kt.data.ZCA.fit(digits)
    assert start.space == made.space == "zca"
    assert made.images.min() < 0
    made.check_matches(zca.whiten(digits))
    unit = dataclasses.replace(method, zca=False).start(digits, 1, 0)
    np.testing.assert_array_equal(start.images, zca.whitened(unit.images))
    assert start.labels.tolist() == made.labels.tolist()


@pytest.fixture(scope="module")
def recorded(digits):
    return record_experts(digits, count=2, epochs=2, width=4, batch_size=32)


def same(left, right):
    for one, other in zip(left, right, strict=True):
        for path in one:
            np.testing.assert_array_equal(one[path], other[path])


def test_an_expert_is_a_network_after_every_epoch_of_plain_training(digits, recorded):
    """The first step by hand would need its batches: the recipe of the same order and weights is trained instead."""
    weights_seed = int(np.random.default_rng([0, 1]).integers(2**31))
    network = kt.models.convnet((16, 16, 1), 10, width=4, seed=weights_seed)
    same([recorded[1][0]], [kt.get_params(network)])
    recipe = kt.training.Recipe(2, 32, 0.01, 0.0, 0.0, milestones=())
    kt.training.train(network, digits, recipe, data_order=0, round=1)
    same([recorded[1][2]], [kt.get_params(network)])


@pytest.mark.same_on_every_backend
def test_a_killed_recording_goes_on_and_more_may_be_asked_for(digits, recorded, tmp_path):
    def kill(number):
        raise KeyboardInterrupt

    options = {"epochs": 2, "width": 4, "batch_size": 32}
    with pytest.raises(KeyboardInterrupt):
        record_experts(digits, tmp_path, count=1, progress=kill, **options)
    before = (tmp_path / "expert_000.npz").stat().st_mtime_ns
    stored = record_experts(digits, tmp_path, count=2, **options)
    assert (tmp_path / "expert_000.npz").stat().st_mtime_ns == before
    for one, other in zip(stored, recorded, strict=True):
        same(one[:], other[:])


@pytest.mark.same_on_every_backend
def test_folders_of_other_or_damaged_experts_are_refused(digits, tmp_path):
    options = {"epochs": 1, "width": 4, "batch_size": 32}
    record_experts(digits, tmp_path, count=1, **options)
    with pytest.raises(ValueError, match=r"learning_rate was 0.01, is now 0.5"):
        record_experts(digits, tmp_path, count=1, learning_rate=0.5, **options)
    with pytest.raises(ValueError, match="zca was None"):
        record_experts(digits, tmp_path, count=1, zca=kt.data.ZCA.fit(digits), **options)
    path = tmp_path / "expert_000.npz"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"state of this expert in .*expert_000.npz.* damaged"):
        record_experts(digits, tmp_path, count=1, **options)


@pytest.mark.same_on_every_backend
def test_experts_in_a_folder_give_the_same_images(digits, tmp_path):
    kept = dataclasses.replace(SMALL, folder=str(tmp_path)).distill(digits, ipc=1, seed=0)
    held = SMALL.distill(digits, ipc=1, seed=0)
    np.testing.assert_array_equal(kept.images, held.images)
    assert kept.settings == held.settings
    assert len(list(tmp_path.glob("expert_*.npz"))) == 2


@pytest.mark.same_on_every_backend
def test_a_rate_that_falls_to_zero_stops_the_work(digits):
    with pytest.raises(FloatingPointError, match="lower rate_learning_rate"):
        dataclasses.replace(SMALL, rate_learning_rate=1e3, iterations=20).distill(digits, ipc=1, seed=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "tesla"}, "form to be one of"),
        ({"initialization": "zeros"}, "initialization to be one of"),
        ({"student_learning_rate": 0.0}, "student_learning_rate > 0"),
        ({"momentum": 1.0}, "momentum in"),
        ({"student_steps": 0}, "student_steps >= 1"),
        ({"student_batch": 0}, "student_batch >= 1"),
        ({"start_epochs": 3}, "epochs >= 4"),
        ({"zca": True, "factor": 2}, "pass zca=False"),
        ({"matching": kt.data.PAPER_CIFAR}, "matching augmentation"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMALL, **options)


@pytest.mark.same_on_every_backend
def test_what_the_data_does_not_allow_is_refused_before_experts_are_recorded(digits, monkeypatch):
    monkeypatch.setattr(experts, "train", None)  # would fail
    with pytest.raises(ValueError, match="student_batch <= 10"):
        dataclasses.replace(SMALL, student_batch=11).distill(digits, ipc=1, seed=0)
    with pytest.raises(ValueError, match="without moving statistics"):
        dataclasses.replace(SMALL, model="resnet10").distill(digits, ipc=1, seed=0)
