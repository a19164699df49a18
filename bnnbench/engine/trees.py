"""Trees of tensors as named arrays, and back: a leaf's name is its tree's, followed by its key path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.utils._pytree import GetAttrKey, keystr, tree_flatten_with_path, tree_unflatten

Arrays = dict[str, np.ndarray]
RENAMED = {"nll": "misfit", "gradient": "slope"}  # field of a state -> its name in files stored before it was renamed


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
    return tree_unflatten([torch.as_tensor(_leaf(name, path, arrays)).to(leaf) for path, leaf in paths], spec)


def _leaf(name: str, path: tuple[Any, ...], arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """The array of a leaf, under its present name or its earlier one."""
    present, earlier = name + keystr(path), name + keystr(tuple(map(_before, path)))
    return arrays[earlier if earlier in arrays and present not in arrays else present]


def _before(key: Any) -> Any:
    """A key as it was before fields were renamed."""
    return GetAttrKey(RENAMED.get(key.name, key.name)) if isinstance(key, GetAttrKey) else key
