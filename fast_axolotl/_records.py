"""`typing.NamedTuple` for the modules that `import fast_axolotl` loads.

`typing` takes as long to import as everything of ours together.
"""

from __future__ import annotations

from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple
else:

    class _Record(type):
        def __new__(cls, name: str, _: tuple[type, ...], members: dict[str, Any]) -> type:
            """Return the named tuple that a class statement describes."""
            fields = list(members.pop("__annotations__"))
            defaults = [members.pop(field) for field in fields if field in members]
            record = namedtuple(name, fields, defaults=defaults, module=members["__module__"])
            for member, value in members.items():
                if member not in ("__module__", "__classcell__"):
                    setattr(record, member, value)
            return record

    NamedTuple = type.__new__(_Record, "NamedTuple", (), {})

__all__ = ["NamedTuple"]
