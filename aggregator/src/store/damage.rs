//! Files of a table that are missing, have another size than was committed, or cannot be
//! decoded: looked into where a question or a merge could not read them, and found by their
//! sizes when the table is surveyed. Merges and questions leave them out; they are put back by
//! people, never deleted or replaced here.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use meridian_proto::signal::Signal;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use parking_lot::RwLock;
use parquet::errors::ParquetError;

use super::table::{StoreError, Table};
use super::view::DataFile;
use super::{Store, compaction};

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is not there.
    Missing,
    /// It has another size than the file that was committed.
    Resized {
        /// The size that it has.
        bytes: u64,
        /// The size that was committed.
        expected: u64,
    },
    /// It cannot be decoded.
    Corrupt(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Missing => f.write_str("is missing"),
            Fault::Resized { bytes, expected } => write!(f, "has {bytes} bytes instead of {expected}"),
            Fault::Corrupt(why) => write!(f, "cannot be decoded ({why})"),
        }
    }
}

/// What of a table cannot be read at present.
#[derive(Debug, Clone, Default)]
pub struct Damage {
    /// Files by path.
    pub files: BTreeMap<Path, Fault>,
    /// Entries of the log, and what is wrong with each.
    pub log_entries: Vec<(Path, String)>,
}

/// The damaged files of one table that are known.
#[derive(Debug, Default)]
pub(crate) struct DamagedFiles {
    known: RwLock<BTreeMap<Path, Finding>>,
    /// Looking into files is work: one at a time.
    at_work: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone)]
struct Finding {
    fault: Fault,
    /// When the file was changed last: what was put back is looked into again.
    modified: Option<DateTime<Utc>>,
}

impl Finding {
    fn missing() -> Self {
        Self {
            fault: Fault::Missing,
            modified: None,
        }
    }

    fn of(fault: Fault, meta: &ObjectMeta) -> Self {
        Self {
            fault,
            modified: Some(meta.last_modified),
        }
    }

    /// What the size alone says.
    fn by_size(file: &DataFile, meta: &ObjectMeta) -> Option<Self> {
        let fault = Fault::Resized {
            bytes: meta.size,
            expected: file.size,
        };
        (meta.size != file.size).then(|| Self::of(fault, meta))
    }
}

impl Table {
    /// What of the table cannot be read at present.
    pub(crate) fn damage(&self) -> Damage {
        let known = self.damaged.known.read();
        let faults = known.iter();
        Damage {
            files: faults
                .map(|(path, finding)| (path.clone(), finding.fault.clone()))
                .collect(),
            log_entries: self.salvage.damaged_entries(),
        }
    }

