//! Maps the spans of a request to documents. It decides which documents a span gives, and which
//! span cannot be mapped at all.

use std::fmt;

use super::cause::{Purpose, derived_id};
use super::document::{self, Item, Role, SERVER};
use super::draft::{Document, Draft, Head};
use super::facts::Facts;
use super::keys::Key;
use super::names::{self, CallsOut};
use super::resource::ResourceParts;
use super::settings::Mapping;
use crate::otlp::Malformed;
use crate::otlp::view::{Span, resource_groups};
use crate::sampling::Sampler;

/// What became of a span: one or more documents, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mapped<'d> {
    /// One of its documents.
    Document(Document<'d>),
    /// X-Ray cannot take it.
    Dropped {
        /// Its place in the request body.
        item: u32,
        /// Why.
        reason: Unmappable,
    },
    /// Sampling leaves it out.
    Sampled {
        /// Its place in the request body.
        item: u32,
    },
}

/// Why X-Ray cannot take a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmappable {
    /// Its ids are not 16 and 8 bytes long, or zero.
    Ids,
    /// It has neither a start nor an end.
    Times,
}

impl Unmappable {
    /// The value of the label `reason`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ids => "invalid_id",
            Self::Times => "no_time",
        }
    }
}

impl fmt::Display for Unmappable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ids => "a span without a valid trace id and span id",
            Self::Times => "a span that has neither a start nor an end",
        })
    }
}

/// Maps requests, one after the other.
#[derive(Debug)]
pub struct Mapper {
    settings: Mapping,
    sampler: Sampler,
    json: String,
}

impl Mapper {
    /// A mapper with this configuration, of all spans.
    pub fn new(settings: Mapping) -> Self {
        Self {
            settings,
            sampler: Sampler::default(),
            json: String::new(),
        }
    }

    /// The same of the spans that the sampler keeps.
    pub fn sampled(self, sampler: Sampler) -> Self {
        Self { sampler, ..self }
    }

    /// Hands out the documents of an accepted request, in the order of its spans, and says how many
    /// spans there are. A body that is malformed in spite of its check ends early: of the spans
    /// behind the fault nothing has been handed out.
    pub fn documents(&mut self, body: &[u8], mut each: impl FnMut(Mapped<'_>)) -> Result<u32, Malformed> {
        let mut place = 0_u32;
        let mut span = Span::default();
        for group in resource_groups(body) {
            let group = group?;
            let resource = group.resource()?;
            let resource = ResourceParts::of(&resource, &self.settings)?;
            for scopes in group.scopes() {
                let scopes = scopes?;
                let scope = scopes.scope()?;
                for fields in scopes.items() {
                    span.read(fields?)?;
                    let item = place;
                    place = place.saturating_add(1);
                    let Some(trace_state) = self.sampler.keep(&span) else {
                        each(Mapped::Sampled { item });
                        continue;
                    };
                    let item = Item {
                        place: item,
                        span: &span,
                        trace_state: &trace_state,
                        scope: &scope,
                        resource: &resource,
                        settings: &self.settings,
                    };
                    if let Err(reason) = map(&item, &mut self.json, &mut each)? {
                        each(Mapped::Dropped {
                            item: item.place,
                            reason,
                        });
                    }
                }
            }
        }
        Ok(place)
    }
}

fn map(
    item: &Item<'_, '_>,
    json: &mut String,
    each: &mut dyn FnMut(Mapped<'_>),
) -> Result<Result<(), Unmappable>, Malformed> {
    let head = match head(item) {
        Ok(head) => head,
        Err(reason) => return Ok(Err(reason)),
    };
    let mut facts = Facts::of(&item.span.attributes);
    let is_local_root = facts.text(Key::AwsSpanKind) == Some("LOCAL_ROOT");
    let causes = document::causes(item, &mut facts)?;
    let mut write = |role: Role, id: [u8; 8], parent: Option<[u8; 8]>| {
        let name = names::choose(&facts, item, role);
        let head = Head {
            name: &name,
            id,
            parent,
            is_segment: role.is_segment(),
            ..head
        };
        let draft = Draft::begin(json, head, each);
        document::write(item, &mut facts, (role, &name), &causes, draft)
    };
    match role(item.span, head.parent.is_some(), is_local_root) {
        // The call first: what it takes of the attributes is not the service's.
        Role::Service => {
            let span = item.span;
            let service = derived_id(span.trace_id, span.span_id, Purpose::Service, 0);
            write(Role::Dependency, head.id, Some(service))?;
            write(Role::Service, service, head.parent)?;
        }
        role => write(role, head.id, head.parent)?,
    }
    Ok(Ok(()))
}

/// A local root that calls out has the role of its service, and the other one beside it.
fn role(span: &Span<'_>, has_parent: bool, is_local_root: bool) -> Role {
    let calls_out = CallsOut::of(span.kind) != CallsOut::No;
    match (is_local_root, calls_out) {
        (true, true) => Role::Service,
        (true, false) => Role::LocalRoot,
        (false, _) if span.kind == SERVER || !has_parent => Role::Segment,
        (false, _) => Role::Subsegment,
    }
}

fn head<'s>(item: &Item<'s, '_>) -> Result<Head<'s>, Unmappable> {
    let span = item.span;
    let is_zero = |id: &[u8]| id.iter().all(|byte| *byte == 0);
    let id = <[u8; 8]>::try_from(span.span_id).map_err(|_| Unmappable::Ids)?;
    if span.trace_id.len() != 16 || is_zero(span.trace_id) || is_zero(&id) {
        return Err(Unmappable::Ids);
    }
    let (start, end) = match (span.start_time_unix_nano, span.end_time_unix_nano) {
        (0, 0) => return Err(Unmappable::Times),
        (0, only) => (only, only),
        // X-Ray refuses an end before its start, which clocks that were set produce.
        (start, end) => (start, end.max(start)),
    };
    Ok(Head {
        item: item.place,
        name: "",
        trace_id: span.trace_id,
        id,
        parent: <[u8; 8]>::try_from(span.parent_span_id)
            .ok()
            .filter(|parent| !is_zero(parent)),
        is_segment: true,
        start_unix_nanos: start,
        end_unix_nanos: end,
    })
}
