"""Eigenvalues and spectral density against the dense Hessian's own."""

import keras
import numpy as np
import pytest
from hessians import dense_hessian, examples, ready
from keras import layers
from nets import compile_for_test, half_mask, mlp

import kerasticket as kt
from kerasticket.analysis import spectral_density, spectrum, top_eigenvalues
from kerasticket.analysis.curvature import Curvature
from kerasticket.backend import fused
from kerasticket.models import convnet

pytestmark = pytest.mark.usefixtures("float64")


@pytest.fixture(params=["convnet", "mlp"])
def case(request):
    """(model, data, Curvature, dense Hessian) of a net with half its kernel weights pruned."""
    builders = {"convnet": lambda: convnet((4, 4, 1), 3, width=2, depth=1, seed=0), "mlp": small_mlp}
    with fused.mode("never"):
        model = ready(kt.masked(builders[request.param]()))
        kt.set_mask(model, half_mask(model))
        data = examples(model, 8)
        curvature = Curvature(model, data)
        yield model, data, curvature, dense_hessian(curvature)


def small_mlp() -> keras.Model:
    stack = [keras.Input((4,)), layers.Dense(4, activation="tanh", name="hidden")]
    return keras.Sequential([*stack, layers.Dense(3, name="logits")], name="small_mlp")


def test_narrow_bells_still_sum_to_one(case):
    model, data, _, dense = case
    width = float(np.ptp(np.linalg.eigvalsh(dense))) / 2000
    density = spectral_density(model, data, width=width, probes=2)
    assert np.trapezoid(density.density, density.grid) == pytest.approx(1, abs=1e-3)
    with pytest.raises(ValueError, match="width of at least"):
        spectral_density(model, data, width=width / 100, probes=2)


def test_the_trace_of_chosen_weights_is_that_of_their_block(case):
    model, data, curvature, dense = case
    path = next(iter(curvature.surviving))
    chosen = {path: curvature.surviving[path]}
    exact = kt.analysis.hessian_trace(model, data, method="exact", coordinates=chosen)
    inside = curvature.join({name: kept & (name == path) for name, kept in curvature.surviving.items()})
    assert exact.value == pytest.approx(np.diag(dense)[inside].sum(), rel=1e-6)
    assert exact.standard_error == 0


def test_outermost_eigenvalues(case):
    """Values, vectors and residuals from each end, against numpy's eigenvalues of the dense matrix."""
    model, data, curvature, dense = case
    exact = np.linalg.eigvalsh(dense)
    by_end = {
        "largest": exact[::-1],
        "smallest": exact,
        "magnitude": exact[np.argsort(-np.abs(exact))],
    }
    for which, expected in by_end.items():
        pairs = top_eigenvalues(model, data, 3, which=which, tolerance=1e-8)
        np.testing.assert_allclose(pairs.values, expected[:3], rtol=1e-6)
        for value, vector, residual in zip(pairs.values, pairs.vectors, pairs.residuals, strict=True):
            flat = curvature.join(vector)
            assert np.linalg.norm(flat) == pytest.approx(1)
            assert np.linalg.norm(dense @ flat - value * flat) == pytest.approx(residual, abs=1e-9)
            assert residual < 1e-6 * np.abs(exact).max()
            for path, kept in curvature.surviving.items():
                assert not vector[path][~kept].any()


def quick(monkeypatch, dense):
    monkeypatch.setattr(Curvature, "product", lambda self, vector: dense @ vector)


def test_quadrature_is_exact_for_its_moments(case, monkeypatch):
    """With m steps, sum of w x^p = v' H^p v for p < 2 m: for each probe v by itself."""
    model, data, curvature, dense = case
    quick(monkeypatch, dense)
    density = spectral_density(model, data, steps=4, probes=3, seed=2)
    rng = np.random.default_rng(2)
    for nodes, weights in zip(density.nodes, density.weights, strict=True):
        v = spectrum.signs(rng, curvature.size) / np.sqrt(curvature.size)
        for power in range(8):
            expected = v @ np.linalg.matrix_power(dense, power) @ v
            assert np.sum(weights * nodes**power) == pytest.approx(expected, rel=1e-8, abs=1e-12)


