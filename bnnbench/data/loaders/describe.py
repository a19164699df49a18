"""The last step of every loader: check the shape against the card, take the checksum, attach names and notes."""

from __future__ import annotations

from typing import Any

import numpy as np

from bnnbench.data.arrays import Data
from bnnbench.data.cards import Card
from bnnbench.errors import UserError


def describe(card: Card, x: np.ndarray, y: np.ndarray, **more: Any) -> Data:
    """Data of a card from its arrays.

    Args:
        x: inputs: a table [N, d], or images float32 [N, C, H, W].
        y: targets [N].
        more: further fields of Data.

    Raises:
        UserError: not the number of rows or columns or the image shape that the card states, or a value that is not
            finite, or another checksum than the card's.
    """
    stated = (card.rows, *(card.shape or (len(card.columns),)))
    if x.shape != stated or len(y) != card.rows:
        read, wanted = (f"{x.shape[1]} inputs", f"{stated[1]}") if not card.shape else (_text(x.shape), _text(stated))
        raise UserError(
            f"{card.name} was read with {len(y)} rows and {read}, but its card states {card.rows} "
            f"and {wanted}; run `bnnbench data verify`."
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise UserError(f"{card.name} holds values that are not finite; run `bnnbench data verify`.")
    data = Data.of(x, y, features=card.columns, target=card.target, notes=card.issues, **more)
    if card.checksum and data.checksum != card.checksum:
        raise UserError(
            f"{card.name} has the checksum {data.checksum}, but its card states {card.checksum}: another version of a "
            f"library makes other data; install that of the card's source, {card.source}."
        )
    return data


def _text(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape[1:])) + " pixels"
