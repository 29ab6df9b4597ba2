//! Turns what DataFusion says about a failed query into what the person who asked can use.
//! The rule: what comes from the statement is theirs (and says where), what comes from our
//! files and limits is ours.

use std::error::Error as StdError;

use arrow::error::ArrowError;
use datafusion::common::{Diagnostic, SchemaError};
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;

use super::error::{BadId, QueryError, UnreadableFile};
use super::gate::caps::Breach;
use super::place::Place;
use super::reader::OpenFiles;
use super::render::AnswersFull;
use super::suggest;

/// The most bytes of a message of the engine that are passed on.
const MESSAGE_BYTES_MAX: usize = 2_000;
/// The most names that a hint lists.
const NAMES_MAX: usize = 120;

/// What an explanation may refer to.
pub(super) struct Context<'a> {
    pub(super) sql: &'a str,
    pub(super) tables: &'a [&'a str],
    pub(super) open_files: &'a OpenFiles,
    pub(super) memory_limit: usize,
}

/// Explains an error of parsing, planning or running `context.sql`.
pub(super) fn explain(error: &DataFusionError, context: &Context<'_>) -> QueryError {
    let first = error.iter().next().unwrap_or(error);
    if let Some(fault) = find::<BadId>(first) {
        let place = Place::of_word(context.sql, &fault.literal);
        return QueryError::BadId {
            fault: fault.clone(),
            place,
        };
    }
    if let Some(breach) = find::<Breach>(first) {
        return (*breach).into();
    }
    if let Some(full) = find::<AnswersFull>(first) {
        return QueryError::AnswersFull {
            limit: full.bytes_max,
        };
    }
    if let Some(reason) = find::<object_store::Error>(first).and_then(store_fault) {
        return QueryError::Store { reason };
    }
    if let Some(unreadable) = find::<UnreadableFile>(first) {
        return QueryError::DataFile {
            path: unreadable.path.to_string(),
            message: cut(&unreadable.source.to_string()),
        };
    }
    let place = first
        .diagnostic()
        .and_then(|diagnostic| diagnostic.span)
        .and_then(|span| Place::of_span(context.sql, span));
    explain_root(first.find_root(), first.diagnostic(), place, context)
}

/// What an error of the object store says of the store as a whole; nothing if it is about one
/// object, or about a range of it.
fn store_fault(error: &object_store::Error) -> Option<String> {
    use object_store::Error;
    let is_of_bucket = match error {
        Error::Unauthenticated { .. } | Error::PermissionDenied { .. } => true,
        // A bucket's failed requests; a directory's faults are those of its files.
        Error::Generic { store, .. } => *store == "S3",
        _ => false,
    };
    is_of_bucket.then(|| {
        format!(
            "the store cannot be read: {}",
            cut(&meridian_runtime::chain(error))
        )
    })
}

fn explain_root(
    root: &DataFusionError,
    diagnostic: Option<&Diagnostic>,
    place: Option<Place>,
    context: &Context<'_>,
) -> QueryError {
    match root {
        DataFusionError::SQL(parser, _) => explain_syntax(parser, context.sql),
        DataFusionError::SchemaError(schema, _) => explain_schema(schema, place, context.sql),
        DataFusionError::Plan(message) => explain_plan(message, diagnostic, place, context),
        DataFusionError::ResourcesExhausted(_) => QueryError::Memory {
            limit: context.memory_limit,
        },
        DataFusionError::NotImplemented(message) if message.contains("single SQL statement") => {
            QueryError::SeveralStatements
        }
        DataFusionError::NotImplemented(message) => QueryError::Invalid {
            message: format!("not supported: {}", cut(message)),
            place,
            hint: None,
        },
        DataFusionError::ParquetError(_) | DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => {
            unnamed_file(root, context)
        }
        DataFusionError::ArrowError(arrow, _) if matches!(**arrow, ArrowError::ParquetError(_)) => {
            unnamed_file(root, context)
        }
        DataFusionError::Execution(message)
        | DataFusionError::Internal(message)
        | DataFusionError::Configuration(message) => QueryError::Failed {
            message: cut(message),
        },
        other => QueryError::Failed {
            message: cut(&other.strip_backtrace()),
        },
    }
}

/// A file that failed while it was decoded, where the reader has no part in the error. A
/// filter that fails on a value while a file is read is the statement's fault, not the file's.
fn unnamed_file(root: &DataFusionError, context: &Context<'_>) -> QueryError {
    let message = root.strip_backtrace();
    if let Some((_, fault)) = message.split_once("Error evaluating filter predicate: ") {
        return QueryError::Failed {
            message: cut(quoted(fault)),
        };
    }
    QueryError::DataFile {
        path: context.open_files.names(),
        message: cut(&message),
    }
}

