//! What is told, word for word.

use meridian_runtime::config::Document;

use super::*;

const TRACES: &str = r#"{"resourceSpans": [{
    "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
    "scopeSpans": [{"spans": [
        {"traceId": "5759e988bd862e3fe1be46a994272793", "spanId": "53995c3f42cd8ad8", "name": "GET /cart", "kind": 2,
         "startTimeUnixNano": "1480615200010000000", "endTimeUnixNano": "1480615200090000000",
         "attributes": [{"key": "http.response.status_code", "value": {"intValue": "503"}}]},
        {"traceId": "5759e988bd862e3fe1be46a994272793", "spanId": "53995c3f42cd8ad9", "name": "without times", "kind": 1},
        {"traceId": "no", "spanId": "53995c3f42cd8ad9", "name": "without an id"}
    ]}]}]}"#;
const LOGS: &str = r#"{"resourceLogs": [{
    "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
    "scopeLogs": [{"logRecords": [
        {"timeUnixNano": "1480615200010000000", "body": {"stringValue": "a \"text\""}, "severityText": "INFO"}
    ]}]}]}"#;

fn explained(config: &str, json: &str) -> Result<String, String> {
    let document = Document::parse("agent.yaml", config, &|_| None).and_then(Config::read);
    let config = document.expect("no faults");
    run(config, json.as_bytes()).map_err(|error| format!("{error:#}"))
}

#[test]
fn what_each_exporter_would_send_is_told() {
    let told = explained(CONFIG, &format!("{TRACES}\n{LOGS}")).expect("OTLP");
    insta::assert_snapshot!(told, @r#"
    rejected before any exporter: 1 span: trace_id is not hex
    xray: to https://xray.eu-central-1.amazonaws.com
      PutTraceSegments: documents 1
      {
        "end_time": 1480615200.09,
        "fault": true,
        "http": {
          "response": {
            "status": 503
          }
        },
        "id": "53995c3f42cd8ad8",
        "metadata": {
          "default": {
            "otel.resource.service.name": "shop",
            "otel.span.name": "GET /cart"
          }
        },
        "name": "shop",
        "start_time": 1480615200.01,
        "trace_id": "1-5759e988-bd862e3fe1be46a994272793"
      }
      dropped as invalid: 1 (the other side has no place for such an item)
    cloudwatch_logs: to https://logs.eu-central-1.amazonaws.com
      PutLogEvents: group /meridian/example, stream node-1, events 1
      1480615200010 {"body":"a \"text\"","severity":"INFO","service.name":"shop"}
    cloudwatch_metrics: to https://monitoring.eu-central-1.amazonaws.com
    otlp: to http://localhost:4317
      POST /opentelemetry.proto.collector.trace.v1.TraceService/Export: spans 2, bytes before compression 174
      POST /opentelemetry.proto.collector.logs.v1.LogsService/Export: logs 1, bytes before compression 59
    "#);
}

#[test]
fn sampling_and_what_it_leaves_out_are_told() {
    let config = CONFIG.replace(
        "xray: { region: eu-central-1 }",
        "xray: { region: eu-central-1, protocol: otlp, sampling: { ratio: 0.1, keep_errors: true } }",
    );
    let told = explained(&config, TRACES).expect("OTLP");
    insta::assert_snapshot!(told, @"
    rejected before any exporter: 1 span: trace_id is not hex
    xray: to https://xray.eu-central-1.amazonaws.com
      POST /v1/traces: spans 1, bytes before compression 125
      dropped as sampled: 1 (the exporter's sampling leaves it out)
    cloudwatch_logs: to https://logs.eu-central-1.amazonaws.com
    cloudwatch_metrics: to https://monitoring.eu-central-1.amazonaws.com
    otlp: to http://localhost:4317
      POST /opentelemetry.proto.collector.trace.v1.TraceService/Export: spans 2, bytes before compression 174
    ");
}

#[test]
fn metrics_are_told_as_the_datums_that_they_become() {
    let now = Clock::system().now_unix_nanos();
    let metrics = format!(
        r#"{{"resourceMetrics": [{{
        "resource": {{"attributes": [{{"key": "service.name", "value": {{"stringValue": "shop"}}}}]}},
        "scopeMetrics": [{{"metrics": [
            {{"name": "http.server.request.duration", "unit": "s", "histogram": {{"aggregationTemporality": 2, "dataPoints": [
                {{"startTimeUnixNano": "{}", "timeUnixNano": "{now}", "count": "2", "sum": 0.5, "bucketCounts": ["2", "0"], "explicitBounds": [1]}}
            ]}}}},
            {{"name": "process.cpu.time", "gauge": {{"dataPoints": [{{"timeUnixNano": "{now}", "asInt": "1"}}]}}}}
        ]}}]}}]}}"#,
        now - 1
    );
    let config = CONFIG.split("exporters:").next().expect("a part").to_owned()
        + "exporters: { cloudwatch_metrics: { region: eu-central-1 } }";
    let told = explained(&config, &metrics).expect("OTLP");
    let minute = (now / 60_000_000_000 * 60).to_string();
    insta::assert_snapshot!(told.replace(&minute, "MINUTE"), @r#"
    cloudwatch_metrics: to https://monitoring.eu-central-1.amazonaws.com
      PutMetricData: namespace Meridian, datums 1
      {"MetricName":"http.server.request.duration","Dimensions":[{"Name":"service.name","Value":"shop"}],"Timestamp":MINUTE,"StorageResolution":60,"Unit":"Seconds","Values":[0.25],"Counts":[2]}
      dropped as not_selected: 1 (the exporter's configuration does not select it)
    "#);
}

#[test]
fn what_is_no_otlp_json_is_refused_with_its_place() {
    for (json, expected) in [
        ("", "it is empty"),
        (
            "{",
            "it is no JSON: EOF while parsing an object at line 1 column 1",
        ),
        (
            "{\"spans\": []}",
            "it is JSON, but no OTLP: an object with resourceSpans",
        ),
        ("{\"resourceSpans\": 1}", "not OTLP JSON: "),
    ] {
        let error = explained(CONFIG, json).expect_err(json);
        assert!(error.starts_with(expected), "{json}: {error}");
    }
}
