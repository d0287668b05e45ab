"""What a judge is asked and how its answer is read: templates in YAML, messages, and strict parsing."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import orjson
import xxhash
import yaml
from pydantic import Field, ValidationError, model_validator

from pipeline.config import first_error, read_yaml
from pipeline.errors import UserError
from pipeline.labels.taxonomy import Taxonomy, Topic
from pipeline.settings import Settings

SHIPPED = {"quality": "judge_quality.yaml", "topic": "judge_topic.yaml"}

FALLBACK_LANGUAGE = "en"
"""Documents of a language that a template has no prompt for get this one's, or the template's first."""

_MOST_ANSWER_CHARS = 20_000
"""Longer answers than this are not searched: none that was asked for is."""

_SCORE = re.compile(r"""\b(?:score|점수)\b["'*\s]{0,10}[:=]["'*\s]{0,10}(-?\d{1,4})(?![\d.,]*\d)""", re.IGNORECASE)
_LABEL = re.compile(r"""\b(?:label|topic)\b["'*\s]{0,10}[:=]["'`*\s]{0,10}""", re.IGNORECASE)

_MARKS = "\"'`*_"
"""Quotes and emphasis, which may stand around a label."""

_LABEL_ENDS = re.compile(r"""["'`*_]{0,10}(?:\s*$|[,;:.!?}\])]+(?:[\s"'`*_]|$)|\s+[(\[\-–—]|\s*[}\]])""")
"""What may follow a label on its line: nothing, or punctuation. `node.js` and `food and drink` are no way to write `node` or `food`."""


class Prompt(Settings):
    """What is asked, in one language."""

    system: str = Field("", description="The system message; empty: none is sent.")
    user: str = Field(description="The user message: {text} is the document, {labels} the list of labels.")

    @model_validator(mode="after")
    def _has_text(self) -> Prompt:
        if self.user.count("{text}") != 1:
            raise ValueError("the user message must hold {text} once, where the document goes")
        return self


class Template(Settings):
    """A question to a judge and the answers it may give."""

    name: str = Field(min_length=1, description="Name of the question, for manifests.")
    kind: Literal["score", "label"] = Field(description="score: a whole number from low to high; label: one of the labels.")
    low: int = Field(0, description="Lowest score.")
    high: int = Field(5, description="Highest score.")
    labels: dict[str, str] = Field({}, description="Labels and what each means; without any, those of the taxonomy.")
    prompts: dict[str, Prompt] = Field(min_length=1, description="The messages by language of the document.")

    @model_validator(mode="after")
    def _check_range(self) -> Template:
        if self.kind == "score" and self.low >= self.high:
            raise ValueError(f"low is {self.low} and high is {self.high}; high must be larger")
        if self.kind == "label" and len(self.labels) == 1:
            raise ValueError("there is one label; a judge needs two to choose from")
        return self


def load_template(name: str, taxonomy: Taxonomy) -> Template:
    """A shipped template by its name, or one from a YAML file; a label template without labels gets the taxonomy's.

    Raises UserError that names the file and the key.
    """
    if name in SHIPPED:
        text = resources.files("pipeline.labels").joinpath(f"presets/{SHIPPED[name]}").read_text(encoding="utf-8")
        values = yaml.safe_load(text)
    elif Path(name).exists():
        values = read_yaml(Path(name))
    else:
        raise UserError(f"there is no template '{name}'; give {' or '.join(SHIPPED)}, or a YAML file")
    try:
        template = Template.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{name}: {first_error(error)}") from error
    if template.kind == "score" or template.labels:
        return template
    return template.model_copy(update={"labels": {topic.id: _names(topic) for topic in taxonomy.topics}})


def _names(topic: Topic) -> str:
    return " / ".join(topic.name.values())


def label_list(template: Template, taxonomy: Taxonomy, language: str) -> str:
    """The labels for a prompt, one a line: id, name, and the definition in the prompt's language where the taxonomy has one."""
    topics = {topic.id: topic for topic in taxonomy.topics}
    lines = []
    for label, meaning in template.labels.items():
        of_taxonomy = label in topics and meaning == _names(topics[label])  # a template may have labels of its own that are called alike
        definition = topics[label].definition.get(language, "") if of_taxonomy else ""
        lines.append(f"- {label} ({meaning}): {definition}" if definition else f"- {label}: {meaning}")
    return "\n".join(lines)


def messages(template: Template, taxonomy: Taxonomy, text: str, language: str) -> list[dict[str, str]]:
    """The messages of one request. What the text holds is never taken for a placeholder."""
    known = language if language in template.prompts else FALLBACK_LANGUAGE if FALLBACK_LANGUAGE in template.prompts else ""
    prompt = template.prompts[known] if known else next(iter(template.prompts.values()))
    before, after = prompt.user.split("{text}")
    listed = label_list(template, taxonomy, known)
    user = before.replace("{labels}", listed) + text + after.replace("{labels}", listed)
    system = [{"role": "system", "content": prompt.system.replace("{labels}", listed)}] if prompt.system else []
    return [*system, {"role": "user", "content": user}]


def question_key(model: str, asked: list[dict[str, str]], max_answer_tokens: int) -> str:
    """xxh3-128 of all that decides an answer, so that the same question is never paid for twice; the endpoint is no part of it."""
    return xxhash.xxh3_128_hexdigest(orjson.dumps([model, asked, max_answer_tokens]))


def request_key(endpoint: str, body: dict[str, Any]) -> str:
    """xxh3-128 of all that decides whether a request is refused: another endpoint, or another name of a field, may take it."""
    return xxhash.xxh3_128_hexdigest(orjson.dumps([endpoint, body]))


def parse(template: Template, answer: str) -> str | None:
    """The label that an answer gives (a score as its digits), or None where it gives none that is allowed.

    A JSON object counts first (the whole answer, or what stands between the last `{` and `}`), then the last `score: n` or
    `label: name`, then an answer that is nothing but a label or a number.
    """
    if len(answer) > _MOST_ANSWER_CHARS:
        return None
    found = _from_json(template, answer)
    if found is not None:
        return _allowed(template, found)
    if template.kind == "score":
        written = _SCORE.findall(answer)
        return _allowed(template, written[-1] if written else answer.strip())
    ends = [match.end() for match in _LABEL.finditer(answer)]
    if ends:
        return _label_at(template, answer[ends[-1] :].split("\n", 1)[0])
    exact = _allowed(template, answer)
    return exact if exact is not None else _allowed(template, answer.strip().rstrip(".!").strip(_MARKS).rstrip(".!"))


def _label_at(template: Template, line: str) -> str | None:
    """The longest label that a line begins with and that ends there or before punctuation."""
    line = " ".join(line.casefold().split())
    for label in sorted(template.labels, key=len, reverse=True):
        written = " ".join(label.casefold().split())
        for text in (line, line.lstrip(_MARKS)):
            if text.startswith(written) and _LABEL_ENDS.match(text, len(written)):
                return label
    return None


def _from_json(template: Template, answer: str) -> Any:
    begin, end = answer.rfind("{"), answer.rfind("}")
    for text in (answer, answer[begin : end + 1] if 0 <= begin < end else ""):
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            continue
        if isinstance(value, dict) and template.kind in value:
            return value[template.kind]
    return None


def _allowed(template: Template, value: Any) -> str | None:
    """A value as a label of the template; None for one it doesn't have, however near."""
    if template.kind == "label":
        value = str(value) if type(value) is int else value  # a label may be a number, which JSON writes without quotes
        wanted = value.strip().casefold() if isinstance(value, str) else None
        return next((label for label in template.labels if label.casefold() == wanted), None)
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,4}", value.strip()):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or not template.low <= value <= template.high:  # isinstance would take true for 1
        return None
    return str(value)
