//! Statements out of a grammar, most of which can be planned; an input says which branch is taken.
//! Texts that are no SQL are the fuzzer's own.

use std::fmt::Write;

use crate::choices::Choices;

const DEPTH_MAX: usize = 6;
const TEXT_BYTES_MAX: usize = 16 << 10;

const TABLES: [&str; 6] = [
    "spans",
    "logs",
    "metrics",
    "agents",
    "information_schema.columns",
    "c0",
];
const COLUMNS: [&str; 16] = [
    "name",
    "trace_id",
    "span_id",
    "start_time",
    "duration_ns",
    "region",
    "service_name",
    "status_code",
    "attributes",
    "time",
    "body",
    "value",
    "received_time",
    "attributes['user.id']",
    "a.name",
    "x",
];
const LITERALS: [&str; 24] = [
    "0",
    "1",
    "-1",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551616",
    "1e308",
    "1e-400",
    "NULL",
    "TRUE",
    "''",
    "'x'",
    "'%_%'",
    "'(a|b)*c{0,100}'",
    "'0102030405060708'",
    "'zz'",
    "X'00ff'",
    "INTERVAL '1 day'",
    "INTERVAL '999999999 years'",
    "DATE '0001-01-01'",
    "TIMESTAMP '2026-11-23T12:00:00Z'",
    "now()",
    "ARRAY[1,2,NULL]",
    "'Timestamp(Nanosecond, Some(\"+00:00\"))'",
];
const FUNCTIONS: [&str; 48] = [
    "abs",
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "quantile",
    "first_value",
    "last_value",
    "array_agg",
    "string_agg",
    "approx_percentile_cont",
    "approx_distinct",
    "stddev",
    "coalesce",
    "nullif",
    "greatest",
    "repeat",
    "lpad",
    "rpad",
    "replace",
    "substr",
    "split_part",
    "concat",
    "concat_ws",
    "upper",
    "reverse",
    "levenshtein",
    "regexp_like",
    "regexp_replace",
    "regexp_match",
    "date_trunc",
    "date_bin",
    "date_part",
    "to_timestamp",
    "to_char",
    "make_array",
    "range",
    "generate_series",
    "array_repeat",
    "array_resize",
    "flatten",
    "array_to_string",
    "encode",
    "decode",
    "arrow_cast",
    "arrow_typeof",
    "power",
];
const OPERATORS: [&str; 20] = [
    "+",
    "-",
    "*",
    "/",
    "%",
    "=",
    "<>",
    "<",
    ">=",
    "AND",
    "OR",
    "||",
    "LIKE",
    "ILIKE",
    "~",
    "!~",
    "&",
    "<<",
    "IS DISTINCT FROM",
    "^",
];
const TYPES: [&str; 14] = [
    "INT",
    "BIGINT",
    "SMALLINT",
    "DOUBLE",
    "REAL",
    "TEXT",
    "BOOLEAN",
    "DATE",
    "TIME",
    "TIMESTAMP",
    "DECIMAL(38,10)",
    "DECIMAL(76,76)",
    "BYTEA",
    "INT[]",
];
const WINDOWS: [&str; 5] = [
    "row_number()",
    "rank()",
    "lag(name, 1)",
    "sum(duration_ns)",
    "ntile(0)",
];
/// What stands before a question without making it another.
const HEADS: [&str; 6] = ["", "", "", "EXPLAIN ", "EXPLAIN ANALYZE ", "EXPLAIN VERBOSE "];

pub(super) fn statement(choices: &mut Choices<'_>) -> String {
    let mut sql = one_of(choices, &HEADS).to_owned();
    if choices.byte().is_multiple_of(4) {
        let body = query(choices, 2);
        let again = if choices.flag() { "RECURSIVE " } else { "" };
        write!(sql, "WITH {again}c0 AS ({body}) ").expect("memory");
    }
    sql.push_str(&query(choices, DEPTH_MAX));
    let end = sql.floor_char_boundary(TEXT_BYTES_MAX);
    sql.truncate(end);
    sql
}

