//! Makes of a request one or several that hold a selection of its items within limits, each with
//! the resources, scopes and metrics that its items belong to. Items are copied as they are
//! encoded; which of them are wanted is the caller's business.
//!
//! ```text
//! request ─ 1 ─ resource group ─ 2 ─ scope group ─ 2 ─ span, log record
//!                                                  2 ─ metric ─ 5…11 ─ data ─ 1 ─ data point
//! ```
//! On each level a message has fields that all its children share, and the children.

use meridian_proto::signal::Signal;

use super::wire::{Field, Fields, Malformed, put_bytes};

/// What a level above adds to its message at most: its tag and its length.
const LEVEL_BYTES: usize = 6;

/// What one request may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DivideLimits {
    /// Its items.
    pub items: u32,
    /// Its bytes, and `item_overhead` for each item.
    pub bytes: usize,
    /// See `bytes`.
    pub item_overhead: usize,
}

impl DivideLimits {
    /// One request for all.
    pub const NONE: Self = Self {
        items: u32::MAX,
        bytes: usize::MAX,
        item_overhead: 0,
    };
}

/// An item, seen from outside.
#[derive(Debug, Clone)]
pub struct Item<'a> {
    /// Its place in the request.
    pub index: u32,
    /// Its message.
    pub fields: Fields<'a>,
    /// The number of the field that holds its data: which kind of data point it is.
    pub data: u32,
    /// Its resource.
    pub resource: Head,
    /// Its scope.
    pub scope: Head,
}

/// What items share, seen from outside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Head {
    /// Bytes of its message.
    pub bytes: usize,
    /// Its attributes.
    pub attributes: usize,
}

impl<'a> Item<'a> {
    fn none() -> Self {
        Self {
            index: 0,
            fields: Fields::new(&[], 0),
            data: 0,
            resource: Head::default(),
            scope: Head::default(),
        }
    }

    /// Bytes of its message.
    pub fn bytes(&self) -> usize {
        self.fields.whole().0.len()
    }
}

/// What becomes of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// It is wanted.
    Keep,
    /// It is wanted with this message.
    Replace(Vec<u8>),
    /// It is not.
    Leave,
}

/// A request made of some of the items.
#[derive(Debug, PartialEq, Eq)]
pub struct Division {
    /// Where in the given request its first item was.
    pub first: u32,
    /// How many it has.
    pub items: u32,
    /// The request; `None` if it is the given one, as it is.
    pub body: Option<Vec<u8>>,
}

/// All items of a request in two of about as many.
pub fn halves(signal: Signal, body: &[u8], items: u32) -> Result<Vec<Division>, Malformed> {
    let limits = DivideLimits {
        items: items.div_ceil(2).max(1),
        ..DivideLimits::NONE
    };
    let mut halves = Vec::new();
    divide(
        signal,
        body,
        &limits,
        |_| Ok(Choice::Keep),
        |half| halves.push(half),
    )?;
    Ok(halves)
}

/// Asks for each item what becomes of it, and hands out requests of those that are wanted. An item
/// that is larger than the limits has one of its own.
pub fn divide(
    signal: Signal,
    body: &[u8],
    limits: &DivideLimits,
    mut choose: impl FnMut(&Item<'_>) -> Result<Choice, Malformed>,
    mut each: impl FnMut(Division),
) -> Result<(), Malformed> {
    let path = path(signal);
    let mut choices = Vec::new();
    let mut item = Item::none();
    survey(path, 0, Fields::new(body, 0), &mut item, &mut |item| {
        choices.push(choose(item)?);
        Ok(())
    })?;
    let items = u32::try_from(choices.len()).unwrap_or(u32::MAX);
    let cost = body.len() + choices.len() * limits.item_overhead;
    let is_whole = choices.iter().all(|choice| *choice == Choice::Keep);
    if is_whole && items > 0 && items <= limits.items && cost <= limits.bytes {
        each(Division {
            first: 0,
            items,
            body: None,
        });
        return Ok(());
    }
    let mut divider = Divider {
        limits,
        choices: choices.into_iter(),
        index: 0,
        levels: Vec::new(),
        first: 0,
        items: 0,
        each: &mut each,
    };
    divider.message(path, 0, Fields::new(body, 0))
}

/// The numbers of the children, level by level.
fn path(signal: Signal) -> &'static [&'static [u32]] {
    match signal {
        Signal::Spans | Signal::Logs => &[&[1], &[2], &[2]],
        Signal::Metrics => &[&[1], &[2], &[2], &[5, 7, 9, 10, 11], &[1]],
    }
}

const RESOURCE_GROUP: usize = 1;
const SCOPE_GROUP: usize = 2;
const METRIC: usize = 3;

