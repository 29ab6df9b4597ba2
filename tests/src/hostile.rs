//! SQL that is meant to hurt: statements by class, and random calls of functions (`calls`). It
//! asks nobody; what becomes of a statement is the tests' business.

pub mod calls;
mod parameters;
mod values;

/// A statement, and the class of harm that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hostile {
    /// What it is meant to exhaust.
    pub class: &'static str,
    /// The function that it calls, if it is there for one.
    pub function: Option<String>,
    /// The statement.
    pub sql: String,
}

fn of(class: &'static str, statements: impl IntoIterator<Item = String>) -> Vec<Hostile> {
    let hostile = statements.into_iter().map(|sql| Hostile {
        class,
        function: None,
        sql,
    });
    hostile.collect()
}

/// At least 300 statements over all classes.
pub fn statements() -> Vec<Hostile> {
    [
        of("bytes", bytes()),
        of("depth", depth()),
        of("width", width()),
        of("planning", planning()),
        of("folding", folding()),
        of("growth", growth()),
        of("aggregates", aggregates()),
        of("beside", beside()),
        of("windows", windows()),
        of("rows", rows()),
        of("patterns", patterns()),
        of("panics", panics()),
        of("writes", writes()),
    ]
    .concat()
}

fn bytes() -> Vec<String> {
    let long = [(1 << 16) + 1, 1 << 20, 10 << 20];
    let mut all: Vec<String> = long
        .iter()
        .map(|n| format!("SELECT 1{}", " ".repeat(*n)))
        .collect();
    all.extend(long.iter().map(|n| format!("SELECT '{}'", "x".repeat(*n))));
    all.extend(long.iter().map(|n| format!("SELECT 1 -- {}", "x".repeat(*n))));
    all.push(String::new());
    all.push(";".repeat(60_000));
    all.push("\0".repeat(1000));
    all
}

/// Each at half of, at, and far beyond what a stack of 2 MiB takes.
fn depth() -> Vec<String> {
    let nest = |open: &str, inner: &str, close: &str, n: usize| {
        format!("SELECT {}{inner}{}", open.repeat(n), close.repeat(n))
    };
    let chain = |item: &str, by: &str, n: usize| format!("SELECT {}", vec![item; n].join(by));
    [100, 400, 1000, 2048, 5000]
        .iter()
        .flat_map(|&n| {
            [
                nest("(", "1", ")", n),
                nest("abs(", "1", ")", n),
                nest("-", "1", "", n).replace("--", "- -"),
                nest("NOT ", "true", "", n),
                nest("INTERVAL ", "'1 day'", "", n),
                nest("CASE WHEN true THEN ", "1", " END", n),
                nest("CAST(", "1", " AS INT)", n),
                nest("(SELECT ", "1", ")", n),
                nest("[", "1", "]", n),
                nest("coalesce(", "1", ", 1)", n),
                chain("1", "+", n),
                chain("true", " OR ", n),
                chain("true", " AND ", n),
                chain("'a'", "||", n),
                format!("SELECT 1{}", "::int".repeat(n)),
                format!("SELECT true{}", " IS NULL".repeat(n)),
                format!("{}SELECT 1", "EXPLAIN ".repeat(n)),
                format!(
                    "SELECT arrow_cast(NULL, '{}Int8{}')",
                    "List(".repeat(n),
                    ")".repeat(n)
                ),
                format!("SELECT CAST(NULL AS INT{})", "[]".repeat(n)),
                format!("SELECT attributes{} FROM spans", "['a']".repeat(n)),
                vec!["SELECT 1"; n].join(" UNION ALL "),
            ]
        })
        .collect()
}

fn width() -> Vec<String> {
    let list = |n: usize, item: &dyn Fn(usize) -> String| (0..n).map(item).collect::<Vec<_>>().join(", ");
    [900, 3000, 10_000]
        .iter()
        .flat_map(|&n| {
            [
                format!("SELECT {} FROM spans", list(n, &|i| format!("duration_ns + {i}"))),
                format!(
                    "SELECT 1 FROM spans ORDER BY {}",
                    list(n, &|i| format!("duration_ns + {i}"))
                ),
                format!(
                    "SELECT {} FROM spans",
                    list(n, &|i| format!("sum(duration_ns + {i})"))
                ),
                format!(
                    "SELECT count(*) FROM spans GROUP BY {}",
                    list(n, &|i| format!("duration_ns % {}", i + 1))
                ),
                format!("SELECT concat({})", list(n, &|i| format!("'{i}'"))),
                format!("SELECT make_array({})", list(n, &|i| i.to_string())),
                format!("SELECT * FROM (VALUES {})", list(n, &|i| format!("({i})"))),
                format!(
                    "SELECT {} FROM spans",
                    list(n, &|i| format!("row_number() OVER (ORDER BY duration_ns + {i})"))
                ),
            ]
        })
        .collect()
}

