"""The documentation is complete and true to the code: commands, configuration keys, columns, pages, links."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from pipeline import reference
from pipeline.__main__ import app
from pipeline.config import RunConfig
from pipeline.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


@pytest.mark.parametrize("page", reference.PAGES)
def test_reference_pages_are_up_to_date(page):
    written = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    assert written == reference.PAGES[page](), f"run: python -m pipeline.reference {page} > docs/{page}.md"


def test_every_command_and_option_has_help_and_stands_in_the_docs():
    text = (DOCS / "commands.md").read_text(encoding="utf-8")
    found = reference.walk(typer.main.get_command(app), ("onnuri",))
    assert {
        "run",
        "submit",
        "status",
        "report",
        "inspect",
        "doctor",
        "ingest",
        "refine",
        "dedup",
        "classify",
        "decontaminate",
        "balance",
        "tokenizer",
        "train",
        "trace",
    } <= {path[1] for path, _ in found if len(path) > 1}
    for path, command in found:
        assert command.help and len(command.help) > 20, path
        assert f"`{' '.join(path)}`" in text
        for parameter in command.params:
            assert getattr(parameter, "help", None), (path, parameter.name)
            if parameter.param_type_name == "option" and parameter.name != "help":
                assert all(f"`{flag}`" in text for flag in parameter.opts), (path, parameter.opts)


def models(model: type[Settings], prefix: str = "") -> list[tuple[str, str | None]]:
    keys = []
    for name, field in model.model_fields.items():
        keys.append((f"{prefix}{name}", field.description))
        for inner in reference._models_in(field.annotation):
            keys += models(inner, f"{prefix}{name}.")
    return keys


def test_every_configuration_key_is_described():
    text = (DOCS / "configuration.md").read_text(encoding="utf-8")
    keys = models(RunConfig)
    assert len(keys) > 60
    for key, description in keys:
        assert description and len(description) > 10, key
        assert f".{key.split('.')[-1]}`" in text or f"`{key}`" in text, key


def test_every_package_has_a_page_and_every_dependency_its_reason():
    for package in ("ingest", "refine", "dedup", "classify", "decontaminate", "balance", "report", "tokenizer", "training"):
        assert (DOCS / f"{package}.md").exists(), package
    assert (DOCS / "decontam.md").exists() and (DOCS / "pipeline.md").exists() and (DOCS / "progress.md").exists()
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = project[project.index("dependencies = [") : project.index("[project.scripts]")]
    reasons = (DOCS / "dependencies.md").read_text(encoding="utf-8")
    for name in re.findall(r'"([A-Za-z0-9_-]+)(?:\[[^\]]*\])?(?:[<>=][^"]*)?"', block):
        assert f"`{name}`" in reasons or f"`{name}[" in reasons, f"{name} has no reason in docs/dependencies.md"


def test_links_between_pages_lead_somewhere():
    for page in [ROOT / "README.md", *DOCS.glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
