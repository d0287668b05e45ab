"""`python -m pipeline.balance` is `onnuri balance`."""

from pipeline.cli import main_of

if __name__ == "__main__":
    main_of("balance")