fn planning() -> Vec<String> {
    let mut all = Vec::new();
    for n in [12, 30, 400, 2000] {
        let doubling: String = (1..n)
            .map(|i| format!(", c{i} AS (SELECT a.x FROM c{0} a, c{0} b)", i - 1))
            .collect();
        let chained: String = (1..n)
            .map(|i| format!(", c{i} AS (SELECT x FROM c{})", i - 1))
            .collect();
        let wide: String = (1..n)
            .map(|i| format!(", c{i} AS (SELECT a.*, b.* FROM c{0} a, c{0} b)", i - 1))
            .collect();
        all.push(format!(
            "WITH c0 AS (SELECT 1 AS x){doubling} SELECT * FROM c{}",
            n - 1
        ));
        all.push(format!(
            "WITH c0 AS (SELECT 1 AS x){chained} SELECT * FROM c{}",
            n - 1
        ));
        all.push(format!(
            "WITH c0 AS (SELECT * FROM spans){wide} SELECT * FROM c{}",
            n - 1
        ));
        all.push(format!("SELECT count(*) FROM spans{}", ", spans".repeat(n)));
        all.push(format!(
            "SELECT count(*) FROM spans s0{}",
            (1..n)
                .map(|i| format!(" JOIN spans s{i} ON s{i}.trace_id = s0.trace_id"))
                .collect::<String>()
        ));
        all.push(format!(
            "SELECT 1 FROM spans WHERE {}",
            vec!["EXISTS (SELECT 1 FROM logs)"; n].join(" AND ")
        ));
        all.push(format!(
            "SELECT {}",
            vec!["(SELECT max(duration_ns) FROM spans)"; n].join(", ")
        ));
    }
    all.extend(grouping());
    all
}

fn grouping() -> Vec<String> {
    let mut all = Vec::new();
    let columns = |n: usize| {
        (0..n)
            .map(|i| format!("duration_ns % {}", i + 2))
            .collect::<Vec<_>>()
            .join(", ")
    };
    for n in [8, 12, 26, 60] {
        all.push(format!(
            "SELECT count(*) FROM spans GROUP BY CUBE ({})",
            columns(n)
        ));
        all.push(format!(
            "SELECT count(*) FROM spans GROUP BY ROLLUP ({})",
            columns(n)
        ));
        let cubes = (0..n)
            .map(|i| format!("CUBE (duration_ns % {})", i + 2))
            .collect::<Vec<_>>();
        all.push(format!(
            "SELECT count(*) FROM spans GROUP BY {}",
            cubes.join(", ")
        ));
        let rollups = (0..n)
            .map(|i| format!("ROLLUP (name, kind, duration_ns % {})", i + 2))
            .collect::<Vec<_>>();
        all.push(format!(
            "SELECT count(*) FROM spans GROUP BY {}",
            rollups.join(", ")
        ));
    }
    all
}

fn folding() -> Vec<String> {
    let mut all = Vec::new();
    for n in ["100000", "1000000", "2000000000", "9223372036854775807"] {
        for call in [
            "levenshtein(repeat('a', {n}), repeat('b', {n}))",
            "length(repeat('a', {n}))",
            "length(repeat(repeat('a', 10000), {n}))",
            "length(lpad('a', {n}, 'b'))",
            "length(rpad('a', {n}, 'b'))",
            "length(replace(repeat('a', 10000), 'a', repeat('b', {n})))",
            "length(regexp_replace(repeat('a', 10000), 'a', repeat('b', {n}), 'g'))",
            "cardinality(range({n}))",
            "cardinality(generate_series(0, {n}))",
            "cardinality(array_repeat(1, {n}))",
            "cardinality(array_resize([1], {n}, 2))",
            "length(array_to_string(array_repeat('a', 10000), repeat('b', {n})))",
            "cardinality(string_to_array(repeat('a,', {n}), ','))",
            "length(concat_ws(repeat('b', {n}), 'a', 'a', 'a'))",
            "length(encode(repeat('a', {n}), 'hex'))",
            "length(to_char(now(), repeat('%c', {n})))",
            "length(translate(repeat('a', {n}), 'a', 'b'))",
            "arrow_cast(NULL, 'FixedSizeBinary({n})')",
            "arrow_cast(NULL, 'FixedSizeList({n}, Int64)')",
            "repeat('a', {n}) ~ repeat('a|', {n})",
            "regexp_like('a', repeat('a|', {n}))",
        ] {
            all.push(format!("SELECT {}", call.replace("{n}", n)));
        }
    }
    all
}

