"""Image data sets: the real files, files in their formats, and what a user is told when they are not in order."""

from __future__ import annotations

import gzip
import hashlib
import io
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bnnbench.data.arrays import Data
from bnnbench.data.cards import Card, card
from bnnbench.data.download import fetch
from bnnbench.data.files import present, verify
from bnnbench.data.loaders import LOADERS, cifar, load
from bnnbench.data.local import import_local
from bnnbench.errors import UserError

# Part of every fingerprint: a change here orphans stored results.
CHECKSUMS = {"mnist": "b90e833b821e", "kmnist": "2dfb4e5adf13", "notmnist": "154e464ea5f2"}
MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
GREY = tuple(CHECKSUMS)
SETS = (*GREY, "cifar10", "cifar100", "cifar10-sample")
ARCHIVES = {"cifar10": "cifar-10-binary.tar.gz", "cifar100": "cifar-100-binary.tar.gz"}


@pytest.fixture
def real(data_root: Path) -> Callable[[str], Path]:
    """The data root with the files of a set; a test that asks for a set that is not there is skipped."""

    def with_set(name: str) -> Path:
        if not present(card(name), data_root):
            pytest.skip(f"the files of {name} are not in {data_root}")
        return data_root

    return with_set


def _fails(run: Callable[[], object], *parts: object) -> None:
    """One sentence that holds the parts."""
    with pytest.raises(UserError) as caught:
        run()
    sentence = str(caught.value)
    assert "\n" not in sentence
    for part in parts:
        assert str(part) in sentence


def _parts(data: Data) -> tuple[np.ndarray, np.ndarray]:
    assert data.fixed is not None
    np.testing.assert_array_equal(np.concatenate(data.fixed), np.arange(len(data.y)))
    return data.fixed


@pytest.mark.data
@pytest.mark.parametrize(("name", "train"), [("mnist", 60_000), ("kmnist", 0), ("notmnist", 0)])
def test_grey(name: str, train: int, real) -> None:
    data = load(name, real(name))
    assert data.x.shape == (train + 10_000, 1, 28, 28)
    assert (data.x.dtype, data.y.dtype) == (np.float32, np.int64)
    assert (data.x.min(), data.x.max(), data.classes) == (0.0, 1.0, tuple(range(10)))
    assert [len(part) for part in _parts(data)] == [train, 10_000]
    assert data.checksum == CHECKSUMS[name]
    # Exactly the 256 levels.
    levels = np.float32(np.arange(256)) / np.float32(255)
    assert np.isin(data.x[-1000:], levels).all()


@pytest.mark.data
def test_mnist_is_the_published_one(real) -> None:
    data = load("mnist", root := real("mnist"))
    train, test = _parts(data)
    assert data.y[train][:5].tolist() == [5, 0, 4, 1, 9]
    assert data.y[test][:5].tolist() == [7, 2, 1, 0, 4]
    fit = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    held = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(data.y[train]).tolist() == fit
    assert np.bincount(data.y[test]).tolist() == held
    assert data.x[train].mean(dtype=np.float64) == pytest.approx(0.1307, abs=5e-5)
    assert data.x[train].std(dtype=np.float64) == pytest.approx(0.3081, abs=5e-5)
    folder = root / card("mnist").folder
    for name, md5 in MD5.items():
        content = gzip.decompress((folder / f"{name}.gz").read_bytes())
        assert hashlib.md5(content).hexdigest() == md5
        assert hashlib.sha256(content).hexdigest() == card("mnist").files[name]


@pytest.mark.data
@pytest.mark.parametrize("name", ["kmnist", "notmnist"])
def test_relatives_hold_each_class_equally(name: str, real) -> None:
    assert np.bincount(load(name, real(name)).y).tolist() == [1000] * 10


@pytest.mark.data
def test_plain_and_recompressed_files_give_the_same(real, tmp_path: Path) -> None:
    entry, folder = card("kmnist"), tmp_path / card("kmnist").folder
    shutil.copytree(real("kmnist") / entry.folder, folder)
    images, labels = (folder / f"{name}.gz" for name in entry.files)
    content = gzip.decompress(images.read_bytes())
    images.write_bytes(gzip.compress(content, 1))
    assert load("kmnist", tmp_path).checksum == CHECKSUMS["kmnist"]
    images.with_suffix("").write_bytes(content)
    images.unlink()
    labels.with_suffix("").write_bytes(gzip.decompress(labels.read_bytes()))
    labels.write_bytes(b"never looked at")
    assert load("kmnist", tmp_path).checksum == CHECKSUMS["kmnist"]
    assert verify(tmp_path, (entry,))[0].state == "ok"


