"""Local files into datasets: read by Rust, kept where `datasets` keeps them.

The rows go through the builder that `load_dataset` would use, into the same place of its cache:
fingerprint, features and information are those of `datasets`, and a cache that one side made
serves the other. Only the reading of the file is ours.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fast_axolotl.axolotl import settings
from fast_axolotl.axolotl.patch_map import Implementation, Seam
from fast_axolotl.dispatch.policy import Sizes
from fast_axolotl.dispatch.registry import Arguments, Call, Condition, Keywords

from .conditions import taking

MODULE = "axolotl.utils.data.shared"
#: Builder of `datasets` -> our name of the format; others are left to `datasets`.
FORMATS = {"json": "json", "csv": "csv", "parquet": "parquet", "text": "text", "arrow": "arrow"}
#: What our reader decompresses, as `datasets` names it.
DECOMPRESSED = ("gzip", "xz", "zstd")

#: The versions of pandas whose rows our reader gives for CSV: 2 has other types, 3.0 other doubles.
PANDAS = "3.1."

#: Bytes that tell whether a JSON file is an array.
_HEAD = 1 << 16

_Config = tuple[Any, dict[str, Any]]


def _arguments(args: Arguments, kwargs: Keywords) -> _Config:
    names = ("dataset_config", "load_dataset_kwargs")
    found = {**dict(zip(names, args, strict=False)), **kwargs}
    return found["dataset_config"], found["load_dataset_kwargs"]


def _size(args: Arguments, kwargs: Keywords) -> int:
    config, _ = _arguments(args, kwargs)
    try:
        return Path(config.path).stat().st_size
    except OSError:
        return 0


def describe(args: Arguments, kwargs: Keywords) -> Call:
    """Return the size of the file as elements of one row."""
    size = _size(args, kwargs)
    return Call("axolotl", "axolotl", Sizes(1, size, size))


def _is_plain_file(dataset_config: Any, load_dataset_kwargs: dict[str, Any]) -> bool:
    from axolotl.utils.data import shared

    return (
        Path(dataset_config.path).is_file()
        and shared.get_dataset_type(dataset_config) in FORMATS
        and not load_dataset_kwargs.get("streaming")
        and not load_dataset_kwargs.get("trust_remote_code")
        and load_dataset_kwargs.get("name") is None
    )


def _is_read_alike(dataset_config: Any, load_dataset_kwargs: dict[str, Any]) -> bool:
    """Return whether `datasets` reads a file of this kind as it did when the two were compared."""
    import pandas
    from axolotl.utils.data import shared

    del load_dataset_kwargs
    if shared.get_dataset_type(dataset_config) != "csv":
        return True
    return str(pandas.__version__).startswith(PANDAS)


def _may_be_wanted(_args: Arguments, _kwargs: Keywords) -> bool:
    return settings.may_stream()


def _is_wanted(args: Arguments, kwargs: Keywords) -> bool:
    return settings.streams(_size(args, kwargs))


def _size_is_dropped(args: Arguments, kwargs: Keywords) -> bool:
    # `datasets` records the bytes of its own tables, which have other boundaries and validity
    # bitmaps than ours. What is tokenized starts without the record.
    config, _ = _arguments(args, kwargs)
    return bool(config.type) and not settings.current.preferences


def build(original: Implementation) -> Implementation:
    """Return the loader that fills the cache of `datasets` first, and lets `original` open it."""

    def _load_from_local_path(dataset_config: Any, load_dataset_kwargs: dict[str, Any]) -> Any:
        from axolotl.utils.data import shared

        kind = shared.get_dataset_type(dataset_config)
        _fill_cache(kind, dataset_config.path, load_dataset_kwargs)
        return original(dataset_config, load_dataset_kwargs)

    return _load_from_local_path


def _fill_cache(kind: str, path: str, options: dict[str, Any]) -> None:
    from datasets import load_dataset_builder

    own = ("split", "streaming", "trust_remote_code")
    builder = load_dataset_builder(
        kind, data_files=path, **{k: v for k, v in options.items() if k not in own}
    )
    stock = builder._generate_tables

    def tables(**kwargs: Any) -> Any:
        found = stock(**kwargs)
        if kwargs.get("allow_full_read") is False:
            return found  # the builder's look at the first rows, for the features
        file = _file(**kwargs)
        return found if file is None else _tables(kind, file, found)

    # Not a method: the builder's class stays what it is, for everybody else.
    builder._generate_tables = tables
    builder.download_and_prepare()


def _file(
    files: Sequence[str] = (), files_iterables: Iterable[Iterable[str]] = (), **_: Any
) -> str | None:
    """Return the file that a builder reads; None where it is none that we can open, or several.

    A name may be a pattern (`rows[1].jsonl` is `rows1.jsonl`), and an archive has any number.
    """
    found = [*files, *(file for each in files_iterables for file in each)]
    if len(found) != 1:
        return None
    # As `datasets` has it: gzip://rows.jsonl::/home/me/rows.jsonl.gz
    first, joint, rest = found[0].partition("::")
    if not joint:
        return first
    return rest if first.partition("://")[0] in DECOMPRESSED and "::" not in rest else None


def _tables(kind: str, path: str, stock: Iterator[Any]) -> Iterator[Any]:
    import pyarrow
    from datasets.builder import Key

    import fast_axolotl

    number = -1
    # Types from as much of the file as the builders read at first: a later row that contradicts
    # them is an error with both.
    with fast_axolotl.open_dataset(path, format=FORMATS[kind], infer="chunk") as reader:
        if kind == "json" and _is_rewritten(path, reader.schema):
            yield from stock
            return
        batches = pyarrow.RecordBatchReader.from_stream(reader)
        for number, batch in enumerate(batches):
            yield Key(0, number), pyarrow.Table.from_batches([batch])
    if number < 0:
        # What a file without rows is, an error or an empty table, differs from builder to builder.
        yield from stock


def _is_rewritten(path: str, schema: Any) -> bool:
    """Return whether `datasets` reads the rows of a JSON file from a text that it makes of them.

    It does so with arrays, and where types are mixed. Its text has ten decimals of a float, and a
    text for an object in one of mixed types: not what the file says, but what stock trains on.
    """
    from pyarrow import types

    leaves = [leaf for field in schema for leaf in _leaves(field.type)]
    if any(getattr(leaf, "extension_name", None) == "arrow.json" for leaf in leaves):
        return True
    return any(map(types.is_floating, leaves)) and _is_array(path)


def _leaves(kind: Any) -> Iterator[Any]:
    if not kind.num_fields:
        yield kind
    for index in range(kind.num_fields):
        yield from _leaves(kind.field(index).type)


def _is_array(path: str) -> bool:
    """Return whether a JSON file may start with an array."""
    import gzip
    import lzma

    opened: Any = open
    with Path(path).open("rb") as file:
        magic = file.read(4)
    if magic[:2] == b"\x1f\x8b":
        opened = gzip.open
    elif magic == b"\xfd7zX":
        opened = lzma.open
    elif magic == b"\x28\xb5\x2f\xfd":
        import zstandard

        opened = zstandard.open
    with opened(path, "rb") as file:
        head: bytes = file.read(_HEAD).removeprefix(b"\xef\xbb\xbf").lstrip()
    return not head.startswith(b"{")


def _verify(
    original: Implementation, ours: Implementation, args: Arguments, kwargs: Keywords
) -> Any:
    """Let each side read the file into a cache of its own, and compare the datasets."""
    from tempfile import TemporaryDirectory

    from fast_axolotl.dispatch.verify import check_alike, outcome

    config, options = _arguments(args, kwargs)
    # What stock leaves in its cache must not be read by ours, nor the other way round.
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        wanted = outcome(original, config, {**options, "cache_dir": f"{folder}/python"})
        found = outcome(ours, config, {**options, "cache_dir": f"{folder}/rust"})
        check_alike("load: load_local_file: ", found, wanted)
        del found, wanted
    return original(*args, **kwargs)


#: The builders whose work is done here, by version of `datasets`.
_BUILDERS = {
    "datasets.packaged_modules.json.json:Json._generate_tables": (
        "943304d997e2a6461ca458739c7756fe0e984db2d0bb2ae3f5926016b2db2341"
    ),
    "datasets.packaged_modules.csv.csv:Csv._generate_tables": (
        "9e792a53fbcdf87239b00a7dad0311b1ac39a3f290217ab81414ca8809718551"
    ),
    "datasets.packaged_modules.text.text:Text._generate_tables": (
        "fc8f8cbd812fccb985ce3a627f5bb5929420c3c61eee10cad1eabafaed3bc122"
    ),
    "datasets.packaged_modules.parquet.parquet:Parquet._generate_tables": (
        "5f7a80cb30689ff62813fbf51c76f7f6ad200c8bc2f40c8064c8fba1f414116e"
    ),
    "datasets.packaged_modules.arrow.arrow:Arrow._generate_tables": (
        "711e7e25a2a234c45e43b77996caa4b713ba6d81b60ec99f67a0127784dd10c3"
    ),
}

SEAMS: tuple[Seam, ...] = (
    Seam(
        name="load_local_file",
        module=MODULE,
        attribute="_load_from_local_path",
        build=build,
        digests={
            **dict.fromkeys(  # another rule for `split`, which the original applies
                ("0.16.0", "0.16.1"),
                "447602f685873aa58b2904e97ce06b55e28f61523b5bb57c089c2674ab48b6ae",
            ),
            **dict.fromkeys(
                ("0.17.0", "0.18.0", "0.19.0"),
                "323a6910010c4bb4bbf9af61b04a8b1ddc3cf022768db73168ef904a0b59e064",
            ),
        },
        operation="load",
        describe=describe,
        conditions=(
            Condition(_may_be_wanted, "dataset_use_rust_streaming does not engage"),
            taking(_is_plain_file, "it is no single local file of a format of ours"),
            taking(_is_read_alike, "this version of pandas reads CSV in a way of its own"),
            Condition(_is_wanted, "dataset_use_rust_streaming does not engage for it"),
            Condition(_size_is_dropped, "the size of the file would be in the prepared folder"),
        ),
        relies_on={name: {"datasets 4.8.4": digest} for name, digest in _BUILDERS.items()},
        verify=_verify,
    ),
)
