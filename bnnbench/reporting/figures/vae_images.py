"""Digits out of an autoencoder whose posterior is a flow: originals, reconstructions, samples."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure

from bnnbench.reporting.figures.flow_maps import Series
from bnnbench.reporting.figures.style import Look
from bnnbench.reporting.figures.text import headline, name_lines

KINDS = ("originals", "reconstructions", "samples")
ACROSS = 8  # images of a kind


def digits_figure(images: dict[str, Series], looks: dict[str, Look], title: str) -> Figure:
    """Methods down, kinds of images across."""
    figure = Figure(figsize=(10.4, 0.8 + 0.45 * len(images)), layout="constrained")
    panels = figure.subplots(len(images), len(KINDS), squeeze=False)
    for line, (row, series) in zip(panels, images.items(), strict=True):
        for kind, axes in enumerate(line):
            axes.set_axis_off()
            if (series["kind"] == kind).any():
                axes.imshow(montage(series, kind), cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
        line[0].annotate(name_lines(row, 2.0, 9), (0, 0.5), xytext=(-4, 0), xycoords="axes fraction",
                         textcoords="offset points", ha="right", va="center", fontweight="bold",
                         color=looks[row].color)  # fmt: skip
    for axes, name in zip(panels[0], KINDS, strict=True):
        axes.set_title(name, loc="left")
    headline(figure, title)
    return figure


def montage(series: Series, kind: int) -> np.ndarray:
    """The first images of a kind side by side."""
    own = series["kind"] == kind
    pixels, image = series["pixel"][own], series["image"][own]
    side = math.isqrt(int((image == image[0]).sum()))
    return np.hstack([pixels[image == number].reshape(side, side) for number in np.unique(image)[:ACROSS]])
