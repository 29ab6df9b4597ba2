//! The named queries of `queries/`: one question per file, with a header that says its
//! purpose and its typed parameters. The files are part of the binary; nothing is loaded.
//!
//! ```text
//! -- name: slowest_traces
//! -- purpose: Why anyone asks.
//! -- param: NAME TYPE [default VALUE]  What it means.
//! -- used by: who
//! ```

use std::collections::BTreeMap;
use std::sync::LazyLock;

use meridian_runtime::units;

use super::error::QueryError;
use super::params::{Param, Params};
use super::{suggest, times};

macro_rules! embedded {
    ($($name:literal),* $(,)?) => {
        [$(include_str!(concat!("../../../queries/", $name, ".sql"))),*]
    };
}

const FILES: [&str; 12] = embedded![
    "cross_region_calls",
    "error_log_lines",
    "errors_by_service_and_region",
    "ingest_lag",
    "logs_of_trace",
    "metric_names",
    "services",
    "silent_agents",
    "slowest_traces",
    "top_operations_by_p99",
    "trace_spans",
    "traffic_share_by_region",
];

static QUERIES: LazyLock<Vec<NamedQuery>> =
    LazyLock::new(|| FILES.iter().filter_map(|text| NamedQuery::parse(text)).collect());

/// A question with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedQuery {
    /// By which it is asked.
    pub name: &'static str,
    /// Why anyone asks.
    pub purpose: &'static str,
    /// Who asks.
    pub used_by: &'static str,
    /// What it needs to know, in the order of the header.
    pub parameters: Vec<Parameter>,
    /// The statement, with a `$name` for each parameter.
    pub sql: &'static str,
}

/// A parameter of a named query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// How its text is read.
    pub kind: Kind,
    /// The text that stands for it where none is given; required if there is none.
    pub default: Option<&'static str>,
    /// What it means.
    pub description: &'static str,
}

/// The type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    String,
    /// A whole number.
    Integer,
    /// A length of time, like `5m`.
    Duration,
    /// A point in time: `now`, `-1h` or RFC 3339.
    Timestamp,
}

impl Kind {
    /// The word in the header and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::String => "string",
            Kind::Integer => "integer",
            Kind::Duration => "duration",
            Kind::Timestamp => "timestamp",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Kind::String, Kind::Integer, Kind::Duration, Kind::Timestamp]
            .into_iter()
            .find(|kind| kind.as_str() == word)
    }

    /// Reads a value; the error says what is expected.
    fn read(self, text: &str, now_unix_nanos: u64) -> Result<Param, String> {
        match self {
            Kind::String => Ok(Param::Text(text.to_owned())),
            Kind::Integer => text
                .parse()
                .map(Param::Integer)
                .map_err(|_| format!("'{text}' is not a whole number")),
            Kind::Duration => units::parse_duration(text)
                .ok()
                .and_then(|duration| i64::try_from(duration.as_micros()).ok())
                .filter(|micros| *micros > 0)
                .map(Param::Duration)
                .ok_or_else(|| format!("'{text}' is not a duration; write one like 30s or 5m")),
            Kind::Timestamp => times::parse(text, now_unix_nanos)
                .map(Param::Timestamp)
                .ok_or_else(|| format!("'{text}' is not a time; {}", times::FORMS)),
        }
    }
}

/// Every named query, by name.
pub fn all() -> &'static [NamedQuery] {
    &QUERIES
}

/// The query of this name.
pub fn find(name: &str) -> Option<&'static NamedQuery> {
    QUERIES.iter().find(|query| query.name == name)
}

/// The name that was probably meant.
pub fn nearest(name: &str) -> Option<&'static str> {
    suggest::nearest(name, QUERIES.iter().map(|query| query.name))
}

