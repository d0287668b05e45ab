"""`python -m pipeline` is the `onnuri` command."""

from pipeline.cli import main

if __name__ == "__main__":
    main()
