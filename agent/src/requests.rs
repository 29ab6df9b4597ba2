//! Delivery by requests: what the exporters share that send documents, events or data to an HTTP
//! API with limits, quotas and partial answers. Each accepted item is delivered, or counted as
//! dropped with a reason.
//!
//! - [`sink`] is what an exporter says of its other side; [`courier`] does the rest.
//! - [`packer`] puts pieces into requests; [`books`] knows what is settled.
//! - [`pace`] and [`breaker`] say when a request may leave.
//! - [`client`] is HTTP, and [`aws`] what AWS wants of it.
//!
//! No exporter is known here.

pub mod aws;
pub mod books;
pub mod breaker;
pub mod client;
pub mod complaints;
pub mod courier;
pub mod metrics;
pub mod outbox;
pub mod pace;
pub mod packer;
pub mod reading;
pub mod settings;
pub mod sink;
