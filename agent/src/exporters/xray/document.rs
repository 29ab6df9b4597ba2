//! One document of a span: which members it has, and in which order they are written. Each member
//! has a module of its own; what becomes of a document that grows too long is the draft's affair.

use super::cause::Causes;
use super::draft::{Draft, Head};
use super::facts::Facts;
use super::keys::Key;
use super::metadata::Extras;
use super::names::{self, CallsOut};
use super::resource::ResourceParts;
use super::settings::Mapping;
use super::{annotations, aws, cause, http, json, links, metadata, sql};
use crate::otlp::Malformed;
use crate::otlp::view::{Scope, Span};

/// What a document is to its span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The span, which answers or has no parent.
    Segment,
    /// The same, of a span that was marked as the first one in its service.
    LocalRoot,
    /// The span, inside of a service.
    Subsegment,
    /// Of a local root that calls out: the service.
    Service,
    /// Of a local root that calls out: the call.
    Dependency,
}

impl Role {
    /// Whether it is a segment; else it is an independent subsegment.
    pub fn is_segment(self) -> bool {
        !matches!(self, Self::Subsegment | Self::Dependency)
    }

    /// Whether it is the segment of a span that was marked as the first one in its service.
    pub fn is_local_root(self) -> bool {
        matches!(self, Self::LocalRoot | Self::Service)
    }
}

/// `SPAN_KIND_SERVER`
pub const SERVER: i32 = 2;
const CONSUMER: i32 = 5;
const STATUS_ERROR: i32 = 2;

/// A span with all that belongs to it.
#[derive(Clone, Copy)]
pub struct Item<'s, 'a> {
    /// Its place in the request body.
    pub place: u32,
    /// The span.
    pub span: &'s Span<'a>,
    /// Its `tracestate`, with what sampling says in it.
    pub trace_state: &'s str,
    /// What produced it.
    pub scope: &'s Scope<'a>,
    /// Where it comes from.
    pub resource: &'s ResourceParts<'s, 'a>,
    /// What is configured.
    pub settings: &'s Mapping,
}

/// Writes the document of this role, and hands it out.
pub fn write(
    item: &Item<'_, '_>,
    facts: &mut Facts<'_, '_>,
    (role, name): (Role, &str),
    causes: &Causes<'_>,
    mut draft: Draft<'_>,
) -> Result<(), Malformed> {
    let kind = item.span.kind;
    head(&mut draft, item, facts, role);
    if role != Role::Service {
        draft.section(
            |out| json::object(out, "http", |out| http::write(out, facts, kind)),
            "http",
        );
    }
    let exceptions = match role {
        Role::Service => draft.section(|out| causes.refer(out), "cause"),
        _ => draft.section(|out| causes.write(out), "cause"),
    };
    if let Some(left_out) = exceptions.filter(|left_out| *left_out > 0) {
        draft.note(&format!("cause: {left_out} exceptions left out"));
    }
    let calls = role != Role::Service;
    draft.fallible_section(|out| aws::write(out, facts, item.resource, calls), "aws")?;
    if calls {
        draft.section(
            |out| json::object(out, "sql", |out| sql::write(out, facts, item.span.name)),
            "sql",
        );
    }
    draft.section(|out| facts.write_text(out, "user", &[Key::EnduserId]), "user");
    // Without room for annotations, the attributes are left to the metadata.
    let write_annotations = |out: &mut String| annotations::write(out, item, facts, role);
    let annotated = draft
        .fallible_section(write_annotations, "annotations")?
        .unwrap_or_default();
    if has_links(kind, role) && !item.span.links.is_empty() {
        let left_out = draft.fallible_section(|out| links::write(out, &item.span.links), "links")?;
        if let Some(left_out) = left_out.filter(|left_out| *left_out > 0) {
            draft.note(&format!("links: {left_out} or their attributes left out"));
        }
    }
    facts.mark(Key::AwsXrayAnnotations);
    let extras = Extras {
        role,
        name,
        causes,
        annotated,
    };
    metadata::write(&mut draft, item, facts, &extras)?;
    draft.finish();
    Ok(())
}

/// Of the two documents of one span, the links are in that which they concern: what is consumed
/// was linked to by the service, a call links by itself.
fn has_links(kind: i32, role: Role) -> bool {
    match role {
        Role::Service => kind == CONSUMER,
        Role::Dependency => kind != CONSUMER,
        _ => true,
    }
}

fn head(draft: &mut Draft<'_>, item: &Item<'_, '_>, facts: &Facts<'_, '_>, role: Role) {
    let namespace = names::namespace(facts, role, CallsOut::of(item.span.kind));
    let (is_error, is_fault, is_throttle) = outcome(facts, item.span.status_code);
    let out = draft.body();
    if let Some(namespace) = namespace {
        json::text(out, "namespace", namespace);
    }
    if let Some(origin) = item.resource.origin {
        json::text(out, "origin", origin);
    }
    if !item.resource.service.is_empty() {
        json::separate(out);
        out.push_str(&item.resource.service);
    }
    for (member, is_set) in [
        ("error", is_error),
        ("throttle", is_throttle),
        ("fault", is_fault),
    ] {
        if is_set {
            json::truth(out, member);
        }
    }
}

/// Error, fault and throttle: HTTP's status decides where there is one that says so, because many
/// instrumentations set no other.
fn outcome(facts: &Facts<'_, '_>, status_code: i32) -> (bool, bool, bool) {
    match http::status(facts) {
        Some(status @ 400..=499) => (true, false, status == 429),
        Some(500..=599) => (false, true, false),
        _ => (false, status_code == STATUS_ERROR, false),
    }
}

/// Writes what every document of a span begins with.
pub fn open(out: &mut String, head: &Head<'_>) {
    out.push('{');
    json::name(out, "name");
    meridian_proto::attributes::push_json_string(out, head.name);
    json::id(out, "id", &head.id);
    json::trace_id(out, "trace_id", head.trace_id);
    if let Some(parent) = head.parent {
        json::id(out, "parent_id", &parent);
    }
    if !head.is_segment {
        json::text(out, "type", "subsegment");
    }
    json::name(out, "start_time");
    json::push_seconds(out, head.start_unix_nanos);
    json::name(out, "end_time");
    json::push_seconds(out, head.end_unix_nanos);
}

/// What went wrong in the span.
pub fn causes<'s, 'a>(item: &Item<'s, 'a>, facts: &mut Facts<'s, 'a>) -> Result<Causes<'a>, Malformed> {
    cause::read(
        item.span,
        facts,
        item.resource.language,
        item.span.status_code == STATUS_ERROR,
    )
}
