//! Memory admission: a budget of bytes that every request draws from before its body is held.
//!
//! A reservation grows in steps as its body grows, so a client is charged for what it has sent
//! and not for what it announced. Nobody waits here: a budget that is used up is an answer
//! (refuse, with a retry hint), never a queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// The least that a buffer reserves, and the unit in which small buffers grow.
const STEP_BYTES: usize = 16 * 1024;
/// The most that a buffer grows at once: beyond this, doubling would reserve too far ahead.
const GROWTH_BYTES_MAX: usize = 1024 * 1024;
/// The least that is worth keeping in the connection's read buffer instead of copying it out.
const ADOPTED_BYTES_MIN: usize = 32 * 1024;
/// What the read buffer of a connection may hold around bytes that are adopted from it.
const AROUND_ADOPTED_BYTES: usize = 64 * 1024;

/// A budget of bytes, shared by all requests of a receiver, or of one of its connections.
#[derive(Debug)]
pub struct Admission {
    bytes_max: usize,
    bytes_used: AtomicUsize,
    /// The budget that this one is a part of.
    whole: Option<Arc<Admission>>,
}

/// The budget is used up at this moment; the request may be retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MemoryFull {
    /// That of all requests.
    #[error("the memory for requests in flight is used up")]
    OfAll,
    /// That of one connection's requests.
    #[error(
        "the memory for the requests in flight of this connection is used up \
         (receivers.otlp.max_connection_memory)"
    )]
    OfConnection,
}

/// Why a buffer could not take more bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Overflow {
    /// The request is larger than requests may be.
    #[error("larger than the limit of {bytes_max} bytes")]
    TooLarge {
        /// The buffer's limit.
        bytes_max: usize,
    },
    /// There is no memory for it at this moment.
    #[error(transparent)]
    MemoryFull(#[from] MemoryFull),
}

impl Admission {
    /// A budget of `bytes_max` bytes, of which nothing is used.
    pub fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            bytes_max,
            bytes_used: AtomicUsize::new(0),
            whole: None,
        })
    }

    /// A part of a budget: at most `bytes_max` bytes of what all parts share.
    pub fn within(whole: &Arc<Self>, bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            bytes_max,
            bytes_used: AtomicUsize::new(0),
            whole: Some(Arc::clone(whole)),
        })
    }

    /// How many bytes are reserved at this moment.
    pub fn bytes_used(&self) -> usize {
        self.bytes_used.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) -> Result<(), MemoryFull> {
        self.bytes_used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|sum| *sum <= self.bytes_max)
            })
            .map_err(|_| match self.whole {
                Some(_) => MemoryFull::OfConnection,
                None => MemoryFull::OfAll,
            })?;
        match &self.whole {
            None => Ok(()),
            Some(whole) => whole.take(bytes).inspect_err(|_| {
                self.bytes_used.fetch_sub(bytes, Ordering::Relaxed);
            }),
        }
    }

    fn give_back(&self, bytes: usize) {
        self.bytes_used.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.give_back(bytes);
        }
    }
}

/// A part of the budget; given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    admission: Arc<Admission>,
    bytes: usize,
}

impl Reservation {
    /// A reservation of nothing yet.
    pub fn empty(admission: &Arc<Admission>) -> Self {
        Self {
            admission: Arc::clone(admission),
            bytes: 0,
        }
    }

    /// Reserves `bytes` more, or leaves the reservation as it is.
    pub fn grow(&mut self, bytes: usize) -> Result<(), MemoryFull> {
        self.admission.take(bytes)?;
        self.bytes += bytes;
        Ok(())
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.admission.give_back(self.bytes);
    }
}

/// Bytes in memory that are reserved before they are held.
#[derive(Debug)]
pub struct Buffer {
    held: Held,
    bytes_max: usize,
    reservation: Reservation,
}

#[derive(Debug)]
enum Held {
    Copied(Vec<u8>),
    /// Left where the connection has read them.
    Adopted(Bytes),
}

impl Buffer {
    /// An empty buffer that takes at most `bytes_max` bytes out of `admission`.
    pub fn new(admission: &Arc<Admission>, bytes_max: usize) -> Self {
        Self {
            held: Held::Copied(Vec::new()),
            bytes_max,
            reservation: Reservation::empty(admission),
        }
    }

    /// A buffer around bytes that exist already; the reservation is made now.
    pub fn around(admission: &Arc<Admission>, bytes: Vec<u8>) -> Result<Self, MemoryFull> {
        let mut reservation = Reservation::empty(admission);
        reservation.grow(bytes.capacity())?;
        Ok(Self {
            bytes_max: bytes.len(),
            held: Held::Copied(bytes),
            reservation,
        })
    }

    /// Whether bytes that arrived in one piece are better adopted than copied.
    pub fn is_worth_adopting(bytes: usize) -> bool {
        bytes >= ADOPTED_BYTES_MIN
    }

    /// A buffer of bytes that stay in the connection's read buffer; the reservation is made now.
    pub fn adopt(admission: &Arc<Admission>, bytes: Bytes) -> Result<Self, MemoryFull> {
        let mut reservation = Reservation::empty(admission);
        reservation.grow(bytes.len() + AROUND_ADOPTED_BYTES)?;
        Ok(Self {
            bytes_max: bytes.len(),
            held: Held::Adopted(bytes),
            reservation,
        })
    }

