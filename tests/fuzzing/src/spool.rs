//! Opening a spool, however its directory looks: it never panics, reads no record that was not
//! written, loses none whose bytes were not touched, and finds the same when it is opened again.
//!
//! The first byte says whether the rest makes up a directory (`made_up`) or damages a sound one
//! (`damage`).

mod damage;
mod made_up;
pub(crate) mod opened;

use crate::choices::Choices;

pub(crate) fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    if choices.flag() {
        damage::run(choices);
    } else {
        made_up::run(choices);
    }
}
