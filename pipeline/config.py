"""The run's configuration: one YAML file, `--set key=value` on top, checked completely before anything is read or started."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import Field, ValidationError

from pipeline.balance.config import BalanceConfig
from pipeline.classify.config import ClassifyConfig
from pipeline.decontaminate.config import DecontaminateConfig, in_registry
from pipeline.dedup.config import DedupConfig
from pipeline.errors import UserError
from pipeline.ingest.config import IngestConfig
from pipeline.refine.config import RefineConfig
from pipeline.settings import Settings

AnySettings = TypeVar("AnySettings", bound=Settings)

MOVES = ("ingest", "refine", "dedup", "classify", "decontaminate", "balance")
"""The moves of a run, in order; each has a section of its own name in the configuration and a folder in the run directory."""


class InputConfig(Settings):
    """One input of a run: files in one place, read in one way."""

    path: str | list[str] = Field(description="File, folder, glob or fsspec URL (s3://, https://, hf://), or a list of them.")
    source: str = Field("", description="Name of this source in the corpus; empty: each file's own name up to the first dot.")
    format: Literal["", "warc", "arc", "html", "text", "tar", "jsonl", "parquet"] = Field(
        "", description="How to read the files; empty: by file name, then by content."
    )
    text_column: str = Field("text", description="Field or column that holds the text (JSONL, Parquet).")
    id_column: str = Field("id", description="Field or column that holds the record's own id (JSONL, Parquet); kept as `source_id`.")


class RunConfig(Settings):
    """A whole run, from crawl files to corpus shards."""

    vars: dict[str, str | int | float] = Field(
        {}, description="Values for ${name} anywhere in this file; set one with --set vars.name=value."
    )
    output: str | None = Field(None, description="The run directory; -o on the command line comes first.")
    seed: int = Field(7, ge=0, description="Seed of everything that is sampled or hashed, wherever a move sets no seed of its own.")
    split_bytes: int = Field(
        32 << 20, ge=1 << 10, description="Aimed size of one unit of work in bytes on disk: large files are cut, small ones packed."
    )
    inputs: list[InputConfig] = Field(min_length=1, description="What to read: one entry per source.")
    sample: str | None = Field(
        None, description="Folder of a synthetic sample: it is written first, and the run ends by scoring itself against it."
    )
    ingest: IngestConfig = Field(IngestConfig(), description="Bytes to documents: reading, decoding, main-text extraction.")
    refine: RefineConfig = Field(RefineConfig(), description="Cleaning document by document: repair, language, signals, rules, PII.")
    dedup: DedupConfig | None = Field(DedupConfig(), description="Exact and near duplicates; null leaves the move out.")
    classify: ClassifyConfig | None = Field(None, description="Domain and quality models; null leaves the move out.")
    decontaminate: DecontaminateConfig | None = Field(
        description="Benchmarks to keep out of the corpus; null, said explicitly, leaves the move out."
    )
    balance: BalanceConfig | None = Field(None, description="Mixture and budget per training phase; null: no corpus is written.")


def load_config(path: Path, overrides: list[str]) -> RunConfig:
    """Read, override and check a configuration file.

    Raises UserError naming the file and key for a missing file, bad YAML, unknown key, wrong type, or an undefined ${name}.
    """
    return check_config(with_overrides(read_yaml(path), overrides), str(path))


class _Loader(yaml.SafeLoader):
    """YAML in which a key given twice is an error: the second would silently replace the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"the key '{twice}' is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises UserError for a missing file, bad YAML, or anything but a mapping."""
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError:
        raise UserError(f"there is no configuration file '{path}'; check the path (configs/sample.yaml is one to start from)") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"can't read the configuration file '{path}': {error}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} must hold keys and values (a YAML mapping), such as 'inputs:' and 'balance:'")
    return values


def check_config(values: dict[str, Any], origin: str) -> RunConfig:
    """`values` as a RunConfig, variables filled in; `origin` names the file in errors."""
    variables = values.get("vars") or {}
    if not isinstance(variables, dict):
        raise UserError(f"{origin}: vars must be names and values, such as 'vars: {{data: /path}}'")
    try:
        config = RunConfig.model_validate(_fill(values, variables, origin))
    except ValidationError as error:
        raise UserError(f"{origin}: {first_error(error)}") from error
    return config.model_copy(update={name: _seeded(getattr(config, name), config.seed) for name in MOVES})