    /// Appends `chunk`. After an overflow the buffer still holds what it held before.
    pub fn extend(&mut self, chunk: &[u8]) -> Result<(), Overflow> {
        let needed = self.len() + chunk.len();
        if needed > self.bytes_max {
            return Err(Overflow::TooLarge {
                bytes_max: self.bytes_max,
            });
        }
        // What is adopted is complete: only an empty chunk comes so far.
        if let Held::Copied(bytes) = &mut self.held {
            make_room(bytes, needed, &mut self.reservation)?;
            bytes.extend_from_slice(chunk);
        }
        Ok(())
    }

    /// The bytes so far.
    pub fn as_slice(&self) -> &[u8] {
        match &self.held {
            Held::Copied(bytes) => bytes,
            Held::Adopted(bytes) => bytes,
        }
    }

    /// How many bytes it holds.
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    /// The bytes, which stay reserved until the last handle on them is dropped, wherever that
    /// is: a client that hangs up while its request waits in the spool's queue frees nothing
    /// early.
    pub fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

fn make_room(bytes: &mut Vec<u8>, needed: usize, reservation: &mut Reservation) -> Result<(), MemoryFull> {
    let capacity = bytes.capacity();
    if needed <= capacity {
        return Ok(());
    }
    let step = capacity.clamp(STEP_BYTES, GROWTH_BYTES_MAX);
    let target = needed.max(capacity + step);
    reservation.grow(target - capacity)?;
    bytes.reserve_exact(target - bytes.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_given_back() {
        let admission = Admission::new(100_000);
        let mut buffer = Buffer::new(&admission, 1_000_000);
        buffer.extend(&[7; 20_000]).expect("room");
        assert!(admission.bytes_used() >= 20_000);
        let bytes = buffer.into_bytes();
        let part = bytes.slice(5..10);
        drop(bytes);
        assert!(
            admission.bytes_used() >= 20_000,
            "held as long as the last handle"
        );
        drop(part);
        assert_eq!(admission.bytes_used(), 0);
    }

    #[test]
    fn many_buffers_together_never_exceed_the_budget() {
        let admission = Admission::new(1_000_000);
        let mut buffers: Vec<Buffer> = (0..100).map(|_| Buffer::new(&admission, 4_000_000)).collect();
        let mut refused = 0;
        for _ in 0..64 {
            for buffer in &mut buffers {
                refused +=
                    usize::from(buffer.extend(&[0; 1_000]) == Err(Overflow::MemoryFull(MemoryFull::OfAll)));
                assert!(admission.bytes_used() <= 1_000_000);
            }
        }
        assert!(refused > 0, "100 bodies of 64 kB do not fit into 1 MB");
        let held: usize = buffers.iter().map(capacity).sum();
        assert!(held <= 1_000_000, "{held} bytes are held");
    }

    fn capacity(buffer: &Buffer) -> usize {
        match &buffer.held {
            Held::Copied(bytes) => bytes.capacity(),
            Held::Adopted(bytes) => bytes.len(),
        }
    }

    #[test]
    fn adopted_bytes_are_reserved_with_what_may_be_around_them() {
        let admission = Admission::new(200_000);
        let bytes = Bytes::from(vec![7; 100_000]);
        let buffer = Buffer::adopt(&admission, bytes.clone()).expect("room");
        assert_eq!(buffer.as_slice().as_ptr(), bytes.as_ptr(), "not copied");
        assert!(admission.bytes_used() > 150_000);
        let full = Buffer::adopt(&admission, bytes.slice(..50_000));
        assert_eq!(full.map(drop), Err(MemoryFull::OfAll));
        drop(buffer.into_bytes());
        assert_eq!(admission.bytes_used(), 0);
    }

    #[test]
    fn a_part_of_a_budget_is_bounded_by_itself_and_by_the_whole() {
        let whole = Admission::new(100_000);
        let parts = [
            Admission::within(&whole, 60_000),
            Admission::within(&whole, 60_000),
        ];
        let [mut first, mut second] = parts.each_ref().map(Reservation::empty);
        assert_eq!(first.grow(60_001), Err(MemoryFull::OfConnection));
        first.grow(60_000).expect("room");
        assert_eq!(second.grow(60_000), Err(MemoryFull::OfAll));
        assert_eq!(
            parts[1].bytes_used(),
            0,
            "what the whole refused is not taken from the part"
        );
        second.grow(40_000).expect("room");
        drop((first, second));
        assert_eq!((whole.bytes_used(), parts[0].bytes_used()), (0, 0));
    }

    #[test]
    fn a_buffer_refuses_the_byte_after_its_limit() {
        let admission = Admission::new(100_000);
        let mut buffer = Buffer::new(&admission, 10);
        buffer.extend(b"0123456789").expect("exactly the limit");
        assert_eq!(buffer.extend(b"x"), Err(Overflow::TooLarge { bytes_max: 10 }));
        assert_eq!(buffer.as_slice(), b"0123456789");
    }

    #[test]
    fn growth_is_charged_for_what_was_sent_and_not_for_what_may_come() {
        let admission = Admission::new(64 * 1024 * 1024);
        let mut buffer = Buffer::new(&admission, 16 * 1024 * 1024);
        for _ in 0..4 {
            buffer.extend(&[0; 1024 * 1024]).expect("room");
        }
        assert!(admission.bytes_used() <= 5 * 1024 * 1024 + STEP_BYTES);
    }
}
