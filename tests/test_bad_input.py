"""Bad input: the message, the same from every implementation, and the next good call right."""

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import implementations
import numpy as np
import pyarrow as pa
import pytest
import strategies
from parity import OUTPUTS, outcome, same_value

MAX = sys.maxsize
GOOD: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "pad_sequences": (([[1, 2], [3]], 4), {}),
    "pack_sequences": (([[1, 2], [3]], 6, 0, 9), {}),
    "concatenate_and_pack": (([[1, 2]], [[3, 4]], [[1, 1]], 4, 0), {}),
    "create_padding_mask": ((2, 6), {}),
    "parallel_hash_rows": ((["a", "b"],), {}),
    "deduplicate_indices": ((["a", "b", "a"], ["c"]), {}),
}
NOT_ROWS = "{} must be a list of rows, a 2-D integer array or an Arrow list array, not {}"
NOT_ROW = "{} must be a list, a tuple or a 1-D integer array, not {}"
NOT_ARROW = "{} must give valid Arrow data through the PyCapsule interface, {} does not"


class Case:
    """One bad call and the error that it gets.

    `make` makes the arguments anew for each call: some are used up.
    """

    def __init__(
        self,
        function: str,
        label: str,
        make: Callable[[], tuple[tuple[Any, ...], dict[str, Any]]],
        error: type[Exception],
        message: str,
    ) -> None:
        self.function, self.label, self.make = function, label, make
        self.error, self.message = error, message


def case(
    function: str, label: str, error: type[Exception], message: str, *args: Any, **kwargs: Any
) -> Case:
    return Case(function, label, lambda: (args, kwargs), error, message)


def _kinds() -> list[Case]:
    cases = []
    wrong: list[tuple[Any, str]] = [
        (None, "NoneType"),
        (5, "int"),
        (1.5, "float"),
        ("text", "str"),
        (b"text", "bytes"),
        (bytearray(b"text"), "bytearray"),
        (memoryview(b"text"), "memoryview"),
        ({"a": [1]}, "dict"),
        ({1, 2}, "set"),
        (frozenset(), "frozenset"),
        (object(), "object"),
        (iter([[1]]), "list_iterator"),
        (int, "type"),
    ]
    for value, name in wrong:
        for function, argument, args in (
            ("pad_sequences", "sequences", ()),
            ("pack_sequences", "sequences", (8, 0, 2)),
        ):
            cases.append(
                case(function, name, TypeError, NOT_ROWS.format(argument, name), value, *args)
            )
            bad_row = NOT_ROW.format(f"{argument}[1]", name)
            cases.append(
                case(function, f"row {name}", TypeError, bad_row, [[1], value, [2]], *args)
            )
        for place, argument in enumerate(("input_ids", "labels", "attention_masks")):
            columns: list[Any] = [[[1]], [[1]], [[1]]]
            columns[place] = value
            message = NOT_ROWS.format(argument, name)
            cases.append(case("concatenate_and_pack", name, TypeError, message, *columns, 8, 0))
            columns[place] = [value]
            message = NOT_ROW.format(f"{argument}[0]", name)
            cases.append(
                case("concatenate_and_pack", f"row {name}", TypeError, message, *columns, 8, 0)
            )
    for value, name in wrong:
        for function in ("parallel_hash_rows", "deduplicate_indices"):
            cases.append(
                case(
                    function,
                    name,
                    TypeError,
                    "rows must be a list of str or bytes, or an Arrow string or binary array, "
                    f"not {name}",
                    value,
                )
            )
            if name not in ("str", "bytes"):
                message = f"rows[2] must be str or bytes, not {name}"
                cases.append(
                    case(function, f"row {name}", TypeError, message, ["a", b"b", value, "c"])
                )
                cases.append(
                    case(function, f"row {name}, all str", TypeError, message, ("a", "b", value))
                )
    return cases


