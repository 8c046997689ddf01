"""The patch map on the installed Axolotl: every seam is in its place and looks like what it is."""

import importlib
import inspect
import io
import logging
import pickle
import subprocess
import sys
from typing import Any

import pytest
from seam_tools import TOO_OLD

import fast_axolotl
from fast_axolotl.axolotl import patch_map, patching, shim
from fast_axolotl.calibration.axolotl import load_seams
from fast_axolotl.dispatch import registry

SEAM_MODULES = sorted(patch_map.SEAM_MODULES)
load_seams()
NAMES = sorted(patching.applied)


@pytest.fixture(autouse=True)
def installed():
    fast_axolotl.install()
    yield
    fast_axolotl.install()


def seams() -> list[patch_map.Seam]:
    return [seam for module in shim._hooked for seam in shim.seams_of(module)]


def test_nothing_of_this_axolotl_is_left_alone() -> None:
    assert patching.left_alone.keys() == TOO_OLD
    assert {seam.name for seam in seams()} == {*NAMES, *TOO_OLD}


@pytest.mark.parametrize("name", SEAM_MODULES)
def test_the_table_of_modules_is_true(name: str) -> None:
    module = importlib.import_module(f"fast_axolotl.axolotl.seams.{name}")
    found = {seam.module for seam in module.SEAMS}
    assert found == set(patch_map.SEAM_MODULES[name])


def test_a_seam_imports_nothing_heavy() -> None:
    code = f"""
import sys
for name in {SEAM_MODULES!r}:
    __import__("fast_axolotl.axolotl.seams." + name)
heavy = {{"numpy", "torch", "datasets", "pyarrow", "axolotl", "transformers"}}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)


@pytest.mark.parametrize("name", NAMES)
def test_a_replacement_looks_like_the_original(name: str) -> None:
    patch = patching.applied[name]
    old, new = patching.unbound(patch.original), patching.unbound(patch.replacement)
    for attribute in ("__name__", "__qualname__", "__doc__", "__module__"):
        assert getattr(old, attribute) == getattr(new, attribute)
    assert inspect.signature(old) == inspect.signature(new)
    assert inspect.getsource(old) == inspect.getsource(new)
    assert inspect.signature(old) == inspect.signature(inspect.unwrap(new, stop=lambda f: f is old))
    assert registry.FUNCTIONS[name].python is old


def _dumped(value: Any) -> tuple[bytes, bytes, str]:
    from datasets.fingerprint import Hasher
    from datasets.utils import _dill

    file = io.BytesIO()
    _dill.dump(value, file)
    return pickle.dumps(value), file.getvalue(), Hasher.hash(value)


def _fetch(patch: patching.Patch) -> Any:
    value = patch.owner
    return getattr(value, patch.name)


@pytest.mark.parametrize("name", NAMES)
def test_pickle_and_fingerprint_are_the_originals(name: str) -> None:
    patch = patching.applied[name]
    ours = _fetch(patch)
    try:
        mine = _dumped(ours)
    except (TypeError, pickle.PicklingError) as error:
        mine = (type(error), str(error))  # type: ignore[assignment]
    fast_axolotl.uninstall()
    original = _fetch(patch)
    assert original is not ours
    try:
        stock = _dumped(original)
    except (TypeError, pickle.PicklingError) as error:
        stock = (type(error), str(error))  # type: ignore[assignment]
    assert mine == stock


def test_a_compiled_function_can_still_be_called_by_another() -> None:
    """numba asks its functions what they are; the stand-in answers as the original does."""
    import numba
    import numpy as np
    from axolotl.utils.samplers import multipack

    original = patching.applied["ffd_check"].original
    ours = multipack.ffd_check
    assert ours is not original
    assert isinstance(ours, type(original))
    assert ours.py_func is original.py_func
    assert pickle.loads(pickle.dumps(ours)) is original
    assert repr(ours) == repr(original)

    @numba.njit
    def twice(lengths, capacity):
        return ours(lengths, capacity, 1), ours(lengths, capacity, 2)

    assert twice(np.array([3, 4, 5]), 8) == (False, True)


def test_names_that_were_copied_are_replaced_and_put_back() -> None:
    from axolotl.utils import samplers
    from axolotl.utils.data import shared, utils

    def copies() -> list[tuple[str, str, Any]]:
        found = []
        for module in list(sys.modules.values()):
            if getattr(module, "__name__", "").partition(".")[0] == "axolotl":
                found += [(module.__name__, k, v) for k, v in vars(module).items() if callable(v)]
        return found

    patches = dict(patching.applied)
    replaced = {id(p.replacement) for p in patches.values()}
    originals = {id(p.original) for p in patches.values()}
    assert not [place for place in copies() if id(place[2]) in originals]
    before = [place[:2] for place in copies() if id(place[2]) in replaced]
    assert samplers.get_dataset_lengths is samplers.utils.get_dataset_lengths
    assert utils.get_dataset_lengths is samplers.utils.get_dataset_lengths
    assert shared.save_preprocessed_dataset is patches[_name_of(patches, shared)].replacement
    fast_axolotl.uninstall()
    assert not [place for place in copies() if id(place[2]) in replaced]
    assert [place[:2] for place in copies() if id(place[2]) in originals] == before
    for patch in patches.values():
        assert vars(patch.owner)[patch.name] is patch.original
    assert not set(patches) & set(registry.FUNCTIONS)


def _name_of(patches: dict[str, patching.Patch], module: Any) -> str:
    return next(
        name
        for name, patch in patches.items()
        if patch.owner is module and patch.name == "save_preprocessed_dataset"
    )


def test_the_seams_show_in_stats_explain_and_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    from fast_axolotl.commands.doctor import doctor

    figures = fast_axolotl.stats()
    doctor()
    shown = capsys.readouterr().out
    for name in NAMES:
        function = registry.FUNCTIONS[name]
        assert function.operation in figures
        assert name in shown
        assert fast_axolotl.explain(name, rows=10, length=10).function == name


def test_an_unknown_axolotl_is_left_alone_with_one_line_each(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast_axolotl.uninstall()
    monkeypatch.setattr(patching, "digest", lambda *_: "another")
    with caplog.at_level(logging.INFO, "fast_axolotl.axolotl"):
        fast_axolotl.install()
        fast_axolotl.uninstall()
    lines = [record.message for record in caplog.records if "left to Axolotl" in record.message]
    assert len(lines) == len(list(seams()))
    monkeypatch.undo()
    fast_axolotl.install()
    assert sorted(patching.applied) == NAMES


def test_a_module_that_is_executed_again_leaves_nothing_of_ours_elsewhere() -> None:
    code = """
import fast_axolotl, importlib
import axolotl.utils.samplers.utils as utils, axolotl.utils.samplers as copied
import axolotl.utils.samplers.multipack as multipack
stock = copied.get_dataset_lengths.__wrapped__
method = copied.MultipackBatchSampler.generate_batches.__wrapped__
importlib.reload(utils)
importlib.reload(multipack)
assert copied.MultipackBatchSampler is not multipack.MultipackBatchSampler
assert hasattr(utils.get_dataset_lengths, "__wrapped__")
fast_axolotl.uninstall()
assert copied.get_dataset_lengths is stock
assert copied.MultipackBatchSampler.generate_batches is method
assert not hasattr(utils.get_dataset_lengths, "__wrapped__")
fast_axolotl.install()
fast_axolotl.uninstall()
assert copied.get_dataset_lengths is stock
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=200)
