//! Arbitrary requests, of what is valid: ids have their lengths, times and counts fit, and
//! histograms agree with themselves. Doubles are finite: the JSON of others is tested apart.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint,
    Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar, metric,
    number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-z$.]{1,6}", any::<String>()]
}

fn double() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(0.0),
        Just(5.0),
        Just(0.1),
        prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL
    ]
}

fn time() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(i64::MAX as u64), 0..=i64::MAX as u64]
}

fn id(length: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(1..=255_u8, length)
}

fn maybe_id(length: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![Just(Vec::new()), id(length)]
}

fn value() -> impl Strategy<Value = AnyValue> {
    let leaf = prop_oneof![
        Just(None),
        text().prop_map(|text| Some(Value::StringValue(text))),
        any::<bool>().prop_map(|flag| Some(Value::BoolValue(flag))),
        any::<i64>().prop_map(|int| Some(Value::IntValue(int))),
        double().prop_map(|double| Some(Value::DoubleValue(double))),
        vec(any::<u8>(), 0..5).prop_map(|bytes| Some(Value::BytesValue(bytes))),
    ]
    .prop_map(|value| AnyValue { value });
    leaf.prop_recursive(4, 16, 3, |inner| {
        let entry = (text(), option::of(inner.clone())).prop_map(key_value);
        prop_oneof![
            vec(inner, 0..3).prop_map(|values| Value::ArrayValue(ArrayValue { values })),
            vec(entry, 0..3).prop_map(|values| Value::KvlistValue(KeyValueList { values })),
        ]
        .prop_map(|value| AnyValue { value: Some(value) })
    })
}

fn key_value((key, value): (String, Option<AnyValue>)) -> KeyValue {
    KeyValue {
        key,
        value,
        ..KeyValue::default()
    }
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let keys = prop_oneof![
        text(),
        Just("http.route".to_owned()),
        Just("http.response.status_code".to_owned()),
        Just("service.name".to_owned()),
    ];
    vec((keys, option::of(value())).prop_map(key_value), 0..5)
}

fn resource() -> impl Strategy<Value = Option<Resource>> {
    // opentelemetry-proto reads an entity only with all of its fields.
    let keys = || vec(text(), 1..3);
    let entity =
        ("[a-z]{1,4}", "[a-z]{1,4}", keys(), keys()).prop_map(|(schema_url, r#type, id_keys, more)| {
            EntityRef {
                schema_url,
                r#type,
                id_keys,
                description_keys: more,
            }
        });
    let resource = (attributes(), any::<u32>(), vec(entity, 0..2));
    option::of(
        resource.prop_map(|(attributes, dropped_attributes_count, entity_refs)| Resource {
            attributes,
            dropped_attributes_count,
            entity_refs,
        }),
    )
}

fn scope() -> impl Strategy<Value = Option<InstrumentationScope>> {
    let scope = (text(), text(), attributes(), any::<u32>());
    option::of(scope.prop_map(
        |(name, version, attributes, dropped_attributes_count)| InstrumentationScope {
            name,
            version,
            attributes,
            dropped_attributes_count,
        },
    ))
}

fn event() -> impl Strategy<Value = Event> {
    (time(), text(), attributes(), any::<u32>()).prop_map(|(time_unix_nano, name, attributes, dropped)| {
        Event {
            time_unix_nano,
            name,
            attributes,
            dropped_attributes_count: dropped,
        }
    })
}

fn link() -> impl Strategy<Value = Link> {
    (
        maybe_id(16),
        maybe_id(8),
        text(),
        attributes(),
        any::<u32>(),
        any::<u32>(),
    )
        .prop_map(
            |(trace_id, span_id, trace_state, attributes, dropped_attributes_count, flags)| Link {
                trace_id,
                span_id,
                trace_state,
                attributes,
                dropped_attributes_count,
                flags,
            },
        )
}

