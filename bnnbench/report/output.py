"""The report's folder: files are replaced whole, and files of an earlier report that nobody writes any more go."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from bnnbench.errors import UserError

MANIFEST = "manifest.json"


class Output:
    """Writes below `root`; `finish` records what was written and removes what an earlier report left."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.written: list[str] = []

    def write(self, name: str, content: bytes | str) -> Path:
        """Write one file atomically: a reader sees the old file or the new one, never half of one."""
        path = self.root / name
        data = content.encode() if isinstance(content, str) else content
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                os.chmod(temporary, 0o644)  # mkstemp gives 0600: a report is to be read by others
                os.replace(temporary, path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise UserError(
                f"Cannot write {path}: {error.strerror or error}; free space or choose another folder with --out."
            ) from error
        self.written.append(name)
        return path

    def finish(self) -> list[Path]:
        """Remove stale tables and figures, write the manifest; returns all files written."""
        for name in self._previous() - set(self.written):
            if (self.root / name).is_file():
                (self.root / name).unlink(missing_ok=True)
        self.write(MANIFEST, json.dumps(sorted(self.written), indent=1) + "\n")
        return [self.root / name for name in self.written]

    def _previous(self) -> set[str]:
        """Files of the last manifest that are ours to remove: directly in tables/ or figures/."""
        try:
            listed = json.loads((self.root / MANIFEST).read_text())
        except (OSError, ValueError):
            return set()
        names = {name for name in listed if isinstance(name, str)} if isinstance(listed, list) else set()
        return {name for name in names if Path(name).parent in (Path("tables"), Path("figures"))}
