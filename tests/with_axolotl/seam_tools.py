"""What the tests of seams share: the originals, the implementations, one small tokenizer."""

import functools
import importlib
import inspect
from collections.abc import Callable
from typing import Any

from fast_axolotl.axolotl import patching
from fast_axolotl.axolotl.patch_map import Seam
from fast_axolotl.dispatch.verify import first_difference


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
