"""`python -m training` is `onnuri train`."""

import sys

from pipeline.__main__ import main

if __name__ == "__main__":
    # the deepspeed launcher adds --local_rank=N, which it says in the environment as well
    main(["train", *(word for word in sys.argv[1:] if not word.startswith("--local_rank="))])
