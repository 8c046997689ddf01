//! The streaming reader: files in, Arrow record batches of exact size out. Nothing here knows Python.
//!
//! # How it is put together
//! - A [`format::Kind`] is told from name and content; a [`scan::Format`] with its
//!   [`options::Options`] finds the schema of all files ([`scan::Format::infer`]) and opens each
//!   ([`scan::Format::open`]) as a [`scan::BatchSource`].
//! - [`dataset::Dataset`] chains the sources of all files and cuts exact batches ([`rechunk`]).
//! - A format made of text reads a [`source::Input`] (decompressed as needed) through a
//!   [`pipeline::Pipeline`]: its [`pipeline::Splitter`] says where rows end, its
//!   [`pipeline::BlockParser`] makes batches of blocks, on as many threads as `Scan::threads` says.
//!   [`pipeline::Blocks`] is such a pipeline as a `BatchSource`.
//!
//! # What a format promises
//! - **Order**: rows in the order of the file; before a damage all rows, unchanged, then a
//!   [`error::ReadError`] with the place and the cause. Never a panic, a hang or silence. The file's
//!   name is added by whoever has it ([`error::ReadError::in_file`]).
//! - **Memory**: bounded by blocks (`Scan::block_bytes`, `Scan::max_row_bytes`), not by the file.
//! - **Threads**: none before the first `next`, none at all with `threads == 1`; dropped means
//!   stopped. What takes long on the caller's thread asks `Scan::check` every now and then.
//! - **Schema**: all batches of a source have the schema it says, and where one was passed to `open`,
//!   that one.
//! - A format takes its options by name from `Options`, and ends with `Options::finish`.

mod ahead;
pub mod buffers;
pub mod columnar;
pub mod compression;
pub mod csv;
pub mod dataset;
pub mod error;
pub mod features;
mod floats;
pub mod format;
mod given_types;
pub mod guard;
pub mod joined;
mod joins;
pub mod json;
pub mod kept;
pub mod mapped;
pub mod options;
pub mod ordered;
pub mod pipeline;
pub mod rechunk;
pub mod scan;
pub mod serialized;
mod settled;
mod short_files;
pub mod source;
mod spare;
pub mod text;
mod texts;
pub mod workers;
