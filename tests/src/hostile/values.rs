//! Values by the type that a function declares: the first of each is one that a sensible caller
//! gives, the others are absurd. Columns are those of spans.

use super::parameters::Parameter;

/// What a call is about, where a function takes any type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Theme {
    Number,
    Text,
    Integer,
    Timestamp,
    Nested,
}

impl Theme {
    pub(super) const ALL: [Self; 5] = [
        Self::Number,
        Self::Text,
        Self::Integer,
        Self::Timestamp,
        Self::Nested,
    ];
}

/// The values of a parameter in a call about `theme`.
pub(super) fn of(parameter: Parameter, theme: Theme) -> &'static [&'static str] {
    match parameter {
        Parameter::Element => match theme {
            Theme::Number => NUMBERS,
            Theme::Text => TEXTS,
            Theme::Integer => INTEGERS,
            Theme::Timestamp => TIMESTAMPS,
            Theme::Nested => LISTS_OF_INTEGERS,
        },
        Parameter::List => match theme {
            Theme::Number => LISTS_OF_NUMBERS,
            Theme::Text => LISTS_OF_TEXTS,
            Theme::Integer => LISTS_OF_INTEGERS,
            Theme::Timestamp => LISTS_OF_TIMESTAMPS,
            Theme::Nested => LISTS_OF_LISTS,
        },
        Parameter::Text => TEXTS,
        Parameter::Integer => INTEGERS,
        Parameter::Number => NUMBERS,
        Parameter::Boolean => BOOLEANS,
        Parameter::Date => DATES,
        Parameter::Time => TIMES,
        Parameter::Timestamp => TIMESTAMPS,
        Parameter::Moment => MOMENTS,
        Parameter::Interval => INTERVALS,
        Parameter::Duration => DURATIONS,
        Parameter::Binary => BINARIES,
        Parameter::Map => MAPS,
        Parameter::Key => KEYS,
        Parameter::Resource => RESOURCES,
        Parameter::Pattern => PATTERNS,
        Parameter::Flags => FLAGS,
        Parameter::Format => FORMATS,
        Parameter::TimeFormat => TIME_FORMATS,
        Parameter::Encoded => ENCODED,
        Parameter::TimeOfDay => TIMES_OF_DAY,
        Parameter::Encoding => ENCODINGS,
        Parameter::Part => PARTS,
        Parameter::Zone => ZONES,
        Parameter::Type => TYPES,
        Parameter::Percentile => PERCENTILES,
        Parameter::Order => ORDERS,
    }
}

/// Of no declared type.
pub(super) const ANYTHING: &[&str] = &[
    "NULL",
    "attributes",
    "resource",
    "INTERVAL '99999 years'",
    "range(50000)",
    "X'00ff'",
    "repeat('ab', 5000000)",
    "true",
    "named_struct('a', name, 'b', [duration_ns])",
    "arrow_cast(1, 'Float16')",
    "arrow_cast(name, 'Dictionary(Int8, Utf8)')",
    "arrow_cast(X'00', 'FixedSizeBinary(1)')",
    "arrow_cast([1], 'FixedSizeList(1, Int64)')",
    "arrow_cast(['a'], 'LargeList(LargeUtf8)')",
];

const TEXTS: &[&str] = &[
    "name",
    "service_name",
    "'a'",
    "''",
    "'é𝄞'",
    "'%'",
    "'(('",
    "name || name",
    "CAST(duration_ns AS VARCHAR)",
    "CAST(NULL AS VARCHAR)",
    "NULL",
    "repeat(name, 1000)",
    "repeat(repeat('x', 1000), 1000)",
    "repeat(repeat('é', 500), 1000)",
    "repeat('a,', 50000)",
    "'2026-11-23T12:00:00Z'",
    "'-9223372036854775808'",
    "chr(0) || chr(1114111)",
    "arrow_cast(name, 'LargeUtf8')",
    "arrow_cast(name, 'Utf8View')",
];

const INTEGERS: &[&str] = &[
    "3",
    "1",
    "0",
    "-1",
    "64",
    "duration_ns",
    "duration_ns % 7",
    "1000000",
    "2147483647",
    "2147483648",
    "-2147483648",
    "9223372036854775807",
    "-9223372036854775808",
    "CAST(NULL AS BIGINT)",
    "NULL",
    "arrow_cast(18446744073709551615, 'UInt64')",
    "arrow_cast(-128, 'Int8')",
];

const NUMBERS: &[&str] = &[
    "CAST(duration_ns AS DOUBLE)",
    "duration_ns",
    "1.5",
    "0.0",
    "-0.0",
    "-0.5",
    "1e308",
    "-1e308",
    "5e-324",
    "CAST('NaN' AS DOUBLE)",
    "CAST('inf' AS DOUBLE)",
    "CAST('-inf' AS DOUBLE)",
    "CAST(NULL AS DOUBLE)",
    "9223372036854775807",
    "-9223372036854775808",
    "arrow_cast(18446744073709551615, 'UInt64')",
    "CAST(duration_ns AS DECIMAL(38, 10))",
    "CAST('99999999999999999999999999999999999999' AS DECIMAL(38, 0))",
    "CAST('-0.00000000000000000000000000000000000001' AS DECIMAL(38, 38))",
    "CAST(3e38 AS REAL)",
];

