//! Transactions of all types, their amendments, and the rows among them that must be rejected.

use super::market::Day;
use super::{
    CURRENCIES, Draft, HUGE_CURRENCY, STEPS, Size, decimal, instrument_currency, rejected,
};
use super::{portfolio, security};

pub(super) const HEADER: &str = "step,transaction_id,portfolio_id,instrument_id,security_id,\
    transaction_ts,transaction_type,quantity,price,gross_transaction_amount,trade_fee,\
    trade_currency,currency,accrued_interest,calculation_policy_id,settlement_date,source_version";

const EXCLUDE_ACCRUED: &str = "BUY_EXCLUDE_ACCRUED_INTEREST_FROM_BOOK_COST";

/// Types, each as often as it is listed.
const KINDS: [&str; 20] = [
    "BUY",
    "BUY",
    "BUY",
    "BUY",
    "BUY",
    "BUY",
    "SELL",
    "SELL",
    "SELL",
    "SELL",
    "TRANSFER_IN",
    "TRANSFER_OUT",
    "DEPOSIT",
    "WITHDRAWAL",
    "FEE",
    "TAX",
    "DIVIDEND",
    "INTEREST",
    "BUY",
    "SELL",
];

/// What of a transaction an amendment may change.
#[derive(Clone)]
pub(super) struct Trade {
    pub(super) id: String,
    pub(super) portfolio: String,
    pub(super) security: String,
    pub(super) at: String,
    pub(super) kind: &'static str,
    /// In ten-thousandths, like all amounts.
    pub(super) quantity: u64,
    pub(super) price: u64,
    pub(super) fee: u64,
    pub(super) currency: &'static str,
    pub(super) accrued: u64,
}

/// All transactions.
pub(super) fn transactions(seed: u64, size: Size, dates: &[Day]) -> Draft {
    let mut draft = Draft::new(seed, "transactions", HEADER);
    for number in 0..size.transactions {
        let trade = draw(&mut draft, number, size, dates);
        let step = draft.step();
        let version = if draft.one_in(10) { "1" } else { "" };
        push(&mut draft, step, &trade, version);
        if draft.one_in(14) {
            amend(&mut draft, step, &trade, size, dates);
        }
        if draft.one_in(30) {
            // Delivered a second time, word for word.
            let step = draft.step_from(step);
            push(&mut draft, step, &trade, version);
        }
    }
    huge(&mut draft, dates);
    rejected::transactions(&mut draft, dates);
    draft
}

fn draw(draft: &mut Draft, number: u64, size: Size, dates: &[Day]) -> Trade {
    let holder = draft.below(size.portfolios);
    // Each portfolio holds a third of the securities; the first ones are held by all.
    let slot = draft.below(2 + size.securities / 3);
    let held = if slot < 4 { slot } else { (holder * 7 + slot * 3) % size.securities };
    let own = instrument_currency(held);
    // A trade in another currency than the instrument's is counted, never converted.
    let currency = if draft.one_in(12) { draft.pick(&CURRENCIES) } else { own };
    let kind = draft.pick(&KINDS);
    let is_sale = matches!(kind, "SELL" | "TRANSFER_OUT");
    let units = if is_sale { draft.below(600_000) } else { draft.below(2_000_000) };
    Trade {
        id: format!("TX_{number:05}"),
        portfolio: portfolio(holder),
        security: security(held),
        at: instant(draft, dates),
        kind,
        quantity: 1 + units,
        price: 10_000 + draft.below(3_000_000),
        fee: if draft.one_in(2) { 0 } else { draft.below(10_000) },
        currency,
        accrued: if draft.one_in(8) { 1 + draft.below(50_000) } else { 0 },
    }
}

