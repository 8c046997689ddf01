"""The plugin and its keys, through Axolotl's own plugin manager and validation."""

import os
from typing import Any

import pytest
from axolotl.integrations.base import BasePlugin, PluginManager
from axolotl.utils.config import prepare_plugins, validate_config
from axolotl.utils.dict import DictDefault
from pydantic import ValidationError

import fast_axolotl
from fast_axolotl.axolotl import settings
from fast_axolotl.dispatch import modes

NAME = "fast_axolotl.AxolotlPlugin"
BASE = {
    "base_model": "model",
    "plugins": [NAME],
    "datasets": [{"path": "rows.jsonl", "type": "alpaca"}],
    "sequence_len": 256,
    "micro_batch_size": 1,
    "gradient_accumulation_steps": 1,
    "learning_rate": 1e-4,
    "num_epochs": 1,
    "optimizer": "adamw_torch",
    "lr_scheduler": "cosine",
}

#: What Axolotl finds out about GPUs and packages before it checks a YAML.
HOST = (
    {"bf16": False, "fp8": False, "n_gpu": 0, "n_node": 1, "compute_capability": None},
    {"torch_version": "2.13.0"},
)


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(modes.ENVIRONMENT, raising=False)
    manager = PluginManager.get_instance()
    before, mode = settings.current, modes.process_text()
    manager.plugins.clear()
    yield
    manager.plugins.clear()
    settings.use(before)
    modes.set_mode(mode)


def validated(host: tuple[dict[str, Any], dict[str, Any]] | None = None, **more: Any) -> Any:
    """What Axolotl's commands do with a YAML; with a host, as its rules about hosts have it too."""
    cfg = DictDefault({**BASE, **more})
    prepare_plugins(cfg)
    try:
        return validate_config(cfg, *(host or ()))
    except Exception:
        PluginManager.get_instance().on_config_validation_error(cfg)
        raise


def test_it_is_a_plugin() -> None:
    assert issubclass(fast_axolotl.AxolotlPlugin, BasePlugin)
    fast_axolotl.uninstall()
    cfg = validated()
    assert fast_axolotl.axolotl.shim.is_installed()
    assert list(PluginManager.get_instance().plugins) == [NAME]
    assert settings.current == settings.Settings(sequence_len=256, plugin=True)
    assert cfg.fast_axolotl is None
    assert cfg.dataset_exact_deduplication is None


def test_its_keys_pass_axolotls_validation() -> None:
    cfg = validated(
        dataset_use_rust_streaming=True,
        dedupe=True,
        fast_axolotl={"dispatch": "python,hash=auto", "calibrate": False},
    )
    assert cfg.dataset_use_rust_streaming is True
    assert cfg.dedupe is True
    assert cfg.dataset_exact_deduplication is True
    assert cfg.fast_axolotl == {"dispatch": "python,hash=auto", "calibrate": False}
    assert settings.current.rust_streaming is True
    assert modes.process_text() == "python,hash=auto"


@pytest.mark.parametrize("value", [True, False])
def test_dedupe_is_dataset_exact_deduplication(value: bool) -> None:
    for given in (value, str(value), int(value)):
        assert validated(dedupe=given).dataset_exact_deduplication is value
        assert validated(dedupe=given, dataset_exact_deduplication=value).dedupe is value
        assert validated(dedupe=value, dataset_exact_deduplication=given).dedupe is value
    # What Axolotl checks about its own key holds for ours.
    if value:
        for key in ("dataset_exact_deduplication", "dedupe"):
            with pytest.raises(NotImplementedError, match="not available for streaming"):
                validated(HOST, **{key: True}, streaming=True, max_steps=5)
            with pytest.raises(ValidationError, match="has no effect when"):
                validated(HOST, **{key: True}, skip_prepare_dataset=True)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"dedupe": "maybe"}, "allowed are true, false and null, not 'maybe'"),
        ({"dataset_use_rust_streaming": "quick"}, "allowed are true, false and null, not 'quick'"),
        ({"fast_axolotl": {"dispatch": "fastest"}}, "allowed are auto, rust, python, verify"),
        ({"fast_axolotl": {"dispatch": "sort=rust"}}, "unknown operation 'sort'"),
        ({"fast_axolotl": {"dispach": "auto"}}, "allowed are dispatch, calibrate"),
        ({"fast_axolotl": {"calibrate": 7}}, "allowed are true, false and null, not 7"),
        ({"fast_axolotl": "auto"}, "valid dictionary"),
        ({"fast_axolotl_dispatch": "auto"}, "unknown key 'fast_axolotl_dispatch'; allowed are"),
        ({"dataset_use_rust": True}, "unknown key 'dataset_use_rust'; allowed are"),
        ({"dedupe": True, "dataset_exact_deduplication": False}, "one setting"),
        ({"dedupe": "no", "dataset_exact_deduplication": True}, "one setting"),
        ({"dedupe": True, "dataset_exact_deduplication": "false"}, "one setting"),
    ],
)
def test_what_is_wrong_is_pydantics_error(more: dict[str, Any], message: str) -> None:
    before, mode = settings.current, modes.process_text()
    with pytest.raises(ValidationError) as caught:
        validated(**more)
    assert message in str(caught.value)
    assert (settings.current, modes.process_text()) == (before, mode)


