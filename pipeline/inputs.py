"""What a stage command reads: the files that its arguments name, each as one part, with the column that holds the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import UserError
from pipeline.files import File, find_files
from pipeline.ingest.formats import detected_format
from pipeline.splits import Part, parts_of


@dataclass(frozen=True)
class Inputs:
    """What a stage command reads: the files, and which column is the text and which the id."""

    paths: Sequence[str]
    text_column: str = "text"
    id_column: str = "id"


def input_parts(inputs: Inputs) -> list[Part]:
    """The files that a command's inputs name, each as one part. Raises UserError where nothing is found or a format can't be told."""
    files = find_files(inputs.paths)
    formats = {file.path: known_format(file, "") for file in files}
    return parts_of(files, "", formats, inputs.text_column, inputs.id_column, keep_ids=True)


def known_format(file: File, advice: str) -> str:
    """The format of a file that must be readable. Raises UserError when neither its name nor its content tells."""
    found = detected_format(file)
    if found is None:
        raise UserError(
            f"can't tell the format of '{file.path}' from its name or content; {advice}leave it out, or give it the usual suffix"
        )
    return found
