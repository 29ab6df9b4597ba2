//! Where a store is: a directory, or a bucket and a prefix, as an object store that is rooted
//! at the file system's or the bucket's root. It knows nothing of what is stored there.
//!
//! deltalake-core brings no S3 of its own. It needs none: a commit is a put that fails if the
//! object exists, which `object_store` does with conditional puts on S3 and links on disk.

use std::path::PathBuf;
use std::sync::Arc;

use deltalake_core::logstore::{LogStoreRef, StorageConfig, default_logstore};
use object_store::ObjectStore;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use url::Url;

use super::bucket::{self, BucketError};
use super::durable::{self, Durable};
use super::salvage::Salvage;
use crate::config::StoreConfig;

/// A store's place that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    /// Neither a directory nor a bucket.
    #[error("store URL {url} is neither file:///directory nor s3://bucket/prefix")]
    Unsupported {
        /// As configured.
        url: String,
    },
    /// The directory cannot be made.
    #[error("cannot make the store's directory {}", path.display())]
    Directory {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The bucket's settings or credentials are incomplete.
    #[error("cannot use the bucket of {url}")]
    Bucket {
        /// As configured.
        url: String,
        /// Why.
        source: BucketError,
    },
}

/// A directory or a bucket's prefix.
#[derive(Debug, Clone)]
pub(crate) struct Location {
    url: Url,
    root: Arc<dyn ObjectStore>,
    root_url: Url,
    base: Path,
}

impl Location {
    /// Opens the place. A directory is made if it is not there; of a bucket nothing is asked.
    pub(crate) fn open(config: &StoreConfig) -> Result<Self, LocationError> {
        let url = &config.url;
        match url.scheme() {
            "file" => Self::open_directory(url),
            "s3" => Self::open_bucket(config),
            _ => Err(LocationError::Unsupported { url: url.to_string() }),
        }
    }

    fn open_directory(url: &Url) -> Result<Self, LocationError> {
        let unsupported = || LocationError::Unsupported { url: url.to_string() };
        let path = url.to_file_path().map_err(|()| unsupported())?;
        durable::make_directory(&path)
            .and_then(|()| path.canonicalize())
            .map_err(|source| LocationError::Directory { path, source })
            .and_then(|path| {
                Ok(Self {
                    url: Url::from_directory_path(&path).map_err(|()| unsupported())?,
                    root_url: Url::parse("file:///").map_err(|_| unsupported())?,
                    base: Path::from_absolute_path(&path).map_err(|_| unsupported())?,
                    root: Arc::new(Durable::new(path)),
                })
            })
    }

    fn open_bucket(config: &StoreConfig) -> Result<Self, LocationError> {
        let url = &config.url;
        let unsupported = || LocationError::Unsupported { url: url.to_string() };
        let name = url.host_str().ok_or_else(unsupported)?;
        let root = bucket::open(name, &config.s3).map_err(|source| LocationError::Bucket {
            url: url.to_string(),
            source,
        })?;
        Self::on(url, root)
    }

    /// The same place, reached through an object store of the caller's.
    pub(crate) fn on(url: &Url, root: Arc<dyn ObjectStore>) -> Result<Self, LocationError> {
        let unsupported = || LocationError::Unsupported { url: url.to_string() };
        let mut root_url = url.clone();
        root_url.set_path(if url.scheme() == "file" { "/" } else { "" });
        let base = Path::from_url_path(url.path()).map_err(|_| unsupported())?;
        let mut directory = url.clone();
        directory.set_path(&format!("/{base}/"));
        Ok(Self {
            url: directory,
            root,
            root_url,
            base,
        })
    }

    /// Where it is.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// The object store at the root of the file system or bucket.
    pub(crate) fn root(&self) -> &Arc<dyn ObjectStore> {
        &self.root
    }

    /// The URL of [`Location::root`].
    pub(crate) fn root_url(&self) -> &Url {
        &self.root_url
    }

    /// The full path of something in this place.
    pub(crate) fn path(&self, name: &str) -> Path {
        name.split('/')
            .fold(self.base.clone(), |path, part| path.join(part))
    }

    /// The log of a Delta table in this place, read around what is damaged of it.
    pub(crate) fn log_store(&self, table: &str) -> Result<(LogStoreRef, Arc<Salvage>), LocationError> {
        let url = self
            .url
            .join(&format!("{table}/"))
            .map_err(|_| LocationError::Unsupported {
                url: self.url.to_string(),
            })?;
        let salvage = Arc::new(Salvage::new(Arc::clone(&self.root), self.path(table)));
        let root: Arc<dyn ObjectStore> = Arc::clone(&salvage) as _;
        let prefixed = Arc::new(PrefixStore::new(Arc::clone(&root), self.path(table)));
        let log_store = default_logstore(prefixed, root, &url, &StorageConfig::default());
        Ok((log_store, salvage))
    }
}
