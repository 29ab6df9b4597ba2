//! "Did you mean": the known name that is nearest to a mistyped one.
//!
//! It suggests nothing rather than something far-fetched.

/// The nearest of `known` that differs by at most a third of the word, in single edits.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    let near = known
        .into_iter()
        .map(|candidate| (edits(word, candidate), candidate));
    near.filter(|(edits, _)| *edits <= limit)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Optimal string alignment distance: insertions, deletions, substitutions and swaps of
/// neighbours count one each.
fn edits(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut before_previous = Vec::new();
    let mut previous: Vec<usize> = (0..=to.len()).collect();
    for (i, &a) in from.iter().enumerate() {
        let mut current = vec![i + 1];
        for (j, &b) in to.iter().enumerate() {
            let substituted = previous[j] + usize::from(a != b);
            let mut best = substituted.min(previous[j + 1] + 1).min(current[j] + 1);
            if i > 0 && j > 0 && a == to[j - 1] && b == from[i - 1] {
                best = best.min(before_previous[j - 1] + 1);
            }
            current.push(best);
        }
        before_previous = std::mem::replace(&mut previous, current);
    }
    previous[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let known = ["region", "receivers", "spool"];
        assert_eq!(nearest("regoin", known), Some("region"));
        assert_eq!(nearest("reciever", known), Some("receivers"));
        assert_eq!(nearest("spol", known), Some("spool"));
        assert_eq!(nearest("exporters", known), None);
        assert_eq!(nearest("", known), None);
    }

    #[test]
    fn edits_count_insertions_deletions_substitutions_and_swaps() {
        assert_eq!(edits("abc", "abc"), 0);
        assert_eq!(edits("abc", "acb"), 1);
        assert_eq!(edits("abc", ""), 3);
        assert_eq!(edits("kitten", "sitting"), 3);
    }
}
