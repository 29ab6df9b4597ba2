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
        let Some(python) = peers::find("moto")? else {
            return Ok(None);
        };
        let address = free_address();
        let mut command = Command::new(&python);
        command
            .args(["-B", "-m", "moto.server", "-H", "127.0.0.1", "-p"])
            .arg(address.port().to_string());
        let process = Process::start("moto", &mut command, &lab.path("moto.log"))?;
        let url = format!("http://{address}/moto-api/data.json");
        eventually(READY_WITHIN, "moto answers", || async {
            reqwest::get(&url).await?.error_for_status()?;
            Ok(())
        })
        .await?;
        let mut moto = Self {
            python,
            address,
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
        format!("http://{}", self.address)
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
            .collect()
    }

    /// Everything that AWS's API tells of what was sent.
    pub async fn read(&self, lab: &Lab) -> Result<Value> {
        self.ask(lab, "read", &[]).await
    }

    async fn ask(&self, lab: &Lab, what: &str, arguments: &[String]) -> Result<Value> {
        let mut command = peers::script_of(&self.python, SCRIPT);
        command.arg(what).arg(self.url()).args(arguments);
        let name = format!("moto-{what}");
        let printed = peers::run(lab, &name, &mut command, ASKED_WITHIN).await?;
        Ok(serde_json::from_str(
            printed.lines().last().context("an answer")?,
        )?)
    }
}
