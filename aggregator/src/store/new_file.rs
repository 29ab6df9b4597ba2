//! Files that are in the object store and not yet in the log: where they go, how they are put
//! there, and the action that adds them. Whether they are committed is not known here.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use chrono::NaiveDate;
use deltalake_core::kernel::Add;
use meridian_proto::signal::Signal;
use meridian_runtime::clock::Clock;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload};
use tokio::time::Instant;
use uuid::Uuid;

use super::stats::FileStats;
use super::view::DataFile;

/// Parts of a large object; S3 wants at least 5 MiB.
const PART_BYTES: usize = 8 << 20;

/// Where the files of a table go.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    pub(crate) objects: Arc<dyn ObjectStore>,
    /// The table's directory as a path of the object store.
    pub(crate) path: Path,
    pub(crate) signal: Signal,
    pub(crate) clock: Clock,
}

/// A file that no version of the table knows yet.
#[derive(Debug)]
pub(crate) struct NewFile {
    pub(crate) add: Add,
    pub(crate) file: Arc<DataFile>,
    /// When it was there: after a while it may be taken for an orphan.
    pub(crate) written: Instant,
}

/// A name that no other writer gives.
#[derive(Debug, Clone)]
pub(crate) struct Name {
    relative: String,
    pub(crate) full: Path,
    date: NaiveDate,
    region: String,
}

impl Directory {
    pub(crate) fn name(&self, date: NaiveDate, region: &str) -> Name {
        let id = Uuid::new_v4();
        let relative = format!(
            "date={date}/region={}/part-{id}.zstd.parquet",
            directory_name(region)
        );
        let full = relative
            .split('/')
            .fold(self.path.clone(), |path, part| path.join(part));
        Name {
            relative,
            full,
            date,
            region: region.to_owned(),
        }
    }

    /// What the log will be told of a file that is written.
    pub(crate) fn new_file(&self, name: Name, bytes: usize, stats: &FileStats, data_change: bool) -> NewFile {
        let partition = [("date", name.date.to_string()), ("region", name.region.clone())];
        let partition_values: HashMap<_, _> = partition
            .map(|(column, value)| (column.to_owned(), Some(value)))
            .into();
        let add = Add {
            path: name.relative,
            partition_values,
            size: i64::try_from(bytes).unwrap_or(i64::MAX),
            modification_time: i64::try_from(self.clock.now_unix_nanos() / 1_000_000).unwrap_or(0),
            data_change,
            stats: Some(stats.to_json(self.signal)),
            ..Add::default()
        };
        let file = DataFile::with_stats(name.full, bytes as u64, name.date, name.region, stats.clone());
        NewFile {
            add,
            file: Arc::new(file),
            written: Instant::now(),
        }
    }

    /// Best effort: what stays behind is in no log, no reader sees it, and vacuum finds it.
    pub(crate) async fn remove<'a>(&self, files: impl IntoIterator<Item = &'a NewFile>) {
        for new in files {
            if let Err(error) = self.objects.delete(&new.file.path).await {
                tracing::debug!(path = %new.file.path, %error, "an orphaned file stays behind");
            }
        }
    }
}

/// A region as a directory. The log holds the true name; a directory is for people.
fn directory_name(region: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "-_.".contains(c) {
            c
        } else {
            '_'
        }
    };
    region.chars().map(plain).collect()
}

/// Collects what is written, so that it can be sent in parts.
#[derive(Debug, Default)]
pub(crate) struct Collected(Vec<u8>);

impl Collected {
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl Write for Collected {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An object that is sent while it is made. It has its name when [`Upload::finish`] succeeds.
#[derive(Debug)]
pub(crate) struct Upload {
    objects: Arc<dyn ObjectStore>,
    path: Path,
    parts: Option<Box<dyn MultipartUpload>>,
    bytes: usize,
}

impl Upload {
    pub(crate) fn new(objects: Arc<dyn ObjectStore>, path: Path) -> Self {
        Self {
            objects,
            path,
            parts: None,
            bytes: 0,
        }
    }

    /// Sends what is enough for a part.
    pub(crate) async fn take(&mut self, collected: &mut Collected) -> object_store::Result<()> {
        if collected.0.len() < PART_BYTES {
            return Ok(());
        }
        self.send(Bytes::from(std::mem::take(&mut collected.0))).await
    }

    async fn send(&mut self, bytes: Bytes) -> object_store::Result<()> {
        let parts = match &mut self.parts {
            Some(parts) => parts,
            None => self.parts.insert(self.objects.put_multipart(&self.path).await?),
        };
        self.bytes += bytes.len();
        parts.put_part(PutPayload::from_bytes(bytes)).await
    }

    /// Sends the rest, and says how many bytes the object has.
    pub(crate) async fn finish(mut self, rest: Collected) -> object_store::Result<usize> {
        let rest = Bytes::from(rest.0);
        if self.parts.is_none() {
            let bytes = rest.len();
            self.objects.put(&self.path, PutPayload::from_bytes(rest)).await?;
            return Ok(bytes);
        }
        if !rest.is_empty() {
            self.send(rest).await?;
        }
        if let Some(mut parts) = self.parts.take() {
            parts.complete().await?;
        }
        Ok(self.bytes)
    }

    /// Gives up what was sent.
    pub(crate) async fn abort(mut self) {
        if let Some(mut parts) = self.parts.take()
            && let Err(error) = parts.abort().await
        {
            tracing::debug!(path = %self.path, %error, "parts of an object that was given up stay behind");
        }
    }
}
