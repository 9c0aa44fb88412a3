//! Prices and rates, derived from the real series.
//!
//! # Invariants
//! - A security's price follows one real close, scaled by a factor of its own.

use std::collections::BTreeMap;
use std::path::Path;

use backdate_engine::domain::time::Date;

use super::{Draft, HUGE_CURRENCY, Size, decimal, instrument_currency, rejected, security};
use crate::support::read_csv;

/// Number of the first business date that is used, of the 754 of the series.
const FIRST: usize = 200;

/// A business date and the calendar day that it is.
#[derive(Clone, Debug)]
pub(super) struct Day {
    pub(super) date: Date,
    name: String,
}

impl Day {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn of(date: Date) -> Self {
        Self { date, name: date.to_string() }
    }
}

fn series(name: &str) -> Vec<BTreeMap<String, String>> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = tests.join("../scenarios/data").join(name);
    read_csv(&path).unwrap_or_else(|| panic!("{} is missing", path.display()))
}

/// Business dates in a row, from the middle of the real calendar.
pub(super) fn business_dates(days: usize) -> Vec<Day> {
    let rows = series("business_dates.csv");
    let parse = |row: &BTreeMap<String, String>| {
        Date::parse(&row["business_date"]).expect("the series has valid dates")
    };
    let dates: Vec<Day> = rows.iter().map(parse).map(Day::of).skip(FIRST).take(days).collect();
    assert_eq!(dates.len(), days, "the series is long enough");
    dates
}

/// A real series in ten-thousandths, by date.
fn values(
    rows: &[BTreeMap<String, String>],
    columns: [&str; 3],
    name: &str,
) -> BTreeMap<Date, u64> {
    let [of, date, value] = columns;
    rows.iter()
        .filter(|row| row[of] == name)
        .map(|row| {
            let value: f64 = row[value].parse().expect("the series has valid numbers");
            let date = Date::parse(&row[date]).expect("the series has valid dates");
            (date, (value * 10_000.0).round() as u64)
        })
        .collect()
}

/// Prices: one in twelve days without, a quote in another currency here and there, weekends,
/// corrections, versions from the past.
pub(super) fn prices(seed: u64, size: Size, dates: &[Day]) -> Draft {
    let header = "step,security_id,price_date,price,currency,source_version";
    let mut draft = Draft::new(seed, "prices", header);
    let rows = series("market_prices.csv");
    let closes = ["AAPL", "IBM", "MSFT", "SP500"]
        .map(|name| values(&rows, ["security_id", "price_date", "price"], name));
    for number in 0..size.securities {
        // Some are never priced, some only from the middle on.
        if number == 5 {
            continue;
        }
        let first = if number == 9 { dates.len() / 2 } else { 0 };
        let factor = 100 + draft.below(9_900);
        let id = security(number);
        let own = instrument_currency(number);
        let currency = match number % 6 {
            1 => "USD",
            2 if own != HUGE_CURRENCY => "EUR",
            _ => own,
        };
        for day in &dates[first..] {
            let close = closes[(number % 4) as usize].get(&day.date).copied();
            let close = close.expect("a business date has a close");
            price(&mut draft, [&id, currency], day, close * factor / 5_000);
        }
    }
    rejected::prices(&mut draft);
    draft
}

fn price(draft: &mut Draft, [id, currency]: [&str; 2], day: &Day, value: u64) {
    if draft.one_in(12) {
        return;
    }
    let step = if draft.one_in(10) { draft.step() } else { 1 };
    draft.push(step, &[id, day.name(), &decimal(value), currency, ""]);
    if draft.one_in(40) {
        let weekend = Day::of(day.date.next());
        draft.push(step, &[id, weekend.name(), &decimal(value + 7), currency, "-1"]);
    }
    if draft.one_in(25) {
        let corrected = value * (95 + draft.below(10)) / 100;
        let step = draft.step_from(step);
        draft.push(step, &[id, day.name(), &decimal(corrected), currency, "2"]);
        let late = draft.step_from(step);
        draft.push(late, &[id, day.name(), &decimal(value + 1), currency, "1"]);
        // The same content under a higher version, then other content under the same.
        if draft.one_in(3) {
            draft.push(late, &[id, day.name(), &decimal(corrected), currency, "3"]);
            draft.push(late, &[id, day.name(), &decimal(corrected + 5), currency, "3"]);
        }
    }
}

/// Rates: the euro's own for four currencies, two pairs quoted directly from some day on, one that
/// begins late, one of a currency that overflows; and corrections.
pub(super) fn rates(seed: u64, dates: &[Day]) -> Draft {
    let header = "step,from_currency,to_currency,rate_date,rate,source_version";
    let mut draft = Draft::new(seed, "rates", header);
    let rows = series("fx_rates.csv");
    for currency in ["USD", "GBP", "JPY", "CHF"] {
        let values = values(&rows, ["to_currency", "rate_date", "rate"], currency);
        for (number, day) in dates.iter().enumerate() {
            let Some(value) = values.get(&day.date) else { continue };
            // The first rates of the franc come late: what needs them waits parked.
            let is_late = currency == "CHF" && number < dates.len() / 3;
            let step = if is_late { 3 } else { 1 };
            rate(&mut draft, ["EUR", currency], day, *value, step);
            if currency == "GBP" && draft.one_in(4) {
                rate(&mut draft, ["GBP", "USD"], day, 15_000 + spread(number), step);
            }
            if currency == "JPY" && number > dates.len() / 2 {
                rate(&mut draft, ["USD", "JPY"], day, 810_000 + spread(number), step);
            }
        }
    }
    draft.push(1, &[HUGE_CURRENCY, "EUR", dates[0].name(), "900000000000", ""]);
    rejected::rates(&mut draft);
    draft
}

fn spread(number: usize) -> u64 {
    (number as u64 * 37) % 500
}

fn rate(draft: &mut Draft, [from, to]: [&str; 2], day: &Day, value: u64, step: u64) {
    draft.push(step, &[from, to, day.name(), &decimal(value), ""]);
    if draft.one_in(20) {
        let corrected = value * (98 + draft.below(4)) / 100;
        let step = draft.step_from(step);
        draft.push(step, &[from, to, day.name(), &decimal(corrected), "1"]);
        draft.push(step, &[from, to, day.name(), &decimal(value + 9), ""]);
    }
}