fn growth() -> Vec<String> {
    [
        "SELECT repeat(name, 100000) FROM spans",
        "SELECT max(length(repeat(name, duration_ns))) FROM spans",
        "SELECT lpad(name, 1000000, 'x') FROM spans",
        "SELECT array_repeat(name, 1000000) FROM spans",
        "SELECT unnest(range(1000000)) FROM spans",
        "SELECT count(*) FROM (SELECT unnest(range(100000)) FROM spans)",
        "SELECT count(*) FROM (SELECT name, unnest(range(100000)) AS a, unnest(range(100000)) AS b FROM spans)",
        "SELECT sum(levenshtein(repeat(a.name, 100), repeat(b.name, 100))) FROM spans a, spans b",
        "SELECT max(concat(name, name, name, repeat(name, 10000))) FROM spans",
        "SELECT a.value || b.value FROM generate_series(1, 1000000000) a, generate_series(1, 1000000000) b",
        "SELECT sum(value) FROM generate_series(1, 9223372036854775807)",
        "SELECT array_agg(value) FROM generate_series(1, 9223372036854775807)",
        "SELECT count(DISTINCT value) FROM generate_series(1, 9223372036854775807)",
        "SELECT value FROM generate_series(1, 9223372036854775807) ORDER BY value DESC",
        "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t",
        "WITH RECURSIVE t AS (SELECT 'a' AS n UNION ALL SELECT n || n FROM t) SELECT max(length(n)) FROM t",
    ]
    .map(str::to_owned)
    .to_vec()
}

fn aggregates() -> Vec<String> {
    let numbers = "FROM generate_series(1, 100000000)";
    let mut all = Vec::new();
    for call in [
        "array_agg(value)",
        "array_agg(DISTINCT value)",
        "array_agg(value ORDER BY value DESC)",
        "string_agg(CAST(value AS VARCHAR), ',')",
        "count(DISTINCT value)",
        "count(DISTINCT CAST(value AS VARCHAR))",
        "sum(DISTINCT value)",
        "median(value)",
        "percentile_cont(0.5) WITHIN GROUP (ORDER BY value)",
        "approx_distinct(value)",
        "approx_percentile_cont(value, 0.5, 2000000000)",
        "approx_percentile_cont(value, 0.5)",
        "quantile(value, 0.5)",
        "nth_value(value, 3 ORDER BY value)",
        "max(repeat(CAST(value AS VARCHAR), 1000))",
    ] {
        all.push(format!("SELECT {call} {numbers}"));
        all.push(format!(
            "SELECT value % 1000000 AS k, {call} {numbers} GROUP BY k"
        ));
        all.push(format!(
            "SELECT {} OVER (ORDER BY value) {numbers}",
            call.split(" WITHIN").next().unwrap_or(call)
        ));
    }
    all
}

