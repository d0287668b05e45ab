"""Fixtures that several tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
"""Real data for development, beside the checkout; the product itself never looks there."""


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data; tests that need it are skipped, saying so, where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the development data in {SHARED_DATA}, which is not there")
    return SHARED_DATA
