"""`fast-axolotl demo`: read, deduplicate, tokenize, pack and pad real text, in Python and in Rust.

The text is what every machine with CPython has: the docstrings of its standard library.
"""

import gc
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeAlias

import typer

from ._progress import step

if TYPE_CHECKING:
    import ast

    Documentable: TypeAlias = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

LENGTH = 2048
_BATCH_ROWS = 64
_PAD_MULTIPLE = 8
_VOCABULARY = 8000
_SPECIAL_TOKENS = ["<pad>", "<eos>"]  # the tokens 0 and 1
_SECONDS_A_STEP = 0.6
_REPETITIONS = range(3, 101)

_Columns = dict[str, list[str]]


class Sides(NamedTuple):
    """One operation, twice."""

    python: Callable[[], Any]
    rust: Callable[[], Any]


@dataclass(frozen=True)
class Row:
    """A line of the table: seconds are minima over interleaved repetitions."""

    step: str
    python: float
    rust: float | None
    rows_in: int
    rows_out: int

    @property
    def ratio(self) -> float | None:
        """How many times faster Rust is."""
        return None if self.rust is None else self.python / self.rust


class DifferenceError(Exception):
    """Python and Rust gave different answers."""


def demo(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    rows: Annotated[
        int | None,
        typer.Option("--rows", min=1, help="Use only the first ROWS docstrings."),
    ] = None,
) -> None:
    """Show the operations at work on real text, beside plain Python."""
    import fast_axolotl

    if not fast_axolotl.RUST_AVAILABLE:
        _fail(f"there is nothing to show without Rust: {fast_axolotl._native.UNAVAILABLE}")
    try:
        import tokenizers  # noqa: F401
    except ImportError:
        _fail("the demo tokenizes with `tokenizers`: pip install 'fast-axolotl[demo]'")
    columns = _docstrings(rows)
    size = sum(len(text.encode()) for text in columns["text"])
    table: list[Row] = []
    compared: list[str] = []
    difference = None
    with tempfile.TemporaryDirectory() as folder:
        try:
            for row, what in _pipeline(columns, Path(folder, "docstrings.jsonl")):
                table.append(row)
                compared.append(what)
        except DifferenceError as error:
            difference = str(error)
    named = "; ".join(what for what in compared if what)
    report = {
        "version": fast_axolotl.get_version(),
        "docstrings": len(columns["text"]),
        "bytes": size,
        "steps": [{**asdict(row), "ratio": row.ratio} for row in table],
        "compared": named,
        "identical": difference is None,
        "difference": difference,
    }
    if as_json:
        typer.echo(json.dumps(report, indent=2))
    else:
        count = f"{len(columns['text']):,}"
        typer.echo(f"{count} docstrings of CPython's standard library, {size / 1e6:.1f} MB")
        _print_table(table)
        typer.echo(f"compared: {named}")
        typer.echo("identical: yes" if difference is None else f"identical: no: {difference}")
    if difference is not None:
        raise typer.Exit(1)


def _fail(why: str) -> None:
    typer.echo(f"fast-axolotl demo: {why}", err=True)
    raise typer.Exit(2)


def _docstrings(limit: int | None) -> _Columns:
    """Return the docstrings of the standard library: module, name and text, in order of files."""
    import ast
    import sysconfig
    import warnings

    root = Path(sysconfig.get_paths()["stdlib"])
    files = sorted(
        path
        for path in root.rglob("*.py")
        if not {"site-packages", "dist-packages"} & set(path.relative_to(root).parts)
    )
    columns: _Columns = {"module": [], "name": [], "text": []}
    with step("collecting docstrings", len(files)) as advance, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the sources: escapes, comparisons
        for path in files:
            advance(1)
            try:
                tree = ast.parse(path.read_bytes())
            except (SyntaxError, ValueError, RecursionError, OSError):
                continue  # files that test the parser
            for node in _documentable(tree):
                text = ast.get_docstring(node)
                if text and _encodable(text):
                    columns["module"].append(path.relative_to(root).as_posix())
                    columns["name"].append(getattr(node, "name", ""))
                    columns["text"].append(text)
                    if len(columns["text"]) == limit:
                        return columns
    if not columns["text"]:
        _fail(f"{root} holds no sources of the standard library")
    return columns


