//! The messages of `opentelemetry.proto.logs.v1`, as tables. No bytes are read here.

use super::{
    ANY_VALUE, Kind, Message, attributes, dropped_attributes, many, message, one, resource, schema_url,
    scope, span_id, time, trace_id,
};

/// The export request.
pub static LOGS_REQUEST: Message = message(
    "ExportLogsServiceRequest",
    &[many(
        "resourceLogs",
        "resource_logs",
        1,
        Kind::Message(&RESOURCE_LOGS),
    )],
);

static RESOURCE_LOGS: Message = message(
    "ResourceLogs",
    &[
        many("scopeLogs", "scope_logs", 2, Kind::Message(&SCOPE_LOGS)),
        resource(),
        schema_url(),
    ],
);

static SCOPE_LOGS: Message = message(
    "ScopeLogs",
    &[
        many("logRecords", "log_records", 2, Kind::Message(&LOG_RECORD)),
        scope(),
        schema_url(),
    ],
);

const SEVERITIES: &[(&str, i32)] = &[
    ("SEVERITY_NUMBER_UNSPECIFIED", 0),
    ("SEVERITY_NUMBER_TRACE", 1),
    ("SEVERITY_NUMBER_TRACE2", 2),
    ("SEVERITY_NUMBER_TRACE3", 3),
    ("SEVERITY_NUMBER_TRACE4", 4),
    ("SEVERITY_NUMBER_DEBUG", 5),
    ("SEVERITY_NUMBER_DEBUG2", 6),
    ("SEVERITY_NUMBER_DEBUG3", 7),
    ("SEVERITY_NUMBER_DEBUG4", 8),
    ("SEVERITY_NUMBER_INFO", 9),
    ("SEVERITY_NUMBER_INFO2", 10),
    ("SEVERITY_NUMBER_INFO3", 11),
    ("SEVERITY_NUMBER_INFO4", 12),
    ("SEVERITY_NUMBER_WARN", 13),
    ("SEVERITY_NUMBER_WARN2", 14),
    ("SEVERITY_NUMBER_WARN3", 15),
    ("SEVERITY_NUMBER_WARN4", 16),
    ("SEVERITY_NUMBER_ERROR", 17),
    ("SEVERITY_NUMBER_ERROR2", 18),
    ("SEVERITY_NUMBER_ERROR3", 19),
    ("SEVERITY_NUMBER_ERROR4", 20),
    ("SEVERITY_NUMBER_FATAL", 21),
    ("SEVERITY_NUMBER_FATAL2", 22),
    ("SEVERITY_NUMBER_FATAL3", 23),
    ("SEVERITY_NUMBER_FATAL4", 24),
];

/// `logs.v1.LogRecord`
pub static LOG_RECORD: Message = message(
    "LogRecord",
    &[
        attributes(6),
        time(1),
        one(
            "observedTimeUnixNano",
            "observed_time_unix_nano",
            11,
            Kind::Fixed64,
        ),
        one("severityNumber", "severity_number", 2, Kind::Enum(SEVERITIES)),
        one("severityText", "severity_text", 3, Kind::String),
        one("body", "body", 5, Kind::Message(&ANY_VALUE)),
        trace_id(9),
        span_id(10),
        one("flags", "flags", 8, Kind::Fixed32),
        dropped_attributes(7),
        one("eventName", "event_name", 12, Kind::String),
    ],
);
