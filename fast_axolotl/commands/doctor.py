"""`fast-axolotl doctor`: what there is and why, in plain text that fits an issue report."""

import os
import sys
from typing import Annotated, Any

import typer


def doctor(
    axolotl: Annotated[
        bool, typer.Option("--axolotl", help="Import Axolotl and show what is replaced in it.")
    ] = False,
) -> None:
    """Show what an issue report needs: versions, choices, patches.

    Version, extension, CPU, threads, profile, modes, patches, and variables of the environment.
    """
    if axolotl:
        from fast_axolotl.calibration.axolotl import load_seams

        try:
            load_seams()
        except ImportError as error:
            print(f"fast-axolotl doctor: --axolotl: {error}", file=sys.stderr)
            raise typer.Exit(1) from None
    lines = report()
    width = max(map(len, lines))
    for name, value in lines.items():
        typer.echo(f"{name:<{width}}  {value}")


def report() -> dict[str, str]:
    """Return what `fast-axolotl doctor` shows, line by line."""
    import platform

    import fast_axolotl
    from fast_axolotl import _environment, _native
    from fast_axolotl.calibration.fingerprint import cpu
    from fast_axolotl.dispatch import call, modes, registry, support

    core: Any = _native.core
    lines = {
        "fast-axolotl": fast_axolotl.__version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "platform": platform.platform(),
        "extension": f"not available: {_native.UNAVAILABLE}" if core is None else core.build_id(),
        "cpu": cpu()[0],
        "cpu features used": "none" if core is None else ", ".join(core.cpu_features()) or "none",
        "threads": _threads(core),
        "profile": _profile(call),
        "mode": modes.describe(),
        "quarantined": "; ".join(f"{n}: {r}" for n, r in support.quarantined.items()) or "nothing",
        "functions": ", ".join(registry.FUNCTIONS),
        "patched": _patched(),
    }
    lines.update(_seams())
    if _environment.problems:
        lines["wrong"] = " and ".join(_environment.problems)
    for name in sorted(os.environ):
        if name.startswith("FAST_AXOLOTL_"):
            lines[name] = os.environ[name]
    return lines


def _threads(core: Any) -> str:
    if core is None:
        return "1, without the extension"
    usable, machine = core.usable_threads(), os.cpu_count() or 1
    if usable == machine:
        why = "all of the machine"
    else:
        why = f"of the machine's {machine}: affinity or a cgroup quota allows no more"
    from fast_axolotl.dispatch.call import thread_budget

    if thread_budget() != usable:
        why += f"; {thread_budget()} a call, since LOCAL_WORLD_SIZE ranks share them"
    return f"{usable} ({why})"


def _profile(call: Any) -> str:
    from fast_axolotl.dispatch import profile

    try:
        file = profile.path()
    except profile.ProfileError as error:
        return f"packaged default ({error})"
    own, _ = call.profiles()
    if own is not None:
        made = own.data["made"]
        return f"{file} (valid, made {made.get('at', '?')}, {made.get('effort', '?')})"
    if call.profile_problem is not None:
        return f"packaged default ({call.profile_problem})"
    return f"packaged default (there is no {file}; `fast-axolotl calibrate` makes one)"


def _patched() -> str:
    from fast_axolotl.axolotl import shim

    state = "installed" if shim.is_installed() else "not installed"
    if "axolotl" not in sys.modules:
        return f"shim {state}; axolotl is not imported"
    found = getattr(sys.modules["axolotl"], "__version__", "?")
    return f"shim {state}; axolotl {found} is imported"


def _seams() -> dict[str, str]:
    # In the order of the table: operation, place, what became of it.
    if "fast_axolotl.axolotl.patching" not in sys.modules:
        return {}
    from fast_axolotl.axolotl import patching

    found = {}
    for name, patch in patching.applied.items():
        place = patch.seam.attribute
        full = place.replace(":", ".") if ":" in place else f"{patch.seam.module}.{place}"
        found[f"  {name}"] = f"{patch.seam.operation}: {full}"
    for name, reason in patching.left_alone.items():
        found[f"  {name}"] = f"left to Axolotl: {reason}"
    return found
