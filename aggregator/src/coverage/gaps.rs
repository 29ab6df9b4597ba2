//! Times in which something is missing: kept few, cut to a window, and summed over agents.
//! Who is missing, and why, is not decided here.

use serde::{Deserialize, Serialize};

use super::report::{GapReport, Window};

/// Gaps that one agent keeps; beyond, the two nearest become one, which hides nothing.
const GAPS_MAX: usize = 128;

/// A closed time in which an agent could not accept anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gap {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) reason: String,
}

/// Adds a gap; what overlaps or touches it becomes one with it.
pub(crate) fn add(gaps: &mut Vec<Gap>, gap: Gap) {
    if gap.from >= gap.to {
        return;
    }
    gaps.push(gap);
    gaps.sort_by_key(|one| one.from);
    let mut merged: Vec<Gap> = Vec::with_capacity(gaps.len());
    for one in gaps.drain(..) {
        match merged.last_mut() {
            Some(last) if one.from <= last.to => last.to = last.to.max(one.to),
            _ => merged.push(one),
        }
    }
    while merged.len() > GAPS_MAX {
        join_nearest(&mut merged);
    }
    *gaps = merged;
}

fn join_nearest(gaps: &mut Vec<Gap>) {
    let distance = |index: &usize| gaps[index + 1].from.saturating_sub(gaps[*index].to);
    if let Some(nearest) = (0..gaps.len().saturating_sub(1)).min_by_key(distance) {
        let second = gaps.remove(nearest + 1);
        gaps[nearest].to = second.to;
    }
}

/// What one agent lacks: a time, and its share of the region's data.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Missing {
    pub(crate) from: u64,
    /// `None` while it lasts.
    pub(crate) to: Option<u64>,
    pub(crate) share: f64,
}

/// Sums what agents lack into gaps of the region, cut to `window`.
pub(crate) fn sum(missing: &[Missing], window: Window) -> Vec<GapReport> {
    let start = window.from.unwrap_or(0);
    let end = window.to.unwrap_or(u64::MAX);
    let cut: Vec<(u64, u64, f64)> = missing
        .iter()
        .map(|one| {
            (
                one.from.max(start),
                one.to.unwrap_or(u64::MAX).min(end),
                one.share,
            )
        })
        .filter(|(from, to, _)| from < to)
        .collect();
    let mut edges: Vec<u64> = cut.iter().flat_map(|(from, to, _)| [*from, *to]).collect();
    edges.sort_unstable();
    edges.dedup();
    let mut gaps: Vec<GapReport> = Vec::new();
    for pair in edges.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let covering = cut.iter().filter(|one| one.0 <= from && to <= one.1);
        let share = covering
            .map(|one| one.2)
            .fold(0.0, |sum, share| sum + share)
            .min(1.0);
        if share <= 0.0 {
            continue;
        }
        match gaps.last_mut() {
            Some(last) if last.to == Some(from) && last.share == Some(share) => last.to = Some(to),
            _ => gaps.push(GapReport {
                from,
                to: Some(to),
                share: Some(share),
            }),
        }
    }
    if let Some(last) = gaps.last_mut()
        && last.to == Some(u64::MAX)
    {
        last.to = None;
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(from: u64, to: u64) -> Gap {
        Gap {
            from,
            to,
            reason: "not running".into(),
        }
    }

    #[test]
    fn overlapping_gaps_become_one() {
        let mut gaps = Vec::new();
        for one in [gap(10, 20), gap(30, 40), gap(15, 30), gap(5, 5)] {
            add(&mut gaps, one);
        }
        assert_eq!(gaps, [gap(10, 40)]);
    }

    #[test]
    fn too_many_gaps_are_joined_and_none_is_forgotten() {
        let mut gaps = Vec::new();
        for index in 0..1_000 {
            add(&mut gaps, gap(index * 10, index * 10 + 5));
        }
        assert_eq!(gaps.len(), GAPS_MAX);
        assert_eq!((gaps[0].from, gaps[GAPS_MAX - 1].to), (0, 9_995));
    }

    #[test]
    fn shares_add_up_where_agents_are_missing_together() {
        let missing = [
            Missing {
                from: 10,
                to: Some(30),
                share: 0.25,
            },
            Missing {
                from: 20,
                to: None,
                share: 0.5,
            },
        ];
        let report = |from, to, share| GapReport {
            from,
            to,
            share: Some(share),
        };
        assert_eq!(
            sum(&missing, Window::default()),
            [
                report(10, Some(20), 0.25),
                report(20, Some(30), 0.75),
                report(30, None, 0.5)
            ]
        );
        let window = Window {
            from: Some(12),
            to: Some(25),
        };
        assert_eq!(
            sum(&missing, window),
            [report(12, Some(20), 0.25), report(20, Some(25), 0.75)]
        );
        assert_eq!(
            sum(
                &missing,
                Window {
                    from: Some(0),
                    to: Some(10)
                }
            ),
            []
        );
    }
}
