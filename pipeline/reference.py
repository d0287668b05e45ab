"""Writes the reference pages in docs/ from the code itself: `python -m pipeline.reference PAGE`."""

from __future__ import annotations

import sys
from typing import Any

import typer
import yaml

from pipeline.config import RunConfig
from pipeline.schema import COLUMNS
from pipeline.settings import Settings


def configuration() -> str:
    """docs/configuration.md: every key with type, default and meaning, from the models themselves."""
    lines = [
        "# Configuration",
        "",
        "Every key of a run's YAML file. This page is written by `python -m pipeline.reference configuration > docs/configuration.md`;",
        "a test fails when it is out of date. `--set section.key=value` on the command line overrides any of them.",
    ]
    seen: set[type[Settings]] = set()
    _describe(RunConfig, "", lines, seen)
    return "\n".join(lines) + "\n"


def _describe(model: type[Settings], prefix: str, lines: list[str], seen: set[type[Settings]], title: str = "The run") -> None:
    title = f"`{prefix.rstrip('.')}`" if prefix else title
    summary = (model.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")
    lines += ["", f"## {title}", "", " ".join(summary.split()), "", "| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    nested: list[tuple[type[Settings], str]] = []
    for name, field in model.model_fields.items():
        inner = _models_in(field.annotation)
        nested += [(found, f"{prefix}{name}.") for found in inner if found not in seen]
        seen.update(inner)
        default = (
            "required" if field.is_required() else "see below" if inner else f"`{_yaml(field.get_default(call_default_factory=True))}`"
        )
        meaning = " ".join((field.description or "").split()).replace("|", "\\|")
        meaning += "" if meaning.endswith(".") else "."
        escaped = default.replace("|", "\\|")
        lines.append(f"| `{prefix}{name}` | {_type_name(field.annotation)} | {escaped} | {meaning} |")
    for found, inner_prefix in nested:
        _describe(found, inner_prefix, lines, seen)


def _yaml(value: Any) -> str:
    return (
        yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6, sort_keys=False)
        .removesuffix("\n")
        .removesuffix("\n...")
        .strip()
    )


def _models_in(annotation: Any) -> list[type[Settings]]:
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return [annotation]
    return [model for argument in getattr(annotation, "__args__", ()) for model in _models_in(argument)]


def _type_name(annotation: Any) -> str:
    if isinstance(annotation, type) and not getattr(annotation, "__args__", ()):
        return {"str": "text", "int": "whole number", "float": "number", "bool": "true/false", "NoneType": "null"}.get(
            annotation.__name__, "section" if issubclass(annotation, Settings) else annotation.__name__
        )
    arguments: tuple[Any, ...] = getattr(annotation, "__args__", ())
    origin = getattr(annotation, "__origin__", None)
    if origin is list:
        return f"list of {_type_name(arguments[0])}"
    if origin is dict:
        return f"map of {_type_name(arguments[0])} to {_type_name(arguments[1])}"
    if origin is tuple:
        return f"list of {_type_name(arguments[0])}"
    if arguments and all(isinstance(argument, str) for argument in arguments):
        return " or ".join(f"`{argument}`" for argument in arguments)
    return " or ".join(_type_name(argument) for argument in arguments) or str(annotation)


def commands() -> str:
    """docs/commands.md: every command with its arguments and options."""
    from pipeline.__main__ import app

    lines = [
        "# Commands",
        "",
        "Every command with its options. This page is written by `python -m pipeline.reference commands > docs/commands.md`;",
        "a test fails when it is out of date. `onnuri COMMAND -h` says the same on a terminal.",
        "",
        "Exit codes: 0 everything asked for was done; 1 the run failed; 2 the input or configuration is wrong; 130 interrupted.",
    ]
    for path, command in walk(typer.main.get_command(app), ("onnuri",)):
        lines += ["", f"## `{' '.join(path)}`", "", _paragraph(command.help or "")]
        rows = [_parameter(parameter) for parameter in command.params if parameter.name != "help"]
        if rows:
            lines += ["", "| argument or option | default | meaning |", "| --- | --- | --- |", *rows]
    return "\n".join(lines) + "\n"


def walk(command: Any, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:
    """A command and all below it, as (words, command)."""
    found = [(path, command)]
    for name, child in getattr(command, "commands", {}).items():
        found += walk(child, (*path, name))
    return found


def _parameter(parameter: Any) -> str:
    flags = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    flags = flags if parameter.param_type_name == "option" else f"`{(parameter.metavar or parameter.name).upper()}`"
    default = "required" if parameter.required else "" if parameter.default in (None, False) else f"`{_plain(parameter.default)}`"
    return f"| {flags} | {default} | {_paragraph(getattr(parameter, 'help', '') or '')} |"


def _plain(value: Any) -> str:
    return str(getattr(value, "value", value))


def _paragraph(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def columns() -> str:
    """docs/columns.md: the document table."""
    lines = [
        "# The document table",
        "",
        "Every column, by the move that writes it. This page is written by `python -m pipeline.reference columns > docs/columns.md`.",
        "",
        "| column | type | written by | meaning |",
        "| --- | --- | --- | --- |",
        *(f"| `{column.name}` | {_arrow_name(column)} | {column.writer} | {column.meaning} |" for column in COLUMNS),
    ]
    return "\n".join(lines) + "\n"


def _arrow_name(column: Any) -> str:
    name = str(column.type)
    return "list of matches" if name.startswith("list<") else name


def label_keys() -> str:
    """docs/label_keys.md: every key of the files and settings with which documents are labelled."""
    from pipeline.labels.config import BootstrapConfig, JudgeConfig, LabelConfig
    from pipeline.labels.judge_prompt import Template
    from pipeline.labels.taxonomy import Taxonomy

    lines = [
        "# Keys of labelling",
        "",
        "Every key of the files that [labelling](labels.md) reads, and of its settings, which `--set key=value` changes. This page is",
        "written by `python -m pipeline.reference label_keys > docs/label_keys.md`; a test fails when it is out of date.",
    ]
    parts: tuple[tuple[str, type[Settings]], ...] = (
        ("`classify label`: the file for --rules", LabelConfig),
        ("`classify bootstrap`: settings", BootstrapConfig),
        ("`classify bootstrap`, `classify judge`: the file for --taxonomy", Taxonomy),
        ("`classify judge`: settings", JudgeConfig),
        ("`classify judge`: the file for --template", Template),
    )
    seen: set[type[Settings]] = set()
    for title, model in parts:
        _describe(model, "", lines, seen, title)
    return "\n".join(lines) + "\n"


def tokenizer_keys() -> str:
    """docs/tokenizer_keys.md: every setting of the tokenizer's commands."""
    from tokenizer.count import CountConfig
    from tokenizer.encode import EncodeConfig
    from tokenizer.evaluate import EvaluateConfig
    from tokenizer.train import TrainConfig

    lines = [
        "# Settings of the tokenizer",
        "",
        "Every setting of the commands of the [tokenizer](tokenizer.md), which `--set key=value` changes; the common ones have options of",
        "their own ([commands](commands.md)). This page is written by `python -m pipeline.reference tokenizer_keys >",
        "docs/tokenizer_keys.md`; a test fails when it is out of date.",
    ]
    seen: set[type[Settings]] = set()
    parts = (("count", CountConfig), ("train", TrainConfig), ("evaluate", EvaluateConfig), ("encode", EncodeConfig))
    for name, model in parts:
        _describe(model, "", lines, seen, f"`tokenizer {name}`")
    return "\n".join(lines) + "\n"


def training_keys() -> str:
    """docs/training_keys.md: every key of a training plan."""
    from training.plan_config import PlanConfig

    lines = [
        "# Keys of a training plan",
        "",
        "Every key of the YAML file that `onnuri train plan` and `onnuri train pretrain` read ([plans](plans.md) tells how to write one).",
        "`--set stages.0.tokens=1e9` on the command line overrides any of them. This page is written by `python -m pipeline.reference",
        "training_keys > docs/training_keys.md`; a test fails when it is out of date.",
    ]
    _describe(PlanConfig, "", lines, set(), "The plan")
    return "\n".join(lines) + "\n"


PAGES = {
    "commands": commands,
    "configuration": configuration,
    "columns": columns,
    "label_keys": label_keys,
    "tokenizer_keys": tokenizer_keys,
    "training_keys": training_keys,
}

if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in PAGES:
        print(PAGES[sys.argv[1]](), end="")
    else:
        sys.exit(f"usage: python -m pipeline.reference {'|'.join(PAGES)}")
