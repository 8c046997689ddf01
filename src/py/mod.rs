//! What Python sees: thin functions over the kernels.
//!
//! Python objects are read and made here only. Files that need `unsafe` for it are named for what they
//! touch: `arrow_capsule`, `fastcall`, `fresh_array`, `integer_buffer`, `interpreter`, `list_emitter`, `small_ints`,
//! `text`.

pub mod arguments;
pub mod arrays;
pub mod arrow_capsule;
pub mod arrow_export;
pub mod arrow_rows;
pub mod arrow_values;
pub mod by_datasets;
pub mod collate;
pub mod dispatch;
pub mod fastcall;
pub mod fresh_array;
pub mod hash;
pub mod integer_buffer;
pub mod interpreter;
pub mod list_emitter;
pub mod multipack;
pub mod objects;
pub mod pack;
pub mod pad;
pub mod places;
pub mod reader;
pub mod reader_errors;
pub mod row_text;
pub mod rows;
pub mod small_ints;
pub mod text;
