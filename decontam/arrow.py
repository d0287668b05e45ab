"""Zero-copy views of Arrow string columns as numpy bytes and offsets."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from decontam.errors import DecontamError


def text_buffers(array: pa.Array | pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """`(data, offsets)` of a string column: uint8 bytes and int64[n + 1] offsets into them; a null is an empty text.

    Zero-copy for one chunk of large_string without nulls; other string types are cast, several chunks are joined.
    Raises DecontamError for a column that holds no text.
    """
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
        if isinstance(array, pa.ChunkedArray):
            array = array.chunk(0) if array.num_chunks == 1 else pa.concat_arrays([chunk.cast(array.type) for chunk in array.chunks])
    kind = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
    if pa.types.is_null(kind):
        return np.zeros(0, np.uint8), np.zeros(len(array) + 1, np.int64)
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        raise DecontamError(f"the text column has type {array.type}; give a column of strings.")
    if array.type != pa.large_string():
        array = array.cast(pa.large_string())
    if array.null_count:
        array = array.fill_null("")
    _, offset_buffer, data_buffer = array.buffers()
    if len(array) == 0 or offset_buffer is None:
        return np.zeros(0, np.uint8), np.zeros(len(array) + 1, np.int64)
    offsets = np.frombuffer(memoryview(offset_buffer), np.int64, len(array) + 1, array.offset * 8)
    if not offsets.flags.aligned:
        offsets = offsets.copy()
    data = np.frombuffer(memoryview(data_buffer), np.uint8) if data_buffer is not None else np.zeros(0, np.uint8)
    return data, offsets
