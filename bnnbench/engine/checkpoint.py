"""Checkpoints of long trainings: all that the loop needs to go on, and to end with the numbers of an unbroken run.

Draws are keyed by the step, so a checkpoint holds no state of a generator. It is one file of arrays with its own
checksum in front; one that is damaged, or of another pack or version, is left aside with a sentence.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save

from bnnbench._version import __version__
from bnnbench.engine.pack import Pack
from bnnbench.engine.precision import FLOAT32
from bnnbench.engine.trees import Arrays, to_named
from bnnbench.errors import UserError
from bnnbench.files import write_file

EVERY_S = 120.0
log = logging.getLogger(__name__)


@dataclass
class Checkpoint:
    """The file of one pack's training.

    Attributes:
        path: where it lies; named after the cells of the pack.
        identity: what must be equal for its numbers to be those of this training.
    """

    path: Path
    identity: dict[str, Any]
    written: float = 0.0

    @classmethod
    def of(cls, folder: Path, pack: Pack, compiled: bool, precision: str = FLOAT32) -> Checkpoint:
        """The checkpoint of a pack in a folder, whether or not there is one."""
        cells = [cell.record.fingerprint for cell in pack.cells]
        identity = {
            "cells": cells,
            "compiled": compiled,
            "device": pack.keys.device.type,
            "threads": torch.get_num_threads(),
            "precision": precision,
            "versions": {"bnnbench": __version__, "torch": torch.__version__},
        }
        name = hashlib.sha256("".join(cells).encode()).hexdigest()
        return cls(folder / f"{name}.checkpoint", identity, time.monotonic())

    def due(self) -> bool:
        """Whether it is time to write one."""
        return time.monotonic() - self.written > EVERY_S

    def write(self, trees: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Replace the file; whole or not at all."""
        flat: Arrays = {}
        for name, tree in trees.items():
            flat |= to_named(name, tree)
        flat |= {f"array:{name}": np.asarray(value, order="C") for name, value in arrays.items()}
        data = save(flat, metadata={"identity": json.dumps(self.identity)})
        write_file(self.path, hashlib.sha256(data).hexdigest().encode() + data)
        self.written = time.monotonic()

    def read(self) -> Arrays | None:
        """What was written, None where there is nothing that this training can go on from."""
        if not self.path.is_file():
            return None
        try:
            content = self.path.read_bytes()
            digest, data = content[:64], content[64:]
            if hashlib.sha256(data).hexdigest().encode() != digest:
                raise ValueError("its checksum differs")
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
            if json.loads(header["__metadata__"]["identity"]) != self.identity:
                raise ValueError("it belongs to another training, number of threads, precision or version")
            return load(data)
        except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
            self.refuse(str(error))
            return None

    def refuse(self, reason: str) -> None:
        """Say why training does not go on from it."""
        log.warning("The checkpoint %s is not used (%s); training starts from the beginning.", self.path, reason)

    def remove(self) -> None:
        """Its training is stored."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f"Cannot remove {self.path} ({error.strerror}); delete it by hand.") from error


def stored(name: str, arrays: Arrays) -> dict[str, np.ndarray]:
    """The arrays whose names begin with a prefix, by what follows it."""
    prefix = f"array:{name}"
    return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}
