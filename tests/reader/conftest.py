"""The reader is Rust: where that is switched off, there is nothing to test."""

import implementations
import pytest

collect_ignore_glob = ["*"] if implementations.WITHOUT_RUST else []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The builders of `datasets`, the oracle here, leave it to the collector to close files.
    for item in items:
        if "reader" in item.path.parts:
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"))
