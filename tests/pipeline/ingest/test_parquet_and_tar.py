import gzip
import io
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UserError
from pipeline.ingest.config import IngestConfig
from pipeline.ingest.formats import UnreadableFile

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


def test_missing_file_is_unreadable(tmp_path: Path) -> None:
    from pipeline.ingest.readers import read_part
    from pipeline.splits import Part

    with pytest.raises(UnreadableFile, match="can't be opened"):
        list(read_part(Part(str(tmp_path / "no"), "no", "jsonl", "s", "", 0), IngestConfig()))


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


def test_damaged_archives_end_in_one_row(tmp_path: Path) -> None:
    content = tar_of({f"{index}.html": PAGE for index in range(3)})
    assert verdicts(read(tmp_path, content[:550], "tar")) == ["error"]
    assert verdicts(read(tmp_path, content[:1030], "tar")) == ["kept", "error"]
    broken = bytearray(content)
    broken[1024 + 20] ^= 1
    assert verdicts(read(tmp_path, bytes(broken), "tar")) == ["kept", "error"]
    table = read(tmp_path, tar_of({"big.html": PAGE * 99}), "tar", IngestConfig(max_archive_bytes=100))
    assert "max_archive_bytes" in table["error"][0].as_py()


def test_single_page_and_text_files(tmp_path: Path) -> None:
    row = read(tmp_path, gzip.compress(PAGE), "html").to_pylist()[0]
    assert (row["raw"], row["mime"], row["position"], row["file"]) == (PAGE, "text/html", 0, "input")
    assert verdicts(read(tmp_path, b"", "text")) == ["empty_text"]
    assert verdicts(read(tmp_path, b"x" * 99, "text", IngestConfig(max_document_bytes=50))) == ["error"]