pub fn span() -> impl Strategy<Value = Span> {
    let status = (text(), -1..5).prop_map(|(message, code)| Status { message, code });
    let ids = (id(16), id(8), maybe_id(8), text(), any::<u32>());
    let what = (text(), -2..9, time(), time(), option::of(status));
    let lists = (
        attributes(),
        vec(event(), 0..3),
        vec(link(), 0..3),
        any::<[u32; 3]>(),
    );
    (ids, what, lists).prop_map(|(ids, what, lists)| Span {
        trace_id: ids.0,
        span_id: ids.1,
        parent_span_id: ids.2,
        trace_state: ids.3,
        flags: ids.4,
        name: what.0,
        kind: what.1,
        start_time_unix_nano: what.2,
        end_time_unix_nano: what.3,
        status: what.4,
        attributes: lists.0,
        events: lists.1,
        links: lists.2,
        dropped_attributes_count: lists.3[0],
        dropped_events_count: lists.3[1],
        dropped_links_count: lists.3[2],
    })
}

fn log_record() -> impl Strategy<Value = LogRecord> {
    let what = (time(), time(), 0..30, text(), option::of(value()), text());
    (
        what,
        attributes(),
        any::<u32>(),
        any::<u32>(),
        maybe_id(16),
        maybe_id(8),
    )
        .prop_map(
            |(what, attributes, dropped_attributes_count, flags, trace_id, span_id)| LogRecord {
                time_unix_nano: what.0,
                observed_time_unix_nano: what.1,
                severity_number: what.2,
                severity_text: what.3,
                body: what.4,
                event_name: what.5,
                attributes,
                dropped_attributes_count,
                flags,
                trace_id,
                span_id,
            },
        )
}

fn exemplar() -> impl Strategy<Value = Exemplar> {
    let number = prop_oneof![
        double().prop_map(exemplar::Value::AsDouble),
        any::<i64>().prop_map(exemplar::Value::AsInt)
    ];
    (
        attributes(),
        time(),
        maybe_id(8),
        maybe_id(16),
        option::of(number),
    )
        .prop_map(
            |(filtered_attributes, time_unix_nano, span_id, trace_id, value)| Exemplar {
                filtered_attributes,
                time_unix_nano,
                span_id,
                trace_id,
                value,
            },
        )
}

fn number_point() -> impl Strategy<Value = NumberDataPoint> {
    let number = prop_oneof![
        double().prop_map(number_data_point::Value::AsDouble),
        any::<i64>().prop_map(number_data_point::Value::AsInt)
    ];
    (
        attributes(),
        time(),
        time(),
        vec(exemplar(), 0..2),
        any::<u32>(),
        option::of(number),
    )
        .prop_map(
            |(attributes, start_time_unix_nano, time_unix_nano, exemplars, flags, value)| NumberDataPoint {
                attributes,
                start_time_unix_nano,
                time_unix_nano,
                exemplars,
                flags,
                value,
            },
        )
}

fn histogram_point() -> impl Strategy<Value = HistogramDataPoint> {
    let buckets = prop_oneof![
        Just((Vec::new(), Vec::new())),
        vec(time(), 1..5).prop_map(|counts| {
            let bounds = (1..counts.len()).map(|bound| bound as f64 / 3.0).collect();
            (counts, bounds)
        })
    ];
    let optional = (option::of(double()), option::of(double()), option::of(double()));
    (
        attributes(),
        time(),
        time(),
        time(),
        optional,
        buckets,
        vec(exemplar(), 0..2),
        any::<u32>(),
    )
        .prop_map(
            |(
                attributes,
                start_time_unix_nano,
                time_unix_nano,
                count,
                optional,
                buckets,
                exemplars,
                flags,
            )| {
                HistogramDataPoint {
                    attributes,
                    start_time_unix_nano,
                    time_unix_nano,
                    count,
                    sum: optional.0,
                    min: optional.1,
                    max: optional.2,
                    bucket_counts: buckets.0,
                    explicit_bounds: buckets.1,
                    exemplars,
                    flags,
                }
            },
        )
}

fn exponential_point() -> impl Strategy<Value = ExponentialHistogramDataPoint> {
    let buckets = || {
        option::of(
            (any::<i32>(), vec(time(), 0..4)).prop_map(|(offset, bucket_counts)| Buckets {
                offset,
                bucket_counts,
            }),
        )
    };
    let base = (
        attributes(),
        time(),
        time(),
        time(),
        any::<u32>(),
        vec(exemplar(), 0..2),
    );
    let optional = (option::of(double()), option::of(double()), option::of(double()));
    (
        base,
        optional,
        any::<i32>(),
        time(),
        double(),
        buckets(),
        buckets(),
    )
        .prop_map(
            |(base, optional, scale, zero_count, zero_threshold, positive, negative)| {
                ExponentialHistogramDataPoint {
                    attributes: base.0,
                    start_time_unix_nano: base.1,
                    time_unix_nano: base.2,
                    count: base.3,
                    flags: base.4,
                    exemplars: base.5,
                    sum: optional.0,
                    min: optional.1,
                    max: optional.2,
                    scale,
                    zero_count,
                    positive,
                    negative,
                    zero_threshold,
                }
            },
        )
}