def _size_errors(name: str, minimum: int) -> list[tuple[str, Any, type[Exception], str]]:
    huge = f"{name} must be at most {MAX}, got "
    return [
        *(
            (kind, value, TypeError, f"{name} must be an int, not {kind}")
            for value, kind in (
                ("8", "str"),
                (8.0, "float"),
                (b"8", "bytes"),
                ([8], "list"),
                (1j, "complex"),
                (np.float64(8), "float64"),
            )
        ),
        ("negative", -1, ValueError, f"{name} must be at least {minimum}, got -1"),
        (
            "very negative",
            -(2**70),
            ValueError,
            f"{name} must be at least {minimum}, got {-(2**70)}",
        ),
        ("2**63", 2**63, OverflowError, huge + str(2**63)),
        ("2**70", 2**70, OverflowError, huge + str(2**70)),
        ("10**5000", 10**5000, OverflowError, huge + "an int of 16610 bits"),
        ("raises", strategies.Angry(), ZeroDivisionError, "asked for its value"),
        ("raises TypeError", strategies.AngryType(), TypeError, "has a value but does not give it"),
        (
            "array",
            np.array([1, 2]),
            TypeError,
            "only integer scalar arrays can be converted to a scalar index",
        ),
    ]


def _sizes() -> list[Case]:
    cases = []
    for label, value, error, message in _size_errors("target_length", 0):
        cases.append(case("pad_sequences", label, error, message, [[1]], value))
    for label, value, error, message in _size_errors("pad_to_multiple_of", 0):
        cases.append(case("pad_sequences", label, error, message, [[1]], pad_to_multiple_of=value))
    none = "max_length must be an int, not NoneType"
    for label, value, error, message in [
        *_size_errors("max_length", 1),
        ("zero", 0, ValueError, "max_length must be at least 1, got 0"),
        ("None", None, TypeError, none),
        ("False", False, ValueError, "max_length must be at least 1, got 0"),
    ]:
        cases.append(case("pack_sequences", label, error, message, [[1]], value, 0, 2))
        cases.append(
            case("concatenate_and_pack", label, error, message, [[1]], [[1]], [[1]], value, 0)
        )
    for label, value, kind in (("None", None, "NoneType"), ("float", 1.0, "float")):
        cases += [
            case(
                "create_padding_mask",
                label,
                TypeError,
                f"current_length must be an int, not {kind}",
                value,
                5,
            ),
            case(
                "create_padding_mask",
                label,
                TypeError,
                f"target_length must be an int, not {kind}",
                5,
                value,
            ),
            # The target is looked at first.
            case(
                "create_padding_mask",
                f"both {label}",
                TypeError,
                "target_length must be an int, not str",
                value,
                "5",
            ),
        ]
    for function, args in (
        ("parallel_hash_rows", (["a"],)),
        ("deduplicate_indices", (["a"], None)),
    ):
        for value, kind in ((None, "NoneType"), (1.0, "float"), ("2", "str")):
            message = f"num_threads must be an int, not {kind}"
            cases.append(case(function, kind, TypeError, message, *args, value))
        message = "num_threads must be at least 0, got -1"
        cases.append(case(function, "negative", ValueError, message, *args, -1))
    return cases


def _huge() -> list[Case]:
    cases = []

    def memory(width: int, rows: int = 1) -> str:
        return f"{rows} rows of {width} tokens do not fit in memory"

    for width in (2**40, 2**59, 2**62, MAX):
        for output in ("lists", "numpy"):
            cases += [
                case(
                    "pad_sequences",
                    f"{width} {output}",
                    MemoryError,
                    memory(width, 2),
                    [[1], [2]],
                    width,
                    output=output,
                ),
                case(
                    "pad_sequences",
                    f"{width} left {output}",
                    MemoryError,
                    memory(width),
                    [[1]],
                    width,
                    0,
                    "left",
                    output=output,
                ),
                case(
                    "pad_sequences",
                    f"multiple of {width} {output}",
                    MemoryError,
                    memory(width),
                    [[1]],
                    pad_to_multiple_of=width,
                    output=output,
                ),
                case(
                    "pack_sequences",
                    f"{width} {output}",
                    MemoryError,
                    memory(width),
                    [[1], [2]],
                    width,
                    0,
                    2,
                    output=output,
                ),
                case(
                    "concatenate_and_pack",
                    f"{width} {output}",
                    MemoryError,
                    memory(width),
                    [[1]],
                    [[1]],
                    [[1]],
                    width,
                    0,
                    output=output,
                ),
            ]
        cases.append(case("create_padding_mask", f"{width}", MemoryError, memory(width), 0, width))
    for width in (2**31, 2**40, MAX):
        message = f"output='arrow' holds rows of at most 2147483647 tokens, not of {width}"
        cases += [
            case(
                "pad_sequences",
                f"{width} arrow",
                OverflowError,
                message,
                [[1]],
                width,
                output="arrow",
            ),
            case(
                "pack_sequences",
                f"{width} arrow",
                OverflowError,
                message,
                [[1]],
                width,
                0,
                2,
                output="arrow",
            ),
        ]
    too_far = f"target_length - current_length must be at most {MAX}, got {2**63}"
    rounded = f"the padded length must be at most {MAX}, got {2**63 + 1}"
    cases += [
        case("create_padding_mask", "2**63 apart", OverflowError, too_far, -(2**62), 2**62),
        case("pad_sequences", "rounded up", OverflowError, rounded, [[1]], MAX, 0, "right", 3),
        case("pad_sequences", "no rows", MemoryError, memory(2**61, 0), [], 2**61, output="numpy"),
    ]
    return cases


