//! AWS's query protocol: `MetricData.member.1.Value=3` as a tree. What the members mean is not
//! known here.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

enum Node {
    Leaf(String),
    Branch(BTreeMap<String, Node>),
}

/// The pairs of a form, decoded.
pub fn pairs(form: &[u8]) -> Option<Vec<(String, String)>> {
    let form = std::str::from_utf8(form).ok()?;
    let pairs = form.split('&').map(|pair| {
        let (key, value) = pair.split_once('=')?;
        Some((decoded(key)?, decoded(value)?))
    });
    pairs.collect()
}

/// A form as JSON; all leaves are strings.
pub fn tree(form: &[u8]) -> Option<Value> {
    let mut root = BTreeMap::new();
    for (key, value) in pairs(form)? {
        let path: Vec<&str> = key.split('.').collect();
        put(&mut root, &path, value)?;
    }
    Node::Branch(root).json()
}

fn put(branch: &mut BTreeMap<String, Node>, path: &[&str], value: String) -> Option<()> {
    let (first, rest) = path.split_first()?;
    if rest.is_empty() {
        let before = branch.insert((*first).to_owned(), Node::Leaf(value));
        // Said twice is said wrongly.
        return before.is_none().then_some(());
    }
    let next = branch.entry((*first).to_owned());
    match next.or_insert_with(|| Node::Branch(BTreeMap::new())) {
        Node::Branch(next) => put(next, rest, value),
        Node::Leaf(_) => None,
    }
}

impl Node {
    /// `None` where the members of a list are not numbered from 1 on.
    fn json(self) -> Option<Value> {
        let mut branch = match self {
            Self::Leaf(text) => return Some(Value::String(text)),
            Self::Branch(branch) => branch,
        };
        if let Some(Self::Branch(mut members)) = branch.remove("member") {
            let list: Option<Vec<Value>> = (1..=members.len())
                .map(|number| members.remove(&number.to_string())?.json())
                .collect();
            return list.filter(|_| branch.is_empty()).map(Value::Array);
        }
        let object: Option<Map<String, Value>> = branch
            .into_iter()
            .map(|(key, node)| Some((key, node.json()?)))
            .collect();
        object.map(Value::Object)
    }
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_form_becomes_a_tree() {
        let form = b"Action=Put&L.member.2.N=b%2Bc&L.member.1.N=a+%C3%BC&L.member.1.V.member.1=1.5";
        let expected = json!({ "Action": "Put", "L": [{ "N": "a \u{fc}", "V": ["1.5"] }, { "N": "b+c" }] });
        assert_eq!(tree(form), Some(expected));
    }

    #[test]
    fn what_is_no_form_of_this_protocol_is_none() {
        for form in [
            "a",
            "a=%f",
            "a=%zz",
            "a=1&a=2",
            "a=1&a.b=2",
            "L.member.2=x",
            "L.member.0=x",
            "a=%ff",
        ] {
            assert_eq!(tree(form.as_bytes()), None, "{form}");
        }
    }
}
