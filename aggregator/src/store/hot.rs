//! The state of one table as a pure value: the files of a Delta version, the rows that are
//! still in memory, and how far each lane has come. Every change keeps each row in it once.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

use arrow::array::RecordBatch;
use meridian_proto::ids::AgentId;
use meridian_proto::signal::Signal;
use object_store::path::Path;
use tokio::sync::OwnedSemaphorePermit;

use super::damage::Damage;
use super::stats::time_range;
use super::view::{DataFile, HotBatch, View};

/// Two lanes of an agent are in order each, and have a committed sequence each; beside them are
/// the marks that say which sequences belong to which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// What is accepted now.
    Live,
    /// The backlogs of outages.
    CatchUp,
    /// No rows, only a mark: the greatest end of a closed range that was ever asked for.
    Asked,
    /// No rows: the sequence after which a closed range begins.
    RangeAfter(u8),
    /// No rows: the last sequence of a closed range.
    RangeTo(u8),
}

impl Lane {
    /// The lanes that have rows.
    pub const ALL: [Lane; 2] = [Lane::Live, Lane::CatchUp];
}

/// One agent's lane; within a table it identifies a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneKey {
    /// The spool.
    pub agent: AgentId,
    /// Its lane.
    pub lane: Lane,
}

impl LaneKey {
    /// The application id of the lane's transactions in a Delta log.
    pub fn app_id(&self) -> String {
        match self.lane {
            Lane::Live => self.agent.to_string(),
            Lane::CatchUp => format!("{}/catch-up", self.agent),
            Lane::Asked => format!("{}/asked", self.agent),
            Lane::RangeAfter(place) => format!("{}/range/{place}/after", self.agent),
            Lane::RangeTo(place) => format!("{}/range/{place}/to", self.agent),
        }
    }
}

/// A record of the spool within a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Its sequence.
    pub seq: u64,
    /// Its rows.
    pub rows: usize,
}

/// Rows of one lane, in the order of their records.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// Whose.
    pub lane: LaneKey,
    /// The region of all rows.
    pub region: String,
    /// Ascending; their rows add up to those of the batch.
    pub records: Vec<Record>,
    /// The rows, with the schema of the table's signal.
    pub batch: RecordBatch,
    /// The memory that they may take; given back when the last copy is dropped.
    pub reservation: Option<Arc<OwnedSemaphorePermit>>,
}

impl Incoming {
    /// What is left of these rows when all up to `seq` are known already.
    fn after(&self, seq: u64) -> Option<Self> {
        let known = self.records.iter().take_while(|record| record.seq <= seq).count();
        if known == 0 {
            return Some(self.clone());
        }
        let (cut, rest) = self.records.split_at(known);
        let rows: usize = cut.iter().map(|record| record.rows).sum();
        let left = self.batch.num_rows().checked_sub(rows)?;
        (!rest.is_empty()).then(|| Self {
            records: rest.to_vec(),
            batch: self.batch.slice(rows, left),
            ..self.clone()
        })
    }

    fn last_seq(&self) -> u64 {
        self.records.last().map_or(0, |record| record.seq)
    }
}

/// Rows in memory, with what a commit needs to know of them.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) incoming: Incoming,
    pub(crate) hot: Arc<HotBatch>,
    pub(crate) bytes: usize,
}

impl Held {
    fn new(signal: Signal, incoming: Incoming) -> Self {
        let (time_min, time_max) = time_range(signal, &incoming.batch).unwrap_or_default();
        let hot = Arc::new(HotBatch {
            batch: incoming.batch.clone(),
            region: incoming.region.clone(),
            time_min,
            time_max,
        });
        let bytes = incoming.batch.get_array_memory_size();
        Self { incoming, hot, bytes }
    }
}

/// How far a lane has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Position {
    committed: u64,
    hot: u64,
}

/// What became of an offered batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offered {
    /// Rows that are new and now visible.
    pub rows: usize,
    /// Rows that were there already.
    pub duplicates: usize,
}

/// One table at one moment.
#[derive(Debug)]
pub(crate) struct TableState {
    signal: Signal,
    version: i64,
    files: Arc<Vec<Arc<DataFile>>>,
    held: Vec<Arc<Held>>,
    held_bytes: usize,
    lanes: HashMap<LaneKey, Position>,
    /// Files that left the table while somebody may still have been reading them.
    retired: Vec<Weak<DataFile>>,
    removed_to: Option<i64>,
}

