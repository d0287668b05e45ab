"""`python -m pipeline.ingest` is `onnuri ingest`."""

from pipeline.cli import main_of

if __name__ == "__main__":
    main_of("ingest")
