"""Cells on their way to another process: pickled, as far as that process can import what they are made of.

A worker imports no user's program again, which might begin everything anew: classes of a script, a notebook or a module
that is not yet imported to its end stay where they are.
"""

from __future__ import annotations

import io
import pickle
import sys
from types import FunctionType
from typing import Any

from bnnbench.errors import UserError

_unpacking = False


class NotPortable(Exception):
    """It cannot be brought to another process; the message says why."""


class _Pickler(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, type | FunctionType) and (fault := _fault(obj)):
            raise NotPortable(fault)
        return NotImplemented


def _fault(obj: type | FunctionType) -> str:
    """Why another process could not import a class or function, nothing if it can."""
    if obj.__module__ in {"__main__", "__mp_main__"}:
        return f"{obj.__qualname__} is defined in the program that runs and not in a module that can be imported"
    spec = getattr(sys.modules.get(obj.__module__), "__spec__", None)
    if getattr(spec, "_initializing", False):
        return f"the module {obj.__module__} of {obj.__qualname__} is being imported"
    return ""


def packed(content: Any) -> bytes:
    """Pickled.

    Raises:
        NotPortable: it cannot be, or could not be read in another process.
    """
    buffer = io.BytesIO()
    try:
        _Pickler(buffer, pickle.HIGHEST_PROTOCOL).dump(content)
    except NotPortable:
        raise
    except Exception as error:  # whatever an object's own code raises
        raise NotPortable(f"{type(error).__name__}: {error}") from error
    return buffer.getvalue()


def unpacked(data: bytes) -> Any:
    """Back from its pickle; imports the modules that it needs.

    Raises:
        NotPortable: one of them cannot be imported here, or lacks something.
    """
    global _unpacking
    _unpacking = True
    try:
        return pickle.loads(data)
    except (Exception, SystemExit) as error:
        raise NotPortable(f"{type(error).__name__}: {error}") from error
    finally:
        _unpacking = False


def refuse_while_unpacking() -> None:
    """Raise where a module that a worker imports begins a run of its own."""
    if _unpacking:
        raise UserError("a module calls bnnbench.run while it is imported; put that under `if __name__ == '__main__':`")
