"""What all adapters share: the library that they wrap, and the sentence where it is missing."""

from __future__ import annotations

import importlib.util
from typing import ClassVar

from bnnbench.errors import UserError
from bnnbench.methods.estimator import Estimator

OTHER = ("adapters", "other-target")  # tags of what has another model or prior than the task's network


class Adapter(Estimator):
    """A method of another library.

    Attributes:
        library: its name in the package index, with what of it is needed. module: what it is imported as.
        needs: further modules that it imports and does not install by itself.
    """

    tags: ClassVar[tuple[str, ...]] = ("adapters",)
    library: ClassVar[str]
    module: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()

    def check(self) -> None:
        """Raise UserError where the library is missing."""
        if any(importlib.util.find_spec(module) is None for module in (self.module, *self.needs)):
            raise UserError(f"{self.name} needs {self.library}; install it by `pip install {self.library}`.")
