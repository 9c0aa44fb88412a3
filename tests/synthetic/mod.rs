//! A folder of inputs of any size, made from one seed: everything that a feed may hold at once.
//!
//! Prices and rates derive from the real series in `scenarios/data`, scaled per security,
//! so that neighbours move like markets do. Over them lie the irregular parts of the contract:
//! amendments that move dates, sales before their buys, corrections, late business dates, reference
//! data that comes late or changes, and rows of every kind that must be rejected.
//!
//! It refuses to know what should come of it; that is the naive model's work.
//!
//! # Invariants
//! - One seed and one size give the same files, byte for byte.

mod market;
mod messages;
mod reference;
mod rejected;
mod trades;

use std::fs;
use std::path::Path;

use backdate::world::random::{below, stream};
use rand_chacha::ChaCha8Rng;

pub(crate) use messages::messages;

/// How much there is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) portfolios: u64,
    pub(crate) securities: u64,
    /// Transactions, amendments not counted.
    pub(crate) transactions: u64,
    /// Business dates.
    pub(crate) days: usize,
}

impl Size {
    /// Enough for every branch, few enough for a development build.
    pub(crate) const MODERATE: Self =
        Self { portfolios: 8, securities: 16, transactions: 600, days: 40 };
    /// For a release build.
    pub(crate) const FULL: Self =
        Self { portfolios: 20, securities: 50, transactions: 5_000, days: 120 };
}

/// Currencies of portfolios, instruments, quotes and trades.
const CURRENCIES: [&str; 5] = ["USD", "EUR", "GBP", "JPY", "CHF"];
/// A currency that no rate knows.
const UNKNOWN_CURRENCY: &str = "SEK";
/// A currency worth so much that products leave 18 digits.
const HUGE_CURRENCY: &str = "XAU";
const STEPS: u64 = 4;

/// Random numbers of one file, and the rows that it has so far.
struct Draft {
    rng: ChaCha8Rng,
    header: &'static str,
    rows: Vec<(u64, String)>,
}

impl Draft {
    fn new(seed: u64, label: &str, header: &'static str) -> Self {
        Self { rng: stream(seed, &format!("synthetic/{label}")), header, rows: Vec::new() }
    }

    fn below(&mut self, bound: u64) -> u64 {
        below(&mut self.rng, bound)
    }

    /// Whether something happens that happens once in `n` times.
    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// A step, the first one half of the time.
    fn step(&mut self) -> u64 {
        if self.one_in(2) { 1 } else { 1 + self.below(STEPS) }
    }

    /// A step at or after another.
    fn step_from(&mut self, step: u64) -> u64 {
        step + self.below(STEPS - step + 1)
    }

    fn push(&mut self, step: u64, cells: &[&str]) {
        let columns = self.header.split(',').count() - 1;
        assert_eq!(cells.len(), columns, "cells of {cells:?} and columns of {}", self.header);
        self.rows.push((step, cells.join(",")));
    }

    /// Rows by step; within one they keep the order in which they were drawn.
    fn write(mut self, folder: &Path, name: &str) {
        self.rows.sort_by_key(|(step, _)| *step);
        let lines = self.rows.iter().map(|(step, row)| format!("{step},{row}\n"));
        let text: String = std::iter::once(format!("{}\n", self.header)).chain(lines).collect();
        fs::write(folder.join(name), text).expect("the folder is writable");
    }
}

/// Text of a number of ten-thousandths.
fn decimal(ten_thousandths: u64) -> String {
    format!("{}.{:04}", ten_thousandths / 10_000, ten_thousandths % 10_000)
}

fn portfolio(number: u64) -> String {
    format!("PF_{number:02}")
}

fn security(number: u64) -> String {
    format!("SEC_{number:02}")
}

/// The currency of a security's instrument, before any change.
fn instrument_currency(number: u64) -> &'static str {
    match number {
        3 => UNKNOWN_CURRENCY,
        4 => HUGE_CURRENCY,
        _ => CURRENCIES[(number % 5) as usize],
    }
}

/// Writes all files into a folder.
pub(crate) fn generate(seed: u64, size: Size, folder: &Path) {
    let dates = market::business_dates(size.days);
    reference::portfolios(seed, size).write(folder, "portfolios.csv");
    reference::instruments(seed, size).write(folder, "instruments.csv");
    reference::calendar(seed, &dates).write(folder, "business_dates.csv");
    market::rates(seed, &dates).write(folder, "fx_rates.csv");
    market::prices(seed, size, &dates).write(folder, "market_prices.csv");
    trades::transactions(seed, size, &dates).write(folder, "transactions.csv");
}

#[test]
fn one_seed_gives_the_same_files_and_another_seed_gives_others() {
    let text = |seed: u64| {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        generate(seed, Size::MODERATE, folder.path());
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).expect("written");
        ["transactions.csv", "market_prices.csv", "portfolios.csv"].map(read)
    };
    assert_eq!(text(1), text(1));
    assert_ne!(text(1), text(2));
    assert!(text(1)[0].lines().count() > 600);
}
