"""What the TensorBoard callback writes, read back from the event file by TensorFlow's own reader."""

import keras
import nets
import pytest
from event_reader import read

import kerasticket as kt
from kerasticket.backend.event_files import BINS
from kerasticket.pruning import Schedule
from kerasticket.pruning.callbacks import GradualPruning, SparsityTensorBoard


def train(tmp_path, epochs: int = 4, **options):
    model = nets.compile_for_test(kt.masked(nets.mlp()))
    x, y = nets.batch(model)
    pruning = GradualPruning(Schedule(0.75, end=2, shape="linear"))
    board = SparsityTensorBoard(tmp_path / "logs", **options)
    model.fit(x, y, epochs=epochs, callbacks=[pruning, board], verbose=0)
    return model, pruning, read(tmp_path / "logs" / "sparsity")


def test_the_file_has_the_sparsity_of_every_epoch_and_layer(tmp_path):
    model, pruning, found = train(tmp_path)
    tags = ["sparsity/all", *(f"{kind}/{path}" for path in kt.get_mask(model) for kind in ("sparsity", "kept"))]
    assert set(found) == {(tag, epoch) for tag in tags for epoch in range(4)}
    overall = [float(found["sparsity/all", epoch]) for epoch in range(4)]
    planned = [update.sparsity for update in pruning.updates]
    assert overall == pytest.approx([*planned, planned[-1]])
    for path, mask in kt.get_mask(model).items():
        assert float(found[f"sparsity/{path}", 3]) == pytest.approx(1 - mask.mean())


def test_histograms_are_of_the_kept_weights_alone(tmp_path):
    model, _, found = train(tmp_path)
    params = kt.get_params(model)
    for path, mask in kt.get_mask(model).items():
        left, right, count = found[f"kept/{path}", 3].T
        kept = params[path][mask].astype(float)
        assert count.sum() == mask.sum()
        assert len(count) == BINS
        assert (left[0], right[-1]) == pytest.approx((kept.min(), kept.max()))
        inside = [((kept >= a) & (kept < b)).sum() for a, b in zip(left[:-1], right[:-1], strict=True)]
        assert list(count[:-1]) == inside


def test_every_second_epoch_from_the_first_on(tmp_path):
    model = nets.compile_for_test(kt.masked(nets.mlp()))
    x, y = nets.batch(model)
    board = SparsityTensorBoard(tmp_path, every=2)
    model.fit(x, y, initial_epoch=3, epochs=7, callbacks=[board], verbose=0)
    assert {step for _, step in read(tmp_path / "sparsity")} == {3, 5}


def test_bad_arguments_are_refused(tmp_path):
    for every in (0, 1.5):
        with pytest.raises(ValueError, match=f"every=.*{every}"):
            SparsityTensorBoard(tmp_path, every=every)
    model = nets.compile_for_test(nets.mlp())
    with pytest.raises(ValueError, match="Expected a model with masked layers"):
        model.fit(*nets.batch(model), callbacks=[SparsityTensorBoard(tmp_path / "new")], verbose=0)
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("in the way")
    model = nets.compile_for_test(kt.masked(nets.mlp()))
    with pytest.raises(ValueError, match="folder that can be written to"):
        model.fit(*nets.batch(model), callbacks=[SparsityTensorBoard(tmp_path / "file")], verbose=0)


def test_it_stands_among_the_callbacks():
    assert kt.callbacks.SparsityTensorBoard is SparsityTensorBoard
    assert issubclass(SparsityTensorBoard, keras.callbacks.Callback)
