//! The memory of all answers together, from their first row until their last byte is sent. An
//! answer that finds none is refused; none waits for another.

use std::sync::Arc;

use parking_lot::Mutex;

/// Reserved beyond what is needed, so that it is not asked for every row.
const STEP_BYTES: usize = 256 << 10;

/// A budget of bytes; clones share it.
#[derive(Debug, Clone)]
pub(in crate::query) struct AnswersMemory(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bytes_max: usize,
    used: Mutex<usize>,
}

/// There is no memory for an answer at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("answers that are being made and sent take all of their {bytes_max} bytes")]
pub(in crate::query) struct AnswersFull {
    pub(in crate::query) bytes_max: usize,
}

impl AnswersMemory {
    pub(in crate::query) fn new(bytes_max: usize) -> Self {
        let used = Mutex::new(0);
        Self(Arc::new(Inner { bytes_max, used }))
    }

    pub(super) fn nothing(&self) -> Reservation {
        Reservation {
            inner: Arc::clone(&self.0),
            bytes: 0,
        }
    }
}

/// A part of the budget; given back when dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    inner: Arc<Inner>,
    bytes: usize,
}

impl Reservation {
    /// Holds at least `bytes`, or what it held before.
    pub(super) fn grow_to(&mut self, bytes: usize) -> Result<(), AnswersFull> {
        if bytes <= self.bytes {
            return Ok(());
        }
        let more = (bytes - self.bytes).max(STEP_BYTES);
        let bytes_max = self.inner.bytes_max;
        let mut used = self.inner.used.lock();
        if *used + more > bytes_max {
            return Err(AnswersFull { bytes_max });
        }
        *used += more;
        self.bytes += more;
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        *self.inner.used.lock() -= self.bytes;
    }
}

/// Bytes that keep their memory reserved.
#[derive(Debug)]
pub(super) struct Kept {
    bytes: Vec<u8>,
    _reservation: Reservation,
}

impl Kept {
    pub(super) fn new(bytes: Vec<u8>, reservation: Reservation) -> Self {
        Self {
            bytes,
            _reservation: reservation,
        }
    }
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn answers_together_take_no_more_than_their_memory_and_give_it_back_when_they_are_sent() {
        let memory = AnswersMemory::new(1 << 20);
        let mut first = memory.nothing();
        first.grow_to(700_000).expect("room");
        let mut second = memory.nothing();
        assert!(second.grow_to(700_000).is_err());
        second.grow_to(100_000).expect("what is left");
        let body = Bytes::from_owner(Kept::new(vec![1; 700_000], first));
        let part = body.slice(10..20);
        drop(body);
        assert!(second.grow_to(700_000).is_err(), "a part is not sent yet");
        drop(part);
        second.grow_to(700_000).expect("room");
    }
}
