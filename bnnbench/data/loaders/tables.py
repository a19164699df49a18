"""Tables on disk: the sets of Gal & Ghahramani (2016) with their 20 stored splits, and the band gaps."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np

from bnnbench.data.arrays import Data
from bnnbench.data.cards import Card
from bnnbench.data.files import read
from bnnbench.data.loaders.describe import describe


def stored_splits(card: Card, root: Path) -> Data:
    """`data.txt` (whitespace table), the columns that `index_features.txt` and `index_target.txt` name, and the
    stored splits as `Data.stored`."""
    table = np.loadtxt(BytesIO(read(card, root, "data.txt")))  # passes over the empty line that some files end with
    inputs, target = _integers(card, root, "index_features.txt"), _integers(card, root, "index_target.txt")
    stored = tuple(
        (_integers(card, root, f"index_train_{i}.txt"), _integers(card, root, f"index_test_{i}.txt"))
        for i in range(card.splits["gal"])
    )
    return describe(card, table[:, inputs], table[:, target.item()], stored=stored)


def bandgap(card: Card, root: Path) -> Data:
    """The columns are the composition (text, dropped), the band gap in eV (target) and 136 numeric features."""
    import pandas as pd

    table = pd.read_csv(BytesIO(read(card, root, "bandgaps.csv")))
    return describe(card, table[list(card.columns)].to_numpy(np.float64), table["Eg (eV)"].to_numpy(np.float64))


def _integers(card: Card, root: Path, name: str) -> np.ndarray:
    return np.array(read(card, root, name).split(), dtype=np.int64)
