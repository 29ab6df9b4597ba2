//! Puts pieces into requests within a sink's limits. Pure: no clock, no sending; what a piece is
//! made of is not known here.
//!
//! Pieces with one key may share a request (a log stream); those of one affinity should (a
//! trace). A request that could have taken more is left open, unless everything has to go.

use std::cmp::Reverse;

/// Requests that are looked at for room, the latest ones.
const BINS_TRIED: usize = 8;

/// What a request of a sink may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Pieces in it, each by its weight.
    pub pieces: usize,
    /// Its bytes: `request_overhead`, and of each piece its bytes and `piece_overhead`.
    pub bytes: usize,
    /// What a request costs before its first piece.
    pub request_overhead: usize,
    /// What a piece costs beside its bytes.
    pub piece_overhead: usize,
    /// Bytes of one piece, without what it costs beside. Where it is more than fits `bytes`, such
    /// a piece goes alone.
    pub piece_bytes: usize,
    /// Between the earliest and the latest piece; `u64::MAX` for any.
    pub span_nanos: u64,
    /// Whether the pieces of a request must ascend in time.
    pub is_ordered: bool,
}

/// Something that goes into one request as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece<T> {
    /// Only pieces of one key share a request.
    pub key: u64,
    /// Those of one affinity should come together, as far as they fit.
    pub affinity: Option<u128>,
    /// In nanoseconds since the epoch.
    pub time: u64,
    /// For how many it counts among a request's pieces.
    pub weight: usize,
    /// Its size as the sink counts it.
    pub bytes: usize,
    /// What it is.
    pub content: T,
}

/// Pieces that go together, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<T> {
    /// The key of all of them.
    pub key: u64,
    /// At least one.
    pub pieces: Vec<Piece<T>>,
}

/// What became of the pieces: each is in exactly one of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed<T> {
    /// Requests that are as full as their pieces let them be.
    pub full: Vec<Request<T>>,
    /// Requests that could take more.
    pub open: Vec<Request<T>>,
    /// Larger than any request may be.
    pub too_large: Vec<Piece<T>>,
}

impl Limits {
    fn cost<T>(&self, piece: &Piece<T>) -> usize {
        piece.bytes.saturating_add(self.piece_overhead)
    }

    /// Whether a piece may be sent.
    pub fn admits<T>(&self, piece: &Piece<T>) -> bool {
        piece.weight <= self.pieces && piece.bytes <= self.piece_bytes
    }
}

/// Packs the pieces. An open request has refused nothing; who is not in a hurry gives its pieces
/// again, with those that have come since.
pub fn pack<T>(pieces: Vec<Piece<T>>, limits: &Limits) -> Packed<T> {
    let (fit, too_large): (Vec<_>, Vec<_>) = pieces.into_iter().partition(|piece| limits.admits(piece));
    let mut packed = Packed {
        full: Vec::new(),
        open: Vec::new(),
        too_large,
    };
    let bins = Packing {
        pieces: &fit,
        limits,
        bins: Vec::new(),
        first_of_key: 0,
    }
    .bins();
    // The pieces are moved once, when all of them have their place.
    let mut fit: Vec<Option<Piece<T>>> = fit.into_iter().map(Some).collect();
    for bin in bins {
        let taken = bin.pieces.iter().filter_map(|index| fit.get_mut(*index)?.take());
        let request = Request {
            key: bin.key,
            pieces: taken.collect(),
        };
        match bin.is_full {
            true => packed.full.push(request),
            false => packed.open.push(request),
        }
    }
    packed
}

/// A request in the making.
struct Bin {
    key: u64,
    /// By their place among all.
    pieces: Vec<usize>,
    size: Size,
    /// Something did not fit beside its pieces.
    is_full: bool,
}

/// What pieces take together.
#[derive(Debug, Clone, Copy)]
struct Size {
    pieces: usize,
    bytes: usize,
    earliest: u64,
    latest: u64,
}

impl Size {
    const NONE: Self = Self {
        pieces: 0,
        bytes: 0,
        earliest: u64::MAX,
        latest: 0,
    };

    fn and(self, other: Self) -> Self {
        Self {
            pieces: self.pieces.saturating_add(other.pieces),
            bytes: self.bytes.saturating_add(other.bytes),
            earliest: self.earliest.min(other.earliest),
            latest: self.latest.max(other.latest),
        }
    }

