"""A dispatcher as at import, whatever a test did to it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fast_axolotl.dispatch import call, modes, registry, support, trace


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("FAST_AXOLOTL_PROFILE", str(tmp_path / "profile.yaml"))
    before = dict(modes._process)
    functions = dict(registry.FUNCTIONS)
    operations = dict(registry.OPERATIONS)
    timing = trace._timing
    call.reload()
    call.reset_counts()
    yield
    modes._replace(before)
    for name in set(registry.FUNCTIONS) - set(functions):
        call.forget(name)
        registry.unregister(name)
    registry.OPERATIONS.clear()
    registry.OPERATIONS.update(operations)
    support.quarantined.clear()
    trace._timing = timing
    monkeypatch.undo()
    call.reload()
    call.reset_counts()