const BOOLEANS: &[&str] = &["duration_ns % 2 = 0", "true", "false", "CAST(NULL AS BOOLEAN)"];

const DATES: &[&str] = &[
    "date",
    "DATE '2026-11-23'",
    "DATE '0001-01-01'",
    "DATE '9999-12-31'",
    "arrow_cast(2147483647, 'Date32')",
    "arrow_cast(-2147483648, 'Date32')",
    "arrow_cast(9223372036854775807, 'Date64')",
    "arrow_cast(-9223372036854775808, 'Date64')",
    "CAST(NULL AS DATE)",
];

const TIMES: &[&str] = &[
    "TIME '12:00:00'",
    "TIME '00:00:00'",
    "TIME '23:59:59.999999999'",
    "CAST(start_time AS TIME)",
    "arrow_cast(9223372036854775807, 'Time64(Nanosecond)')",
    "arrow_cast(-2147483648, 'Time32(Second)')",
    "CAST(NULL AS TIME)",
];

const TIMESTAMPS: &[&str] = &[
    "start_time",
    "now()",
    "TIMESTAMP '1677-09-22T00:00:00'",
    "TIMESTAMP '2262-04-11T00:00:00'",
    "arrow_cast(9223372036854775807, 'Timestamp(Nanosecond, None)')",
    "arrow_cast(-9223372036854775808, 'Timestamp(Second, None)')",
    "arrow_cast(9223372036854775807, 'Timestamp(Microsecond, Some(\"+14:00\"))')",
    "arrow_cast(-9223372036854775808, 'Timestamp(Millisecond, Some(\"Europe/Berlin\"))')",
    "start_time - INTERVAL '1000 years'",
    "CAST(NULL AS TIMESTAMP)",
];

const MOMENTS: &[&str] = &[
    "'2026-11-23T12:00:00Z'",
    "'12:00:00'",
    "start_time",
    "duration_ns",
    "CAST(duration_ns AS DOUBLE)",
    "'9999-12-31'",
    "'-262144-01-01T00:00:00'",
    "''",
    "name",
    "date",
    "CAST('NaN' AS DOUBLE)",
    "1e308",
    "9223372036854775807",
    "-9223372036854775808",
    "NULL",
    "repeat('2026-', 1000)",
];

const TIMES_OF_DAY: &[&str] = &[
    "'12:00:00'",
    "'23:59:60'",
    "'24:00:00'",
    "'-1:00:00'",
    "''",
    "start_time",
    "name",
    "duration_ns",
    "repeat('12:', 10000)",
    "NULL",
];

const INTERVALS: &[&str] = &[
    "INTERVAL '1 minute'",
    "INTERVAL '1 microsecond'",
    "INTERVAL '0 seconds'",
    "INTERVAL '1 month'",
    "INTERVAL '-1 month'",
    "INTERVAL '-1 nanosecond'",
    "INTERVAL '99999 years'",
    "INTERVAL '2147483647 days'",
    "CAST(NULL AS INTERVAL)",
];

const DURATIONS: &[&str] = &[
    "arrow_cast(1000, 'Duration(Nanosecond)')",
    "arrow_cast(duration_ns, 'Duration(Second)')",
    "arrow_cast(9223372036854775807, 'Duration(Second)')",
    "arrow_cast(-9223372036854775808, 'Duration(Millisecond)')",
    "now() - start_time",
    "arrow_cast(NULL, 'Duration(Microsecond)')",
];

const BINARIES: &[&str] = &[
    "trace_id",
    "span_id",
    "parent_span_id",
    "X'00ff'",
    "X''",
    "CAST(repeat(repeat('x', 1000), 1000) AS BYTEA)",
    "arrow_cast(trace_id, 'LargeBinary')",
    "arrow_cast(NULL, 'Binary')",
    "name",
];

const MAPS: &[&str] = &[
    "attributes",
    "map(['a', 'b'], [1, 2])",
    "map([name], [attributes])",
    "map(range(10000), range(10000))",
    "map([repeat(name, 1000)], [[[NULL]]])",
    "map([1, 1], ['x', 'y'])",
    "named_struct('a', 1)",
    "NULL",
];

const KEYS: &[&str] = &[
    "'a'",
    "'http.route'",
    "''",
    "repeat('k', 1000)",
    "name",
    "1",
    "NULL",
];

const RESOURCES: &[&str] = &[
    "resource",
    "'{}'",
    "'{\"attributes\":[{\"key\":\"a\",\"value\":{\"doubleValue\":1e999}}]}'",
    "repeat('[', 100000)",
    "repeat('{\"attributes\":', 50000)",
    "name",
    "''",
    "NULL",
];

