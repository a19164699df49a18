"""Trees of tensors as named arrays, and back: a leaf's name is its tree's, followed by its key path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.utils._pytree import keystr, tree_flatten_with_path, tree_unflatten

Arrays = dict[str, np.ndarray]


def to_named(name: str, tree: Any) -> Arrays:
    """The leaves of a tree as arrays."""
    return {
        name + keystr(path): leaf.detach().cpu().contiguous().numpy() for path, leaf in tree_flatten_with_path(tree)[0]
    }


def from_named(name: str, structure: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """The tree of this name, in the structure, the dtypes and on the device of another.

    Raises:
        KeyError: a leaf is missing.
    """
    paths, spec = tree_flatten_with_path(structure)
    return tree_unflatten([torch.as_tensor(arrays[name + keystr(path)]).to(leaf) for path, leaf in paths], spec)
