//! The messages of OTLP as tables, from opentelemetry-proto 1.x: what generic walks
//! (checking, transcoding from and to JSON) need to know. No bytes are read here.
//!
//! Fields of the profiles signal (string indexes) are left out, and so are treated as
//! unknown.

mod logs;
mod metrics;
mod steps;
mod traces;

pub use logs::LOG_RECORD;
pub use metrics::{DATA_HEAD, METRIC, METRIC_HEAD};
pub use steps::{Step, Steps};
pub use traces::SPAN;

use meridian_proto::signal::Signal;

/// A message of OTLP.
#[derive(Debug)]
pub struct Message {
    /// Its name, for reasons.
    pub name: &'static str,
    /// Its fields, the most frequent first.
    pub fields: &'static [FieldSpec],
    /// The same by tag, for the check.
    pub steps: Steps,
}

/// One field of a message.
#[derive(Debug)]
pub struct FieldSpec {
    /// The name in JSON, lowerCamelCase.
    pub json_name: &'static str,
    /// The name in the .proto files.
    pub name: &'static str,
    /// The number.
    pub number: u32,
    /// The type.
    pub kind: Kind,
    /// How often, and what absence means.
    pub presence: Presence,
}

/// How often a field may appear, and whether its default differs from absence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Absence and the default are the same.
    Implicit,
    /// Absence is a state of its own (`optional`).
    Explicit,
    /// The field belongs to the message's only oneof.
    Oneof,
    /// Any number of times.
    Repeated,
}

/// The type of a field.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// UTF-8.
    String,
    /// Bytes; base64 in JSON.
    Bytes,
    /// A trace or span id; hex in JSON.
    Id,
    /// A varint 0 or 1.
    Bool,
    /// A varint.
    Uint32,
    /// A zigzag varint.
    Sint32,
    /// A varint; a string in JSON.
    Int64,
    /// A varint; a string in JSON.
    Uint64,
    /// Four bytes.
    Fixed32,
    /// Eight bytes; a string in JSON.
    Fixed64,
    /// Eight bytes; a string in JSON.
    Sfixed64,
    /// Eight bytes.
    Double,
    /// A varint, with the values' names.
    Enum(&'static [(&'static str, i32)]),
    /// A message.
    Message(&'static Message),
}

impl Message {
    /// The field with this number.
    #[inline]
    pub fn field(&self, number: u32) -> Option<&'static FieldSpec> {
        self.fields.iter().find(|field| field.number == number)
    }

    /// The field with this name, in either spelling.
    pub fn field_named(&self, name: &str) -> Option<&'static FieldSpec> {
        self.fields
            .iter()
            .find(|field| field.json_name == name || field.name == name)
    }
}

/// The export request of a signal.
pub fn request(signal: Signal) -> &'static Message {
    match signal {
        Signal::Spans => &traces::SPANS_REQUEST,
        Signal::Logs => &logs::LOGS_REQUEST,
        Signal::Metrics => &metrics::METRICS_REQUEST,
    }
}

const fn field(
    json_name: &'static str,
    name: &'static str,
    number: u32,
    kind: Kind,
    presence: Presence,
) -> FieldSpec {
    FieldSpec {
        json_name,
        name,
        number,
        kind,
        presence,
    }
}

const fn one(json_name: &'static str, name: &'static str, number: u32, kind: Kind) -> FieldSpec {
    field(json_name, name, number, kind, Presence::Implicit)
}

const fn many(json_name: &'static str, name: &'static str, number: u32, kind: Kind) -> FieldSpec {
    field(json_name, name, number, kind, Presence::Repeated)
}

const fn optional(json_name: &'static str, name: &'static str, number: u32, kind: Kind) -> FieldSpec {
    field(json_name, name, number, kind, Presence::Explicit)
}

const fn oneof(json_name: &'static str, name: &'static str, number: u32, kind: Kind) -> FieldSpec {
    field(json_name, name, number, kind, Presence::Oneof)
}

