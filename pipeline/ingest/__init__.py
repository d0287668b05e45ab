"""Read crawl files into documents: archives, HTML, JSONL and Parquet in, decoded main text with provenance out."""
