//! The load: portfolios that all hold the same securities, and what happens to them.

use backdate_engine::domain::time::Date;
use backdate_engine::ports::log::{NewRecord, Topic};
use serde_json::{Value, json};

use super::engine::{Engine, records};

/// The first business date: 2025-01-01.
const FIRST: i32 = 20_089;
/// Transactions that each key gets by the live load.
const LIVE_PER_KEY: usize = 4;
/// Units of one trade. All trades buy, so the units of a position tell how many it holds.
pub(super) const UNITS: usize = 10;

/// How much there is of everything.
pub(super) struct Load {
    portfolios: usize,
    securities: usize,
    dates: usize,
}

impl Load {
    /// 20,000 keys over 60 dates; a tenth of the keys if it is to be quick.
    pub(super) fn new(is_quick: bool) -> Self {
        Self::sized(if is_quick { 20 } else { 200 }, 100, 60)
    }

    /// So many portfolios that each hold so many securities, over so many dates.
    pub(super) fn sized(portfolios: usize, securities: usize, dates: usize) -> Self {
        Self { portfolios, securities, dates }
    }

    /// Portfolios times securities.
    pub(super) fn key_count(&self) -> usize {
        self.portfolios * self.securities
    }

    /// Keys times dates.
    pub(super) fn key_dates(&self) -> usize {
        self.key_count() * self.dates
    }

    /// Transactions of the live load.
    pub(super) fn live_count(&self) -> usize {
        self.key_count() * LIVE_PER_KEY
    }

    fn keys(&self) -> impl Iterator<Item = (String, String)> + '_ {
        (0..self.portfolios)
            .flat_map(|p| (0..self.securities).map(move |s| (format!("P{p:05}"), security(s))))
    }

    fn date(&self, day: usize) -> String {
        Date::from_days(FIRST + i32::try_from(day).expect("few days")).to_string()
    }

    /// Sends portfolios, instruments, one business date, prices, and one trade a key.
    pub(super) async fn initial_state(&self, engine: &mut Engine) {
        let portfolio = |p: usize| {
            let id = format!("P{p:05}");
            let message = json!({
                "portfolio_id": id, "base_currency": "EUR", "open_date": self.date(0),
                "cost_basis_method": "FIFO",
            });
            (id, message)
        };
        engine.send(Topic::RawPortfolios, (0..self.portfolios).map(portfolio)).await;
        let instrument = |s: usize| {
            let id = security(s);
            let message = json!({
                "security_id": id, "currency": "EUR", "product_type": "Equity",
                "name": id, "isin": id,
            });
            (id, message)
        };
        engine.send(Topic::Instruments, (0..self.securities).map(instrument)).await;
        engine.send(Topic::RawBusinessDates, [self.business_date(0)]).await;
        let prices = (0..self.securities)
            .flat_map(|s| (0..=self.dates).map(move |day| (s, day)))
            .map(|(s, day)| self.price(s, day, 0));
        engine.send(Topic::MarketPrices, prices).await;
        let trades =
            self.keys().map(|(p, s)| trade(&p, &s, &format!("{p}-{s}-0"), &self.date(0), 540));
        engine.send(Topic::RawTransactions, trades).await;
    }

    /// All further business dates.
    pub(super) fn business_dates(&self) -> Vec<NewRecord> {
        let dates = (1..=self.dates).map(|day| self.business_date(day));
        records(Topic::RawBusinessDates, dates)
    }

    /// For every security another price of the first of those dates; each correction has a higher
    /// version than the one before.
    pub(super) fn corrections(&self, version: u32) -> Vec<NewRecord> {
        records(Topic::MarketPrices, (0..self.securities).map(|s| self.price(s, 1, version)))
    }

    /// Trades of the latest business date, the keys in turn.
    pub(super) fn live(&self) -> Vec<NewRecord> {
        self.more_trades(0, self.live_count())
    }

    /// So many trades of the latest business date, after as many as were sent `before`.
    pub(super) fn more_trades(&self, before: usize, count: usize) -> Vec<NewRecord> {
        let today = self.latest();
        let trades = self.turns(before).take(count).map(|(n, (p, s))| {
            let minute = u32::try_from(9 * 60 + n).expect("few trades a key");
            trade(&p, &s, &format!("{p}-{s}-{n}"), &today, minute)
        });
        records(Topic::RawTransactions, trades)
    }

    /// The keys in turn, each with the number of its trade, from the one after `before` on.
    pub(super) fn turns(
        &self,
        before: usize,
    ) -> impl Iterator<Item = (usize, (String, String))> + '_ {
        let turns =
            (1 + before / self.key_count()..).flat_map(|n| self.keys().map(move |k| (n, k)));
        turns.skip(before % self.key_count())
    }

    /// One trade a key before all others.
    pub(super) fn late(&self) -> Vec<NewRecord> {
        let first = self.date(0);
        let trades =
            self.keys().map(|(p, s)| trade(&p, &s, &format!("{p}-{s}-late"), &first, 8 * 60));
        records(Topic::RawTransactions, trades)
    }

    /// Trades of the earliest date after the first of each key, in the order of their seconds, so
    /// many a key, after as many as it got `before`; the ids begin with the kind.
    pub(super) fn seconds(&self, kind: &str, before: usize, count: usize) -> Vec<NewRecord> {
        let first = self.date(0);
        let numbers = before..before + count;
        let trades =
            numbers.flat_map(|n| self.keys().map(move |key| (n, key))).map(|(n, (p, s))| {
                // The first trade is at nine.
                let second = u32::try_from(9 * 3600 + 1 + n).expect("few trades a key");
                let id = format!("{p}-{s}-{kind}-{n}");
                trade_at(&p, &s, &id, kind, &format!("{first}T{}Z", time(second)))
            });
        records(Topic::RawTransactions, trades)
    }

    /// The latest business date.
    pub(super) fn latest(&self) -> String {
        self.date(self.dates)
    }

    fn business_date(&self, day: usize) -> (String, Value) {
        let message = json!({ "business_date": self.date(day), "calendar_code": "GLOBAL" });
        ("GLOBAL".to_owned(), message)
    }

    fn price(&self, s: usize, day: usize, source_version: u32) -> (String, Value) {
        let price = format!("{}.{:02}", 100 + s, (day * 7 + s + source_version as usize) % 100);
        let message = json!({
            "security_id": security(s), "price_date": self.date(day), "price": price,
            "currency": "EUR", "source_version": source_version,
        });
        (security(s), message)
    }
}

fn security(s: usize) -> String {
    format!("SEC{s:04}")
}

fn trade(portfolio: &str, security: &str, id: &str, date: &str, minute: u32) -> (String, Value) {
    trade_at(portfolio, security, id, "BUY", &format!("{date}T{}Z", time(60 * minute)))
}

/// Time of a day, from its second.
fn time(second: u32) -> String {
    format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

fn trade_at(portfolio: &str, security: &str, id: &str, kind: &str, at: &str) -> (String, Value) {
    let message = json!({
        "transaction_id": id, "portfolio_id": portfolio, "instrument_id": security,
        "security_id": security, "transaction_date": at, "transaction_type": kind,
        "quantity": UNITS.to_string(), "price": "101.25",
        "gross_transaction_amount": "1012.5", "trade_fee": "1.5", "trade_currency": "EUR",
        "currency": "EUR",
    });
    (portfolio.to_owned(), message)
}
