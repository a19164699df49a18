"""The kernel in C: its numbers are PyTorch's to the bit, and what is kept of it is never another one or half a one."""

import hashlib
import itertools
import logging
import os
import shutil
import subprocess
import sys
import threading

import pytest
import torch

from bnnbench import random
from bnnbench.errors import UserError
from bnnbench.random import native, operator, pytorch, threefry

needs_kernel = pytest.mark.skipif(not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler")
SIZES = (1, 2, 3, 4, 5, 15, 16, 17, 31, 32, 33, 63, 100, 1001, 4096)
EDGES = (-(2**31), -(2**31) + 1, -(2**24) - 1, -1, 0, 1, 63, 2**24, 2**31 - 65, 2**31 - 1)


def assert_equal_bits(draws, expected):
    assert draws.dtype == expected.dtype
    assert torch.equal(draws.view(torch.int32), expected.view(torch.int32))


def filled(rows, size, kind, normal):
    out = torch.empty(len(rows), size, dtype=torch.float32 if normal else torch.int32)
    native.kernel()(rows, size, kind, normal, out)
    return out


def some_keys(count, width):
    """Keys, and first counters some of which wrap around soon."""
    keys = random.bits(random.key_of("native", count), (count, width))
    return keys if width == 2 else torch.cat([keys[:, :2], keys[:, 2:] % 7 - 4], -1)


@needs_kernel
@pytest.mark.parametrize("normal", [False, True])
@pytest.mark.parametrize("count", [0, 1, 3, 10, 257])
def test_equal_to_pytorch(count, normal):
    for width, size in itertools.product((2, 3), SIZES):
        rows = some_keys(count, width)
        assert_equal_bits(filled(rows, size, 9, normal), pytorch.drawn(rows, size, 9, normal))


@needs_kernel
@pytest.mark.parametrize("kind", range(2, 12))
def test_each_kind_is_equal(kind):
    keys = some_keys(6, 2)
    expected = pytorch.drawn(keys, 35, kind, kind == operator.NORMAL).view(2, 3, 5, 7)
    assert_equal_bits(operator.draw(keys.view(2, 3, 2), (5, 7), kind), expected)


@needs_kernel
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(("count", "size"), [(1, 800_001), (3, 270_001), (40_000, 21)])
def test_threads_change_nothing(count, size, threads):
    keys, before = some_keys(count, 2), torch.get_num_threads()
    expected = pytorch.drawn(keys, size, 9, normal=True)
    torch.set_num_threads(threads)
    try:
        assert_equal_bits(filled(keys, size, 9, normal=True), expected)
    finally:
        torch.set_num_threads(before)


@needs_kernel
def test_keys_of_any_strides():
    keys = some_keys(12, 2)
    for rows in (keys[::3], keys.T.contiguous().T, keys[:1].expand(4, 2), keys.T[:, :2], keys.flip(-1)):
        assert_equal_bits(operator.draw(rows, (9,), 9), operator.draw(rows.clone(), (9,), 9))
    turned = operator.draw(keys.view(3, 4, 2).transpose(0, 1), (5,), 4)
    assert_equal_bits(turned[1, 2], filled(keys[9:10], 5, 4, False)[0])


@needs_kernel
@pytest.mark.parametrize("flushed", [False, True])
def test_denormals_change_nothing(flushed):
    keys = some_keys(3, 2)
    expected = pytorch.drawn(keys, 100_000, 9, True)
    torch.set_flush_denormal(flushed)
    try:
        assert_equal_bits(filled(keys, 100_000, 9, True), expected)
        assert_equal_bits(pytorch.drawn(keys, 100_000, 9, True), expected)
    finally:
        torch.set_flush_denormal(False)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_default_dtype_changes_nothing(dtype):
    keys = some_keys(3, 2)
    expected = pytorch.drawn(keys, 1001, 9, True)
    torch.set_default_dtype(dtype)
    try:
        assert_equal_bits(pytorch.drawn(keys, 1001, 9, True), expected)
        assert_equal_bits(operator.draw(keys, (1001,), 9), expected)
    finally:
        torch.set_default_dtype(torch.float32)


@needs_kernel
@pytest.mark.parametrize(
    ("key", "counter", "answer"),
    [  # the known-answer tests of Random123
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_threefry_known_answers(key, counter, answer):
    rows = torch.tensor([[*key, counter[0]]], dtype=torch.uint32).view(torch.int32)
    assert [word % 2**32 for word in filled(rows, 4, counter[1], False)[0, ::2].tolist()] == [*answer]


def decrypted(key, a, b):
    """The counter whose words are these: Threefry-2x32-20 backwards."""
    k, x, y = (*key, key[0] ^ key[1] ^ 0x1BD11BDA), a, b
    for i in reversed(range(20)):
        if i % 4 == 3:
            s = i // 4 + 1
            x, y = x - k[s % 3] & 0xFFFFFFFF, y - k[(s + 1) % 3] - s & 0xFFFFFFFF
        r, y = (13, 15, 26, 6, 17, 29, 16, 24)[i % 8], y ^ x
        y = (y >> r | y << 32 - r) & 0xFFFFFFFF
        x = x - y & 0xFFFFFFFF
    return x - k[0] & 0xFFFFFFFF, y - k[1] & 0xFFFFFFFF


@needs_kernel
def test_normals_of_extreme_words(monkeypatch):
    for a, b in itertools.product(EDGES, EDGES):
        first, kind = decrypted((3, 5), a % 2**32, b % 2**32)
        rows = torch.tensor([[3, 5, first]], dtype=torch.uint32).view(torch.int32)
        assert filled(rows, 4, kind, False)[0, ::2].tolist() == [a, b]
        words = torch.tensor([[a]], dtype=torch.int32), torch.tensor([[b]], dtype=torch.int32)
        monkeypatch.setattr(threefry, "words", lambda *_, words=words: words)
        expected = torch.cat(threefry.normals(rows, 0, 1, 0), -1)
        assert_equal_bits(filled(rows, 4, kind, True)[:, ::2].contiguous(), expected)


@pytest.mark.parametrize(
    "key",
    [torch.tensor([1, 2]), torch.ones(2), torch.ones(4, 1, dtype=torch.int32), torch.tensor(7, dtype=torch.int32)],
)
def test_what_is_no_key_is_refused(key):
    with pytest.raises(UserError, match=r"A key is an int32 tensor \[..., 2\]"):
        random.normal(key, (3,))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty cache folder, and no kernel so far."""
    monkeypatch.setattr(native, "_cache_folder", lambda: tmp_path / "kernels")
    native.kernel.cache_clear()
    yield tmp_path / "kernels"
    native.kernel.cache_clear()


def works():
    return native._agrees(native._on_tensors(native._library()))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def forbidden(*_):
    raise AssertionError("built again")


@needs_kernel
def test_a_library_is_kept(folder, monkeypatch):
    assert works()
    (library,) = folder.iterdir()
    assert library.stem.split("-")[2] == hashlib.sha256(library.read_bytes()).hexdigest()[:20]
    monkeypatch.setattr(native, "_built", forbidden)
    assert works()


@needs_kernel
def test_another_compiler_processor_or_source_builds_its_own(folder, monkeypatch, tmp_path):
    assert works()
    monkeypatch.setenv("CC", f"{native._compiler()[0]} -DANOTHER")
    assert works()
    assert len(names(folder)) == 2
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    assert works()
    assert len(names(folder)) == 3
    source = tmp_path / "threefry.c"
    source.write_bytes(native._SOURCE.read_bytes() + b"/* another */\n")
    monkeypatch.setattr(native, "_SOURCE", source)
    assert works()
    assert len(names(folder)) == 4


@needs_kernel
@pytest.mark.parametrize("damage", ["empty", "cut", "altered", "folder"])
def test_a_damaged_library_is_built_again(folder, damage):
    assert works()
    (library,) = folder.iterdir()
    content = library.read_bytes()
    library.unlink()  # what is loaded may be mapped from the file: a new one takes its name
    if damage == "folder":
        library.mkdir()
    else:
        altered = content[:5000] + bytes([content[5000] ^ 1]) + content[5001:]
        library.write_bytes({"empty": b"", "cut": content[: len(content) // 2], "altered": altered}[damage])
    assert works()
    if damage != "folder":
        assert library.read_bytes() == content
    assert works()


@needs_kernel
def test_what_a_kill_leaves_is_not_loaded(folder):
    folder.mkdir()
    (folder / ".threefry-0123456789.0123456789abcdef").write_bytes(b"\x7fELF half a library")
    assert works()
    assert len(names(folder)) == 2


@needs_kernel
def test_without_a_place_to_keep_it(tmp_path, folder, monkeypatch):
    (tmp_path / "kernels").write_text("a file where the folder would be")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    assert works()
    assert not any(scratch.iterdir())


def said(caplog):
    assert native.kernel() is None
    assert native.kernel() is None
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    return record.getMessage()


def same_draws():
    keys = some_keys(3, 2)
    return torch.equal(random.normal(keys, (33,)), pytorch.drawn(keys, 33, 9, True))


def test_without_a_compiler(folder, monkeypatch, caplog, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CC", "")
    assert "no C compiler was found" in said(caplog)
    assert same_draws()


@pytest.mark.skipif(os.name == "nt", reason="commands of POSIX")
@pytest.mark.parametrize(
    ("command", "reason"),
    [("false", "false: exit status 1"), ("cc -no-such-option", "no-such-option"), ("'", "quotation")],
)
def test_a_compiler_that_fails(folder, monkeypatch, caplog, command, reason):
    monkeypatch.setenv("CC", command)
    assert reason in said(caplog)
    assert same_draws()


@needs_kernel
@pytest.mark.parametrize(("right", "wrong"), [("ROUND(24)", "ROUND(25)"), ("1.57079625f", "1.57079637f")])
def test_other_numbers_are_refused(folder, monkeypatch, caplog, tmp_path, right, wrong):
    source = tmp_path / "threefry.c"
    text = native._SOURCE.read_text()
    assert right in text
    source.write_text(text.replace(right, wrong))
    monkeypatch.setattr(native, "_SOURCE", source)
    assert "not those of PyTorch" in said(caplog)
    assert same_draws()


@needs_kernel
def test_threads_at_once(folder):
    right = []
    threads = [threading.Thread(target=lambda: right.append(works())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 4
    assert len(names(folder)) == 1


@needs_kernel
@pytest.mark.skipif(sys.platform != "linux", reason="XDG_CACHE_HOME")
def test_processes_at_once_share_one_library(tmp_path):
    code = "from bnnbench import random; print(random.bits(random.key(7), (3,)).tolist())"
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, "-c", code]
    both = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    expected = f"{random.bits(random.key(7), (3,)).tolist()}\n"
    assert [process.communicate(timeout=300)[0] for process in both] == [expected] * 2
    (library,) = (tmp_path / "bnnbench" / "kernels").iterdir()
    assert library.stem.split("-")[2] == hashlib.sha256(library.read_bytes()).hexdigest()[:20]
