//! A reader of the Prometheus text format, for what the processes say of themselves. It
//! reads what we write and refuses the rest; it is no general parser.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

/// One exposition: every sample with its labels.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    samples: Vec<Sample>,
}

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The metric's name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

impl Sample {
    /// The value of a label, empty where there is none.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

impl Metrics {
    /// Reads an exposition.
    pub fn parse(text: &str) -> Result<Self> {
        let lines = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let samples = lines.map(|line| sample(line).with_context(|| format!("line `{line}`")));
        Ok(Self {
            samples: samples.collect::<Result<_>>()?,
        })
    }

    /// The samples of this name.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| sample.name == name)
    }

    /// The sum of the samples of this name that have all of these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.named(name)
            .filter(|sample| labels.iter().all(|(key, value)| sample.label(key) == *value))
            .map(|sample| sample.value)
            .sum()
    }
}

fn sample(line: &str) -> Result<Sample> {
    let (series, value) = line.rsplit_once(' ').context("no value")?;
    let (name, labels) = match series.split_once('{') {
        None => (series, BTreeMap::new()),
        Some((name, rest)) => (name, labels(rest.strip_suffix('}').context("no closing brace")?)?),
    };
    Ok(Sample {
        name: name.to_owned(),
        labels,
        value: value.parse()?,
    })
}

fn labels(mut rest: &str) -> Result<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    while !rest.is_empty() {
        let (key, tail) = rest.split_once("=\"").context("no value of a label")?;
        let (value, tail) = quoted(tail).context("no end of a label's value")?;
        labels.insert(key.trim_start_matches(',').to_owned(), value);
        rest = tail;
    }
    Ok(labels)
}

/// The text up to the closing quote without its escapes, and what follows the quote.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next()? {
            '"' => return Some((value, characters.as_str())),
            '\\' => value.push(match characters.next()? {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_with_quotes_and_commas_are_read() {
        let text = "# HELP x y\nx{a=\"1,\\\"2\\\"\",b=\"c\"} 3\nx{b=\"c\"} 4\ny 1e3\n";
        let metrics = Metrics::parse(text).expect("parses");
        assert_eq!(metrics.sum("x", &[("b", "c")]), 7.0);
        assert_eq!(metrics.sum("x", &[("a", "1,\"2\"")]), 3.0);
        assert_eq!(metrics.sum("y", &[]), 1000.0);
        assert_eq!(metrics.sum("z", &[]), 0.0);
    }
}
