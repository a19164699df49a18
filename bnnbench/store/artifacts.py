"""Files of named arrays beside the database, addressed by the checksum of their content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
from safetensors.numpy import load, save

from bnnbench.errors import UserError
from bnnbench.files import file_faults, write_file
from bnnbench.records import CellRecord


def write_artifact(folder: Path, arrays: Mapping[str, np.ndarray], cell: CellRecord, kind: str) -> tuple[str, Path]:
    """Write arrays into `folder/ab/abcd....safetensors`.

    Returns:
        The sha256 of the file, and its path.
    """
    # safetensors copies the buffer as it lies, so the order must be C; and it writes several metadata in any order,
    # but what it writes must depend on the content alone, so there is one.
    content = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    data = save(content, metadata={"bnnbench": json.dumps({"kind": kind, **asdict(cell)})})
    digest = hashlib.sha256(data).hexdigest()
    path = folder / digest[:2] / f"{digest}.safetensors"
    with file_faults("read", path):
        stands = path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest
    if not stands:
        write_file(path, data)
    return digest, path


def read_artifact(path: Path, digest: str, cell: str) -> dict[str, np.ndarray]:
    """Read it back.

    Raises:
        UserError: the file is missing, or is not what was written.
    """
    remedy = f"train cell {cell[:12]} again with --force, or copy the artifacts folder to where its database is"
    with file_faults("read", path):
        if not path.is_file():
            raise UserError(f"The artifact {path} is missing, for artifacts are not kept in git; {remedy}.")
        data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != digest:
        raise UserError(f"The artifact {path} is damaged (its checksum differs); {remedy}.")
    return load(data)
