//! Formats that store columns: Parquet, Arrow IPC (Feather v2 is one), folders that `datasets` saved.

pub mod conform;
mod decompress;
pub mod ipc;
pub mod lanes;
mod lossless;
mod merged;
pub mod normal;
mod pages;
pub mod parquet;
mod parquet_types;
pub mod saved;
pub mod utf8;
