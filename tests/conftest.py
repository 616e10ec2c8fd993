"""Puts this folder on the path, so that every room's tests can import `tiny`; the checkpoint that most of them share."""

from __future__ import annotations

import pytest

from tau0.checkpoint import Checkpoint
from tiny import tiny_checkpoint


@pytest.fixture(scope="session")
def checkpoint() -> Checkpoint:
    return tiny_checkpoint()
