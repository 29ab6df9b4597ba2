//! The limits on statements, one by one: each refuses what is beyond it, by its own name, and
//! lets the same statement pass where it is as it is by default.

use meridian_aggregator::query::caps::TABLE;
use meridian_aggregator::query::{Cap, Caps, Limits};

use super::sql::{ask, engine_with};

/// For each limit: a small value for it, and a statement that is beyond that and no other limit.
const BEYOND: [(Cap, usize, &str); 19] = [
    (Cap::Tokens, 12, "SELECT 1, 2, 3, 4, 5, 6, 7, 8, 9"),
    (Cap::Nesting, 3, "SELECT (((((1)))))"),
    (Cap::Links, 5, "SELECT 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1"),
    (Cap::Items, 4, "SELECT 1, 2, 3, 4, 5, 6, 7"),
    (
        Cap::SetOperations,
        2,
        "SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4",
    ),
    (
        Cap::Joins,
        1,
        "SELECT 1 FROM (VALUES (1)) a(x) JOIN (VALUES (1)) b(x) ON a.x = b.x JOIN (VALUES (1)) c(x) ON a.x = c.x",
    ),
    (
        Cap::Windows,
        1,
        "SELECT row_number() OVER (ORDER BY name), rank() OVER (ORDER BY kind) FROM spans",
    ),
    (
        Cap::CteReads,
        2,
        "WITH t AS (SELECT 1 AS x) SELECT count(*) FROM t a, t b, t c, t d",
    ),
    (
        Cap::CubeColumns,
        1,
        "SELECT count(*) FROM spans GROUP BY CUBE (name, kind)",
    ),
    (
        Cap::GroupingSets,
        2,
        "SELECT count(*) FROM spans GROUP BY ROLLUP (name, kind)",
    ),
    (Cap::PlanColumns, 10, "SELECT * FROM spans"),
    (
        Cap::Centroids,
        100,
        "SELECT approx_percentile_cont(duration_ns, 0.5, 200) FROM spans",
    ),
    (Cap::PatternBytes, 4, "SELECT name ~ 'abcdefgh' FROM spans"),
    (Cap::ProgramBytes, 256, "SELECT name ~ '[a-z]{50}' FROM spans"),
    (
        Cap::FixedBytes,
        8,
        "SELECT arrow_cast(arrow_cast('abcdefghijklmnop', 'Binary'), 'FixedSizeBinary(16)')",
    ),
    (
        Cap::WindowLiterals,
        8,
        "SELECT lag(name, 1, 'a name that is not short') OVER (ORDER BY name) FROM spans",
    ),
    (Cap::ValueBytes, 64, "SELECT repeat(name, 100) FROM spans"),
    (
        Cap::CallBytes,
        64 << 10,
        "SELECT max(length(repeat(name, 1000))) FROM spans",
    ),
    (
        Cap::CallSteps,
        1000,
        "SELECT max(levenshtein(repeat(name, 50), repeat(kind, 50))) FROM spans",
    ),
];

#[tokio::test]
async fn each_limit_refuses_what_is_beyond_it_by_its_name() {
    for row in &TABLE {
        let beyond = BEYOND.iter().find(|(cap, ..)| *cap == row.cap);
        let &(cap, value, sql) = beyond.expect(row.key);
        let limits = |statement| Limits {
            statement,
            ..Limits::default()
        };
        let with_spans = |limits| engine_with(limits, |fixture| fixture.with_hot_spans(500));
        let (strict, _directory) = with_spans(limits(Caps::default().with(cap, value)));
        let refused = ask(&strict, sql).await.expect_err(sql);
        assert_eq!(refused.code(), "statement_too_complex", "{sql}: {refused}");
        let key = format!("limits.statement.{}", row.key);
        assert!(refused.to_string().contains(&key), "{key}: {sql}: {refused}");
        let (usual, _directory) = with_spans(limits(Caps::default()));
        ask(&usual, sql).await.expect(sql);
    }
}

#[tokio::test]
async fn no_statement_is_read_that_is_longer_than_allowed() {
    let limits = Limits {
        statement_bytes_max: 20,
        ..Limits::default()
    };
    let (engine, _directory) = engine_with(limits, |fixture| fixture);
    ask(&engine, "SELECT 1234567890123").await.expect("20 bytes");
    let refused = ask(&engine, "SELECT 12345678901234").await.expect_err("21 bytes");
    assert_eq!(refused.code(), "statement_too_large", "{refused}");
}
