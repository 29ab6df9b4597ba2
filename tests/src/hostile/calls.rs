//! Random calls of functions. Most are of the types that the function takes, with absurd values of
//! them; some are not. The first call of each function is one that should be answered.

use super::Hostile;

use super::values::{self, Theme};
use crate::bench::random::Random;

pub use super::parameters::{Function, PARAMETERS, ROUTINES, functions};

/// One of so many calls has an argument of any type, and one has an argument too many or too few.
const ILL_TYPED: u64 = 12;
/// One of so many calls is of many rows.
const MANY_ROWS: u64 = 50;

/// `count` calls of `functions` in turn, the same for the same seed.
pub fn calls(functions: &[Function], seed: u64, count: usize) -> Vec<Hostile> {
    let mut random = Random::seeded(seed);
    let calls = (0..count).map(|index| {
        let function = &functions[index % functions.len()];
        let sql = match index < functions.len() {
            true => sensible(function),
            false => absurd(function, &mut random),
        };
        Hostile {
            class: "call",
            function: Some(function.name.clone()),
            sql,
        }
    });
    calls.collect()
}

fn sensible(function: &Function) -> String {
    let theme = Theme::Integer;
    let signature = &function.signatures[0];
    let arguments = signature.iter().map(|parameter| values::of(*parameter, theme)[0]);
    let call = call(function, &arguments.collect::<Vec<_>>(), "");
    match function.kind.as_str() {
        "WINDOW" => format!("SELECT {call} OVER (ORDER BY start_time) AS x FROM spans LIMIT 3"),
        "TABLE" => format!("SELECT count(*) AS x FROM {call}"),
        _ => format!("SELECT {call} AS x FROM spans LIMIT 3"),
    }
}

fn absurd(function: &Function, random: &mut Random) -> String {
    let theme = random.pick(&Theme::ALL);
    let signature = &function.signatures[random.index(function.signatures.len())];
    let mut arguments: Vec<&str> = signature
        .iter()
        .map(|parameter| random.pick(values::of(*parameter, theme)))
        .collect();
    if random.below(ILL_TYPED) == 0 && !arguments.is_empty() {
        let index = random.index(arguments.len());
        arguments[index] = random.pick(values::ANYTHING);
    }
    if random.below(ILL_TYPED) == 0 {
        match arguments.pop() {
            Some(last) if random.below(2) == 0 => arguments.extend([last, last]),
            _ => {}
        }
    }
    match function.kind.as_str() {
        "AGGREGATE" => aggregate(function, &arguments, random),
        "WINDOW" => over_window(&call(function, &arguments, ""), random),
        "TABLE" => format!("SELECT count(*) AS x FROM {}", call(function, &arguments, "")),
        _ => scalar(&call(function, &arguments, ""), random),
    }
}

fn scalar(call: &str, random: &mut Random) -> String {
    if random.below(MANY_ROWS) == 0 {
        return format!(
            "SELECT count(x) AS x FROM (SELECT {call} AS x FROM spans, generate_series(1, 10000))"
        );
    }
    match random.below(6) {
        0 => format!("SELECT count(x) AS x FROM (SELECT {call} AS x FROM spans)"),
        1 => format!("SELECT count(*) AS x FROM spans WHERE {call} IS NOT NULL"),
        2 => format!("SELECT count(*) AS x FROM spans GROUP BY {call} LIMIT 3"),
        3 => format!("SELECT name AS x FROM spans ORDER BY {call} LIMIT 3"),
        _ => format!("SELECT {call} AS x FROM spans LIMIT 3"),
    }
}

fn aggregate(function: &Function, arguments: &[&str], random: &mut Random) -> String {
    let distinct = if random.below(5) == 0 { "DISTINCT " } else { "" };
    let call = call(function, arguments, distinct);
    if random.below(MANY_ROWS) == 0 {
        return format!("SELECT {call} AS x FROM spans, generate_series(1, 10000) GROUP BY duration_ns % 7");
    }
    match random.below(5) {
        0 => format!("SELECT name, {call} AS x FROM spans GROUP BY name LIMIT 3"),
        1 => format!("SELECT {call} FILTER (WHERE duration_ns % 3 = 0) AS x FROM spans"),
        2 => over_window(&call, random),
        3 => format!("SELECT {call} AS x FROM spans WHERE false"),
        _ => format!("SELECT {call} AS x FROM spans"),
    }
}

fn over_window(call: &str, random: &mut Random) -> String {
    let window = random.pick(&[
        "",
        "ORDER BY duration_ns",
        "PARTITION BY kind ORDER BY duration_ns DESC",
        "ORDER BY start_time ROWS BETWEEN 9223372036854775807 PRECEDING AND CURRENT ROW",
        "ORDER BY duration_ns RANGE BETWEEN 1000 PRECEDING AND 1000 FOLLOWING",
        "PARTITION BY name ORDER BY start_time GROUPS BETWEEN 3 PRECEDING AND UNBOUNDED FOLLOWING",
    ]);
    format!("SELECT {call} OVER ({window}) AS x FROM spans LIMIT 3")
}

/// A few are written in a way of their own.
fn call(function: &Function, arguments: &[&str], distinct: &str) -> String {
    let name = &function.name;
    match (name.as_str(), arguments) {
        ("||", [left, right]) => format!("{left} || {right}"),
        ("position", [text, part]) => format!("position({part} IN {text})"),
        ("overlay", [text, part, from]) => format!("overlay({text} PLACING {part} FROM {from})"),
        ("overlay", [text, part, from, count]) => {
            format!("overlay({text} PLACING {part} FROM {from} FOR {count})")
        }
        (_, [by, rest @ ..]) if function.is_ordered => {
            format!(
                "{name}({distinct}{}) WITHIN GROUP (ORDER BY {by})",
                rest.join(", ")
            )
        }
        _ => format!("{name}({distinct}{})", arguments.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parameters::Parameter;
    use super::*;
    use serde_json::json;

    #[test]
    fn calls_repeat_with_their_seed_and_begin_with_a_sensible_one() {
        let routine = json!({"name": "left", "kind": "SCALAR", "syntax": "left(str, n)"});
        let functions = functions(&[routine], &[]);
        assert_eq!(calls(&functions, 7, 50), calls(&functions, 7, 50));
        assert_ne!(calls(&functions, 7, 50), calls(&functions, 8, 50));
        assert_eq!(
            calls(&functions, 7, 1)[0].sql,
            "SELECT left(name, 3) AS x FROM spans LIMIT 3"
        );
        assert_eq!(functions[0].signatures, [[Parameter::Text, Parameter::Integer]]);
    }
}
