//! From YAML text to a tree of nodes that know their line and column, with `${NAME}` replaced.
//!
//! Scalars stay text: what `007`, `1.10` or `yes` means is decided by the key that reads them.
//! Of YAML's richer parts, tags of our own and several documents in one file are refused.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use super::error::{Fault, Position};

/// Nesting deeper than this is refused; no configuration needs a quarter of it.
const DEPTH_MAX: usize = 32;

/// Nodes of a file, aliases counted at each use, so that aliases of aliases cannot explode.
const NODES_MAX: usize = 20_000;

const FIRST: Position = Position { line: 1, column: 1 };

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: Position,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Null,
    Scalar(String),
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
    /// There is already a fault about it.
    Faulty,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) at: Position,
    pub(super) value: Node,
}

/// Parses a file. Faults of single values are added to `faults`; text that is not YAML at all
/// is the one fault returned.
pub(super) fn parse(
    text: &str,
    variable: &dyn Fn(&str) -> Option<String>,
    faults: &mut Vec<Fault>,
) -> Result<Node, Fault> {
    let mut builder = Builder {
        events: Parser::new_from_str(text),
        variable,
        faults,
        path: Vec::new(),
        anchors: BTreeMap::new(),
        nodes_left: NODES_MAX,
    };
    builder.file()
}

struct Builder<'a> {
    events: Parser<'a, StrInput<'a>>,
    variable: &'a dyn Fn(&str) -> Option<String>,
    faults: &'a mut Vec<Fault>,
    path: Vec<String>,
    anchors: BTreeMap<usize, Node>,
    nodes_left: usize,
}

impl<'a> Builder<'a> {
    fn file(&mut self) -> Result<Node, Fault> {
        let mut root = None;
        while let Some(event) = self.events.next_event() {
            let (event, span) = event.map_err(|error| not_yaml(&error))?;
            match event {
                Event::StreamStart
                | Event::StreamEnd
                | Event::DocumentStart(_)
                | Event::DocumentEnd
                | Event::Nothing => {}
                _ if root.is_some() => {
                    return Err(fault(
                        position(span.start),
                        "a second document begins here; one file has one".into(),
                    ));
                }
                content => root = Some(self.node(content, span)?),
            }
        }
        Ok(root.unwrap_or(Node {
            at: FIRST,
            kind: Kind::Null,
        }))
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Fault> {
        let event = self.events.next_event();
        event
            .unwrap_or_else(|| Err(ScanError::new_str(Marker::new(0, 1, 0), "the file ends early")))
            .map_err(|error| not_yaml(&error))
    }

    fn node(&mut self, event: Event<'a>, span: Span) -> Result<Node, Fault> {
        let at = position(span.start);
        self.count(1, at)?;
        if self.path.len() > DEPTH_MAX {
            return Err(fault(at, format!("nested deeper than {DEPTH_MAX} levels")));
        }
        let (kind, anchor, tag) = match event {
            Event::Alias(anchor) => return self.alias(anchor, at),
            Event::Scalar(text, style, anchor, tag) => (self.scalar(&text, style, at), anchor, tag),
            Event::SequenceStart(anchor, tag) => (self.sequence()?, anchor, tag),
            Event::MappingStart(anchor, tag) => (self.mapping()?, anchor, tag),
            _ => return Err(fault(at, "is not YAML: a value is expected here".into())),
        };
        let kind = if tag.as_deref().is_some_and(|tag: &Tag| !tag.is_yaml_core_schema()) {
            self.fault(at, "YAML tags are not supported".into());
            Kind::Faulty
        } else {
            kind
        };
        let node = Node { at, kind };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn alias(&mut self, anchor: usize, at: Position) -> Result<Node, Fault> {
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            return Err(fault(at, "an alias inside of what it names".into()));
        };
        self.count(node.nodes(), at)?;
        Ok(Node { at, ..node })
    }

    fn count(&mut self, nodes: usize, at: Position) -> Result<(), Fault> {
        let left = self.nodes_left.checked_sub(nodes);
        self.nodes_left = left.ok_or_else(|| fault(at, format!("more than {NODES_MAX} values")))?;
        Ok(())
    }

    fn sequence(&mut self) -> Result<Kind, Fault> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Kind::Sequence(items)),
                (event, span) => {
                    self.path.push(format!("[{}]", items.len()));
                    items.push(self.node(event, span)?);
                    self.path.pop();
                }
            }
        }
    }

    fn mapping(&mut self) -> Result<Kind, Fault> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (key, at) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(Kind::Mapping(entries)),
                (Event::Scalar(key, ..), span) => (key.into_owned(), position(span.start)),
                (_, span) => return Err(fault(position(span.start), "a key must be a plain word".into())),
            };
            self.path.push(key.clone());
            let (event, span) = self.next()?;
            let value = self.node(event, span)?;
            if let Some(first) = entries.iter().find(|entry| entry.key == key) {
                let line = first.at.line;
                self.fault(at, format!("is given twice, first on line {line}"));
            } else {
                entries.push(Entry { key, at, value });
            }
            self.path.pop();
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, at: Position) -> Kind {
        if style == ScalarStyle::Plain && matches!(text, "" | "~" | "null" | "Null" | "NULL") {
            return Kind::Null;
        }
        match replace_variables(text, self.variable) {
            Ok(text) => Kind::Scalar(text),
            Err(message) => {
                self.fault(at, message);
                Kind::Faulty
            }
        }
    }

    fn fault(&mut self, at: Position, message: String) {
        let key = self.path.join(".").replace(".[", "[");
        self.faults.push(Fault { at, key, message });
    }
}

impl Node {
    fn nodes(&self) -> usize {
        match &self.kind {
            Kind::Null | Kind::Scalar(_) | Kind::Faulty => 1,
            Kind::Sequence(items) => 1 + items.iter().map(Self::nodes).sum::<usize>(),
            Kind::Mapping(entries) => 1 + entries.iter().map(|entry| entry.value.nodes()).sum::<usize>(),
        }
    }
}

/// Replaces `${NAME}` by the variable and `$$` by `$`; another `$` stands for itself.
fn replace_variables(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        replaced.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            replaced.push('$');
            rest = after;
        } else if let Some(after) = after.strip_prefix('{') {
            let (name, after) = after
                .split_once('}')
                .ok_or("${ has no closing }; write $$ for a literal $")?;
            if !is_variable_name(name) {
                return Err(format!("${{{name}}} is not the name of an environment variable"));
            }
            let value = variable(name);
            replaced.push_str(&value.ok_or_else(|| format!("environment variable {name} is not set"))?);
            rest = after;
        } else {
            replaced.push('$');
            rest = after;
        }
    }
    replaced.push_str(rest);
    Ok(replaced)
}

fn is_variable_name(name: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(is_word) && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

fn not_yaml(error: &ScanError) -> Fault {
    fault(
        position(*error.marker()),
        format!("is not YAML: {}", error.info()),
    )
}

fn fault(at: Position, message: String) -> Fault {
    Fault {
        at,
        key: String::new(),
        message,
    }
}

/// The parser counts columns from zero.
fn position(marker: Marker) -> Position {
    Position {
        line: marker.line(),
        column: marker.col() + 1,
    }
}
