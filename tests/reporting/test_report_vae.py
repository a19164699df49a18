"""The figures of the autoencoders: digits as stored, and the bound against the number of layers."""

import math
from dataclasses import replace

import numpy as np
import pytest
from density_data import FEW, QUALITY, SORTED, VAE, densities, density_store, figures, panels, stored

from bnnbench.methods import METHODS
from bnnbench.reporting.figures.vae import apart
from bnnbench.reporting.tables.flows import LAYERS, STACKED, depth


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    with density_store(tmp_path_factory.mktemp("db") / "vae.db", densities(FEW, (VAE,))) as store:
        return figures(store)


def test_digits_by_kind(drawn):
    lines = panels(drawn[f"{VAE}-images"].figure(), 3)
    for line, row in zip(lines, SORTED, strict=True):
        series = stored(VAE, row, "vae_images")
        assert line[0].texts[0].get_text() == row
        for kind, axes in enumerate(line):
            image = axes.images[0].get_array()
            assert image.shape == (28, 8 * 28)
            for number in range(8):
                own = (series["kind"] == kind) & (series["image"] == number)
                expected = series["pixel"][own].reshape(28, 28)
                assert np.allclose(image[:, 28 * number : 28 * (number + 1)], expected, atol=1e-6)


def test_bound_by_layers(drawn):
    rows = ("flow-gaussian", "flow-planar [layers=2]", "flow-planar [layers=8]", "flow-planar")
    for axes, base, slope in zip(drawn[f"{VAE}-bound"].figure().axes, (-90, -86), (3, 1.5), strict=True):
        line, bars = axes.containers[0].lines[0], axes.containers[0].lines[2][0]
        assert np.allclose(line.get_ydata(), [base + slope * QUALITY[r] for r in rows])
        assert [t.get_text() for t in axes.get_xticklabels()] == ["0", "2", "8", "32"]
        assert np.allclose([np.ptp(s[:, 1]) for s in bars.get_segments()], 2 * 0.3)
        (other,) = [found for found in axes.lines if found is not line and len(found.get_ydata()) == 2]
        assert other.get_ydata()[0] == pytest.approx(base + slope * QUALITY["flow-iaf"])
        assert [t.get_text() for t in axes.texts] == ["flow-iaf"]


def test_bound_needs_a_line_and_finite_values(tmp_path):
    def diverged(o):
        (test,) = o.evaluations
        scores = tuple(replace(s, value=math.nan) if s.metric == "elbo" else s for s in test.scores)
        return replace(o, evaluations=(replace(test, scores=scores),))

    with density_store(tmp_path / "a.db", densities(("flow-iaf",), (VAE,))) as store:
        assert f"{VAE}-bound" not in figures(store)
    with density_store(tmp_path / "b.db", [diverged(o) for o in densities(FEW, (VAE,))]) as store:
        (axes,) = figures(store)[f"{VAE}-bound"].figure().axes
    assert axes.get_title("left") == "Importance-weighted log-likelihood"


def test_depth_is_read_off_the_row():
    rows = ("flow-gaussian", "flow-planar [layers=8]", "flow-planar", "flow-iaf", "flow-planar [layers=8,lr=0.1]")
    assert [depth(row) for row in rows] == [0, 8, 32, None, None]


def test_flows_without_a_number_of_layers_are_placed_at_their_default():
    assert METHODS.get(STACKED).layers == LAYERS


def test_labels_move_apart():
    assert apart([], 1.0, 5.0) == []
    assert apart([0.0, 3.0], 1.0, 5.0) == [0.0, 3.0]
    assert apart([2.0, 2.0, 2.0], 1.0, 5.0) == pytest.approx([1.0, 2.0, 3.0])
    assert apart([0.0, 5.0, 5.0], 1.0, 5.0) == pytest.approx([0.0, 4.0, 5.0])
