"""The kernel of draws on a CPU: `threefry.c`, built by the system's C compiler at first use and kept for later.

A library that is kept says in its name what it was built from and what it holds, so that one of another compiler,
processor or version is not taken for it, nor one that was cut short or altered.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise, product
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from bnnbench.errors import StorageError
from bnnbench.files import write_file
from bnnbench.random.pytorch import drawn

Kernel = Callable[[Tensor, int, int, bool, Tensor], None]

_SOURCE = Path(__file__).with_name("threefry.c")
_OPTIONS = ["-O3", "-ffp-contract=off", "-fno-math-errno", "-shared", "-fPIC"]
# By what PyTorch finds this processor able to do, with the flags of its own kernels.
_PROCESSORS = {
    "AVX2": ["-mavx2"],
    "AVX512": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl"],
}
_SHARE = 2**17  # counters that are worth a thread: about 0.3 ms

log = logging.getLogger(__name__)


class _Unavailable(Exception):
    """Why there is no kernel."""


@functools.cache
def kernel() -> Kernel | None:
    """The kernel (keys [B, 2 or 3], size, kind, normal, out [B, size]), which fills `out`; None where C cannot be
    compiled, which is said once."""
    try:
        found = _kernel(_library())
        if not _agrees(found):
            raise _Unavailable("its numbers differ from PyTorch's on this machine")
    except _Unavailable as reason:
        log.warning("No C kernel for random draws (%s); they are made by PyTorch, many times slower.", reason)
        return None
    return found


def _library() -> ctypes.CDLL:
    """The library, from the user's cache folder or newly built.

    Raises:
        _Unavailable: it cannot be built or loaded.
    """
    command = [*_compiler(), *_OPTIONS, *_PROCESSORS.get(torch.backends.cpu.get_cpu_capability(), [])]
    name, folder = f"threefry-{_digest(_identity(command))}", _cache_folder()
    for path in _kept(folder, name):
        try:
            return ctypes.CDLL(str(path))
        except OSError:
            continue
    with TemporaryDirectory(ignore_cleanup_errors=True) as scratch:  # Windows does not remove what is loaded
        built = Path(scratch, "threefry.dll" if os.name == "nt" else "threefry.so")
        _build(command, built)
        content = built.read_bytes()
        kept = folder / f"{name}-{_digest(content)}{built.suffix}"
        try:
            write_file(kept, content)
        except StorageError:
            kept = built
        try:
            return ctypes.CDLL(str(kept))
        except OSError as error:
            raise _Unavailable(str(error)) from error


def _compiler() -> list[str]:
    """The command of the C compiler: $CC or what systems call theirs."""
    for choice in (os.environ.get("CC", ""), "cc", "gcc", "clang"):
        words = shlex.split(choice)
        if words and (path := shutil.which(words[0])):
            return [path, *words[1:]]
    raise _Unavailable("no C compiler was found")


def _identity(command: list[str]) -> bytes:
    """What a library depends on: source, compiler, options and machine."""
    compiler = os.stat(command[0])
    parts = [*command, compiler.st_size, compiler.st_mtime_ns, platform.platform()]
    return _SOURCE.read_bytes() + repr(parts).encode()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:20]


def _cache_folder() -> Path:
    import platformdirs

    return platformdirs.user_cache_path("bnnbench") / "kernels"


def _kept(folder: Path, name: str) -> Iterator[Path]:
    """Whole libraries of that name."""
    with suppress(OSError):
        for path in folder.glob(f"{name}-*"):
            if path.stem == f"{name}-{_digest(path.read_bytes())}":
                yield path


def _build(command: list[str], library: Path) -> None:
    try:
        subprocess.run([*command, str(_SOURCE), "-o", str(library)], check=True, capture_output=True, timeout=120)
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode(errors="replace").strip().splitlines()
        raise _Unavailable(f"{command[0]}: {lines[0] if lines else f'exit status {error.returncode}'}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _Unavailable(str(error)) from error


def _kernel(library: ctypes.CDLL) -> Kernel:
    """The library's function on tensors, by several threads where a draw is large."""
    whole = library.bnnbench_draw
    pointer, integer = ctypes.c_void_p, ctypes.c_int64
    whole.restype = None
    whole.argtypes = [pointer, integer, integer, ctypes.c_int, ctypes.c_int, ctypes.c_uint32, *4 * [integer], pointer]

    def fill(keys: Tensor, size: int, kind: int, normal: bool, out: Tensor) -> None:
        count, width = keys.shape
        half = max(2, (size + 1) // 2)
        items = count * half
        row, word = keys.stride()
        head = (keys.data_ptr(), row, word, width, normal, kind, size, half)
        if items < 2 * _SHARE or (threads := min(torch.get_num_threads(), items // _SHARE)) < 2:
            whole(*head, 0, items, out.data_ptr())
            return
        cuts = [items * i // threads for i in range(threads + 1)]
        with ThreadPoolExecutor(threads) as pool:
            for done in [pool.submit(whole, *head, *part, out.data_ptr()) for part in pairwise(cuts)]:
                done.result()

    return fill


def _agrees(fill: Kernel) -> bool:
    """Whether its draws equal PyTorch's to the bit: odd and even sizes, each kind of key, with vectors and without."""
    keys = torch.arange(-6, 6, dtype=torch.int32, device="cpu").reshape(4, 3) * 715827883
    for rows, size, normal in product((keys, keys[:, :2], keys[:1]), (1, 2, 3, 67, 300), (False, True)):
        expected = drawn(rows, size, 4, normal)
        out = torch.empty_like(expected)
        fill(rows, size, 4, normal, out)
        if not torch.equal(out.view(torch.int32), expected.view(torch.int32)):
            return False
    return True