    fn has_room(&self, limits: &Limits) -> bool {
        self.pieces <= limits.pieces && self.bytes.saturating_add(limits.request_overhead) <= limits.bytes
    }

    fn is_within_span(&self, limits: &Limits) -> bool {
        self.latest.saturating_sub(self.earliest) <= limits.span_nanos
    }
}

struct Packing<'p, T> {
    pieces: &'p [Piece<T>],
    limits: &'p Limits,
    bins: Vec<Bin>,
    /// The first bin of the key whose pieces are being placed.
    first_of_key: usize,
}

impl<T> Packing<'_, T> {
    fn bins(mut self) -> Vec<Bin> {
        let mut order: Vec<usize> = (0..self.pieces.len()).collect();
        let pieces = self.pieces;
        let of = |index: &usize| {
            pieces
                .get(*index)
                .map(|piece| (piece.key, piece.affinity, piece.time))
        };
        // Stable: what has one time stays in the order of its arrival.
        order.sort_by_key(of);
        let key = |index: &usize| pieces.get(*index).map(|piece| piece.key);
        for of_key in order.chunk_by(|one, other| key(one) == key(other)) {
            self.first_of_key = self.bins.len();
            self.place_key(of_key);
        }
        if self.limits.is_ordered {
            for bin in &mut self.bins {
                bin.pieces
                    .sort_unstable_by_key(|index| (pieces.get(*index).map(|piece| piece.time), *index));
            }
        }
        self.bins
    }

    /// By affinity: the largest families first, because the small ones fill what they leave;
    /// families of one size by their times.
    fn place_key(&mut self, order: &[usize]) {
        let pieces = self.pieces;
        let affinity = |index: &usize| pieces.get(*index).and_then(|piece| piece.affinity);
        let time = |index: &usize| pieces.get(*index).map(|piece| piece.time);
        let mut families: Vec<&[usize]> = order
            .chunk_by(|one, other| affinity(one).is_some() && affinity(one) == affinity(other))
            .collect();
        families.sort_by_key(|family| (Reverse(family.len()), family.first().map(time)));
        for family in families {
            let size = self.size_of(family);
            if size.has_room(self.limits) && size.is_within_span(self.limits) {
                self.place(family, size);
                continue;
            }
            for piece in family.chunks(1) {
                self.place(piece, self.size_of(piece));
            }
        }
    }

    fn size_of(&self, pieces: &[usize]) -> Size {
        let pieces = pieces.iter().filter_map(|index| self.pieces.get(*index));
        pieces.fold(Size::NONE, |size, piece| {
            size.and(Size {
                pieces: piece.weight,
                bytes: self.limits.cost(piece),
                earliest: piece.time,
                latest: piece.time,
            })
        })
    }

    /// Into the first of the latest bins that takes them, or a new one.
    fn place(&mut self, pieces: &[usize], size: Size) {
        let tried = self.first_of_key.max(self.bins.len().saturating_sub(BINS_TRIED));
        for bin in self.bins.iter_mut().skip(tried) {
            let together = bin.size.and(size);
            if !together.has_room(self.limits) {
                bin.is_full = true;
            } else if together.is_within_span(self.limits) {
                bin.size = together;
                bin.pieces.extend_from_slice(pieces);
                return;
            }
        }
        let first = pieces.first().and_then(|index| self.pieces.get(*index));
        self.bins.push(Bin {
            key: first.map_or(0, |piece| piece.key),
            pieces: pieces.to_vec(),
            size,
            is_full: false,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limits() -> impl Strategy<Value = Limits> {
        (
            1..20_usize,
            20..400_usize,
            0..20_usize,
            0..30_usize,
            1..300_usize,
            any::<bool>(),
            prop_oneof![Just(u64::MAX), 0..500_u64],
        )
            .prop_map(
                |(pieces, bytes, request_overhead, piece_overhead, piece_bytes, is_ordered, span_nanos)| {
                    Limits {
                        pieces,
                        bytes,
                        request_overhead,
                        piece_overhead,
                        piece_bytes,
                        span_nanos,
                        is_ordered,
                    }
                },
            )
    }

    fn pieces() -> impl Strategy<Value = Vec<Piece<usize>>> {
        let piece = (
            0..3_u64,
            prop::option::of(0..6_u128),
            0..1000_u64,
            1..4_usize,
            0..320_usize,
        );
        prop::collection::vec(piece, 0..120).prop_map(|pieces| {
            let numbered = pieces.into_iter().enumerate();
            numbered
                .map(|(content, (key, affinity, time, weight, bytes))| Piece {
                    key,
                    affinity,
                    time,
                    weight,
                    bytes,
                    content,
                })
                .collect()
        })
    }

    fn check(request: &Request<usize>, limits: &Limits) {
        let pieces = &request.pieces;
        let weight: usize = pieces.iter().map(|piece| piece.weight).sum();
        assert!(!pieces.is_empty() && weight <= limits.pieces);
        let bytes: usize = pieces
            .iter()
            .map(|piece| piece.bytes + limits.piece_overhead)
            .sum();
        assert!(pieces.len() == 1 || bytes + limits.request_overhead <= limits.bytes);
        assert!(
            pieces
                .iter()
                .all(|piece| piece.bytes <= limits.piece_bytes && piece.key == request.key)
        );
        let times = || pieces.iter().map(|piece| piece.time);
        let span = times().max().unwrap_or(0) - times().min().unwrap_or(0);
        assert!(span <= limits.span_nanos);
        assert!(!limits.is_ordered || times().is_sorted());
    }

    proptest! {
        #[test]
        fn no_request_breaks_a_limit_and_every_piece_is_in_one_place(limits in limits(), pieces in pieces()) {
            let count = pieces.len();
            let packed = pack(pieces, &limits);
            let mut seen: Vec<usize> = packed.too_large.iter().map(|piece| piece.content).collect();
            for request in packed.full.iter().chain(&packed.open) {
                check(request, &limits);
                seen.extend(request.pieces.iter().map(|piece| piece.content));
            }
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..count).collect::<Vec<_>>());
            prop_assert!(packed.too_large.iter().all(|piece| !limits.admits(piece)));
        }

        #[test]
        fn small_pieces_without_affinity_need_hardly_more_requests_than_the_fewest(
            sizes in prop::collection::vec(1..40_usize, 1..600),
        ) {
            let limits = Limits {
                pieces: 100,
                bytes: 1000,
                request_overhead: 0,
                piece_overhead: 0,
                piece_bytes: 40,
                span_nanos: u64::MAX,
                is_ordered: true,
            };
            let bytes: usize = sizes.iter().sum();
            let fewest = bytes.div_ceil(limits.bytes).max(sizes.len().div_ceil(limits.pieces));
            let pieces = sizes.into_iter().enumerate();
            let pieces = pieces.map(|(at, bytes)| Piece { key: 0, affinity: None, time: at as u64, weight: 1, bytes, content: () });
            let packed = pack(pieces.collect(), &limits);
            // What a piece of 40 may leave free of 1000 bytes is 4 %.
            let allowed = fewest + (fewest * 42).div_ceil(1000);
            prop_assert!(packed.full.len() + packed.open.len() <= allowed);
            prop_assert!(packed.open.len() <= BINS_TRIED);
        }
    }

    #[test]
    fn a_trace_stays_together_where_it_fits() {
        let limits = Limits {
            pieces: 50,
            bytes: 1 << 20,
            request_overhead: 0,
            piece_overhead: 0,
            piece_bytes: 64_000,
            span_nanos: u64::MAX,
            is_ordered: false,
        };
        // Twenty traces of seven spans, their spans scattered.
        let pieces = (0..140_u64).map(|at| Piece {
            key: 0,
            affinity: Some(u128::from(at % 20)),
            time: at,
            weight: 1,
            bytes: 1000,
            content: at,
        });
        let packed = pack(pieces.collect(), &limits);
        let requests: Vec<_> = packed.full.iter().chain(&packed.open).collect();
        assert_eq!(requests.len(), 3);
        for trace in 0..20_u128 {
            let holds =
                |request: &&&Request<u64>| request.pieces.iter().any(|piece| piece.affinity == Some(trace));
            assert_eq!(requests.iter().filter(holds).count(), 1, "trace {trace}");
        }
    }
}
