//! Latencies by hop: of the whole run, and of intervals for whoever takes them.
//!
//! # Invariants
//! - Intervals are of the same shape as the whole: added up, they equal what the whole gained
//!   meanwhile.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::latency_log::Histograms;
use crate::recording::SimTime;
use crate::summary::Latency;

/// Latencies by hop.
#[derive(Default)]
pub(super) struct Latencies {
    whole: Histograms,
    /// Since they were last taken; none if nobody takes them.
    interval: Option<Histograms>,
}

impl Latencies {
    pub(super) fn record(&mut self, hop: &'static str, from: SimTime, to: SimTime) {
        let micros = u64::try_from(to.since(from).as_micros()).unwrap_or(u64::MAX);
        for histograms in std::iter::once(&mut self.whole).chain(&mut self.interval) {
            // Not `saturating_record`: that clamps to the size so far instead of growing.
            let histogram = histograms.entry(hop).or_insert_with(histogram);
            histogram.record(micros).expect("a histogram without a bound grows to any value");
        }
    }

    pub(super) fn keep_intervals(&mut self) {
        self.interval.get_or_insert_default();
    }

    pub(super) fn end_interval(&mut self) -> Histograms {
        self.interval.as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub(super) fn summary(&self) -> BTreeMap<String, Latency> {
        let hops = self.whole.iter();
        hops.map(|(hop, histogram)| ((*hop).to_owned(), latency(histogram))).collect()
    }
}

/// An empty one, with room for an hour before it has to grow.
fn histogram() -> Histogram<u64> {
    let mut histogram =
        Histogram::new_with_max(3_600_000_000, 3).expect("an hour in microseconds is in range");
    histogram.auto(true);
    histogram
}

fn latency(histogram: &Histogram<u64>) -> Latency {
    let ms = |micros: u64| micros as f64 / 1_000.0;
    Latency {
        p50: ms(histogram.value_at_quantile(0.5)),
        p99: ms(histogram.value_at_quantile(0.99)),
        p999: ms(histogram.value_at_quantile(0.999)),
        max: ms(histogram.max()),
        count: histogram.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_is_measured_whatever_its_size() {
        let mut latencies = Latencies::default();
        for micros in [1, 900, 250_000, 86_400_000_000] {
            latencies.record("replay", SimTime(0), SimTime(micros * 1_000));
        }
        let measured = latencies.summary()["replay"];
        assert_eq!(measured.count, 4);
        assert!((measured.p50 - 0.9).abs() < 0.01, "{measured:?}");
        assert!((measured.max / 86_400_000.0 - 1.0).abs() < 0.001, "{measured:?}");
    }

    #[test]
    fn intervals_are_kept_when_somebody_takes_them() {
        let mut latencies = Latencies::default();
        latencies.record("replay", SimTime(0), SimTime(1_000));
        assert!(latencies.end_interval().is_empty());
        latencies.keep_intervals();
        for micros in [2, 3] {
            latencies.record("replay", SimTime(0), SimTime(micros * 1_000));
            let interval = latencies.end_interval();
            assert_eq!((interval["replay"].len(), interval["replay"].max()), (1, micros));
        }
        assert!(latencies.end_interval().is_empty());
        assert_eq!(latencies.summary()["replay"].count, 3);
    }
}
