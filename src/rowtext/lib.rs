//! The text that `str(row)` gives of the rows of a table, straight from its Arrow columns. Nothing here
//! knows Python.
//!
//! A row is a dict of Python objects, as pyarrow's `to_pydict` makes them. What such an object looks
//! like is data of CPython's `repr`, and written here anew: `strings`, `floats`, `temporal` and
//! `decimals` for the leaves, `column` for what they are nested in. A row that can't be written (text
//! that is not UTF-8, a date that Python does not have) is told to the caller, who asks Python.

pub mod column;
mod decimals;
pub mod digest;
mod floats;
mod integers;
pub mod printable;
pub mod rows;
pub mod schema;
mod strings;
pub mod temporal;
pub mod text;

/// None where Python must be asked for the text.
pub type Written = Option<()>;
