"""What every test shares."""

from __future__ import annotations

import os
from pathlib import Path

# Before other libraries: it brings its own copies of native libraries that they have too.
import openslide  # noqa: F401 - before every library with its own copy of the same native ones
import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no failure.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

SAMPLES = Path(os.environ.get("PIMS_SAMPLES") or Path(__file__).parents[2] / "shared" / "samples")


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of sample images: PIMS_SAMPLES, or ../shared/samples beside the checkout."""
    if not SAMPLES.is_dir():
        pytest.skip(f"no sample images at {SAMPLES}; name their folder in PIMS_SAMPLES")
    return SAMPLES
