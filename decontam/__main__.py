"""`python -m decontam` is `onnuri decontam`: the one file here that looks upward, for `scan` and for what is printed of errors."""

from pipeline.cli import main_of

if __name__ == "__main__":
    main_of("decontam")
