"""The kernel of draws on a CPU: `threefry.c`, built by the system's C compiler at first use and kept for later.

The name of a kept library says what it was built from and what it holds, so that none is taken for it that another
compiler made, that was made for another processor or version, or that was cut short.
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
import sys
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
# By what PyTorch finds the processor able to do. Not -march=native, which means another processor on the next machine
# that has the same cache folder, and is no faster.
_VECTORS = {"AVX2": ["-mavx2"], "AVX512": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl"]}
_SHARE = 2**17  # counters that are worth a thread: about 0.3 ms

log = logging.getLogger(__name__)


@functools.cache
def kernel() -> Kernel | None:
    """What fills draws: (keys [B, 2 or 3], size, kind, normal, out [B, size]); see `pytorch.drawn`.

    None where there is no C compiler, or where its library gives other numbers than PyTorch; that is said once.
    """
    try:
        fill = _on_tensors(_library())
        if _agrees(fill):
            return fill
        reason = "its numbers are not those of PyTorch"
    except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
        reason = str(error)
    log.warning("No C kernel for random numbers (%s); PyTorch makes the same ones, many times slower.", reason)
    return None


def _library() -> ctypes.CDLL:
    """The library, from the user's cache folder or newly built."""
    vectors = _VECTORS.get(torch.backends.cpu.get_cpu_capability(), [])
    command = [*_compiler(), *_OPTIONS, *vectors]
    folder, name = _cache_folder(), f"threefry-{_identity(command)}"
    for path in _kept(folder, name):
        with suppress(OSError):
            return ctypes.CDLL(str(path))
    with TemporaryDirectory(ignore_cleanup_errors=True) as scratch:  # Windows does not remove what is loaded
        path = _built(command, Path(scratch))
        with suppress(StorageError):
            content = path.read_bytes()
            kept = folder / f"{name}-{_digest(content)}{path.suffix}"
            write_file(kept, content)
            path = kept
        return ctypes.CDLL(str(path))


def _compiler() -> list[str]:
    """The command of the C compiler: $CC, or what systems call theirs."""
    for choice in (os.environ.get("CC", ""), "cc", "gcc", "clang"):
        program, *options = shlex.split(choice) or [""]
        if found := shutil.which(program):
            return [found, *options]
    raise RuntimeError("no C compiler was found")


def _identity(command: list[str]) -> str:
    """What a library depends on: source, options, compiler and kind of machine."""
    compiler = os.stat(command[0])
    parts = [*command, compiler.st_size, compiler.st_mtime_ns, sys.platform, platform.machine()]
    return _digest(_SOURCE.read_bytes() + repr(parts).encode())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:20]


def _cache_folder() -> Path:
    import platformdirs  # the folder that pooch has for data

    return platformdirs.user_cache_path("bnnbench") / "kernels"


def _kept(folder: Path, name: str) -> Iterator[Path]:
    """Whole libraries of that name."""
    with suppress(OSError):
        for path in folder.glob(f"{name}-*"):
            if path.stem == f"{name}-{_digest(path.read_bytes())}":
                yield path


def _built(command: list[str], folder: Path) -> Path:
    """A new library in this folder."""
    path = folder / ("threefry.dll" if os.name == "nt" else "threefry.so")
    command = [*command, str(_SOURCE), "-o", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=120)
    if done.returncode:
        lines = [*done.stderr.splitlines(), f"exit status {done.returncode}"]
        raise RuntimeError(f"{command[0]}: {next((line for line in lines if 'error' in line), lines[0])}")
    return path


def _on_tensors(library: ctypes.CDLL) -> Kernel:
    """The library's function on tensors: contiguous `out`, keys of any strides, several threads for a large draw."""
    part = library.bnnbench_draw
    pointer, integer = ctypes.c_void_p, ctypes.c_int64
    part.argtypes = [pointer, integer, integer, ctypes.c_int, ctypes.c_int, ctypes.c_uint32, *4 * [integer], pointer]
    part.restype = None

    def fill(keys: Tensor, size: int, kind: int, normal: bool, out: Tensor) -> None:
        count, width = keys.shape
        half = max(2, (size + 1) // 2)
        items = count * half
        arguments = (keys.data_ptr(), *keys.stride(), width, normal, kind, size, half)
        threads = 1 if items < 2 * _SHARE else min(torch.get_num_threads(), items // _SHARE)
        if threads == 1:
            part(*arguments, 0, items, out.data_ptr())
            return
        cuts = pairwise(items * i // threads for i in range(threads + 1))
        with ThreadPoolExecutor(threads) as pool:  # made anew: cheap, and a fork inherits none
            for done in [pool.submit(part, *arguments, begin, end, out.data_ptr()) for begin, end in cuts]:
                done.result()

    return fill


def _agrees(fill: Kernel) -> bool:
    """Whether its draws equal PyTorch's to the bit: odd and even sizes, each kind of key, with vectors and without."""
    keys = torch.arange(-6, 6, dtype=torch.int32, device="cpu").reshape(4, 3) * 715827883
    for rows, size, normal in product((keys, keys[2:3, :2]), (1, 2, 301), (False, True)):
        expected = drawn(rows, size, 4, normal)
        out = torch.empty_like(expected)
        fill(rows, size, 4, normal, out)
        if not torch.equal(out.view(torch.int32), expected.view(torch.int32)):
            return False
    return True
