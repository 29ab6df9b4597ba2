//! Reads decisions out of an input: every input means something, and a small change of the bytes
//! is a small change of what happens. When the bytes are over, all decisions are zero.

/// What is left of the input.
#[derive(Debug, Clone)]
pub(crate) struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or_default()
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Below `count`, which is not 0.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        usize::from(self.u16()) % count
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    /// Small, near an edge, or anything.
    pub(crate) fn u64(&mut self) -> u64 {
        const EDGES: [u64; 8] = [
            0,
            1,
            u64::MAX,
            u64::MAX - 1,
            1 << 63,
            (1 << 63) - 1,
            1 << 32,
            (1 << 62) + 1,
        ];
        match self.byte() {
            kind @ 0..8 => EDGES[usize::from(kind)],
            8..32 => u64::from_le_bytes(self.array()),
            32..64 => u64::from(self.u16()),
            small => u64::from(small - 64),
        }
    }

    /// So many bytes, or what is left.
    pub(crate) fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// A part of the input with its length before it.
    pub(crate) fn part(&mut self) -> &'a [u8] {
        let count = usize::from(self.u16());
        self.bytes(count)
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        self.bytes(self.0.len())
    }

    fn array<const WIDTH: usize>(&mut self) -> [u8; WIDTH] {
        let mut array = [0; WIDTH];
        let taken = self.bytes(WIDTH);
        array[..taken.len()].copy_from_slice(taken);
        array
    }
}
