//! The process's own cost, read from `/proc/self` when somebody asks, under the names that the
//! Prometheus client libraries give it.
//!
//! On a system without `/proc` the metrics are absent rather than zero.

use std::fs;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Error, Gauge, Registry};

use crate::clock::Clock;

/// `USER_HZ`: the unit of CPU time in /proc, 100 on every Linux architecture that we build for.
const TICKS_PER_SECOND: f64 = 100.0;

struct ProcessMetrics {
    started: Gauge,
    cpu: Counter,
    resident: Gauge,
}

/// Adds `process_start_time_seconds`, `process_cpu_seconds_total` and
/// `process_resident_memory_bytes`. Called first thing: the start is the time of this call.
pub fn register(registry: &Registry, clock: &Clock) -> Result<(), Error> {
    let metrics = ProcessMetrics {
        started: Gauge::new(
            "process_start_time_seconds",
            "Start of the process, in seconds since 1970.",
        )?,
        cpu: Counter::new(
            "process_cpu_seconds_total",
            "User and system CPU time spent, in seconds.",
        )?,
        resident: Gauge::new("process_resident_memory_bytes", "Resident memory, in bytes.")?,
    };
    #[expect(clippy::cast_precision_loss, reason = "a float gauge; microseconds survive")]
    metrics.started.set(clock.now_unix_nanos() as f64 / 1e9);
    registry.register(Box::new(metrics))
}

impl Collector for ProcessMetrics {
    fn desc(&self) -> Vec<&Desc> {
        [self.started.desc(), self.cpu.desc(), self.resident.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = self.started.collect();
        if let Some(seconds) = fs::read_to_string("/proc/self/stat")
            .ok()
            .as_deref()
            .and_then(cpu_seconds)
        {
            self.cpu.inc_by((seconds - self.cpu.get()).max(0.0));
            families.extend(self.cpu.collect());
        }
        if let Some(bytes) = fs::read_to_string("/proc/self/status")
            .ok()
            .as_deref()
            .and_then(resident_bytes)
        {
            self.resident.set(bytes);
            families.extend(self.resident.collect());
        }
        families
    }
}

/// Fields 14 and 15 of proc_pid_stat(5). The name in parentheses may itself contain spaces.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

/// `VmRSS` of proc_pid_status(5), which is in KiB.
fn resident_bytes(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    Some(kibibytes * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_after_a_name_with_spaces_and_parentheses() {
        let stat = "42 (my (odd) name) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 100";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds("42 (cut"), None);
    }

    #[test]
    fn resident_memory_is_read_in_kibibytes() {
        assert_eq!(
            resident_bytes("Name:\tx\nVmRSS:\t    2048 kB\nThreads: 1"),
            Some(2_097_152.0)
        );
        assert_eq!(resident_bytes("Name:\tx\n"), None);
    }

    #[test]
    fn a_process_reports_its_start_and_its_memory() {
        let registry = Registry::new();
        let (clock, _hand) = Clock::manual(1_500_000_000);
        register(&registry, &clock).expect("new names");
        let text = crate::metrics::text(&registry).expect("text");
        assert!(text.contains("\nprocess_start_time_seconds 1.5\n"), "{text}");
        assert!(text.contains("\nprocess_cpu_seconds_total "), "{text}");
        assert!(text.contains("\nprocess_resident_memory_bytes "), "{text}");
    }
}
