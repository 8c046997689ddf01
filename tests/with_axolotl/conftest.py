"""Tests against the real Axolotl: collected where it is installed, on the CPU, offline."""

import importlib.util
import os

import pytest

ENVIRONMENT = {
    "AXOLOTL_DO_NOT_TRACK": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "DO_NOT_TRACK": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRL_EXPERIMENTAL_SILENCE": "1",
}
os.environ.update(ENVIRONMENT)

# `make axolotl-test` sets it: there, a missing Axolotl is an error and no reason to skip.
REQUIRED = os.environ.get("FAST_AXOLOTL_REQUIRE_AXOLOTL") == "1"
# This folder looks like a package of that name where there is none: it has no origin.
INSTALLED = all(
    getattr(importlib.util.find_spec(name), "origin", None) for name in ("axolotl", "datasets")
)
WITHOUT_RUST = os.environ.get("FAST_AXOLOTL_DISABLE_RUST") == "1"

if REQUIRED and not INSTALLED:
    raise pytest.UsageError("FAST_AXOLOTL_REQUIRE_AXOLOTL=1, and Axolotl is not installed")
collect_ignore_glob = [] if INSTALLED and not WITHOUT_RUST else ["*"]


def pytest_configure(config: pytest.Config) -> None:
    # What Axolotl's own dependencies warn about is not for this suite to fix.
    for line in ("ignore::DeprecationWarning", "ignore::FutureWarning", "default::UserWarning"):
        config.addinivalue_line("filterwarnings", line)
    for line in ("default::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"):
        config.addinivalue_line("filterwarnings", line)