def _fits() -> list[Case]:
    long = "sequences[1] has length 3, longer than the padded length 2 (truncate=True cuts it)"
    packed = "sequences[2] has length 4 (6 with its end tokens), longer than max_length 5"
    joined = "input_ids[1] has length 6, longer than max_length 5"
    cases = []
    for output in OUTPUTS:
        cases += [
            case(
                "pad_sequences",
                f"long row {output}",
                ValueError,
                long,
                [[1], [1, 2, 3], [1] * 9],
                2,
                output=output,
            ),
            case(
                "pack_sequences",
                f"long row {output}",
                ValueError,
                packed,
                [[1], [1, 2, 3], [1] * 4, [1] * 99],
                5,
                0,
                2,
                output=output,
            ),
            case(
                "concatenate_and_pack",
                f"long row {output}",
                ValueError,
                joined,
                [[1] * 5, [2] * 6],
                [[1] * 5, [2] * 6],
                [[1] * 5, [2] * 6],
                5,
                0,
                output=output,
            ),
            case(
                "concatenate_and_pack",
                f"row missing {output}",
                ValueError,
                "labels has 1 rows, input_ids has 2",
                [[1], [2]],
                [[1]],
                [[1], [1]],
                5,
                0,
                output=output,
            ),
            case(
                "concatenate_and_pack",
                f"row too many {output}",
                ValueError,
                "attention_masks has 3 rows, input_ids has 2",
                [[1], [2]],
                [[1], [2]],
                [[1], [1], [1]],
                5,
                0,
                output=output,
            ),
            case(
                "concatenate_and_pack",
                f"ragged {output}",
                ValueError,
                "labels[1] has length 3, input_ids[1] has length 2",
                [[1], [2, 2]],
                [[1], [2, 2, 2]],
                [[1], [1]],
                5,
                0,
                output=output,
            ),
            case(
                "concatenate_and_pack",
                f"ragged mask {output}",
                ValueError,
                "attention_masks[0] has length 0, input_ids[0] has length 1",
                [[1], [2, 2]],
                [[1], [2, 2]],
                [[], [1, 1]],
                5,
                0,
                output=output,
            ),
            case(
                "concatenate_and_pack",
                f"ragged behind the last packed row {output}",
                ValueError,
                "attention_masks[2] has length 1, input_ids[2] has length 0",
                [[1], [], []],
                [[1], [], []],
                [[1], [], [1]],
                5,
                0,
                output=output,
            ),
        ]
    return cases


