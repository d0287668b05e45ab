"""`python -m pipeline.decontaminate` is `onnuri decontaminate`."""

from pipeline.cli import main_of

if __name__ == "__main__":
    main_of("decontaminate")
