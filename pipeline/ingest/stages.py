"""The stages of ingest, in the order in which they run after reading."""

from __future__ import annotations

from pipeline.ingest.config import IngestConfig
from pipeline.ingest.decode import Decode
from pipeline.ingest.extract import Extract
from pipeline.stage import Stage


def stages(config: IngestConfig) -> tuple[Stage, ...]:
    """Decode, then Extract, with the settings of `config`."""
    return (
        Decode(),
        Extract(
            extractor=config.extractor,
            include_tables=config.include_tables,
            favor=config.favor,
            seconds=config.extract_seconds,
            memory_bytes=config.extract_memory_bytes,
            max_html_bytes=config.max_html_bytes,
        ),
    )
