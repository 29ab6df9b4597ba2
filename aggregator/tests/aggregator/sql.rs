//! SQL over a fixed data set: the statements and named queries of `slt/`, and what a row
//! cannot show: scope, cuts, pruning, damaged files, limits.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::{Int16Type, TimestampMicrosecondType};
use meridian_aggregator::coverage::Window;
use meridian_aggregator::query::{
    Answer, Cap, Caps, Engine, Format, Limits, Lookup, Params, QueryError, Question, named,
};
use meridian_proto::signal::Signal;
use serde_json::Value;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};
use tempfile::TempDir;

use super::data::{Fixture, NOW_NANOS, TRACE_A, TRACE_B};

pub(super) fn engine_with(limits: Limits, change: impl FnOnce(Fixture) -> Fixture) -> (Engine, TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let fixture = change(Fixture::new(directory.path()));
    (
        Engine::over(Arc::new(fixture), limits).expect("an engine"),
        directory,
    )
}

fn engine() -> (Engine, TempDir) {
    engine_with(Limits::default(), |fixture| fixture)
}

pub(super) async fn ask(engine: &Engine, sql: &str) -> Result<Answer, QueryError> {
    engine.ask(Question::sql(sql, Params::new(), Format::Json)).await
}

async fn rows(engine: &Engine, sql: &str) -> Value {
    let answer = ask(engine, sql).await.expect(sql);
    serde_json::from_slice(&answer.rows.into_bytes()).expect("JSON")
}

/// `@name key=value …` asks a named query, anything else is a statement.
struct Tested(Engine);

impl Tested {
    fn question(&self, text: &str) -> Result<Question, QueryError> {
        let Some(call) = text.strip_prefix('@') else {
            return Ok(Question::sql(text, Params::new(), Format::Csv));
        };
        let mut words = call.split_whitespace();
        let name = words.next().expect("a name");
        let query = named::find(name).unwrap_or_else(|| panic!("no query {name}"));
        let given: BTreeMap<String, String> = words
            .map(|word| word.split_once('=').expect("key=value"))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let params = query.params(&given, NOW_NANOS)?;
        Ok(Question::sql(query.sql, params, Format::Csv))
    }
}

/// The fields of our own CSV; null and the empty string as sqllogictest shows them.
fn fields(csv: &str) -> Vec<Vec<String>> {
    let mut rows = vec![vec![String::new()]];
    let (mut quoted, mut was_quoted) = (false, false);
    for c in csv.chars() {
        let row = rows.last_mut().expect("a row");
        let field = row.last_mut().expect("a field");
        match c {
            '"' => (quoted, was_quoted) = (!quoted, true),
            ',' | '\r' if !quoted => {
                if field.is_empty() {
                    field.push_str(if was_quoted { "(empty)" } else { "NULL" });
                }
                was_quoted = false;
                match c {
                    ',' => row.push(String::new()),
                    _ => rows.push(vec![String::new()]),
                }
            }
            '\n' if !quoted => {}
            c => field.push(c),
        }
    }
    rows.pop();
    rows
}

#[async_trait::async_trait]
impl AsyncDB for Tested {
    type Error = QueryError;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, QueryError> {
        let answer = self.0.ask(self.question(sql)?).await?;
        let csv = String::from_utf8(answer.rows.into_bytes().to_vec()).expect("UTF-8");
        let rows = fields(&csv).split_off(1);
        let width = rows.first().map_or(1, Vec::len);
        Ok(DBOutput::Rows {
            types: vec![DefaultColumnType::Any; width],
            rows,
        })
    }

    async fn shutdown(&mut self) {}
}

#[tokio::test]
async fn every_statement_answers_as_written_down() {
    let (engine, _directory) = engine();
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/slt"));
    let mut files = 0;
    for entry in std::fs::read_dir(folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        let mut runner = Runner::new(|| {
            let tested = Tested(engine.clone());
            async move { Ok(tested) }
        });
        if let Err(fault) = runner.run_file_async(&path).await {
            panic!("{}", fault.display(false));
        }
        files += 1;
    }
    assert!(files >= 3, "only {files} files");
}