fn summary_point() -> impl Strategy<Value = SummaryDataPoint> {
    let quantile = (double(), double()).prop_map(|(quantile, value)| ValueAtQuantile { quantile, value });
    (
        attributes(),
        time(),
        time(),
        time(),
        double(),
        vec(quantile, 0..3),
        any::<u32>(),
    )
        .prop_map(
            |(attributes, start_time_unix_nano, time_unix_nano, count, sum, quantile_values, flags)| {
                SummaryDataPoint {
                    attributes,
                    start_time_unix_nano,
                    time_unix_nano,
                    count,
                    sum,
                    quantile_values,
                    flags,
                }
            },
        )
}

fn metric() -> impl Strategy<Value = Metric> {
    let data = prop_oneof![
        vec(number_point(), 0..3).prop_map(|data_points| metric::Data::Gauge(Gauge { data_points })),
        (vec(number_point(), 0..3), -1..5, any::<bool>()).prop_map(
            |(data_points, aggregation_temporality, is_monotonic)| metric::Data::Sum(Sum {
                data_points,
                aggregation_temporality,
                is_monotonic
            })
        ),
        (vec(histogram_point(), 0..3), 0..3).prop_map(|(data_points, aggregation_temporality)| {
            metric::Data::Histogram(Histogram {
                data_points,
                aggregation_temporality,
            })
        }),
        (vec(exponential_point(), 0..3), 0..3).prop_map(|(data_points, aggregation_temporality)| {
            metric::Data::ExponentialHistogram(ExponentialHistogram {
                data_points,
                aggregation_temporality,
            })
        }),
        vec(summary_point(), 0..3).prop_map(|data_points| metric::Data::Summary(Summary { data_points })),
    ];
    (text(), text(), text(), attributes(), option::of(data)).prop_map(
        |(name, description, unit, metadata, data)| Metric {
            name,
            description,
            unit,
            metadata,
            data,
        },
    )
}

pub fn spans() -> impl Strategy<Value = ExportTraceServiceRequest> {
    let scopes = (scope(), vec(span(), 0..3), text()).prop_map(|(scope, spans, schema_url)| ScopeSpans {
        scope,
        spans,
        schema_url,
    });
    let groups = (resource(), vec(scopes, 0..3), text());
    vec(groups, 0..3).prop_map(|groups| ExportTraceServiceRequest {
        resource_spans: groups
            .into_iter()
            .map(|(resource, scope_spans, schema_url)| ResourceSpans {
                resource,
                scope_spans,
                schema_url,
            })
            .collect(),
    })
}

pub fn logs() -> impl Strategy<Value = ExportLogsServiceRequest> {
    let scopes =
        (scope(), vec(log_record(), 0..3), text()).prop_map(|(scope, log_records, schema_url)| ScopeLogs {
            scope,
            log_records,
            schema_url,
        });
    let groups = (resource(), vec(scopes, 0..3), text());
    vec(groups, 0..3).prop_map(|groups| ExportLogsServiceRequest {
        resource_logs: groups
            .into_iter()
            .map(|(resource, scope_logs, schema_url)| ResourceLogs {
                resource,
                scope_logs,
                schema_url,
            })
            .collect(),
    })
}

pub fn metrics() -> impl Strategy<Value = ExportMetricsServiceRequest> {
    let scopes =
        (scope(), vec(metric(), 0..3), text()).prop_map(|(scope, metrics, schema_url)| ScopeMetrics {
            scope,
            metrics,
            schema_url,
        });
    let groups = (resource(), vec(scopes, 0..3), text());
    vec(groups, 0..3).prop_map(|groups| ExportMetricsServiceRequest {
        resource_metrics: groups
            .into_iter()
            .map(|(resource, scope_metrics, schema_url)| ResourceMetrics {
                resource,
                scope_metrics,
                schema_url,
            })
            .collect(),
    })
}
