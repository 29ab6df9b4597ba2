//! Nothing of a valid request is lost on the way to rows and back.

use meridian_proto::signal::Signal;
use meridian_proto::{payload, rebuild};
use proptest::prelude::*;
use prost::Message;
use serde_json::Value;

use super::{arbitrary, builder, normal};
use crate::otlp::{CheckLimits, check, json_to_protobuf};

/// The whole way of a body: check, rows, payload, rows, OTLP JSON.
fn there_and_back(signal: Signal, body: &[u8]) -> Value {
    let checked = check(signal, body.to_vec().into(), &CheckLimits::default()).expect("sound");
    assert_eq!(checked.reasons.to_string(), "");
    assert_eq!(checked.body, body, "an accepted body is passed on as it is");
    let mut rows = builder(signal);
    let pushed = rows
        .push(&checked.body, 1_700_000_000_000_000_123)
        .expect("accepted");
    assert_eq!(pushed, checked.items);
    let batch = rows.finish();
    let encoded = payload::encode(&batch, 1).expect("encodes");
    let decoded =
        payload::decode(signal, &encoded.bytes, encoded.uncompressed_bytes, 1 << 30).expect("decodes");
    assert_eq!(decoded, batch);
    let rebuilt = match signal {
        Signal::Spans => rebuild::spans(&decoded),
        Signal::Logs => rebuild::logs(&decoded),
        Signal::Metrics => rebuild::metrics(&decoded),
    };
    rebuilt.expect("rebuilds")
}

/// Our own transcoder must read what we rebuild, too.
fn transcoded<M: Message + Default>(signal: Signal, json: &Value) -> M {
    let bytes =
        json_to_protobuf(signal, json.to_string().as_bytes(), &CheckLimits::default()).expect("OTLP JSON");
    M::decode(bytes.as_slice()).expect("protobuf")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn spans_come_back_whole(request in arbitrary::spans()) {
        let rebuilt = there_and_back(Signal::Spans, &request.encode_to_vec());
        prop_assert_eq!(normal::spans(&transcoded(Signal::Spans, &rebuilt)), normal::spans(&request));
        let other = serde_json::from_value(rebuilt).expect("OTLP JSON for others");
        prop_assert_eq!(normal::spans(&other), normal::spans(&request));
    }

    #[test]
    fn log_records_come_back_whole(request in arbitrary::logs()) {
        let rebuilt = there_and_back(Signal::Logs, &request.encode_to_vec());
        prop_assert_eq!(normal::logs(&transcoded(Signal::Logs, &rebuilt)), normal::logs(&request));
        let other = serde_json::from_value(rebuilt).expect("OTLP JSON for others");
        prop_assert_eq!(normal::logs(&other), normal::logs(&request));
    }

    #[test]
    fn data_points_come_back_whole(request in arbitrary::metrics()) {
        let rebuilt = there_and_back(Signal::Metrics, &request.encode_to_vec());
        prop_assert_eq!(normal::metrics(&transcoded(Signal::Metrics, &rebuilt)), normal::metrics(&request));
        let other = serde_json::from_value(rebuilt).expect("OTLP JSON for others");
        prop_assert_eq!(normal::metrics(&other), normal::metrics(&request));
    }

    #[test]
    fn json_requests_become_the_same_protobuf(
        spans in arbitrary::spans(), logs in arbitrary::logs(), metrics in arbitrary::metrics(),
    ) {
        let json = |request: Result<Value, serde_json::Error>| request.expect("JSON");
        prop_assert_eq!(transcoded::<super::Spans>(Signal::Spans, &json(serde_json::to_value(&spans))), spans);
        prop_assert_eq!(transcoded::<super::Logs>(Signal::Logs, &json(serde_json::to_value(&logs))), logs);
        prop_assert_eq!(transcoded::<super::Metrics>(Signal::Metrics, &json(serde_json::to_value(&metrics))), metrics);
    }

    #[test]
    fn a_bad_span_costs_only_itself(mut request in arbitrary::spans(), bad in any::<u64>()) {
        let mut kept = request.clone();
        let mut index = 0;
        let groups = request.resource_spans.iter_mut().zip(&mut kept.resource_spans);
        for (scopes, kept_scopes) in groups.flat_map(|(group, kept)| group.scope_spans.iter_mut().zip(&mut kept.scope_spans)) {
            kept_scopes.spans.clear();
            for span in &mut scopes.spans {
                if bad >> (index % 64) & 1 == 1 {
                    span.span_id.pop();
                } else {
                    kept_scopes.spans.push(span.clone());
                }
                index += 1;
            }
        }
        let checked = check(Signal::Spans, request.encode_to_vec().into(), &CheckLimits::default()).expect("sound");
        prop_assert_eq!(checked.items + checked.rejected, index);
        prop_assert_eq!(super::Spans::decode(checked.body).expect("protobuf"), kept);
    }
}

#[test]
fn doubles_that_json_has_no_number_for_come_back() {
    for text in ["NaN", "Infinity", "-Infinity"] {
        let json = format!(
            r#"{{"resourceMetrics":[{{"resource":{{"attributes":[{{"key":"r","value":{{"doubleValue":"{text}"}}}}]}},
            "scopeMetrics":[{{"metrics":[{{"name":"m","gauge":{{"dataPoints":[{{"timeUnixNano":"1","asDouble":"{text}",
            "attributes":[{{"key":"k","value":{{"arrayValue":{{"values":[{{"doubleValue":"{text}"}}]}}}}}}]}}]}}}}]}}]}}]}}"#
        );
        let body =
            json_to_protobuf(Signal::Metrics, json.as_bytes(), &CheckLimits::default()).expect("OTLP JSON");
        let rebuilt = there_and_back(Signal::Metrics, &body);
        let expected: Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(
            rebuilt["resourceMetrics"][0]["resource"],
            expected["resourceMetrics"][0]["resource"]
        );
        let point = |json: &Value| json["resourceMetrics"][0]["scopeMetrics"][0]["metrics"][0].clone();
        assert_eq!(point(&rebuilt), point(&expected));
    }
}
