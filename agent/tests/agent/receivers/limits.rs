//! Memory and time: oversize, bombs, slow bodies, many bodies at once.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use http::Method;
use meridian_agent::receivers::otlp::OtlpConfig;
use meridian_proto::signal::Signal;
use meridian_runtime::http::Limits;
use prost::Message;

use super::client::{JSON, PROTOBUF, chunked, framed, http_path, request, small_limits, stalled};
use super::refusing::has_retry_info;
use super::requests::{compressed, protobuf, span, traces};
use super::rig::Rig;

const DEADLINE_EXCEEDED: i32 = 4;
const RESOURCE_EXHAUSTED: i32 = 8;

#[tokio::test]
async fn what_is_over_the_limit_is_refused_without_a_retry_hint() {
    let rig = Rig::with(small_limits()).await;
    let body = Bytes::from(vec![0; (1 << 20) + 1]);
    let announced = rig.http.post(Signal::Spans, &[PROTOBUF], body.clone()).await;
    let unannounced = request(
        Method::POST,
        http_path(Signal::Spans),
        &[PROTOBUF],
        chunked(body.clone()),
    );
    let unannounced = rig.http.http1(unannounced).await;
    for http in [announced, unannounced] {
        assert_eq!((http.status.as_u16(), http.header("retry-after")), (413, ""));
    }
    let grpc = rig.grpc.grpc(Signal::Spans, &[], framed(0, &body)).await;
    assert_eq!(grpc.grpc_status(), RESOURCE_EXHAUSTED);
    assert!(!has_retry_info(&grpc));
    assert_eq!(rig.counted("refused_requests_total", "too_large"), 3.0);
    rig.memory_is_free().await;
}

#[tokio::test]
async fn more_items_than_a_batch_may_have_rows_are_refused_for_good() {
    let limits = OtlpConfig {
        max_request_items: 2,
        ..OtlpConfig::default()
    };
    let rig = Rig::with(limits).await;
    let fits = traces(vec![span(1), span(2)]).encode_to_vec();
    let over = traces(vec![span(3), span(4), span(5)]).encode_to_vec();
    let answer = rig.http.post(Signal::Spans, &[PROTOBUF], fits).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = rig.http.post(Signal::Spans, &[PROTOBUF], over.clone()).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (413, ""));
    let grpc = rig.grpc.grpc(Signal::Spans, &[], framed(0, &over)).await;
    assert_eq!(grpc.grpc_status(), RESOURCE_EXHAUSTED);
    assert!(!has_retry_info(&grpc));
    assert_eq!(rig.records().len(), 1);
    assert_eq!(rig.counted("refused_requests_total", "too_many_items"), 2.0);
}

#[tokio::test]
async fn a_length_over_the_limit_is_refused_before_the_message_is_sent() {
    let rig = Rig::with(small_limits()).await;
    let answer = rig
        .grpc
        .grpc_body(Signal::Spans, &[], stalled(&[0, 0xff, 0xff, 0xff, 0xff][..]))
        .await;
    assert_eq!(answer.grpc_status(), RESOURCE_EXHAUSTED);
}

#[tokio::test]
async fn bombs_are_cut_at_the_limit() {
    let rig = Rig::with(small_limits()).await;
    let zeros = vec![0; 64 << 20];
    for encoding in ["gzip", "zstd", "deflate"] {
        let bomb = compressed(encoding, &zeros);
        let headers = [JSON, ("content-encoding", encoding)];
        let http = rig.http.post(Signal::Spans, &headers, bomb.clone()).await;
        assert_eq!(http.status, 413, "{encoding}: {}", http.text());
        let grpc = rig
            .grpc
            .grpc(Signal::Spans, &[("grpc-encoding", encoding)], framed(1, &bomb))
            .await;
        assert_eq!(grpc.grpc_status(), RESOURCE_EXHAUSTED, "{encoding}");
        assert!(!has_retry_info(&grpc));
    }
    rig.memory_is_free().await;
}

fn body_within(body_timeout: Duration) -> Limits {
    Limits {
        body_timeout,
        ..Limits::default()
    }
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_given_up_and_frees_its_memory() {
    let rig = Rig::with(OtlpConfig {
        connections: body_within(Duration::from_millis(50)),
        ..small_limits()
    })
    .await;
    let body = stalled(vec![0; 1000]);
    let http = rig
        .http
        .http1(request(Method::POST, http_path(Signal::Logs), &[PROTOBUF], body))
        .await;
    assert_eq!(http.status, 503, "SDKs send it again");
    assert_eq!(http.headers["retry-after"], "1");
    let grpc = rig
        .grpc
        .grpc_body(Signal::Logs, &[], stalled(&[0, 0, 0, 1, 0, 7][..]))
        .await;
    assert_eq!(grpc.grpc_status(), DEADLINE_EXCEEDED);
    rig.memory_is_free().await;
    assert_eq!(rig.counted("refused_requests_total", "slow_body"), 2.0);
}

#[tokio::test]
async fn many_slow_bodies_stay_within_the_memory_and_the_rest_is_told_to_come_back() {
    let rig = Rig::with(OtlpConfig {
        connections: body_within(Duration::from_secs(2)),
        ..small_limits()
    })
    .await;
    let message = Bytes::from(framed(0, &vec![0; 600 << 10])).slice(..500 << 10);
    let calls = (0..20).map(|_| rig.grpc.grpc_body(Signal::Spans, &[], stalled(message.clone())));
    let watch = async {
        let mut most = 0;
        loop {
            most = most.max(rig.admission.bytes_used());
            assert!(most <= 2 << 20, "{most} bytes are reserved");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let answers = tokio::select! {
        answers = join_all(calls) => answers,
        () = watch => Vec::new(),
    };
    let full: Vec<_> = answers
        .iter()
        .filter(|answer| answer.grpc_status() == RESOURCE_EXHAUSTED)
        .collect();
    assert!(full.len() >= 15, "{} of 20 were refused", full.len());
    assert!(full.iter().all(|answer| has_retry_info(answer)));
    rig.memory_is_free().await;
    let answer = rig
        .grpc
        .grpc(Signal::Spans, &[], framed(0, &protobuf(Signal::Spans)))
        .await;
    assert_eq!(answer.grpc_status(), 0, "all recovers by itself");
}

#[tokio::test]
async fn a_client_that_hangs_up_frees_its_memory() {
    let rig = Rig::with(small_limits()).await;
    let call = rig
        .grpc
        .grpc_body(Signal::Spans, &[], stalled(&[0, 0, 1, 0, 0, 7, 7][..]));
    let reserved = async {
        while rig.admission.bytes_used() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        answer = call => assert_eq!(answer.body, "no answer was expected"),
        () = reserved => {}
    }
    rig.memory_is_free().await;
}
