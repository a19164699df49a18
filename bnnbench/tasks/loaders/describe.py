"""The last step of every loader: check the shape against the card, take the checksum, attach names and notes."""

from __future__ import annotations

from typing import Any

import numpy as np

from bnnbench.errors import UserError
from bnnbench.tasks.card import Card
from bnnbench.tasks.data import Data


def describe(card: Card, x: np.ndarray, y: np.ndarray, **more: Any) -> Data:
    """Data of a card from its arrays.

    Args:
        x: inputs [N, d].
        y: targets [N]; integers are class indices.
        more: further fields of Data.

    Raises:
        UserError: not the number of rows or columns that the card states, or a value that is not finite.
    """
    stated = (card.rows, len(card.columns))
    if x.shape != stated or len(y) != card.rows:
        raise UserError(
            f"{card.name} was read with {len(y)} rows and {x.shape[1]} inputs, but its card states {stated[0]} "
            f"and {stated[1]}; run `bnnbench data verify`."
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise UserError(f"{card.name} holds values that are not finite; run `bnnbench data verify`.")
    return Data.of(x, y, features=card.columns, target=card.target, notes=card.issues, **more)
