//! A far side for the exporters to AWS: takes every call, counts its items and bytes, and keeps
//! nothing. It verifies nothing: the strict one is that of the tests.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const BODY_BYTES_MAX: usize = 64 << 20;

/// What came of one action.
#[derive(Debug, Clone, Copy, Default)]
pub struct Taken {
    /// Calls.
    pub calls: u64,
    /// Documents or events; 0 of others.
    pub items: u64,
    /// What the service counts against its limit: of events the text and 26 for each, of others
    /// the body.
    pub bytes: u64,
}

/// What has come, by action.
pub type Actions = Arc<Mutex<BTreeMap<String, Taken>>>;

/// Listens until the set is dropped.
pub async fn listen(serving: &mut JoinSet<()>, actions: Actions) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let limit = axum::extract::DefaultBodyLimit::max(BODY_BYTES_MAX);
    let router = Router::new().fallback(take).layer(limit).with_state(actions);
    serving.spawn(async move {
        axum::serve(listener, router).await.ok();
    });
    Ok(address)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Segments {
    trace_segment_documents: Vec<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Events {
    log_events: Vec<Event>,
}

#[derive(Deserialize)]
struct Event {
    message: String,
}

async fn take(State(actions): State<Actions>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers
        .get("x-amz-target")
        .and_then(|target| target.to_str().ok());
    let action = target.unwrap_or(uri.path()).to_owned();
    let (items, bytes) = count(&action, &body);
    let mut actions = actions.lock();
    let taken = actions.entry(action).or_default();
    taken.calls += 1;
    taken.items += items;
    taken.bytes += bytes;
    ([(header::CONTENT_TYPE, "application/json")], "{}").into_response()
}

fn count(action: &str, body: &[u8]) -> (u64, u64) {
    if let Ok(segments) = serde_json::from_slice::<Segments>(body) {
        return (segments.trace_segment_documents.len() as u64, body.len() as u64);
    }
    if action.ends_with("PutLogEvents")
        && let Ok(events) = serde_json::from_slice::<Events>(body)
    {
        let bytes = events
            .log_events
            .iter()
            .map(|event| event.message.len() as u64 + 26);
        return (events.log_events.len() as u64, bytes.sum());
    }
    (0, body.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_and_events_are_counted() {
        let segments = br#"{"TraceSegmentDocuments":["{\"a\":1}","{}"]}"#;
        assert_eq!(count("/TraceSegments", segments).0, 2);
        let events = br#"{"logEvents":[{"timestamp":1,"message":"\u00e4"},{"timestamp":2,"message":"b"}]}"#;
        assert_eq!(count("Logs_20140328.PutLogEvents", events), (2, 2 + 26 + 1 + 26));
        assert_eq!(
            count("GraniteServiceVersion20100801.PutMetricData", b"{}"),
            (0, 2)
        );
    }
}
