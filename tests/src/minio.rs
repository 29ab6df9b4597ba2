//! MinIO with an empty bucket: a server that speaks S3 and is not ours. It does no faults;
//! `s3_proxy` does.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::lab::Lab;
use crate::peers;
use crate::ports::free_address;
use crate::process::Process;
use crate::wait::eventually;

const READY_WITHIN: Duration = Duration::from_secs(60);

/// The name of the bucket.
pub const BUCKET: &str = "meridian";
/// The region that its signatures name.
pub const REGION: &str = "eu-central-1";
/// The root user, and its password.
pub const KEY: &str = "meridian-test";

/// A running server.
pub struct Minio {
    process: Process,
    address: SocketAddr,
}

impl Minio {
    /// Starts MinIO; `None` if it was left out.
    pub async fn start(lab: &Lab) -> Result<Option<Self>> {
        let Some(minio) = peers::find("minio")? else {
            return Ok(None);
        };
        let address = free_address();
        // A folder of the data folder is a bucket.
        std::fs::create_dir_all(lab.path("minio").join(BUCKET))?;
        let mut command = Command::new(minio);
        command
            .arg("server")
            .arg("--address")
            .arg(address.to_string())
            .arg(lab.path("minio"))
            .env("MINIO_ROOT_USER", KEY)
            .env("MINIO_ROOT_PASSWORD", KEY);
        let process = Process::start("minio", &mut command, &lab.path("minio.log"))?;
        let url = format!("http://{address}/minio/health/live");
        eventually(READY_WITHIN, "MinIO answers", || async {
            reqwest::get(&url).await?.error_for_status()?;
            Ok(())
        })
        .await?;
        Ok(Some(Self { process, address }))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// What an AWS client reads from its environment to use the server.
    pub fn environment(&self) -> Vec<(String, String)> {
        environment_of(self.address)
    }

    /// The URL of tables in the bucket.
    pub fn store_url() -> String {
        format!("s3://{BUCKET}/tables")
    }
}

/// The same with another address, such as a proxy's.
pub fn environment_of(address: SocketAddr) -> Vec<(String, String)> {
    let mut pairs = endpoint_of(address);
    pairs.extend(keys());
    pairs
}

/// Without credentials.
pub fn endpoint_of(address: SocketAddr) -> Vec<(String, String)> {
    owned(&[
        ("AWS_ENDPOINT_URL", &format!("http://{address}")),
        // Readers that are not ours want to be told.
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", REGION),
    ])
}

fn keys() -> Vec<(String, String)> {
    owned(&[("AWS_ACCESS_KEY_ID", KEY), ("AWS_SECRET_ACCESS_KEY", KEY)])
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}
