//! Head sampling that is consistent across services: whether a trace is kept is said by its own
//! randomness, so that all who look at it decide alike, and who keeps fewer traces keeps some of
//! those that others keep. Pure: it counts and drops nothing.
//!
//! A trace has 56 random bits R: the sub-value `rv` of its `tracestate`, else the last bits of its
//! id. At the ratio p the threshold T is (1 - p)·2^56, and a span is kept if R >= T. What was kept
//! says so: the sub-value `th` is the highest threshold that it has passed, from which readers
//! know that it stands for 2^56 / (2^56 - th) spans.
//!
//! Source: W3C Trace Context Level 2, "Random Trace ID Flag"; OpenTelemetry specification,
//! "TraceState: Probability Sampling".

use std::borrow::Cow;

use meridian_runtime::config::Section;

use crate::otlp::divide::{Choice, Item};
use crate::otlp::view::Span;
use crate::otlp::wire::put_bytes;
use crate::otlp::{Fields, Malformed};

/// One more than the largest randomness.
const RANDOMNESS_END: u64 = 1 << 56;
/// Hex digits of a randomness, and of a threshold at most.
const DIGITS: usize = 14;
/// Members of a `tracestate`.
const MEMBERS_MAX: usize = 32;
/// The member of OpenTelemetry.
const MEMBER: &str = "ot=";

/// The section `sampling` of an exporter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// `ratio: 1`: of the traces, so many are kept.
    pub ratio: f64,
    /// `keep_errors: false`: spans that failed are kept, whatever becomes of their traces.
    pub keep_errors: bool,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            ratio: 1.0,
            keep_errors: false,
        }
    }
}

impl Sampling {
    /// Reads the section of an exporter's section.
    pub fn read(exporter: &mut Section<'_>) -> Self {
        let default = Self::default();
        let mut section = exporter.section("sampling");
        let sampling = Self {
            ratio: section.optional("ratio", default.ratio),
            keep_errors: section.optional("keep_errors", default.keep_errors),
        };
        if !(0.0..=1.0).contains(&sampling.ratio) {
            section.fault("ratio", "must be between 0 and 1");
        }
        section.finish();
        sampling
    }
}

/// Decides for one exporter.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sampler {
    /// `None` keeps everything.
    threshold: Option<u64>,
    keep_errors: bool,
}

impl Sampler {
    /// A sampler of this configuration.
    pub fn new(sampling: Sampling) -> Self {
        Self {
            threshold: (sampling.ratio < 1.0).then(|| threshold(sampling.ratio)),
            keep_errors: sampling.keep_errors,
        }
    }

    /// Whether anything can be left out at all.
    pub fn is_on(&self) -> bool {
        self.threshold.is_some()
    }

    /// The `tracestate` that a span has from now on, or `None` if the span is left out.
    pub fn keep<'a>(&self, span: &Span<'a>) -> Option<Cow<'a, str>> {
        let Some(threshold) = self.threshold else {
            return Some(Cow::Borrowed(span.trace_state));
        };
        let state = State::of(span.trace_state);
        let randomness = state.randomness.unwrap_or_else(|| of_id(span.trace_id));
        if randomness >= threshold {
            // One that the trace cannot have passed is a mistake, and counts for nothing.
            let passed = state.threshold.filter(|passed| *passed <= randomness);
            let highest = threshold.max(passed.unwrap_or(0));
            return Some(Cow::Owned(with_threshold(span.trace_state, Some(highest))));
        }
        // It stands for nobody but itself, so that no threshold is true of it.
        (self.keep_errors && span.is_error()).then(|| Cow::Owned(with_threshold(span.trace_state, None)))
    }

    /// What becomes of a span of a request.
    pub fn choose(&self, item: &Item<'_>) -> Result<Choice, Malformed> {
        if !self.is_on() {
            return Ok(Choice::Keep);
        }
        let mut span = Span::default();
        span.read(item.fields.clone())?;
        Ok(match self.keep(&span) {
            None => Choice::Leave,
            Some(state) if state == span.trace_state => Choice::Keep,
            Some(state) => Choice::Replace(with_trace_state(item.fields.clone(), &state)?),
        })
    }
}

/// A span's message with this `tracestate`.
fn with_trace_state(span: Fields<'_>, trace_state: &str) -> Result<Vec<u8>, Malformed> {
    const TRACE_STATE: u32 = 3;
    let mut message = Vec::with_capacity(span.whole().0.len() + trace_state.len() + 2);
    for field in span {
        let field = field?;
        if field.number != TRACE_STATE {
            message.extend_from_slice(field.encoded);
        }
    }
    put_bytes(&mut message, TRACE_STATE, trace_state.as_bytes());
    Ok(message)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "between 0 and 2^56, a power of two"
)]
fn threshold(ratio: f64) -> u64 {
    ((1.0 - ratio.clamp(0.0, 1.0)) * RANDOMNESS_END as f64).round() as u64
}

