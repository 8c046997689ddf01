"""The module names of 0.2.0: offered where Axolotl is, and never in the way of Axolotl."""

import importlib.util
import sys

import pytest

import fast_axolotl
from fast_axolotl.axolotl.names_020 import MODULES


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package that looks like Axolotl, with a real module where 0.2.0 had one of its own."""
    package = tmp_path / "axolotl" / "utils" / "data"
    package.mkdir(parents=True)
    for folder in (tmp_path / "axolotl", tmp_path / "axolotl" / "utils", package):
        (folder / "__init__.py").write_text("real = True\n")
    (package / "rust_wrapper.py").write_text("real = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    fast_axolotl.install()
    yield
    fast_axolotl.uninstall()
    fast_axolotl.install()
    for name in [name for name in sys.modules if name.split(".")[0] == "axolotl"]:
        del sys.modules[name]


@pytest.mark.skipif(
    getattr(importlib.util.find_spec("axolotl"), "origin", None) is not None,
    reason="about a Python without Axolotl, and this one has it",
)
def test_importing_the_package_leaves_axolotl_alone():
    assert not [name for name in sys.modules if name.split(".")[0] == "axolotl"]
    with pytest.raises(ModuleNotFoundError, match="axolotl"):
        importlib.import_module("axolotl.rust_ext.axolotl_ext")


def test_install_and_uninstall_say_what_they_did():
    assert fast_axolotl.install() is False
    assert fast_axolotl.uninstall() is True
    assert fast_axolotl.uninstall() is False
    assert fast_axolotl.install() is True


def test_keywords_and_names_of_the_reader():
    assert fast_axolotl.detect_format(file_path="a.csv.gz") == ("csv", "gzip")
    from fast_axolotl import streaming

    names = ["RUST_AVAILABLE", "RustStreamingDataset", "is_available"]
    names += ["create_rust_streaming_dataset", "streaming_dataset_reader"]
    assert set(names) <= set(streaming.__all__)
    for name in names:
        assert getattr(streaming, name) is getattr(fast_axolotl, name)


@pytest.mark.usefixtures("installed")
def test_the_names_of_020_lead_to_our_functions():
    module = importlib.import_module("axolotl.utils.data.rust_streaming")
    assert module.get_rust_extension_status is fast_axolotl.is_available
    for name, attributes in MODULES.items():
        if name != "axolotl.utils.data.rust_wrapper":
            module = importlib.import_module(name)
            for attribute, source in attributes.items():
                assert getattr(module, attribute) is getattr(fast_axolotl, source)


@pytest.mark.usefixtures("installed")
def test_a_real_module_is_not_hidden():
    module = importlib.import_module("axolotl.utils.data.rust_wrapper")
    assert module.real
    assert importlib.import_module("axolotl").real


@pytest.mark.usefixtures("installed")
def test_uninstall_takes_the_modules_back():
    importlib.import_module("axolotl.utils.data.rust_streaming")
    fast_axolotl.uninstall()
    assert "axolotl.utils.data.rust_streaming" not in sys.modules
    assert not hasattr(sys.modules["axolotl.utils.data"], "rust_streaming")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("axolotl.utils.data.rust_streaming")
