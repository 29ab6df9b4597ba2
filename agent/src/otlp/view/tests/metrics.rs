//! Metrics and their data points against another reader of the same bytes.

use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets as OtherBuckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as OtherNumber;
use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogramDataPoint, HistogramDataPoint, Metric as OtherMetric, NumberDataPoint,
    SummaryDataPoint,
};

use super::super::metrics::{Buckets, DataPoint, Metric, MetricKind};
use super::*;
use crate::otlp::values::Number;

/// A point as both readers tell it.
#[derive(Default)]
struct Told {
    attributes: Vec<String>,
    times: (u64, u64, u32),
    number: Option<OtherNumber>,
    count: u64,
    sum_min_max: [Option<f64>; 3],
    bounds: Vec<f64>,
    counts: Vec<u64>,
    scale: i32,
    zero: (u64, f64),
    runs: [(i32, Vec<u64>); 2],
}

impl Told {
    /// Equal texts are equal points: NaN is NaN there.
    fn text(&self) -> String {
        let head = (
            &self.attributes,
            self.times,
            self.number,
            self.count,
            self.sum_min_max,
        );
        let buckets = (&self.bounds, &self.counts, self.scale, self.zero, &self.runs);
        format!("{head:?} {buckets:?}")
    }

    fn by_us(point: &DataPoint<'_>) -> Self {
        let run = |of: &Buckets| (of.offset, of.counts.clone());
        Self {
            attributes: listed(&point.attributes),
            times: (point.start_time_unix_nano, point.time_unix_nano, point.flags),
            number: match point.value {
                Number::None => None,
                Number::Double(value) => Some(OtherNumber::AsDouble(value)),
                Number::Int(value) => Some(OtherNumber::AsInt(value)),
            },
            count: point.count,
            sum_min_max: [point.sum, point.min, point.max],
            bounds: point.bounds.clone(),
            counts: point.counts.clone(),
            scale: point.scale,
            zero: (point.zero_count, point.zero_threshold),
            runs: [run(&point.positive), run(&point.negative)],
        }
    }

    fn number(point: &NumberDataPoint) -> Self {
        Self {
            attributes: pairs(&point.attributes),
            times: (point.start_time_unix_nano, point.time_unix_nano, point.flags),
            number: point.value,
            ..Self::default()
        }
    }

    fn histogram(point: &HistogramDataPoint) -> Self {
        Self {
            attributes: pairs(&point.attributes),
            times: (point.start_time_unix_nano, point.time_unix_nano, point.flags),
            count: point.count,
            sum_min_max: [point.sum, point.min, point.max],
            bounds: point.explicit_bounds.clone(),
            counts: point.bucket_counts.clone(),
            ..Self::default()
        }
    }

    fn exponential(point: &ExponentialHistogramDataPoint) -> Self {
        let run = |of: &Option<OtherBuckets>| {
            let of = of.clone().unwrap_or_default();
            (of.offset, of.bucket_counts)
        };
        Self {
            attributes: pairs(&point.attributes),
            times: (point.start_time_unix_nano, point.time_unix_nano, point.flags),
            count: point.count,
            sum_min_max: [point.sum, point.min, point.max],
            scale: point.scale,
            zero: (point.zero_count, point.zero_threshold),
            runs: [run(&point.positive), run(&point.negative)],
            ..Self::default()
        }
    }

    fn summary(point: &SummaryDataPoint) -> Self {
        Self {
            attributes: pairs(&point.attributes),
            times: (point.start_time_unix_nano, point.time_unix_nano, point.flags),
            count: point.count,
            sum_min_max: [Some(point.sum), None, None],
            ..Self::default()
        }
    }
}

/// Kind, temporality, whether it is monotonic, and the points, as another reader has them.
fn theirs_of(metric: &OtherMetric) -> (Option<MetricKind>, i32, bool, Vec<Told>) {
    match &metric.data {
        None => (None, 0, false, Vec::new()),
        Some(Data::Gauge(of)) => {
            let points = of.data_points.iter().map(Told::number);
            (Some(MetricKind::Gauge), 0, false, points.collect())
        }
        Some(Data::Sum(of)) => {
            let points = of.data_points.iter().map(Told::number);
            (
                Some(MetricKind::Sum),
                of.aggregation_temporality,
                of.is_monotonic,
                points.collect(),
            )
        }
        Some(Data::Histogram(of)) => {
            let points = of.data_points.iter().map(Told::histogram);
            (
                Some(MetricKind::Histogram),
                of.aggregation_temporality,
                false,
                points.collect(),
            )
        }
        Some(Data::ExponentialHistogram(of)) => {
            let points = of.data_points.iter().map(Told::exponential);
            (
                Some(MetricKind::ExponentialHistogram),
                of.aggregation_temporality,
                false,
                points.collect(),
            )
        }
        Some(Data::Summary(of)) => {
            let points = of.data_points.iter().map(Told::summary);
            (Some(MetricKind::Summary), 0, false, points.collect())
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_data_point_says_what_another_reader_finds_in_it(request in arbitrary::metrics()) {
        let body = request.encode_to_vec();
        let mut left: usize = request
            .resource_metrics
            .iter()
            .flat_map(|group| &group.scope_metrics)
            .map(|scope| scope.metrics.len())
            .sum();
        for (group, theirs) in resource_groups(&body).zip(&request.resource_metrics) {
            for (scope_group, theirs) in group.expect("sound").scopes().zip(&theirs.scope_metrics) {
                for (item, theirs) in scope_group.expect("sound").items().zip(&theirs.metrics) {
                    left -= 1;
                    let metric = Metric::read(item.expect("sound")).expect("sound");
                    prop_assert_eq!((metric.name, metric.unit), (theirs.name.as_str(), theirs.unit.as_str()));
                    let (kind, temporality, is_monotonic, expected) = theirs_of(theirs);
                    prop_assert_eq!(metric.kind, kind);
                    prop_assert_eq!((metric.temporality, metric.is_monotonic), (temporality, is_monotonic));
                    let mut point = DataPoint::default();
                    let mut found = Vec::new();
                    for fields in metric.points() {
                        point.read(metric.kind.expect("points have a kind"), fields.expect("sound")).expect("sound");
                        // A summary without a sum has the sum 0: its field is no optional one.
                        point.sum = point.sum.or((kind == Some(MetricKind::Summary)).then_some(0.0));
                        found.push(Told::by_us(&point).text());
                    }
                    prop_assert_eq!(found, expected.iter().map(Told::text).collect::<Vec<_>>());
                }
            }
        }
        prop_assert_eq!(left, 0, "every metric was handed out");
    }
}
