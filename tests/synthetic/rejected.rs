//! Rows of every kind that must be rejected, with the good ones that they must leave alone.

use super::Draft;
use super::market::Day;
use super::trades::{Trade, push};

/// Unknown method, missing field, malformed version.
pub(super) fn portfolios(draft: &mut Draft) {
    draft.push(2, &["PF_00", "USD", "2009-01-01", "LIFO", "9"]);
    draft.push(2, &["PF_00", "", "2009-01-01", "FIFO", "9"]);
    draft.push(3, &["PF_BAD", "USD", "2009-01-01", "FIFO", "first"]);
}

/// Missing field, malformed version.
pub(super) fn instruments(draft: &mut Draft) {
    draft.push(2, &["SEC_00", "", "Equity", "9"]);
    draft.push(2, &["", "USD", "Equity", ""]);
    draft.push(3, &["SEC_01", "JPY", "Equity", "1.5"]);
}

/// No day, no date.
pub(super) fn calendar(draft: &mut Draft) {
    draft.push(2, &["2011-02-30", "GLOBAL"]);
    draft.push(3, &["", "GLOBAL"]);
    draft.push(3, &["tomorrow", ""]);
}

/// Not above zero, before or after rounding; too large; no number; no date.
pub(super) fn rates(draft: &mut Draft) {
    for (step, rate) in (0..).zip(["0", "-1.2", "0.00000000004", "1000000000000", "1,5", ""]) {
        let cell = if rate.contains(',') { "\"1,5\"" } else { rate };
        draft.push(1 + step % 4, &["EUR", "USD", "2010-11-01", cell, "9"]);
    }
    draft.push(2, &["EUR", "USD", "2010-13-01", "1.3", "9"]);
    draft.push(2, &["EUR", "", "2010-11-01", "1.3", "9"]);
}

/// Negative, too large, no number, no date, no currency.
pub(super) fn prices(draft: &mut Draft) {
    for (step, price) in (0..).zip(["-0.01", "1000000000000", "NaN", "1e", ""]) {
        draft.push(1 + step % 4, &["SEC_00", "2010-11-01", price, "USD", "9"]);
    }
    draft.push(2, &["SEC_00", "01.11.2010", "5", "USD", "9"]);
    draft.push(2, &["SEC_00", "2010-11-01", "5", "", "9"]);
}

/// Each rule about the content of a transaction, as a transaction of its own and as an amendment of
/// a good one.
pub(super) fn transactions(draft: &mut Draft, dates: &[Day]) {
    let at = format!("{}T11:00:00Z", dates[1].name());
    let good = Trade {
        id: "GOOD".into(),
        portfolio: "PF_00".into(),
        security: "SEC_00".into(),
        at: at.clone(),
        kind: "BUY",
        quantity: 10_000_000,
        price: 20_000,
        fee: 100,
        currency: "USD",
        accrued: 0,
    };
    push(draft, 1, &good, "1");
    // type, quantity, price, gross, fee, timestamp, currency
    let faults: [[&str; 7]; 20] = [
        ["SWAP", "1", "1", "1", "0", &at, "USD"],
        ["buy", "1", "1", "1", "0", &at, "USD"],
        ["BUY", "0", "1", "1", "0", &at, "USD"],
        ["BUY", "-5", "1", "1", "0", &at, "USD"],
        ["SELL", "0.00000000005", "1", "1", "0", &at, "USD"],
        ["TRANSFER_IN", "0", "1", "1", "0", &at, "USD"],
        ["TRANSFER_OUT", "-1", "1", "1", "0", &at, "USD"],
        ["BUY", "1", "-1", "1", "0", &at, "USD"],
        ["DIVIDEND", "1", "1", "-1", "0", &at, "USD"],
        ["FEE", "1", "1", "1", "-1", &at, "USD"],
        ["SELL", "1", "1", "1", "1.0000000001", &at, "USD"],
        ["BUY", "1000000000000", "1", "1", "0", &at, "USD"],
        ["DEPOSIT", "1", "1", "1000000000000", "0", &at, "USD"],
        ["INTEREST", "1", "1", "9999999999999999999999999999999999999999", "0", &at, "USD"],
        ["BUY", "ten", "1", "1", "0", &at, "USD"],
        ["BUY", "1", "1", "1", "0", "2010-11-01T25:00:00Z", "USD"],
        ["BUY", "1", "1", "1", "0", "", "USD"],
        ["BUY", "1", "1", "1", "0", &at, ""],
        ["", "1", "1", "1", "0", &at, "USD"],
        ["TAX", "", "1", "1", "0", &at, "USD"],
    ];
    for (number, fault) in faults.iter().enumerate() {
        let step = 1 + number as u64 % 4;
        fault_row(draft, step, &format!("BAD_{number:02}"), "SEC_00", fault);
        if number % 3 == 0 {
            fault_row(draft, step.max(2), "GOOD", "SEC_00", fault);
        }
    }
    // What would be good, but for its key.
    let good_terms = ["BUY", "1", "1", "1", "0", &at, "USD"];
    fault_row(draft, 3, "GOOD", "SEC_01", &good_terms);
    // At the edge, and accepted.
    fault_row(draft, 2, "EDGE_0", "SEC_00", &["SELL", "0.00000000006", "1", "1", "1", &at, "USD"]);
    let edge = ["DEPOSIT", "1", "0", "999999999999", "0", &at, "USD"];
    fault_row(draft, 2, "EDGE_1", "SEC_01", &edge);
}

fn fault_row(draft: &mut Draft, step: u64, id: &str, security: &str, fault: &[&str; 7]) {
    let [kind, quantity, price, gross, fee, at, currency] = *fault;
    let cells = [
        id, "PF_00", "I", security, at, kind, quantity, price, gross, fee, currency, "USD", "", "",
        "", "9",
    ];
    draft.push(step, &cells);
}