/// What many calls, literals and large states make side by side.
fn beside() -> Vec<String> {
    let numbers = "FROM generate_series(1, 100000000)";
    let many = |n: usize, call: &str| vec![call; n].join(", ");
    let literal = "x".repeat(60_000);
    [
        format!("SELECT concat({}) {numbers}", many(500, "lpad(CAST(value AS VARCHAR), 1000, 'x')")),
        format!("SELECT greatest({}) {numbers}", many(500, "upper(repeat(CAST(value AS VARCHAR), 100))")),
        format!("SELECT max(CASE WHEN value % 2 = 0 THEN repeat('a', 1000000) ELSE 'b' END) {numbers}"),
        format!("SELECT coalesce(NULLIF(CAST(value AS VARCHAR), '7'), repeat('a', 1000000)) AS x {numbers} ORDER BY x"),
        format!("SELECT '{literal}', value {numbers} ORDER BY value % 7"),
        format!("SELECT value % 10000000 AS k, approx_percentile_cont(value, 0.5, 10000) {numbers} GROUP BY k"),
        format!("SELECT value % 10000000 AS k, approx_distinct(value) {numbers} GROUP BY k"),
        format!("SELECT max(length(regexp_replace(repeat(CAST(value AS VARCHAR), 5000), 'x*', '$0yyyyyyyyyyyyyyyyyyyyyyyyy', 'g'))) {numbers}"),
        format!("WITH {} SELECT max(length(t)) FROM c24", doubled_texts(24)),
        format!("SELECT count(*) {numbers} WHERE repeat(CAST(value AS VARCHAR), 10000) ~ '(?:a?){{200}}\\w{{20}}b'"),
        format!("SELECT count(*) {numbers} WHERE repeat(CAST(value AS VARCHAR), 10000) LIKE '{}'", "%1".repeat(2_000)),
        format!("SELECT sum(levenshtein(repeat(CAST(value AS VARCHAR), 500), repeat('7', 4000))) {numbers}"),
    ]
    .to_vec()
}

/// Each as long as the one before it twice.
fn doubled_texts(n: usize) -> String {
    let doubled = (1..=n).map(|i| format!(", c{i} AS (SELECT t || t AS t FROM c{})", i - 1));
    format!(
        "c0 AS (SELECT CAST(value AS VARCHAR) AS t FROM generate_series(1, 100000)){}",
        doubled.collect::<String>()
    )
}

/// A step computes all rows of a partition at once.
fn windows() -> Vec<String> {
    let numbers = "FROM generate_series(1, 3000) t(v)";
    let literal = "repeat(repeat('x', 1000), 1000)";
    let once = format!("CASE WHEN v = 1 THEN {literal} ELSE '' END");
    let last = "GROUPS BETWEEN 3 PRECEDING AND UNBOUNDED FOLLOWING";
    [
        format!("nth_value({literal}, 3) OVER (ORDER BY v)"),
        format!("nth_value({literal}, NULL) OVER (PARTITION BY v % 2 ORDER BY v {last})"),
        format!("max({literal}) OVER ()"),
        format!("count({literal}) OVER (PARTITION BY v % 3)"),
        format!("sum(v) OVER (ORDER BY {literal})"),
        format!("lag(CAST(v AS VARCHAR), 3000, {literal}) OVER (ORDER BY v)"),
        format!("max({once}) OVER ()"),
        format!("first_value({once}) OVER (ORDER BY v)"),
        format!("last_value({once}) OVER (ORDER BY v DESC {last})"),
        format!("any_value({once}) OVER (PARTITION BY v % 2)"),
        "min(make_array(v, v, v, v)) OVER ()".to_owned(),
        "quantile(v, 0.5) OVER (ORDER BY v ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING)".to_owned(),
    ]
    .into_iter()
    .map(|call| format!("SELECT count(x) FROM (SELECT {call} AS x {numbers})"))
    .chain([
        "SELECT count(x) FROM (SELECT sum(value) OVER () AS x FROM generate_series(1, 100000000))".to_owned(),
        "SELECT count(x) FROM (SELECT max(name) OVER () AS x FROM spans, generate_series(1, 1000000))"
            .to_owned(),
    ])
    .collect()
}

fn rows() -> Vec<String> {
    let all = "FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b";
    [
        format!("SELECT count(*) {all}"),
        format!("SELECT * {all}"),
        format!("SELECT * {all} WHERE a.value + b.value < 0"),
        format!("SELECT count(*) {all} WHERE a.value * b.value < 0"),
        format!("SELECT a.value {all} WHERE a.value % 7 = b.value % 7 AND a.value + b.value < 0"),
        format!("SELECT a.value {all} ORDER BY a.value + b.value LIMIT 5"),
        "SELECT * FROM generate_series(1, 300000) a LEFT JOIN generate_series(1, 300000) b ON a.value + b.value < 0".to_owned(),
        "SELECT * FROM generate_series(1, 300000) a FULL JOIN generate_series(1, 300000) b ON a.value > b.value + 1000000".to_owned(),
        "SELECT count(*) FROM generate_series(1, 300000) a WHERE NOT EXISTS (SELECT 1 FROM generate_series(1, 300000) b WHERE a.value + b.value < 0)".to_owned(),
        "SELECT count(*) FROM spans a, spans b, spans c, spans d WHERE a.duration_ns + b.duration_ns + c.duration_ns + d.duration_ns < 0".to_owned(),
        "SELECT count(*) FROM spans a, spans b, spans c, spans d".to_owned(),
        "SELECT sum(value) OVER (ORDER BY value ROWS BETWEEN 1000000 PRECEDING AND CURRENT ROW) FROM generate_series(1, 10000000)".to_owned(),
    ]
    .to_vec()
}

