//! `GET /api/v1/regions`: every region and how complete it is. Verdicts, shares and rates
//! are not computed yet: unknown is null, never 0.

use std::collections::BTreeMap;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::envelope::{Envelope, Whole};
use super::error::{ApiError, ErrorBody};
use super::{ApiState, window};
use crate::coverage::RegionReport;

/// How far back gaps are looked for where nothing is asked.
const LOOK_BACK_NANOS: u64 = 3_600 * 1_000_000_000;

/// A number that can be uncertain.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Interval {
    value: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
}

const UNKNOWN: Interval = Interval {
    value: None,
    low: None,
    high: None,
};

/// What is to be said of a region.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RegionBody {
    region: String,
    /// `ok`, `degraded`, `gray`, `region_down`, `telemetry_down`, `partition`, `observer_isolated` or `unknown`.
    #[schema(example = "unknown")]
    verdict: &'static str,
    /// Since when the verdict holds.
    #[schema(format = DateTime)]
    since: Option<String>,
    /// What the verdict rests on.
    evidence: Vec<String>,
    traffic_share: Interval,
    requests_per_s: Interval,
    error_ratio: Interval,
    p99_ms: Interval,
}

impl From<&RegionReport> for RegionBody {
    fn from(report: &RegionReport) -> Self {
        Self {
            region: report.region.clone(),
            verdict: "unknown",
            since: None,
            evidence: Vec::new(),
            traffic_share: UNKNOWN,
            requests_per_s: UNKNOWN,
            error_ratio: UNKNOWN,
            p99_ms: UNKNOWN,
        }
    }
}

/// Answers how each region is. The completeness is in the envelope's `regions`.
#[utoipa::path(
    get,
    path = "/api/v1/regions",
    operation_id = "list_regions",
    params(
        ("from" = Option<String>, Query, description = "Since when gaps count: now, -1h or RFC 3339; one hour by default"),
        ("to" = Option<String>, Query, description = "Until when gaps count; now by default"),
    ),
    responses(
        (status = 200, description = "The envelope; `data` is an array with one RegionBody per region", body = Whole<Vec<RegionBody>>),
        (status = 400, description = "A time is none", body = ErrorBody),
    )
)]
pub(super) async fn get(
    State(state): State<ApiState>,
    given: Result<Query<BTreeMap<String, String>>, QueryRejection>,
) -> Result<Response, ApiError> {
    let now = state.engine.now_unix_nanos();
    let mut window = window::only(given?.0, now)?;
    // A question about the future alone ends where it begins, and not before it.
    let end = window.to.unwrap_or(now).max(window.from.unwrap_or(0));
    window.to = Some(end);
    window.from.get_or_insert(end.saturating_sub(LOOK_BACK_NANOS));
    let report = state.engine.report(None, window);
    let data: Vec<RegionBody> = report.regions.iter().map(RegionBody::from).collect();
    Ok(Envelope::from(report).with(data))
}
