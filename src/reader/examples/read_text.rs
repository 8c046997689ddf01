//! Reads a CSV, TSV or text file and says how fast: `read_text FILE [THREADS] [ROWS] [full]`.

#![allow(clippy::print_stdout)]

use std::time::Instant;

use reader::error::Result;
use reader::joined::join;
use reader::options::Options;
use reader::rechunk::Rechunker;
use reader::scan::{Format, Infer, Scan};
use reader::source::Source;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, otherwise: usize| {
        arguments.get(index).and_then(|text| text.parse().ok()).unwrap_or(otherwise)
    };
    let path = arguments.first().cloned().unwrap_or_default();
    let infer =
        if arguments.iter().any(|word| word == "full") { Infer::Full } else { Infer::First };
    let scan =
        Scan { threads: number(1, 2), batch_size: number(2, 1024), infer, ..Scan::default() };
    let format: Box<dyn Format> = if path.contains(".txt") {
        Box::new(reader::text::Text::new(Options::default())?)
    } else if path.contains(".tsv") {
        Box::new(reader::csv::Csv::tabs(Options::default())?)
    } else {
        Box::new(reader::csv::Csv::new(Options::default())?)
    };
    let file = Source::new(path);
    let started = Instant::now();
    let schema = format.infer(std::slice::from_ref(&file), &scan)?;
    let inferred = started.elapsed();
    let mut source = format.open(&file, &schema, false, &scan)?;
    let mut rechunker = Rechunker::new(scan.batch_size);
    let (mut rows, mut batches, mut touched, mut first) = (0, 0, 0u64, None);
    while let Some(batch) = source.next()? {
        rechunker.push(batch);
        while let Some(parts) = rechunker.parts() {
            let batch = join(&source.schema(), parts, &scan.buffers)?;
            first.get_or_insert_with(|| started.elapsed());
            rows += batch.num_rows();
            batches += 1;
            for column in batch.columns() {
                for buffer in column.to_data().buffers() {
                    touched +=
                        buffer.iter().step_by(4096).map(|byte| u64::from(*byte)).sum::<u64>();
                }
            }
        }
    }
    rows += rechunker.rest().into_iter().flatten().map(|part| part.num_rows()).sum::<usize>();
    let total = started.elapsed();
    println!(
        "{total:.3?} (schema {inferred:.1?}, first batch {:.1?}) {rows} rows {batches} batches {touched}",
        first.unwrap_or_default()
    );
    Ok(())
}
