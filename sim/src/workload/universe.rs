//! Who holds what: securities with their series, portfolios with their holdings, and trades.

use std::collections::BTreeMap;

use backdate_engine::domain::money::Amount;
use backdate_engine::domain::records::TransactionType;
use backdate_engine::domain::time::{Date, Timestamp};
use rand_chacha::ChaCha8Rng;
use smol_str::{SmolStr, format_smolstr};

use super::market::{Market, latest};
use super::messages::TransactionMessage;
use crate::scenario::format::Workload;
use crate::world::random::{below, stream};

/// Smallest part of an amount that is one cent.
const CENT: i128 = Amount::ONE.raw() / 100;
/// Trading hours, in seconds of the day: 14:30 to 21:00 UTC.
const OPENS_S: u64 = 52_200;
const TRADING_S: u64 = 23_400;

/// A security.
pub(super) struct Security {
    pub(super) id: SmolStr,
    pub(super) currency: SmolStr,
    pub(super) prices: BTreeMap<Date, Amount>,
}

/// Securities and holdings.
pub(super) struct Universe {
    pub(super) securities: Vec<Security>,
    /// Indices of the securities of each portfolio (portfolio 1 comes first).
    pub(super) holdings: Vec<Vec<usize>>,
}

impl Universe {
    pub(super) fn new(workload: &Workload, market: &Market, seed: u64) -> Self {
        let named = workload.holdings.securities.iter().map(|id| {
            let quotes = &market.quotes[id];
            let prices = quotes.prices.range(market.first_quote()..);
            Security {
                id: id.clone(),
                currency: quotes.currency.clone(),
                prices: prices.map(|(date, price)| (*date, *price)).collect(),
            }
        });
        let synthetic = (1..=workload.holdings.synthetic).map(|n| made_up(market, seed, n));
        let securities: Vec<Security> = named.chain(synthetic).collect();
        let holdings = (1..=workload.portfolios.count)
            .map(|number| {
                let mut rng = stream(seed, &format!("workload/holdings/{number}"));
                draw_holdings(&mut rng, securities.len(), workload.holdings.per_portfolio)
            })
            .collect();
        Self { securities, holdings }
    }

    /// The index of a security.
    pub(super) fn index_of(&self, id: &str) -> usize {
        let found = self.securities.iter().position(|security| security.id == id);
        found.expect("validation knows every security of the workload")
    }

    /// A portfolio (from 1) and one of its securities.
    pub(super) fn draw_key(&self, rng: &mut ChaCha8Rng) -> (u32, usize) {
        let portfolio = below(rng, self.holdings.len() as u64);
        let held = &self.holdings[usize::try_from(portfolio).expect("an index")];
        let security = held[usize::try_from(below(rng, held.len() as u64)).expect("an index")];
        (1 + u32::try_from(portfolio).expect("portfolios are counted by u32"), security)
    }

    /// A transaction at the day's price.
    pub(super) fn trade(&self, rng: &mut ChaCha8Rng, trade: &Trade<'_>) -> TransactionMessage {
        let security = &self.securities[trade.security];
        let quoted = latest(&security.prices, trade.date).map_or(Amount::ONE, |(_, price)| price);
        let drawn_ms = (OPENS_S + below(rng, TRADING_S)) * 1_000;
        let time_ms = trade.time_ms.map_or(drawn_ms, |late| (OPENS_S + TRADING_S) * 1_000 + late);
        let micros = trade.date.start().micros() + i64::try_from(time_ms).expect("a day") * 1_000;
        let (quantity, price, gross, fee) = amounts(rng, trade.kind, trade.units, quoted);
        TransactionMessage {
            transaction_id: trade.id.clone(),
            portfolio_id: super::portfolio_id(trade.portfolio).as_str().into(),
            instrument_id: format_smolstr!("I-{}", security.id),
            security_id: security.id.clone(),
            transaction_date: Timestamp::from_micros(micros),
            transaction_type: trade.kind.as_str(),
            quantity,
            price,
            gross_transaction_amount: gross,
            trade_fee: fee,
            trade_currency: security.currency.clone(),
            currency: security.currency.clone(),
            source_version: trade.source_version,
        }
    }
}

/// What is traded.
pub(super) struct Trade<'a> {
    pub(super) id: &'a SmolStr,
    pub(super) portfolio: u32,
    pub(super) security: usize,
    pub(super) kind: TransactionType,
    pub(super) date: Date,
    /// Milliseconds after the day's drawn times; none: drawn.
    pub(super) time_ms: Option<u64>,
    pub(super) units: u64,
    pub(super) source_version: u32,
}

/// Quantity, price, gross amount and fee.
fn amounts(
    rng: &mut ChaCha8Rng,
    kind: TransactionType,
    units: u64,
    quoted: Amount,
) -> (Amount, Amount, Amount, Amount) {
    let quantity = Amount::from_units(i64::try_from(units).expect("units are few"));
    match kind {
        TransactionType::Buy
        | TransactionType::Sell
        | TransactionType::TransferIn
        | TransactionType::TransferOut => {
            let gross = Amount::from_raw(quoted.raw() * i128::from(units));
            // A tenth of a percent, in whole cents; a sale never costs more than it brings.
            let fee = Amount::from_raw(gross.raw() / 1_000 / CENT * CENT);
            (quantity, quoted, gross, fee)
        }
        TransactionType::Deposit | TransactionType::Withdrawal => {
            (quantity, Amount::ONE, quantity, Amount::ZERO)
        }
        TransactionType::Fee
        | TransactionType::Tax
        | TransactionType::Dividend
        | TransactionType::Interest => {
            let gross = Amount::from_raw(CENT * i128::from(1 + below(rng, 500)));
            (Amount::ZERO, Amount::ZERO, gross, Amount::ZERO)
        }
    }
}

fn draw_holdings(rng: &mut ChaCha8Rng, count: usize, wanted: Option<u32>) -> Vec<usize> {
    let mut all: Vec<usize> = (0..count).collect();
    let Some(wanted) = wanted else { return all };
    let mut drawn: Vec<usize> = (0..wanted.min(u32::try_from(count).unwrap_or(u32::MAX)))
        .map(|_| {
            let index = below(rng, all.len() as u64);
            all.swap_remove(usize::try_from(index).expect("below the length of a list"))
        })
        .collect();
    drawn.sort_unstable();
    drawn
}

/// A security whose price walks at random from day to day.
fn made_up(market: &Market, seed: u64, number: u32) -> Security {
    let mut rng = stream(seed, &format!("workload/synthetic/{number}"));
    let mut cents = 1_000 + i128::from(below(&mut rng, 19_000));
    let mut prices = BTreeMap::new();
    for date in market.dates.iter().chain(&market.following) {
        prices.insert(*date, Amount::from_raw(cents * CENT));
        // At most 2 % up or down a day.
        let step = i128::from(below(&mut rng, 401)) - 200;
        cents = (cents + cents * step / 10_000).max(100);
    }
    Security { id: format_smolstr!("SYN{number:04}"), currency: "USD".into(), prices }
}
