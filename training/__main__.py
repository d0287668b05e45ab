"""`python -m training` is `onnuri train`."""

import sys

from pipeline.__main__ import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
