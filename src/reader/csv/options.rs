//! The options of `datasets`' CSV builder, which are those of `pandas.read_csv`.

use std::borrow::Cow;

use super::dialect::Dialect;
use super::infer::Words;
use super::missing::Missing;
use crate::error::{ReadError, Result};
use crate::options::{Options, Value};
use crate::text::encoding::{self, Encoding, OnError};

/// Which row has the names of the columns, blank lines not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    None,
    Row(usize),
}

#[derive(Debug, Clone)]
pub(super) enum UseColumns {
    Names(Vec<String>),
    Indices(Vec<usize>),
}

#[derive(Debug)]
pub(super) struct CsvOptions {
    pub dialect: Dialect,
    pub words: Words,
    pub header: Header,
    pub names: Option<Vec<String>>,
    pub use_columns: Option<UseColumns>,
    pub skip_rows: usize,
    pub max_rows: Option<u64>,
    /// Types come from so many rows at the head of the first file.
    pub chunk_rows: u64,
    /// Whether a look may end before that: it was not asked for.
    pub may_settle: bool,
    /// Rows with too many fields are left out.
    pub skip_long: bool,
    pub encoding: Encoding,
    pub on_error: OnError,
}

fn unsupported(name: &str, value: &Value) -> ReadError {
    ReadError::unsupported(format!("{name}={} is read by pandas only", shown(value)))
}

fn shown(value: &Value) -> String {
    match value {
        Value::Str(text) => format!("{text:?}"),
        Value::Int(value) => value.to_string(),
        Value::Bool(value) => if *value { "True" } else { "False" }.to_owned(),
        Value::Float(value) => value.to_string(),
        other => format!("<{}>", other.kind()),
    }
}

/// One character that stays one byte.
fn character(options: &mut Options, name: &'static str) -> Result<Option<u8>> {
    match options.take(name) {
        None | Some(Value::None) => Ok(None),
        Some(Value::Str(text)) => match text.as_bytes() {
            [byte] if byte.is_ascii() && *byte != 0 => Ok(Some(*byte)),
            _ => Err(unsupported(name, &Value::Str(text))),
        },
        Some(other) => Err(unsupported(name, &other)),
    }
}

/// Refuses any value but those that mean nothing.
fn only(options: &mut Options, name: &'static str, harmless: &[Value]) -> Result<()> {
    match options.take(name) {
        None | Some(Value::None) => Ok(()),
        Some(value) if harmless.contains(&value) => Ok(()),
        Some(value) => Err(unsupported(name, &value)),
    }
}

impl CsvOptions {
    /// `separator` where none is asked for.
    pub fn new(options: &mut Options, separator: u8) -> Result<Self> {
        for name in ["index_col", "prefix", "converters", "dialect", "thousands"] {
            only(options, name, &[])?;
        }
        only(options, "engine", &[Value::Str("c".into())])?;
        only(options, "decimal", &[Value::Str(".".into())])?;
        only(options, "skipfooter", &[Value::Int(0)])?;
        for (name, value) in [
            ("mangle_dupe_cols", true),
            ("error_bad_lines", true),
            ("warn_bad_lines", true),
            ("verbose", false),
        ] {
            only(options, name, &[Value::Bool(value)])?;
        }
        // How it is read, and not what; and the format of dates, which nothing asks for.
        options.take("date_format");
        only(options, "memory_map", &[Value::Bool(false), Value::Bool(true)])?;
        let precisions = ["high", "legacy", "round_trip"].map(|name| Value::Str(name.into()));
        only(options, "float_precision", &precisions)?;
        let names = names(options)?;
        let header = header(options, names.is_some())?;
        let (encoding, on_error) = encoding::from_options(options)?;
        let chunk_rows = options.take_usize("chunksize")?;
        Ok(CsvOptions {
            dialect: dialect(options, separator)?,
            words: words(options)?,
            header,
            names,
            use_columns: use_columns(options)?,
            skip_rows: skip_rows(options)?,
            max_rows: options.take_usize("nrows")?.map(|rows| rows as u64),
            may_settle: chunk_rows.is_none(),
            chunk_rows: chunk_rows.unwrap_or(10_000).max(1) as u64,
            skip_long: on_bad_lines(options)?,
            encoding,
            on_error,
        })
    }

    pub fn decode_head<'a>(&self, data: &'a [u8]) -> Result<Cow<'a, str>> {
        encoding::utf8(data, self.on_error)
    }
}

