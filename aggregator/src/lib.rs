//! The aggregator: takes the agents' streams, keeps their rows in Delta tables, and answers
//! questions about them together with how complete the answer is. The agent's side of the
//! stream is deliberately absent: the two processes share only meridian-proto.

pub mod api;
pub mod app;
pub mod config;
pub mod coverage;
pub mod ingest;
pub mod query;
pub mod store;