impl TableState {
    pub(crate) fn new(signal: Signal) -> Self {
        Self {
            signal,
            version: -1,
            files: Arc::default(),
            held: Vec::new(),
            held_bytes: 0,
            lanes: HashMap::new(),
            retired: Vec::new(),
            removed_to: None,
        }
    }

    pub(crate) fn view(&self) -> View {
        View {
            version: self.version,
            files: Arc::clone(&self.files),
            hot: self.held.iter().map(|held| Arc::clone(&held.hot)).collect(),
            removed_to: self.removed_to,
            damage: Damage::default(),
        }
    }

    /// Rows up to this time are kept no longer, since some version or other.
    pub(crate) fn note_removed(&mut self, to: Option<i64>) {
        self.removed_to = self.removed_to.max(to);
    }

    /// Files that are no longer in the table and that a view still holds.
    pub(crate) fn in_use(&self) -> impl Iterator<Item = Arc<DataFile>> {
        self.retired.iter().filter_map(Weak::upgrade)
    }

    pub(crate) fn version(&self) -> i64 {
        self.version
    }

    pub(crate) fn files(&self) -> &Arc<Vec<Arc<DataFile>>> {
        &self.files
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    pub(crate) fn held_rows(&self) -> usize {
        self.held.iter().map(|held| held.hot.batch.num_rows()).sum()
    }

    pub(crate) fn committed(&self, lane: &LaneKey) -> Option<u64> {
        self.lanes.get(lane).map(|position| position.committed)
    }

    pub(crate) fn lanes(&self) -> Vec<LaneKey> {
        self.lanes.keys().copied().collect()
    }

    /// Takes rows that follow what is known of their lane; the rest is a duplicate.
    pub(crate) fn offer(&mut self, incoming: &Incoming) -> Offered {
        let offered = incoming.batch.num_rows();
        let position = self.lanes.entry(incoming.lane).or_default();
        let Some(fresh) = incoming.after(position.hot.max(position.committed)) else {
            return Offered {
                rows: 0,
                duplicates: offered,
            };
        };
        position.hot = fresh.last_seq();
        let rows = fresh.batch.num_rows();
        self.hold(fresh);
        Offered {
            rows,
            duplicates: offered.saturating_sub(rows),
        }
    }

    fn hold(&mut self, incoming: Incoming) {
        let held = Held::new(self.signal, incoming);
        self.held_bytes += held.bytes;
        self.held.push(Arc::new(held));
    }

    /// The oldest rows in memory, up to about `bytes_max`, at least one batch.
    pub(crate) fn oldest(&self, bytes_max: usize) -> Vec<Arc<Held>> {
        let mut bytes = 0;
        let fits = |held: &&Arc<Held>| {
            let first = bytes == 0;
            bytes += held.bytes.max(1);
            first || bytes <= bytes_max
        };
        self.held.iter().take_while(fits).cloned().collect()
    }

    fn retire(&mut self, next: &Arc<Vec<Arc<DataFile>>>) {
        if Arc::ptr_eq(&self.files, next) {
            return;
        }
        let next: HashSet<&Path> = next.iter().map(|file| &file.path).collect();
        let gone = self.files.iter().filter(|file| !next.contains(&file.path));
        self.retired.extend(gone.map(Arc::downgrade));
        self.retired.retain(|file| file.strong_count() > 0);
    }

    /// Moves on to another version of the table, in which the lanes are committed up to the
    /// given sequences: their rows are in `files`, and leave memory in the same step.
    pub(crate) fn advance(
        &mut self,
        version: i64,
        files: Arc<Vec<Arc<DataFile>>>,
        committed: impl IntoIterator<Item = (LaneKey, u64)>,
    ) {
        self.version = version;
        self.retire(&files);
        self.files = files;
        for (lane, seq) in committed {
            let position = self.lanes.entry(lane).or_default();
            position.committed = position.committed.max(seq);
        }
        let held = std::mem::take(&mut self.held);
        self.held_bytes = 0;
        for batch in held {
            let seq = self.committed(&batch.incoming.lane).unwrap_or(0);
            match batch.incoming.after(seq) {
                Some(rest) if rest.records.len() < batch.incoming.records.len() => self.hold(rest),
                Some(_) => {
                    self.held_bytes += batch.bytes;
                    self.held.push(batch);
                }
                None => {}
            }
        }
    }
}

/// How far a commit of these rows takes each lane.
pub(crate) fn last_seqs(batches: &[Arc<Held>]) -> Vec<(LaneKey, u64)> {
    let mut last: HashMap<LaneKey, u64> = HashMap::new();
    for held in batches {
        let seq = last.entry(held.incoming.lane).or_default();
        *seq = (*seq).max(held.incoming.last_seq());
    }
    let mut last: Vec<(LaneKey, u64)> = last.into_iter().collect();
    last.sort_unstable();
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::new_null_array;
    use arrow::datatypes::{Field, Schema};
    use meridian_proto::schema;

    /// Rows without content: what counts here is how many there are.
    fn rows(count: usize) -> RecordBatch {
        let fields: Vec<Field> = schema::of(Signal::Logs)
            .fields()
            .iter()
            .map(|field| field.as_ref().clone().with_nullable(true))
            .collect();
        let schema = Arc::new(Schema::new(fields));
        let columns = schema
            .fields()
            .iter()
            .map(|field| new_null_array(field.data_type(), count));
        RecordBatch::try_new(Arc::clone(&schema), columns.collect()).expect("columns of the schema")
    }

    fn lane() -> LaneKey {
        LaneKey {
            agent: AgentId::from_slice(&[7; 16]).expect("16 bytes"),
            lane: Lane::Live,
        }
    }

    fn incoming(records: &[(u64, usize)]) -> Incoming {
        let records: Vec<Record> = records.iter().map(|&(seq, rows)| Record { seq, rows }).collect();
        let count = records.iter().map(|record| record.rows).sum();
        Incoming {
            lane: lane(),
            region: "eu".into(),
            records,
            batch: rows(count),
            reservation: None,
        }
    }

    fn hot_rows(state: &TableState) -> usize {
        state.view().hot.iter().map(|hot| hot.batch.num_rows()).sum()
    }

    #[test]
    fn a_batch_that_came_before_is_a_duplicate() {
        let mut state = TableState::new(Signal::Logs);
        assert_eq!(
            state.offer(&incoming(&[(1, 2), (4, 3)])),
            Offered {
                rows: 5,
                duplicates: 0
            }
        );
        assert_eq!(
            state.offer(&incoming(&[(1, 2), (4, 3)])),
            Offered {
                rows: 0,
                duplicates: 5
            }
        );
        assert_eq!(hot_rows(&state), 5);
    }

    #[test]
    fn an_overlap_is_cut_at_a_records_edge() {
        let mut state = TableState::new(Signal::Logs);
        state.offer(&incoming(&[(1, 2), (4, 3)]));
        let offered = state.offer(&incoming(&[(4, 3), (9, 1)]));
        assert_eq!(
            offered,
            Offered {
                rows: 1,
                duplicates: 3
            }
        );
        assert_eq!(hot_rows(&state), 6);
    }

    #[test]
    fn a_version_takes_what_it_holds_out_of_memory_and_nothing_else() {
        let mut state = TableState::new(Signal::Logs);
        state.offer(&incoming(&[(1, 2), (4, 3)]));
        state.offer(&incoming(&[(5, 4)]));
        state.advance(1, Arc::default(), [(lane(), 1)]);
        assert_eq!((hot_rows(&state), state.committed(&lane())), (7, Some(1)));
        state.advance(2, Arc::default(), [(lane(), 5)]);
        assert_eq!((hot_rows(&state), state.held_bytes()), (0, 0));
        assert_eq!(state.offer(&incoming(&[(5, 4)])).duplicates, 4);
    }

    #[test]
    fn a_commit_takes_the_oldest_rows_and_at_least_one_batch() {
        let mut state = TableState::new(Signal::Logs);
        state.offer(&incoming(&[(1, 10)]));
        state.offer(&incoming(&[(2, 10)]));
        let oldest = state.oldest(1);
        assert_eq!(last_seqs(&oldest), [(lane(), 1)]);
        assert_eq!(state.oldest(usize::MAX).len(), 2);
    }
}
