"""Hypothesis profile of the long fuzz run: `pytest tests/pipeline/ingest/test_fuzz.py --hypothesis-profile=fuzz`."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

FUZZ_EXAMPLES = 10_000

settings.register_profile("fuzz", max_examples=FUZZ_EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
