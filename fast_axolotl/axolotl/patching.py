"""Puts seams in place of Axolotl's functions, and takes them out again.

A function is replaced where it is defined and wherever its name was copied by `from ... import`.
Only what still has the source that a seam was written for is replaced; the rest is left alone,
with one line that says why.
"""

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

from fast_axolotl import dispatch
from fast_axolotl.dispatch import registry

from .patch_map import Seam

LOGGER = "fast_axolotl.axolotl"


class Patch(NamedTuple):
    """A seam in its place.

    Attributes:
        seam: the seam.
        owner: the module or class that has the attribute.
        name: of the attribute.
        original: what was there, descriptor included.
        replacement: what is there now, likewise.
    """

    seam: Seam
    owner: Any
    name: str
    original: Any
    replacement: Any


class LeftAloneError(Exception):
    """A seam can't be put in place; the message says why."""


#: Seams in place, by name, and why others are not.
applied: dict[str, Patch] = {}
left_alone: dict[str, str] = {}
#: What was in place in a module before it was executed again: other modules may have copies of it.
_superseded: list[Patch] = []


def log(message: str, *values: object) -> None:
    """Write an INFO line."""
    import logging

    logging.getLogger(LOGGER).info(message, *values)


def apply(seams: Iterable[Seam], module: ModuleType, among: Iterable[ModuleType]) -> None:
    """Put the seams of a module in place, unless they are.

    Args:
        seams: those that are about `module`.
        module: a loaded module of Axolotl.
        among: modules that may have copied names from it.
    """
    changes: list[tuple[Patch, Any, Any]] = []
    for seam in seams:
        try:
            patch = _place(seam, module)
        except LeftAloneError as error:
            if left_alone.get(seam.name) != str(error):
                left_alone[seam.name] = str(error)
                log("%s: left to Axolotl: %s", seam.name, error)
            continue
        if patch is not None:
            left_alone.pop(seam.name, None)
            changes.append((patch, patch.original, patch.replacement))
    if changes:
        foreign = any(":" in patch.seam.attribute for patch, _, _ in changes)
        # A function of another package may have been copied long before.
        repoint(changes, list(sys.modules.values()) if foreign else among)


def undo(among: Iterable[ModuleType]) -> None:
    """Put the originals back, by identity, and let the replacements call them from now on.

    An attribute that somebody else replaced after us stays as it is.
    """
    for patch in applied.values():
        if not _put_back(patch):
            log("%s: %s was replaced by somebody else since", patch.seam.name, patch.name)
        dispatch.unregister(patch.seam.name)
    for patch in _superseded:
        _put_back(patch)  # in a class, which others have a copy of: the module has another one now
    patches = (*applied.values(), *_superseded)
    changes = [(patch, patch.replacement, patch.original) for patch in patches]
    applied.clear()
    left_alone.clear()
    _superseded.clear()
    if changes:
        repoint(changes, among)


def _put_back(patch: Patch) -> bool:
    """Put an original back where ours still is, and say whether it was."""
    is_ours = vars(patch.owner).get(patch.name) is patch.replacement
    if is_ours:
        setattr(patch.owner, patch.name, patch.original)
    return is_ours


def repoint(changes: list[tuple[Patch, Any, Any]], among: Iterable[ModuleType]) -> None:
    """Replace copies that `from ... import` made in modules.

    In a module of Axolotl under any name, elsewhere under the function's own: a name that somebody
    gave to the original is theirs.

    Args:
        changes: patches, each with what is replaced and what replaces it.
        among: modules to look at.
    """
    functions = [
        (patch.name, old, new) for patch, old, new in changes if isinstance(patch.owner, ModuleType)
    ]
    by_id = {id(old): new for _, old, new in functions}
    for module in among:
        namespace = getattr(module, "__dict__", None)
        if type(namespace) is not dict:
            continue
        if str(namespace.get("__name__")).partition(".")[0] == "axolotl":
            for name in [name for name, value in namespace.copy().items() if id(value) in by_id]:
                namespace[name] = by_id[id(namespace[name])]
        else:
            for name, old, new in functions:
                if namespace.get(name) is old:
                    namespace[name] = new


def _place(seam: Seam, module: ModuleType) -> Patch | None:
    other, _, attribute = seam.attribute.rpartition(":")
    owner, name, original = find(_holder(other, module), attribute)
    known = applied.get(seam.name)
    if known is not None:
        if original is known.replacement:
            return None
        dispatch.unregister(seam.name)  # the module was executed again, or someone put it back
        _superseded.append(applied.pop(seam.name))
    check(seam, module)
    function = unbound(original)
    try:
        implementation = seam.build(function)
    except Exception as error:
        raise LeftAloneError(f"it can't be built: {type(error).__name__}: {error}") from error
    if isinstance(implementation, FunctionType):
        # By which a TypeError of its arguments calls it.
        implementation.__qualname__ = getattr(function, "__qualname__", seam.attribute)
    entry = registry.Function(
        name=seam.name,
        operation=seam.operation,
        layouts=seam.layouts,
        outputs=seam.outputs,
        python=function,
        rust=implementation,
        describe=seam.describe,
        conditions=seam.conditions,
        workload=seam.workload,
        verdict=seam.verdict,
        strict=False,
        apart=seam.apart,
        verify=seam.verify,
        front=seam.front,
    )
    left = registry.FUNCTIONS.get(seam.name)
    if left is not None and not left.native:
        dispatch.unregister(seam.name)  # of an installation that a fork cut short
    try:
        dispatch.register(entry)
    except ValueError as error:
        raise LeftAloneError(str(error)) from None
    replacement: Any = likeness(function, dispatch.dispatched(entry))
    if isinstance(original, (staticmethod, classmethod)):
        replacement = type(original)(replacement)
    patch = Patch(seam, owner, name, original, replacement)
    setattr(owner, name, replacement)
    applied[seam.name] = patch
    return patch


