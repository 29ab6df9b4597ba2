//! A client of the aggregator's HTTP interface: SQL, traces, regions. It reads what the
//! documents promise and keeps no state.

use std::io::Cursor;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use serde_json::{Value, json};

use crate::wait::eventually;

/// Longer than any query of a test takes on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Asks one aggregator.
#[derive(Debug, Clone)]
pub struct Answers {
    address: SocketAddr,
    client: reqwest::Client,
}

/// A refusal: the HTTP status and the error's fields.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// For programs.
    pub code: String,
    /// For people: what is wrong, and what to do.
    pub message: String,
}

impl Answers {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            client: reqwest::Client::new(),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The whole answer to a GET.
    pub async fn get(&self, path: &str) -> Result<Value> {
        let response = self.client.get(self.url(path)).timeout(TIMEOUT).send().await?;
        let status = response.status();
        let text = response.text().await?;
        ensure!(status.is_success(), "GET {path}: {status}: {text}");
        serde_json::from_str(&text).with_context(|| format!("GET {path}: {text}"))
    }

    /// The whole answer to a statement.
    pub async fn sql(&self, sql: &str) -> Result<Value> {
        let response = self.post_sql(sql, "application/json").await?;
        let status = response.status();
        let text = response.text().await?;
        ensure!(status.is_success(), "{sql}: {status}: {text}");
        Ok(serde_json::from_str(&text)?)
    }

    /// The status and the body of whatever is said to a statement.
    pub async fn ask_raw(&self, sql: &str) -> Result<(u16, Value)> {
        let response = self.post_sql(sql, "application/json").await?;
        let status = response.status().as_u16();
        Ok((status, response.json().await?))
    }

    async fn post_sql(&self, sql: &str, accept: &str) -> Result<reqwest::Response> {
        let request = self.client.post(self.url("/api/v1/sql")).header("accept", accept);
        Ok(request
            .timeout(TIMEOUT)
            .json(&json!({ "sql": sql }))
            .send()
            .await?)
    }

    /// The rows of the answer to a statement.
    pub async fn rows(&self, sql: &str) -> Result<Vec<Value>> {
        let answer = self.sql(sql).await?;
        Ok(answer["data"]
            .as_array()
            .with_context(|| format!("no rows in {answer}"))?
            .clone())
    }

    /// The one number that a statement answers.
    pub async fn number(&self, sql: &str) -> Result<i64> {
        let rows = self.rows(sql).await?;
        let value = rows
            .first()
            .and_then(|row| row.as_object()?.values().next()?.as_i64());
        value.with_context(|| format!("{sql}: no number in {rows:?}"))
    }

    /// The answer to a statement as Arrow.
    pub async fn arrow(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        let response = self.post_sql(sql, "application/vnd.apache.arrow.stream").await?;
        let status = response.status();
        let bytes = response.bytes().await?;
        ensure!(
            status.is_success(),
            "{sql}: {status}: {}",
            String::from_utf8_lossy(&bytes)
        );
        let batches = StreamReader::try_new(Cursor::new(bytes), None)?;
        batches.map(|batch| Ok(batch?)).collect()
    }

    /// The refusal of a statement; fails if it was answered.
    pub async fn sql_refused(&self, sql: &str) -> Result<Refusal> {
        let response = self.post_sql(sql, "application/json").await?;
        let status = response.status().as_u16();
        let body: Value = response.json().await?;
        if status < 400 {
            bail!("{sql} was answered: {body}");
        }
        let text = |field: &str| body["error"][field].as_str().unwrap_or_default().to_owned();
        let message = format!("{} {}", text("message"), text("hint"));
        Ok(Refusal {
            status,
            code: text("code"),
            message,
        })
    }

    /// What the envelope of an answer says of one region.
    pub async fn region(&self, region: &str) -> Result<Value> {
        let answer = self.get("/api/v1/regions").await?;
        region_of(&answer, region).cloned()
    }

    /// Waits until a table has exactly so many rows; more is an error at once.
    pub async fn has_rows(&self, table: &str, count: u64, within: Duration) -> Result<()> {
        let count = i64::try_from(count)?;
        let sql = format!("SELECT count(*) AS n FROM {table}");
        let seen = eventually(within, &format!("{count} rows in {table}"), || async {
            let seen = self.number(&sql).await?;
            ensure!(seen >= count, "{seen} of {count} rows");
            Ok(seen)
        })
        .await?;
        ensure!(seen == count, "{seen} rows in {table}, {count} were accepted");
        Ok(())
    }
}

/// The entry of a region in an envelope.
pub fn region_of<'a>(answer: &'a Value, region: &str) -> Result<&'a Value> {
    let regions = answer["regions"]
        .as_array()
        .with_context(|| format!("no regions in {answer}"))?;
    let found = regions.iter().find(|entry| entry["region"] == region);
    found.with_context(|| format!("{region} is not listed in {answer}"))
}
