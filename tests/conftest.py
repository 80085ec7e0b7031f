"""Fixtures that every test may use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.stack import Stack, running


@pytest.fixture(scope="session")
def shared_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One running installation for all tests that leave its processes alone; each test makes its own conversations."""
    with running(tmp_path_factory.mktemp("stack"), workers=1) as stack:
        yield stack


@pytest.fixture
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An installation for a test that kills something."""
    with running(tmp_path_factory.mktemp("stack")) as stack:
        yield stack
