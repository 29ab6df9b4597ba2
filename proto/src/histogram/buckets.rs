//! Counts by bucket, in a window that grows around what was recorded. It knows no scale and
//! no values.

/// A window begins and grows by so many buckets at least, so that neighbours find room.
const CHUNK: i32 = 16;

/// Counts of buckets from `offset` on.
#[derive(Debug, Clone, Default)]
pub struct Buckets {
    offset: i32,
    counts: Vec<u64>,
}

impl Buckets {
    /// Counts that somebody else made, of the buckets from `offset` on.
    pub fn from_parts(offset: i32, counts: Vec<u64>) -> Self {
        Self { offset, counts }
    }

    /// Adds values to a bucket.
    #[inline]
    pub fn add(&mut self, index: i32, count: u64) {
        // Outside of the window the difference is negative or too large for it.
        let place = usize::try_from(i64::from(index) - i64::from(self.offset));
        match place.ok().and_then(|place| self.counts.get_mut(place)) {
            Some(bucket) => *bucket = bucket.saturating_add(count),
            None => self.add_outside(index, count),
        }
    }

    #[cold]
    fn add_outside(&mut self, index: i32, count: u64) {
        if count == 0 {
            return;
        }
        let (mut first, mut last) = self.window().unwrap_or((index, index));
        // A quarter more on the side that grows: a window that creeps is not copied each time.
        let more = last.saturating_sub(first) / 4 + CHUNK;
        if index < first {
            first = index.saturating_sub(more);
        }
        if index > last {
            last = index.saturating_add(more);
        }
        let width = i64::from(last) - i64::from(first) + 1;
        let mut counts = vec![0; usize::try_from(width).unwrap_or(0)];
        let shift = usize::try_from(i64::from(self.offset) - i64::from(first)).unwrap_or(0);
        for (place, count) in self.counts.iter().enumerate() {
            if let Some(bucket) = counts.get_mut(place + shift) {
                *bucket = *count;
            }
        }
        (self.offset, self.counts) = (first, counts);
        let place = usize::try_from(i64::from(index) - i64::from(first)).unwrap_or(0);
        if let Some(bucket) = self.counts.get_mut(place) {
            *bucket = bucket.saturating_add(count);
        }
    }

    /// The first and the last bucket of the window.
    fn window(&self) -> Option<(i32, i32)> {
        let width = i32::try_from(self.counts.len()).ok()?;
        (width > 0).then(|| (self.offset, self.offset.saturating_add(width - 1)))
    }

    /// How many values there are.
    pub fn total(&self) -> u64 {
        self.counts
            .iter()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The count of one bucket.
    pub fn count_at(&self, index: i32) -> u64 {
        let place = usize::try_from(i64::from(index) - i64::from(self.offset));
        let count = place.ok().and_then(|place| self.counts.get(place));
        count.copied().unwrap_or(0)
    }

    /// The buckets that have values, in their order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (i32, u64)> {
        let counted = self.counts.iter().enumerate();
        counted.filter(|(_, count)| **count > 0).map(|(place, count)| {
            let place = i32::try_from(place).unwrap_or(i32::MAX);
            (self.offset.saturating_add(place), *count)
        })
    }

    /// Adds the counts of `other`, whose buckets become one `by` times two by two.
    pub(super) fn merge(&mut self, other: &Self, by: i32) {
        for (index, count) in other.iter() {
            self.add(index >> by.clamp(0, 31), count);
        }
    }

    /// Makes one bucket of every two, `by` times.
    pub(super) fn downscale(&mut self, by: i32) {
        let mut coarse = Self::default();
        coarse.merge(self, by);
        *self = coarse;
    }

    /// From the first to the last bucket with values, if every two became one, `by` times.
    pub(super) fn width_after(&self, by: i32) -> u64 {
        let mut counted = self.iter().map(|(index, _)| i64::from(index >> by.clamp(0, 31)));
        let Some(first) = counted.next() else {
            return 0;
        };
        let last = counted.next_back().unwrap_or(first);
        (last - first).unsigned_abs() + 1
    }

    /// Removes the values of all buckets up to `last`, and says how many they were.
    pub(super) fn take_up_to(&mut self, last: i32) -> u64 {
        let width = i64::from(last) - i64::from(self.offset) + 1;
        let width = usize::try_from(width).unwrap_or(0).min(self.counts.len());
        let taken = self.counts.iter_mut().take(width).map(std::mem::take);
        taken.fold(0, u64::saturating_add)
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.counts.capacity() * size_of::<u64>()
    }
}

/// Windows may differ where nothing was counted.
impl PartialEq for Buckets {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}
