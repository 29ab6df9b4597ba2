//! Cross-origin requests, for browsers that send telemetry: refused unless origins are
//! configured. Credentials are never allowed.

use std::sync::Arc;

use http::header::HeaderValue;
use http::{Method, request};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

/// What one preflight answer is good for.
const MAX_AGE: std::time::Duration = std::time::Duration::from_secs(600);

/// A layer for these origins; `None` if there are none. `*` alone allows every origin, and one
/// `*` in an origin stands for any text (`https://*.example.com`).
pub fn layer(origins: &[String]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let allow_origin = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        let origins: Arc<[String]> = origins.into();
        AllowOrigin::predicate(move |origin: &HeaderValue, _: &request::Parts| {
            let origin = origin.to_str().unwrap_or_default();
            origins.iter().any(|pattern| matches(pattern, origin))
        })
    };
    let layer = CorsLayer::new()
        .allow_origin(allow_origin)
        .allow_methods([Method::POST])
        .allow_headers(AllowHeaders::mirror_request())
        .max_age(MAX_AGE);
    Some(layer)
}

fn matches(pattern: &str, origin: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern.eq_ignore_ascii_case(origin),
        Some((before, after)) => origin
            .strip_prefix(before)
            .is_some_and(|rest| rest.len() > after.len() && rest.ends_with(after)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_some_text_and_nothing_else_does() {
        assert!(matches("https://shop.example", "https://SHOP.example"));
        assert!(matches("https://*.example.com", "https://shop.example.com"));
        assert!(!matches("https://*.example.com", "https://.example.com"));
        assert!(!matches("https://*.example.com", "https://example.com"));
        assert!(!matches("https://*.example.com", "http://shop.example.com"));
        assert!(!matches("https://shop.example", "https://shop.example.evil"));
        assert!(layer(&[]).is_none());
    }
}
