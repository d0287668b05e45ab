"""Command-line options that several commands share, so that what is learned once holds everywhere."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer


class EngineName(enum.StrEnum):
    """The two engines."""

    local = "local"
    ray = "ray"


InputPaths = Annotated[list[str], typer.Argument(help="Files, folders, globs or URLs (s3://, https://), in any mix.", show_default=False)]
Out = Annotated[Path, typer.Option("--output", "-o", help="Folder for kept/, dropped/, quarantine/, receipts/ and manifest.json.")]
RunFolder = Annotated[Path, typer.Argument(help="A run directory.", show_default=False)]
TextColumn = Annotated[str, typer.Option(help="Column or field that holds the text.")]
IdColumn = Annotated[str, typer.Option(help="Column or field that holds the document id.")]
Engine = Annotated[EngineName, typer.Option(help="local: worker processes on this machine. ray: Ray, here or on a cluster.")]
Address = Annotated[str | None, typer.Option(help="Ray cluster to use with --engine ray, such as auto; without it Ray starts here.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Workers; without it, one per processor core.", show_default=False)]
Limit = Annotated[int | None, typer.Option(min=1, help="Read at most this many records of each split: a quick look.", show_default=False)]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a key of docs/configuration.md: --set key=value. Repeatable.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress output.")]
