//! Which representation a client accepts. Parameters other than `q` are ignored.

use axum::http::{HeaderMap, header};

use super::error::ApiError;
use crate::query::Format;

pub(super) const JSON: &str = "application/json";
pub(super) const CSV: &str = "text/csv; charset=utf-8";
pub(super) const ARROW: &str = "application/vnd.apache.arrow.stream";

/// The format for the header `Accept`; JSON where the client does not care.
pub(super) fn format_of(headers: &HeaderMap) -> Result<Format, ApiError> {
    let values = headers.get_all(header::ACCEPT).iter();
    let text: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
    if text.is_empty() {
        return Ok(Format::Json);
    }
    let text = text.join(",");
    let mut ranges: Vec<(u32, Format)> = text.split(',').filter_map(range).collect();
    // Stable: among equals the client's order decides.
    ranges.sort_by_key(|(quality, _)| std::cmp::Reverse(*quality));
    match ranges.first() {
        Some((_, format)) => Ok(*format),
        None => Err(ApiError::not_acceptable(&text)),
    }
}

/// The quality in thousandths and the format of one media range; `None` if it is not ours.
fn range(text: &str) -> Option<(u32, Format)> {
    let mut parts = text.split(';').map(str::trim);
    let format = match parts.next()?.to_ascii_lowercase().as_str() {
        JSON | "*/*" | "application/*" => Format::Json,
        "text/csv" | "text/*" => Format::Csv,
        ARROW => Format::Arrow,
        _ => return None,
    };
    let quality = parts.find_map(|part| part.strip_prefix("q="));
    let quality = quality
        .and_then(|q| q.parse::<f32>().ok())
        .unwrap_or(1.0)
        .clamp(0.0, 1.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 1000"
    )]
    let thousandths = (quality * 1_000.0) as u32;
    (thousandths > 0).then_some((thousandths, format))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn format(accept: &'static str) -> Option<Format> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        format_of(&headers).ok()
    }

    #[test]
    fn the_best_representation_that_both_know_is_chosen() {
        assert_eq!(format("*/*"), Some(Format::Json));
        assert_eq!(format("text/csv, application/json;q=0.9"), Some(Format::Csv));
        assert_eq!(
            format("text/csv;q=0.5, application/json;q=0.9"),
            Some(Format::Json)
        );
        assert_eq!(format("application/vnd.apache.arrow.stream"), Some(Format::Arrow));
        assert_eq!(format("application/xml"), None);
        assert_eq!(format_of(&HeaderMap::new()).ok(), Some(Format::Json));
    }
}
