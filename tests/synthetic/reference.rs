//! Portfolios, instruments and business dates, some late, some changing, some missing.

use super::market::Day;
use super::{CURRENCIES, Draft, Size, instrument_currency, portfolio, rejected, security};

/// Portfolios: the last never comes, the two before it come late, three change.
pub(super) fn portfolios(seed: u64, size: Size) -> Draft {
    let header = "step,portfolio_id,base_currency,open_date,cost_basis_method,source_version";
    let mut draft = Draft::new(seed, "portfolios", header);
    for number in 0..size.portfolios - 1 {
        let is_late = number + 3 >= size.portfolios;
        let step = if is_late { 3 } else { 1 };
        let base = CURRENCIES[(number % 5) as usize];
        let method = if number % 2 == 0 { "FIFO" } else { "AVCO" };
        let id = portfolio(number);
        draft.push(step, &[&id, base, "2009-01-01", method, ""]);
        match number {
            0 => draft.push(4, &[&id, "CHF", "2009-01-01", method, "2"]),
            1 => draft.push(2, &[&id, base, "2009-01-01", "FIFO", "1"]),
            2 => {
                draft.push(3, &[&id, "USD", "2009-01-01", "AVCO", ""]);
                draft.push(4, &[&id, "USD", "2009-01-01", "AVCO", ""]);
            }
            // A version from the past: without effect.
            3 => {
                draft.push(2, &[&id, base, "2009-02-02", method, "5"]);
                draft.push(3, &[&id, "GBP", "2009-01-01", "FIFO", "4"]);
            }
            _ => {}
        }
    }
    rejected::portfolios(&mut draft);
    draft
}

/// Instruments: the last never comes, every fifth comes late, two change their currency.
pub(super) fn instruments(seed: u64, size: Size) -> Draft {
    let header = "step,security_id,currency,product_type,source_version";
    let mut draft = Draft::new(seed, "instruments", header);
    for number in 0..size.securities - 1 {
        let step = if number % 5 == 4 { 2 + draft.below(3) } else { 1 };
        let id = security(number);
        draft.push(step, &[&id, instrument_currency(number), "Equity", ""]);
        match number {
            6 => draft.push(3, &[&id, "USD", "Equity", "1"]),
            7 => draft.push(4, &[&id, "EUR", "Fund", ""]),
            8 => draft.push(2, &[&id, instrument_currency(number), "Fund", "1"]),
            _ => {}
        }
    }
    rejected::instruments(&mut draft);
    draft
}

/// Business dates: most at once, the last of them step by step, some of them late and in the past;
/// and a calendar that values nothing.
pub(super) fn calendar(seed: u64, dates: &[Day]) -> Draft {
    let header = "step,business_date,calendar_code";
    let mut draft = Draft::new(seed, "calendar", header);
    let at_once = dates.len() * 3 / 4;
    for (number, day) in dates.iter().enumerate() {
        let step = match number {
            _ if number >= at_once => 2 + (number as u64) % 3,
            _ if draft.one_in(15) => 2 + draft.below(3),
            _ => 1,
        };
        let calendar = if draft.one_in(3) { "" } else { "GLOBAL" };
        draft.push(step, &[day.name(), calendar]);
        if draft.one_in(10) {
            draft.push(4, &[day.name(), "GLOBAL"]);
        }
    }
    for calendar in ["LSE", "global"] {
        draft.push(1, &["2011-12-31", calendar]);
    }
    rejected::calendar(&mut draft);
    draft
}
