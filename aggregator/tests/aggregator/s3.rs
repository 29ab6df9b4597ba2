//! The same tables in a bucket: two writers on one log decide by conditional puts. Needs
//! MinIO, and says so where it is not installed.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use meridian_aggregator::store::{Store, StoreMetrics};
use meridian_proto::signal::Signal;
use meridian_runtime::clock::Clock;
use meridian_runtime::config::environment;
use meridian_runtime::metrics::Registry;
use object_store::aws::AmazonS3Builder;
use tempfile::TempDir;
use url::Url;

use super::rows::{agent, count, incoming, store_config};

const BUCKET: &str = "meridian";
const USER: &str = "meridian";
const PASSWORD: &str = "meridian-secret";

/// Where scripts/peers.py puts it.
fn installed() -> Option<PathBuf> {
    let under_home = || Some(Path::new(&environment("HOME")?).join(".cache/meridian"));
    let cache = environment("MERIDIAN_CACHE")
        .map(PathBuf::from)
        .or_else(under_home);
    let folder = environment("MERIDIAN_GOBIN").map(PathBuf::from);
    let path = folder.or_else(|| Some(cache?.join("gobin")))?.join("minio");
    path.exists().then_some(path)
}

/// MinIO as a child process, ended when dropped.
struct Minio {
    process: Child,
    endpoint: String,
    _data: TempDir,
}

impl Drop for Minio {
    fn drop(&mut self) {
        self.process
            .kill()
            .and_then(|()| self.process.wait())
            .expect("it ends");
    }
}

async fn minio(binary: &Path) -> Minio {
    let data = tempfile::tempdir().expect("a directory");
    // A directory at the top is a bucket.
    std::fs::create_dir(data.path().join(BUCKET)).expect("a bucket");
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let address = port.expect("a free port").to_string();
    let process = Command::new(binary)
        .args(["server", "--address", &address])
        .arg(data.path())
        .envs([("MINIO_ROOT_USER", USER), ("MINIO_ROOT_PASSWORD", PASSWORD)])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let minio = Minio {
        process,
        endpoint: format!("http://{address}"),
        _data: data,
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while tokio::net::TcpStream::connect(&address).await.is_err() {
        assert!(Instant::now() < deadline, "MinIO does not listen");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    minio
}

impl Minio {
    async fn open(&self, url: &Url) -> Store {
        let bucket = AmazonS3Builder::new()
            .with_bucket_name(BUCKET)
            .with_endpoint(&self.endpoint)
            .with_allow_http(true)
            .with_region("eu-central-1")
            .with_access_key_id(USER)
            .with_secret_access_key(PASSWORD)
            .build()
            .expect("complete");
        let metrics = StoreMetrics::new(&Registry::new()).expect("a registry of its own");
        Store::open_on(Arc::new(bucket), &store_config(url), Clock::system(), metrics)
            .await
            .expect("the store opens")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_aggregators_share_a_bucket() {
    let Some(binary) = installed() else {
        eprintln!("left out: MinIO is not installed; scripts/peers.py test installs it");
        return;
    };
    let minio = minio(&binary).await;
    let url = Url::parse(&format!("s3://{BUCKET}/tables/of/test")).expect("a constant URL");
    let (first, second) = (minio.open(&url).await, minio.open(&url).await);
    for round in 0..4_u64 {
        let from = round * 3 + 1;
        for store in [&first, &second] {
            store.offer(Signal::Spans, &incoming(Signal::Spans, agent(1), from..=from + 2));
        }
        let (left, right) = tokio::join!(first.commit_all(), second.commit_all());
        left.expect("a conflict is resolved");
        right.expect("a conflict is resolved");
    }
    assert_eq!(count(&minio.open(&url).await, Signal::Spans), (24, 0));
}
