//! The envelope of every answer: how complete it is, for which regions, up to when. For CSV
//! and Arrow, which have no place for it, its essence goes into headers. It judges nothing:
//! coverage does.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, SecondsFormat};
use serde::Serialize;
use utoipa::ToSchema;

use super::accept;
use crate::coverage::{GapReport, RegionReport, Report};
use crate::query::{Answer, Format};

const STATUS: HeaderName = HeaderName::from_static("x-meridian-status");
const COMPLETE_TO: HeaderName = HeaderName::from_static("x-meridian-complete-to");
const WARNINGS: HeaderName = HeaderName::from_static("x-meridian-warnings");

/// How complete an answer is.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Envelope {
    /// `ok`, `partial` or `unknown`.
    #[schema(example = "ok")]
    pub(super) status: &'static str,
    /// When this was answered.
    #[schema(format = DateTime)]
    pub(super) as_of: String,
    /// Up to when every region in scope is complete; null if that is unknown.
    #[schema(format = DateTime)]
    pub(super) complete_to: Option<String>,
    /// Every region in scope, above all the silent ones.
    pub(super) regions: Vec<Region>,
    /// What a reader should know.
    pub(super) warnings: Vec<String>,
}

/// An answer: the envelope, and what was asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Whole<T> {
    #[serde(flatten)]
    envelope: Envelope,
    data: T,
}

/// In the description of the interface: an object whose keys the question decides, such as
/// a row by its columns.
#[derive(Debug, ToSchema)]
#[schema(value_type = Object)]
pub(super) struct AnyObject(());

/// How complete a region is.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Region {
    region: String,
    /// Up to when its data is complete.
    #[schema(format = DateTime)]
    complete_to: Option<String>,
    /// When any of its agents was last heard.
    #[schema(format = DateTime)]
    last_seen: Option<String>,
    agents_reporting: u32,
    agents_expected: u32,
    /// Share of what is expected that is there; null where nothing is known.
    completeness: Option<f64>,
    /// `ok`, `late` or `silent`.
    state: &'static str,
    /// Times within the window that are not complete.
    gaps: Vec<Gap>,
}

/// A time in which a share of a region's data is missing.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Gap {
    #[schema(format = DateTime)]
    from: String,
    /// Null while it lasts.
    #[schema(format = DateTime)]
    to: Option<String>,
    /// The share that is missing; null where it is unknown.
    share: Option<f64>,
}

impl From<Report> for Envelope {
    fn from(report: Report) -> Self {
        Self {
            status: report.status.as_str(),
            as_of: time(report.as_of),
            complete_to: report.complete_to.map(time),
            regions: report.regions.into_iter().map(Region::from).collect(),
            warnings: report.warnings,
        }
    }
}

impl From<RegionReport> for Region {
    fn from(report: RegionReport) -> Self {
        Self {
            region: report.region,
            complete_to: report.complete_to.map(time),
            last_seen: report.last_seen.map(time),
            agents_reporting: report.agents_reporting,
            agents_expected: report.agents_expected,
            completeness: report.completeness,
            state: report.state.as_str(),
            gaps: report.gaps.into_iter().map(Gap::from).collect(),
        }
    }
}

impl From<GapReport> for Gap {
    fn from(report: GapReport) -> Self {
        Self {
            from: time(report.from),
            to: report.to.map(time),
            share: report.share,
        }
    }
}

impl Envelope {
    /// An answer whose `data` is any value.
    pub(super) fn with<T: Serialize>(self, data: T) -> Response {
        axum::Json(Whole { envelope: self, data }).into_response()
    }

    /// An answer whose `data` is JSON already. It is sent from where it is: a copy would take
    /// memory that nobody counts.
    fn with_json(self, data: Bytes) -> Response {
        let mut head = serde_json::to_vec(&self).unwrap_or_else(|_| b"{}".to_vec());
        // The closing brace gives way to one more key.
        head.pop();
        head.extend_from_slice(b",\"data\":");
        let parts = [Bytes::from(head), data, Bytes::from_static(b"}")];
        let parts = futures::stream::iter(parts.map(Ok::<_, Infallible>));
        ([(header::CONTENT_TYPE, accept::JSON)], Body::from_stream(parts)).into_response()
    }

    /// An answer in a format that has no place for the envelope.
    fn with_headers(self, content_type: &'static str, body: Bytes) -> Response {
        let mut response = Response::new(Body::from(body));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(STATUS, HeaderValue::from_static(self.status));
        let texts = [
            (COMPLETE_TO, self.complete_to.unwrap_or_default()),
            (WARNINGS, self.warnings.join("; ")),
        ];
        for (name, text) in texts {
            let text = text.replace(|c: char| c.is_control() || !c.is_ascii(), " ");
            if let (false, Ok(value)) = (text.is_empty(), HeaderValue::from_str(&text)) {
                headers.insert(name, value);
            }
        }
        response
    }
}

/// The answer to a question as the client wanted it.
pub(super) fn respond(answer: Answer, format: Format) -> Response {
    let envelope = Envelope::from(answer.report);
    let body = answer.rows.into_bytes();
    match format {
        Format::Csv => envelope.with_headers(accept::CSV, body),
        Format::Arrow => envelope.with_headers(accept::ARROW, body),
        Format::Json | Format::Batches => envelope.with_json(body),
    }
}

/// A time in RFC 3339 with microseconds, so that times sort as text.
pub(super) fn time(unix_nanos: u64) -> String {
    let nanos = i64::try_from(unix_nanos).unwrap_or(i64::MAX);
    DateTime::from_timestamp_nanos(nanos).to_rfc3339_opts(SecondsFormat::Micros, true)
}
