"""CSV and TSV: the rows and types of `datasets`, that is of pandas."""

import gzip
import lzma
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fast_axolotl
from fast_axolotl.streaming import DamagedFileError, ReaderError, SchemaError

from .by_builder import OLDER_PANDAS, before_error, same, theirs, unknown_compressions

pytestmark = pytest.mark.skipif(
    OLDER_PANDAS, reason="the rows are those of pandas 3.1, which CPython 3.10 can't have"
)


def ours(path: "Path | list[Path]", **options: Any) -> pa.Table:
    return fast_axolotl.open_dataset(path, **options).read_all()


def check(folder: Path, content: "bytes | str", **options: Any) -> pa.Table:
    """Both readers give the same table for a file of this content."""
    path = written(folder, content)
    table = ours(path, **options)
    same(table, theirs("csv", path, **options))
    return table


def written(folder: Path, content: "bytes | str", name: str = "x.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        'id,s\n1,"a, b"\n2,"line1\nline2"\n3,"say ""hi"""\n4,plain\n5,""\n6,\n',
        'a,b\n1,x"y"z\n2,"p"q\n3,"x"y"z\n',
        "a,b,c\n1,2,3\n4,5\n6\n",
        "a,a,b,,a.1,a\n1,2,3,4,5,6\n",
        "Unnamed: 1,,\n1,2,3\n",
        "a\n\n  \n\t\n1\n",
        "a,b\n \t ,1\n\t,2\n",
        "a,b\r1,2\r3,4\r",
        "a,b\r\n1,2\r\n\r\n,4\r\n",
        "a,b\n1,2\r\n3,4\r5,6",
        "\ufeffa,b\n1,2\n",
        '\ufeff"a",b\n1,2\n',
        "a,b\n1,2\n\ufeff3,4\n",
        "\n\n a,b\n1,2\n",
        '"a\nb",c\n1,2\n',
        "a\n9223372036854775808\n1.5\nNA\n",
        "a\n9223372036854775808\n-1\n",
        "a\n9223372036854775808\n-x\nNA\n",
        "a\n9223372036854775808\nx\nNA\n",
        "a\n18446744073709551616\nNA\nx\n",
        "a,b\n1\n1,9223372036854775808\n",
        "a\n1.5\n18446744073709551616\n",
        "a\n9007199254740993\nNA\n",
        "a\n99999999999999999999 \nNA\n5\n",
        'a\n"x\0y"\nz\0\n',
        "a\n1e310\n-1e400\n1e-400\n",
        "a\n0.1\n4.9e-324\n2.2250738585072014e-308\n1.7976931348623157e308\n",
    ],
)
def test_the_rows_of_datasets(tmp_path: Path, content: str) -> None:
    check(tmp_path, content)


FIELDS = st.one_of(
    st.sampled_from(
        [
            *("", "NA", "nan", "null", "None", "N/A", "-", "1", "-1", "+5", "007", " 2 ", "0x10"),
            *("1.5", "5.", ".5", "1e5", "1e", "inf", "-Infinity", "1e400", "0.1000000000000000055"),
            *("True", "false", "TRUE", "yes", "é", "你好", "😀", "a b", "#", "'", "\\", "\x0b"),
            *("9223372036854775807", "9223372036854775808", "18446744073709551615", "-0", "-0.0"),
            *("18446744073709551616", "-9223372036854775809", "12345678901234567890.5", "1_0"),
        ]
    ),
    st.integers(-(2**70), 2**70).map(str),
    st.floats(allow_nan=False).map(repr),
    st.text(st.characters(exclude_characters='\r\n"\0', codec="utf-8"), max_size=6),
)


@st.composite
def files(draw: st.DrawFn) -> str:
    """Return a CSV file whose columns mostly have something in common."""
    columns = draw(st.integers(1, 4))
    kinds = [
        draw(st.one_of(st.just(FIELDS), st.sampled_from([st.just("1"), st.just("2.5")])))
        for _ in range(columns)
    ]
    end = draw(st.sampled_from(["\n", "\r\n"]))
    lines = [",".join(f"c{index}" for index in range(columns))]
    for _ in range(draw(st.integers(1, 6))):
        fields = []
        for kind in kinds:
            text = draw(kind)
            if draw(st.booleans()) or "," in text:
                text = draw(st.sampled_from(["", "\n", "\r", '"', ","])) + text
                text = '"' + text.replace('"', '""') + '"'
            fields.append(text)
        lines.append(
            ",".join(fields[: draw(st.integers(1, columns)) if draw(st.booleans()) else 9])
        )
        if draw(st.integers(0, 5)) == 0:
            lines.append(draw(st.sampled_from(["", "  ", "\t"])))
    return end.join(lines) + draw(st.sampled_from(["", end]))


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files(), st.sampled_from([{}, {"na_filter": False}, {"keep_default_na": False}]))
def test_random_files(tmp_path: Path, content: str, options: dict[str, Any]) -> None:
    path = written(tmp_path, content)
    try:
        expected = theirs("csv", path, **options)
    except Exception:
        # Integers of more than 64 bits; a file without rows: we may know better, but don't crash.
        try:
            ours(path, **options)
        except ValueError:
            return
        return
    same(ours(path, **options), expected)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(['"', '""', ",", "\n", "a", " ", "1", '"x"', "NA"]), max_size=30))
def test_random_characters(tmp_path: Path, pieces: list[str]) -> None:
    path = written(tmp_path, "h,i\n" + "".join(pieces))
    try:
        expected = theirs("csv", path)
    except Exception:
        expected = None
    if expected is None:
        with pytest.raises(ReaderError):
            ours(path)
    elif expected.num_rows == 0:
        assert ours(path).num_rows == 0
    else:
        same(ours(path), expected)


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ('a\tb\n1\tx y\n2\t"q\tq"\n', {"sep": "\t"}),
        ("a|b\n1|2\n", {"delimiter": "|"}),
        ("1,x\n2,y\n", {"column_names": ["n", "s"]}),
        ("1,2\n3,4\n", {"names": ["x", "y", "z"]}),
        ("a,b\n1,2\n", {"names": ["x", "y"], "header": 0}),
        ("z\n\na,b\n1,2\n", {"header": 1}),
        ("z\n\na,b\n1,2\n", {"skiprows": 2}),
        ('"z\nq"\na,b\n1,2\n', {"skiprows": 1}),
        # What is skipped is a line, whatever it would be as a row.
        ("#z\na,b\n1,2\n3,4\n", {"comment": "#", "skiprows": 1}),
        ("z\n#z\na,b\n#\n1,2\n", {"comment": "#", "skiprows": 2}),
        ("x\\\na,b\n1,2\n", {"escapechar": "\\", "skiprows": 1}),
        ("\ra,b\r1,2\r3,4\r", {"skiprows": 1}),
        ('"x"y"z\nq",2\n3,4\n', {"skiprows": 1}),
        ("x;a,b;1,2;", {"lineterminator": ";", "skiprows": 1}),
        ("a,b\n1,2\n3,4\n5,6\n", {"nrows": 2}),
        ("a,b\n1,2\n3,4,5\n", {"usecols": ["b"]}),
        ("a,b,c\n1,2,3\n", {"usecols": [2, 0]}),
        ("a,b\n1,2#c\n#zz\n3,4 # q\n", {"comment": "#"}),
        ('a,b\n1,x\\,y\n2,"q\\"r"\n', {"escapechar": "\\"}),
        ('a,b\n1, "x,y"\n', {"skipinitialspace": True}),
        ('a,b\n1,"x"\n', {"quoting": 3}),
        ("a,b\n1,'x,y'\n", {"quotechar": "'"}),
        ('a,b\n1,"x"y\n', {"doublequote": False}),
        ("a,b\nyes,no\nno,no\n", {"true_values": ["yes"], "false_values": ["no"]}),
        ("a,b\n-,NA\n1,x\n", {"na_values": ["-"], "keep_default_na": False}),
        ("a,b\n99,1\n99.0,2\n3,4\n", {"na_values": [99]}),
        ("a,b\n99,1\n99.0,2\n3.5,4\n", {"na_values": "99"}),
        # A number stands for its spellings with a point and without.
        ("a\nx\n1\n1.0\n", {"na_values": ["1"]}),
        ("a\n2\n1\n", {"na_values": ["1.0"]}),
        ("a,b\n1000,x\n1e3,1000\n2.5,1e3\n", {"na_values": ["1e3"]}),
        ("a,b\n7,x\n007,7\n7.0,007\n", {"na_values": ["007"]}),
        ("a,b\n1,x\n+1,1\n2.5, 1\n", {"na_values": ["+1"]}),
        ("a,b\n1,1.5\n+1,1.0\n7,+1\n", {"na_values": [1]}),
        ("a,b\n1,1.5\n+1,1.0\n7,x\n", {"na_values": [1.5]}),
        ("a,b\n2.5,x\n2.50,2.5\n7,2\n", {"na_values": ["2.50"]}),
        ("a,b\n1,x\n2.5,1\n3, 1\n", {"na_values": [" 1"]}),
        ("a,b\n10,x\n1_0,10\n2.5,1_0\n", {"na_values": ["1_0"]}),
        ("a,b\n0,x\n1.5,-0\n-0,0.0\n", {"na_values": ["-0"]}),
        ("a\n-0\n1\n", {"na_values": [0]}),
        ("a\n-0\n1.5\n", {"na_values": [0]}),
        ("a,b\n1e22,x\n1.5,10000000000000000000000\n2,1e+22\n", {"na_values": [1e22]}),
        ("a,b\n1e22,x\n1.5,10000000000000000000000\n2,1e22\n", {"na_values": ["1e22"]}),
        ("a,b,c\n1,x,True\n2.5,1,x\n3,True,x\n", {"na_values": [True]}),
        ("a,b\ninf,x\n2.5,inf\n", {"na_values": ["inf", "0.1", 2.5e-7]}),
        # What is missing is no bool.
        ("a,b\nNone,1\nTrue,2\n", {"false_values": ["None"]}),
        ("a,b\nNA,1\nFalse,2\n", {"true_values": ["NA"]}),
        ("a,b\n1,\n\n3,2\n", {"skip_blank_lines": False}),
        ("a,b;1,2;3,4;", {"lineterminator": ";"}),
        (b"a,b\n1,caf\xe9\n", {"encoding": "latin-1"}),
        (b"a,b\n1,caf\xe9\x80\n", {"encoding": "cp1252"}),
        ("a,b\n1,é\n".encode("utf-16"), {"encoding": "utf-16"}),
        # These are read by pandas itself.
        ("a,b\n1,2\n3,4\n", {"header": None}),
        ("a;b\n1,5;2\n", {"sep": ";", "decimal": ","}),
        ('a,b\n"1,000",2\n', {"thousands": ","}),
        ("z\na,b\n1,2\n3,4\n", {"skiprows": [0, 2]}),
        ("a b\n1  2\n", {"sep": r"\s+"}),
        ("a;b\n1;2\n", {"sep": None, "delimiter": ";"}),
        ("a,b,c\n1,2\n3,4\n", {"names": ["x", "y"], "header": 0}),
        ("a,b\nx,2,3\ny,5,6\n", {}),
        ("a,b\n1,2,3\n4,5,6\n", {}),
        ("a,b\nx,2\ny,5\n", {"index_col": "a"}),
        ("a,b\n1,2\n", {"quoting": 2}),
        ("a,b\n1,я\n".encode("koi8-r"), {"encoding": "koi8-r"}),
    ],
)
def test_options(tmp_path: Path, content: "bytes | str", options: dict[str, Any]) -> None:
    check(tmp_path, content, **options)


@pytest.mark.filterwarnings("ignore:Falling back to the 'python' engine")
def test_a_separator_that_pandas_finds(tmp_path: Path) -> None:
    check(tmp_path, "a;b\n1;2\n", sep=None)


@pytest.mark.filterwarnings("ignore:Falling back to the 'python' engine")
@pytest.mark.filterwarnings("ignore:Length of header or names does not match")
@pytest.mark.parametrize(
    ("content", "options"),
    [
        ("a,b\n1,2,True\n3,4,\n", {}),
        ("a,b\n1,2,3\n3,4,5\n", {"index_col": False}),
        ("b,n\nTrue,1\n,2\nFalse,3\n", {"engine": "python"}),
        ("b;n\nTrue;1,5\n;2,5\n", {"sep": ";", "decimal": ","}),
        ("b;n\nTrue;1,000\n;2\n", {"sep": ";", "thousands": ","}),
        ("b,n\nTrue,1\n,2\n", {"quoting": 2}),
        ("b,n\nTrue,1\n,2\n", {"sep": "[,]"}),
        ("b,n\nTrue,1\n,2\n", {"encoding": "cp1250"}),
        ("a,b\n1,007\n2,x\n3,\n", {"engine": "python"}),
    ],
)
def test_datasets_of_what_pandas_reads(
    tmp_path: Path, content: str, options: dict[str, Any]
) -> None:
    path = written(tmp_path, content)
    expected = datasets.load_dataset(
        "csv", data_files=str(path), split="train", cache_dir=str(tmp_path), **options
    )
    reader = fast_axolotl.open_dataset(path, **options)
    assert list(reader) != []
    for found in (reader.to_iterable_dataset(), reader.to_dataset(cache_dir=tmp_path / "ours")):
        assert repr(list(found)) == repr(list(expected))
    narrow = reader.to_iterable_dataset().select_columns(expected.column_names[-1:])
    assert repr(list(narrow)) == repr(list(expected.select_columns(expected.column_names[-1:])))


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    # datasets takes this option, and drops it with pandas 3.
    path = written(tmp_path, b"a,b\n1,caf\xe9\n")
    assert ours(path, encoding_errors="replace").to_pydict() == {"a": [1], "b": ["caf\ufffd"]}
    assert ours(path, encoding_errors="ignore").to_pydict() == {"a": [1], "b": ["caf"]}


def test_tabs_without_being_told(tmp_path: Path) -> None:
    path = written(tmp_path, "a\tb\n1\tx,y\n", "x.tsv")
    same(ours(path), theirs("csv", path, sep="\t"))


def test_a_size_below_zero(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"chunksize must be .* not negative, not -1"):
        ours(written(tmp_path, "a\n1\n"), chunksize=-1)


def test_a_misspelt_option_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="seperator"):
        ours(written(tmp_path, "a\n1\n"), seperator=";")


def test_against_load_dataset(tmp_path: Path) -> None:
    path = written(tmp_path, 'id,s,f\n1,"a, ""b""\nc",\n2,NA,2.5\n')
    expected = datasets.load_dataset(
        "csv", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache")
    )
    reader = fast_axolotl.open_dataset(path)
    assert datasets.Features.from_arrow_schema(reader.schema) == expected.features
    assert reader.read_all().to_pylist() == list(expected)


ROWS = [
    (f'{index},"text ""{index}"", more\n",{index / 7!r},{index % 3 == 0}\n')
    for index in range(30_000)
]
BIG = "id,s,f,b\n" + "".join(ROWS)


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("batch_size", [1000, 7, 100_000])
def test_many_blocks(tmp_path: Path, num_threads: int, batch_size: int) -> None:
    path = written(tmp_path, BIG)
    batches = list(fast_axolotl.open_dataset(path, batch_size=batch_size, num_threads=num_threads))
    assert {batch.num_rows for batch in batches[:-1]} <= {batch_size}
    same(pa.Table.from_batches(batches), theirs("csv", path))


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_many_blocks_with_other_line_ends(tmp_path: Path, end: str) -> None:
    path = written(tmp_path, BIG.replace("\n", end))
    same(ours(path), theirs("csv", path))


def test_compressed(tmp_path: Path) -> None:
    expected = theirs("csv", written(tmp_path, BIG))
    same(ours(written(tmp_path, gzip.compress(BIG.encode()), "x.csv.gz")), expected)
    zstd = zstandard.ZstdCompressor().compress(BIG.encode())
    same(ours(written(tmp_path, zstd, "y.csv")), expected)


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ("a;b\n1,5;я\n2,5;y\n", {"sep": ";", "decimal": ","}),
        ("a,b\n1,я\n", {"encoding": "koi8-r"}),
        ("a,b\n1,я\n", {}),
    ],
)
def test_compressed_whoever_reads_it(tmp_path: Path, content: str, options: dict[str, Any]) -> None:
    data = content.encode(options.get("encoding", "utf-8"))
    expected = theirs("csv", written(tmp_path, data), **options)
    zstd = zstandard.ZstdCompressor().compress
    for compress in (gzip.compress, zstd, lzma.compress):
        same(ours(written(tmp_path, compress(data), "x"), format="csv", **options), expected)
    for name, compressed in unknown_compressions(data).items():
        path = written(tmp_path, compressed, f"x.csv.{name}")
        with pytest.raises(DamagedFileError, match=f"compressed with {name}, which is not"):
            ours(path, **options)


def test_columns(tmp_path: Path) -> None:
    path = written(tmp_path, "a,b,c\n1,x,2.5\n2,y,3.5\n")
    assert ours(path, columns=["c", "a"]).to_pydict() == {"c": [2.5, 3.5], "a": [1, 2]}
    with pytest.raises(ValueError, match=r"z.*a, b, c"):
        ours(path, columns=["z"])


class TestTypes:
    def test_later_rows_keep_the_types_of_the_first_chunk(self, tmp_path: Path) -> None:
        path = written(tmp_path, "a,b\n1,x\n2,y\nNA,3\n4.0,NA\n")
        table = ours(path, chunksize=2)
        assert table.schema.types == [pa.int64(), pa.large_string()]
        assert table.to_pydict() == {"a": [1, 2, None, 4], "b": ["x", "y", "3", None]}

    @pytest.mark.parametrize("num_threads", [1, 2])
    @pytest.mark.parametrize("rows", [2, 50_000])
    @pytest.mark.parametrize("behind", ["three,z\n", "3,z,extra\n", '3,"z\n'])
    def test_rows_behind_nrows_have_no_part_in_the_types(
        self, tmp_path: Path, rows: int, num_threads: int, behind: str
    ) -> None:
        path = written(tmp_path, "skipped\na,b\n" + "1,xyz\n" * rows + behind)
        options: dict[str, Any] = {"nrows": rows, "skiprows": 1}
        expected = theirs("csv", path, **options)
        for infer in ("first", "chunk", "full"):
            same(ours(path, infer=infer, num_threads=num_threads, **options), expected)
        two = ours([path, path], infer="full", num_threads=num_threads, **options)
        same(two, pa.concat_tables([expected, expected]))

    def test_text_stays_as_it_is(self, tmp_path: Path) -> None:
        # datasets reads the second chunk as numbers, and writes them as it likes.
        path = written(tmp_path, "zip\nx\ny\n007\n1.50\n")
        assert ours(path, chunksize=2).column(0).to_pylist() == ["x", "y", "007", "1.50"]

    @pytest.mark.parametrize(
        ("content", "wanted", "found", "full"),
        [
            ("a\n1\n2\nx\n4\n", "Int64", 'string "x"', ["1", "2", "x", "4"]),
            ("a\n1\n2\n2.5\n4\n", "Int64", 'float64 "2.5"', [1.0, 2.0, 2.5, 4.0]),
            ("a\n1\n2\nTrue\n", "Int64", 'bool "True"', ["1", "2", "True"]),
            ("a,b\n,1\n,2\nx,3\n", "Float64", 'string "x"', [None, None, "x"]),
            ("a\nTrue\nFalse\n1\n", "Boolean", 'int64 "1"', ["True", "False", "1"]),
            ("a\n1\n2\n18446744073709551615\n", "Int64", "18446744073709551615", [1, 2, 2**64 - 1]),
        ],
    )
    def test_a_late_contradiction(
        self, tmp_path: Path, content: str, wanted: str, found: str, full: list[Any]
    ) -> None:
        path = written(tmp_path, content)
        reader = fast_axolotl.open_dataset(path, chunksize=2, batch_size=1)
        batches = iter(reader)
        assert next(batches).num_rows == next(batches).num_rows == 1
        with pytest.raises(SchemaError) as raised:
            next(batches)
        message = str(raised.value)
        for piece in (str(path), "line 4", "row 2", '"a"', wanted, found, 'infer="full"'):
            assert piece in message, message
        assert ours(path, chunksize=2, infer="full").column("a").to_pylist() == full

    def test_full_looks_at_all_files(self, tmp_path: Path) -> None:
        one = written(tmp_path, "a,b\n1,x\n", "1.csv")
        two = written(tmp_path, "a,b\n2.5,y\n", "2.csv")
        with pytest.raises(SchemaError, match=r"2\.csv.*column"):
            ours([one, two])
        table = ours([one, two], infer="full")
        assert table.to_pydict() == {"a": [1.0, 2.5], "b": ["x", "y"]}

    def test_null_in_the_first_10000_rows_then_text(self, tmp_path: Path) -> None:
        rows = "".join(f"{index},\n" for index in range(10_000))
        path = written(tmp_path, "a,b\n" + rows + "0,x\n1,x\n")
        with pytest.raises(SchemaError, match="line 10002"):
            ours(path)
        assert ours(path, infer="full").column("b").to_pylist()[-3:] == [None, "x", "x"]

    def test_a_given_schema(self, tmp_path: Path) -> None:
        path = written(tmp_path, "a,b,c\n1,2,True\n3,NA,False\n")
        schema = pa.schema({"b": pa.string(), "a": pa.float32()})
        table = ours(path, schema=schema)
        assert table.schema.equals(schema)
        assert table.to_pydict() == {"b": ["2", None], "a": [1.0, 3.0]}
        small = pa.schema({"a": pa.int8()})
        assert ours(path, schema=small).to_pydict() == {"a": [1, 3]}
        with pytest.raises(SchemaError, match=r'"300".*|Int8'):
            ours(written(tmp_path, "a\n300\n", "y.csv"), schema=small)
        features = datasets.Features({"a": datasets.Value("string")})
        assert ours(path, features=features).to_pydict() == {"a": ["1", "3"]}

    @pytest.mark.parametrize("kind", ["int64", "uint8", "float32", "bool"])
    def test_bools_and_numbers(self, tmp_path: Path, kind: str) -> None:
        features = datasets.Features({"a": datasets.Value(kind)})
        for content in ("a\nTrue\nfalse\n", "a\n1\n0\n"):
            check(tmp_path, content, features=features)
        late = "a\n1\n2\n"
        if kind == "bool":
            with pytest.raises(SchemaError, match=r'row 1.*int64 "2"'):
                ours(written(tmp_path, late), features=features)

    def test_no_list_is_made_of_a_text(self, tmp_path: Path) -> None:
        features = datasets.Features({"a": datasets.List(datasets.Value("int64"))})
        with pytest.raises(SchemaError, match=r"line 2.*List"):
            ours(written(tmp_path, "a\n1\n"), features=features)
        check(tmp_path, "a\nNA\n", features=features)

    @pytest.mark.parametrize("content", ["a\nx\ny\n", "a\n1\n", "a\n1\nx\n", "a\n0\n2\n"])
    def test_labels(self, tmp_path: Path, content: str) -> None:
        features = datasets.Features({"a": datasets.ClassLabel(names=["x", "y", "1"])})
        check(tmp_path, content, features=features)
        for bad in ("300", "z"):
            with pytest.raises(SchemaError, match=f"label {bad}"):
                ours(written(tmp_path, f"a\nx\n{bad}\n"), features=features)

    def test_a_late_contradiction_that_pandas_meets(self, tmp_path: Path) -> None:
        path = written(tmp_path, "a;b\n" + "1,5;2\n" * 6 + "zz;3\n1,5;2\n")
        options: dict[str, Any] = {"sep": ";", "decimal": ",", "chunksize": 4}
        seen, error = before_error(path, **options)
        assert sum(batch.num_rows for batch in seen) == 4
        assert isinstance(error, SchemaError)
        assert (error.row, error.column) == (4, "a")
        for piece in ("rows 4 to 7", "double", "string", "schema="):
            assert piece in str(error)
        with pytest.raises(NotImplementedError, match="schema="):
            ours(path, infer="full", **options)
        schema = pa.schema({"a": pa.float64(), "b": pa.int64()})
        with pytest.raises(SchemaError, match="float"):
            ours(path, schema=schema, **options)

    def test_all_rows_fit_what_pandas_finds_first(self, tmp_path: Path) -> None:
        path = written(tmp_path, "a;b\n" + "1,5;2\n" * 6)
        options: dict[str, Any] = {"sep": ";", "decimal": ",", "chunksize": 4}
        assert ours(path, infer="full", **options) == ours(path, **options)


class TestDamage:
    def damaged(self, path: Path, **options: Any) -> tuple[int, str]:
        """Rows before the damage, and what the error says."""
        seen, error = before_error(path, batch_size=1, **options)
        assert str(path) in str(error)
        return len(seen), str(error)

    def test_long_row(self, tmp_path: Path) -> None:
        path = written(tmp_path, "a,b\n1,2\n3,4,5\n")
        rows, message = self.damaged(path)
        assert rows == 1
        assert "line 3" in message
        assert "expected 2 fields, saw 3" in message

    def test_long_row_left_out(self, tmp_path: Path) -> None:
        path = written(tmp_path, "a,b\n1,2\n3,4,5\n6,7\n")
        assert ours(path, on_bad_lines="skip").to_pydict() == {"a": [1, 6], "b": [2, 7]}

    def test_open_quote(self, tmp_path: Path) -> None:
        rows, message = self.damaged(written(tmp_path, 'a,b\n0,1\n1,"open\n2,y\n'))
        assert rows == 1
        assert "line 3" in message
        assert "byte 8" in message

    def test_not_utf8(self, tmp_path: Path) -> None:
        rows, message = self.damaged(written(tmp_path, b"a,b\n1,x\n2,caf\xe9\n3,y\n"))
        assert rows == 1
        assert "0xe9" in message
        assert "byte 13" in message
        assert "line 3" in message

    def test_truncated_gzip(self, tmp_path: Path) -> None:
        data = gzip.compress(BIG.encode())
        path = written(tmp_path, data[: len(data) // 2], "x.csv.gz")
        table = theirs("csv", written(tmp_path, BIG))
        seen, error = before_error(path)
        assert "truncated" in str(error)
        found = pa.Table.from_batches(seen)
        assert found.num_rows > 10_000
        assert found.to_pydict() == table.slice(0, found.num_rows).to_pydict()

    def test_utf_16_without_a_mark(self, tmp_path: Path) -> None:
        _, message = self.damaged(written(tmp_path, b"a\0\n\x001\0\n\0"), encoding="utf-16")
        assert "utf-16-le" in message

    def test_empty(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="empty"):
            ours(written(tmp_path, ""))
        assert ours(written(tmp_path, "a,b\n")).num_rows == 0

    def test_many_columns(self, tmp_path: Path) -> None:
        names = ",".join(f"c{index}" for index in range(10_000))
        row = ",".join(map(str, range(10_000)))
        table = ours(written(tmp_path, f"{names}\n{row}\n{row}\n"))
        assert table.num_columns == 10_000
        assert table.column(9_999).to_pylist() == [9_999] * 2

    def test_a_row_without_end(self, tmp_path: Path) -> None:
        path = tmp_path / "x.csv.gz"
        with gzip.open(path, "wb", compresslevel=1) as file:
            file.write(b'a,b\n1,2\n3,"')
            for _ in range(600):
                file.write(b"x" * (1 << 20))
        with pytest.raises(ValueError, match=r"longer than|no end"):
            ours(path)
