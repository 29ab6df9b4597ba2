//! The OTLP receiver over real sockets: encodings, limits, refusals and their retry hints.
//!
//! The spool is a stand-in that can be full or broken on demand. What real SDKs make of the
//! answers is not proved here; the system tests run them.

mod accepting;
mod client;
mod limits;
mod refusing;
mod requests;
mod rig;
mod spooling;