/// The last 56 bits of a trace's id.
fn of_id(trace_id: &[u8]) -> u64 {
    let last = trace_id.last_chunk::<8>().copied().unwrap_or_default();
    u64::from_be_bytes(last) % RANDOMNESS_END
}

/// What a `tracestate` says of sampling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    randomness: Option<u64>,
    threshold: Option<u64>,
}

impl State {
    fn of(trace_state: &str) -> Self {
        let member = members(trace_state).find_map(|member| member.strip_prefix(MEMBER));
        let value = |key: &str| {
            let mut pairs = member?.split(';');
            pairs.find_map(|pair| pair.strip_prefix(key))
        };
        Self {
            randomness: value("rv:").filter(|digits| digits.len() == DIGITS).and_then(hex),
            threshold: value("th:")
                .filter(|digits| (1..=DIGITS).contains(&digits.len()))
                .and_then(|digits| Some(hex(digits)? << (4 * (DIGITS - digits.len())))),
        }
    }
}

fn members(trace_state: &str) -> impl Iterator<Item = &str> {
    let members = trace_state.split(',').map(str::trim);
    members.filter(|member| !member.is_empty())
}

fn hex(digits: &str) -> Option<u64> {
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

/// The `tracestate` with this `th`, or without one. What is changed goes to the front, and the
/// rest stays in its order.
fn with_threshold(trace_state: &str, threshold: Option<u64>) -> String {
    let threshold = threshold.map(|threshold| {
        let digits = format!("{threshold:0DIGITS$x}");
        let digits = digits.trim_end_matches('0');
        format!("th:{}", if digits.is_empty() { "0" } else { digits })
    });
    let ours = members(trace_state).find_map(|member| member.strip_prefix(MEMBER));
    let kept = ours.unwrap_or_default().split(';');
    let kept = kept.filter(|pair| !pair.is_empty() && !pair.starts_with("th:"));
    let pairs: Vec<&str> = threshold.as_deref().into_iter().chain(kept).collect();
    let member = (!pairs.is_empty()).then(|| format!("{MEMBER}{}", pairs.join(";")));
    let others = members(trace_state).filter(|member| !member.starts_with(MEMBER));
    let others = others.take(MEMBERS_MAX - 1);
    let all: Vec<&str> = member.as_deref().into_iter().chain(others).collect();
    all.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sampler(ratio: f64) -> Sampler {
        Sampler::new(Sampling {
            ratio,
            keep_errors: false,
        })
    }

    fn span<'a>(trace_id: &'a [u8], trace_state: &'a str) -> Span<'a> {
        Span {
            trace_id,
            trace_state,
            ..Span::default()
        }
    }

    fn kept(ratio: f64, trace_id: &[u8], trace_state: &str) -> Option<String> {
        let kept = sampler(ratio).keep(&span(trace_id, trace_state));
        kept.map(Cow::into_owned)
    }

    /// An id whose last 56 bits are these; the others must not matter.
    fn id(randomness: u64) -> [u8; 16] {
        let mut id = [0xff; 16];
        id[9..].copy_from_slice(&randomness.to_be_bytes()[1..]);
        id
    }

    #[test]
    fn a_span_is_kept_from_its_threshold_on_and_says_so() {
        for (ratio, randomness, expected) in [
            (0.5, 0x80_0000_0000_0000, Some("ot=th:8")),
            (0.5, 0x7f_ffff_ffff_ffff, None),
            (0.25, 0xc0_0000_0000_0000, Some("ot=th:c")),
            (0.25, 0xbf_ffff_ffff_ffff, None),
            (0.0, 0xff_ffff_ffff_ffff, None),
            (1.0, 0, Some("")),
        ] {
            let found = kept(ratio, &id(randomness), "");
            assert_eq!(found.as_deref(), expected, "{ratio} {randomness:x}");
        }
    }

    #[test]
    fn what_the_tracestate_says_goes_before_the_id() {
        let (low, high) = (id(0), id(RANDOMNESS_END - 1));
        assert_eq!(kept(0.5, &high, "ot=rv:10000000000000"), None);
        assert_eq!(
            kept(0.5, &low, "ot=rv:80000000000000"),
            Some("ot=th:8;rv:80000000000000".to_owned())
        );
        for no_randomness in [
            "ot=rv:8",
            "ot=rv:+0000000000000",
            "ot=rv:8000000000000g",
            "o=rv:80000000000000",
        ] {
            assert_eq!(kept(0.5, &low, no_randomness), None, "{no_randomness}");
        }
    }

    #[test]
    fn a_span_that_was_sampled_before_stands_for_the_larger_share() {
        let high = id(RANDOMNESS_END - 1);
        let found = |state: &str| kept(0.5, &high, state).expect("kept");
        assert_eq!(found("ot=th:4"), "ot=th:8");
        assert_eq!(found("ot=th:c"), "ot=th:c", "it was a quarter already");
        assert_eq!(
            found("a=1, ot=th:c;xy:z;rv:fffffffffffffe ,b=2"),
            "ot=th:c;xy:z;rv:fffffffffffffe,a=1,b=2"
        );
        assert_eq!(
            found("ot=th:f;rv:90000000000000,a=1"),
            "ot=th:8;rv:90000000000000,a=1",
            "it cannot have passed f"
        );
        assert_eq!(found("ot=th:g"), "ot=th:8");
        let many = (0..40)
            .map(|number| format!("k{number}=v"))
            .collect::<Vec<_>>()
            .join(",");
        assert_eq!(found(&many).split(',').count(), MEMBERS_MAX);
    }

    #[test]
    fn errors_are_kept_where_asked_and_stand_for_themselves() {
        let keeping = Sampler::new(Sampling {
            ratio: 0.5,
            keep_errors: true,
        });
        let low = id(1);
        let failed = Span {
            status_code: 2,
            ..span(&low, "ot=th:0;rv:00000000000001")
        };
        assert_eq!(keeping.keep(&failed).as_deref(), Some("ot=rv:00000000000001"));
        assert_eq!(sampler(0.5).keep(&failed), None);
        assert_eq!(keeping.keep(&span(&low, "")), None);
    }

    fn ratio() -> impl Strategy<Value = f64> {
        prop_oneof![Just(0.0), Just(1.0), 0.0..1.0_f64, 0.0..1e-6_f64]
    }

    fn state() -> impl Strategy<Value = String> {
        prop_oneof![
            Just(String::new()),
            "ot=rv:[0-9a-f]{14}",
            "ot=(rv:[0-9a-f]{14};)?th:[0-9a-f]{1,14}",
            "a=b,ot=th:[0-9a-f]{1,15}",
            ".{0,40}",
        ]
    }

    proptest! {
        #[test]
        fn who_keeps_fewer_traces_keeps_some_of_those_that_others_keep(
            one in ratio(), other in ratio(), id in any::<[u8; 16]>(), state in state(),
        ) {
            let (fewer, more) = if one < other { (one, other) } else { (other, one) };
            if kept(fewer, &id, &state).is_some() {
                prop_assert!(kept(more, &id, &state).is_some());
            }
        }

        #[test]
        fn all_spans_of_a_trace_share_its_fate(
            ratio in ratio(), id in any::<[u8; 16]>(), rv in "(ot=rv:[0-9a-f]{14})?", names in any::<[String; 2]>(),
        ) {
            let fates = names.each_ref().map(|name| {
                let span = Span { name, kind: 3, span_id: &[7; 8], ..span(&id, &rv) };
                sampler(ratio).keep(&span).is_some()
            });
            prop_assert_eq!(fates[0], fates[1]);
        }

        #[test]
        fn what_is_kept_is_kept_again_and_says_the_same(
            one in ratio(), other in ratio(), id in any::<[u8; 16]>(), state in state(),
        ) {
            let Some(first) = kept(one, &id, &state) else {
                return Ok(());
            };
            prop_assert_eq!(kept(one, &id, &first), Some(first.clone()), "twice at {}", one);
            // In whatever order two look at it, the outcome is one.
            let then = kept(other, &id, &first);
            let reversed = kept(other, &id, &state).and_then(|state| kept(one, &id, &state));
            prop_assert_eq!(then.map(|state| State::of(&state)), reversed.map(|state| State::of(&state)));
        }
    }

    #[test]
    fn a_tenth_of_many_traces_is_about_a_tenth() {
        let count = (0..10_000_u64)
            .map(|number| xxhash_rust::xxh3::xxh3_128(&number.to_be_bytes()).to_be_bytes())
            .filter(|id| kept(0.1, id, "").is_some())
            .count();
        assert!((900..1100).contains(&count), "{count}");
    }
}