def _seeded(value: Any, seed: int) -> Any:
    """A section with the run's seed wherever it has a `seed` that was not set by hand."""
    if isinstance(value, list):
        return [_seeded(item, seed) for item in value]
    if not isinstance(value, Settings):
        return value
    update = {name: _seeded(getattr(value, name), seed) for name in type(value).model_fields}
    if "seed" in update and "seed" not in value.model_fields_set:
        update["seed"] = seed
    return value.model_copy(update=update)


def with_overrides(values: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """`values` with each `a.b=c` applied (c read as YAML; list items by number). Raises UserError for a bad override."""
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator or not key.strip():
            raise UserError(f"--set '{override}' is not of the form key.key=value")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UserError(f"--set '{override}': the value is not valid YAML ({' '.join(str(error).split())})") from error
        _set(values, key.strip().split("."), value, override)
    return values


def _set(target: Any, keys: list[str], value: Any, override: str) -> None:
    for depth, key in enumerate(keys):
        last = depth == len(keys) - 1
        if isinstance(target, list):
            if not key.isdigit() or int(key) >= len(target):
                raise UserError(f"--set '{override}': '{key}' is not a position in that list of {len(target)}")
            index: Any = int(key)
        elif isinstance(target, dict):
            index = key
            if not last and not isinstance(target.get(key), (dict, list)):
                target[key] = {}
        else:
            raise UserError(f"--set '{override}': '{'.'.join(keys[:depth])}' is a value, not a section")
        if last:
            target[index] = value
        else:
            target = target[index]


_VARIABLE = re.compile(r"\$\{(\w+)\}")


def _fill(value: Any, variables: dict[str, Any], origin: str) -> Any:
    if isinstance(value, dict):
        return {key: item if key == "vars" else _fill(item, variables, origin) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, variables, origin) for item in value]
    if not isinstance(value, str):
        return value

    def replaced(match: re.Match[str]) -> str:
        name = match.group(1)
        if variables.get(name) in (None, ""):
            raise UserError(f"{origin}: '{value}' needs a value for ${{{name}}}; give one with --set vars.{name}=VALUE")
        return str(variables[name])

    return _VARIABLE.sub(replaced, value)


_PATH_KEYS = frozenset(
    {
        "path",
        "inputs",
        "held_out_inputs",
        "benchmarks",
        "data",
        "language_model",
        "output",
        "sample",
        "block_hosts",
        "allow_hosts",
        "block_words",
        "opt_out",
        "robots",
        "index",
    }
)
"""Configuration keys whose values are paths, wherever they stand."""


def absolute(settings: AnySettings) -> AnySettings:
    """The same settings with every local path made absolute: workers, here or on a cluster, have folders of their own."""

    def fixed(value: Any, key: str) -> Any:
        if isinstance(value, dict):
            return {name: fixed(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [fixed(item, key) for item in value]
        is_path = key in _PATH_KEYS and isinstance(value, str) and value and "://" not in value
        return os.path.abspath(value) if is_path and not (key == "benchmarks" and in_registry(value)) else value

    return type(settings).model_validate(fixed(settings.model_dump(mode="json"), ""))


def first_error(error: ValidationError, page: str = "docs/configuration.md") -> str:
    """The first error of a pydantic validation as `section.key: what is wrong`. page: where the keys are described.

    Where a key may be one of several things, pydantic tells what is wrong with each; the one that was meant is the one that got furthest.
    """
    found = [(_keys(one["loc"]), one) for one in error.errors()]
    keys = found[0][0]
    same = [one for one in found if one[0][: len(keys)] == keys]
    keys, first = max(same, key=lambda one: (len(one[0]), one[1]["type"] == "value_error"))
    where = ".".join(keys)
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "missing":
        return f"the key '{where}' is missing; {_hint(where, page)}"
    given = "" if first["type"] == "value_error" else f" (got {str(first.get('input'))[:60]!r})"
    return f"{where}: {message}{given}" if where else f"{message}{given}"


_ALTERNATIVE = re.compile(r"str|int|float|bool|[A-Z]\w*Config|[\w-]+\[.*\]")
"""How pydantic names one of several types that a key may have, among the keys of an error's place; no key of ours looks like this."""


def _keys(place: tuple[int | str, ...]) -> tuple[str, ...]:
    return tuple(str(part) for part in place if not _ALTERNATIVE.fullmatch(str(part)))


def _hint(where: str, page: str) -> str:
    if where == "decontaminate":
        return "name benchmark files under decontaminate.benchmarks, or write 'decontaminate: null' to leave the move out"
    field = RunConfig.model_fields.get(where)
    return field.description or "" if field else f"see {page}"
