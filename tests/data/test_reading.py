"""Files in many forms, each read as the same table."""

from __future__ import annotations

import bz2
import gzip
import lzma
import sys
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from bnnbench.data.reading import Form, read_table
from bnnbench.errors import UserError

FRAME = pd.DataFrame({
    "size, m²": [12.5, 7.25, None, 1234.5, 3.0],
    "place": ['Köln "Süd"', "a, b; c", "two\nlines", None, "São Paulo"],
    "n": [1, 2, 3, 4, 5],
})  # fmt: skip
PLAIN = FRAME.to_csv(index=False)


def written(folder: Path, content: str | bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


FORMS = {
    "comma": PLAIN.encode(),
    "semicolon": FRAME.to_csv(index=False, sep=";").encode(),
    "decimal comma": FRAME.to_csv(index=False, sep=";", decimal=",").encode(),
    "tab": FRAME.to_csv(index=False, sep="\t").encode(),
    "bar": FRAME.to_csv(index=False, sep="|").encode(),
    "BOM": PLAIN.encode("utf-8-sig"),
    "UTF-16": PLAIN.encode("utf-16"),
    "Windows": PLAIN.encode("cp1252"),
    "Windows lines": FRAME.to_csv(index=False, lineterminator="\r\n").encode(),
    "blanks after the separator": PLAIN.replace("\n1", "\n 1").encode(),
    "gzip": gzip.compress(PLAIN.encode()),
    "bz2": bz2.compress(PLAIN.encode()),
    "xz": lzma.compress(PLAIN.encode()),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(form: str, tmp_path: Path) -> None:
    frame, _ = read_table(written(tmp_path, FORMS[form]), Form())
    frame["place"] = frame["place"].str.replace("\r\n", "\n")
    pd.testing.assert_frame_equal(frame, FRAME, check_dtype=False)


def test_zip_and_parquet(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.writestr("inside.csv", PLAIN)
    FRAME.to_parquet(tmp_path / "t.parquet")
    for name in ("t.zip", "t.parquet"):
        pd.testing.assert_frame_equal(read_table(tmp_path / name, Form())[0], FRAME, check_dtype=False)


def test_blanks_between_the_fields(tmp_path: Path) -> None:
    frame, said = read_table(written(tmp_path, " a  b\n 1  2.5\n 3   4\n"), Form())
    assert frame.to_dict("list") == {"a": [1, 3], "b": [2.5, 4.0]}
    assert "blanks" in said


def test_points_between_thousands_make_no_number_of_a_date(tmp_path: Path) -> None:
    text = "a;b;day\n1.234;1,5;01.02.2020\n12;2,25;13.02.2020\n"
    frame, _ = read_table(written(tmp_path, text), Form())
    assert frame.to_dict("list") == {"a": [1234, 12], "b": [1.5, 2.25], "day": ["01.02.2020", "13.02.2020"]}


def test_what_is_found_out_can_be_said(tmp_path: Path) -> None:
    path = written(tmp_path, "a;b\n1,5;x\n2,5;-\n")
    frame, said = read_table(path, Form(missing=("-",)))
    assert frame["a"].tolist() == [1.5, 2.5]
    assert frame["b"].isna().tolist() == [False, True]
    assert said == "separator semicolon, decimal comma, utf-8"
    frame, _ = read_table(path, Form(separator=";", decimal="."))
    assert frame["a"].tolist() == ["1,5", "2,5"]
    frame, _ = read_table(written(tmp_path, "a,b\nä,1\n".encode("cp850")), Form(encoding="cp850"))
    assert frame["a"].tolist() == ["ä"]


HOSTILE = {
    "nothing there": (None, "There is no file"),
    "empty": (b"", "is empty"),
    "blank lines": (b"\n \n\n", "is empty"),
    "one column": (b"a\n1\n2\n", "has one column"),
    "binary": (b"\x89PNG\r\n\0\0\0\rIHDR" + bytes(100), "is no text"),
    "damaged gzip": (gzip.compress(PLAIN.encode())[:40], "cannot be read"),
    "wrong bytes in gzip": (gzip.compress(PLAIN.encode())[:20] + b"xxxx" * 9, "cannot be read"),
    "longer rows": (b"a,b\n1,2\n3,4,5\n", "Expected 2 fields in line 3, saw 3"),
    "all rows longer": (b"a,b\n1,2,3\n4,5,6\n", "separator ','"),
    "quote that never ends": (b'a,b\n1,2\n3,"4\n5,6\n', "cannot be read as a table"),
    "a name twice": (b"a,b,a\n1,2,3\n", "two columns named 'a'"),
    "no names": (b"1,2\n3,4\n", "begins with a line of numbers"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files(kind: str, tmp_path: Path) -> None:
    content, fault = HOSTILE[kind]
    path = tmp_path / "none.csv" if content is None else written(tmp_path, content)
    with pytest.raises(UserError, match=fault) as refused:
        read_table(path, Form())
    sentence = str(refused.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")


def test_other_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path, form: Form = Form()) -> str:  # noqa: B008
        with pytest.raises(UserError) as error:
            read_table(path, form)
        return str(error.value)

    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.csv", PLAIN)
        archive.writestr("b.csv", PLAIN)
    assert "holds 2 files" in refused(tmp_path / "two.zip")
    assert "There is no file" in refused(tmp_path)
    assert "no encoding 'utf-99'" in refused(written(tmp_path, PLAIN), Form(encoding="utf-99"))
    assert "cannot be read as ascii" in refused(written(tmp_path, PLAIN), Form(encoding="ascii"))
    assert "cannot be read" in refused(written(tmp_path, b"PAR1 and no more", "t.parquet"))
    with zipfile.ZipFile(tmp_path / "t.xlsx", "w") as archive:
        archive.writestr("xl/workbook.xml", "")  # by which pandas knows it
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    assert "pip install openpyxl" in refused(tmp_path / "t.xlsx")
