"""A heap that keeps the memory it got, as in a process that has freed something large before.

Else glibc gives up to 30 MB back to the kernel after a call, or not, by what lies behind it, and so
does the interpreter with arenas that no object is left in. Getting the pages again takes up to half
of the next call, on either side.
"""

import os
import platform
import sys

_SETTINGS = dict.fromkeys(("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"), str(1 << 30))
#: Small objects that fill 64 MB of arenas, and how many of them have one that stays.
_OBJECTS, _OBJECTS_OF_ARENA = 500_000, 2000
_staying: list[bytes] = []


def keep() -> None:
    """Start this program again with such a heap, where the C library is glibc."""
    if platform.libc_ver()[0] == "glibc" and not _SETTINGS.keys() <= os.environ.keys():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **_SETTINGS})
    objects = [bytes(79) for _ in range(_OBJECTS)]
    _staying.extend(objects[::_OBJECTS_OF_ARENA])
