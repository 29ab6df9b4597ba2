//! What a function takes, from what the engine says of it: the types of
//! `information_schema.parameters`, and where it has none the names in the syntax of
//! `information_schema.routines`. Which values there are is `values`' business.

use std::collections::BTreeMap;

use serde_json::Value;

/// Asks for every function that a statement may call.
pub const ROUTINES: &str = "SELECT routine_name AS name, function_type AS kind, max(syntax_example) AS syntax \
    FROM information_schema.routines GROUP BY name, kind ORDER BY name, kind";
/// Asks for the types of those that have declared them.
pub const PARAMETERS: &str = "SELECT specific_name AS name, rid, parameter_name AS parameter, data_type AS type \
    FROM information_schema.parameters WHERE parameter_mode = 'IN' ORDER BY name, rid, ordinal_position";

/// A function, and what it may be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// As it is called.
    pub name: String,
    /// SCALAR, AGGREGATE, WINDOW or TABLE.
    pub kind: String,
    /// Whether it is written with WITHIN GROUP; what it orders by is then its first argument.
    pub(super) is_ordered: bool,
    pub(super) signatures: Vec<Vec<Parameter>>,
}

/// What an argument is, as far as values for it differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parameter {
    /// Of the type that the call is about.
    Element,
    /// A list of it.
    List,
    Text,
    Integer,
    Number,
    Boolean,
    Date,
    Time,
    Timestamp,
    /// A time as a text, or what else becomes one.
    Moment,
    TimeOfDay,
    Interval,
    Duration,
    Binary,
    Map,
    Key,
    Resource,
    Pattern,
    Flags,
    Format,
    TimeFormat,
    Encoding,
    Encoded,
    Part,
    Zone,
    Type,
    Percentile,
    Order,
}

/// Every function of the answers to [`ROUTINES`] and [`PARAMETERS`].
pub fn functions(routines: &[Value], parameters: &[Value]) -> Vec<Function> {
    let declared = declared(parameters);
    let functions = routines.iter().filter_map(|row| {
        let text = |column: &str| row[column].as_str().unwrap_or_default();
        let (name, syntax) = (text("name"), text("syntax"));
        let is_ordered = syntax.contains("WITHIN GROUP");
        let mut signatures = match declared.get(name) {
            Some(declared) if !is_ordered => declared.clone(),
            _ if name == "||" => vec![vec![Parameter::Text; 2], vec![Parameter::List; 2]],
            _ => syntax
                .lines()
                .flat_map(|line| of_syntax(name, line, is_ordered))
                .collect(),
        };
        signatures.sort_by_key(Vec::len);
        signatures.dedup();
        (name != "grouping" && !signatures.is_empty()).then(|| Function {
            name: name.to_owned(),
            kind: text("kind").to_owned(),
            is_ordered,
            signatures,
        })
    });
    functions.collect()
}

fn declared(parameters: &[Value]) -> BTreeMap<&str, Vec<Vec<Parameter>>> {
    let mut of_rid: BTreeMap<(&str, u64), Vec<Parameter>> = BTreeMap::new();
    for row in parameters {
        let text = |column: &str| row[column].as_str().unwrap_or_default();
        let parameter = Parameter::of(text("name"), text("parameter"), text("type"));
        let rid = row["rid"].as_u64().unwrap_or_default();
        of_rid.entry((text("name"), rid)).or_default().push(parameter);
    }
    let mut declared: BTreeMap<&str, Vec<Vec<Parameter>>> = BTreeMap::new();
    for ((name, _), signature) in of_rid {
        declared.entry(name).or_default().push(signature);
    }
    declared
}

/// Of `array_position(array, element[, index])`: without what may be left out, and with it.
fn of_syntax(name: &str, syntax: &str, is_ordered: bool) -> Vec<Vec<Parameter>> {
    let call = syntax.split(" WITHIN GROUP").next().unwrap_or_default();
    let inside = call
        .split_once('(')
        .and_then(|(_, inside)| inside.strip_suffix(')'))
        .filter(|inside| !inside.contains('\''));
    let Some(inside) = inside else {
        return Vec::new();
    };
    let inside = inside.split("[ORDER BY").next().unwrap_or_default();
    let needed = inside.split('[').next().unwrap_or_default();
    let parameters = |list: &str| {
        let names = list.split([',', '[', ']']).map(|part| {
            let part = part.trim();
            part.split(' ').next().unwrap_or_default()
        });
        let ordered_by = is_ordered.then_some("expression");
        ordered_by
            .into_iter()
            .chain(names.filter(|part| !part.is_empty() && *part != "..."))
            .map(|part| Parameter::of(name, part, ""))
            .collect::<Vec<_>>()
    };
    vec![parameters(needed), parameters(inside)]
}

