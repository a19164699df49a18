"""Loaders: one table from the name of a data set to the function that reads it.

A new data set is a card in `datasets/cards` and a short function here: `loader(card, root) -> Data`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from bnnbench.data.arrays import Data
from bnnbench.data.cards import Card, card
from bnnbench.data.download import fetch
from bnnbench.data.files import data_root, present
from bnnbench.data.loaders import images, mnist1d, starter, tables, toy

LOADERS: dict[str, Callable[[Card, Path], Data]] = {
    "toy-homoscedastic": toy.homoscedastic,
    "toy-heteroscedastic": toy.heteroscedastic,
    "toy-antoran": toy.antoran,
    "diabetes": starter.diabetes,
    "digits": starter.digits,
    "breast-cancer": starter.breast_cancer,
    "mnist1d": mnist1d.mnist1d,
    **dict.fromkeys(("housing", "concrete", "energy", "power", "wine", "yacht"), tables.stored_splits),
    **dict.fromkeys(("kin8nm", "naval"), tables.stored_splits),
    "bandgap": tables.bandgap,
    "mnist": images.mnist,
    **dict.fromkeys(("kmnist", "notmnist"), images.only_test),
    "cifar10": images.cifar10,
    "cifar100": images.cifar100,
    "cifar10-sample": images.cifar10_sample,
}


def load(name: str, root: str | os.PathLike[str] | None = None) -> Data:
    """A data set in original units; files that are missing are downloaded, and all that is read is checked.

    Args:
        name: name of a card.
        root: the data root, see `files.data_root`.

    Raises:
        UserError: no such data set, or its files are altered or cannot be had.
    """
    entry, place = card(name), data_root(root)
    if not present(entry, place):
        fetch(entry, place)
    return LOADERS[name](entry, place)
