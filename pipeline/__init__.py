"""The corpus platform: from web crawl files to a deduplicated, decontaminated, balanced Korean/English corpus in Parquet."""

__version__ = "0.1.0"