/// An instant on any calendar day around the business dates, in one of the forms of timestamps;
/// round hours, so that several fall together.
fn instant(draft: &mut Draft, dates: &[Day]) -> String {
    let number = draft.below(dates.len() as u64 + 2) as usize;
    let date = match number {
        _ if number == dates.len() => dates[0].date.previous().to_string(),
        _ if number > dates.len() => dates[dates.len() - 1].date.next().to_string(),
        _ if draft.one_in(12) => dates[number].date.next().to_string(),
        _ => dates[number].name().to_owned(),
    };
    let hour = draft.below(24);
    match draft.below(6) {
        0 => format!("{date}T{hour:02}:00:00"),
        1 => format!("{date}T{hour:02}:30:00+02:00"),
        2 => format!("{date}T{hour:02}:00:00-05:00"),
        3 => format!("{date}T{hour:02}:15:00.{:06}Z", draft.below(1_000_000)),
        _ => format!("{date}T{hour:02}:00:00Z"),
    }
}

/// A correction with a higher version, sometimes followed by one that is out of date or a second
/// one of equal version.
fn amend(draft: &mut Draft, step: u64, trade: &Trade, size: Size, dates: &[Day]) {
    let mut amended = trade.clone();
    match draft.below(5) {
        0 => amended.at = instant(draft, dates),
        1 => amended.quantity = 1 + trade.quantity / 2,
        2 => amended.kind = draft.pick(&KINDS),
        3 => amended.price += 10_000,
        _ => {
            amended.at = instant(draft, dates);
            amended.quantity = trade.quantity * 2;
            amended.currency = draft.pick(&CURRENCIES);
        }
    }
    let step = draft.step_from(step);
    push(draft, step, &amended, "3");
    if draft.one_in(3) {
        let step = draft.step_from(step);
        push(draft, step, trade, "2");
    }
    if draft.one_in(3) {
        let step = draft.step_from(step);
        amended.fee += 100;
        push(draft, step, &amended, "3");
    }
    if draft.one_in(4) {
        // Another key: rejected, the good version stays.
        let step = draft.step_from(step);
        amended.portfolio = portfolio(size.portfolios + 1);
        push(draft, step, &amended, "9");
    }
}

/// Amounts whose base cost or value does not fit.
fn huge(draft: &mut Draft, dates: &[Day]) {
    for (number, kind) in ["BUY", "DEPOSIT", "DIVIDEND"].into_iter().enumerate() {
        let id = format!("HUGE_{number}");
        let at = format!("{}T09:00:00Z", dates[2 + number].name());
        let step = 1 + number as u64 % STEPS;
        let cells = [
            &id,
            "PF_01",
            "I",
            "SEC_04",
            &at,
            kind,
            "900000000",
            "1",
            "999999999999.9999",
            "0",
            HUGE_CURRENCY,
            HUGE_CURRENCY,
            "",
            "",
            "",
            "",
        ];
        draft.push(step, &cells);
    }
}

/// A row; the gross amount is quantity times price.
pub(super) fn push(draft: &mut Draft, step: u64, trade: &Trade, version: &str) {
    let gross = u128::from(trade.quantity) * u128::from(trade.price) / 10_000;
    let gross = decimal(u64::try_from(gross).expect("a gross amount is far below the limit"));
    let accrued = if trade.accrued == 0 { String::new() } else { decimal(trade.accrued) };
    let is_excluded = trade.accrued % 2 == 1;
    // A fee above the gross amount of a sale is for the rejected rows alone.
    let fee = if trade.kind == "SELL" { trade.fee.min(1) } else { trade.fee };
    let cells = [
        trade.id.as_str(),
        &trade.portfolio,
        "I",
        &trade.security,
        &trade.at,
        trade.kind,
        &decimal(trade.quantity),
        &decimal(trade.price),
        &gross,
        &decimal(fee),
        trade.currency,
        trade.currency,
        &accrued,
        if is_excluded { EXCLUDE_ACCRUED } else { "" },
        "2011-02-28",
        version,
    ];
    draft.push(step, &cells);
}
