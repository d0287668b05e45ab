"""The base of every configuration model: unknown keys are errors that name the nearest valid key, every key is described."""

from __future__ import annotations

import difflib
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


class Settings(BaseModel):
    """A frozen pydantic model that refuses unknown keys and says which valid key was probably meant."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _name_nearest_key(cls, values: Any) -> Any:
        if isinstance(values, dict):
            for key in values:
                if key not in cls.model_fields:
                    near = difflib.get_close_matches(str(key), list(cls.model_fields), n=1, cutoff=0.0)
                    raise ValueError(f"unknown key '{key}'; did you mean '{near[0]}'?" if near else f"unknown key '{key}'")
        return values