def test_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(modes.ENVIRONMENT, "verify")
    modes.set_mode("verify")
    validated(fast_axolotl={"dispatch": "python"})
    assert modes.process_text() == "verify"


def test_files_are_read_by_rust_as_in_020() -> None:
    gigabyte = 1 << 30
    validated()
    assert not settings.streams(10)
    assert settings.streams(gigabyte + 1)
    validated(sequence_len=10_001)
    assert settings.streams(10)
    validated(sequence_len=10_001, dataset_use_rust_streaming=False)
    assert not settings.streams(gigabyte + 1)
    validated(dataset_use_rust_streaming=True)
    assert settings.streams(10)
    settings.use(settings.Settings())
    assert not settings.streams(gigabyte + 1), "without the plugin nothing engages by itself"


@pytest.mark.parametrize(("rank", "times"), [("0", 1), ("1", 0), ("", 1)])
def test_one_rank_of_a_host_calibrates(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, rank: str, times: int
) -> None:
    from fast_axolotl.calibration import axolotl as calibration
    from fast_axolotl.dispatch import call

    monkeypatch.setenv("FAST_AXOLOTL_PROFILE", str(tmp_path / "profile.yaml"))
    monkeypatch.setenv("LOCAL_RANK", rank)
    made = []
    monkeypatch.setattr(calibration, "calibrate_host", lambda: made.append(os.getpid()) or True)
    call.reload()
    cfg = validated(fast_axolotl={"calibrate": True})
    manager = PluginManager.get_instance()
    assert manager.load_datasets(cfg, preprocess=True) is None, "Axolotl loads its data itself"
    assert len(made) == times
    cfg = validated(fast_axolotl={"calibrate": False})
    manager.load_datasets(cfg, preprocess=False)
    assert len(made) == times
    monkeypatch.undo()
    call.reload()


def test_a_calibration_measures_the_seams(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    from fast_axolotl.calibration import axolotl as calibration
    from fast_axolotl.calibration import run
    from fast_axolotl.dispatch import call, profile, registry

    file = tmp_path / "profile.yaml"
    monkeypatch.setenv("FAST_AXOLOTL_PROFILE", str(file))
    calibration.load_seams()
    seam = next(f for f in registry.FUNCTIONS.values() if not f.native and f.workload)
    grid = run.grids()["quick"]._replace(rows=(1, 8), lengths=(8,), seconds=0.5)
    real = run.calibrate
    monkeypatch.setattr(
        calibration.run,
        "calibrate",
        lambda effort, **options: real(effort, functions=[seam], **{**options, "grid": grid}),
    )
    call.reload()
    # A machine too busy to measure is no failure of what is tested here.
    if calibration.calibrate_host("quick"):
        found, _ = call.profiles()
        assert found is not None
        assert found.source == str(file)
        assert any(profile.lookup(found.cells, name) for name in seam.cells())
    else:
        assert not file.exists()
    assert calibration.grid("default").seconds > run.grids()["default"].seconds
    monkeypatch.undo()
    call.reload()