fn dialect(options: &mut Options, separator: u8) -> Result<Dialect> {
    let is_guessed = options.has_none("sep");
    let sep = character(options, "sep")?;
    let delimiter = character(options, "delimiter")?.or(sep);
    if is_guessed && delimiter.is_none() {
        return Err(ReadError::unsupported("sep=None is found out by pandas only"));
    }
    let delimiter = delimiter.unwrap_or(separator);
    let quote = character(options, "quotechar")?.unwrap_or(b'"');
    let quote = match options.take("quoting") {
        None | Some(Value::None | Value::Int(0 | 1)) => Some(quote),
        Some(Value::Int(3)) => None,
        Some(other) => return Err(unsupported("quoting", &other)),
    };
    let dialect = Dialect {
        delimiter,
        quote,
        double_quote: options.take_bool("doublequote")?.unwrap_or(true),
        escape: character(options, "escapechar")?,
        comment: character(options, "comment")?,
        skip_initial_space: options.take_bool("skipinitialspace")?.unwrap_or(false),
        skip_blank_lines: options.take_bool("skip_blank_lines")?.unwrap_or(true),
        terminator: character(options, "lineterminator")?,
    };
    let line_ends = [b'\n', b'\r'];
    if line_ends.contains(&delimiter) || (delimiter == b' ' && dialect.skip_initial_space) {
        return Err(ReadError::unsupported(format!(
            "sep={:?} is read by pandas only",
            char::from(delimiter)
        )));
    }
    if Some(delimiter) == quote {
        return Err(ReadError::request("sep and quotechar must differ"));
    }
    Ok(dialect)
}

fn words(options: &mut Options) -> Result<Words> {
    let own = match options.take("na_values") {
        None | Some(Value::None) => Vec::new(),
        Some(Value::List(items)) => items,
        Some(value @ (Value::Map(_) | Value::Bytes(_))) => {
            return Err(unsupported("na_values", &value));
        }
        Some(value) => vec![value],
    };
    let keep_defaults = options.take_bool("keep_default_na")?.unwrap_or(true);
    let filter = options.take_bool("na_filter")?.unwrap_or(true);
    let missing = Missing::new(&own, keep_defaults, filter)
        .ok_or_else(|| ReadError::request("na_values must be a list of str or numbers"))?;
    Ok(Words {
        missing,
        yes: options.take_strings("true_values")?.unwrap_or_default(),
        no: options.take_strings("false_values")?.unwrap_or_default(),
    })
}

fn names(options: &mut Options) -> Result<Option<Vec<String>>> {
    let names = options.take_strings("names")?;
    let names = options.take_strings("column_names")?.or(names);
    if let Some(names) = &names {
        let mut sorted: Vec<_> = names.iter().collect();
        sorted.sort_unstable();
        sorted.dedup();
        if sorted.len() < names.len() {
            return Err(ReadError::request("duplicate names are not allowed"));
        }
    }
    Ok(names)
}

fn header(options: &mut Options, named: bool) -> Result<Header> {
    match options.take("header") {
        None => Ok(if named { Header::None } else { Header::Row(0) }),
        Some(Value::Str(word)) if word == "infer" => {
            Ok(if named { Header::None } else { Header::Row(0) })
        }
        Some(Value::None) => Ok(Header::None),
        Some(Value::Int(row)) => usize::try_from(row).map(Header::Row).map_err(|_| {
            ReadError::request("header must not be negative; header=None means that there is none")
        }),
        Some(other) => Err(unsupported("header", &other)),
    }
}

fn use_columns(options: &mut Options) -> Result<Option<UseColumns>> {
    let value = match options.take("usecols") {
        None | Some(Value::None) => return Ok(None),
        Some(value) => value,
    };
    let Value::List(items) = &value else { return Err(unsupported("usecols", &value)) };
    let names = items.iter().map(|item| match item {
        Value::Str(name) => Some(name.clone()),
        _ => None,
    });
    if let Some(names) = names.collect() {
        return Ok(Some(UseColumns::Names(names)));
    }
    let indices = items.iter().map(|item| match item {
        Value::Int(index) => usize::try_from(*index).ok(),
        _ => None,
    });
    match indices.collect() {
        Some(indices) => Ok(Some(UseColumns::Indices(indices))),
        None => Err(ReadError::request("usecols must be all str or all int")),
    }
}

fn skip_rows(options: &mut Options) -> Result<usize> {
    match options.take("skiprows") {
        None | Some(Value::None) => Ok(0),
        Some(Value::Int(rows)) => {
            usize::try_from(rows).map_err(|_| ReadError::request("skiprows must not be negative"))
        }
        Some(other) => Err(unsupported("skiprows", &other)),
    }
}

fn on_bad_lines(options: &mut Options) -> Result<bool> {
    match options.take_str("on_bad_lines")?.as_deref() {
        None | Some("error") => Ok(false),
        Some("skip" | "warn") => Ok(true),
        Some(other) => Err(ReadError::request(format!(
            "on_bad_lines must be \"error\", \"warn\" or \"skip\", not {other:?}"
        ))),
    }
}
