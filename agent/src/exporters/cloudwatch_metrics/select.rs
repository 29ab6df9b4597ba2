//! Which metrics are sent, and by which attributes: rules, the first that fits a metric's name
//! counts. What is not selected costs nothing, so the default is small: rate, errors and duration
//! by service, and the golden metrics of the meshes.

/// Attributes that become a metric's dimensions together.
pub type DimensionSet = Vec<String>;

/// Metrics of these names are sent with these dimensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// `*` stands for any characters.
    pub name: String,
    /// Points are sent once for each of the sets whose attributes they have.
    pub dimensions: Vec<DimensionSet>,
}

/// Names of metrics, and dimension sets, each a list of keys with a comma in between. A failed
/// request has `error.type` and others have not, so that a set with it holds the errors alone.
const DEFAULT: [(&str, &[&str]); 10] = [
    (
        "http.server.request.duration",
        &["service.name", "service.name, error.type"],
    ),
    (
        "http.server.duration",
        &["service.name", "service.name, http.status_code"],
    ),
    (
        "rpc.server.call.duration",
        &["service.name", "service.name, error.type"],
    ),
    (
        "rpc.server.duration",
        &["service.name", "service.name, rpc.grpc.status_code"],
    ),
    (
        "istio_requests*",
        &["destination_canonical_service, reporter, response_code"],
    ),
    (
        "istio_request_duration_milliseconds",
        &["destination_canonical_service, reporter"],
    ),
    (
        "envoy_cluster_upstream_rq_xx",
        &["envoy_cluster_name, envoy_response_code_class"],
    ),
    ("envoy_cluster_upstream_rq_time", &["envoy_cluster_name"]),
    ("response_total", &["deployment, direction, classification"]),
    ("response_latency_ms", &["deployment, direction"]),
];

impl Rule {
    /// The rules of an exporter that is told none.
    pub fn default_rules() -> Vec<Self> {
        let rule = |(name, sets): (&str, &[&str])| Self {
            name: name.to_owned(),
            dimensions: sets.iter().map(|set| dimension_set(set)).collect(),
        };
        DEFAULT.into_iter().map(rule).collect()
    }

    /// Whether it is about a metric of this name.
    pub fn fits(&self, name: &str) -> bool {
        let mut parts = self.name.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else {
            return false;
        };
        let Some(last) = parts.next_back() else {
            return rest.is_empty();
        };
        for part in parts {
            match rest.split_once(part) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

/// Reads a set: keys with a comma in between.
pub fn dimension_set(text: &str) -> DimensionSet {
    let keys = text.split(',').map(str::trim).filter(|key| !key.is_empty());
    keys.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        let fits = |name: &str, metric: &str| {
            let dimensions = Vec::new();
            let name = name.to_owned();
            Rule { name, dimensions }.fits(metric)
        };
        for (name, metric) in [
            ("a.b", "a.b"),
            ("*", ""),
            ("*", "a.b"),
            ("a.*", "a.b.c"),
            ("*.duration", "http.server.duration"),
            ("http.*.duration", "http.server.request.duration"),
            ("a*b*a", "a1b2b3a"),
        ] {
            assert!(fits(name, metric), "{name} {metric}");
        }
        for (name, metric) in [
            ("a.b", "a.bc"),
            ("a.*", "a"),
            ("*.duration", "http.server.durations"),
            ("ab*ba", "aba"),
            ("a*b*c", "a1c"),
        ] {
            assert!(!fits(name, metric), "{name} {metric}");
        }
    }
}
