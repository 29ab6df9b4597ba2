//! An OTLP/HTTP backend that decodes what it is sent with the reference decoder, and fails on
//! purpose: throttles, breaks connections, rejects items, refuses requests with a certain item.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use meridian_runtime::tasks::{self, Task};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use parking_lot::Mutex;
use prost::Message as _;

/// How it fails.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// Of each so many requests one is answered 429.
    pub throttles_every: Option<usize>,
    /// Of each so many one is taken, and its answer lost.
    pub loses_answers_every: Option<usize>,
    /// Items of each request that are rejected.
    pub rejects: i64,
    /// A body that makes a request be refused as a whole.
    pub refuses: Option<&'static str>,
    /// Nobody is let in.
    pub is_closed: bool,
    /// What is behind it is away.
    pub is_away: bool,
}

#[derive(Default)]
struct Seen {
    faults: Faults,
    requests: usize,
    taken: BTreeMap<String, usize>,
    items: u64,
}

/// A running backend.
pub struct Backend {
    pub address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    _server: Task<()>,
}

impl Backend {
    pub async fn start(faults: Faults) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let address = listener.local_addr().expect("bound");
        let seen = Arc::new(Mutex::new(Seen {
            faults,
            ..Seen::default()
        }));
        let router = Router::new()
            .route("/v1/logs", post(take))
            .route("/v1/traces", post(take_spans))
            .route("/v1/metrics", post(take_points))
            .with_state(Arc::clone(&seen));
        let server = tasks::spawn("backend", async move {
            axum::serve(listener, router).await.expect("serves");
        });
        Self {
            address,
            seen,
            _server: server,
        }
    }

    /// From now on it fails like this.
    pub fn fail(&self, faults: Faults) {
        self.seen.lock().faults = faults;
    }

    /// How often each body was taken.
    pub fn taken(&self) -> BTreeMap<String, usize> {
        self.seen.lock().taken.clone()
    }

    /// Items of all signals.
    pub fn items(&self) -> u64 {
        self.seen.lock().items
    }

    pub fn requests(&self) -> usize {
        self.seen.lock().requests
    }
}

async fn take(State(seen): State<Arc<Mutex<Seen>>>, headers: HeaderMap, body: Bytes) -> Response {
    let mut seen = seen.lock();
    seen.requests += 1;
    let (number, faults) = (seen.requests, seen.faults);
    let is_turn = |every: Option<usize>| every.is_some_and(|every| number.is_multiple_of(every));
    if faults.is_closed {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    if faults.is_away {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if is_turn(faults.throttles_every) {
        return (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "0")]).into_response();
    }
    let plain = match headers.get("content-encoding").map(|value| value.as_bytes()) {
        Some(b"zstd") => zstd::decode_all(&*body).expect("zstd"),
        None => body.to_vec(),
        _ => return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response(),
    };
    let request = ExportLogsServiceRequest::decode(&*plain).expect("OTLP");
    let bodies: Vec<String> = request
        .resource_logs
        .iter()
        .flat_map(|group| &group.scope_logs)
        .flat_map(|group| &group.log_records)
        .map(|log| log.severity_text.clone())
        .collect();
    if faults
        .refuses
        .is_some_and(|refused| bodies.iter().any(|body| body == refused))
    {
        return (StatusCode::BAD_REQUEST, "an item that is no good").into_response();
    }
    seen.items += bodies.len() as u64;
    for body in bodies {
        *seen.taken.entry(body).or_default() += 1;
    }
    if is_turn(faults.loses_answers_every) {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    let partial_success = (faults.rejects > 0).then(|| ExportLogsPartialSuccess {
        rejected_log_records: faults.rejects,
        error_message: "too old".to_owned(),
    });
    ExportLogsServiceResponse { partial_success }
        .encode_to_vec()
        .into_response()
}

async fn take_spans(State(seen): State<Arc<Mutex<Seen>>>, body: Bytes) -> StatusCode {
    let plain = zstd::decode_all(&*body).expect("zstd");
    let request = ExportTraceServiceRequest::decode(&*plain).expect("OTLP");
    let scopes = request.resource_spans.iter().flat_map(|group| &group.scope_spans);
    seen.lock().items += scopes.map(|scope| scope.spans.len() as u64).sum::<u64>();
    StatusCode::OK
}

/// Of gauges.
async fn take_points(State(seen): State<Arc<Mutex<Seen>>>, body: Bytes) -> StatusCode {
    let plain = zstd::decode_all(&*body).expect("zstd");
    let request = ExportMetricsServiceRequest::decode(&*plain).expect("OTLP");
    let scopes = request
        .resource_metrics
        .iter()
        .flat_map(|group| &group.scope_metrics);
    for metric in scopes.flat_map(|scope| &scope.metrics) {
        if let Some(Data::Gauge(gauge)) = &metric.data {
            seen.lock().items += gauge.data_points.len() as u64;
        }
    }
    StatusCode::OK
}