fn patterns() -> Vec<String> {
    let many = |n: usize| (0..n).map(|i| format!("a{i}")).collect::<Vec<_>>().join("|");
    let mut all = Vec::new();
    for pattern in [
        "(a{1000}){1000}".to_owned(),
        "((a{100}){100}){100}".to_owned(),
        "(?:a?){5000}b".to_owned(),
        many(500),
        many(10_000),
        "(".repeat(1000),
        "\\w{1000}".to_owned(),
    ] {
        all.push(format!("SELECT count(*) FROM spans WHERE name ~ '{pattern}'"));
        all.push(format!(
            "SELECT count(*) FROM spans WHERE regexp_like(name, '{pattern}')"
        ));
        all.push(format!(
            "SELECT regexp_replace(name, '{pattern}', 'x', 'g') FROM spans"
        ));
        all.push(format!(
            "SELECT count(*) FROM spans WHERE name SIMILAR TO '{pattern}'"
        ));
    }
    all.push(format!(
        "SELECT count(*) FROM spans WHERE name LIKE '{}'",
        "%a".repeat(20_000)
    ));
    all.push("SELECT count(*) FROM spans WHERE name ~ repeat(name, 1000)".to_owned());
    all
}

fn panics() -> Vec<String> {
    [
        "SELECT arrow_cast(-9223372036854775808, 'Date64')",
        "SELECT first_value() OVER () FROM spans",
        "SELECT array_concat([1], ['a'], [[2]])",
        "SELECT ntile(0) OVER (ORDER BY name) FROM spans",
        "SELECT lag(name, -9223372036854775808) OVER (ORDER BY name) FROM spans",
        "SELECT nth_value(name, -9223372036854775808) OVER (ORDER BY name) FROM spans",
        "SELECT max(attributes) FROM spans",
        "SELECT abs(-9223372036854775808), -9223372036854775808 / -1, -9223372036854775808 % -1",
        "SELECT factorial(100), gcd(-9223372036854775808, 0), lcm(9223372036854775807, 2)",
        "SELECT TIMESTAMP '9999-12-31' + INTERVAL '9999999 years'",
        "SELECT date_bin(INTERVAL '0 seconds', now())",
        "SELECT date_trunc('', now()), date_part('', now())",
        "SELECT make_date(2147483647, 13, 99), from_unixtime(9223372036854775807)",
        "SELECT chr(-1), chr(1114112), chr(9223372036854775807)",
        "SELECT substr('é', -9223372036854775808, 9223372036854775807)",
        "SELECT split_part('a', 'a', -9223372036854775808)",
        "SELECT round(1.5, 2147483647), trunc(1.5, -2147483648)",
        "SELECT array_slice([1,2,3], -9223372036854775808, 9223372036854775807, -9223372036854775808)",
    ]
    .map(str::to_owned)
    .to_vec()
}

fn writes() -> Vec<String> {
    [
        "INSERT INTO spans SELECT * FROM spans",
        "CREATE TABLE x AS SELECT 1",
        "CREATE VIEW x AS SELECT 1",
        "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'",
        "COPY spans TO '/tmp/x'",
        "DROP TABLE spans",
        "DELETE FROM spans",
        "UPDATE spans SET name = 'x'",
        "SET datafusion.execution.batch_size = 1",
        "RESET datafusion.execution.batch_size",
        "SELECT * FROM '/etc/passwd'",
        "EXPLAIN ANALYZE INSERT INTO spans SELECT * FROM spans",
        "SELECT 1; DROP TABLE spans",
        "SELECT input_file_name() FROM spans",
    ]
    .map(str::to_owned)
    .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_three_hundred_statements() {
        assert!(statements().len() >= 300, "{}", statements().len());
    }
}