def _documentable(tree: "ast.Module") -> "Iterator[Documentable]":
    """Yield what may have a docstring. Expressions hold none: `ast.walk` would visit them all."""
    import ast

    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
        for field in ("finalbody", "orelse", "handlers", "body"):
            pending += reversed(getattr(node, field, []))


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _pipeline(columns: _Columns, path: Path) -> Iterator[tuple[Row, str]]:
    """Run the steps, each on the output of the one before; yield its row and what was compared."""
    from fast_axolotl import _native, reference

    rust: Any = _native.core
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in zip(*columns.values(), strict=True):
            file.write(json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False) + "\n")
    count = len(columns["text"])

    read, row_read = _measure(
        "read",
        Sides(lambda: _read_json(path), lambda: _read_streaming(path)),
        count,
        lambda read: len(read["text"]),
    )
    if (where := _first_difference(columns, read)) is not None:
        raise DifferenceError(f"read: {where}")
    yield row_read, f"{count:,} rows x {len(read)} columns with the text written"

    texts = read["text"]
    kept, row_kept = _measure(
        "deduplicate",
        Sides(
            lambda: reference.deduplicate_indices(texts),
            lambda: rust.deduplicate_indices(texts, None, 1),
        ),
        count,
        lambda kept: len(kept[0]),
    )
    yield row_kept, f"{len(kept[0]):,} indices and SHA-256 hashes"

    unique = [texts[index] for index in kept[0]]
    started = time.perf_counter()
    sequences, end = _tokenize(unique)
    seconds = time.perf_counter() - started
    yield Row("tokenize", seconds, None, len(unique), len(sequences)), ""

    _, row_packed = _measure(
        f"pack to {LENGTH:,}",
        Sides(
            lambda: reference.pack_sequences(sequences, LENGTH, 0, end),
            lambda: rust.pack_sequences(sequences, LENGTH, 0, end),
        ),
        len(sequences),
        lambda packed: len(packed["input_ids"]),
    )
    yield row_packed, f"{row_packed.rows_out:,} packed rows x 3 columns x {LENGTH:,} tokens"

    batches = [
        sequences[start : start + _BATCH_ROWS] for start in range(0, len(sequences), _BATCH_ROWS)
    ]

    def pad(pad_sequences: Callable[..., Any]) -> Callable[[], Any]:
        return lambda: [pad_sequences(batch, pad_to_multiple_of=_PAD_MULTIPLE) for batch in batches]

    _, row_padded = _measure(
        f"pad by {_BATCH_ROWS}",
        Sides(pad(reference.pad_sequences), pad(rust.pad_sequences)),
        len(sequences),
        lambda padded: sum(map(len, padded)),
    )
    yield row_padded, f"{row_padded.rows_out:,} padded rows in {len(batches):,} batches"


def _read_json(path: Path) -> _Columns:
    with path.open(encoding="utf-8", newline="\n") as file:
        rows = [json.loads(line) for line in file]
    return {column: [row[column] for row in rows] for column in rows[0]}


def _read_streaming(path: Path) -> _Columns:
    from fast_axolotl import streaming_dataset_reader

    columns: _Columns = {}
    for batch in streaming_dataset_reader(str(path)):
        for column, values in batch.items():
            columns.setdefault(column, []).extend(values)
    return columns


