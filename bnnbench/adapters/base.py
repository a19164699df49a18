"""What all adapters share: the library that they wrap, and the sentence where it is missing."""

from __future__ import annotations

import importlib.util
from typing import ClassVar

from bnnbench.errors import UserError
from bnnbench.methods.estimator import Estimator


class Adapter(Estimator):
    """A method of another library.

    Attributes:
        library: its name in the package index. module: what it is imported as.
        like: our method that is the same algorithm; empty: none. Reports set the two side by side.
    """

    tags: ClassVar[tuple[str, ...]] = ("adapters",)
    library: ClassVar[str]
    module: ClassVar[str]
    like: ClassVar[str] = ""

    def check(self) -> None:
        """Raise UserError where the library is missing."""
        if importlib.util.find_spec(self.module) is None:
            raise UserError(f"{self.name} needs {self.library}; install it by `pip install {self.library}`.")
