import errno
import gzip
import hashlib
import io
import tarfile
from decimal import Decimal
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UserError
from pipeline.ingest.config import IngestConfig
from pipeline.ingest.formats import UnreadableFile
from pipeline.ingest.parquet import _meta
from pipeline.ingest.readers import read_part
from pipeline.splits import Part

from .ingest_samples import PAGE, http, read, tar_of, verdicts, warc_gz, warc_record


def parquet_of(table: pa.Table, rows_per_group: int = 10) -> bytes:
    target = io.BytesIO()
    pq.write_table(table, target, row_group_size=rows_per_group)
    return target.getvalue()


def test_columns_positions_and_row_groups(tmp_path: Path) -> None:
    texts = [f"문서 {index}" for index in range(35)]
    content = parquet_of(pa.table({"text": texts, "id": range(35), "url": ["http://a"] * 35, "n": [{"b": b"\xff", "a": 1.5}] * 35}))
    whole = read(tmp_path, content, "parquet")
    assert whole["text"].to_pylist() == texts and whole["position"].to_pylist() == list(range(35))
    assert whole["source_id"][3].as_py() == "3" and whole["meta"][0].as_py() == '{"n":{"a":1.5,"b":"/w=="}}'
    pieces = [read(tmp_path, content, "parquet", start=start, stop=stop) for start, stop in ((0, 1), (1, 3), (3, 4))]
    assert pa.concat_tables(pieces).to_pylist() == whole.to_pylist()


def test_bad_rows_are_quarantined(tmp_path: Path) -> None:
    offsets, data = pa.py_buffer(b"".join(n.to_bytes(4, "little") for n in (0, 2, 4, 5, 5))), pa.py_buffer(b"ok\xff\xfe ")
    text = pa.concat_arrays([pa.StringArray.from_buffers(4, offsets, data), pa.array([None, "y" * 100])])
    table = read(tmp_path, parquet_of(pa.table({"text": text})), "parquet", IngestConfig(max_document_bytes=50))
    assert verdicts(table) == ["kept", "error", "empty_text", "empty_text", "error", "error"]
    assert "row 1 has invalid UTF-8" in table["error"][1].as_py()


def test_wrong_column_and_broken_footer(tmp_path: Path) -> None:
    content = parquet_of(pa.table({"text": [1, 2]}))
    with pytest.raises(UserError, match=r"column 'text' of .*input has type int64"):
        read(tmp_path, content, "parquet")
    with pytest.raises(UserError, match="no column 'body'"):
        read(tmp_path, content, "parquet", text_column="body")
    with pytest.raises(UnreadableFile, match="footer"):
        read(tmp_path, content[:-10], "parquet")


def test_a_damaged_row_group_costs_only_itself(tmp_path: Path) -> None:
    content = bytearray(parquet_of(pa.table({"text": [f"text number {index} " * 20 for index in range(30)]})))
    metadata = pq.ParquetFile(io.BytesIO(bytes(content))).metadata.row_group(1).column(0)
    start = metadata.dictionary_page_offset or metadata.data_page_offset
    content[start : start + metadata.total_compressed_size] = b"\xff" * metadata.total_compressed_size
    assert verdicts(read(tmp_path, bytes(content), "parquet")) == ["kept"] * 10 + ["error"] + ["kept"] * 10


