"""`python -m pipeline.dedup` is `onnuri dedup`."""

from pipeline.cli import main_of

if __name__ == "__main__":
    main_of("dedup")
