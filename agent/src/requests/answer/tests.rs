//! Answers as backends give them.

use bytes::Bytes;
use http::HeaderValue;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message as _;

use super::*;

fn answer(status: u16, headers: &[(&'static str, &str)], body: impl Into<Vec<u8>>) -> Answer {
    let map = headers
        .iter()
        .map(|(name, value)| {
            let value = HeaderValue::from_str(value).expect("a value");
            (http::HeaderName::from_static(name), value)
        })
        .collect();
    Answer {
        status: StatusCode::from_u16(status).expect("a status"),
        headers: map,
        body: Bytes::from(body.into()),
        trailers: HeaderMap::new(),
    }
}

fn kind(said: &Said) -> Option<(TroubleKind, Option<Duration>)> {
    match said {
        Said::Not(Verdict::Later(trouble)) => Some((trouble.kind, trouble.pause)),
        _ => None,
    }
}

fn refused(said: &Said) -> bool {
    matches!(said, Said::Not(Verdict::Refused(_)))
}

fn partial(rejected: i64) -> Vec<u8> {
    ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans: rejected,
            error_message: "too old".to_owned(),
        }),
    }
    .encode_to_vec()
}

#[test]
fn a_partial_success_is_read_from_both_protocols() {
    let expected = Said::Taken {
        rejected: 3,
        message: "too old".to_owned(),
    };
    assert_eq!(of_http(&answer(200, &[], partial(3))), expected);
    let mut message = vec![0, 0, 0, 0, u8::try_from(partial(3).len()).expect("short")];
    message.extend(partial(3));
    assert_eq!(of_grpc(&answer(200, &[("grpc-status", "0")], message)), expected);
    let none = Said::Taken {
        rejected: 0,
        message: String::new(),
    };
    assert_eq!(of_http(&answer(200, &[], "")), none);
    assert_eq!(of_http(&answer(200, &[], "{\"partialSuccess\":{}}")), none);
}

#[test]
fn statuses_of_http_say_what_may_come_again() {
    use TroubleKind::{Denied, Throttled, Unavailable};
    let pause = Some(Duration::from_secs(7));
    let throttled = answer(429, &[("retry-after", "7")], "");
    assert_eq!(kind(&of_http(&throttled)), Some((Throttled, pause)));
    for (status, expected) in [
        (503, Unavailable),
        (502, Unavailable),
        (504, Unavailable),
        (401, Denied),
        (403, Denied),
        (404, Denied),
    ] {
        assert_eq!(
            kind(&of_http(&answer(status, &[], ""))),
            Some((expected, None)),
            "{status}"
        );
    }
    for status in [400, 413, 422] {
        assert!(refused(&of_http(&answer(status, &[], "no"))), "{status}");
    }
}

#[test]
fn statuses_of_grpc_say_what_may_come_again() {
    use TroubleKind::{Denied, Throttled, Unavailable};
    let said = |code: &str| of_grpc(&answer(200, &[("grpc-status", code), ("grpc-message", "no")], ""));
    for (code, expected) in [
        ("14", Unavailable),
        ("4", Unavailable),
        ("10", Unavailable),
        ("16", Denied),
        ("7", Denied),
        ("12", Denied),
    ] {
        assert_eq!(kind(&said(code)), Some((expected, None)), "{code}");
    }
    // Too large, and never again as it is.
    assert!(refused(&said("8")));
    assert!(refused(&said("3")));
    assert_eq!(kind(&of_grpc(&answer(404, &[], "<html>"))), Some((Denied, None)));

    // google.rpc.Status{code: 8, details: [Any{RetryInfo{retry_delay: 2.5 s}}]}
    let delay = [0x08, 2, 0x10, 0x80, 0xca, 0xb5, 0xee, 0x01];
    let message = |number: u8, inner: &[u8]| {
        [
            &[number << 3 | 2, u8::try_from(inner.len()).expect("short")],
            inner,
        ]
        .concat()
    };
    let info = message(1, &delay);
    let any = [message(1, RETRY_INFO.as_bytes()), message(2, &info)].concat();
    let status = [vec![0x08, 8], message(3, &any)].concat();
    let details = STANDARD_NO_PAD.encode(status);
    let said = of_grpc(&answer(
        200,
        &[("grpc-status", "8"), ("grpc-status-details-bin", &details)],
        "",
    ));
    assert_eq!(kind(&said), Some((Throttled, Some(Duration::from_millis(2500)))));
}
