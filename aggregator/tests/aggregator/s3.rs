//! The same tables in a bucket: two writers on one log decide by conditional puts. Needs
//! MinIO, and says so where it is not installed.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use meridian_proto::signal::Signal;
use tempfile::TempDir;
use url::Url;

use super::rows::{agent, count, incoming, open};

const MINIO: &str = "/root/go/bin/minio";
const BUCKET: &str = "meridian";

/// MinIO as a child process, ended when dropped.
struct Minio {
    process: Child,
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

async fn minio(port: u16) -> Minio {
    let data = tempfile::tempdir().expect("a directory");
    // A directory at the top is a bucket.
    std::fs::create_dir(data.path().join(BUCKET)).expect("a bucket");
    let process = Command::new(MINIO)
        .args(["server", "--address", &format!("127.0.0.1:{port}")])
        .arg(data.path())
        .envs([
            ("MINIO_ROOT_USER", "meridian"),
            ("MINIO_ROOT_PASSWORD", "meridian-secret"),
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let minio = Minio { process, _data: data };
    let deadline = Instant::now() + Duration::from_secs(60);
    while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        assert!(Instant::now() < deadline, "MinIO does not listen");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    minio
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_aggregators_share_a_bucket() {
    // The settings come from the environment, as in production; a test may not change its
    // own, so that it runs only where they point to this address.
    let endpoint = meridian_runtime::config::environment("AWS_ENDPOINT_URL");
    let port = endpoint.and_then(|url| url.rsplit(':').next().and_then(|port| port.parse().ok()));
    let (true, Some(port)) = (Path::new(MINIO).exists(), port) else {
        eprintln!("skipped: needs {MINIO} and AWS_ENDPOINT_URL=http://127.0.0.1:PORT with its credentials");
        return;
    };
    let _minio = minio(port).await;
    let url = Url::parse(&format!("s3://{BUCKET}/tables/of/test")).expect("a constant URL");
    let (first, second) = (open(&url).await, open(&url).await);
    for round in 0..4_u64 {
        let from = round * 3 + 1;
        for store in [&first, &second] {
            store.offer(Signal::Spans, &incoming(Signal::Spans, agent(1), from..=from + 2));
        }
        let (left, right) = tokio::join!(first.commit_all(), second.commit_all());
        left.expect("a conflict is resolved");
        right.expect("a conflict is resolved");
    }
    assert_eq!(count(&open(&url).await, Signal::Spans), (24, 0));
}
