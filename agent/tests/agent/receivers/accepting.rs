//! What is accepted: every encoding in every format over both protocols, partial success,
//! retries, CORS and health.

use std::time::Duration;

use http::Method;
use meridian_agent::receivers::otlp::OtlpConfig;
use meridian_proto::signal::Signal;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::client::{JSON, PROTOBUF, empty, framed, http_path, request};
use super::requests::{self, ENCODINGS, compressed, logs, protobuf, same_message, span, traces};
use super::rig::Rig;

#[tokio::test]
async fn every_encoding_is_taken_in_every_format_over_both_protocols() {
    for signal in Signal::ALL {
        for encoding in ENCODINGS {
            let rig = Rig::new().await;
            let body = compressed(encoding, &protobuf(signal));
            let http = rig
                .http
                .post(signal, &[PROTOBUF, ("content-encoding", encoding)], body.clone())
                .await;
            assert_eq!(
                (http.status.as_u16(), http.body.len()),
                (200, 0),
                "{}",
                http.text()
            );
            assert_eq!(http.header("content-type"), "application/x-protobuf");
            assert_eq!(
                rig.records()[0].body,
                protobuf(signal),
                "{signal} {encoding}: as received"
            );

            let json = compressed(encoding, &requests::json(signal));
            let http = rig
                .http
                .post(signal, &[JSON, ("content-encoding", encoding)], json)
                .await;
            assert_eq!((http.status.as_u16(), http.text()), (200, "{}".to_owned()));
            assert_eq!(http.header("content-type"), "application/json");
            let stored = rig.records().last().expect("a record").body.clone();
            assert!(
                same_message(signal, &stored, &protobuf(signal)),
                "{signal} {encoding}: JSON"
            );

            let rig = Rig::new().await;
            let flag = u8::from(encoding != "identity");
            let grpc = rig
                .grpc
                .grpc(signal, &[("grpc-encoding", encoding)], framed(flag, &body))
                .await;
            assert_eq!(
                (grpc.grpc_status(), &grpc.body[..]),
                (0, &[0; 5][..]),
                "{signal} {encoding}"
            );
            assert_eq!(
                rig.records()[0].body,
                protobuf(signal),
                "{signal} {encoding}: as received"
            );
            assert_eq!(rig.counted("accepted_items_total", signal.as_str()), 1.0);
        }
    }
}

#[tokio::test]
async fn an_uncompressed_message_is_taken_whatever_the_headers_name() {
    let rig = Rig::new().await;
    for encoding in ["gzip", "snappy"] {
        let message = framed(0, &protobuf(Signal::Spans));
        let answer = rig
            .grpc
            .grpc(Signal::Spans, &[("grpc-encoding", encoding)], message)
            .await;
        assert_eq!(answer.grpc_status(), 0, "{encoding}");
    }
}

#[tokio::test]
async fn empty_requests_are_accepted_and_not_stored() {
    let rig = Rig::new().await;
    assert_eq!(rig.http.post(Signal::Logs, &[JSON], "{}").await.status, 200);
    assert_eq!(rig.http.post(Signal::Logs, &[PROTOBUF], "").await.status, 200);
    assert_eq!(
        rig.grpc
            .grpc(Signal::Logs, &[], framed(0, b""))
            .await
            .grpc_status(),
        0
    );
    assert!(rig.records().is_empty());
}

#[tokio::test]
async fn a_bad_item_costs_only_itself_and_the_answer_says_so() {
    let rig = Rig::new().await;
    let mut short = span(2);
    short.span_id.pop();
    let body = traces(vec![span(1), short]);

    let http = rig
        .http
        .post(Signal::Spans, &[PROTOBUF], body.encode_to_vec())
        .await;
    let response = ExportTraceServiceResponse::decode(http.body).expect("a response");
    let partial = response.partial_success.expect("a partial success");
    assert_eq!((http.status.as_u16(), partial.rejected_spans), (200, 1));
    assert!(
        partial.error_message.contains("span_id"),
        "{}",
        partial.error_message
    );
    assert!(same_message(
        Signal::Spans,
        &rig.records()[0].body,
        &protobuf(Signal::Spans)
    ));
    assert_eq!(rig.records()[0].items, 1);
    assert_eq!(rig.counted("rejected_items_total", "invalid_id"), 1.0);

    let json = rig
        .http
        .post(Signal::Spans, &[JSON], serde_json::to_vec(&body).expect("JSON"))
        .await;
    assert_eq!(
        json.json()["partialSuccess"]["rejectedSpans"],
        "1",
        "{}",
        json.text()
    );

    let grpc = rig
        .grpc
        .grpc(Signal::Spans, &[], framed(0, &body.encode_to_vec()))
        .await;
    assert_eq!(grpc.grpc_status(), 0);
    let response = ExportTraceServiceResponse::decode(&grpc.body[5..]).expect("a response");
    assert_eq!(response.partial_success, Some(partial));
    assert_eq!(
        rig.counted("rejected_items_total", "invalid_id"),
        rig.records().len() as f64
    );
}