def _tokenize(texts: list[str]) -> tuple[list[list[int]], int]:
    """Train a byte-level BPE on `texts` and return their tokens and the end-of-sequence token.

    A text longer than a packed row holds becomes several sequences.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=_SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    with step("training the tokenizer", len(texts)) as advance:

        def fed() -> Iterator[str]:
            for text in texts:
                advance(1)
                yield text

        tokenizer.train_from_iterator(fed(), trainer, length=len(texts))
    sequences: list[list[int]] = []
    longest = LENGTH - 2  # pack_sequences adds two tokens
    with step("tokenizing", len(texts)) as advance:
        for start in range(0, len(texts), 500):
            encoded = tokenizer.encode_batch(texts[start : start + 500])
            advance(len(encoded))
            for ids in (encoding.ids for encoding in encoded):
                sequences += [ids[at : at + longest] for at in range(0, len(ids), longest)]
    return sequences, _SPECIAL_TOKENS.index("<eos>")


def _measure(
    name: str, sides: Sides, rows_in: int, rows_out: Callable[[Any], int]
) -> tuple[Any, Row]:
    """Run both sides in turn, compare their answers, and keep the shortest time of each."""
    gc.collect()
    expected, python = _timed(sides.python)
    answer, rust = _timed(sides.rust)
    if (where := _first_difference(expected, answer)) is not None:
        raise DifferenceError(f"{name}: {where}")
    del answer
    repetitions = min(
        max(int(_SECONDS_A_STEP / (python + rust)), _REPETITIONS.start), _REPETITIONS.stop - 1
    )
    with step(f"timing {name}", repetitions) as advance:
        for _ in range(repetitions):
            python = min(python, _timed(sides.python)[1])
            rust = min(rust, _timed(sides.rust)[1])
            advance(1)
    return expected, Row(name, python, rust, rows_in, rows_out(expected))


def _timed(run: Callable[[], Any]) -> tuple[Any, float]:
    """Time a call, the collector as users have it; its result is freed outside the clock."""
    started = time.perf_counter()
    result = run()
    return result, time.perf_counter() - started


def _first_difference(expected: Any, answer: Any, place: str = "") -> str | None:
    """Return where two nested results differ first, types included; None where they don't."""
    if type(expected) is not type(answer):
        return (
            f"{place or 'result'} is {type(expected).__name__} in Python, "
            f"{type(answer).__name__} in Rust"
        )
    if isinstance(expected, dict):
        if list(expected) != list(answer):
            return f"{place or 'result'} has {list(expected)} in Python, {list(answer)} in Rust"
        pairs = ((f"{place}[{key!r}]", value, answer[key]) for key, value in expected.items())
    elif isinstance(expected, list | tuple):
        if len(expected) != len(answer):
            return f"{place or 'result'} has {len(expected)} items in Python, {len(answer)} in Rust"
        pairs = (
            (f"{place}[{index}]", value, other)
            for index, (value, other) in enumerate(zip(expected, answer, strict=True))
            if value is not other
        )
    elif expected != answer:
        return f"{place or 'result'} is {expected!r} in Python, {answer!r} in Rust"
    else:
        return None
    for where, value, other in pairs:
        if (found := _first_difference(value, other, where)) is not None:
            return found
    return None


def _print_table(table: list[Row]) -> None:
    headings = ("step", "plain Python", "Rust", "ratio", "rows in", "rows out")
    lines = [
        (
            row.step,
            f"{row.python * 1e3:,.2f} ms",
            "-" if row.rust is None else f"{row.rust * 1e3:,.2f} ms",
            "-" if row.ratio is None else f"{row.ratio:.1f}x",
            f"{row.rows_in:,}",
            f"{row.rows_out:,}",
        )
        for row in table
    ]
    widths = [max(map(len, column)) for column in zip(headings, *lines, strict=True)]
    if sys.stdout.isatty() and _draws(sum(widths) + 3 * len(widths) + 1):
        from rich.console import Console
        from rich.table import Table

        drawn = Table(*headings[:1])
        for heading in headings[1:]:
            drawn.add_column(heading, justify="right")
        for line in lines:
            drawn.add_row(*line)
        Console().print(drawn)
        return
    for name, *figures in (headings, *lines):
        cells = [name.ljust(widths[0])]
        cells += [figure.rjust(width) for figure, width in zip(figures, widths[1:], strict=True)]
        typer.echo("  ".join(cells))


def _draws(width: int) -> bool:
    """Whether the terminal has room for a table; one that has none would lose the figures."""
    from rich.console import Console

    return Console().width >= width
