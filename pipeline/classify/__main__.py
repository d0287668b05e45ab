"""`python -m pipeline.classify` is `onnuri classify`."""

from pipeline.cli import main_of

if __name__ == "__main__":
    main_of("classify")