def _int64() -> list[Case]:
    cases = []
    for value, error, message in (
        (2**63, OverflowError, "does not fit in an int64: it has 64 bits"),
        (-(2**63) - 1, OverflowError, "does not fit in an int64: it has 64 bits"),
        (10**5000, OverflowError, "does not fit in an int64: it has 16610 bits"),
        (strategies.Int(2**80), OverflowError, "does not fit in an int64: it has 81 bits"),
        (strategies.Index(2**80), OverflowError, "does not fit in an int64: it has 81 bits"),
        (1.0, TypeError, "must be an integer, not float"),
        (None, TypeError, "must be an integer, not NoneType"),
        ("1", TypeError, "must be an integer, not str"),
        ([1], TypeError, "must be an integer, not list"),
        (np.float32(1), TypeError, "must be an integer, not float32"),
    ):
        label = type(value).__name__ if error is TypeError else f"{str(message)[-8:]}"
        for output in ("numpy", "arrow"):
            for holder in (list, tuple, strategies.Few):
                rows = [[1], holder([1, 2, value, value]), [value]]
                masks = [[1], [1] * 4, [1]]
                cases += [
                    case(
                        "pad_sequences",
                        label,
                        error,
                        f"sequences[1][2] {message}",
                        rows,
                        output=output,
                    ),
                    case(
                        "pad_sequences",
                        f"{label} left",
                        error,
                        f"sequences[1][2] {message}",
                        rows,
                        None,
                        0,
                        "left",
                        output=output,
                    ),
                    case(
                        "pack_sequences",
                        label,
                        error,
                        f"sequences[1][2] {message}",
                        rows,
                        9,
                        0,
                        2,
                        output=output,
                    ),
                    case(
                        "concatenate_and_pack",
                        label,
                        error,
                        f"labels[1][2] {message}",
                        masks,
                        rows,
                        masks,
                        9,
                        0,
                        output=output,
                    ),
                ]
            cases += [
                case(
                    "pad_sequences",
                    f"fill {label}",
                    error,
                    f"pad_value {message}",
                    [[1]],
                    3,
                    value,
                    output=output,
                ),
                case(
                    "pack_sequences",
                    f"pad {label}",
                    error,
                    f"pad_token_id {message}",
                    [[1]],
                    5,
                    value,
                    2,
                    output=output,
                ),
                case(
                    "pack_sequences",
                    f"eos {label}",
                    error,
                    f"eos_token_id {message}",
                    [[1]],
                    5,
                    0,
                    value,
                    output=output,
                ),
                case(
                    "pack_sequences",
                    f"label {label}",
                    error,
                    f"label_pad_id {message}",
                    [[1]],
                    5,
                    0,
                    2,
                    value,
                    output=output,
                ),
                case(
                    "concatenate_and_pack",
                    f"label {label}",
                    error,
                    f"label_pad_id {message}",
                    [[1]],
                    [[1]],
                    [[1]],
                    5,
                    0,
                    value,
                    output=output,
                ),
            ]
    wide = np.array([1, 2**63], np.uint64)
    fits = "does not fit in an int64: it has 64 bits"
    cases += [
        case(
            "pad_sequences",
            "uint64 row",
            OverflowError,
            f"sequences[1][1] {fits}",
            [[1], wide],
            output="numpy",
        ),
        case(
            "pad_sequences",
            "uint64 2-D",
            OverflowError,
            f"sequences[0][1] {fits}",
            wide.reshape(1, 2),
            output="numpy",
        ),
        case(
            "pad_sequences",
            "uint64 Arrow",
            OverflowError,
            f"sequences[1][0] {fits}",
            pa.array([[1], [2**63]], pa.list_(pa.uint64())),
            output="numpy",
        ),
    ]
    return cases


def _arrays() -> list[Case]:
    cases = []
    for value, message, error in (
        (np.ones((2, 2)), "sequences must be an array of integers, not of float64", TypeError),
        (np.ones((2, 2), bool).astype("O"), "sequences must be an array of integers, not of object",
         TypeError),
        (np.array([["a"]]), "sequences must be an array of integers, not of <U1", TypeError),
        (np.ones((2, 2), "m8[s]"), "sequences must be an array of integers, not of timedelta64[s]",
         TypeError),
        (np.ones(3, int), "sequences must have 2 dimensions as an array, not 1", ValueError),
        (np.ones((1, 2, 3)).astype(int), "sequences must have 2 dimensions as an array, not 3",
         ValueError),
        (np.array(5), "sequences must have 2 dimensions as an array, not 0", ValueError),
        ([[1], np.ones(2)], "sequences[1] must be an array of integers, not of float64", TypeError),
        ([[1], np.array([])], "sequences[1] must be an array of integers, not of float64",
         TypeError),
        ([np.array(["a"])], "sequences[0] must be an array of integers, not of <U1", TypeError),
        ([np.array([1, None])], "sequences[0] must be an array of integers, not of object",
         TypeError),
        ([[1], np.ones((1, 1), int)], "sequences[1] must have 1 dimension as an array, not 2",
         ValueError),
        ([np.array(3)], "sequences[0] must have 1 dimension as an array, not 0", ValueError),
        ([np.zeros(2, [("a", "i4")])],
         "sequences[0] must be an array of integers, not of [('a', '<i4')]", TypeError),
        ([np.int64(3)], NOT_ROW.format("sequences[0]", "int64"), TypeError),
        ([pa.array([1, 2])], NOT_ROW.format("sequences[0]", "Int64Array"), TypeError),
    ):  # fmt: skip
        label = message[10:60]
        for output in OUTPUTS:
            cases += [
                case("pad_sequences", f"{label} {output}", error, message, value, output=output),
                case("pack_sequences", f"{label} {output}", error, message, value, 9, 0, 2,
                     output=output),
            ]  # fmt: skip
    return cases


