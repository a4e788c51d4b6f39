"""Multi-formation: cells by hand, as torch enlarges them, and back from tiles."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasticket.data.multi_formation import PAD_VALUE, cell_size, decode_cells, tile_cells

RNG = np.random.default_rng(0)


def test_one_cell_enlarged_by_hand():
    cell = np.array([[0, 1], [0, 1]], np.float32)
    images = np.tile(cell, (2, 2))[None, :, :, None]
    np.testing.assert_allclose(decode_cells(np, images, 2)[0, :, :, 0], [[0, 0.25, 0.75, 1]] * 4)


@pytest.mark.parametrize(("side", "factor"), [(8, 2), (16, 2), (9, 3), (32, 3), (10, 4)])
def test_cells_equal_torch_interpolation_of_idcs_padding(side, factor):
    torch = pytest.importorskip("torch")
    images = RNG.random((3, side, side, 2), dtype=np.float32)
    padded = torch.tensor(images).permute(0, 3, 1, 2)
    padded = torch.nn.functional.pad(padded, (0, -side % factor, 0, -side % factor), value=0.5)
    cell = padded.shape[-1] // factor
    cells = [padded[:, :, i * cell : (i + 1) * cell, j * cell : (j + 1) * cell] for i, j in np.ndindex(factor, factor)]
    expected = torch.nn.functional.interpolate(
        torch.cat(cells), size=(side, side), mode="bilinear", align_corners=False
    )
    ours = decode_cells(np, images, factor)
    np.testing.assert_allclose(ours, expected.permute(0, 2, 3, 1).numpy(), atol=1e-6)


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_decoding_on_the_backend_equals_numpy(factor):
    images = RNG.random((3, 16, 16, 3), dtype=np.float32)
    ours = keras.ops.convert_to_numpy(decode_cells(keras.ops, keras.ops.convert_to_tensor(images), factor))
    np.testing.assert_allclose(ours, decode_cells(np, images, factor), atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(side=st.integers(4, 20), factor=st.integers(1, 4), count=st.integers(1, 3))
def test_tiling_a_constant_per_cell_is_undone_by_decoding(side, factor, count):
    if (factor - 1) * -(-side // factor) >= side or side % factor:
        return
    grays = np.arange(factor**2 * count, dtype=np.float32)
    cells = np.broadcast_to(grays[:, None, None, None], (len(grays), side, side, 1)).copy()
    np.testing.assert_allclose(decode_cells(np, tile_cells(cells, factor), factor), cells, rtol=1e-6)


@pytest.mark.same_on_every_backend
def test_cells_come_cell_by_cell_and_are_padded_with_gray():
    images = np.zeros((2, 3, 3, 1), np.float32)
    images[1] = 1
    decoded = decode_cells(np, images, 2)
    assert decoded.shape == (8, 3, 3, 1)
    assert decoded[:2, 0, 0, 0].tolist() == [0, 1]  # the first cell of all images
    assert decoded[1].min() == 1  # without a border
    assert decoded[7, -1, -1, 0] == PAD_VALUE
    assert decode_cells(np, images, 1) is images


@pytest.mark.same_on_every_backend
def test_cells_have_at_least_a_pixel():
    assert [cell_size(side, 2) for side in (2, 7, 8)] == [1, 4, 4]
    for side, factor in ((8, 0), (8, 7), (2, 3)):
        with pytest.raises(ValueError, match=f"pixels for every cell of {side} pixels. Received: {factor}"):
            cell_size(side, factor)
