//! What functions have made on this thread since it took the last batch of rows: an expression
//! of many calls holds their results at the same time, and no pool knows of them. A thread that
//! plans takes no batches: there it is all that was made while constants were folded.

use std::cell::Cell;

use super::caps::{Breach, Cap, Caps};

thread_local! {
    static BYTES: Cell<usize> = const { Cell::new(0) };
}

/// A new batch of rows begins: what was made for the last one is gone.
pub(super) fn nothing_yet() {
    BYTES.set(0);
}

/// Counts what a call has made.
pub(super) fn add(bytes: usize, caps: &Caps) -> Result<(), Breach> {
    let sum = BYTES.get().saturating_add(bytes);
    BYTES.set(sum);
    caps.check(Cap::CallBytes, sum)
}
