//! Turns batches into what was asked for: rows of JSON, lines of CSV, an Arrow stream, or the
//! batches themselves; up to so many rows and bytes. The envelope around them is the API's.

mod cell;
mod csv;
mod json;
mod memory;

use std::fmt;
use std::ops::ControlFlow;

use arrow_ipc::writer::StreamWriter;
use bytes::Bytes;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::record_batch::RecordBatch;

pub(super) use memory::{AnswersFull, AnswersMemory};
use memory::{Kept, Reservation};

/// How rows are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A JSON array of objects.
    Json,
    /// RFC 4180 with a header line.
    Csv,
    /// An Arrow IPC stream.
    Arrow,
    /// Batches in memory.
    Batches,
}

/// What an answer was cut by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// So many rows.
    Rows(usize),
    /// So many bytes.
    Bytes(usize),
}

/// The rows of an answer as they were wanted.
pub struct Rows {
    body: Body,
    columns: Vec<String>,
    count: usize,
    rows_max: usize,
    bytes_max: usize,
    cut: Option<Cut>,
    reservation: Reservation,
}

enum Body {
    Json(String),
    Csv(String),
    Arrow(Option<Box<StreamWriter<Vec<u8>>>>, Vec<u8>),
    Batches(Vec<RecordBatch>),
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows")
            .field("columns", &self.columns)
            .field("count", &self.count)
            .field("cut", &self.cut)
            .finish_non_exhaustive()
    }
}

impl Rows {
    /// `memory` is what all answers together may take.
    pub(super) fn new(format: Format, rows_max: usize, bytes_max: usize, memory: &AnswersMemory) -> Self {
        let body = match format {
            Format::Json => Body::Json(String::new()),
            Format::Csv => Body::Csv(String::new()),
            Format::Arrow => Body::Arrow(None, Vec::new()),
            Format::Batches => Body::Batches(Vec::new()),
        };
        Self {
            body,
            columns: Vec::new(),
            count: 0,
            rows_max,
            bytes_max,
            cut: None,
            reservation: memory.nothing(),
        }
    }

    /// The number of rows.
    pub fn count(&self) -> usize {
        self.count
    }

    pub(super) fn cut(&self) -> Option<Cut> {
        self.cut
    }

    /// The rows as they go into a body: JSON, CSV or Arrow; nothing for batches. Their memory
    /// is given back when the last of these bytes is.
    pub fn into_bytes(self) -> Bytes {
        let bytes = match self.body {
            Body::Json(text) | Body::Csv(text) => text.into_bytes(),
            Body::Arrow(_, bytes) => bytes,
            Body::Batches(_) => Vec::new(),
        };
        Bytes::from_owner(Kept::new(bytes, self.reservation))
    }

    /// The rows as batches; nothing for the other formats. Their memory is given back when
    /// what comes with them is dropped.
    pub fn into_batches(self) -> (Vec<RecordBatch>, impl Send + Sync) {
        let batches = match self.body {
            Body::Batches(batches) => batches,
            Body::Json(_) | Body::Csv(_) | Body::Arrow(..) => Vec::new(),
        };
        (batches, self.reservation)
    }

    /// The memory that the rows take so far.
    fn bytes(&self) -> usize {
        match &self.body {
            Body::Json(text) | Body::Csv(text) => text.capacity(),
            Body::Arrow(Some(writer), _) => writer.get_ref().capacity(),
            Body::Arrow(None, bytes) => bytes.capacity(),
            // They are copied once more when they are turned into an answer.
            Body::Batches(batches) => batches
                .iter()
                .map(|batch| 2 * batch.get_array_memory_size())
                .sum(),
        }
    }

    pub(super) fn start(&mut self, schema: &SchemaRef) -> Result<(), ArrowError> {
        self.columns = unique_names(schema);
        match &mut self.body {
            Body::Json(text) => text.push('['),
            Body::Csv(text) => csv::header(text, &self.columns),
            Body::Arrow(writer, _) => {
                *writer = Some(Box::new(StreamWriter::try_new(Vec::new(), schema)?));
            }
            Body::Batches(_) => {}
        }
        Ok(())
    }

    /// Takes a batch; `Break` when no more rows are wanted.
    pub(super) fn push(&mut self, batch: &RecordBatch) -> Result<ControlFlow<()>, ArrowError> {
        let room = self.rows_max - self.count;
        let taken = batch.num_rows().min(room);
        if taken < batch.num_rows() {
            self.cut = Some(Cut::Rows(self.rows_max));
        }
        let batch = batch.slice(0, taken);
        let written = match &mut self.body {
            Body::Json(text) => json::rows(text, &self.columns, &batch, self.count == 0, self.bytes_max)?,
            Body::Csv(text) => csv::rows(text, &batch, self.bytes_max)?,
            Body::Arrow(Some(writer), _) => {
                writer.write(&batch)?;
                if writer.get_ref().len() > self.bytes_max {
                    self.cut = Some(Cut::Bytes(self.bytes_max));
                }
                taken
            }
            Body::Arrow(None, _) => 0,
            Body::Batches(batches) => {
                batches.push(batch);
                taken
            }
        };
        self.count += written;
        let bytes = self.bytes();
        self.reservation
            .grow_to(bytes)
            .map_err(|full| ArrowError::ExternalError(Box::new(full)))?;
        if written < taken {
            self.cut = Some(Cut::Bytes(self.bytes_max));
        }
        Ok(match self.cut {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        })
    }

    pub(super) fn finish(&mut self) -> Result<(), ArrowError> {
        match &mut self.body {
            Body::Json(text) => text.push(']'),
            Body::Arrow(writer, bytes) => {
                if let Some(writer) = writer.take() {
                    *bytes = writer.into_inner()?;
                }
            }
            Body::Csv(_) | Body::Batches(_) => {}
        }
        Ok(())
    }
}

/// The columns' names; a repeated one gets a number, because an object has each key once.
fn unique_names(schema: &Schema) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let mut name = field.name().clone();
        let mut number = 2;
        while names.contains(&name) {
            name = format!("{}_{number}", field.name());
            number += 1;
        }
        names.push(name);
    }
    names
}
