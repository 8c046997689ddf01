"""Both sides of a seam, for tests.

By the seam (`original_of`, `replacement_of`): the implementation where its conditions hold,
whatever the dispatcher would choose. By name (`original`, `replacement`): what is in place.
"""

import functools
import importlib
import importlib.metadata
import inspect
from collections.abc import Callable
from typing import Any

import fast_axolotl
from fast_axolotl.axolotl import patching
from fast_axolotl.axolotl.patch_map import Seam
from fast_axolotl.dispatch.verify import first_difference


def is_before(package: str, *version: int) -> bool:
    """Return whether the installed version of a package is older: the tests know several."""
    found = importlib.metadata.version(package).split(".")[: len(version)]
    return tuple(map(int, found)) < version


#: Up to 0.18, Axolotl drops no row that has no trainable token.
DROPS_MASKED = not is_before("axolotl", 0, 19)
#: Seams that the installed packages are too old for.
TOO_OLD = {"load_local_file", "torch_rows"} if is_before("datasets", 4, 8) else set()


def original_of(seam: Seam) -> Callable[..., Any]:
    """The function that Axolotl has, whether it is replaced now or not."""
    other, _, attribute = seam.attribute.rpartition(":")
    # The import may put the seam in place: only afterwards is it known what is there.
    module = importlib.import_module(other or seam.module)
    importlib.import_module(seam.module)
    patch = patching.applied.get(seam.name)
    found = patch.original if patch else patching.find(module, attribute)[2]
    function = patching.unbound(found)
    owner = inspect.unwrap(function).__globals__["__name__"].partition(".")[0]
    assert owner == module.__name__.partition(".")[0] != "fast_axolotl", owner
    return function


def replacement_of(seam: Seam) -> Callable[..., Any]:
    """The implementation behind its conditions: the original where one does not hold."""
    original = original_of(seam)
    implementation = seam.build(original)

    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        held = all(condition.holds(args, kwargs) for condition in seam.conditions)
        call.taken += held
        return (implementation if held else original)(*args, **kwargs)

    call.taken = 0
    return call


def outcome(function: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Any, Any]:
    try:
        return function(*args, **kwargs), None
    except Exception as error:
        return None, (type(error), str(error))


def assert_same(found: Any, wanted: Any) -> None:
    difference = first_difference(found, wanted)
    assert difference is None, difference


def check_known(seam: Seam) -> None:
    """The installed packages have what the seam was written for."""
    module = importlib.import_module(seam.module)
    patching.check(seam, module)
    parameters = inspect.signature(original_of(seam)).parameters
    found = inspect.signature(seam.build(original_of(seam))).parameters
    assert list(found) == list(parameters)
    for name, parameter in parameters.items():
        assert found[name].default == parameter.default
        assert found[name].kind == parameter.kind


def reset(*modules: str) -> None:
    """Put the seams of modules in place, whatever other tests did."""
    for module in modules:
        importlib.import_module(module)
    fast_axolotl.install()


def original(name: str) -> Callable[..., Any]:
    """Return Axolotl's own function."""
    assert name in patching.applied, patching.left_alone
    patch = patching.applied[name]
    found = getattr(patch.original, "__func__", patch.original)
    owner = inspect.unwrap(found).__globals__["__name__"].partition(".")[0]
    assert owner != "fast_axolotl", owner
    return found  # type: ignore[no-any-return]


def replacement(name: str) -> Callable[..., Any]:
    """Return what is in its place."""
    found = patching.applied[name].replacement
    return getattr(found, "__func__", found)  # type: ignore[no-any-return]


def types_of(value: Any) -> Any:
    """Return the types in nested lists and tuples."""
    if isinstance(value, (list, tuple)):
        return (type(value), [types_of(item) for item in value])
    return type(value)


def ended(call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return how a call ended: its result with all types, or its error."""
    try:
        result = call(*args, **kwargs)
    except Exception as error:
        return "raised", type(error), str(error)
    return "returned", types_of(result), result