fn survey<'a>(
    path: &[&[u32]],
    depth: usize,
    fields: Fields<'a>,
    item: &mut Item<'a>,
    each: &mut dyn FnMut(&Item<'a>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let Some(children) = path.get(depth) else {
        item.fields = fields;
        each(item)?;
        item.index = item.index.saturating_add(1);
        return Ok(());
    };
    match depth {
        RESOURCE_GROUP => item.resource = head(&fields, 1)?,
        SCOPE_GROUP => item.scope = head(&fields, 3)?,
        _ => {}
    }
    for field in fields {
        let field = field?;
        if children.contains(&field.number) {
            if depth == METRIC {
                item.data = field.number;
            }
            survey(path, depth + 1, field.message()?, item, each)?;
        }
    }
    Ok(())
}

/// A group's resource or scope, whose attributes have this number.
fn head(group: &Fields<'_>, attributes: u32) -> Result<Head, Malformed> {
    let mut head = Head::default();
    for field in group.clone() {
        let field = field?;
        if field.number != 1 {
            continue;
        }
        head.bytes += field.bytes()?.len();
        for field in field.message()? {
            head.attributes += usize::from(field?.number == attributes);
        }
    }
    Ok(head)
}

/// A message in the making.
struct Level {
    /// Its field in the message around it.
    number: u32,
    shared: Vec<u8>,
    children: Vec<u8>,
}

struct Divider<'l> {
    limits: &'l DivideLimits,
    choices: std::vec::IntoIter<Choice>,
    /// The place of the next item.
    index: u32,
    /// From the request inwards.
    levels: Vec<Level>,
    first: u32,
    /// In the request that is being made.
    items: u32,
    each: &'l mut dyn FnMut(Division),
}

impl Divider<'_> {
    /// A message that has children, as the field of this number.
    fn message(&mut self, path: &[&[u32]], number: u32, fields: Fields<'_>) -> Result<(), Malformed> {
        let Some(children) = path.get(self.levels.len()) else {
            return Ok(());
        };
        let mut shared = Vec::new();
        for field in fields.clone() {
            let field = field?;
            if !children.contains(&field.number) {
                shared.extend_from_slice(field.encoded);
            }
        }
        self.levels.push(Level {
            number,
            shared,
            children: Vec::new(),
        });
        let holds_items = self.levels.len() == path.len();
        for field in fields {
            let field = field?;
            if !children.contains(&field.number) {
                continue;
            }
            match holds_items {
                true => self.item(&field)?,
                false => self.message(path, field.number, field.message()?)?,
            }
        }
        match self.levels.len() {
            1 => self.hand_out(),
            _ => self.close(),
        }
        Ok(())
    }

    fn item(&mut self, field: &Field<'_>) -> Result<(), Malformed> {
        let index = self.index;
        self.index = index.saturating_add(1);
        let choice = self.choices.next().unwrap_or(Choice::Leave);
        let message = match &choice {
            Choice::Keep => field.bytes()?,
            Choice::Replace(message) => message,
            Choice::Leave => return Ok(()),
        };
        let cost = message.len() + LEVEL_BYTES + self.limits.item_overhead;
        if self.items >= self.limits.items || self.cost().saturating_add(cost) > self.limits.bytes {
            self.hand_out();
        }
        if self.items == 0 {
            self.first = index;
        }
        self.items += 1;
        if let Some(level) = self.levels.last_mut() {
            put_bytes(&mut level.children, field.number, message);
        }
        Ok(())
    }

    /// What the request that is being made would be now.
    fn cost(&self) -> usize {
        let levels = self.levels.iter();
        let bytes: usize = levels
            .map(|level| level.shared.len() + level.children.len() + LEVEL_BYTES)
            .sum();
        bytes + self.items as usize * self.limits.item_overhead
    }

    /// The innermost message has all its children.
    fn close(&mut self) {
        let Some(level) = self.levels.pop() else {
            return;
        };
        if let Some(above) = self.levels.last_mut().filter(|_| !level.children.is_empty()) {
            put_bytes(
                &mut above.children,
                level.number,
                &[level.shared, level.children].concat(),
            );
        }
    }

    /// Ends the request. What its items share stays, for those that are still to come.
    fn hand_out(&mut self) {
        let mut inner: Option<(u32, Vec<u8>)> = None;
        for level in self.levels.iter_mut().rev() {
            if let Some((number, message)) = inner.take() {
                put_bytes(&mut level.children, number, &message);
            }
            let children = std::mem::take(&mut level.children);
            inner = (!children.is_empty()).then(|| (level.number, [&level.shared[..], &children].concat()));
        }
        if let Some((_, body)) = inner {
            (self.each)(Division {
                first: self.first,
                items: std::mem::take(&mut self.items),
                body: Some(body),
            });
        }
    }
}

#[cfg(test)]
mod tests;