def test_a_missing_file_is_no_damaged_content(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(read_part(Part(str(tmp_path / "no"), "no", "jsonl", "s", "", 0), IngestConfig()))


class Flaky(io.BytesIO):
    """A file whose reading fails once `reads` calls went well."""

    def __init__(self, content: bytes, error: Exception, reads: int) -> None:
        super().__init__(content)
        self.error, self.reads = error, reads

    def read(self, size: int | None = -1) -> bytes:
        self.reads -= 1
        if self.reads < 0:
            raise self.error
        return super().read(size)


@pytest.mark.parametrize("error", [OSError(errno.EIO, "I/O error"), TimeoutError("slow"), RuntimeError("payload is not complete")])
@pytest.mark.parametrize("format_", ["jsonl", "parquet", "warc", "tar"])
def test_a_read_that_fails_is_raised_and_never_a_row(monkeypatch: pytest.MonkeyPatch, error: Exception, format_: str) -> None:
    noise = [hashlib.sha512(str(index).encode()).hexdigest() for index in range(4000)]
    contents = {
        "jsonl": b'{"text":"x"}\n' * 100_000,
        "parquet": parquet_of(pa.table({"text": noise}), 1000),
        "warc": b"".join(warc_record(http(PAGE)) for _ in range(10_000)),
        "tar": tar_of({f"{index}.html": PAGE for index in range(2000)}),
    }
    content = contents[format_]
    for reads in (0, 1, 4) if format_ == "parquet" else (0, 1):
        monkeypatch.setattr("pipeline.ingest.readers.open_file", lambda path, reads=reads: Flaky(content, error, reads))
        with pytest.raises(type(error), match=str(error.args[-1])):
            list(read_part(Part("s3://b/x", "x", format_, "s", "", len(content)), IngestConfig()))


def test_odd_side_columns_cost_no_document(tmp_path: Path) -> None:
    bad = pa.StringArray.from_buffers(2, pa.py_buffer(b"\0\0\0\0\3\0\0\0\5\0\0\0"), pa.py_buffer(b"a\xffbcd"))
    columns = {
        "text": ["one", "two"],
        "far": pa.array([1 << 61, 2], pa.timestamp("us")),
        "day": pa.array([10**9, 2], pa.date32()),
        "zone": pa.array([1, 2], pa.timestamp("us", "Mars/Base")),
        "list": pa.ListArray.from_arrays([0, 1, 2], bad),
        "struct": pa.StructArray.from_arrays([bad], names=["z"]),
        "category": bad.dictionary_encode(),
    }
    table = read(tmp_path, parquet_of(pa.Table.from_arrays([*map(pa.array, columns.values()), bad], names=[*columns, "far"])), "parquet")
    assert verdicts(table) == ["kept", "kept"]
    first, second = (orjson.loads(meta) for meta in table["meta"].to_pylist())
    assert first["far"] == "unreadable timestamp[us]: OverflowError" and second["far"] == "1970-01-01T00:00:00.000002"
    assert first["day"] == "unreadable date32[day]: OverflowError" and second["day"] == "1970-01-03"
    assert first["zone"].startswith("unreadable timestamp[us, tz=Mars/Base]: ")
    assert first["list"] == "unreadable list<element: string>: UnicodeDecodeError" and second["list"] == ["cd"]
    assert first["struct"] == "unreadable struct<z: string>: UnicodeDecodeError" and second["struct"] == {"z": "cd"}
    assert first["category"] == first["far#2"] == "a\ufffdb" and second["category"] == second["far#2"] == "cd"


def test_values_that_json_cannot_hold_are_named() -> None:
    value: object = 1
    for _ in range(300):  # deeper than a Parquet file can be, so that orjson's own limit is met
        value = [value]
    meta = orjson.loads(_meta(pa.table({"text": ["a"], "n": [7], "deep": [value]}), {"text"})[0].as_py())
    assert meta["n"] == 7 and meta["deep"].startswith("unreadable list<") and meta["deep"].endswith(": TypeError")


@pytest.mark.parametrize("name", ["text", "id"])
def test_two_text_or_id_columns_are_a_user_error(tmp_path: Path, name: str) -> None:
    names = ["text", "id", name]
    content = parquet_of(pa.Table.from_arrays([pa.array(["a"])] * 3, names=names))
    with pytest.raises(UserError, match=f"input has 2 columns named '{name}'"):
        read(tmp_path, content, "parquet")


def test_categorical_columns_and_number_ids(tmp_path: Path) -> None:
    category = pa.array(["x", "y", "x"]).dictionary_encode()
    table = pa.table(dict.fromkeys(("id", "url", "title", "date", "text"), category))
    found = read(tmp_path, parquet_of(table), "parquet", keep_ids=True)
    for name in ("id", "url", "title", "date", "text"):
        assert found[name].to_pylist() == ["x", "y", "x"]
    for ids in (pa.array([1, 2]), pa.array([1, 2], pa.float16()), pa.array([1, 2]).dictionary_encode()):
        content = parquet_of(pa.table({"id": ids, "text": ["a", "b"]}))
        assert read(tmp_path, content, "parquet", keep_ids=True)["id"].to_pylist() == ["1", "2"]


@pytest.mark.parametrize("ids", [pa.array([b"a"]), pa.array([Decimal(1)]), pa.array([["a"]]), pa.array([True])])
def test_ids_of_another_type_are_a_user_error(tmp_path: Path, ids: pa.Array) -> None:
    with pytest.raises(UserError, match=r"column 'id' of .*input has type .*, but ids must be text or numbers"):
        read(tmp_path, parquet_of(pa.table({"id": ids, "text": ["a"]})), "parquet")


def test_members_by_kind(tmp_path: Path) -> None:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        for name, content in {
            "a/" + "long" * 60 + ".html": PAGE,
            "b.html.gz": gzip.compress(PAGE),
            "c.txt": "글".encode(),
            "d.warc.gz": warc_gz(2),
            "e.json": b"{}",
            "f.jsonl": b'{"text":"x"}\n',
            "g": b"\0\1",
            "../../h.html": PAGE,
            "i.tar": tar_of({}),
            "c.txt ": b"",
        }.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    table = read(tmp_path, target.getvalue(), "tar")
    assert verdicts(table) == [
        *("kept", "kept", "kept", "kept", "kept", "mime:application/json", "kept", "mime:application/octet-stream", "kept", "error"),
        *("mime:application/octet-stream", "tar_member:symlink", "tar_member:directory"),
    ]
    assert table["file"][0].as_py() == "input!a/" + "long" * 60 + ".html"
    assert table["file"][3].as_py() == "input!d.warc.gz" and table["position"][3].as_py() == 0


def test_equal_names_get_distinct_ids(tmp_path: Path) -> None:
    target, content = io.BytesIO(), warc_record(http())
    with tarfile.open(fileobj=target, mode="w") as archive:
        for _ in range(2):
            info = tarfile.TarInfo("a.warc")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    table = read(tmp_path, target.getvalue(), "tar")
    assert table["file"].to_pylist() == ["input!a.warc", "input!a.warc#1"]
    assert len(set(table["id"].to_pylist())) == 2


@pytest.mark.parametrize("format_", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_reads_what_tarfile_writes(tmp_path: Path, format_: int) -> None:
    target = io.BytesIO()
    names = ["한글 이름.txt", "x/" + "y" * 90 + ".txt", "plain.txt"]
    with tarfile.open(fileobj=target, mode="w", format=format_) as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 600
            archive.addfile(info, io.BytesIO(b"z" * 600))
    table = read(tmp_path, target.getvalue(), "tar")
    assert table["file"].to_pylist() == [f"input!{name}" for name in names]
    assert table["raw"].to_pylist() == [b"z" * 600] * 3


def test_damage_in_an_archive_is_one_row(tmp_path: Path) -> None:
    content = tar_of({f"{index}.html": PAGE for index in range(3)})
    assert verdicts(read(tmp_path, content[:550], "tar")) == ["error"]
    assert verdicts(read(tmp_path, content[:1030], "tar")) == ["kept", "error"]
    broken = bytearray(content)
    broken[1024 + 20] ^= 1
    assert verdicts(read(tmp_path, bytes(broken), "tar")) == ["kept", "error", "kept"]
    table = read(tmp_path, tar_of({"big.html": PAGE * 99}), "tar", IngestConfig(max_archive_bytes=100))
    assert "max_archive_bytes" in table["error"][0].as_py()


def test_single_page_and_text_files(tmp_path: Path) -> None:
    row = read(tmp_path, gzip.compress(PAGE), "html").to_pylist()[0]
    assert (row["raw"], row["mime"], row["position"], row["file"]) == (PAGE, "text/html", 0, "input")
    assert verdicts(read(tmp_path, b"", "text")) == ["empty_text"]
    assert verdicts(read(tmp_path, b"x" * 99, "text", IngestConfig(max_document_bytes=50))) == ["error"]
