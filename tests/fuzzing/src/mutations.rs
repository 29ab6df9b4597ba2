//! Small changes of an input by a generator with a seed: the same at every run. It knows nothing
//! of formats, and of coverage: that is libFuzzer's.

/// Numbers out of a seed (splitmix64).
#[derive(Debug)]
pub struct Random(u64);

/// Beyond this an input is not made longer.
const INPUT_BYTES_MAX: usize = 16 << 10;
/// Values at which arithmetic goes wrong.
const EDGES: [u64; 8] = [
    0,
    1,
    u64::MAX,
    1 << 63,
    (1 << 63) - 1,
    1 << 32,
    (1 << 31) - 1,
    0x8080_8080_8080_8080,
];

impl Random {
    /// A generator with this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.next() % bound).unwrap_or_default()
    }

    /// One of the inputs with one to four changes, some of them parts of another one.
    pub fn mutated(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        let mut input = inputs.get(self.below(inputs.len())).cloned().unwrap_or_default();
        let other = inputs
            .get(self.below(inputs.len()))
            .map(Vec::as_slice)
            .unwrap_or_default();
        for _ in 0..=self.below(4) {
            self.mutate(&mut input, other);
        }
        input.truncate(INPUT_BYTES_MAX);
        input
    }

    fn mutate(&mut self, input: &mut Vec<u8>, other: &[u8]) {
        let at = self.below(input.len() + 1);
        let end = (at + self.below(1 + input.len().min(64))).min(input.len());
        match self.below(8) {
            0 => input.truncate(at),
            1 => drop(input.drain(at..end)),
            2 => {
                let part = input[at..end].to_vec();
                input.splice(at..at, part);
            }
            3 => {
                let from = self.below(other.len() + 1);
                let to = (from + self.below(64)).min(other.len());
                input.splice(at..end, other[from..to].iter().copied());
            }
            4 => {
                let edge = EDGES[self.below(EDGES.len())].to_le_bytes();
                let width = 1 << self.below(4);
                input.splice(at..(at + width).min(input.len()), edge[..width].iter().copied());
            }
            5 => input.insert(at, self.byte()),
            _ => {
                let byte = self.byte();
                if let Some(place) = input.get_mut(at) {
                    *place ^= if byte & 1 == 0 { 1 << (byte >> 5) } else { byte };
                }
            }
        }
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}
