"""A heap that keeps the memory it got, as in a process that has freed something large before.

Else glibc gives up to 30 MB back to the kernel after a call, or not, by what lies behind it, and so
does the interpreter with arenas that no object is left in. Getting the pages again takes up to half
of the next call, on either side.
"""

import os
import platform
import sys

_SETTINGS = dict.fromkeys(("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"), str(1 << 30))
#: Small objects that fill 56 MB of arenas, and of how many of them one stays.
_OBJECTS, _ONE_OF = 500_000, 2000


def keep() -> None:
    """Start this program again with a heap that keeps its memory, where the C library is glibc."""
    if platform.libc_ver()[0] == "glibc" and not _SETTINGS.keys() <= os.environ.keys():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **_SETTINGS})


def arenas() -> list[bytes]:
    """Return objects that keep 56 MB of free arenas alive, behind all that was made before."""
    objects = [bytes(79) for _ in range(_OBJECTS)]
    return objects[::_ONE_OF]
