//! Fills the Arrow columns of a signal from accepted requests.
//!
//! ```text
//! body ─► ResourceX ─► ScopeX ─► item ─► one row (per data point)
//!          context      context   own columns
//!          once each, appended for all rows of the scope at once
//! ```
//! What comes from the spool has passed [`super::check`], whose verdict a checksum has kept: it
//! is not walked a second time before its columns grow. Nothing is decided here about what is
//! acceptable.

mod attributes;
mod columns;
mod context;
mod exemplars;
mod histograms;
mod interner;
mod logs;
mod metrics;
mod nested;
mod spans;

use std::fmt;
use std::sync::Arc;

use arrow_array::builder::TimestampMicrosecondBuilder;
use arrow_array::{ArrayRef, RecordBatch};
use meridian_proto::schema::{self, ORIGIN_COLUMNS};
use meridian_proto::signal::Signal;

use self::columns::{Dictionary, Named, micros};
use self::context::{ContextColumns, Head, ResourceContext, ScopeContext};
use self::logs::LogColumns;
use self::metrics::MetricColumns;
use self::spans::SpanColumns;
use super::check::verify;
use super::wire::{Fields, Malformed};

/// Where rows come from: the first columns of every table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The agent's region.
    pub region: String,
    /// Its cluster.
    pub cluster: String,
    /// Its node.
    pub node: String,
    /// The identity of its spool.
    pub agent_id: String,
}

/// One signal's columns being filled.
pub struct RowBuilder {
    signal: Signal,
    origin: [String; ORIGIN_COLUMNS.len()],
    items: ItemColumns,
    context: ContextColumns,
    /// The last ones: the next request often has the same.
    resource: Option<ResourceContext>,
    scope: Option<ScopeContext>,
    received: TimestampMicrosecondBuilder,
    rows: usize,
    bytes: usize,
}

enum ItemColumns {
    Spans(Box<SpanColumns>),
    Logs(Box<LogColumns>),
    Metrics(Box<MetricColumns>),
}

/// What an estimate adds per row for columns that have no counterpart in the body.
const ROW_BYTES: usize = 128;

impl RowBuilder {
    /// An empty builder.
    pub fn new(signal: Signal, origin: &Origin) -> Self {
        let items = match signal {
            Signal::Spans => ItemColumns::Spans(Box::default()),
            Signal::Logs => ItemColumns::Logs(Box::default()),
            Signal::Metrics => ItemColumns::Metrics(Box::default()),
        };
        let origin = [&origin.region, &origin.cluster, &origin.node, &origin.agent_id];
        Self {
            signal,
            origin: origin.map(String::clone),
            items,
            context: ContextColumns::default(),
            resource: None,
            scope: None,
            received: columns::timestamps(),
            rows: 0,
            bytes: 0,
        }
    }

    /// Appends the rows of one request and says how many they are. It verifies the body first:
    /// after a fault the builder is as it was.
    pub fn push(&mut self, body: &[u8], received_unix_nanos: u64) -> Result<u32, Malformed> {
        verify(self.signal, body)?;
        self.push_accepted(body, received_unix_nanos)
    }

    /// The same for a body that [`super::check`] has passed. After a fault the builder may hold
    /// half a row and must be thrown away.
    pub fn push_accepted(&mut self, body: &[u8], received_unix_nanos: u64) -> Result<u32, Malformed> {
        let before = self.rows;
        for field in Fields::new(body, 0) {
            let field = field?;
            if field.number == 1 {
                self.resource_group(field.message()?, received_unix_nanos)?;
            }
        }
        let rows = self.rows - before;
        self.received.append_value_n(micros(received_unix_nanos), rows);
        self.bytes += body.len() + rows * ROW_BYTES;
        Ok(u32::try_from(rows).unwrap_or(u32::MAX))
    }

    fn resource_group(&mut self, fields: Fields<'_>, received: u64) -> Result<(), Malformed> {
        let head = Head::read(fields.clone())?;
        let resource = if let Some(same) = self.resource.take_if(|known| known.is_of(&head)) {
            same
        } else {
            // A scope's identity is that of its resource, too.
            self.scope = None;
            ResourceContext::read(&head)?
        };
        for field in fields {
            let field = field?;
            if field.number == 2 {
                self.scope_group(&resource, field.message()?, received)?;
            }
        }
        self.resource = Some(resource);
        Ok(())
    }

    fn scope_group(
        &mut self,
        resource: &ResourceContext,
        fields: Fields<'_>,
        received: u64,
    ) -> Result<(), Malformed> {
        let (scope, rows) = match &mut self.items {
            ItemColumns::Spans(columns) => {
                let mut rows = 0;
                let head = each_item(fields, |span| {
                    rows += 1;
                    columns.push(span)
                })?;
                (
                    ScopeContext::read_or_take(&mut self.scope, resource, &head)?,
                    rows,
                )
            }
            ItemColumns::Logs(columns) => {
                let mut rows = 0;
                let head = each_item(fields, |record| {
                    rows += 1;
                    columns.push(record, received)
                })?;
                (
                    ScopeContext::read_or_take(&mut self.scope, resource, &head)?,
                    rows,
                )
            }
            ItemColumns::Metrics(columns) => {
                // A series' identity needs the scope, wherever it stands: two walks.
                let head = Head::read(fields.clone())?;
                let scope = ScopeContext::read_or_take(&mut self.scope, resource, &head)?;
                let mut rows = 0;
                each_item(fields, |metric| {
                    rows += columns.push(&metric, &scope, received)?;
                    Ok(())
                })?;
                (scope, rows)
            }
        };
        self.context.append(resource, &scope, rows);
        self.scope = Some(scope);
        self.rows += rows;
        Ok(())
    }

    /// Rows so far.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// An estimate of the bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The rows as a batch; the builder is then empty and can be used again.
    pub fn finish(&mut self) -> RecordBatch {
        let mut named: Named = Vec::new();
        for (column, value) in ORIGIN_COLUMNS.into_iter().zip(&self.origin) {
            let mut repeated = Dictionary::default();
            repeated.append_values(value, self.rows);
            named.push((column, Arc::new(repeated.finish())));
        }
        named.push(("received_time", Arc::new(self.received.finish())));
        match &mut self.items {
            ItemColumns::Spans(columns) => columns.finish(&mut named),
            ItemColumns::Logs(columns) => columns.finish(&mut named),
            ItemColumns::Metrics(columns) => columns.finish(&mut named),
        }
        self.context.finish(&mut named);
        (self.rows, self.bytes) = (0, 0);
        let schema = schema::of(self.signal);
        let columns: Vec<ArrayRef> = schema
            .fields()
            .iter()
            .filter_map(|field| named.iter().find(|(name, _)| name == field.name()))
            .map(|(_, column)| Arc::clone(column))
            .collect();
        RecordBatch::try_new(Arc::clone(schema), columns)
            .expect("every row appends once to every column of the schema, as the tests show")
    }
}

impl fmt::Debug for RowBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowBuilder")
            .field("signal", &self.signal)
            .field("rows", &self.rows)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// Hands the items of a scope to `push`, and returns what else the group says.
fn each_item<'a>(
    fields: Fields<'a>,
    mut push: impl FnMut(Fields<'a>) -> Result<(), Malformed>,
) -> Result<Head<'a>, Malformed> {
    let mut head = Head::default();
    for field in fields {
        let field = field?;
        if field.number == 2 {
            push(field.message()?)?;
        } else {
            head.add(&field)?;
        }
    }
    Ok(head)
}
