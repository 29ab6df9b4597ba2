//! The questions, in our SQL and in DuckDB's nearest equivalent. Nothing is asked here but
//! which traces there are.

use anyhow::{Context, Result};

use crate::answers::Answers;
use crate::bench::content::ITEMS;
use crate::bench::random::Random;
use crate::bench::stored::Stored;
use crate::bench::world::REGIONS;

/// A trace by its id.
pub const TRACE: &str = "a trace by id";
/// Count, error rate and p99 by service over one hour.
pub const BY_SERVICE: &str = "count, errors, p99 by service, 1 h";

/// Each trace is asked for so often.
const PER_TRACE: usize = 3;
const HOUR_NANOS: u64 = 3_600_000_000_000;

/// A question to both.
pub struct Question {
    /// For people.
    pub name: &'static str,
    /// Statements, or `GET` and a path.
    pub ours: Vec<String>,
    /// The same for DuckDB.
    pub duckdb: Vec<String>,
    /// How often each is asked.
    pub repeat: usize,
}

impl Question {
    fn new(name: &'static str, ours: String, duckdb: String) -> Self {
        Self {
            name,
            ours: vec![ours],
            duckdb: vec![duckdb],
            repeat: 1,
        }
    }

    /// Both speak the same SQL but for the approximate percentile.
    fn alike(name: &'static str, sql: &str) -> Self {
        let duckdb = sql.replace("quantile(", "approx_quantile(");
        Self::new(name, sql.to_owned(), duckdb)
    }
}

/// Ids of traces from all over the store.
pub async fn trace_ids(answers: &Answers, stored: &Stored, count: usize) -> Result<Vec<String>> {
    let mut random = Random::new();
    let span = stored.until_unix_nanos - stored.from_unix_nanos;
    // Every region's requests come at equal intervals, which are long in a store in miniature: a
    // time of two of them has a request wherever it lies.
    let interval = span * u64::from(ITEMS) * REGIONS.len() as u64 / stored.spans.max(1);
    let width = (span / 100).max(2 * interval).min(span);
    let mut ids = Vec::new();
    for _ in 0..count {
        let from = stored.from_unix_nanos + random.below((span - width).max(1));
        let sql = format!(
            "SELECT trace_id FROM spans WHERE {} LIMIT 1",
            between("start_time", from, from + width)
        );
        let rows = answers.rows(&sql).await?;
        let id = rows.first().and_then(|row| row["trace_id"].as_str());
        ids.push(
            id.with_context(|| format!("no trace was found: {sql}"))?
                .to_owned(),
        );
    }
    Ok(ids)
}

/// All these traces.
pub fn trace_question(ids: &[String]) -> Question {
    let duckdb = |id: &String| format!("SELECT * FROM spans WHERE trace_id = unhex('{id}')");
    Question {
        name: TRACE,
        ours: ids.iter().map(|id| format!("GET /api/v1/traces/{id}")).collect(),
        duckdb: ids.iter().map(duckdb).collect(),
        repeat: PER_TRACE,
    }
}

/// The others, each to be asked so often.
pub fn questions(stored: &Stored, repeat: usize) -> Vec<Question> {
    let end = stored.until_unix_nanos - HOUR_NANOS;
    let hour = between("start_time", end - HOUR_NANOS, end);
    let log_hour = between("time", end - HOUR_NANOS, end);
    let grouped = |group: &str, filter: &str| {
        format!(
            "SELECT {group}, count(*) AS spans, \
             sum(CASE WHEN status_code = 'ERROR' THEN 1 ELSE 0 END) * 1.0 / count(*) AS errors, \
             quantile(duration_ns, 0.99) AS p99 \
             FROM spans WHERE {filter} GROUP BY {group} ORDER BY {group}"
        )
    };
    let minutes = format!(
        "SELECT region, date_trunc('minute', start_time) AS minute, count(*) AS spans \
         FROM spans WHERE {hour} GROUP BY region, minute ORDER BY region, minute"
    );
    let slowest = format!(
        "SELECT service_name, name, duration_ns, trace_id FROM spans \
         WHERE {hour} AND service_name = 'payments' ORDER BY duration_ns DESC LIMIT 20"
    );
    let attribute =
        |map: &str| format!("SELECT count(*) AS spans FROM spans WHERE {hour} AND {map} = 'user-424242'");
    let mut questions = vec![
        Question::alike(BY_SERVICE, &grouped("service_name", &hour)),
        Question::alike("the same over all six hours", &grouped("service_name", "true")),
        Question::alike("the same by route, 1 h", &grouped("http_route", &hour)),
        Question::alike("spans per minute and region, 1 h", &minutes),
        Question::alike("slowest 20 of a service, 1 h", &slowest),
        Question::alike("one attribute's value, 1 h", &attribute("attributes['user.id']")),
        Question::alike(
            "text in logs, 1 h",
            &format!("SELECT count(*) AS lines FROM logs WHERE {log_hour} AND body LIKE '%user-42424%'"),
        ),
    ];
    for question in &mut questions {
        question.repeat = repeat;
    }
    questions
}

fn between(column: &str, from_unix_nanos: u64, until_unix_nanos: u64) -> String {
    let time = |nanos| rfc3339(nanos).unwrap_or_default();
    format!(
        "{column} >= TIMESTAMP '{}' AND {column} < TIMESTAMP '{}'",
        time(from_unix_nanos),
        time(until_unix_nanos)
    )
}

/// A time in UTC with microseconds, as both read it.
fn rfc3339(unix_nanos: u64) -> Result<String> {
    let (days, rest) = (unix_nanos / (24 * HOUR_NANOS), unix_nanos % (24 * HOUR_NANOS));
    let (year, month, day) = date(days).context("a date")?;
    let (seconds, micros) = (rest / 1_000_000_000, rest / 1000 % 1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    Ok(format!(
        "{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06}"
    ))
}

/// The date of a day since 1970.
fn date(mut days: u64) -> Option<(u64, u64, u64)> {
    for year in 1970..3000 {
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        for (month, length) in (1..).zip([
            31,
            if is_leap { 29 } else { 28 },
            31,
            30,
            31,
            30,
            31,
            31,
            30,
            31,
            30,
            31,
        ]) {
            if days < length {
                return Some((year, month, days + 1));
            }
            days -= length;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_dates() {
        let text = |nanos| rfc3339(nanos).expect("a date");
        assert_eq!(text(0), "1970-01-01 00:00:00.000000");
        assert_eq!(text(951_827_696_789_012_000), "2000-02-29 12:34:56.789012");
        assert_eq!(text(1_795_478_399_999_999_999), "2026-11-23 23:59:59.999999");
    }
}
