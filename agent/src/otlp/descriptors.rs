//! The messages of OTLP as tables. No bytes are read here.
