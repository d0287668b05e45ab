"""Inputs from an S3-compatible server on loopback: the same documents as from disk, and one sentence for what is not there."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import s3fs
import yaml
from moto.server import ThreadedMotoServer

from pipeline.sample import write_sample
from tests.pipeline.runs import onnuri


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    """An S3 server with a bucket that holds a small crawl; yields (environment, folder of the same files)."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    folder = write_sample(tmp_path_factory.mktemp("s3") / "crawl", documents=120)
    filesystem = s3fs.S3FileSystem(endpoint_url=environment["AWS_ENDPOINT_URL"], key="test", secret="test", skip_instance_cache=True)
    filesystem.mkdir("crawl")
    for path in [*folder.glob("crawl/*"), *folder.glob("jsonl/*"), *folder.glob("parquet/*")]:
        filesystem.put(str(path), f"crawl/{path.parent.name}/{path.name}")
    yield environment, folder
    server.stop()


def ingested(run) -> pa.Table:
    table = ds.dataset(run / "ingest" / "kept").to_table(columns=["id", "text", "file", "position"])
    return table.sort_by("id")


def test_an_s3_bucket_gives_the_same_documents_as_a_folder(bucket, tmp_path):
    environment, folder = bucket
    runs = {}
    for name, root in (("disk", str(folder)), ("s3", "s3://crawl")):
        inputs = [{"path": f"{root}/{kind}", "source": kind} for kind in ("crawl", "jsonl", "parquet")]
        values = {"inputs": inputs, "dedup": None, "decontaminate": None, "split_bytes": 50_000}
        config = tmp_path / f"{name}.yaml"
        config.write_text(yaml.safe_dump(values), encoding="utf-8")
        done = onnuri("run", config, "-o", tmp_path / name, "--quiet", **environment)
        assert done.returncode == 0, done.stderr
        runs[name] = ingested(tmp_path / name)
    assert len(runs["disk"]) > 80
    assert runs["s3"].equals(runs["disk"])


def test_a_bucket_that_is_not_there_is_one_sentence(bucket, tmp_path):
    environment, _ = bucket
    done = onnuri("ingest", "s3://nowhere/*.warc.gz", "-o", tmp_path / "out", **environment)
    assert done.returncode == 2 and "s3://nowhere" in done.stderr and "Traceback" not in done.stderr
    done = onnuri("dedup", "s3://crawl/parquet/*.parquet", "-o", tmp_path / "dd", "--quiet", **environment)
    assert done.returncode == 0, done.stderr
    assert pq.read_table(tmp_path / "dd" / "clusters.parquet").num_columns > 3