#[tokio::test]
async fn the_envelope_is_about_the_regions_and_the_time_of_the_question() {
    let (engine, _directory) = engine();
    let regions = async |sql: &str| -> Vec<String> {
        let report = ask(&engine, sql).await.expect(sql).report;
        report.regions.into_iter().map(|region| region.region).collect()
    };
    assert_eq!(regions("SELECT count(*) FROM spans").await, ["eu", "us", "ap"]);
    assert_eq!(
        regions("SELECT count(*) FROM spans WHERE region = 'eu'").await,
        ["eu"]
    );
    assert_eq!(
        regions("SELECT count(*) FROM spans WHERE region <> 'eu' AND duration_ns > 0").await,
        ["us", "ap"]
    );
    let sql = "SELECT count(*) FROM spans a, logs b WHERE a.region = 'eu' AND b.region = 'us'";
    assert_eq!(regions(sql).await, ["eu", "us"]);

    let warnings = async |sql: &str| ask(&engine, sql).await.expect(sql).report.warnings;
    let hour_ago = NOW_NANOS - 3_600_000_000_000;
    assert_eq!(
        warnings("SELECT count(*) FROM spans WHERE start_time >= now() - INTERVAL '1 hour'").await,
        [format!("window from {hour_ago}")]
    );
    assert!(warnings("SELECT count(*) FROM spans").await.is_empty());
    let nowhere = ask(&engine, "SELECT count(*) FROM spans WHERE region = 'mars'")
        .await
        .expect("an answer");
    assert_eq!(nowhere.report.status.as_str(), "unknown");
}

#[tokio::test]
async fn what_is_cut_says_so() {
    let limits = Limits {
        query_rows_max: 3,
        ..Limits::default()
    };
    let (engine, _directory) = engine_with(limits, |fixture| fixture.with_hot_spans(100));
    let cut = ask(&engine, "SELECT * FROM spans").await.expect("rows");
    assert_eq!(cut.rows.count(), 3);
    assert_eq!(
        cut.report.warnings,
        ["the answer is cut after 3 rows: there are more"]
    );
    let whole = ask(&engine, "SELECT * FROM spans LIMIT 3").await.expect("rows");
    assert!(whole.report.warnings.is_empty(), "{:?}", whole.report.warnings);
}

#[tokio::test]
async fn files_that_cannot_matter_are_not_opened_and_a_damaged_one_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let fixture = Fixture::new(directory.path());
    for file in fixture.files(Signal::Spans) {
        if file.region == "us" {
            let path = directory.path().join(file.path.as_ref());
            let bytes = usize::try_from(file.size).expect("small");
            std::fs::write(path, vec![b'x'; bytes]).expect("damaged");
        }
    }
    let engine = Engine::over(Arc::new(fixture), Limits::default()).expect("an engine");
    let failed = ask(&engine, "SELECT name FROM spans")
        .await
        .expect_err("a damaged file");
    assert_eq!(failed.code(), "data_file", "{failed}");
    assert!(failed.to_string().contains("spans-2.parquet"), "{failed}");
    for filter in [
        "region = 'eu'",
        "service_name = 'shop'",
        "start_time < now() - INTERVAL '1 day'",
        "date = '2026-11-21'",
        "region IN ('eu', 'ap') AND duration_ns > 5",
    ] {
        let sql = format!("SELECT name FROM spans WHERE {filter}");
        ask(&engine, &sql).await.expect(&sql);
    }
}

/// Writes over the first values of a file; its footer and its bloom filters stay as they are.
fn damage_rows(directory: &TempDir, path: &str) {
    let path = directory.path().join(path);
    let mut bytes = std::fs::read(&path).expect("a file");
    bytes[4..64].fill(b'x');
    std::fs::write(path, bytes).expect("damaged");
}

#[tokio::test]
async fn a_trace_is_found_without_a_look_into_files_that_do_not_have_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let fixture = Fixture::new(directory.path());
    let files = fixture.files(Signal::Spans);
    for file in files.iter().take(3) {
        damage_rows(&directory, file.path.as_ref());
    }
    let engine = Engine::over(Arc::new(fixture), Limits::default()).expect("an engine");
    let elsewhere = "0000000000000000000000000000000f";
    for filter in [
        format!("trace_id = '{elsewhere}'"),
        format!("trace_id IN ('{elsewhere}', '{TRACE_B}') AND duration_ns > 0"),
    ] {
        let sql = format!("SELECT name, cluster FROM spans WHERE {filter}");
        let found = rows(&engine, &sql).await;
        assert!(found.to_string().contains("GET /old"), "{found}");
    }
    let sql = format!("SELECT name, cluster FROM spans WHERE trace_id = '{TRACE_A}'");
    let failed = ask(&engine, &sql).await.expect_err("its rows are damaged");
    assert_eq!(failed.code(), "data_file", "{failed}");
    assert!(failed.to_string().contains("spans-"), "{failed}");
}

