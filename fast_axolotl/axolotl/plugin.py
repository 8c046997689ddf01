"""The plugin for Axolotl's YAML: `plugins: [fast_axolotl.AxolotlPlugin]`.

This module imports Axolotl; it is loaded when Axolotl asks for the plugin.
"""

import logging
import os
from typing import Any

from axolotl.integrations.base import BasePlugin

from fast_axolotl.dispatch import modes

from . import settings, shim

LOG = logging.getLogger("fast_axolotl.axolotl")
ARGUMENTS = "fast_axolotl.axolotl.arguments.FastAxolotlArgs"


class AxolotlPlugin(BasePlugin):
    """Runs Axolotl with the shim, and takes its settings from the YAML."""

    def __init__(self) -> None:
        super().__init__()
        self._before: tuple[settings.Settings, str] | None = None

    def get_input_args(self) -> str:
        """Return where the keys are that this plugin adds."""
        return ARGUMENTS

    def register(self, cfg: Any) -> None:
        """Install the shim and take over what the YAML says.

        The YAML is not validated yet: what is wrong in it is left for Axolotl to report.
        """
        from pydantic import ValidationError

        from .arguments import FastAxolotlArgs

        shim.install()
        data = dict(cfg)
        try:
            own = FastAxolotlArgs.model_validate(_plain(data))
        except ValidationError:
            return
        if own.dedupe is not None and data.get("dataset_exact_deduplication") is None:
            # Before Axolotl's validation, which has rules about it.
            cfg["dataset_exact_deduplication"] = own.dedupe
        length = data.get("sequence_len")
        before = settings.use(
            settings.Settings(
                rust_streaming=own.dataset_use_rust_streaming,
                sequence_len=length if isinstance(length, int) else None,
                plugin=True,
                preferences=bool(data.get("rl")),
            )
        )
        self._before = (before, modes.process_text())
        if own.fast_axolotl is not None and own.fast_axolotl.dispatch is not None:
            _set_mode(own.fast_axolotl.dispatch)

    def on_config_validation_error(self, cfg: Any) -> None:
        """Undo `register`."""
        del cfg
        if self._before is not None:
            before, mode = self._before
            self._before = None
            settings.use(before)
            modes.set_mode(mode, "fast_axolotl.dispatch")

    def load_datasets(self, cfg: Any, preprocess: bool = False) -> None:
        """Calibrate before the data is loaded, where the YAML wants it; Axolotl loads it."""
        del preprocess
        section = cfg.get("fast_axolotl")
        if section and section.get("calibrate"):
            calibrate_once()


def _plain(data: dict[str, Any]) -> dict[str, Any]:
    # Axolotl's cfg is a dict whose missing keys are None; pydantic wants plain ones.
    return {
        key: dict(value) if isinstance(value, dict) else value
        for key, value in data.items()
        if key in ("dedupe", "dataset_exact_deduplication", "fast_axolotl")
        or str(key).startswith(("fast_axolotl", "dataset_use_rust"))
    }


def _set_mode(text: str) -> None:
    if os.environ.get(modes.ENVIRONMENT):
        LOG.info("fast_axolotl.dispatch: %s is set and wins", modes.ENVIRONMENT)
        return
    modes.set_mode(text, "fast_axolotl.dispatch")


def calibrate_once() -> bool:
    """Calibrate this host, unless it is or another rank of it does.

    Returns:
        Whether this process made a profile. The other ranks of a host go on with the rules they
        have: decisions change no result, so that ranks may differ in them.
    """
    from fast_axolotl.calibration.axolotl import calibrate_host
    from fast_axolotl.dispatch import call

    own, _ = call.profiles()
    if own is not None:
        return False
    if _local_rank() != 0:
        LOG.info("fast_axolotl: rank 0 of this host calibrates; the packaged rules hold here")
        return False
    return calibrate_host()


def _local_rank() -> int:
    for name in ("LOCAL_RANK", "SLURM_LOCALID", "RANK"):
        value = os.environ.get(name, "")
        if value.isdecimal():
            return int(value)
    return 0
