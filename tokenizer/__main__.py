"""`python -m tokenizer` is `onnuri tokenizer`."""

import sys

from pipeline.__main__ import main

if __name__ == "__main__":
    main(["tokenizer", *sys.argv[1:]])