const fn message(name: &'static str, fields: &'static [FieldSpec]) -> Message {
    Message {
        name,
        fields,
        steps: Steps::of(fields),
    }
}

const fn attributes(number: u32) -> FieldSpec {
    many("attributes", "attributes", number, Kind::Message(&KEY_VALUE))
}

const fn dropped_attributes(number: u32) -> FieldSpec {
    one(
        "droppedAttributesCount",
        "dropped_attributes_count",
        number,
        Kind::Uint32,
    )
}

const fn schema_url() -> FieldSpec {
    one("schemaUrl", "schema_url", 3, Kind::String)
}

const fn start_time(number: u32) -> FieldSpec {
    one("startTimeUnixNano", "start_time_unix_nano", number, Kind::Fixed64)
}

const fn time(number: u32) -> FieldSpec {
    one("timeUnixNano", "time_unix_nano", number, Kind::Fixed64)
}

const fn trace_id(number: u32) -> FieldSpec {
    one("traceId", "trace_id", number, Kind::Id)
}

const fn span_id(number: u32) -> FieldSpec {
    one("spanId", "span_id", number, Kind::Id)
}

const fn resource() -> FieldSpec {
    one("resource", "resource", 1, Kind::Message(&RESOURCE))
}

const fn scope() -> FieldSpec {
    one("scope", "scope", 1, Kind::Message(&SCOPE))
}

/// `common.v1.AnyValue`
pub static ANY_VALUE: Message = message(
    "AnyValue",
    &[
        oneof("stringValue", "string_value", 1, Kind::String),
        oneof("intValue", "int_value", 3, Kind::Int64),
        oneof("boolValue", "bool_value", 2, Kind::Bool),
        oneof("doubleValue", "double_value", 4, Kind::Double),
        oneof("arrayValue", "array_value", 5, Kind::Message(&ARRAY_VALUE)),
        oneof("kvlistValue", "kvlist_value", 6, Kind::Message(&KEY_VALUE_LIST)),
        oneof("bytesValue", "bytes_value", 7, Kind::Bytes),
    ],
);

static ARRAY_VALUE: Message = message(
    "ArrayValue",
    &[many("values", "values", 1, Kind::Message(&ANY_VALUE))],
);

static KEY_VALUE_LIST: Message = message(
    "KeyValueList",
    &[many("values", "values", 1, Kind::Message(&KEY_VALUE))],
);

/// `common.v1.KeyValue`
pub static KEY_VALUE: Message = message(
    "KeyValue",
    &[
        one("key", "key", 1, Kind::String),
        one("value", "value", 2, Kind::Message(&ANY_VALUE)),
    ],
);

/// `common.v1.InstrumentationScope`
pub static SCOPE: Message = message(
    "InstrumentationScope",
    &[
        one("name", "name", 1, Kind::String),
        one("version", "version", 2, Kind::String),
        attributes(3),
        dropped_attributes(4),
    ],
);

static ENTITY_REF: Message = message(
    "EntityRef",
    &[
        one("schemaUrl", "schema_url", 1, Kind::String),
        one("type", "type", 2, Kind::String),
        many("idKeys", "id_keys", 3, Kind::String),
        many("descriptionKeys", "description_keys", 4, Kind::String),
    ],
);

/// `resource.v1.Resource`
pub static RESOURCE: Message = message(
    "Resource",
    &[
        attributes(1),
        dropped_attributes(2),
        many("entityRefs", "entity_refs", 3, Kind::Message(&ENTITY_REF)),
    ],
);

/// What `ResourceSpans` and its likes say beside their scopes.
pub static RESOURCE_HEAD: Message = message("ResourceSpans", &[resource(), schema_url()]);

/// What `ScopeSpans` and its likes say beside their items.
pub static SCOPE_HEAD: Message = message("ScopeSpans", &[scope(), schema_url()]);
