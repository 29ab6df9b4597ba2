//! The log records: lines of a web service's controller with a trace's ids, two per trace.
//! Their text is not parsed by anybody.

use anyhow::Result;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;

use super::{Detail, METHODS, ROUTES, VARIANTS, field, integer, status};
use crate::bench::random::Random;
use crate::bench::template::{Fill, Piece, Slots};
use crate::otlp::attribute;

const SEVERITIES: [(i32, &str); 8] = [
    (9, "INFO"),
    (9, "INFO"),
    (9, "INFO"),
    (9, "INFO"),
    (9, "INFO"),
    (5, "DEBUG"),
    (13, "WARN"),
    (17, "ERROR"),
];

pub(super) fn records(detail: Detail, random: &mut Random) -> Result<Vec<Piece>> {
    (0..VARIANTS).map(|_| record(detail, random)).collect()
}

fn record(detail: Detail, random: &mut Random) -> Result<Piece> {
    let mut slots = Slots::default();
    let (time_unix_nano, observed_time_unix_nano) = (slots.fixed64(Fill::Within), slots.fixed64(Fill::After));
    let (severity_number, severity_text) = random.pick(&SEVERITIES);
    let route = random.pick(&ROUTES).replace("{id}", &slots.text(8, Fill::Digits));
    let body = format!(
        "{} {route} by user-{} from {}: upstream answered {} after {} ms, order kept for a retry",
        random.pick(&METHODS),
        slots.text(6, Fill::Digits),
        slots.text(15, Fill::Address),
        status(random),
        random.below(900),
    );
    let mut attributes = Vec::new();
    if detail == Detail::Full {
        attributes.extend([
            attribute("log.logger.name", "com.example.shop.OrderController"),
            attribute("thread.name", &format!("http-nio-8080-exec-{}", random.below(50))),
            attribute("code.function.name", "com.example.shop.OrderController.capture"),
            integer("code.line.number", 214),
            attribute("session.id", &slots.text(16, Fill::Session)),
        ]);
    }
    attributes.push(attribute("log.iostream", "stdout"));
    let record = LogRecord {
        time_unix_nano,
        observed_time_unix_nano,
        severity_number,
        severity_text: severity_text.to_owned(),
        body: Some(AnyValue {
            value: Some(any_value::Value::StringValue(body)),
        }),
        attributes,
        trace_id: slots.bytes(16, Fill::TraceId),
        span_id: slots.bytes(8, Fill::SpanId(0)),
        ..LogRecord::default()
    };
    slots.piece(field(2, &record))
}