const PATTERNS: &[&str] = &[
    "'[a-z]*'",
    "'(('",
    "''",
    "'a{1000}'",
    "'\\w+'",
    "'(?i)^x|y$'",
    "'.*'",
    "'(a?){200}b'",
    "'\\p{L}{1,100}$'",
    "repeat('a|', 1000)",
    "repeat('(', 1000)",
    "NULL",
    "name",
];

const FLAGS: &[&str] = &[
    "'i'",
    "'g'",
    "''",
    "'imsxUg'",
    "'z'",
    "repeat('i', 10000)",
    "NULL",
];

const FORMATS: &[&str] = &[
    "'%Y-%m-%dT%H:%M:%SZ'",
    "'%Y%c%%'",
    "''",
    "'%'",
    "'%Q'",
    "repeat('%c', 1000)",
    "'%9999999f'",
    "name",
    "NULL",
];

const TIME_FORMATS: &[&str] = &[
    "'%Y-%m-%d'",
    "'%Y%c%%'",
    "''",
    "'%'",
    "'%Q'",
    "repeat('%c', 1000)",
    "repeat('%c', 1000000)",
    "'%9999999f'",
    "name",
    "NULL",
];

const ENCODINGS: &[&str] = &["'hex'", "'base64'", "''", "'rot13'", "name", "NULL"];

const ENCODED: &[&str] = &[
    "'00ff'",
    "encode(trace_id, 'hex')",
    "encode(name, 'base64')",
    "'zz'",
    "'0'",
    "''",
    "repeat(repeat('0f', 500), 1000)",
    "trace_id",
    "NULL",
];

const PARTS: &[&str] = &[
    "'hour'",
    "'day'",
    "'year'",
    "'week'",
    "'quarter'",
    "'nanosecond'",
    "'microsecond'",
    "'epoch'",
    "'doy'",
    "''",
    "'century'",
    "name",
    "NULL",
];

const ZONES: &[&str] = &["'+01:00'", "'Europe/Berlin'", "'+99:99'", "''", "'Mars'", "NULL"];

const TYPES: &[&str] = &[
    "'Utf8'",
    "'Int8'",
    "'UInt64'",
    "'Decimal128(38, 38)'",
    "'Decimal256(76, -127)'",
    "'FixedSizeBinary(2147483647)'",
    "'FixedSizeList(1000000, Int64)'",
    "'List(List(List(Utf8)))'",
    "'Dictionary(UInt8, Utf8)'",
    "'Map(Utf8, Utf8)'",
    "'Date64'",
    "'Interval(MonthDayNano)'",
    "'Timestamp(Second, Some(\"+99:99\"))'",
    "''",
    "name",
];

const PERCENTILES: &[&str] = &[
    "0.5",
    "0.0",
    "1.0",
    "0.999999999",
    "-0.5",
    "1.5",
    "CAST('NaN' AS DOUBLE)",
    "CAST('inf' AS DOUBLE)",
    "NULL",
    "duration_ns",
];

const ORDERS: &[&str] = &[
    "'DESC'",
    "'ASC'",
    "'NULLS FIRST'",
    "'NULLS LAST'",
    "''",
    "name",
    "NULL",
];

const LISTS_OF_NUMBERS: &[&str] = &[
    "[CAST(duration_ns AS DOUBLE), 1.5]",
    "[1.5, 2.5]",
    "[CAST('NaN' AS DOUBLE), 0.0, -0.0]",
    "[1e308, 1e308]",
    "[CAST(NULL AS DOUBLE)]",
    "array_repeat(CAST(duration_ns AS DOUBLE), 1000)",
    "array_repeat(CAST('inf' AS DOUBLE), 60000)",
    "CAST(NULL AS DOUBLE[])",
    "[]",
];

const LISTS_OF_TEXTS: &[&str] = &[
    "[name, service_name]",
    "['a', 'b']",
    "['', NULL, 'é𝄞']",
    "array_repeat(name, 1000)",
    "string_to_array(repeat('a,', 50000), ',')",
    "[repeat(repeat('x', 1000), 1000)]",
    "CAST(NULL AS VARCHAR[])",
    "[]",
];

const LISTS_OF_INTEGERS: &[&str] = &[
    "[duration_ns, 7]",
    "[duration_ns, 7, NULL]",
    "[1, 2, 3]",
    "[9223372036854775807, -9223372036854775808]",
    "range(50000)",
    "range(-100, 100)",
    "array_repeat(duration_ns, 1000)",
    "CAST(NULL AS BIGINT[])",
    "[]",
];

const LISTS_OF_TIMESTAMPS: &[&str] = &[
    "[start_time, now()]",
    "array_repeat(start_time, 1000)",
    "[CAST(NULL AS TIMESTAMP)]",
    "[arrow_cast(9223372036854775807, 'Timestamp(Nanosecond, None)')]",
    "[]",
];

const LISTS_OF_LISTS: &[&str] = &[
    "[[duration_ns], [2, 3]]",
    "[[], [NULL]]",
    "[range(1000), range(1000)]",
    "array_repeat(range(100), 100)",
    "array_repeat([duration_ns], 1000)",
    "[[[[[[[[1]]]]]]]]",
    "array_repeat([], 10000)",
];
