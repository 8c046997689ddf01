"""What a profile depends on: extension build, interpreter, CPU, usable threads."""

import os
import sys
from functools import cache
from typing import Any


def key() -> dict[str, Any]:
    """Return the key of this host and build; a profile with another one is not used."""
    try:
        from fast_axolotl import _core
    except ImportError:
        build, features, threads = "none", [], 1
    else:
        build = str(_core.build_id())
        features, threads = list(_core.cpu_features()), _core.usable_threads()
    model, flags = cpu()
    return {
        "build": build,
        "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
        "abi": f"{sys.implementation.cache_tag}{getattr(sys, 'abiflags', '')}-{sys.platform}",
        "cpu": model,
        "flags": flags,
        "features": ",".join(features),
        "threads": threads,
    }


@cache
def cpu() -> tuple[str, str]:
    """Return the model of the CPU, and a short digest of its flags."""
    fields: dict[str, str] = {}
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as stream:
            for line in stream:  # the first processor is enough: the file has megabytes on some
                name, colon, value = line.partition(":")
                if not colon:
                    break
                fields[name.strip()] = value.strip()
    except OSError:
        return _named_cpu(), ""
    model = fields.get("model name") or fields.get("CPU part") or _named_cpu()
    if "model" in fields and "cpu family" in fields:
        model += f" ({fields['cpu family']}/{fields['model']}/{fields.get('stepping', '?')})"
    flags = fields.get("flags") or fields.get("Features") or ""
    return model, _digest(flags)


def _digest(flags: str) -> str:
    from hashlib import sha256

    # Prefixed, so that YAML never reads it as a number.
    return "x" + sha256(" ".join(sorted(flags.split())).encode()).hexdigest()[:12] if flags else ""


def _named_cpu() -> str:
    if sys.platform == "darwin":
        import subprocess

        try:
            command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
            return done.stdout.strip()
        except (OSError, subprocess.SubprocessError):
            pass
    named = os.environ.get("PROCESSOR_IDENTIFIER")
    if named:
        return named
    import platform

    return platform.processor() or platform.machine()
