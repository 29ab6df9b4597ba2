//! The messages of `opentelemetry.proto.trace.v1`, as tables. No bytes are read here.

use super::{
    Kind, Message, attributes, dropped_attributes, many, message, one, resource, schema_url, scope, span_id,
    start_time, time, trace_id,
};

/// The export request.
pub static SPANS_REQUEST: Message = message(
    "ExportTraceServiceRequest",
    &[many(
        "resourceSpans",
        "resource_spans",
        1,
        Kind::Message(&RESOURCE_SPANS),
    )],
);

static RESOURCE_SPANS: Message = message(
    "ResourceSpans",
    &[
        many("scopeSpans", "scope_spans", 2, Kind::Message(&SCOPE_SPANS)),
        resource(),
        schema_url(),
    ],
);

static SCOPE_SPANS: Message = message(
    "ScopeSpans",
    &[
        many("spans", "spans", 2, Kind::Message(&SPAN)),
        scope(),
        schema_url(),
    ],
);

const SPAN_KINDS: &[(&str, i32)] = &[
    ("SPAN_KIND_UNSPECIFIED", 0),
    ("SPAN_KIND_INTERNAL", 1),
    ("SPAN_KIND_SERVER", 2),
    ("SPAN_KIND_CLIENT", 3),
    ("SPAN_KIND_PRODUCER", 4),
    ("SPAN_KIND_CONSUMER", 5),
];

const STATUS_CODES: &[(&str, i32)] = &[
    ("STATUS_CODE_UNSET", 0),
    ("STATUS_CODE_OK", 1),
    ("STATUS_CODE_ERROR", 2),
];

/// `trace.v1.Span`
pub static SPAN: Message = message(
    "Span",
    &[
        attributes(9),
        trace_id(1),
        span_id(2),
        one("parentSpanId", "parent_span_id", 4, Kind::Id),
        one("name", "name", 5, Kind::String),
        one("kind", "kind", 6, Kind::Enum(SPAN_KINDS)),
        start_time(7),
        one("endTimeUnixNano", "end_time_unix_nano", 8, Kind::Fixed64),
        one("status", "status", 15, Kind::Message(&STATUS)),
        many("events", "events", 11, Kind::Message(&EVENT)),
        many("links", "links", 13, Kind::Message(&LINK)),
        one("traceState", "trace_state", 3, Kind::String),
        one("flags", "flags", 16, Kind::Fixed32),
        dropped_attributes(10),
        one("droppedEventsCount", "dropped_events_count", 12, Kind::Uint32),
        one("droppedLinksCount", "dropped_links_count", 14, Kind::Uint32),
    ],
);

static STATUS: Message = message(
    "Status",
    &[
        one("code", "code", 3, Kind::Enum(STATUS_CODES)),
        one("message", "message", 2, Kind::String),
    ],
);

static EVENT: Message = message(
    "Event",
    &[
        attributes(3),
        time(1),
        one("name", "name", 2, Kind::String),
        dropped_attributes(4),
    ],
);

static LINK: Message = message(
    "Link",
    &[
        attributes(4),
        trace_id(1),
        span_id(2),
        one("traceState", "trace_state", 3, Kind::String),
        dropped_attributes(5),
        one("flags", "flags", 6, Kind::Fixed32),
    ],
);