class Released:
    """An Arrow array that was read before."""

    def __init__(self, held: Any) -> None:
        self._capsules = held.__arrow_c_array__()
        pa.array(self)

    def __arrow_c_array__(self, requested_schema: Any = None) -> Any:
        return self._capsules


class ReleasedStream:
    """An Arrow stream that was read before."""

    def __init__(self, held: Any) -> None:
        self._capsule = held.__arrow_c_stream__()
        pa.chunked_array(self)

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self._capsule


class Says:
    """Whatever it is told to, in the place of capsules."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def __arrow_c_array__(self, requested_schema: Any = None) -> Any:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


class SaysStream:
    """The same of a stream."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self._answer


class _Schema(ctypes.Structure):
    pass


_Schema._fields_ = [
    ("format", ctypes.c_char_p),
    ("name", ctypes.c_char_p),
    ("metadata", ctypes.c_char_p),
    ("flags", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("children", ctypes.c_void_p),
    ("dictionary", ctypes.c_void_p),
    ("release", ctypes.c_void_p),
    ("private_data", ctypes.c_void_p),
]


class _Array(ctypes.Structure):
    _fields_ = [
        ("length", ctypes.c_int64),
        ("null_count", ctypes.c_int64),
        ("offset", ctypes.c_int64),
        ("n_buffers", ctypes.c_int64),
        ("n_children", ctypes.c_int64),
        ("buffers", ctypes.c_void_p),
        ("children", ctypes.c_void_p),
        ("dictionary", ctypes.c_void_p),
        ("release", ctypes.c_void_p),
        ("private_data", ctypes.c_void_p),
    ]


_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
_kept: list[Any] = []


def lying(held: Any, **fields: Any) -> Says:
    """An array whose structures are changed after they were filled in.

    A field is "schema_format", or one of ArrowArray's; `child` before it changes the first child.
    """
    schema, array = held.__arrow_c_array__()
    schemas = _Schema.from_address(_pointer(schema, b"arrow_schema"))
    arrays = _Array.from_address(_pointer(array, b"arrow_array"))
    for name, value in fields.items():
        if name == "schema_format":
            _kept.append(value)
            schemas.format = value
        else:
            setattr(arrays, name, value)
    _kept.append((schema, array))
    return Says((schema, array))


def offsets(*values: int) -> Any:
    """An Arrow list array over four values whose offsets became these after it was made."""
    memory = np.zeros(len(values), np.int32)
    made = pa.Array.from_buffers(
        pa.list_(pa.int64()),
        len(values) - 1,
        [None, pa.py_buffer(memory)],
        children=[pa.array([1, 2, 3, 4])],
    )
    memory[:] = values
    return made


def text_offsets(*values: int) -> Any:
    """An Arrow string array over four characters whose offsets became these."""
    memory = np.zeros(len(values), np.int32)
    buffers = [None, pa.py_buffer(memory), pa.py_buffer(b"abcd")]
    made = pa.Array.from_buffers(pa.string(), len(values) - 1, buffers)
    memory[:] = values
    return made


def _arrow() -> list[Case]:
    cases = []
    lists = pa.array([[1, 2], [3]])
    for value, message, error in (
        (pa.array([1, 2]), "must be an Arrow list of integers, not int64", TypeError),
        (pa.array(["a"]), "must be an Arrow list of integers, not string", TypeError),
        (pa.array([[1.5]]), "must be an Arrow list of integers, not a list of double", TypeError),
        (pa.array([["a"]]), "must be an Arrow list of integers, not a list of string", TypeError),
        (pa.array([[True]]), "must be an Arrow list of integers, not a list of bool", TypeError),
        (pa.array([[[1]]]), "must be an Arrow list of integers, not a list of list", TypeError),
        (pa.array([{"a": 1}]), "must be an Arrow list of integers, not struct", TypeError),
        (pa.array([[1]], pa.list_view(pa.int64())),
         "must be an Arrow list of integers, not list_view", TypeError),
        (pa.array([None]), "must be an Arrow list of integers, not null", TypeError),
        (pa.array([1], pa.timestamp("s")), "must be an Arrow list of integers, not timestamp",
         TypeError),
        (pa.array([[1]], pa.list_(pa.decimal128(5))),
         "must be an Arrow list of integers, not a list of decimal128", TypeError),
        (pa.array(["a"]).dictionary_encode(), "must be an Arrow list of integers, not dictionary",
         TypeError),
        (pa.table({"a": [[1]]}), "must be an Arrow list of integers, not struct", TypeError),
        (pa.record_batch({"a": [[1]]}), "must be an Arrow list of integers, not struct", TypeError),
    ):  # fmt: skip
        cases += [
            case("pad_sequences", f"Arrow {message[-20:]} {output}", error, f"sequences {message}",
                 value, output=output)
            for output in ("lists", "numpy")
        ]  # fmt: skip
    for value, message in (
        (pa.array([[1], None, None]), "sequences[1] is null"),
        (pa.array([[1], [2, None, 3]]), "sequences[1][1] is null"),
        (pa.array([[None], None], pa.list_(pa.int8())), "sequences[1] is null"),
        (pa.chunked_array([[[1], [2]], [[3], [4, None]]]), "sequences[3][1] is null"),
        (pa.chunked_array([[[1], [2]], [[3], None]]), "sequences[3] is null"),
        (pa.array([[1, 2], [3, None]], pa.list_(pa.int32(), 2)), "sequences[1][1] is null"),
        (pa.array([[1, 2], None], pa.list_(pa.int32(), 2)), "sequences[1] is null"),
        (pa.array([None, [1], None]).slice(1), "sequences[1] is null"),
        (pa.array([[None], [1], [None]]).slice(1), "sequences[1][0] is null"),
    ):  # fmt: skip
        for output in ("lists", "numpy"):
            cases += [
                case("pad_sequences", f"{message} {output}", ValueError, message, value,
                     output=output),
                case("pack_sequences", f"{message} {output}", ValueError, message, value, 9, 0, 2,
                     output=output),
            ]  # fmt: skip
    makers: list[tuple[str, Callable[[], Any]]] = [
        ("used up", lambda: Released(lists)),
        ("stream used up", lambda: ReleasedStream(pa.chunked_array([lists]))),
        ("None", lambda: Says(None)),
        ("numbers", lambda: Says((1, 2))),
        ("one capsule", lambda: Says(lists.__arrow_c_array__()[:1])),
        ("three capsules", lambda: Says((*lists.__arrow_c_array__(), 3))),
        ("not a tuple", lambda: Says(lists.__arrow_c_array__()[0])),
        ("capsules changed places", lambda: Says(lists.__arrow_c_array__()[::-1])),
        ("the schema twice", lambda: Says((lists.__arrow_c_array__()[0],) * 2)),
        ("another capsule", lambda: SaysStream(lists.__arrow_c_array__()[1])),
        ("stream None", lambda: SaysStream(None)),
        ("unknown format", lambda: lying(lists, schema_format=b"+nothing")),
        ("empty format", lambda: lying(lists, schema_format=b"")),
        ("negative length", lambda: lying(lists, length=-1)),
        ("negative offset", lambda: lying(lists, offset=-1)),
        ("longer than its child", lambda: offsets(0, 2, 9)),
        ("offsets that go back", lambda: offsets(0, 3, 1)),
        ("negative offsets", lambda: offsets(-1, 2)),
    ]
    for label, make in makers:
        kind = type(make()).__name__
        cases += [
            Case("pad_sequences", label, lambda make=make: ((make(),), {}), ValueError,
                 NOT_ARROW.format("sequences", kind)),
            Case("pack_sequences", label, lambda make=make: ((make(), 9, 0, 2),
                 {"output": "numpy"}), ValueError, NOT_ARROW.format("sequences", kind)),
            Case("concatenate_and_pack", label, lambda make=make: (([[1]], make(), [[1]], 9, 0),
                 {}), ValueError, NOT_ARROW.format("labels", kind)),
        ]  # fmt: skip
    texts: list[tuple[str, Callable[[], Any]]] = [
        *makers[:11],
        ("unknown format", lambda: lying(pa.array(["a"]), schema_format=b"!")),
        ("negative length", lambda: lying(pa.array(["a"]), length=-1)),
        ("offsets that go back", lambda: text_offsets(0, 3, 1)),
        ("negative offsets", lambda: text_offsets(-1, 2)),
    ]
    for label, make in texts:
        kind = type(make()).__name__
        for function in ("parallel_hash_rows", "deduplicate_indices"):
            cases.append(
                Case(function, label, lambda make=make: ((make(),), {}), ValueError,
                     NOT_ARROW.format("rows", kind))
            )  # fmt: skip
    for value, kind in (
        (pa.array([1]), "int64"),
        (pa.array([["a"]]), "list"),
        (pa.array(["a"]).dictionary_encode(), "dictionary"),
        (pa.array([b"ab"], pa.binary(2)), "fixed_size_binary"),
        (pa.table({"a": ["a"]}), "struct"),
        (pa.array([None]), "null"),
    ):
        message = f"rows must be an Arrow string or binary array, not {kind}"
        cases.append(case("parallel_hash_rows", kind, TypeError, message, value))
    for kind in (pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.binary_view()):
        value = pa.array(["a", "b", None, None], kind)
        cases.append(
            case("parallel_hash_rows", f"null {kind}", ValueError, "rows[2] is null", value)
        )
    chunked = pa.chunked_array([["a", "b"], ["c", None]])
    cases.append(case("deduplicate_indices", "null", ValueError, "rows[3] is null", chunked))
    cases.append(
        case(
            "pad_sequences", "its own error", LookupError, "not here", Says(LookupError("not here"))
        )
    )
    return cases


def _names() -> list[Case]:
    cases = []
    for value in ("list", "", "LISTS", None, 3, b"lists", ["lists"]):
        message = f"output must be 'lists', 'numpy', 'torch' or 'arrow', not {value!r}"
        cases += [
            case("pad_sequences", f"{value}", ValueError, message, [[1]], output=value),
            case("pack_sequences", f"{value}", ValueError, message, [[1]], 8, 0, 2, output=value),
            case("concatenate_and_pack", f"{value}", ValueError, message, [[1]], [[1]], [[1]], 8, 0,
                 output=value),
        ]  # fmt: skip
    for value in ("Right", "", "both", None, 1, b"left", np.array(["left"]), ("left",)):
        message = "padding_side must be 'right' or 'left'"
        cases.append(
            case("pad_sequences", f"{value}", ValueError, message, [[1]], padding_side=value)
        )
    return cases


def _text() -> list[Case]:
    cases = []
    many = [f"row {i}" for i in range(50_000)]
    many[31_234] = "ab\udc00c"
    message = (
        "'utf-8' codec can't encode character '\\udc00' in position 2: "
        "surrogates not allowed (rows[31234])"
    )
    for function in ("parallel_hash_rows", "deduplicate_indices"):
        cases += [
            case(function, f"surrogate, {threads} threads", UnicodeEncodeError, message, many,
                 num_threads=threads)
            for threads in (1, 2)
        ]  # fmt: skip
        cases += [
            case(function, "surrogates", UnicodeEncodeError,
                 "'utf-8' codec can't encode characters in position 1-2: "
                 "surrogates not allowed (rows[1])", ["a", "b\ud800\ud801"]),
            case(function, "surrogate behind bytes", UnicodeEncodeError,
                 "'utf-8' codec can't encode character '\\ud800' in position 0: "
                 "surrogates not allowed (rows[2])", [b"\xff", "b", strategies.Str("\ud800")]),
        ]  # fmt: skip
    for value, message in (
        ("a" * 64, "existing_hashes must be an iterable of str, not str"),
        (5, "existing_hashes must be an iterable of str, not int"),
        (object(), "existing_hashes must be an iterable of str, not object"),
        ([1], "existing_hashes must hold str, not int"),
        (["a", None], "existing_hashes must hold str, not NoneType"),
        (b"ab", "existing_hashes must hold str, not int"),
    ):
        cases.append(case("deduplicate_indices", message[-20:], TypeError, message, ["a"], value))
    return cases


CASES = [
    *_kinds(),
    *_sizes(),
    *_huge(),
    *_fits(),
    *_int64(),
    *_arrays(),
    *_arrow(),
    *_names(),
    *_text(),
]


@pytest.mark.parametrize(
    "bad", CASES, ids=[f"{bad.function}-{i}-{bad.label}" for i, bad in enumerate(CASES)]
)
def test_bad_input(impl: SimpleNamespace, bad: Case) -> None:
    args, kwargs = bad.make()
    found = outcome(getattr(impl, bad.function), args, kwargs)
    assert type(found) is bad.error, repr(found)
    assert str(found) == bad.message
    good, options = GOOD[bad.function]
    expected = getattr(implementations.oracle, bad.function)(*good, **options)
    same_value(getattr(impl, bad.function)(*good, **options), expected)


CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("pad_sequences", (), {}),
    ("pad_sequences", ([[1]],), {"unknown": 1}),
    ("pad_sequences", ([[1]], 1, 0, "right", None, True), {}),
    ("pad_sequences", ([[1]],), {"sequences": [[1]]}),
    ("pack_sequences", ([[1]], 3), {}),
    ("pack_sequences", ([[1]], 3, 0, 2, -100, "lists"), {}),
    ("concatenate_and_pack", ([[1]],), {}),
    ("create_padding_mask", (1,), {}),
    ("create_padding_mask", (1, 2, 3), {}),
    ("parallel_hash_rows", (), {"num_threads": 1}),
    ("parallel_hash_rows", (["a"], 1, 2), {}),
    ("deduplicate_indices", (), {}),
    ("deduplicate_indices", (["a"],), {"existing": ()}),
]