/// When the spans of a trace started, as a lookup finds them in `window`.
async fn starts(engine: &Engine, trace: &str, window: Window) -> Vec<u64> {
    let trace_id = meridian_proto::ids::from_hex(trace).expect("an id");
    let question = Question::trace(Lookup { trace_id, window }, engine.limits());
    let (batches, _memory) = engine.ask(question).await.expect("an answer").rows.into_batches();
    let mut starts = Vec::new();
    for batch in batches {
        let column = |name: &str| batch.column_by_name(name).expect("a column");
        let micros = column("start_time").as_primitive::<TimestampMicrosecondType>();
        let nanos = column("start_time_ns").as_primitive::<Int16Type>();
        let pairs = micros.values().iter().zip(nanos.values());
        starts.extend(
            pairs.map(|(micros, nanos)| {
                u64::try_from(*micros * 1000 + i64::from(*nanos)).expect("after 1970")
            }),
        );
    }
    starts
}

#[tokio::test]
async fn a_lookup_finds_the_spans_of_a_trace_in_order_and_in_its_window() {
    let (engine, _directory) = engine();
    let all = starts(&engine, TRACE_A, Window::default()).await;
    assert!(all.len() == 3 && all.is_sorted(), "{all:?}");
    let (from, to) = (Some(all[1]), Some(all[2]));
    let until = Window { from: None, to };
    assert_eq!(starts(&engine, TRACE_A, until).await, all[..2]);
    let since = Window { from, to: None };
    assert_eq!(starts(&engine, TRACE_A, since).await, all[1..]);
    let nobodys = "00000000000000000000000000000001";
    assert!(starts(&engine, nobodys, Window::default()).await.is_empty());
}

#[tokio::test]
async fn a_file_that_vanished_is_named_although_its_footer_is_known() {
    let (engine, directory) = engine();
    let sql = format!("SELECT name FROM spans WHERE trace_id = '{TRACE_A}'");
    ask(&engine, &sql).await.expect("all files are there");
    std::fs::remove_file(directory.path().join("spans-2.parquet")).expect("removed");
    for sql in [sql.as_str(), "SELECT name FROM spans"] {
        let failed = ask(&engine, sql).await.expect_err("a file is gone");
        assert_eq!(failed.code(), "data_file", "{failed}");
        assert!(failed.to_string().contains("spans-2.parquet"), "{failed}");
    }
}

#[tokio::test]
async fn answers_are_the_same_where_nothing_may_be_kept_of_files() {
    let limits = Limits {
        file_cache_bytes: 0,
        ..Limits::default()
    };
    let (engine, _directory) = engine_with(limits, |fixture| fixture);
    let sql = format!("SELECT count(*) AS n FROM spans WHERE trace_id = '{TRACE_A}'");
    assert_eq!(rows(&engine, &sql).await, serde_json::json!([{"n": 3}]));
}

#[tokio::test]
async fn a_query_that_takes_too_long_is_ended_and_the_next_one_answers() {
    let limits = Limits {
        query_timeout: Duration::from_millis(300),
        queries_max: 1,
        ..Limits::default()
    };
    let (engine, _directory) = engine_with(limits, |fixture| fixture.with_hot_spans(2_000));
    let long = "SELECT sum(CAST(a.duration_ns AS DOUBLE) * b.duration_ns * c.duration_ns) FROM spans a, spans b, spans c";
    let ended = ask(&engine, long).await.expect_err("too long");
    assert_eq!(ended.code(), "timeout", "{ended}");
    let next = async {
        while let Err(refused) = ask(&engine, "SELECT 1").await {
            assert!(
                matches!(refused.code(), "too_many_queries" | "timeout"),
                "{refused}"
            );
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), next)
        .await
        .expect("its place is free again");
}

#[tokio::test]
async fn memory_has_a_limit_that_is_an_error_of_the_query() {
    let limits = Limits {
        query_memory_bytes: 64 << 10,
        ..Limits::default()
    };
    let (engine, _directory) = engine_with(limits, |fixture| fixture.with_hot_spans(20_000));
    let sql = "SELECT a.duration_ns, row_number() OVER (ORDER BY a.name) AS n FROM spans a ORDER BY n DESC";
    let refused = ask(&engine, sql).await.expect_err("too much");
    assert_eq!(refused.code(), "query_memory", "{refused}");
}

/// The literal makes batches of three rows where functions may make 64 KiB, and of all rows else.
#[tokio::test]
async fn the_rows_that_a_window_keeps_are_booked() {
    let limits = Limits {
        query_memory_bytes: 8 << 20,
        ..Limits::default()
    };
    let (engine, _directory) = engine_with(limits, |fixture| fixture);
    let over = |rows: u32| {
        format!("SELECT max(x) FROM (SELECT sum(value) OVER () AS x FROM generate_series(1, {rows}))")
    };
    ask(&engine, &over(10_000)).await.expect("few rows");
    let refused = ask(&engine, &over(1_000_000)).await.expect_err("many rows");
    assert_eq!(refused.code(), "query_memory", "{refused}");
}