#[tokio::test]
async fn a_request_of_bad_items_only_is_answered_and_not_stored() {
    let rig = Rig::new().await;
    let mut bad = span(0);
    bad.trace_id = vec![0; 16];
    let answer = rig
        .http
        .post(Signal::Spans, &[PROTOBUF], traces(vec![bad]).encode_to_vec())
        .await;
    assert_eq!(answer.status, 200);
    assert!(!answer.body.is_empty() && rig.records().is_empty());
}

#[tokio::test]
async fn a_retry_is_accepted_once_also_across_protocols_and_encodings() {
    let rig = Rig::new().await;
    let body = protobuf(Signal::Spans);
    assert_eq!(
        rig.http
            .post(Signal::Spans, &[PROTOBUF], body.clone())
            .await
            .status,
        200
    );
    let gzip = [PROTOBUF, ("content-encoding", "gzip")];
    assert_eq!(
        rig.http
            .post(Signal::Spans, &gzip, compressed("gzip", &body))
            .await
            .status,
        200
    );
    assert_eq!(
        rig.grpc
            .grpc(Signal::Spans, &[], framed(0, &body))
            .await
            .grpc_status(),
        0
    );
    assert_eq!(rig.records().len(), 1);
    assert_eq!(rig.counted("duplicate_requests_total", "spans"), 2.0);
    assert_eq!(rig.counted("accepted_items_total", "spans"), 1.0);
}

#[tokio::test]
async fn logs_without_a_time_are_never_taken_for_a_retry() {
    let rig = Rig::new().await;
    let body = logs(0).encode_to_vec();
    for _ in 0..2 {
        assert_eq!(
            rig.http
                .post(Signal::Logs, &[PROTOBUF], body.clone())
                .await
                .status,
            200
        );
    }
    assert_eq!(
        rig.records().len(),
        2,
        "two lines of one text are two log records"
    );
}

#[tokio::test]
async fn cors_is_off_by_default_and_on_for_configured_origins() {
    let preflight = |origin| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "content-type"),
        ];
        request(Method::OPTIONS, http_path(Signal::Spans), &headers, empty())
    };
    let allow = "access-control-allow-origin";
    let rig = Rig::new().await;
    let answer = rig.http.http1(preflight("https://shop.example")).await;
    assert_eq!((answer.status.as_u16(), answer.header(allow)), (405, ""));

    let cors_allowed_origins = vec!["https://shop.example".to_owned()];
    let rig = Rig::with(OtlpConfig {
        cors_allowed_origins,
        ..OtlpConfig::default()
    })
    .await;
    let answer = rig.http.http1(preflight("https://shop.example")).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header(allow)),
        (200, "https://shop.example")
    );
    assert_eq!(answer.header("access-control-allow-headers"), "content-type");
    assert_eq!(
        rig.http
            .http1(preflight("https://other.example"))
            .await
            .header(allow),
        ""
    );
    let headers = [JSON, ("origin", "https://shop.example")];
    let answer = rig.http.post(Signal::Spans, &headers, "{}").await;
    assert_eq!(
        (answer.status.as_u16(), answer.header(allow)),
        (200, "https://shop.example")
    );
}

#[tokio::test]
async fn health_is_served_and_its_watchers_do_not_hold_up_the_shutdown() {
    let rig = Rig::new().await;
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", rig.grpc.0)).expect("a URL");
    let mut client = HealthClient::new(endpoint.connect().await.expect("a listener"));
    for service in ["", "opentelemetry.proto.collector.trace.v1.TraceService"] {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let answer = client.check(request).await.expect("a status");
        assert_eq!(
            answer.into_inner().status(),
            ServingStatus::Serving,
            "{service:?}"
        );
    }
    let unknown = HealthCheckRequest {
        service: "nobody".to_owned(),
    };
    assert_eq!(
        client.check(unknown).await.expect_err("unknown").code(),
        tonic::Code::NotFound
    );

    let watch = client
        .watch(HealthCheckRequest::default())
        .await
        .expect("a stream");
    let mut watch = watch.into_inner();
    let first = watch.message().await.expect("a message").expect("a status");
    assert_eq!(first.status(), ServingStatus::Serving);
    rig.shutdown.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(10), rig.task).await;
    ended
        .expect("the receiver ends with a watcher connected")
        .expect("without a panic");
}
