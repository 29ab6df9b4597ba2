//! Values for `$name` in a statement. They are put into the syntax tree as literals before
//! anything is planned, so that every expression has its type; they are never pasted as text.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use chrono::{DateTime, SecondsFormat, Utc};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    DataType, Expr, Interval, Statement as SqlStatement, TimezoneInfo, TypedString, UnaryOperator, Value,
    visit_expressions_mut,
};
use serde_json::Value as Json;

use super::error::QueryError;

/// The value of a parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum Param {
    /// No value.
    Null,
    /// True or false.
    Boolean(bool),
    /// An integer.
    Integer(i64),
    /// Any other number.
    Double(f64),
    /// A string.
    Text(String),
    /// A point in time.
    Timestamp(DateTime<Utc>),
    /// A length of time, in microseconds.
    Duration(i64),
}

/// Values by name, without the `$`.
pub type Params = BTreeMap<String, Param>;

/// Reads the values of a JSON object; arrays and objects have no place in a statement.
pub fn from_json(values: &serde_json::Map<String, Json>) -> Result<Params, QueryError> {
    values
        .iter()
        .map(|(name, value)| {
            let name = name.strip_prefix('$').unwrap_or(name);
            Ok((name.to_owned(), param_of(name, value)?))
        })
        .collect()
}

fn param_of(name: &str, value: &Json) -> Result<Param, QueryError> {
    Ok(match value {
        Json::Null => Param::Null,
        Json::Bool(value) => Param::Boolean(*value),
        Json::String(text) => Param::Text(text.clone()),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Param::Integer(integer),
            (None, Some(double)) => Param::Double(double),
            (None, None) => return Err(bad(name, "this number is out of range")),
        },
        Json::Array(_) | Json::Object(_) => {
            return Err(bad(name, "give a string, a number, a boolean or null"));
        }
    })
}

/// Replaces every `$name`; a name without a value, and a value without a name, are faults.
pub(super) fn bind(statement: &mut Statement, params: &Params) -> Result<(), QueryError> {
    let mut used = BTreeSet::new();
    bind_in(statement, params, &mut used)?;
    match params.keys().find(|name| !used.contains(*name)) {
        Some(unused) => Err(bad(unused, "the statement has no such parameter")),
        None => Ok(()),
    }
}

fn bind_in(
    statement: &mut Statement,
    params: &Params,
    used: &mut BTreeSet<String>,
) -> Result<(), QueryError> {
    match statement {
        Statement::Statement(inner) => bind_sql(inner, params, used),
        Statement::Explain(explain) => bind_in(&mut explain.statement, params, used),
        _ => Ok(()),
    }
}

fn bind_sql(
    statement: &mut SqlStatement,
    params: &Params,
    used: &mut BTreeSet<String>,
) -> Result<(), QueryError> {
    let flow = visit_expressions_mut(statement, |expr| {
        let Some(name) = placeholder(expr) else {
            return ControlFlow::Continue(());
        };
        match params.get(&name) {
            Some(value) => {
                *expr = literal(value);
                used.insert(name);
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(bad(&name, "it has no value; give one in params")),
        }
    });
    match flow {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

fn placeholder(expr: &Expr) -> Option<String> {
    let Expr::Value(value) = expr else { return None };
    let Value::Placeholder(text) = &value.value else {
        return None;
    };
    Some(text.strip_prefix('$').unwrap_or(text).to_owned())
}

fn literal(param: &Param) -> Expr {
    match param {
        Param::Null => value(Value::Null),
        Param::Boolean(flag) => value(Value::Boolean(*flag)),
        Param::Integer(number) => signed(number.is_negative(), number.unsigned_abs().to_string()),
        Param::Double(number) => signed(number.is_sign_negative(), format!("{:e}", number.abs())),
        Param::Text(text) => value(Value::SingleQuotedString(text.clone())),
        Param::Timestamp(time) => Expr::TypedString(TypedString {
            data_type: DataType::Timestamp(None, TimezoneInfo::WithTimeZone),
            value: Value::SingleQuotedString(time.to_rfc3339_opts(SecondsFormat::Micros, true)).into(),
            uses_odbc_syntax: false,
        }),
        Param::Duration(micros) => Expr::Interval(Interval {
            value: Box::new(value(Value::SingleQuotedString(format!("{micros} microseconds")))),
            leading_field: None,
            leading_precision: None,
            last_field: None,
            fractional_seconds_precision: None,
        }),
    }
}

fn value(value: Value) -> Expr {
    Expr::Value(value.into())
}

fn signed(negative: bool, digits: String) -> Expr {
    let number = value(Value::Number(digits, false));
    if !negative {
        return number;
    }
    Expr::Nested(Box::new(Expr::UnaryOp {
        op: UnaryOperator::Minus,
        expr: Box::new(number),
    }))
}

fn bad(name: &str, what: &str) -> QueryError {
    QueryError::BadParameter {
        name: name.to_owned(),
        what: what.to_owned(),
    }
}
