//! Names with placeholders: `/meridian/{cluster}/{k8s.namespace.name}`. A placeholder is the
//! agent's own region, cluster or node, or an attribute of the record's resource.

use crate::otlp::Origin;
use crate::otlp::view::Attributes;

/// What stands for an attribute that is not there.
const UNKNOWN: &str = "unknown";
/// CloudWatch's limit on both names.
const NAME_CHARS_MAX: usize = 512;

/// A name with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
    rules: Rules,
}

/// Which characters a name may have; others become `_`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// Letters, digits and `.-_/#`.
    Group,
    /// All but `:` and `*`.
    Stream,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Attribute(String),
}

impl Template {
    /// Reads a template; what is known of the agent is filled in at once.
    pub fn parse(text: &str, rules: Rules) -> Result<Self, &'static str> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let Some((key, after)) = after.split_once('}') else {
                return Err("has a { without a }; write it like /meridian/{cluster}/{k8s.namespace.name}");
            };
            if key.is_empty() {
                return Err("has an empty {}; name an attribute of the resource, or region, cluster or node");
            }
            parts.push(Part::Text(before.to_owned()));
            parts.push(Part::Attribute(key.to_owned()));
            rest = after;
        }
        if rest.contains('}') {
            return Err("has a } without a {");
        }
        parts.push(Part::Text(rest.to_owned()));
        parts.retain(|part| *part != Part::Text(String::new()));
        match parts.is_empty() {
            true => Err("is empty"),
            false => Ok(Self { parts, rules }),
        }
    }

    /// The same, with what is known of the agent.
    pub fn of_agent(mut self, origin: &Origin) -> Self {
        for part in &mut self.parts {
            let Part::Attribute(key) = part else {
                continue;
            };
            let known = match key.as_str() {
                "region" => &origin.region,
                "cluster" => &origin.cluster,
                "node" => &origin.node,
                _ => continue,
            };
            *part = Part::Text(known.clone());
        }
        self
    }

    /// The name for a resource: never empty, never longer than it may be.
    pub fn name(&self, resource: &Attributes<'_>) -> String {
        let mut name = String::new();
        for part in &self.parts {
            let text = match part {
                Part::Text(text) => text.as_str(),
                Part::Attribute(key) => resource.text(key).unwrap_or(UNKNOWN),
            };
            name.extend(text.chars().map(|character| self.rules.allowed(character)));
        }
        if let Some((end, _)) = name.char_indices().nth(NAME_CHARS_MAX) {
            name.truncate(end);
        }
        name
    }
}

impl Rules {
    fn allowed(self, character: char) -> char {
        let is_allowed = match self {
            Self::Group => character.is_ascii_alphanumeric() || ".-_/#".contains(character),
            Self::Stream => !matches!(character, ':' | '*') && !character.is_control(),
        };
        if is_allowed { character } else { '_' }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Origin {
        Origin {
            region: "eu-central-1".to_owned(),
            cluster: "prod:eu".to_owned(),
            node: "n*1".to_owned(),
            agent_id: String::new(),
        }
    }

    #[test]
    fn a_name_is_filled_in_and_made_of_characters_that_are_allowed() {
        let none = Attributes::default();
        let group =
            Template::parse("/meridian/{cluster}/{k8s.namespace.name}", Rules::Group).expect("a template");
        assert_eq!(group.of_agent(&origin()).name(&none), "/meridian/prod_eu/unknown");
        let stream = Template::parse("{node} of {region}", Rules::Stream).expect("a template");
        assert_eq!(stream.of_agent(&origin()).name(&none), "n_1 of eu-central-1");
        let long = Template::parse(&"ü".repeat(600), Rules::Stream).expect("a template");
        assert_eq!(long.name(&none).chars().count(), 512);
    }

    #[test]
    fn a_template_that_is_none_is_refused() {
        for text in ["", "{", "a}b", "{}", "{a"] {
            assert!(Template::parse(text, Rules::Group).is_err(), "{text}");
        }
    }
}
