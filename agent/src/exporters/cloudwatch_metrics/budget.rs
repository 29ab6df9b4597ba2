//! How many series are sent, and what that costs in a month. Beyond the budget a point counts in
//! its metric's overflow series: its value is not lost, its dimensions are.
//!
//! CloudWatch bills a metric for each hour in which it was sent, so a series that was not sent for
//! an hour gives its place back.

use std::collections::HashMap;
use std::time::Duration;

/// A series that was not sent for so long is not billed.
const BILLED: Duration = Duration::from_hours(1);
/// Places for overflow series beside the budget, as a share of it, and at least.
const OVERFLOW_SHARE: usize = 10;
const OVERFLOW_LEAST: usize = 10;
/// The places are searched for free ones so often at most.
const SEARCH_PAUSE: Duration = Duration::from_secs(10);

const HOURS_OF_MONTH: f64 = 730.0;
/// Up to how many metrics each costs so many dollars a month, in us-east-1.
///
/// Source: Amazon CloudWatch pricing, custom metrics and `PutMetricData`, as of November 2026.
const TIERS: [(f64, f64); 4] = [
    (10_000.0, 0.30),
    (250_000.0, 0.10),
    (1_000_000.0, 0.05),
    (f64::INFINITY, 0.02),
];
/// Dollars for a thousand requests.
const REQUESTS_PRICE: f64 = 0.01;

/// The series that have a place.
#[derive(Debug)]
pub struct Budget {
    most: usize,
    series: Places,
    overflows: Places,
}

#[derive(Debug)]
struct Places {
    most: usize,
    /// When each was last sent, in nanoseconds since the epoch.
    sent: HashMap<u128, u64>,
    searched: u64,
}

impl Budget {
    /// So many series, and a tenth of it for the overflow of as many metrics.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            series: Places::new(most),
            overflows: Places::new((most / OVERFLOW_SHARE).max(OVERFLOW_LEAST)),
        }
    }

    /// Whether the series may be sent now.
    pub fn admits(&mut self, series: u128, now: u64) -> bool {
        self.series.admits(series, now)
    }

    /// Whether this overflow series may.
    pub fn admits_overflow(&mut self, series: u128, now: u64) -> bool {
        self.overflows.admits(series, now)
    }

    /// How many series are billed.
    pub fn billed(&self) -> usize {
        self.series.sent.len() + self.overflows.sent.len()
    }

    /// How many may be.
    pub fn most(&self) -> usize {
        self.most + self.overflows.most
    }
}

impl Places {
    fn new(most: usize) -> Self {
        Self {
            most,
            sent: HashMap::new(),
            searched: 0,
        }
    }

    fn admits(&mut self, series: u128, now: u64) -> bool {
        if let Some(sent) = self.sent.get_mut(&series) {
            *sent = now;
            return true;
        }
        if self.sent.len() >= self.most && now.saturating_sub(self.searched) >= nanos(SEARCH_PAUSE) {
            self.searched = now;
            self.sent
                .retain(|_, sent| now.saturating_sub(*sent) < nanos(BILLED));
        }
        let is_free = self.sent.len() < self.most;
        if is_free {
            self.sent.insert(series, now);
        }
        is_free
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Dollars a month for so many series and requests per second. Series that other nodes send too
/// are billed once for all, and an account's other metrics may make them cheaper: an upper bound.
pub fn monthly_dollars(series: usize, requests_per_second: f64) -> f64 {
    let series = series as f64;
    let (mut dollars, mut from) = (0.0, 0.0);
    for (to, price) in TIERS {
        dollars += (series.min(to) - from).max(0.0) * price;
        from = to;
    }
    let requests = requests_per_second * 3600.0 * HOURS_OF_MONTH;
    dollars + requests / 1000.0 * REQUESTS_PRICE
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000_000_000;

    #[test]
    fn beyond_the_budget_nothing_is_admitted_until_a_place_is_free() {
        let mut budget = Budget::new(2);
        assert!(budget.admits(1, HOUR) && budget.admits(2, HOUR));
        assert!(!budget.admits(3, HOUR + 1));
        assert!(budget.admits(1, 2 * HOUR - 1), "it has a place");
        assert!(!budget.admits(3, 2 * HOUR - 1), "both were sent within the hour");
        assert!(
            budget.admits(3, 2 * HOUR + HOUR / 2),
            "the second was not sent for an hour"
        );
        assert_eq!(budget.billed(), 2);
    }

    #[test]
    fn overflow_series_have_places_of_their_own_and_not_more() {
        let mut budget = Budget::new(0);
        assert!(!budget.admits(1, HOUR));
        let admitted = (0..50)
            .filter(|metric| budget.admits_overflow(*metric, HOUR))
            .count();
        assert_eq!((admitted, budget.billed(), budget.most()), (10, 10, 10));
    }

    #[test]
    fn the_price_falls_by_tiers() {
        let dollars = |series| (monthly_dollars(series, 0.0) * 100.0).round() / 100.0;
        assert_eq!(dollars(500), 150.0);
        assert_eq!(dollars(10_000), 3000.0);
        assert_eq!(dollars(10_010), 3001.0);
        assert_eq!(dollars(250_000), 27_000.0);
        assert_eq!(dollars(1_100_000), 66_500.0);
        let requests = monthly_dollars(0, 1.0 / 60.0);
        assert!(
            (requests - 0.438).abs() < 1e-9,
            "43,800 requests a month: {requests}"
        );
    }
}
