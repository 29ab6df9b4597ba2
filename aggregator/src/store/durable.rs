//! A local directory whose acknowledged writes survive a loss of power. `object_store`'s own
//! directory leaves its files to the page cache: a commit that agents were told of could
//! vanish, and a log entry could come back torn. What is read, listed or deleted is its
//! business all the same, and so is which names a directory can have.
//!
//! ```text
//! put:  write a temporary file beside the target ─► fsync it ─► fsync what leads to the
//!       directory ─► link (create) or rename (overwrite) ─► fsync the directory
//! ```

mod files;
mod sweep;

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::stream::BoxStream;
use meridian_runtime::tasks;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

use files::{Files, Publish, RealDisk, Staged};

/// The file system, rooted at `/`; what is written through it is on the disk when it is
/// acknowledged.
#[derive(Debug)]
pub struct Durable {
    inner: LocalFileSystem,
    files: Arc<Files>,
}

impl Durable {
    /// `base` is a directory that is on the disk already; what is made below it will be.
    pub fn new(base: PathBuf) -> Self {
        Self::on(Files::new(base, Box::new(RealDisk)))
    }

    fn on(files: Files) -> Self {
        Self {
            inner: LocalFileSystem::new(),
            files: Arc::new(files),
        }
    }

    /// After a link or rename that `object_store` made.
    async fn settle(&self, location: &Path) -> Result<()> {
        let target = self.inner.path_to_filesystem(location)?;
        let files = Arc::clone(&self.files);
        blocking(move || files.settle(&target)).await
    }
}

/// Makes a directory and what leads to it, and all of it durable.
pub(super) fn make_directory(path: &std::path::Path) -> std::io::Result<()> {
    files::make_directory(path, &RealDisk)
}

/// Removes what a killed process left half written in a directory, before this time since the
/// epoch; says how many files.
pub(super) fn sweep(directory: &std::path::Path, before: std::time::Duration) -> std::io::Result<u64> {
    sweep::sweep(directory, before)
}

impl fmt::Display for Durable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Durable({})", self.inner)
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tasks::blocking("write a file", work)
        .await
        .unwrap_or_else(|error| Err(files::generic(error)))
}

#[async_trait]
impl ObjectStore for Durable {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let publish = match &opts.mode {
            PutMode::Create => Publish::Link,
            PutMode::Overwrite => Publish::Rename,
            // It has no such mode, and says so.
            PutMode::Update(_) => return self.inner.put_opts(location, payload, opts).await,
        };
        let target = self.inner.path_to_filesystem(location)?;
        let files = Arc::clone(&self.files);
        blocking(move || {
            let staged = Staged::create(files, target)?;
            let mut offset = 0;
            for bytes in &payload {
                staged.write(bytes, offset)?;
                offset += bytes.len() as u64;
            }
            staged.publish(publish)
        })
        .await?;
        Ok(written())
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let target = self.inner.path_to_filesystem(location)?;
        let files = Arc::clone(&self.files);
        let staged = blocking(move || Staged::create(files, target)).await?;
        Ok(Box::new(Upload {
            staged: Some(Arc::new(staged)),
            offset: 0,
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await?;
        self.settle(to).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await?;
        self.settle(to).await
    }
}

fn written() -> PutResult {
    PutResult {
        e_tag: None,
        version: None,
    }
}

/// A large object, written in parts; it appears when it is complete.
#[derive(Debug)]
struct Upload {
    staged: Option<Arc<Staged>>,
    offset: u64,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let Some(staged) = self.staged.clone() else {
            return std::future::ready(Err(files::ended())).boxed();
        };
        let mut offset = self.offset;
        self.offset += data.content_length() as u64;
        blocking(move || {
            for bytes in &data {
                staged.write(bytes, offset)?;
                offset += bytes.len() as u64;
            }
            Ok(())
        })
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let staged = self.staged.take().ok_or_else(files::ended)?;
        blocking(move || staged.publish(Publish::Rename)).await?;
        Ok(written())
    }

    async fn abort(&mut self) -> Result<()> {
        let staged = self.staged.take().ok_or_else(files::ended)?;
        blocking(move || {
            drop(staged);
            Ok(())
        })
        .await
    }
}

#[cfg(test)]
mod tests;