/// The sentence in the debug form of an error: `ArrowError(CastError("…"), Some(""))`.
fn quoted(debug: &str) -> &str {
    let inside = debug
        .split_once("(\"")
        .and_then(|(_, tail)| tail.split_once("\")"));
    inside.map_or(debug, |(sentence, _)| sentence)
}

fn explain_syntax(error: &ParserError, sql: &str) -> QueryError {
    let message = match error {
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message.clone(),
        ParserError::RecursionLimitExceeded => "the statement is nested too deeply".to_owned(),
    };
    let (message, place) = Place::split_message(sql, &message);
    let place = match place {
        None if message.contains("EOF") => Place::end(sql),
        place => place,
    };
    QueryError::Syntax {
        message: cut(&message),
        place,
    }
}

fn explain_schema(error: &SchemaError, place: Option<Place>, sql: &str) -> QueryError {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let names: Vec<&str> = valid_fields.iter().map(|column| column.name.as_str()).collect();
            QueryError::UnknownColumn {
                name: field.flat_name(),
                place: place.or_else(|| Place::of_word(sql, &field.name)),
                hint: hint(&field.name, &names, "column"),
            }
        }
        SchemaError::AmbiguousReference { field } => QueryError::Invalid {
            message: format!("column '{}' is in more than one table", field.name),
            place: place.or_else(|| Place::of_word(sql, &field.name)),
            hint: Some("write the table's name or alias before it".to_owned()),
        },
        other => QueryError::Invalid {
            message: cut(&other.to_string()),
            place,
            hint: Some("give one of them another name with AS".to_owned()),
        },
    }
}

fn explain_plan(
    message: &str,
    diagnostic: Option<&Diagnostic>,
    place: Option<Place>,
    context: &Context<'_>,
) -> QueryError {
    if message.starts_with("No SQL statements were provided") {
        return QueryError::Empty;
    }
    if let Some(name) = unknown_table(message) {
        return QueryError::UnknownTable {
            place: place.or_else(|| Place::of_word(context.sql, &name)),
            hint: hint(&name, context.tables, "table"),
            name,
        };
    }
    let helps = diagnostic.map(|diagnostic| {
        let helps: Vec<&str> = diagnostic
            .helps
            .iter()
            .map(|help| help.message.as_str())
            .collect();
        helps.join("; ")
    });
    QueryError::Invalid {
        message: cut(message),
        place,
        hint: helps.filter(|helps| !helps.is_empty()),
    }
}

/// The last part of the name in "table 'meridian.public.spanz' not found".
fn unknown_table(message: &str) -> Option<String> {
    let name = message.strip_prefix("table '")?.strip_suffix("' not found")?;
    name.rsplit('.').next().map(ToOwned::to_owned)
}

fn hint(typed: &str, known: &[&str], what: &str) -> String {
    let mut names = known.to_vec();
    names.dedup();
    let more = if names.len() > NAMES_MAX { ", …" } else { "" };
    names.truncate(NAMES_MAX);
    let list = names.join(", ");
    match suggest::nearest(typed, names.iter().copied()) {
        Some(name) => format!("did you mean '{name}'? The {what}s are {list}{more}"),
        None => format!("the {what}s are {list}{more}"),
    }
}

/// Looks for an error of ours among the causes, also inside the boxes of Arrow and Parquet.
fn find<E: StdError + 'static>(error: &DataFusionError) -> Option<&E> {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(current) = next {
        if let Some(found) = current.downcast_ref::<E>() {
            return Some(found);
        }
        next = inside(current).or_else(|| current.source());
    }
    None
}

/// The boxed causes that `source` of their owners passes over.
fn inside<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    use parquet::errors::ParquetError;
    match error.downcast_ref::<DataFusionError>() {
        Some(DataFusionError::External(inner)) => return Some(inner.as_ref()),
        Some(DataFusionError::ParquetError(inner)) => return Some(inner.as_ref()),
        Some(DataFusionError::ArrowError(inner, _)) => return Some(inner.as_ref()),
        _ => {}
    }
    if let Some(ParquetError::External(inner)) = error.downcast_ref::<ParquetError>() {
        return Some(inner.as_ref());
    }
    match error.downcast_ref::<ArrowError>() {
        Some(ArrowError::ExternalError(inner)) => Some(inner.as_ref()),
        _ => None,
    }
}

/// A message without the engine's call for bug reports, and not longer than an answer may be.
fn cut(message: &str) -> String {
    let message = message
        .split("\nThis issue was likely caused")
        .next()
        .unwrap_or(message);
    let message = message
        .split(DataFusionError::BACK_TRACE_SEP)
        .next()
        .unwrap_or(message)
        .trim();
    if message.len() <= MESSAGE_BYTES_MAX {
        return message.to_owned();
    }
    let end = message.floor_char_boundary(MESSAGE_BYTES_MAX);
    format!("{}…", message.get(..end).unwrap_or_default())
}
