//! Many small files of a day and region become few large ones. The rows stay the same and
//! nobody waits: inputs are read and the output is written beside ingest and queries, and one
//! commit puts the one in the place of the others, or finds that it came too late.
//!
//! ```text
//! small files ──(sorted: k-way merge, a row group of each at a time)──► large file ──► commit
//! ```
//! Which files are merged is [`plan`]'s decision.

mod input;
pub(crate) mod plan;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use meridian_proto::signal::Signal;
use meridian_runtime::tasks;
use parquet::errors::ParquetError;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::columns;
use super::log::Reason;
use super::merge::Merge;
use super::new_file::{Collected, Directory, Name, NewFile, Upload};
use super::parquet_file::{FileWriter, Purpose};
use super::table::{StoreError, Table};
use super::view::DataFile;
use input::{Input, MergeError};
use plan::Limits;

/// What one merge did.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Merged {
    pub(crate) files_in: usize,
    pub(crate) files_out: usize,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) rows: u64,
    pub(crate) took: Duration,
}

/// How a merge ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Outcome {
    /// The table has the large file.
    Merged(Merged),
    /// Another aggregator was faster, or this one is ending; nothing has changed.
    GivenUp,
}

/// Merges these files, which are of one day and region.
pub(crate) async fn merge(
    table: &Table,
    files: Vec<Arc<DataFile>>,
    limits: Limits,
    stop: &CancellationToken,
) -> Result<Outcome, StoreError> {
    let began = tokio::time::Instant::now();
    let work = Work {
        directory: table.directory().clone(),
        files: files.clone(),
        limits,
        stop: stop.clone(),
        handle: Handle::current(),
    };
    // Decoding and encoding take a thread of their own, which waits for its IO as well.
    let written = tasks::blocking("compact", move || work.run()).await??;
    let Some(written) = written else {
        return Ok(Outcome::GivenUp);
    };
    let size = |file: &Arc<DataFile>| file.size;
    let merged = Merged {
        files_in: files.len(),
        files_out: written.len(),
        bytes_in: files.iter().map(size).sum(),
        bytes_out: written.iter().map(|new| new.file.size).sum(),
        rows: written.iter().map(|new| new.file.rows).sum(),
        took: began.elapsed(),
    };
    let reason = Reason::Merge {
        file_bytes: limits.file_bytes,
    };
    if table.replace(&files, written, reason).await? {
        return Ok(Outcome::Merged(merged));
    }
    Ok(Outcome::GivenUp)
}

/// Reads a file as a merge would, to its end.
pub(crate) async fn decode(directory: &Directory, file: &Arc<DataFile>) -> Result<(), StoreError> {
    let signal = directory.signal;
    let (handle, directory, file) = (Handle::current(), directory.clone(), Arc::clone(file));
    tasks::blocking("inspect a file", move || {
        Input::open(&handle, &directory, &file)?.try_for_each(|batch| batch.map(drop))
    })
    .await?
    .map_err(|error: MergeError| error.of(signal))
}

struct Work {
    directory: Directory,
    files: Vec<Arc<DataFile>>,
    limits: Limits,
    stop: CancellationToken,
    handle: Handle,
}

impl Work {
    /// The new files, or nothing if the process is ending. Blocks.
    fn run(&self) -> Result<Option<Vec<NewFile>>, StoreError> {
        let mut written = Vec::new();
        let result = self.write(&mut written);
        if !matches!(result, Ok(true)) {
            self.handle.block_on(self.directory.remove(&written));
        }
        result.map(|is_complete| is_complete.then_some(written))
    }

    fn write(&self, written: &mut Vec<NewFile>) -> Result<bool, StoreError> {
        let signal = self.directory.signal;
        let of_signal = |error: MergeError| error.of(signal);
        let inputs = self
            .files
            .iter()
            .map(|file| Input::open(&self.handle, &self.directory, file));
        let inputs: Vec<Input> = inputs.collect::<Result<_, _>>().map_err(of_signal)?;
        let rows = self.files.iter().map(|file| file.rows).sum::<u64>();
        let mut rows_left = usize::try_from(rows).unwrap_or(usize::MAX);
        let mut merge = Merge::new(signal, columns::of_file(signal), inputs).peekable();
        while merge.peek().is_some() {
            let mut output = self.output(rows_left)?;
            while let Some(batch) = merge.next_if(|_| output.bytes() < self.limits.file_bytes) {
                let batch = batch.map_err(of_signal)?;
                rows_left = rows_left.saturating_sub(batch.num_rows());
                output.write(&self.handle, &batch)?;
                if self.stop.is_cancelled() {
                    self.handle.block_on(output.upload.abort());
                    return Ok(false);
                }
            }
            written.push(output.finish(&self.handle, &self.directory)?);
        }
        let rows_out = written.iter().map(|new| new.file.rows).sum();
        if rows_out != rows {
            return Err(StoreError::Miscounted {
                signal,
                rows_in: rows,
                rows_out,
            });
        }
        Ok(true)
    }

    fn output(&self, rows: usize) -> Result<Output, StoreError> {
        let like = self.files.first();
        let (date, region) = like
            .map(|file| (file.date, file.region.as_str()))
            .unwrap_or_default();
        let signal = self.directory.signal;
        let name = self.directory.name(date, region);
        let writer = FileWriter::new(signal, Purpose::Merge, rows, Collected::default())
            .map_err(|source| StoreError::Encode { signal, source })?;
        let upload = Upload::new(Arc::clone(&self.directory.objects), name.full.clone());
        Ok(Output {
            name,
            writer,
            upload,
            signal,
        })
    }
}

struct Output {
    name: Name,
    writer: FileWriter<Collected>,
    upload: Upload,
    signal: Signal,
}

impl Output {
    fn bytes(&self) -> u64 {
        self.writer.bytes() as u64
    }

    fn encode_error(&self) -> impl FnOnce(ParquetError) -> StoreError + use<> {
        let signal = self.signal;
        move |source| StoreError::Encode { signal, source }
    }

    fn write_error(&self) -> impl FnOnce(object_store::Error) -> StoreError + use<> {
        let path = self.name.full.clone();
        move |source| StoreError::Write { path, source }
    }

    fn write(&mut self, handle: &Handle, rows: &RecordBatch) -> Result<(), StoreError> {
        let failed = self.encode_error();
        self.writer.write(rows).map_err(failed)?;
        let failed = self.write_error();
        handle
            .block_on(self.upload.take(self.writer.sink()))
            .map_err(failed)
    }

    fn finish(self, handle: &Handle, directory: &Directory) -> Result<NewFile, StoreError> {
        let (encode_error, write_error) = (self.encode_error(), self.write_error());
        let (rest, stats) = self.writer.finish().map_err(encode_error)?;
        let bytes = handle.block_on(self.upload.finish(rest)).map_err(write_error)?;
        Ok(directory.new_file(self.name, bytes, &stats, false))
    }
}