impl Parameter {
    /// Names say more than types do: what is a text may have to be a pattern.
    fn of(function: &str, name: &str, data_type: &str) -> Self {
        let name = name.trim_end_matches(|end: char| end.is_ascii_digit());
        let name = name.strip_suffix("_n").unwrap_or(name);
        match (function, name) {
            (_, "regexp") => Self::Pattern,
            (_, "flags") => Self::Flags,
            ("encode" | "decode", "format") => Self::Encoding,
            ("to_char" | "date_format", "format") => Self::TimeFormat,
            (_, "format") => Self::Format,
            (_, "part" | "precision") => Self::Part,
            (_, "timezone") => Self::Zone,
            (_, "datatype") => Self::Type,
            (_, "percentile" | "q") => Self::Percentile,
            (_, "order" | "nulls_order") => Self::Order,
            (_, "resource") => Self::Resource,
            ("map", "key" | "value") | (_, "array" | "sub_array") => Self::List,
            (_, "key" | "field_name" | "expression_name") => Self::Key,
            ("get_field", "expression") | (_, "map") => Self::Map,
            ("named_struct", _) if name.ends_with("_name") => Self::Key,
            ("decode", "expression") => Self::Encoded,
            ("to_time", "expression") => Self::TimeOfDay,
            ("string_agg", "delimiter") => Self::Key,
            ("gcd" | "lcm", _) => Self::Integer,
            (_, "bytes") => Self::Binary,
            _ => Self::of_type(data_type).unwrap_or_else(|| Self::of_name(function, name)),
        }
    }

    fn of_type(data_type: &str) -> Option<Self> {
        let word = data_type.split('(').next().unwrap_or_default();
        Some(match word {
            "String" => Self::Text,
            "Int8" | "Int16" | "Int32" | "Int64" | "UInt8" | "UInt16" | "UInt32" | "UInt64" => Self::Integer,
            "Float16" | "Float32" | "Float64" | "Decimal" => Self::Number,
            "Boolean" => Self::Boolean,
            "Date" => Self::Date,
            "Time" => Self::Time,
            "Timestamp" => Self::Timestamp,
            "Interval" => Self::Interval,
            "Duration" => Self::Duration,
            "Binary" => Self::Binary,
            _ => return None,
        })
    }

    fn of_name(function: &str, name: &str) -> Self {
        match name {
            "str" | "substr" | "search_str" | "separator" | "delimiter" | "null_string" | "null_str" => {
                Self::Text
            }
            "numeric_expression" | "expression_x" | "expression_y" | "x" => Self::Number,
            "n" | "index" | "begin" | "end" | "stride" | "dimension" | "max" | "size" | "count"
            | "offset" | "centroids" | "int" => Self::Integer,
            "weight" => Self::Number,
            "expression" if function.starts_with("to_") => Self::Moment,
            _ => Self::Element,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parameters_are_read_from_declared_types_and_else_from_the_syntax() {
        let routines = [
            json!({"name": "array_position", "kind": "SCALAR", "syntax": "array_position(array, element[, index])"}),
            json!({"name": "median_of", "kind": "AGGREGATE",
                "syntax": "median_of(percentile [, centroids]) WITHIN GROUP (ORDER BY expression)"}),
            json!({"name": "repeat", "kind": "SCALAR", "syntax": "repeat(str, n)"}),
            json!({"name": "uuid", "kind": "SCALAR", "syntax": "uuid()"}),
        ];
        let row = |parameter: &str, data_type: &str| json!({"name": "repeat", "rid": 0, "parameter": parameter, "type": data_type});
        let found = functions(&routines, &[row("str", "String"), row("n", "Int64")]);
        let signatures: Vec<_> = found.iter().map(|function| function.signatures.clone()).collect();
        use Parameter::{Element, Integer, List, Percentile, Text};
        assert_eq!(
            signatures,
            [
                vec![vec![List, Element], vec![List, Element, Integer]],
                vec![vec![Element, Percentile], vec![Element, Percentile, Integer]],
                vec![vec![Text, Integer]],
                vec![vec![]],
            ]
        );
        assert!(found[1].is_ordered);
    }
}