fn one_of<'a>(choices: &mut Choices<'_>, from: &[&'a str]) -> &'a str {
    from[usize::from(choices.byte()) % from.len()]
}

fn query(choices: &mut Choices<'_>, depth: usize) -> String {
    let mut sql = select(choices, depth);
    if depth > 0 && choices.byte().is_multiple_of(8) {
        let by = one_of(choices, &["UNION", "UNION ALL", "INTERSECT", "EXCEPT"]);
        let other = select(choices, depth - 1);
        write!(sql, " {by} {other}").expect("memory");
    }
    if choices.flag() {
        let key = expression(choices, depth.min(2));
        write!(sql, " ORDER BY {key} DESC NULLS LAST").expect("memory");
    }
    if choices.flag() {
        let limit = one_of(choices, &LITERALS);
        write!(sql, " LIMIT {limit}").expect("memory");
    }
    sql
}

fn select(choices: &mut Choices<'_>, depth: usize) -> String {
    let mut sql = "SELECT ".to_owned();
    if choices.byte().is_multiple_of(8) {
        sql.push_str("DISTINCT ");
    }
    for column in 0..=choices.byte() % 4 {
        if column > 0 {
            sql.push_str(", ");
        }
        match choices.byte() % 8 {
            0 => sql.push('*'),
            1 => {
                let by = expression(choices, depth.min(1));
                let window = one_of(choices, &WINDOWS);
                write!(sql, "{window} OVER (PARTITION BY {by} ORDER BY name)").expect("memory");
            }
            _ => {
                let value = expression(choices, depth);
                write!(sql, "{value} AS x{column}").expect("memory");
            }
        }
    }
    if !choices.byte().is_multiple_of(4) {
        write!(sql, " FROM {}", from(choices, depth)).expect("memory");
    }
    if choices.flag() {
        write!(sql, " WHERE {}", expression(choices, depth)).expect("memory");
    }
    match choices.byte() % 6 {
        0 => write!(sql, " GROUP BY {}", expression(choices, depth.min(2))).expect("memory"),
        1 => write!(sql, " GROUP BY CUBE (name, {})", expression(choices, 1)).expect("memory"),
        2 => write!(
            sql,
            " GROUP BY ROLLUP (region, name) HAVING {}",
            expression(choices, 2)
        )
        .expect("memory"),
        _ => {}
    }
    sql
}

fn from(choices: &mut Choices<'_>, depth: usize) -> String {
    let table = match choices.byte() % 8 {
        0 if depth > 0 => format!("({}) AS a", query(choices, depth - 1)),
        1 => format!("(VALUES ({}), ({})) AS a(x)", literal(choices), literal(choices)),
        2 => format!("unnest({}) AS a(x)", literal(choices)),
        _ => format!("{} AS a", one_of(choices, &TABLES)),
    };
    match choices.byte() % 6 {
        0 => {
            let kind = one_of(choices, &["JOIN", "LEFT JOIN", "FULL JOIN", "LEFT SEMI JOIN"]);
            let condition = expression(choices, depth.min(2));
            format!("{table} {kind} {} AS b ON {condition}", one_of(choices, &TABLES))
        }
        1 => format!("{table}, {} AS b", one_of(choices, &TABLES)),
        _ => table,
    }
}

fn literal(choices: &mut Choices<'_>) -> String {
    match choices.byte() % 8 {
        0 => {
            let text = String::from_utf8_lossy(choices.bytes(8)).replace('\'', "''");
            format!("'{text}'")
        }
        1 => choices.u64().to_string(),
        _ => one_of(choices, &LITERALS).to_owned(),
    }
}

fn expression(choices: &mut Choices<'_>, depth: usize) -> String {
    if depth == 0 || choices.is_over() {
        return leaf(choices);
    }
    let inner = depth - 1;
    match choices.byte() % 16 {
        0..5 => leaf(choices),
        5..8 => {
            let (left, operator) = (expression(choices, inner), one_of(choices, &OPERATORS));
            format!("({left} {operator} {})", expression(choices, inner))
        }
        8..12 => call(choices, inner),
        12 => {
            let to = one_of(choices, &TYPES);
            format!("CAST({} AS {to})", expression(choices, inner))
        }
        13 => {
            let condition = expression(choices, inner);
            let (yes, no) = (expression(choices, inner), leaf(choices));
            format!("CASE WHEN {condition} THEN {yes} ELSE {no} END")
        }
        14 => {
            let of = expression(choices, inner);
            format!("({of} IN ({}, {}))", literal(choices), literal(choices))
        }
        _ => match choices.byte() % 4 {
            0 => format!("({})", query(choices, inner.min(2))),
            1 => format!("EXISTS ({})", query(choices, inner.min(2))),
            2 => format!(
                "({} BETWEEN {} AND {})",
                leaf(choices),
                literal(choices),
                literal(choices)
            ),
            _ => format!("NOT ({})", expression(choices, inner)),
        },
    }
}

fn call(choices: &mut Choices<'_>, depth: usize) -> String {
    let name = one_of(choices, &FUNCTIONS);
    let count = usize::from(choices.byte()) % 4;
    let arguments: Vec<String> = (0..count).map(|_| expression(choices, depth)).collect();
    let distinct = if choices.byte().is_multiple_of(16) {
        "DISTINCT "
    } else {
        ""
    };
    format!("{name}({distinct}{})", arguments.join(", "))
}

fn leaf(choices: &mut Choices<'_>) -> String {
    if choices.flag() {
        one_of(choices, &COLUMNS).to_owned()
    } else {
        literal(choices)
    }
}
