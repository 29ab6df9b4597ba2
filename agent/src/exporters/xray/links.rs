//! The member `links`: the other spans that a span belongs to. One without ids links to nothing.

use meridian_proto::attributes::push_json_string;

use super::json;
use crate::otlp::Malformed;
use crate::otlp::view::{Attributes, Link};

/// Links of a segment.
const LINKS_MAX: usize = 20;

/// Beyond this, links are written without their attributes.
const ATTRIBUTE_BYTES_MAX: usize = 8 << 10;

/// Writes the member; says of how many links something is not in it.
pub fn write<'a>(out: &mut String, links: &[Link<'a>]) -> Result<usize, Malformed> {
    let mut list = Attributes::default();
    let linked = links
        .iter()
        .filter(|link| is_set(link.trace_id) && is_set(link.span_id));
    let written = json::array(out, "links", |out| -> Result<usize, Malformed> {
        let begin = out.len();
        let mut written = 0;
        for link in linked.take(LINKS_MAX) {
            json::separate(out);
            out.push('{');
            json::trace_id(out, "trace_id", link.trace_id);
            json::id(out, "id", link.span_id);
            link.attributes(&mut list)?;
            let is_whole = write_attributes(out, &list, begin)?;
            out.push('}');
            written += usize::from(is_whole);
        }
        Ok(written)
    })?;
    Ok(links.len() - written)
}

fn is_set(id: &[u8]) -> bool {
    id.iter().any(|byte| *byte != 0)
}

fn write_attributes(out: &mut String, list: &Attributes<'_>, begin: usize) -> Result<bool, Malformed> {
    let before = out.len();
    json::object(out, "attributes", |out| -> Result<(), Malformed> {
        for attribute in list.as_slice() {
            json::separate(out);
            push_json_string(out, attribute.key);
            out.push(':');
            json::value(out, &attribute.value)?;
        }
        Ok(())
    })?;
    let is_whole = out.len() - begin <= ATTRIBUTE_BYTES_MAX;
    if !is_whole {
        out.truncate(before);
    }
    Ok(is_whole)
}
