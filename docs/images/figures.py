"""The figures of the documentation, drawn from the reference results: `python docs/images/figures.py`.

The report of everything has many more; these show a part of the methods, so that they stay small.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import bnnbench

HERE = Path(__file__).resolve().parent
SOME = "map,ensemble-deep,mc-dropout,bbp-local,laplace-kron,swag"
FIGURES = {  # file -> tasks, methods, and the name in the report
    "toy": ("toy-heteroscedastic", f"{SOME},sghmc,hmc", "toy-fixed-toy-heteroscedastic"),
    "scores": ("housing,power,yacht", "all", "uci-10fold-log-likelihood"),
    "calibration": ("yacht", f"{SOME},sgld,gp", "uci-10fold-calibration-yacht"),
    "rotation": ("mnist", "map,mc-dropout,bbp-local,ivon,laplace-kron,swag,sgld,mnf", "images-official-mnist-rotation"),
    "densities": ("moons,blobs,letters", "flow-gaussian,flow-realnvp,flow-spline-coupling", "density-fixed-densities"),
    "fidelity": ("fidelity", f"{SOME},ivon,sgld,sghmc", "fidelity"),
}

with tempfile.TemporaryDirectory() as folder:
    for name, (tasks, methods, stem) in FIGURES.items():
        chosen = None if methods == "all" else methods
        bnnbench.report(HERE.parents[1] / "results.db", folder, tasks=tasks, methods=chosen, formats="md")
        shutil.copyfile(Path(folder) / "figures" / f"{stem}.svg", HERE / f"{name}.svg")