def test_full_lanczos_finds_the_spectrum(case):
    """With as many steps as weights, every node that has weight is an eigenvalue, whatever the rounding."""
    model, data, curvature, dense = case
    density = spectral_density(model, data, steps=10**4, probes=2)
    assert density.nodes.shape == (2, curvature.size)
    exact = np.linalg.eigvalsh(dense)
    for node in density.nodes[density.weights > 1e-8]:
        assert np.abs(exact - node).min() < 1e-7 * np.abs(exact).max()


def test_moments_of_the_density(case, monkeypatch):
    """Mean and second moment are tr(H) / n and tr(H^2) / n + width^2, within errors; it integrates to 1."""
    model, data, curvature, dense = case
    quick(monkeypatch, dense)
    density = spectral_density(model, data, probes=400, steps=20)
    step = density.grid[1] - density.grid[0]
    for power, smoothing in ((0, 0), (1, 0), (2, density.width**2)):
        moments = np.sum(density.weights * density.nodes**power, axis=1)
        expected = np.trace(np.linalg.matrix_power(dense, power)) / curvature.size
        error = moments.std(ddof=1) / 20
        assert abs(moments.mean() - expected) <= 5 * error + 1e-12
        smoothed = np.sum(density.density * density.grid**power) * step
        assert smoothed == pytest.approx(moments.mean() + smoothing, rel=1e-4, abs=1e-8)


def test_the_density_is_that_of_the_eigenvalues(case, monkeypatch):
    """The dense spectrum smoothed with the same Gaussian lies within errors."""
    model, data, _, dense = case
    quick(monkeypatch, dense)
    density = spectral_density(model, data, probes=300, width=0.05 * np.abs(dense).max())
    exact = np.linalg.eigvalsh(dense)
    bells = np.exp(-(((density.grid[:, None] - exact) / density.width) ** 2) / 2)
    expected = bells.mean(axis=1) / (density.width * np.sqrt(2 * np.pi))
    assert np.all(np.abs(density.density - expected) <= 6 * density.standard_error + 1e-6 * expected.max())
    assert np.median(density.standard_error / expected.max()) < 0.05


def test_an_early_end():
    """A probe that sees few eigenvalues: identical ones, where one step finds all there is."""
    curvature = type("Identity", (), {"size": 6, "product": lambda self, vector: 3 * vector})()
    nodes, weights = spectrum._quadrature(curvature, np.ones(6), 4)
    np.testing.assert_allclose(nodes, [3, 3, 3, 3])
    np.testing.assert_allclose(weights, [1, 0, 0, 0])
    density = spectrum._smoothed(nodes[None].repeat(2, 0), weights[None].repeat(2, 0), None)
    assert np.sum(density.density) * (density.grid[1] - density.grid[0]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("function", "options", "match"),
    [
        (top_eigenvalues, {"which": "middle"}, "which"),
        (top_eigenvalues, {"k": 0}, "eigenvalues of 101 weights"),
        (top_eigenvalues, {"k": 101}, "1 to 100"),
        (top_eigenvalues, {"batches": 2}, "batches"),
        (spectral_density, {"steps": 0}, "steps from 1"),
        (spectral_density, {"probes": 1}, "probes from 2"),
        (spectral_density, {"width": 0}, "width above 0"),
    ],
)
def test_bad_input_is_refused(function, options, match):
    """Before any work, with what was received."""
    model = compile_for_test(mlp())
    x = np.zeros((2, 6)), np.eye(5)[:2]
    with pytest.raises(ValueError, match=match):
        function(model, x, **options)


def test_without_room_for_all_vectors_the_density_is_the_same(monkeypatch):
    """Three vectors instead of 60: moments of the spectrum as from the dense Hessian, and the same curve."""
    model = ready(small_mlp())
    data = examples(model, 8)
    dense = np.linalg.eigvalsh(dense_hessian(Curvature(model, data)))
    options = {"steps": 30, "probes": 3, "width": 0.02 * float(np.ptp(dense))}
    full = spectral_density(model, data, **options)
    monkeypatch.setattr(spectrum, "MEMORY", 0)
    lean = spectral_density(model, data, **options)
    for power in (1, 2, 5):
        moments = [(d.weights * d.nodes**power).sum(1) for d in (full, lean)]
        np.testing.assert_allclose(*moments, rtol=1e-9, atol=1e-9 * np.abs(dense).max() ** power)
    apart = np.abs(np.interp(full.grid, lean.grid, lean.density) - full.density)
    assert np.trapezoid(apart, full.grid) < 1e-3
