//! One spelling of what OTLP spells in several ways: items with their resource and scope,
//! attributes sorted, an absent message as the default one.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::{Exemplar, Metric, metric};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Status;

fn value(value: &mut AnyValue) {
    match &mut value.value {
        Some(Value::ArrayValue(array)) => array.values.iter_mut().for_each(self::value),
        Some(Value::KvlistValue(list)) => list.values.iter_mut().for_each(key_value),
        _ => {}
    }
}

fn key_value(entry: &mut KeyValue) {
    value(entry.value.get_or_insert_default());
}

fn sorted(attributes: &mut [KeyValue]) {
    attributes.iter_mut().for_each(key_value);
    attributes.sort_by_key(|entry| format!("{entry:?}"));
}

fn resource(resource: Option<&Resource>, schema_url: &str) -> String {
    let mut resource = resource.cloned().unwrap_or_default();
    resource.attributes.iter_mut().for_each(key_value);
    format!("{resource:?} {schema_url:?}")
}

fn scope(scope: Option<&InstrumentationScope>, schema_url: &str) -> String {
    let mut scope = scope.cloned().unwrap_or_default();
    scope.attributes.iter_mut().for_each(key_value);
    format!("{scope:?} {schema_url:?}")
}

fn finish(mut items: Vec<String>) -> Vec<String> {
    items.sort_unstable();
    items
}

pub fn spans(request: &ExportTraceServiceRequest) -> Vec<String> {
    let mut items = Vec::new();
    for group in &request.resource_spans {
        let resource = resource(group.resource.as_ref(), &group.schema_url);
        for inner in &group.scope_spans {
            let scope = scope(inner.scope.as_ref(), &inner.schema_url);
            for span in &inner.spans {
                let mut span = span.clone();
                sorted(&mut span.attributes);
                span.events
                    .iter_mut()
                    .for_each(|event| sorted(&mut event.attributes));
                span.links
                    .iter_mut()
                    .for_each(|link| sorted(&mut link.attributes));
                span.status = span.status.filter(|status| *status != Status::default());
                items.push(format!("{resource} {scope} {span:?}"));
            }
        }
    }
    finish(items)
}

pub fn logs(request: &ExportLogsServiceRequest) -> Vec<String> {
    let mut items = Vec::new();
    for group in &request.resource_logs {
        let resource = resource(group.resource.as_ref(), &group.schema_url);
        for inner in &group.scope_logs {
            let scope = scope(inner.scope.as_ref(), &inner.schema_url);
            for record in &inner.log_records {
                let mut record = record.clone();
                sorted(&mut record.attributes);
                record.body.iter_mut().for_each(value);
                items.push(format!("{resource} {scope} {record:?}"));
            }
        }
    }
    finish(items)
}

fn exemplars(exemplars: &mut [Exemplar]) {
    exemplars
        .iter_mut()
        .for_each(|exemplar| sorted(&mut exemplar.filtered_attributes));
}

pub fn metrics(request: &ExportMetricsServiceRequest) -> Vec<String> {
    let mut items = Vec::new();
    for group in &request.resource_metrics {
        let resource = resource(group.resource.as_ref(), &group.schema_url);
        for inner in &group.scope_metrics {
            let scope = scope(inner.scope.as_ref(), &inner.schema_url);
            for metric in &inner.metrics {
                for point in points(metric) {
                    items.push(format!("{resource} {scope} {point}"));
                }
            }
        }
    }
    finish(items)
}

/// Each data point with all that its metric says.
fn points(metric: &Metric) -> Vec<String> {
    let mut head = metric.clone();
    head.metadata.iter_mut().for_each(key_value);
    let data = head.data.take();
    macro_rules! split {
        ($data:expr) => {{
            let mut rest = $data;
            let points = std::mem::take(&mut rest.data_points);
            let each = points.into_iter().map(|mut point| {
                sorted(&mut point.attributes);
                format!("{head:?} {rest:?} {point:?}")
            });
            each.collect()
        }};
    }
    match data {
        None => Vec::new(),
        Some(metric::Data::Gauge(mut data)) => {
            data.data_points
                .iter_mut()
                .for_each(|point| exemplars(&mut point.exemplars));
            split!(data)
        }
        Some(metric::Data::Sum(mut data)) => {
            data.data_points
                .iter_mut()
                .for_each(|point| exemplars(&mut point.exemplars));
            split!(data)
        }
        Some(metric::Data::Histogram(mut data)) => {
            data.data_points
                .iter_mut()
                .for_each(|point| exemplars(&mut point.exemplars));
            split!(data)
        }
        Some(metric::Data::ExponentialHistogram(mut data)) => {
            data.data_points
                .iter_mut()
                .for_each(|point| exemplars(&mut point.exemplars));
            split!(data)
        }
        Some(metric::Data::Summary(data)) => split!(data),
    }
}
