//! What a question is about: the time window and the regions, as far as its filters say so.
//! The envelope's completeness is computed for exactly that. A filter that is not understood
//! widens the scope; it never narrows it.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, SecondsFormat};
use datafusion::arrow::array::{ArrayRef, BooleanArray, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use meridian_proto::schema;
use meridian_proto::signal::Signal;
use parking_lot::Mutex;

use crate::coverage::Window;
use crate::store::{DataFile, View};

const MICROS_PER_DAY: i64 = 86_400_000_000;
/// Damaged files that a warning names; of the others it says how many they are.
const DAMAGED_NAMED: usize = 20;

/// What every scan of one query has asked for, and what was there to answer from.
#[derive(Debug, Default)]
pub(super) struct Scope {
    asked: Mutex<Option<Asked>>,
    held: Mutex<Vec<Held>>,
    /// What is left out of the answer because it cannot be read.
    damaged: Mutex<BTreeSet<String>>,
}

/// One scan's files: as long as they are held here they are not deleted.
#[derive(Debug)]
struct Held {
    _files: Arc<Vec<Arc<DataFile>>>,
    warning: Option<String>,
}

/// The union of what the scans asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// The time.
    pub(super) window: Window,
    /// The regions; `None` means all.
    pub(super) regions: Option<Vec<String>>,
}

impl Scope {
    /// Adds what one scan asks for.
    pub(super) fn record(&self, asked: Asked) {
        let mut scope = self.asked.lock();
        *scope = Some(match scope.take() {
            None => asked,
            Some(before) => before.union(asked),
        });
    }

    /// What the query is about: everything, if no scan said less.
    pub(super) fn asked(&self) -> Asked {
        self.asked.lock().clone().unwrap_or_default()
    }

    /// Keeps the files of a view until the query is over, and notes whether retention removed
    /// rows that a scan of `window` asks for.
    pub(super) fn hold(&self, signal: Signal, view: &View, window: Window) {
        let removed_to = view
            .removed_to
            .filter(|to| window.from.is_none_or(|from| nanos(*to) >= from));
        let warning = removed_to.and_then(DateTime::from_timestamp_micros).map(|to| {
            let to = to.to_rfc3339_opts(SecondsFormat::Secs, true);
            format!("{signal} up to {to} are kept no longer (store.retention, store.max_bytes): older ones are missing here")
        });
        self.held.lock().push(Held {
            _files: Arc::clone(&view.files),
            warning,
        });
    }

    /// Leaves out, and notes, what of the files that a scan needs is known to be damaged.
    pub(super) fn without_damaged<'a>(
        &self,
        signal: Signal,
        view: &View,
        mut files: Vec<&'a Arc<DataFile>>,
    ) -> Vec<&'a Arc<DataFile>> {
        let mut damaged = self.damaged.lock();
        for (path, why) in &view.damage.log_entries {
            damaged.insert(format!(
                "the log entry {path} cannot be read ({why}): what it added to {signal} is missing here; put back a copy of it"
            ));
        }
        files.retain(|file| {
            let Some(fault) = view.damage.files.get(&file.path) else {
                return true;
            };
            let (path, rows, region, date) = (&file.path, file.rows, &file.region, file.date);
            damaged.insert(format!(
                "the data file {path} {fault}: {rows} {signal} of {region} on {date} are missing here; put back a copy of it"
            ));
            false
        });
        files
    }

    /// Whether something is left out because it is damaged.
    pub(super) fn is_damaged(&self) -> bool {
        !self.damaged.lock().is_empty()
    }

    /// What is missing because it is damaged, or kept no longer.
    pub(super) fn warnings(&self) -> Vec<String> {
        let held = self.held.lock();
        let mut warnings: Vec<String> = held.iter().filter_map(|held| held.warning.clone()).collect();
        warnings.sort_unstable();
        warnings.dedup();
        let damaged = self.damaged.lock();
        warnings.extend(damaged.iter().take(DAMAGED_NAMED).cloned());
        if damaged.len() > DAMAGED_NAMED {
            let more = damaged.len() - DAMAGED_NAMED;
            warnings.push(format!(
                "{more} more files or log entries are damaged; the aggregator's log names each"
            ));
        }
        warnings
    }
}

impl Asked {
    /// Reads the window and the regions out of the filters of a scan of a table whose time
    /// column is `time_column`; `known_regions` are those a filter is tried on.
    pub(super) fn by(
        filters: &[Expr],
        time_column: &str,
        known_regions: &[String],
        session: &dyn Session,
    ) -> Result<Self> {
        let mut range = Range::default();
        let mut regions = known_regions.to_vec();
        let mut narrowed = false;
        for filter in filters {
            range.narrow(filter, time_column);
            if is_about_region(filter) {
                regions = matching(filter, regions, session)?;
                narrowed = true;
            }
        }
        Ok(Self {
            window: range.window(),
            regions: narrowed.then_some(regions),
        })
    }

    fn union(self, other: Self) -> Self {
        let window = Window {
            from: self.window.from.zip(other.window.from).map(|(a, b)| a.min(b)),
            to: self.window.to.zip(other.window.to).map(|(a, b)| a.max(b)),
        };
        let regions = self.regions.zip(other.regions).map(|(mut regions, others)| {
            for region in others {
                if !regions.contains(&region) {
                    regions.push(region);
                }
            }
            regions
        });
        Self { window, regions }
    }
}

