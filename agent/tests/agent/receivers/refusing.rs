//! What is refused, how it is worded, and whether the client is told to come back.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::Method;
use meridian_proto::signal::Signal;

use super::client::{Answer, JSON, PROTOBUF, empty, framed, http_path, request, whole};
use super::requests::{compressed, protobuf};
use super::rig::{Mood, Rig};

const INVALID_ARGUMENT: i32 = 3;
const RESOURCE_EXHAUSTED: i32 = 8;
const UNIMPLEMENTED: i32 = 12;
const UNAVAILABLE: i32 = 14;

/// Whether grpc-status-details-bin holds a RetryInfo.
pub fn has_retry_info(answer: &Answer) -> bool {
    let details = STANDARD_NO_PAD
        .decode(answer.header("grpc-status-details-bin"))
        .expect("base64");
    let name = b"google.rpc.RetryInfo";
    details.windows(name.len()).any(|window| window == name)
}

#[tokio::test]
async fn a_full_spool_is_refused_with_a_retry_hint() {
    let rig = Rig::new().await;
    rig.set(Mood::IsFull);
    let body = protobuf(Signal::Metrics);
    let http = rig.http.post(Signal::Metrics, &[PROTOBUF], body.clone()).await;
    assert_eq!((http.status.as_u16(), http.header("retry-after")), (429, "3"));
    let grpc = rig.grpc.grpc(Signal::Metrics, &[], framed(0, &body)).await;
    assert_eq!(grpc.grpc_status(), RESOURCE_EXHAUSTED);
    assert!(has_retry_info(&grpc) && grpc.header("grpc-message").contains("full"));
    assert_eq!(rig.counted("refused_items_total", "spool_full"), 2.0);

    rig.set(Mood::Takes);
    assert_eq!(
        rig.grpc
            .grpc(Signal::Metrics, &[], framed(0, &body))
            .await
            .grpc_status(),
        0
    );
}

#[tokio::test]
async fn a_broken_spool_is_unavailable_with_a_retry_hint() {
    let rig = Rig::new().await;
    rig.set(Mood::Fails);
    let body = protobuf(Signal::Spans);
    let http = rig.http.post(Signal::Spans, &[PROTOBUF], body.clone()).await;
    assert_eq!((http.status.as_u16(), http.header("retry-after")), (503, "5"));
    let grpc = rig.grpc.grpc(Signal::Spans, &[], framed(0, &body)).await;
    assert_eq!(grpc.grpc_status(), UNAVAILABLE);
    assert!(has_retry_info(&grpc));
}

#[tokio::test]
async fn malformed_bodies_are_refused_for_good() {
    let rig = Rig::new().await;
    let garbage = b"\x0a\xffnot protobuf";
    let http = rig.http.post(Signal::Spans, &[PROTOBUF], &garbage[..]).await;
    assert_eq!((http.status.as_u16(), http.header("retry-after")), (400, ""));
    assert_eq!(http.header("content-type"), "application/x-protobuf");
    let grpc = rig.grpc.grpc(Signal::Spans, &[], framed(0, garbage)).await;
    assert_eq!(grpc.grpc_status(), INVALID_ARGUMENT);
    assert!(
        grpc.header("grpc-message").contains("byte"),
        "{}",
        grpc.header("grpc-message")
    );
    assert_eq!(rig.counted("refused_requests_total", "malformed"), 2.0);

    for json in ["", "{", "{} x", "[]", "{\"resourceSpans\": 7}"] {
        let http = rig.http.post(Signal::Spans, &[JSON], json).await;
        assert_eq!(
            (http.status.as_u16(), http.json()["code"].as_i64()),
            (400, Some(3)),
            "{json}"
        );
    }
    let http = rig.http.post(Signal::Spans, &[JSON], "\u{feff}{}").await;
    assert!(
        http.status == 400 && http.text().contains("byte order mark"),
        "{}",
        http.text()
    );
}

#[tokio::test]
async fn bodies_that_are_not_compressed_as_they_say_are_refused() {
    let rig = Rig::new().await;
    for encoding in ["gzip", "zstd", "deflate"] {
        let mut cut = compressed(encoding, &protobuf(Signal::Spans));
        cut.pop();
        let http = rig
            .http
            .post(
                Signal::Spans,
                &[JSON, ("content-encoding", encoding)],
                cut.clone(),
            )
            .await;
        assert_eq!(http.status, 400);
        assert!(http.text().contains(encoding), "{}", http.text());
        let grpc = rig
            .grpc
            .grpc(Signal::Spans, &[("grpc-encoding", encoding)], framed(1, &cut))
            .await;
        assert_eq!(grpc.grpc_status(), INVALID_ARGUMENT, "{encoding}");
    }
}

#[tokio::test]
async fn unknown_encodings_are_named_with_the_known_ones() {
    let rig = Rig::new().await;
    let http = rig
        .http
        .post(Signal::Spans, &[JSON, ("content-encoding", "br")], "{}")
        .await;
    assert_eq!(
        (http.status.as_u16(), http.header("accept-encoding")),
        (415, "gzip, zstd, deflate")
    );
    let grpc = rig
        .grpc
        .grpc(Signal::Spans, &[("grpc-encoding", "snappy")], framed(1, b"x"))
        .await;
    assert_eq!(grpc.grpc_status(), UNIMPLEMENTED);
    assert_eq!(grpc.header("grpc-accept-encoding"), "identity,gzip,zstd,deflate");
}

#[tokio::test]
async fn wrong_types_paths_methods_and_ports_say_what_is_right() {
    let rig = Rig::new().await;
    let http = rig
        .http
        .post(Signal::Spans, &[("content-type", "text/plain")], "hi")
        .await;
    assert!(
        http.status == 415 && http.text().contains("application/x-protobuf"),
        "{}",
        http.text()
    );
    let http = rig.http.post(Signal::Spans, &[], "hi").await;
    assert_eq!(http.status, 415, "no content type");
    let http = rig
        .http
        .http1(request(Method::GET, http_path(Signal::Spans), &[], empty()))
        .await;
    assert_eq!((http.status.as_u16(), http.header("allow")), (405, "POST"));
    let http = rig
        .http
        .http1(request(Method::POST, "/v1/profiles", &[JSON], whole("{}")))
        .await;
    assert!(
        http.status == 404 && http.text().contains("/v1/traces"),
        "{}",
        http.text()
    );
    let http = rig.grpc.post(Signal::Spans, &[JSON], "{}").await;
    assert!(
        http.status == 415 && http.text().contains("4318"),
        "{}",
        http.text()
    );
    let uri = format!("http://{}/a.Service/Method", rig.grpc.0);
    let headers = [("content-type", "application/grpc")];
    let grpc = rig
        .grpc
        .http2(request(Method::POST, &uri, &headers, whole(framed(0, b""))))
        .await;
    assert_eq!(grpc.grpc_status(), UNIMPLEMENTED);
}

#[tokio::test]
async fn broken_framing_is_refused() {
    let rig = Rig::new().await;
    let message = framed(0, &protobuf(Signal::Spans));
    let cut = message[..message.len() - 1].to_vec();
    let several = [message.clone(), message.clone()].concat();
    for broken in [vec![], vec![0, 0], cut, several, framed(2, b"")] {
        let answer = rig.grpc.grpc(Signal::Spans, &[], broken.clone()).await;
        assert_eq!(answer.grpc_status(), INVALID_ARGUMENT, "{} bytes", broken.len());
    }
    assert!(rig.records().is_empty());
}
