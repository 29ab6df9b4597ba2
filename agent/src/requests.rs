//! Delivery by requests: what the exporters share that send documents, events or data to an HTTP
//! API with limits, quotas and partial answers. Each accepted item is delivered, or counted as
//! dropped with a reason.
//!
//! - [`sink`] is what an exporter says of its other side; [`courier`] does the rest.
//! - [`packer`] puts pieces into requests, [`quoted`] has their texts; [`books`] knows what is
//!   settled.
//! - [`pace`] and [`breaker`] say when a request may leave.
//! - [`explain`] tells what would be sent.
//! - [`notices`] are what is said of data that is no good.
//! - [`client`] is HTTP, [`compression`] of its bodies, [`aws`] what AWS wants of it, and [`answer`]
//!   what OTLP answers.
//!
//! No exporter is known here.

pub mod answer;
pub mod aws;
pub mod books;
pub mod breaker;
pub mod client;
pub mod complaints;
pub mod compression;
pub mod courier;
pub mod explain;
pub mod metrics;
pub mod notices;
pub mod outbox;
pub mod pace;
pub mod packer;
pub mod quoted;
pub mod reading;
pub mod settings;
pub mod sink;
