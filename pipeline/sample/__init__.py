"""A small synthetic Korean/English crawl with planted truths, and the score of a run over it: what `make demo` shows."""

from __future__ import annotations

from pipeline.sample.scoring import render_score, score
from pipeline.sample.write import write_sample

__all__ = ["render_score", "score", "write_sample"]
