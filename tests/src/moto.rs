//! moto's server: AWS as somebody else plays it, with an account whose only user may do what the
//! policies in `deploy/iam` allow. It checks signatures and actions, and hardly a limit: the
//! stand-in does that.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::lab::Lab;
use crate::peers;
use crate::ports::free_address;
use crate::process::Process;
use crate::wait::eventually;

const READY_WITHIN: Duration = Duration::from_secs(60);
const ASKED_WITHIN: Duration = Duration::from_secs(60);
const SCRIPT: &str = "moto_account.py";

/// The region of everything.
pub const REGION: &str = "eu-central-1";

/// A running server.
pub struct Moto {
    python: PathBuf,
    address: SocketAddr,
    /// Of the authority that vouches for the server, if it speaks TLS.
    authority: Option<PathBuf>,
    key: Key,
    _process: Process,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Key {
    access_key_id: String,
    secret_access_key: String,
}

impl Moto {
    /// Starts moto, with the policies of these exporters; `None` if it was left out.
    pub async fn start(lab: &Lab, policies: &[&str]) -> Result<Option<Self>> {
        Self::start_as(lab, policies, false).await
    }

    /// The same over TLS, by an authority of its own.
    pub async fn start_tls(lab: &Lab, policies: &[&str]) -> Result<Option<Self>> {
        Self::start_as(lab, policies, true).await
    }

    async fn start_as(lab: &Lab, policies: &[&str], is_tls: bool) -> Result<Option<Self>> {
        let Some(python) = peers::find("moto")? else {
            return Ok(None);
        };
        let address = free_address();
        let mut command = Command::new(&python);
        command
            .args(["-B", "-m", "moto.server", "-H", "127.0.0.1", "-p"])
            .arg(address.port().to_string());
        let mut authority = None;
        if is_tls {
            let folder = lab.path("certificates");
            let mut certificate = peers::script_of(&python, "certificate.py");
            peers::run(lab, "certificate", certificate.arg(&folder), ASKED_WITHIN).await?;
            let [certificate, key] = ["server.pem", "server.key"].map(|name| folder.join(name));
            command.arg("-c").arg(certificate).arg("-k").arg(key);
            authority = Some(folder.join("authority.pem"));
        }
        let process = Process::start("moto", &mut command, &lab.path("moto.log"))?;
        eventually(READY_WITHIN, "moto listens", || async {
            Ok(TcpStream::connect(address).await?)
        })
        .await?;
        let mut moto = Self {
            python,
            address,
            authority,
            key: Key::default(),
            _process: process,
        };
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/iam");
        let policies: Vec<String> = policies
            .iter()
            .map(|name| folder.join(format!("{name}.json")).display().to_string())
            .collect();
        moto.key = serde_json::from_value(moto.ask(lab, "prepare", &policies).await?)?;
        Ok(Some(moto))
    }

    /// What is an exporter's `endpoint_url`.
    pub fn url(&self) -> String {
        match self.authority {
            Some(_) => format!("https://localhost:{}", self.address.port()),
            None => format!("http://{}", self.address),
        }
    }

    /// What an AWS client reads from its environment to be the user of the account.
    pub fn environment(&self) -> Vec<(String, String)> {
        let pairs = [
            ("AWS_ACCESS_KEY_ID", &self.key.access_key_id),
            ("AWS_SECRET_ACCESS_KEY", &self.key.secret_access_key),
        ];
        let pairs = pairs.into_iter();
        pairs
            .map(|(name, value)| (name.to_owned(), value.clone()))
            .chain(self.trust("SSL_CERT_FILE"))
            .collect()
    }

    fn trust(&self, name: &str) -> Option<(String, String)> {
        let authority = self.authority.as_ref()?;
        Some((name.to_owned(), authority.display().to_string()))
    }

    /// Everything that AWS's API tells of what was sent.
    pub async fn read(&self, lab: &Lab) -> Result<Value> {
        self.ask(lab, "read", &[]).await
    }

    async fn ask(&self, lab: &Lab, what: &str, arguments: &[String]) -> Result<Value> {
        let mut command = peers::script_of(&self.python, SCRIPT);
        command.arg(what).arg(self.url()).args(arguments);
        command
            .envs(self.trust("SSL_CERT_FILE"))
            .envs(self.trust("AWS_CA_BUNDLE"));
        let name = format!("moto-{what}");
        let printed = peers::run(lab, &name, &mut command, ASKED_WITHIN).await?;
        Ok(serde_json::from_str(
            printed.lines().last().context("an answer")?,
        )?)
    }
}