/// A range of microseconds, the end exclusive.
#[derive(Debug, Default)]
struct Range {
    from: Option<i64>,
    to: Option<i64>,
}

impl Range {
    fn narrow(&mut self, filter: &Expr, time_column: &str) {
        match filter {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                if *op == Operator::And {
                    self.narrow(left, time_column);
                    self.narrow(right, time_column);
                } else if let Some(unit) = unit_of(left, time_column) {
                    self.compare(*op, right, unit);
                } else if let Some((unit, op)) = unit_of(right, time_column).zip(op.swap()) {
                    self.compare(op, left, unit);
                }
            }
            Expr::Between(between) if !between.negated => {
                if let Some(unit) = unit_of(&between.expr, time_column) {
                    self.compare(Operator::GtEq, &between.low, unit);
                    self.compare(Operator::LtEq, &between.high, unit);
                }
            }
            _ => {}
        }
    }

    /// Applies `column op literal`, where the column's values are `unit` microseconds long.
    fn compare(&mut self, op: Operator, literal: &Expr, unit: i64) {
        let Expr::Literal(value, _) = literal else { return };
        let Some(start) = micros(value) else { return };
        let end = start.saturating_add(unit);
        match op {
            Operator::Eq => {
                self.raise_from(start);
                self.lower_to(end);
            }
            Operator::Gt => self.raise_from(end),
            Operator::GtEq => self.raise_from(start),
            Operator::Lt => self.lower_to(start),
            Operator::LtEq => self.lower_to(end),
            _ => {}
        }
    }

    fn raise_from(&mut self, micros: i64) {
        self.from = Some(self.from.map_or(micros, |from| from.max(micros)));
    }

    fn lower_to(&mut self, micros: i64) {
        self.to = Some(self.to.map_or(micros, |to| to.min(micros)));
    }

    fn window(&self) -> Window {
        Window {
            from: self.from.map(nanos),
            to: self.to.map(nanos),
        }
    }
}

fn nanos(micros: i64) -> u64 {
    u64::try_from(micros).unwrap_or(0).saturating_mul(1_000)
}

/// How many microseconds a value of this expression covers, if it is the table's time.
fn unit_of(expr: &Expr, time_column: &str) -> Option<i64> {
    match expr {
        Expr::Column(column) if column.name == time_column => Some(1),
        Expr::Column(column) if column.name == "date" => Some(MICROS_PER_DAY),
        Expr::Cast(cast) if matches!(cast.field.data_type(), DataType::Timestamp(..)) => {
            unit_of(&cast.expr, time_column)
        }
        _ => None,
    }
}

/// A time literal as microseconds since the epoch, rounded down.
fn micros(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::TimestampSecond(Some(seconds), _) => seconds.checked_mul(1_000_000),
        ScalarValue::TimestampMillisecond(Some(millis), _) => millis.checked_mul(1_000),
        ScalarValue::TimestampMicrosecond(Some(micros), _) => Some(*micros),
        ScalarValue::TimestampNanosecond(Some(nanos), _) => Some(nanos.div_euclid(1_000)),
        ScalarValue::Date32(Some(days)) => i64::from(*days).checked_mul(MICROS_PER_DAY),
        _ => None,
    }
}

/// Whether the filter names the column `region` and no other.
fn is_about_region(filter: &Expr) -> bool {
    let columns = filter.column_refs();
    !columns.is_empty() && columns.iter().all(|column| column.name == "region")
}

/// Those of `regions` that pass the filter, found by evaluating it.
fn matching(filter: &Expr, regions: Vec<String>, session: &dyn Session) -> Result<Vec<String>> {
    let field = Field::new("region", schema::dictionary(), false);
    let arrow_schema = Arc::new(Schema::new(vec![field]));
    let column: ArrayRef = Arc::new(StringArray::from_iter_values(&regions));
    let column = cast(&column, &schema::dictionary())?;
    let batch = RecordBatch::try_new(Arc::clone(&arrow_schema), vec![column])?;
    let filter = super::prune::without_qualifiers(filter.clone())?;
    let physical = session.create_physical_expr(filter, &DFSchema::try_from(arrow_schema)?)?;
    let passed = physical.evaluate(&batch)?.into_array(regions.len())?;
    let passed = datafusion::common::cast::as_boolean_array(&passed)?;
    Ok(keep(regions, passed))
}

fn keep(regions: Vec<String>, passed: &BooleanArray) -> Vec<String> {
    regions
        .into_iter()
        .zip(passed.iter())
        .filter_map(|(region, passed)| (passed == Some(true)).then_some(region))
        .collect()
}

/// The UTC day of a time, as the partition column `date` has it.
pub(super) fn day_of(micros: i64) -> i32 {
    i32::try_from(micros.div_euclid(MICROS_PER_DAY)).unwrap_or(0)
}

/// A date as Arrow's `Date32` has it.
pub(super) fn days(date: NaiveDate) -> i32 {
    datafusion::arrow::datatypes::Date32Type::from_naive_date(date)
}
