"""fastText's prediction written the slow, obvious way, from its published file format and arithmetic: the twin of the scoring kernel."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any


def fnv(word: bytes) -> int:
    """FNV-1a in which a byte from 0x80 up is a negative number."""
    value = 2166136261
    for byte in word:
        signed = byte - 256 if byte >= 128 else byte
        value = ((value ^ (signed & 0xFFFFFFFF)) * 16777619) & 0xFFFFFFFF
    return value


class Twin:
    """A model of the loss softmax, read with struct."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        head = struct.unpack_from("<2i12id3i2q", data)
        self.dim, self.ngrams, self.bucket, self.minn, self.maxn = head[2], head[7], head[10], head[11], head[12]
        entries, words, labels = head[15], head[16], head[17]
        position = struct.calcsize("<2i12id3i2q")
        names = []
        for _ in range(entries):
            end = data.index(b"\0", position)
            names.append(data[position:end])
            position = end + 10
        self.words = {name: number for number, name in enumerate(names[:words])}
        self.labels = [name.decode().removeprefix("__label__") for name in names[words:]]
        self.rows, position = self._matrix(data, position + 1, words + self.bucket)
        self.outputs, _ = self._matrix(data, position + 1, labels)

    def _matrix(self, data: bytes, position: int, rows: int) -> tuple[list[Any], int]:
        end = position + 16 + rows * self.dim * 4
        values = struct.unpack(f"<{rows * self.dim}f", data[position + 16 : end])
        return [values[row * self.dim : (row + 1) * self.dim] for row in range(rows)], end

    def features(self, line: str) -> list[int]:
        """Rows of the input matrix that a line's words, pieces and runs of words stand for."""
        found, hashes = [], []
        for word in [*line.split(" "), "</s>"]:
            if word == "":
                continue
            if word.encode() in self.words:
                found.append(self.words[word.encode()])
            if word != "</s>":
                framed = f"<{word}>"
                for start in range(len(framed)):
                    for size in range(max(self.minn, 1), self.maxn + 1):
                        piece = framed[start : start + size]
                        is_frame = size == 1 and start in (0, len(framed) - 1)
                        if len(piece) == size and not is_frame:
                            found.append(len(self.words) + fnv(piece.encode()) % self.bucket)
            value = fnv(word.encode())
            hashes.append(value - 2**32 if value >= 2**31 else value)
        for start in range(len(hashes)):
            run = hashes[start]
            for other in hashes[start + 1 : start + self.ngrams]:
                run = (run * 116049371 + other) % 2**64
                found.append(len(self.words) + run % self.bucket)
        return found

    def scores(self, line: str) -> list[float]:
        """The probability of each label; none for a line of which nothing is known."""
        features = self.features(line)
        if not features:
            return []
        mean = [sum(self.rows[row][column] for row in features) / len(features) for column in range(self.dim)]
        powers = [math.exp(sum(weight * value for weight, value in zip(output, mean, strict=True))) for output in self.outputs]
        return [power / sum(powers) for power in powers]
