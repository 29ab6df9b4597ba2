//! Placeholder.

pub mod spool;