    /// Looks into files that could not be read; true if who reads the table anew meets less
    /// damage, because a file is known to be damaged now or is no longer in the table.
    pub(crate) async fn inspect(&self, paths: &[Path]) -> Result<bool, StoreError> {
        let _turn = self.damaged.at_work.lock().await;
        if paths
            .iter()
            .any(|path| self.damaged.known.read().contains_key(path))
        {
            return Ok(true);
        }
        for file in self.files().iter().filter(|file| paths.contains(&file.path)) {
            let Some(finding) = self.look_into(file).await else {
                continue;
            };
            // Another aggregator may have replaced it, and deleted it a while ago.
            self.refresh().await?;
            if self.files().iter().any(|one| one.path == file.path) {
                let is_alone = matches!(finding.fault, Fault::Corrupt(_));
                self.note_damaged(file, finding);
                if !is_alone {
                    self.survey_files().await?;
                }
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// Compares the files with what is there, and looks again into what was changed since it
    /// was found damaged.
    pub(crate) async fn survey(&self) -> Result<(), StoreError> {
        if self.salvage.is_mended().await {
            self.reload().await?;
        }
        let _turn = self.damaged.at_work.lock().await;
        self.survey_files().await
    }

    async fn survey_files(&self) -> Result<(), StoreError> {
        let (signal, directory) = (self.signal, self.directory());
        let known = self.files();
        let listed: Vec<ObjectMeta> = directory
            .objects
            .list(Some(&directory.path))
            .try_collect()
            .await
            .map_err(|source| StoreError::Sweep { signal, source })?;
        let listed: HashMap<&Path, &ObjectMeta> = listed.iter().map(|meta| (&meta.location, meta)).collect();
        self.refresh().await?;
        let current: HashSet<Path> = self.files().iter().map(|file| file.path.clone()).collect();
        let before = std::mem::take(&mut *self.damaged.known.write());
        for file in known.iter().filter(|file| current.contains(&file.path)) {
            let finding = match (listed.get(&file.path), before.get(&file.path)) {
                (None, _) => Some(Finding::missing()),
                (Some(meta), None) => Finding::by_size(file, meta),
                (Some(meta), Some(finding)) if finding.modified == Some(meta.last_modified) => {
                    Some(finding.clone())
                }
                (Some(_), Some(_)) => self.look_into(file).await,
            };
            match finding {
                Some(finding) if before.contains_key(&file.path) => {
                    self.damaged.known.write().insert(file.path.clone(), finding);
                }
                Some(finding) => self.note_damaged(file, finding),
                None => {}
            }
        }
        Ok(())
    }

    fn note_damaged(&self, file: &DataFile, finding: Finding) {
        let (path, fault, rows) = (&file.path, &finding.fault, file.rows);
        tracing::error!(signal = %self.signal, %path, %fault, rows, "a data file is damaged: answers and merges leave it out until a copy of it is put back");
        self.damaged.known.write().insert(path.clone(), finding);
    }

    /// What is wrong with a file; nothing if it is whole, or the store does not say.
    async fn look_into(&self, file: &Arc<DataFile>) -> Option<Finding> {
        let meta = match self.directory().objects.head(&file.path).await {
            Ok(meta) => meta,
            Err(object_store::Error::NotFound { .. }) => return Some(Finding::missing()),
            Err(_) => return None,
        };
        if let Some(finding) = Finding::by_size(file, &meta) {
            return Some(finding);
        }
        let error = compaction::decode(self.directory(), file).await.err()?;
        if is_of_the_store(&error) {
            return None;
        }
        let why = match &error {
            StoreError::Read { source, .. } => source.to_string(),
            error => meridian_runtime::chain(error),
        };
        Some(Finding::of(Fault::Corrupt(why), &meta))
    }
}

/// Whether a file was not read because the bucket could not be used: it says nothing about it.
fn is_of_the_store(error: &StoreError) -> bool {
    use object_store::Error;
    let StoreError::Read {
        source: ParquetError::External(source),
        ..
    } = error
    else {
        return false;
    };
    match source.downcast_ref::<Error>() {
        Some(Error::Unauthenticated { .. } | Error::PermissionDenied { .. }) => true,
        Some(Error::Generic { store, .. }) => *store == "S3",
        _ => false,
    }
}

impl Store {
    /// Looks into files that a question could not read; true if it should be asked again.
    pub async fn inspect(&self, paths: &[Path]) -> bool {
        let mut is_better = false;
        let mut here = HashSet::new();
        for table in self.tables() {
            here.extend(table.files().iter().map(|file| file.path.clone()));
            match table.inspect(paths).await {
                Ok(found) => is_better |= found,
                Err(error) => {
                    let reason = meridian_runtime::chain(&error);
                    tracing::warn!(signal = %table.signal, reason, "a file that cannot be read was not looked into");
                }
            }
            self.count_damage(table);
        }
        is_better || paths.iter().any(|path| !here.contains(path))
    }

    /// Compares one table with what is there of it.
    pub(crate) async fn survey(&self, signal: Signal) -> Result<(), StoreError> {
        let Some(table) = self.table(signal) else {
            return Ok(());
        };
        let surveyed = table.survey().await;
        self.count_damage(table);
        surveyed
    }

    fn count_damage(&self, table: &Table) {
        let damage = table.damage();
        let checkpoints = table.salvage.damaged_checkpoints().len();
        let entries = damage.log_entries.len() + checkpoints;
        self.0.metrics.damaged(table.signal, damage.files.len(), entries);
    }
}