@pytest.mark.parametrize("name", implementations.NAMES)
@pytest.mark.parametrize(("function", "args", "kwargs"), CALLS)
def test_wrong_calls(
    name: str, function: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    # Unguarded: what can't be bound is Python's to explain, and to refuse.
    found = outcome(getattr(implementations.load(name), function), args, kwargs)
    expected = outcome(getattr(implementations.oracle, function), args, kwargs)
    assert isinstance(expected, TypeError)
    assert type(found) is TypeError
    assert str(found) == str(expected)


SMALL_MACHINE = """
import os, sys
real = os.sysconf
os.sysconf = lambda name: 1000 if name == "SC_PHYS_PAGES" else real(name)
import fast_axolotl
from fast_axolotl import _native, reference
functions = reference if sys.argv[1] == "reference" else _native.core
most = 2 * 1000 * real("SC_PAGE_SIZE") // 8

def told(name, *args, **options):
    try:
        getattr(functions, name)(*args, **options)
        return "fits"
    except MemoryError as error:
        return str(error)

half = most // 2
for found, expected in (
    (told("create_padding_mask", 0, most), "fits"),
    (told("create_padding_mask", 0, most + 1), f"1 rows of {most + 1} tokens"),
    (told("pad_sequences", [[1], [2]], half), "fits"),
    (told("pad_sequences", [[1], [2]], half + 1), f"2 rows of {half + 1} tokens"),
    (told("pack_sequences", [[1], [2]], most, 0, 2), "fits"),
    (told("pack_sequences", [], most + 1, 0, 2), "fits"),
    (told("pack_sequences", [[1], [2]], most + 1, 0, 2), f"1 rows of {most + 1} tokens"),
    (told("concatenate_and_pack", [[1]], [[1]], [[1]], most, 0), "fits"),
    (
        told("concatenate_and_pack", [[1]], [[1]], [[1]], most + 1, 0),
        f"1 rows of {most + 1} tokens",
    ),
    (
        told("pack_sequences", [[1], [2]], most + 1, 0, 2, output="numpy"),
        f"1 rows of {most + 1} tokens",
    ),
    (told("pad_sequences", [[1], [2]], half + 1, output="arrow"), f"2 rows of {half + 1} tokens"),
):
    assert found == (expected if expected == "fits" else f"{expected} do not fit in memory"), found
"""


@pytest.mark.skipif(not hasattr(os, "sysconf"), reason="Windows promises no more than there is")
@pytest.mark.parametrize("name", ["rust", "reference"])
def test_no_more_is_tried_than_the_machine_has(name: str) -> None:
    # Some systems promise any memory, and end the process that uses it.
    if name == "rust" and implementations.WITHOUT_RUST:
        pytest.skip("needs the extension")
    subprocess.run([sys.executable, "-c", SMALL_MACHINE, name], check=True)
