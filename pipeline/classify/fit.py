"""One call of fastText's trainer, made repeatable: one thread, a fixed seed, and memory that starts as zeros.

With one thread fastText (0.9.2 to 0.10.4, `DenseMatrix::uniform`) draws random numbers for the first tenth of its matrix only.
Upstream the rest is zero; in the numpy-2 builds it is whatever the allocator returns, so two trainings differ and some end in
"Encountered NaN". glibc can be told to clear every allocation (`mallopt(M_PERTURB)`), which gives back upstream's start.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.errors import RunFailed, UserError

_M_PERTURB = -6
"""`M_PERTURB` of glibc's malloc.h: fill allocated memory with the complement of the given byte, and freed memory with the byte."""


def fit(lines: Path, parameters: dict[str, Any]) -> Any:
    """Train a supervised fastText model on a file of `__label__x words ...` lines; equal lines and parameters give equal models.

    Raises UserError where training can't be repeatable (no glibc), and RunFailed when fastText's numbers run away.
    """
    import fasttext

    if not hasattr(fasttext, "train_supervised"):
        raise UserError("the package 'fasttext-predict' hides fastText's trainer; uninstall it and install 'fasttext-numpy2'")
    with _zeroed_allocations():
        try:
            return fasttext.train_supervised(str(lines), thread=1, verbose=0, loss="softmax", label="__label__", **parameters)
        except RuntimeError as error:
            rate = f"{parameters['lr']:g}"
            raise RunFailed(f"fastText stopped training: {error} The learning rate lr ({rate}) may be too high; lower it") from error


@contextlib.contextmanager
def _zeroed_allocations() -> Iterator[None]:
    """Within it, memory that this process allocates is zero."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        raise UserError("training the same model twice needs Linux with glibc; train there and give the model file by `path`")
    library.mallopt(_M_PERTURB, 0xFF)
    try:
        yield
    finally:
        library.mallopt(_M_PERTURB, 0)