@pytest.mark.data
@pytest.mark.parametrize("fault", ["cut off", "altered", "foreign", "plain, cut off"])
def test_a_bad_file_is_named(fault: str, real, tmp_path: Path) -> None:
    entry, folder = card("notmnist"), tmp_path / card("notmnist").folder
    shutil.copytree(real("notmnist") / entry.folder, folder)
    bad = folder / "t10k-labels-idx1-ubyte.gz"
    raw = bad.read_bytes()
    bad.chmod(0o644)
    if fault == "cut off":
        bad.write_bytes(raw[: len(raw) // 2])
    elif fault == "altered":
        bad.write_bytes(raw[:1000] + bytes([raw[1000] ^ 255]) + raw[1001:])
    elif fault == "foreign":
        bad.write_bytes(gzip.compress(b"<html>please log in</html>"))
    else:
        bad.chmod(0o644)
        bad = bad.with_suffix("")
        bad.write_bytes(gzip.decompress(raw)[:5000])
    _fails(
        lambda: load("notmnist", tmp_path),
        f"{bad} does not match its checksum",
        "bnnbench data fetch notmnist --force",
    )
    assert verify(tmp_path, (entry,))[0][1:4] == ("corrupt", 2, ("t10k-labels-idx1-ubyte",))


@pytest.mark.parametrize("name", SETS)
def test_a_missing_file_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = card(name)
    nowhere = "http://127.0.0.1:9/"  # nobody listens there
    offline = replace(entry, url=(entry.url or entry.torchvision) and nowhere, torchvision="")
    monkeypatch.setattr("bnnbench.data.loaders.card", lambda _: offline)
    file = next(iter(entry.files)) + (".gz" if entry.compressed else "")
    remedies = ("bnnbench data fetch", f"bnnbench data import {name} PATH")
    _fails(lambda: load(name, tmp_path), file, tmp_path / entry.folder, *remedies)
    _fails(lambda: LOADERS[name](entry, tmp_path), file, tmp_path / entry.folder, *remedies)
    assert not any(tmp_path.iterdir())


@pytest.mark.data
@pytest.mark.parametrize("source", ["its folder", "the data root", "a tar archive", "plain files"])
def test_import_of_grey_images(source: str, real, tmp_path: Path) -> None:
    entry, path = card("kmnist"), real("kmnist")
    if source == "its folder":
        path = path / entry.folder
    elif source == "a tar archive":
        with tarfile.open(tmp_path / "copy.tar", "w") as archive:
            archive.add(path / entry.folder, "somewhere/else")
        path = tmp_path / "copy.tar"
    elif source == "plain files":
        (tmp_path / "plain").mkdir()
        for name in entry.files:
            content = gzip.decompress((path / entry.folder / f"{name}.gz").read_bytes())
            (tmp_path / "plain" / name).write_bytes(content)
        path = tmp_path / "plain"
    import_local(entry, path, tmp_path / "root")
    end = "" if source == "plain files" else ".gz"
    assert {p.name for p in (tmp_path / "root" / entry.folder).iterdir()} == {name + end for name in entry.files}
    assert load("kmnist", tmp_path / "root").checksum == CHECKSUMS["kmnist"]


@pytest.mark.data
@pytest.mark.parametrize("name", GREY)
def test_grey_pixels_and_labels_are_those_that_torchvision_reads(name: str, real, tmp_path: Path) -> None:
    """Through its classes' own readers, from unpacked files."""
    from torchvision.datasets.mnist import read_image_file, read_label_file

    data, folder = load(name, root := real(name)), root / card(name).folder
    parts = ("train", "t10k") if len(_parts(data)[0]) else ("t10k",)
    for part, rows in zip(reversed(parts), reversed(_parts(data)), strict=False):
        for kind, reader in (("images-idx3", read_image_file), ("labels-idx1", read_label_file)):
            packed, plain = folder / f"{part}-{kind}-ubyte.gz", tmp_path / f"{part}-{kind}"
            plain.write_bytes(gzip.decompress(packed.read_bytes()))
            theirs = reader(str(plain)).numpy()
            ours = np.rint(data.x[rows, 0] * 255) if reader is read_image_file else data.y[rows]
            np.testing.assert_array_equal(ours, theirs)


def test_grey_files_that_are_not_what_the_card_states(tmp_path: Path) -> None:
    """Files of the right checksum and the wrong content: a card's fault, and still one sentence."""
    labels = b"\0\0\x08\x01\0\0\0\x02\x01\x0b"
    images = b"\0\0\x08\x03" + b"\0\0\0\x02" + b"\0\0\0\x1c" * 2 + bytes(2 * 28 * 28)
    names = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

    def load_as(*contents: bytes, **more: object) -> None:
        files = dict(zip(names, (hashlib.sha256(content).hexdigest() for content in contents), strict=True))
        entry = replace(card("kmnist"), files=files, **more)  # type: ignore[arg-type]
        (tmp_path / entry.folder).mkdir(parents=True, exist_ok=True)
        for name, content in zip(names, contents, strict=True):
            (tmp_path / entry.folder / name).write_bytes(content)
        LOADERS["kmnist"](entry, tmp_path)

    _fails(lambda: load_as(images, labels), "kmnist holds the label 11, but has the classes 0 to 9")
    labels = labels[:-1] + b"\x02"
    _fails(lambda: load_as(images, labels), "2 rows and 1 x 28 x 28 pixels, but its card states 10000")
    load_as(images, labels, rows=2)


def _sample(root: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pixels uint8 [6000, 3, 32, 32] and labels of the sample."""
    data = load("cifar10-sample", root)
    return np.rint(data.x * 255).astype(np.uint8), data.y.astype(np.uint8)


def _archive(entry: Card, root: Path, members: dict[str, bytes]) -> Card:
    """Files in the archive of a CIFAR set; the card with its md5."""
    path = root / entry.folder / ARCHIVES[entry.name]
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(f"{entry.folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return replace(entry, files={path.name: "md5:" + hashlib.md5(path.read_bytes()).hexdigest()})


def _records(pixels: np.ndarray, *labels: np.ndarray) -> bytes:
    return b"".join(
        bytes(int(label[i]) for label in labels) + pixels[i].tobytes() for i in range(len(pixels))
    )  # plane by plane, row by row


@pytest.mark.data
def test_cifar10_reads_what_was_written(real, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, labels = _sample(real("cifar10-sample"))
    order = np.random.default_rng(0).permutation(5000)
    parts = {f"data_batch_{i + 1}.bin": order[1000 * i : 1000 * (i + 1)] for i in range(5)}
    parts["test_batch.bin"] = np.arange(5000, 6000)
    # The archive lists its files in another order, beside some that are no data.
    members = {name: _records(pixels[parts[name]], labels[parts[name]]) for name in reversed(parts)}
    members |= {"readme.html": b"<html></html>", "batches.meta.txt": b"airplane\n"}
    entry = _archive(replace(card("cifar10"), rows=6000), tmp_path, members)
    monkeypatch.setattr("bnnbench.data.loaders.card", lambda _: entry)
    data = load("cifar10", tmp_path)
    rows = np.concatenate([order, np.arange(5000, 6000)])
    np.testing.assert_array_equal(data.x * 255, pixels[rows])
    np.testing.assert_array_equal(data.y, labels[rows])
    assert data.x.dtype == np.float32
    assert data.classes == tuple(range(10))
    assert [len(part) for part in _parts(data)] == [5000, 1000]
    assert verify(tmp_path, (entry,))[0].state == "ok"


def test_cifar100_has_its_fine_labels(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (30, 3, 32, 32), dtype=np.uint8)
    coarse, fine = rng.integers(0, 20, 30), rng.permutation(100)[:30]
    members = {
        "train.bin": _records(pixels[:20], coarse, fine),
        "test.bin": _records(pixels[20:], coarse[20:], fine[20:]),
    }
    entry = _archive(replace(card("cifar100"), rows=30), tmp_path, members)
    data = LOADERS["cifar100"](entry, tmp_path)
    np.testing.assert_array_equal(np.rint(data.x * 255), pixels)
    np.testing.assert_array_equal(data.y, fine)
    assert data.classes == tuple(range(100))
    assert [len(part) for part in _parts(data)] == [20, 10]


def test_cifar_archives_that_are_none(tmp_path: Path) -> None:
    def load_as(members: dict[str, bytes]) -> None:
        LOADERS["cifar100"](_archive(replace(card("cifar100"), rows=2), tmp_path, members), tmp_path)

    path = tmp_path / card("cifar100").folder / ARCHIVES["cifar100"]
    record = bytes(3074)
    load_as({"train.bin": record, "test.bin": record})
    _fails(
        lambda: load_as({"train": b"a pickle", "test.bin": record}), f"{path} does not hold train.bin", "binary version"
    )
    _fails(
        lambda: load_as({"train.bin": record[:-1], "test.bin": record}), "train.bin in", "records of 3074 bytes", "3073"
    )
    _fails(lambda: load_as({"train.bin": b"", "test.bin": record}), "train.bin in", "has 0 bytes")
    _fails(lambda: load_as({"train.bin": b"\0\xc8" + record[2:], "test.bin": record}), "label 200", "0 to 99")
    path.write_bytes(path.read_bytes()[:40])
    _fails(lambda: LOADERS["cifar100"](card("cifar100"), tmp_path), f"{path} does not match its checksum")
    for raw in (path.read_bytes(), b"", b"no archive at all" * 100):
        _fails(
            lambda raw=raw: cifar.members(raw, "a.tar.gz", lambda _: True), "a.tar.gz is not a tar archive, or damaged"
        )


def test_import_takes_an_archive_as_it_is(tmp_path: Path) -> None:
    record = bytes(3074)
    members = {"train.bin": record, "test.bin": record}
    entry = _archive(replace(card("cifar100"), rows=2), tmp_path / "source", members)
    source = tmp_path / "source" / entry.folder / ARCHIVES["cifar100"]
    for place in (source, source.parent, tmp_path / "source"):
        root = tmp_path / f"root-{place.name}"
        import_local(entry, place, root)
        assert len(LOADERS["cifar100"](entry, root).y) == 2
    source.write_bytes(b"altered")
    _fails(lambda: import_local(entry, source, tmp_path / "new"), source.name, "does not match its checksum")


@pytest.mark.data
def test_the_jpeg_sample(real) -> None:
    data = load("cifar10-sample", real("cifar10-sample"))
    train, test = _parts(data)
    assert data.x.shape == (6000, 3, 32, 32)
    assert data.x.dtype == np.float32
    assert 0 <= data.x.min() < 0.01
    assert 0.99 < data.x.max() <= 1
    # Sorted by class, and the classes in CIFAR's own order, which is alphabetical.
    np.testing.assert_array_equal(data.y[train], np.repeat(np.arange(10), 500))
    np.testing.assert_array_equal(data.y[test], np.repeat(np.arange(10), 100))
    # CIFAR-10's mean colour (0.491, 0.482, 0.447): red, green and blue planes in this order.
    np.testing.assert_allclose(data.x.mean((0, 2, 3)), [0.491, 0.482, 0.447], atol=0.015)
    assert "never comparable with published numbers" in data.notes[0]


def test_the_sample_cannot_be_downloaded(tmp_path: Path) -> None:
    entry = card("cifar10-sample")
    folder = tmp_path / entry.folder
    _fails(
        lambda: fetch(entry, tmp_path), "train.tar", folder, "no address", "bnnbench data import cifar10-sample PATH"
    )


def test_a_picture_that_is_none() -> None:
    from PIL import Image

    stream = io.BytesIO()
    Image.new("RGB", (32, 32), (255, 0, 128)).save(stream, "JPEG")
    pixels = cifar.picture(stream.getvalue(), "a.jpg")
    assert pixels.shape == (3, 32, 32)
    np.testing.assert_allclose(pixels.mean((1, 2)), [255, 0, 128], atol=3)
    for content in (b"", b"<html></html>", stream.getvalue()[:300]):
        _fails(lambda content=content: cifar.picture(content, "a.jpg"), "a.jpg is not a JPEG file, or damaged")
    stream = io.BytesIO()
    Image.new("RGB", (31, 32)).save(stream, "JPEG")
    _fails(lambda: cifar.picture(stream.getvalue(), "a.jpg"), "a.jpg has 31 x 32 pixels instead of 32 x 32")
    stream = io.BytesIO()
    Image.new("RGB", (32, 32)).save(stream, "PNG")
    _fails(lambda: cifar.picture(stream.getvalue(), "a.jpg"), "a.jpg is not a JPEG file")


def test_types_of_data() -> None:
    """Images in float32 stay as they are, without a copy; all else becomes float64; the checksum sees the values."""
    images, y = np.random.default_rng(0).random((4, 1, 2, 2), dtype=np.float32), np.arange(4)
    data = Data.of(images, y)
    assert data.x is images
    assert Data.of(images.reshape(4, 4, 1, 1), y).checksum == data.checksum
    assert Data.of(images.astype(">f4").astype("<f4"), y).checksum == data.checksum
    assert Data.of(images.reshape(4, 4), y).x.dtype == np.float64
    assert Data.of(images.reshape(4, 4), y).checksum == Data.of(images.reshape(4, 4).astype(np.float64), y).checksum
    assert Data.of(images + np.float32(1), y).checksum != data.checksum
    _fails(lambda: Data.of(images[:, 0, 0, 0], y), "[N, C, H, W]", "not [4] and [4]")
