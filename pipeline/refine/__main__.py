"""`python -m pipeline.refine` is `onnuri refine`."""

from pipeline.cli import main_of

if __name__ == "__main__":
    main_of("refine")