impl NamedQuery {
    /// Reads the values that were given, and the defaults of the others.
    pub fn params(
        &self,
        given: &BTreeMap<String, String>,
        now_unix_nanos: u64,
    ) -> Result<Params, QueryError> {
        if let Some(unknown) = given.keys().find(|name| !self.has(name)) {
            let names: Vec<&str> = self.parameters.iter().map(|parameter| parameter.name).collect();
            return Err(QueryError::BadParameter {
                name: unknown.clone(),
                what: match names.as_slice() {
                    [] => format!("{} takes no parameters", self.name),
                    names => format!("{} takes only {}", self.name, names.join(", ")),
                },
            });
        }
        let read = |parameter: &Parameter| {
            let given = given.get(parameter.name).map(String::as_str);
            let value = parameter.value(given, now_unix_nanos);
            let value = value.map_err(|what| QueryError::BadParameter {
                name: parameter.name.to_owned(),
                what,
            })?;
            Ok((parameter.name.to_owned(), value))
        };
        self.parameters.iter().map(read).collect()
    }

    fn has(&self, name: &str) -> bool {
        self.parameters.iter().any(|parameter| parameter.name == name)
    }

    /// Reads a file; `None` if a line of its header is missing or malformed.
    fn parse(text: &'static str) -> Option<Self> {
        let header = |key: &'static str| header_lines(text, key).next();
        Some(Self {
            name: header("name: ")?,
            purpose: header("purpose: ")?,
            used_by: header("used by: ")?,
            parameters: header_lines(text, "param: ")
                .map(Parameter::parse)
                .collect::<Option<_>>()?,
            sql: text,
        })
    }
}

fn header_lines(text: &'static str, key: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines()
        .filter_map(move |line| line.strip_prefix("-- ")?.strip_prefix(key).map(str::trim))
}

impl Parameter {
    fn parse(line: &'static str) -> Option<Self> {
        let (specification, description) = line.split_once("  ")?;
        let mut words = specification.split_whitespace();
        let (name, kind) = (words.next()?, Kind::from_word(words.next()?)?);
        let default = match (words.next(), words.next()) {
            (None, None) => None,
            (Some("default"), Some(value)) => Some(value),
            _ => return None,
        };
        let description = description.trim();
        Some(Self {
            name,
            kind,
            default,
            description,
        })
    }

    fn value(&self, given: Option<&str>, now_unix_nanos: u64) -> Result<Param, String> {
        match given.or(self.default) {
            None => Err(format!("it is required ({})", self.description)),
            Some("null") if given.is_none() => Ok(Param::Null),
            Some(text) => self.kind.read(text, now_unix_nanos),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_read_and_uses_what_it_declares() {
        assert_eq!(all().len(), FILES.len(), "a header is malformed");
        for query in all() {
            for parameter in &query.parameters {
                let placeholder = format!("${}", parameter.name);
                assert!(query.sql.contains(&placeholder), "{}: {placeholder}", query.name);
            }
        }
    }

    #[test]
    fn every_file_of_the_directory_is_embedded() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../queries");
        let files = std::fs::read_dir(directory).expect("the directory").count();
        assert_eq!(files, FILES.len());
    }

    #[test]
    fn values_are_read_by_type_and_faults_name_the_parameter() {
        let query = find("traffic_share_by_region").expect("the query");
        let given = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let params = query.params(&given("step", "1m"), 1 << 60).expect("values");
        assert_eq!(params.get("step"), Some(&Param::Duration(60_000_000)));
        let fault = |name, value| {
            let fault = query.params(&given(name, value), 1 << 60).expect_err("a fault");
            fault.to_string()
        };
        assert!(fault("step", "fast").starts_with("parameter step: 'fast' is not a duration"));
        assert!(fault("frm", "now").contains("takes only from, to, step"));
        let required = find("logs_of_trace")
            .expect("the query")
            .params(&BTreeMap::new(), 0);
        let fault = required.expect_err("a fault").to_string();
        assert!(fault.contains("trace_id: it is required"), "{fault}");
    }
}
