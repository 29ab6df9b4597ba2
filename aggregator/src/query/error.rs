//! Why a question was not answered, with its place, a hint and a code. What HTTP makes of
//! it is the API's business; how DataFusion's errors become these is in `explain`.

use std::time::Duration;

use object_store::path::Path;
use thiserror::Error;

use super::gate::caps::Breach;
use super::place::Place;

/// Why a question was not answered.
#[derive(Debug, Error)]
pub enum QueryError {
    /// Nothing was asked.
    #[error("the statement is empty")]
    Empty,
    /// The statement is longer than anything that is read.
    #[error("the statement has {bytes} bytes; at most {limit} are read")]
    StatementTooLarge {
        /// Its bytes.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The statement is so deep or so wide that planning it could end the process.
    #[error("the statement has {breach}{} ({})", at(.place), .breach.key())]
    TooComplex {
        /// What it has too much of.
        breach: Breach,
        /// Where it became too much.
        place: Option<Place>,
    },
    /// The statement would change something.
    #[error("{what} is refused: only questions are answered")]
    NotReadOnly {
        /// The verb.
        what: String,
    },
    /// More than one statement.
    #[error("there is more than one statement; ask one question at a time")]
    SeveralStatements,
    /// The statement is not SQL.
    #[error("{message}{}", at(.place))]
    Syntax {
        /// What the parser expected and found.
        message: String,
        /// Where.
        place: Option<Place>,
    },
    /// A table that does not exist.
    #[error("table '{name}' not found{}", at(.place))]
    UnknownTable {
        /// As it was written.
        name: String,
        /// Where.
        place: Option<Place>,
        /// The tables there are, the likely one first in the sentence.
        hint: String,
    },
    /// A column that does not exist.
    #[error("column '{name}' not found{}", at(.place))]
    UnknownColumn {
        /// As it was written.
        name: String,
        /// Where.
        place: Option<Place>,
        /// The columns there are, the likely one first in the sentence.
        hint: String,
    },
    /// The statement is SQL, but does not make sense here.
    #[error("{message}{}", at(.place))]
    Invalid {
        /// Why.
        message: String,
        /// Where.
        place: Option<Place>,
        /// What to do.
        hint: Option<String>,
    },
    /// An id that is not hex, or has the wrong length.
    #[error("{fault}{}", at(.place))]
    BadId {
        /// Which literal, and what it should be.
        fault: BadId,
        /// Where.
        place: Option<Place>,
    },
    /// A parameter that is missing, unknown or of another type.
    #[error("parameter {name}: {what}")]
    BadParameter {
        /// Its name.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// The question is fine, but its evaluation failed on a value.
    #[error("the query failed: {message}")]
    Failed {
        /// What the engine said.
        message: String,
    },
    /// A file of a table cannot be read.
    #[error("the data file {path} cannot be read: {message}")]
    DataFile {
        /// The file, or the files of which one it is.
        path: String,
        /// What is wrong with it.
        message: String,
    },
    /// The store that holds the tables does not answer.
    #[error("{reason}")]
    Store {
        /// Which store, and what is wrong.
        reason: String,
    },
    /// The queries that run need more memory than they may have.
    #[error("the query needs more memory than the {limit} bytes that all queries share")]
    Memory {
        /// The limit.
        limit: usize,
    },
    /// The process had grown too large, and the query was the largest.
    #[error("the query was ended: the process had grown beyond {limit} bytes, and no other query held more")]
    ProcessMemory {
        /// The limit.
        limit: usize,
    },
    /// Other answers take the memory that there is for answers.
    #[error("answers that are being made and sent take all of their {limit} bytes")]
    AnswersFull {
        /// The limit.
        limit: usize,
    },
    /// The query took too long, and was ended.
    #[error("the query was ended after {} s", limit.as_secs_f64())]
    Timeout {
        /// The limit.
        limit: Duration,
    },
    /// Too many queries run already.
    #[error("{limit} queries are running; no more are taken now")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// The query hit a bug that ended it, and nothing else.
    #[error("the query ended by a panic: {message}")]
    Panicked {
        /// What it said.
        message: String,
    },
    /// The engine could not be started, or is being stopped.
    #[error("the query engine is not running")]
    NotRunning(#[source] Option<std::io::Error>),
}

/// Of what is found where nobody knows the place any more.
impl From<Breach> for QueryError {
    fn from(breach: Breach) -> Self {
        Self::TooComplex { breach, place: None }
    }
}

impl QueryError {
    /// The word by which a program tells this error from others.
    pub fn code(&self) -> &'static str {
        match self {
            QueryError::Empty => "empty_statement",
            QueryError::StatementTooLarge { .. } => "statement_too_large",
            QueryError::TooComplex { .. } => "statement_too_complex",
            QueryError::NotReadOnly { .. } => "read_only",
            QueryError::SeveralStatements => "several_statements",
            QueryError::Syntax { .. } => "syntax",
            QueryError::UnknownTable { .. } => "unknown_table",
            QueryError::UnknownColumn { .. } => "unknown_column",
            QueryError::Invalid { .. } => "invalid_query",
            QueryError::BadId { .. } => "bad_id",
            QueryError::BadParameter { .. } => "bad_parameter",
            QueryError::Failed { .. } => "query_failed",
            QueryError::DataFile { .. } => "data_file",
            QueryError::Store { .. } => "store_unreachable",
            QueryError::Memory { .. } => "query_memory",
            QueryError::ProcessMemory { .. } => "process_memory",
            QueryError::AnswersFull { .. } => "answers_memory",
            QueryError::Timeout { .. } => "timeout",
            QueryError::TooMany { .. } => "too_many_queries",
            QueryError::Panicked { .. } => "query_panicked",
            QueryError::NotRunning(_) => "not_running",
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            QueryError::Empty => "send {\"sql\": \"SELECT …\"} or the bare statement as text/plain",
            QueryError::StatementTooLarge { .. } => {
                "limits.statement_bytes: put long lists of values into fewer, broader conditions"
            }
            QueryError::TooComplex { breach, .. } => breach.rewrite(),
            QueryError::NotReadOnly { .. } => "use SELECT, EXPLAIN, SHOW TABLES or DESCRIBE",
            QueryError::SeveralStatements => "send each statement in a request of its own",
            QueryError::UnknownTable { hint, .. } | QueryError::UnknownColumn { hint, .. } => hint,
            QueryError::Invalid { hint, .. } => return hint.clone(),
            QueryError::Memory { .. } => {
                "limits.query_memory: narrow the time range, or group by fewer values"
            }
            QueryError::ProcessMemory { .. } => {
                "limits.process_memory: narrow the time range, group by fewer values, or make shorter ones"
            }
            QueryError::Timeout { .. } => "limits.query_timeout: narrow the time range or the regions",
            QueryError::TooMany { .. } => "limits.queries: try again in a moment",
            QueryError::AnswersFull { .. } => "try again in a moment, or ask for fewer rows",
            QueryError::Store { .. } => "try again when /readyz is ok; rows that are in memory still answer",
            QueryError::DataFile { .. } => "exclude its date or region, or restore the file",
            QueryError::BadId { .. } => "write trace ids as 32 and span ids as 16 hex digits",
            QueryError::Syntax { .. }
            | QueryError::BadParameter { .. }
            | QueryError::Failed { .. }
            | QueryError::Panicked { .. }
            | QueryError::NotRunning(_) => return None,
        };
        Some(text.to_owned())
    }
}

/// A literal that was compared with an id and cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{literal}' is not {}: write {}", .column.as_deref().unwrap_or("binary"), expected(*.bytes))]
pub struct BadId {
    /// As it was written, cut if it is long.
    pub literal: String,
    /// The column it was compared with.
    pub column: Option<String>,
    /// The bytes that the column's values have.
    pub bytes: Option<usize>,
}

/// A file of a table that could not be read, as the reader reports it through DataFusion.
#[derive(Debug, Error)]
#[error("{path} cannot be read")]
pub(super) struct UnreadableFile {
    pub(super) path: Path,
    #[source]
    pub(super) source: parquet::errors::ParquetError,
}

fn expected(bytes: Option<usize>) -> String {
    match bytes {
        Some(bytes) => format!("{} hex digits", bytes * 2),
        None => "pairs of hex digits".to_owned(),
    }
}

fn at(place: &Option<Place>) -> String {
    place
        .as_ref()
        .map_or_else(String::new, |place| format!(" at {place}"))
}
