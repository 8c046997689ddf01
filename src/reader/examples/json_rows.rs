//! Reads JSON for tests and timings: one request a line on standard input,
//! `PATH OUT full|first CHUNKSIZE THREADS BATCH [COLUMNS]` between tabs; the answer is `ok` or `error TEXT`.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::fs::File;
use std::io::BufRead;
use std::path::PathBuf;
use std::time::Instant;

use arrow_ipc::writer::StreamWriter;
use reader::error::Result;
use reader::joined::join;
use reader::json::Json;
use reader::options::{Options, Value};
use reader::rechunk::Rechunker;
use reader::scan::{Format, Infer, Scan};
use reader::source::Source;

fn main() {
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let parts: Vec<&str> = line.split('\t').collect();
        match read(&parts) {
            Ok(text) => println!("ok {text}"),
            Err(error) => println!("error {}", error.to_string().replace('\n', " ")),
        }
    }
}

fn read(parts: &[&str]) -> Result<String> {
    let start = Instant::now();
    let options = Options::new(vec![("chunksize".into(), Value::Int(parts[3].parse().unwrap()))]);
    let format = Json::new(options)?;
    let scan = Scan {
        infer: if parts[2] == "full" { Infer::Full } else { Infer::First },
        threads: parts[4].parse().unwrap(),
        batch_size: parts[5].parse().unwrap(),
        columns: parts.get(6).map(|names| names.split(',').map(str::to_owned).collect()),
        ..Scan::default()
    };
    let files: Vec<_> = parts[0].split(',').map(|path| Source::new(PathBuf::from(path))).collect();
    let schema = format.infer(&files, &scan)?;
    let inferred = start.elapsed();
    let mut rows = 0;
    let mut first = None;
    let mut writer = None;
    let mut sources: Vec<_> = Vec::new();
    for file in &files {
        sources.push(format.open(file, &schema, false, &scan)?);
    }
    let out = sources[0].schema();
    if parts[1] != "-" {
        writer = Some(StreamWriter::try_new(File::create(parts[1]).unwrap(), &out).unwrap());
    }
    let mut chunks = Rechunker::new(scan.batch_size);
    let mut error = None;
    for mut source in sources {
        loop {
            let batch = match source.next() {
                Ok(Some(batch)) => batch,
                Ok(None) => break,
                Err(why) => {
                    error = Some(why);
                    break;
                }
            };
            chunks.push(batch);
            while let Some(parts) = chunks.parts() {
                let batch = join(&out, parts, &scan.buffers)?;
                rows += batch.num_rows();
                first.get_or_insert_with(|| start.elapsed());
                if let Some(writer) = &mut writer {
                    writer.write(&batch).unwrap();
                }
            }
        }
    }
    if let Some(parts) = chunks.rest() {
        let batch = join(&out, parts, &scan.buffers)?;
        rows += batch.num_rows();
        if let Some(writer) = &mut writer {
            writer.write(&batch).unwrap();
        }
    }
    if let Some(writer) = &mut writer {
        writer.finish().unwrap();
    }
    match error {
        Some(error) => Err(error),
        None => {
            Ok(format!("rows {rows} infer {inferred:?} first {first:?} all {:?}", start.elapsed()))
        }
    }
}
