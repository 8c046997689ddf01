"""Calibration of the seams: Axolotl's own functions against what stands for them."""

import importlib
import importlib.util
import logging

from fast_axolotl.axolotl import patch_map, shim
from fast_axolotl.dispatch import call, profile, registry

from . import check, run
from .measure import BusyError

LOG = logging.getLogger("fast_axolotl.axolotl")


def load_seams() -> list[str]:
    """Import the modules of Axolotl that have seams, so that these are in the table.

    Returns:
        The names of the seams in place.

    Raises:
        ModuleNotFoundError: Axolotl is not installed.
    """
    spec = importlib.util.find_spec("axolotl")
    if spec is None or spec.origin is None:  # no origin: a folder of that name
        raise ModuleNotFoundError("Axolotl is not installed", name="axolotl")
    shim.install()
    for name in patch_map.hooked():
        _import_if_there(name)
    from fast_axolotl.axolotl.patching import applied

    return list(applied)


def _import_if_there(name: str) -> None:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        # This Axolotl has no such module; what it needs and is missing is no such case.
        if error.name is None or not error.name.startswith("axolotl"):
            raise


def grid(effort: str) -> run.Grid:
    """Return the grid of an effort, with time for the seams in the table."""
    found = run.grids()[effort]
    cells = [
        (function.python.__module__.startswith("axolotl."), len(function.cells()))
        for function in registry.FUNCTIONS.values()
        if function.workload is not None
    ]
    own = sum(count for seam, count in cells if not seam)
    seams = sum(count for seam, count in cells if seam)
    return found._replace(seconds=found.seconds * (1 + seams / max(1, own)))


def calibrate_host(effort: str = "default") -> bool:
    """Measure this host and write its profile, unless another process has just done it.

    Returns:
        Whether a profile was written; where none was, a line says why and the rules stay.
    """
    from .fingerprint import key

    try:
        file = profile.path()
        with profile.lock(file) as waited:
            if waited and check.valid(file) is not None:
                call.reload()
                return False
            profile.write(file, run.calibrate(effort, grid=grid(effort), key=key()))
    except (profile.ProfileError, BusyError, run.DifferenceError) as error:
        LOG.warning("fast-axolotl is not calibrated, the packaged rules hold: %s", error)
        return False
    call.reload()
    LOG.info("fast-axolotl is calibrated: %s", file)
    return True
