//! The metrics of one process: a hundred series, the same at each collection, all with the
//! collection's time. Their values are random, not those of a real process.

use anyhow::Result;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, Sum, exponential_histogram_data_point::Buckets, metric,
    number_data_point,
};

use super::{ITEMS, METHODS, ROUTES, field, integer};
use crate::bench::random::Random;
use crate::bench::template::{Fill, Piece, Slots};
use crate::otlp::{attribute, now_unix_nanos};

const POINTS: usize = 10;
const BOUNDS: [f64; 9] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];
const BUCKETS: usize = 20;
const STATUSES: [i64; 2] = [200, 503];
const HOUR_NANOS: u64 = 3_600_000_000_000;

/// Four gauges, three sums, two histograms and an exponential one, of ten points each.
pub(super) fn metrics(random: &mut Random) -> Result<Vec<Piece>> {
    let started = now_unix_nanos() - HOUR_NANOS - random.below(72 * HOUR_NANOS);
    let count = ITEMS as usize / POINTS;
    (0..count).map(|index| one(index, started)).collect()
}

fn one(index: usize, started: u64) -> Result<Piece> {
    let mut slots = Slots::default();
    let cumulative = AggregationTemporality::Cumulative as i32;
    let points = 0..POINTS;
    let data = match index {
        0..4 => metric::Data::Gauge(Gauge {
            data_points: points.map(|point| gauge(&mut slots, point)).collect(),
        }),
        4..7 => metric::Data::Sum(Sum {
            data_points: points.map(|point| sum(&mut slots, point, started)).collect(),
            aggregation_temporality: cumulative,
            is_monotonic: true,
        }),
        7..9 => metric::Data::Histogram(Histogram {
            data_points: points
                .map(|point| histogram(&mut slots, point, started))
                .collect(),
            aggregation_temporality: cumulative,
        }),
        _ => metric::Data::ExponentialHistogram(ExponentialHistogram {
            data_points: points
                .map(|point| exponential(&mut slots, point, started))
                .collect(),
            aggregation_temporality: cumulative,
        }),
    };
    let metric = Metric {
        name: format!("http.server.measure.{index}"),
        description: "What a benchmark measures".to_owned(),
        unit: "s".to_owned(),
        data: Some(data),
        ..Metric::default()
    };
    slots.piece(field(2, &metric))
}

/// The attributes of a series; those of ten points differ.
fn series(point: usize) -> Vec<KeyValue> {
    vec![
        attribute("http.request.method", METHODS[point % METHODS.len()]),
        attribute("http.route", ROUTES[point % ROUTES.len()]),
        integer("http.response.status_code", STATUSES[point / ROUTES.len()]),
        attribute("url.scheme", "https"),
        attribute("network.protocol.version", "1.1"),
        attribute("availability.zone", "eu-central-1a"),
    ]
}

fn gauge(slots: &mut Slots, point: usize) -> NumberDataPoint {
    NumberDataPoint {
        attributes: series(point),
        time_unix_nano: slots.fixed64(Fill::Now),
        value: Some(number_data_point::Value::AsDouble(slots.double(Fill::Cents))),
        ..NumberDataPoint::default()
    }
}

fn sum(slots: &mut Slots, point: usize, start_time_unix_nano: u64) -> NumberDataPoint {
    let value = slots.fixed64(Fill::Count).cast_signed();
    NumberDataPoint {
        attributes: series(point),
        start_time_unix_nano,
        time_unix_nano: slots.fixed64(Fill::Now),
        value: Some(number_data_point::Value::AsInt(value)),
        ..NumberDataPoint::default()
    }
}

fn histogram(slots: &mut Slots, point: usize, start_time_unix_nano: u64) -> HistogramDataPoint {
    HistogramDataPoint {
        attributes: series(point),
        start_time_unix_nano,
        time_unix_nano: slots.fixed64(Fill::Now),
        bucket_counts: slots.buckets(BOUNDS.len() + 1),
        count: slots.fixed64(Fill::Total),
        sum: Some(slots.double(Fill::Cents)),
        explicit_bounds: BOUNDS.to_vec(),
        ..HistogramDataPoint::default()
    }
}

fn exponential(slots: &mut Slots, point: usize, start_time_unix_nano: u64) -> ExponentialHistogramDataPoint {
    ExponentialHistogramDataPoint {
        attributes: series(point),
        start_time_unix_nano,
        time_unix_nano: slots.fixed64(Fill::Now),
        scale: 3,
        zero_count: slots.buckets(1)[0],
        positive: Some(Buckets {
            offset: -60,
            bucket_counts: slots.varints(BUCKETS),
        }),
        count: slots.fixed64(Fill::Total),
        sum: Some(slots.double(Fill::Cents)),
        ..ExponentialHistogramDataPoint::default()
    }
}
