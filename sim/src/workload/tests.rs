//! Claims about traffic: what clients send is what the engine reads.

use std::collections::BTreeMap;
use std::path::Path;

use backdate_engine::domain::intake;

use super::*;
use crate::scenario::parse;

const FULL: &str = r#"
name = "full"
about = "Every shape of traffic."
[workload.data]
from = "2012-10-01"
business_days = 30
[workload.portfolios]
count = 4
base_currencies = { USD = 1, EUR = 1, GBP = 1 }
methods = { FIFO = 1, AVCO = 1 }
[workload.holdings]
securities = ["SP500", "AAPL"]
synthetic = 3
per_portfolio = 3
transactions_per_key = 4
[workload.live]
rate_per_second = 20
mix = {BUY = 3, SELL = 2, DEPOSIT = 1, WITHDRAWAL = 1, FEE = 1, TAX = 1, DIVIDEND = 1, INTEREST = 1}
backdated_share = 0.3
sells_before_buys_share = 0.1
[workload.amendments]
count = 10
[workload.poison]
count = 20
[[workload.price_corrections]]
security = "SP500"
business_days_back = 1
business_days_back_max = 20
at = "drawn"
factor = 1.01
times = 5
every = "100ms"
[[workload.rate_corrections]]
pair = "EUR/USD"
business_days_back = 9
at = "3s"
factor = "0.99"
[[workload.late_rates]]
pair = "EUR/GBP"
business_days_back = 4
at = "2s"
[[workload.late_prices]]
security = "SP500"
business_days = 3
at = "2s"
[[workload.late_dates]]
business_days_back = 6
at = "2s"
[[workload.late_instruments]]
security = "AAPL"
at = "3s"
[[workload.next_dates]]
at = "4s"
[[workload.chains]]
portfolio = 1
security = "SYN0001"
at = "1s"
length = 10
every = "20ms"
business_days_back = 25
[workload.backfill]
transactions_per_key = 5
at = "2s"
lasts = "6s"
[phases]
storm = "10s"
"#;

fn inputs(seed: u64) -> Vec<PlannedInput> {
    inputs_with(seed, "")
}

fn inputs_with(seed: u64, more: &str) -> Vec<PlannedInput> {
    let text =
        FULL.replace("per_portfolio = 3\n", "").replace("[phases]", &format!("{more}[phases]"));
    let loaded = parse(Path::new("full.toml"), &text, &[]).expect("a good scenario");
    crate::scenario::Plan::expand(&loaded, seed).inputs
}

#[test]
fn everything_but_poison_is_accepted_and_all_poison_is_rejected() {
    for input in inputs(1) {
        let value = input.value.as_bytes();
        let rejection = match input.topic {
            Topic::RawPortfolios => intake::portfolio(value).err(),
            Topic::Instruments => intake::instrument(value).err(),
            Topic::RawTransactions => intake::transaction(value).err(),
            Topic::MarketPrices => intake::market_price(value).err(),
            Topic::FxRates => intake::exchange_rate(value).err(),
            Topic::RawBusinessDates => intake::business_date(value).err(),
            topic => panic!("{topic} is no input"),
        };
        let is_poison = input.correlation_id.starts_with("poison/");
        assert_eq!(rejection.is_some(), is_poison, "{} {}", input.correlation_id, input.value);
    }
}

#[test]
fn every_shape_is_there_and_inputs_are_in_order() {
    let inputs = inputs(2);
    for shape in [
        "portfolio/",
        "instrument/",
        "business_date/",
        "rate/",
        "price/",
        "initial/",
        "live/",
        "correction/price/",
        "correction/rate/",
        "chain/",
        "backfill/",
        "amendment/",
        "late/price/",
        "poison/",
    ] {
        assert!(inputs.iter().any(|input| input.correlation_id.starts_with(shape)), "{shape}");
    }
    let place = |input: &PlannedInput| (input.phase == Phase::Storm, input.at_ms);
    assert!(inputs.is_sorted_by_key(place));
}

#[test]
fn what_is_late_is_not_there_before() {
    let inputs = inputs(3);
    let late: Vec<&PlannedInput> = inputs
        .iter()
        .filter(|input| input.phase == Phase::Storm)
        .filter(|input| {
            let label = &input.correlation_id;
            ["business_date/", "instrument/", "rate/EUR/GBP"].iter().any(|l| label.starts_with(l))
        })
        .collect();
    let all = "a late rate, date and instrument, a new date and its rate";
    assert_eq!(late.len(), 5, "{all}: {late:?}");
    for input in late {
        let same = inputs.iter().filter(|other| other.value == input.value).count();
        assert_eq!(same, 1, "{}", input.value);
    }
}

#[test]
fn a_retry_says_the_same_again() {
    let more = "[workload.retries]\nshare = 0.3\ntimes = 2\nevery = \"50ms\"\n";
    let (before, after) = (inputs(4), inputs_with(4, more));
    let (retries, others): (Vec<_>, Vec<_>) =
        after.iter().partition(|input| input.correlation_id.starts_with("retry/"));
    let contents = |input: &PlannedInput| (input.at_ms, input.value.clone());
    assert!(others.iter().map(|i| contents(i)).eq(before.iter().map(contents)));
    let storm = before.iter().filter(|input| input.phase == Phase::Storm).count();
    assert!(retries.len() > storm / 3 && retries.len() < storm, "{} of {storm}", retries.len());
    for retry in retries {
        let first =
            others.iter().find(|input| retry.correlation_id.ends_with(&*input.correlation_id));
        assert_eq!(first.map(|input| &input.value), Some(&retry.value));
    }
}

#[test]
fn a_hot_key_takes_its_share_of_the_trades() {
    let keys = |share: f64| {
        let text = FULL.replace(
            "rate_per_second = 20",
            &format!("rate_per_second = 20\nhot_key_share = {share}"),
        );
        let loaded = parse(Path::new("full.toml"), &text, &[]).expect("a good scenario");
        let mut trades: BTreeMap<String, usize> = BTreeMap::new();
        for input in crate::scenario::Plan::expand(&loaded, 5).inputs {
            if input.correlation_id.starts_with("live/") {
                let value: serde_json::Value = serde_json::from_str(&input.value).expect("JSON");
                *trades
                    .entry(format!("{} {}", value["portfolio_id"], value["security_id"]))
                    .or_default() += 1;
            }
        }
        let hottest = *trades.values().max().expect("trades");
        hottest as f64 / trades.values().sum::<usize>() as f64
    };
    assert!(keys(0.0) < 0.2);
    assert!(keys(0.7) > 0.5);
}

#[test]
fn weights_of_zero_are_never_drawn() {
    let weights = [("A".into(), 0), ("B".into(), 2), ("C".into(), 0)].into();
    let mut rng = stream(1, "test");
    assert!((0..100).all(|_| weighted(&mut rng, &weights) == "B"));
}
