//! Sorted batches of several inputs as one sorted sequence of batches. It holds one batch of
//! each input at a time (and those that a batch in the making still needs), whatever the
//! inputs' size; it reads and writes nothing itself.

use std::cmp::Ordering;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use meridian_proto::signal::Signal;

use super::gather::{Gather, Pick};
use super::order::{self, Key, Names};

/// Rows of a merged batch.
const BATCH_ROWS: usize = 8192;

/// Merges inputs whose rows are each in the order of [`order`].
pub(crate) struct Merge<I> {
    signal: Signal,
    inputs: Vec<Input<I>>,
    /// The inputs that have rows left, by their next row, the least one last.
    waiting: Vec<usize>,
    names: Names,
    gather: Gather,
    has_begun: bool,
}

struct Input<I> {
    batches: I,
    keys: Vec<Key>,
    batch: Option<RecordBatch>,
    at: usize,
    /// Where the batch is among the sources of the batch in the making.
    source: Option<usize>,
}

impl<I> Input<I> {
    fn head(&self) -> Option<&Key> {
        self.keys.get(self.at)
    }
}

impl<I, E> Merge<I>
where
    I: Iterator<Item = Result<RecordBatch, E>>,
    E: From<ArrowError>,
{
    /// All batches have one schema, that of `signal` or of its files.
    pub(crate) fn new(signal: Signal, schema: arrow::datatypes::SchemaRef, inputs: Vec<I>) -> Self {
        let inputs = inputs.into_iter().map(|batches| Input {
            batches,
            keys: Vec::new(),
            batch: None,
            at: 0,
            source: None,
        });
        Self {
            signal,
            inputs: inputs.collect(),
            waiting: Vec::new(),
            names: Names::default(),
            gather: Gather::new(schema),
            has_begun: false,
        }
    }

    /// Takes the next batch of an input; false at its end.
    fn advance(&mut self, index: usize) -> Result<bool, E> {
        let input = &mut self.inputs[index];
        (input.keys, input.batch, input.at, input.source) = (Vec::new(), None, 0, None);
        for batch in input.batches.by_ref() {
            let batch = batch?;
            if batch.num_rows() > 0 {
                input.keys = order::keys(self.signal, &batch, &mut self.names)?;
                input.batch = Some(batch);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn compare(&self, a: usize, b: usize) -> Ordering {
        match (self.inputs[a].head(), self.inputs[b].head()) {
            (Some(a), Some(b)) => self.names.compare(a, b),
            (a, b) => a.is_none().cmp(&b.is_none()),
        }
    }

    /// Puts an input where its next row belongs.
    fn wait(&mut self, index: usize) {
        let at = self
            .waiting
            .partition_point(|other| self.compare(*other, index) == Ordering::Greater);
        self.waiting.insert(at, index);
    }

    /// Rows of `index`'s batch that come before the next row of every other input.
    fn run(&self, index: usize, rows_max: usize) -> usize {
        let input = &self.inputs[index];
        let rest = input.keys.get(input.at..).unwrap_or_default();
        let rest = rest.get(..rows_max).unwrap_or(rest);
        let Some(rival) = self.waiting.last().and_then(|other| self.inputs[*other].head()) else {
            return rest.len();
        };
        let before = |key: &&Key| self.names.compare(key, rival) != Ordering::Greater;
        rest.iter().take_while(before).count()
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>, E> {
        if !self.has_begun {
            self.has_begun = true;
            for index in 0..self.inputs.len() {
                if self.advance(index)? {
                    self.wait(index);
                }
            }
        }
        let mut sources: Vec<RecordBatch> = Vec::new();
        let mut picks: Vec<Pick> = Vec::with_capacity(BATCH_ROWS);
        for input in &mut self.inputs {
            input.source = None;
        }
        while picks.len() < BATCH_ROWS {
            let Some(index) = self.waiting.pop() else { break };
            let rows = self.run(index, BATCH_ROWS - picks.len()).max(1);
            let input = &mut self.inputs[index];
            let source = match (input.source, &input.batch) {
                (Some(source), _) => source,
                (None, Some(batch)) => {
                    sources.push(batch.clone());
                    *input.source.insert(sources.len() - 1)
                }
                (None, None) => continue,
            };
            picks.extend((input.at..input.at + rows).map(|row| (source, row)));
            input.at += rows;
            if input.head().is_some() || self.advance(index)? {
                self.wait(index);
            }
        }
        if picks.is_empty() {
            return Ok(None);
        }
        let rows = self.gather.rows(&sources, &picks)?;
        let left: Vec<RecordBatch> = self
            .inputs
            .iter()
            .filter_map(|input| input.batch.clone())
            .collect();
        self.gather.forget_all_but(&left);
        Ok(Some(rows))
    }
}

impl<I, E> Iterator for Merge<I>
where
    I: Iterator<Item = Result<RecordBatch, E>>,
    E: From<ArrowError>,
{
    type Item = Result<RecordBatch, E>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_batch().transpose()
    }
}

#[cfg(test)]
mod tests;
