//! The messages of `opentelemetry.proto.metrics.v1`, as tables. No bytes are read here.

use super::{
    FieldSpec, KEY_VALUE, Kind, Message, attributes, many, message, one, oneof, optional, resource,
    schema_url, scope, span_id, start_time, time, trace_id,
};

/// The export request.
pub static METRICS_REQUEST: Message = message(
    "ExportMetricsServiceRequest",
    &[many(
        "resourceMetrics",
        "resource_metrics",
        1,
        Kind::Message(&RESOURCE_METRICS),
    )],
);

static RESOURCE_METRICS: Message = message(
    "ResourceMetrics",
    &[
        many("scopeMetrics", "scope_metrics", 2, Kind::Message(&SCOPE_METRICS)),
        resource(),
        schema_url(),
    ],
);

static SCOPE_METRICS: Message = message(
    "ScopeMetrics",
    &[
        many("metrics", "metrics", 2, Kind::Message(&METRIC)),
        scope(),
        schema_url(),
    ],
);

const TEMPORALITIES: &[(&str, i32)] = &[
    ("AGGREGATION_TEMPORALITY_UNSPECIFIED", 0),
    ("AGGREGATION_TEMPORALITY_DELTA", 1),
    ("AGGREGATION_TEMPORALITY_CUMULATIVE", 2),
];

const fn temporality() -> FieldSpec {
    one(
        "aggregationTemporality",
        "aggregation_temporality",
        2,
        Kind::Enum(TEMPORALITIES),
    )
}

/// `metrics.v1.Metric`
pub static METRIC: Message = message(
    "Metric",
    &[
        one("name", "name", 1, Kind::String),
        one("description", "description", 2, Kind::String),
        one("unit", "unit", 3, Kind::String),
        oneof("gauge", "gauge", 5, Kind::Message(&GAUGE)),
        oneof("sum", "sum", 7, Kind::Message(&SUM)),
        oneof("histogram", "histogram", 9, Kind::Message(&HISTOGRAM)),
        oneof(
            "exponentialHistogram",
            "exponential_histogram",
            10,
            Kind::Message(&EXPONENTIAL_HISTOGRAM),
        ),
        oneof("summary", "summary", 11, Kind::Message(&SUMMARY)),
        many("metadata", "metadata", 12, Kind::Message(&KEY_VALUE)),
    ],
);

/// What a metric says beside its data.
pub static METRIC_HEAD: Message = message(
    "Metric",
    &[
        one("name", "name", 1, Kind::String),
        one("description", "description", 2, Kind::String),
        one("unit", "unit", 3, Kind::String),
        many("metadata", "metadata", 12, Kind::Message(&KEY_VALUE)),
    ],
);

/// What a metric's data say beside their points.
pub static DATA_HEAD: Message = message(
    "Metric.data",
    &[temporality(), one("isMonotonic", "is_monotonic", 3, Kind::Bool)],
);

const fn data_points(point: &'static Message) -> FieldSpec {
    many("dataPoints", "data_points", 1, Kind::Message(point))
}

static GAUGE: Message = message("Gauge", &[data_points(&NUMBER_DATA_POINT)]);

static SUM: Message = message(
    "Sum",
    &[
        data_points(&NUMBER_DATA_POINT),
        temporality(),
        one("isMonotonic", "is_monotonic", 3, Kind::Bool),
    ],
);

static HISTOGRAM: Message = message("Histogram", &[data_points(&HISTOGRAM_DATA_POINT), temporality()]);

static EXPONENTIAL_HISTOGRAM: Message = message(
    "ExponentialHistogram",
    &[data_points(&EXPONENTIAL_HISTOGRAM_DATA_POINT), temporality()],
);

static SUMMARY: Message = message("Summary", &[data_points(&SUMMARY_DATA_POINT)]);

const fn exemplars(number: u32) -> FieldSpec {
    many("exemplars", "exemplars", number, Kind::Message(&EXEMPLAR))
}

const fn flags(number: u32) -> FieldSpec {
    one("flags", "flags", number, Kind::Uint32)
}

const fn count() -> FieldSpec {
    one("count", "count", 4, Kind::Fixed64)
}

static NUMBER_DATA_POINT: Message = message(
    "NumberDataPoint",
    &[
        attributes(7),
        start_time(2),
        time(3),
        oneof("asDouble", "as_double", 4, Kind::Double),
        oneof("asInt", "as_int", 6, Kind::Sfixed64),
        exemplars(5),
        flags(8),
    ],
);

static HISTOGRAM_DATA_POINT: Message = message(
    "HistogramDataPoint",
    &[
        attributes(9),
        start_time(2),
        time(3),
        count(),
        optional("sum", "sum", 5, Kind::Double),
        many("bucketCounts", "bucket_counts", 6, Kind::Fixed64),
        many("explicitBounds", "explicit_bounds", 7, Kind::Double),
        exemplars(8),
        flags(10),
        optional("min", "min", 11, Kind::Double),
        optional("max", "max", 12, Kind::Double),
    ],
);

static EXPONENTIAL_HISTOGRAM_DATA_POINT: Message = message(
    "ExponentialHistogramDataPoint",
    &[
        attributes(1),
        start_time(2),
        time(3),
        count(),
        optional("sum", "sum", 5, Kind::Double),
        one("scale", "scale", 6, Kind::Sint32),
        one("zeroCount", "zero_count", 7, Kind::Fixed64),
        one("positive", "positive", 8, Kind::Message(&BUCKETS)),
        one("negative", "negative", 9, Kind::Message(&BUCKETS)),
        flags(10),
        exemplars(11),
        optional("min", "min", 12, Kind::Double),
        optional("max", "max", 13, Kind::Double),
        one("zeroThreshold", "zero_threshold", 14, Kind::Double),
    ],
);

static BUCKETS: Message = message(
    "Buckets",
    &[
        one("offset", "offset", 1, Kind::Sint32),
        many("bucketCounts", "bucket_counts", 2, Kind::Uint64),
    ],
);

static SUMMARY_DATA_POINT: Message = message(
    "SummaryDataPoint",
    &[
        attributes(7),
        start_time(2),
        time(3),
        count(),
        one("sum", "sum", 5, Kind::Double),
        many("quantileValues", "quantile_values", 6, Kind::Message(&QUANTILE)),
        flags(8),
    ],
);

static QUANTILE: Message = message(
    "ValueAtQuantile",
    &[
        one("quantile", "quantile", 1, Kind::Double),
        one("value", "value", 2, Kind::Double),
    ],
);

static EXEMPLAR: Message = message(
    "Exemplar",
    &[
        many(
            "filteredAttributes",
            "filtered_attributes",
            7,
            Kind::Message(&KEY_VALUE),
        ),
        time(2),
        oneof("asDouble", "as_double", 3, Kind::Double),
        oneof("asInt", "as_int", 6, Kind::Sfixed64),
        span_id(4),
        trace_id(5),
    ],
);