#[tokio::test]
async fn answers_are_the_same_however_small_batches_are() {
    let patient = Limits {
        query_timeout: Duration::from_secs(300),
        ..Limits::default()
    };
    let limits = Limits {
        statement: Caps::default().with(Cap::CallBytes, 64 << 10),
        ..patient.clone()
    };
    let (bounded, _bounded) = engine_with(limits, |fixture| fixture.with_hot_spans(150));
    let (free, _free) = engine_with(patient, |fixture| fixture.with_hot_spans(150));
    let long = "x".repeat(10_000);
    let numbers = format!(
        "WITH n AS (SELECT value AS v, CASE WHEN value < 0 THEN '{long}' ELSE CAST(value % 50 AS VARCHAR) END AS t \
         FROM generate_series(1, 400)) "
    );
    for sql in SPLIT {
        let sql = format!("{numbers}{sql}");
        assert_eq!(
            rows(&bounded, &sql).await,
            rows(&free, &sql).await,
            "{}",
            sql.get(10_000..).unwrap_or_default()
        );
    }
}

const SPLIT: &[&str] = &[
    "SELECT count(*) AS c, sum(v) AS s, max(upper(t)) AS m, approx_distinct(t) AS d FROM n WHERE v % 3 <> 1",
    "SELECT t, v FROM n ORDER BY t, v DESC LIMIT 40 OFFSET 13",
    "SELECT sum(r * v) AS s FROM (SELECT v, row_number() OVER (ORDER BY upper(repeat(t, 9)), v) AS r FROM n)",
    "SELECT v, lag(v, 2) OVER w AS l, sum(v) OVER w AS s FROM n WINDOW w AS (PARTITION BY t || 'p' ORDER BY v) \
     ORDER BY v LIMIT 300",
    "SELECT t || '-' || (v % 3) AS k, count(*) AS c FROM n GROUP BY t || '-' || (v % 3) HAVING count(*) > 1 ORDER BY k",
    "SELECT k, count(*) AS c FROM (SELECT t || 'x' AS k FROM n) GROUP BY k ORDER BY k",
    "SELECT count(*) AS c, sum(a.v * b.v) AS s FROM n a JOIN n b ON a.t || 'q' = b.t || 'q' AND a.v < b.v",
    "SELECT count(*) AS c, count(b.v) AS m, sum(a.v) AS s FROM n a FULL JOIN n b ON a.v = b.v + 300",
    "SELECT count(*) AS c, sum(a.v - b.v) AS s FROM n a JOIN n b ON a.v > b.v + 350",
    "SELECT sum(v) AS s FROM n WHERE v IN (SELECT v * 2 FROM n) AND v NOT IN (SELECT v * 3 FROM n)",
    "SELECT sum(v) AS s FROM n o WHERE EXISTS (SELECT 1 FROM n i WHERE i.v = o.v * 2 AND i.t <> o.t)",
    "SELECT count(*) AS c FROM n WHERE v > (SELECT avg(v) FROM n) AND t <> (SELECT max(t) FROM n)",
    "SELECT t FROM n UNION SELECT name FROM spans ORDER BY t LIMIT 70",
    "(SELECT v FROM n WHERE v < 99 EXCEPT SELECT v * 2 FROM n) UNION ALL (SELECT v FROM n INTERSECT SELECT 7) ORDER BY v",
    "SELECT count(*) AS c, sum(u) AS s FROM (SELECT unnest(range(v % 9)) AS u FROM n)",
    "SELECT DISTINCT ON (t) t, v FROM n ORDER BY t, v DESC",
    "SELECT array_agg(v ORDER BY upper(t), v) AS l, string_agg(t, ',' ORDER BY v) AS g FROM n WHERE v < 99",
    "SELECT s.name, count(*) AS c, sum(n.v) AS s FROM spans s LEFT JOIN n ON s.duration_ns % 50 = n.v GROUP BY s.name \
     ORDER BY s.name",
    "SELECT name || '/' || region AS k, attributes, resource FROM spans ORDER BY start_time, span_id, k LIMIT 60",
    "SELECT NULL || 'a' AS a, 'a' || 1 AS b, [1] || [2, 3] AS c, max(t || NULL) AS d FROM n",
];

#[tokio::test]
async fn a_cast_of_the_trace_id_column_finds_rows_in_files_and_in_memory() {
    let (engine, _directory) = engine();
    let sql = format!(
        "SELECT count(*) AS n FROM spans WHERE trace_id = '{}'",
        TRACE_A.to_uppercase()
    );
    assert_eq!(rows(&engine, &sql).await, serde_json::json!([{"n": 3}]));
}