def likeness(original: Callable[..., Any], replacement: Callable[..., Any]) -> Callable[..., Any]:
    """Give a replacement what `functools.wraps` does not: the signature, the kind of object."""
    import inspect

    with suppress(TypeError, ValueError):
        replacement.__signature__ = inspect.signature(original)  # type: ignore[attr-defined]
    if type(original) is FunctionType:
        return replacement
    kind = type("StandIn", (_StandIn,), {"__call__": staticmethod(replacement)})
    found: Callable[..., Any] = kind(original, vars(replacement))
    return found


class _StandIn:
    """What is in the place of a compiled function, which is an object of numba's.

    Calls are ours (a subclass has them). All else is the original's: its attributes, its class,
    what it is pickled as, what other compiled functions see that call it.
    """

    def __init__(self, original: Any, attributes: dict[str, Any]) -> None:
        names = ("__name__", "__qualname__", "__doc__", "__module__")
        own = {name: getattr(original, name, None) for name in names}
        signature = {k: v for k, v in attributes.items() if k == "__signature__"}
        vars(self).update(own, **signature, __wrapped__=original)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(self.__wrapped__)

    def __getattr__(self, name: str) -> Any:
        if name == "__wrapped__":  # a copy that is not filled yet
            raise AttributeError(name)
        return getattr(self.__wrapped__, name)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.__wrapped__.__reduce_ex__(protocol)

    def __repr__(self) -> str:
        return repr(self.__wrapped__)


def find(module: ModuleType, attribute: str) -> tuple[Any, str, Any]:
    """Return owner, name and value of an attribute, the value as its owner's own dict has it.

    Raises:
        LeftAloneError: there is none.
    """
    *path, name = attribute.split(".")
    owner: Any = module
    for part in path:
        owner = vars(owner).get(part)
        if not isinstance(owner, type):
            raise LeftAloneError(f"{module.__name__} has no class {part}")
    value = vars(owner).get(name)
    if not callable(unbound(value)):
        raise LeftAloneError(f"{module.__name__} has no function {attribute}")
    return owner, name, value


def unbound(value: Any) -> Any:
    """Return the function of a static or class method, and anything else as it is."""
    return value.__func__ if isinstance(value, (staticmethod, classmethod, MethodType)) else value


# --- what a seam was written for ---------------------------------------------------------------


def check(seam: Seam, module: ModuleType) -> None:
    """Look whether Axolotl has the functions that a seam was written for.

    Raises:
        LeftAloneError: it has others.
    """
    wanted = {seam.attribute: seam.digests, **(seam.relies_on or {})}
    for name, digests in wanted.items():
        other, _, attribute = name.rpartition(":")
        holder = _holder(other, module)
        _, _, value = find(holder, attribute)
        if digest(_known_original(value), holder) not in digests.values():
            place, versions = f"{holder.__name__}.{attribute}", ", ".join(digests)
            if place.startswith("axolotl."):
                place += f" of Axolotl {version()}"
            raise LeftAloneError(f"{place} is not the one of {versions}")


def _holder(name: str, module: ModuleType) -> ModuleType:
    if not name:
        return module
    found = sys.modules.get(name)
    if found is None:
        raise LeftAloneError(f"{name} is not loaded")
    return found


def _known_original(value: Any) -> Any:
    # A name that one seam relies on may be the place of another.
    for patch in applied.values():
        if patch.replacement is value:
            return patch.original
    return value


def digest(value: Any, module: ModuleType) -> str:
    """Return the SHA-256 of a function's or a class's source.

    Raises:
        LeftAloneError: the source can't be read, or somebody wrapped the function.
    """
    import inspect
    from hashlib import sha256

    function = unbound(value)
    _check_layers(function, module)
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError) as error:
        raise LeftAloneError(f"its source can't be read: {error}") from None
    return sha256(source.encode()).hexdigest()


def _check_layers(function: Any, module: ModuleType) -> None:
    # inspect.getsource looks through decorators: those of Axolotl belong to the function, one
    # that was put around it later does not.
    package = sys.modules.get(module.__name__.partition(".")[0])
    folders = tuple(f"{folder}{os.sep}" for folder in getattr(package, "__path__", ()))
    layer = function
    while layer is not None:
        inner = getattr(layer, "__wrapped__", None)
        if type(layer) is FunctionType:
            file = layer.__code__.co_filename
            decorator = inner is not None and file.endswith(_DECORATORS)
            if not decorator and not file.startswith(folders):
                raise LeftAloneError(f"it was replaced or wrapped by code in {file}")
        layer = inner


_DECORATORS = ("contextlib.py", "functools.py")


def version() -> str:
    """Return the version of the installed Axolotl."""
    found = getattr(sys.modules.get("axolotl"), "__version__", None)
    return str(found) if found else "(unknown version)"
