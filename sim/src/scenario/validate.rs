//! Ranges and references of a scenario: everything that a type cannot say.
//!
//! Every check names the field by its path, so that the complaint can name the line.

use backdate_engine::domain::records::{CostMethod, TransactionType};
use backdate_reports::thresholds::Threshold;

use super::duration::When;
use super::format::Scenario;
use super::format::workload::{Data, Weights, Workload};
use super::points;
use super::problem::hint;
use crate::workload::market::Market;

/// Takes a complaint: path of the field, what is wrong and the cure.
pub(super) type Complain<'a> = dyn FnMut(&str, String) + 'a;

/// Checks a scenario and reads its market data, unless they are known; none if that is impossible.
pub(super) fn validate(
    scenario: &Scenario,
    folder: &std::path::Path,
    known: Option<(&Data, &Market)>,
    complain: &mut Complain<'_>,
) -> Option<Market> {
    header(scenario, complain);
    cluster(scenario, complain);
    phases(scenario, complain);
    let workload = &scenario.workload;
    rates_and_shares(workload, complain);
    let read = || match known {
        Some((data, market)) if *data == workload.data => Ok(market.clone()),
        _ => Market::read(&workload.data, folder),
    };
    let market = match read() {
        Ok(market) => market,
        Err((field, why)) => {
            complain(&format!("workload.data.{field}"), why);
            return None;
        }
    };
    holdings(workload, &market, complain);
    securities(workload, &market, complain);
    pairs(workload, &market, complain);
    dates(scenario, &market, complain);
    faults(scenario, complain);
    for (number, point) in scenario.expect.points.iter().enumerate() {
        if let Err(why) = points::select(point) {
            complain(&format!("expect.points[{number}]"), why);
        }
    }
    Some(market)
}

fn header(scenario: &Scenario, complain: &mut Complain<'_>) {
    if scenario.name.trim().is_empty() {
        complain("name", "is empty: name the scenario like its file".into());
    }
    if scenario.about.trim().is_empty() {
        complain("about", "is empty: say in one sentence what the scenario shows".into());
    }
    if scenario.on.is_empty() {
        complain("on", "= []: name `sim`, `real` or both".into());
    }
    if !scenario.edits.is_empty() && scenario.breaks.is_none() {
        complain("breaks", "is missing: name the rule that the edits break".into());
    }
    for (number, edit) in scenario.edits.iter().enumerate() {
        if edit.at > scenario.phases.storm {
            let (at, storm) = (edit.at, scenario.phases.storm);
            let wrong = format!("= {at}: must be at most the storm, {storm}");
            complain(&format!("edits[{number}].at"), wrong);
        }
    }
    if scenario.seeds_max == Some(0) {
        complain("seeds_max", "= 0: must be at least 1".into());
    }
    for (number, expression) in scenario.thresholds.iter().enumerate() {
        if let Err(why) = Threshold::parse(expression) {
            complain(&format!("thresholds[{number}]"), format!("= {expression:?}: {why}"));
        }
    }
}

fn cluster(scenario: &Scenario, complain: &mut Complain<'_>) {
    let cluster = &scenario.cluster;
    between(complain, "cluster.brokers", cluster.brokers, 1, 9);
    let (brokers, replicas) = (cluster.brokers, cluster.replication_factor);
    between(complain, "cluster.replication_factor", replicas, 1, brokers.max(1));
    between(complain, "cluster.min_insync", cluster.min_insync, 1, replicas.max(1));
    if let Some(retention) = cluster.retention.filter(|retention| retention.0 < 1_000) {
        complain("cluster.retention", format!("= {retention}: must be at least 1s"));
    }
    between(complain, "cluster.partitions", cluster.partitions, 1, 256);
    for (topic, partitions) in &cluster.topics {
        between(complain, &format!("cluster.topics.{topic}"), *partitions, 1, 256);
    }
    for kind in backdate_engine::runtime::ProcessKind::ALL {
        between(complain, &format!("cluster.{kind}"), cluster.instances(*kind), 1, 64);
    }
    for (name, wrong) in cluster.knobs.problems() {
        complain(&format!("cluster.knobs.{name}"), wrong);
    }
}

fn phases(scenario: &Scenario, complain: &mut Complain<'_>) {
    let phases = &scenario.phases;
    for (name, value) in [
        ("phases.warmup_limit", phases.warmup_limit),
        ("phases.storm", phases.storm),
        ("phases.calm_limit", phases.calm_limit),
    ] {
        if value.0 < 1_000 || value.0 > 86_400_000 {
            complain(name, format!("= {value}: must be between 1s and 24h"));
        }
    }
}

fn rates_and_shares(workload: &Workload, complain: &mut Complain<'_>) {
    between(complain, "workload.portfolios.count", workload.portfolios.count, 1, 99_999);
    between(complain, "workload.readers.count", workload.readers.count, 0, 64);
    if workload.readers.every.0 == 0 {
        complain("workload.readers.every", "= 0s: must be at least 1ms".into());
    }
    let count = workload.holdings.transactions_per_key;
    between(complain, "workload.holdings.transactions_per_key", count, 1, 100_000);
    let units = workload.holdings.first_units;
    between(complain, "workload.holdings.first_units", units, 1, 1_000_000);
    if let Some(live) = &workload.live {
        let rate = live.rate_per_second;
        if !rate.is_finite() || rate < 0.0 {
            complain("workload.live.rate_per_second", format!("= {rate}: must be at least 0"));
        } else if rate > 100_000.0 {
            complain("workload.live.rate_per_second", format!("= {rate}: must be at most 100000"));
        }
        share(complain, "workload.live.backdated_share", live.backdated_share);
        share(complain, "workload.live.sells_before_buys_share", live.sells_before_buys_share);
        share(complain, "workload.live.hot_key_share", live.hot_key_share);
        between(complain, "workload.live.backdated_days_max", live.backdated_days_max, 1, 10_000);
        let types: Vec<&str> = TransactionType::ALL.iter().map(|kind| kind.as_str()).collect();
        weights(complain, "workload.live.mix", &live.mix, &types);
    }
    let methods: Vec<&str> = CostMethod::ALL.iter().map(|method| method.as_str()).collect();
    weights(complain, "workload.portfolios.methods", &workload.portfolios.methods, &methods);
    if let Some(retries) = &workload.retries {
        share(complain, "workload.retries.share", retries.share);
        between(complain, "workload.retries.times", retries.times, 1, 1_000);
    }
    if let Some(backfill) = &workload.backfill {
        let path = "workload.backfill.transactions_per_key";
        between(complain, path, backfill.transactions_per_key, 1, 100_000);
    }
    if let Some(amendments) = &workload.amendments {
        between(complain, "workload.amendments.count", amendments.count, 0, 1_000_000);
    }
    if let Some(poison) = &workload.poison {
        between(complain, "workload.poison.count", poison.count, 0, 1_000_000);
        between(complain, "workload.poison.internal", poison.internal, 0, 1_000_000);
    }
}

fn holdings(workload: &Workload, market: &Market, complain: &mut Complain<'_>) {
    let holdings = &workload.holdings;
    let there = u32::try_from(holdings.securities.len()).unwrap_or(u32::MAX);
    let all = there.saturating_add(holdings.synthetic);
    between(complain, "workload.holdings.synthetic", holdings.synthetic, 0, 9_999);
    if all == 0 {
        let cure = "must name a security of the price file, unless `synthetic` is above 0";
        complain("workload.holdings.securities", format!("= []: {cure}"));
    } else if let Some(wanted) = holdings.per_portfolio {
        between(complain, "workload.holdings.per_portfolio", wanted, 1, all);
    }
    for (number, security) in holdings.securities.iter().enumerate() {
        let path = format!("workload.holdings.securities[{number}]");
        if !market.quotes.contains_key(security) {
            let names = market.quotes.keys().map(|name| name.as_str());
            let cure = hint(security, names);
            complain(&path, format!("= {security:?}: no such security in the price file: {cure}"));
        } else if holdings.securities[..number].contains(security) {
            complain(&path, format!("= {security:?}: is named twice: take one out"));
        }
    }
    let mut currencies: Vec<&str> = market.rates.keys().map(|(_, to)| to.as_str()).collect();
    currencies.extend(market.rates.keys().map(|(from, _)| from.as_str()));
    currencies.extend(market.quotes.values().map(|quotes| quotes.currency.as_str()));
    currencies.sort_unstable();
    currencies.dedup();
    let bases = &workload.portfolios.base_currencies;
    weights(complain, "workload.portfolios.base_currencies", bases, &currencies);
}

/// Securities that corrections and chains speak of are held, so that they matter.
fn securities(workload: &Workload, market: &Market, complain: &mut Complain<'_>) {
    let synthetic = (1..=workload.holdings.synthetic).map(|n| format!("SYN{n:04}"));
    let mut held: Vec<String> = synthetic.collect();
    held.extend(workload.holdings.securities.iter().map(|security| security.to_string()));
    let mut check = |path: String, security: &str| {
        if !held.iter().any(|name| name == security) {
            let cure = hint(security, held.iter().map(String::as_str));
            complain(&path, format!("= {security:?}: no portfolio holds it: {cure}"));
        }
    };
    for (number, correction) in workload.price_corrections.iter().enumerate() {
        let path = format!("workload.price_corrections[{number}].security");
        check(path, &correction.security);
    }
    for (number, chain) in workload.chains.iter().enumerate() {
        check(format!("workload.chains[{number}].security"), &chain.security);
    }
    for (number, late) in workload.late_prices.iter().enumerate() {
        check(format!("workload.late_prices[{number}].security"), &late.security);
    }
    let late = workload.late_instruments.iter().map(|late| ("late_instruments", &late.security));
    let changed = workload.currency_changes.iter();
    let changed = changed.map(|change| ("currency_changes", &change.security));
    for (number, (list, security)) in late.enumerate().chain(changed.enumerate()) {
        check(format!("workload.{list}[{number}].security"), security);
    }
    for (number, correction) in workload.price_corrections.iter().enumerate() {
        if correction.factor.0.is_negative() {
            let why = format!("= {}: must be at least 0", correction.factor.0);
            complain(&format!("workload.price_corrections[{number}].factor"), why);
        }
        let path = format!("workload.price_corrections[{number}].times");
        between(complain, &path, correction.times, 1, 100_000);
    }
    for (number, chain) in workload.chains.iter().enumerate() {
        let path = format!("workload.chains[{number}].portfolio");
        between(complain, &path, chain.portfolio, 1, workload.portfolios.count);
        let path = format!("workload.chains[{number}].length");
        between(complain, &path, chain.length, 1, 100_000);
    }
    for (number, late) in workload.late_portfolios.iter().enumerate() {
        let path = format!("workload.late_portfolios[{number}].portfolio");
        between(complain, &path, late.portfolio, 1, workload.portfolios.count);
    }
    if workload.next_dates.len() > market.following.len() {
        let there = market.following.len();
        let why = format!("asks for more dates than the {there} that follow the window");
        complain("workload.next_dates", why);
    }
}

fn pairs(workload: &Workload, market: &Market, complain: &mut Complain<'_>) {
    let corrections = workload.rate_corrections.iter().map(|c| ("rate_corrections", &c.pair));
    let late = workload.late_rates.iter().map(|late| ("late_rates", &late.pair));
    let known: Vec<String> = market.rates.keys().map(|(from, to)| format!("{from}/{to}")).collect();
    let numbered = corrections.enumerate().chain(late.enumerate());
    for (number, (list, pair)) in numbered {
        if !known.iter().any(|name| name == pair.as_str()) {
            let cure = hint(pair, known.iter().map(String::as_str));
            let why = format!("= {:?}: no such pair in the rate file: {cure}", pair.as_str());
            complain(&format!("workload.{list}[{number}].pair"), why);
        }
    }
    for (number, correction) in workload.rate_corrections.iter().enumerate() {
        let factor = correction.factor.0;
        if factor.is_negative() || factor.is_zero() {
            let path = format!("workload.rate_corrections[{number}].factor");
            complain(&path, format!("= {factor}: a rate must stay above 0"));
        }
        let path = format!("workload.rate_corrections[{number}].times");
        between(complain, &path, correction.times, 1, 100_000);
    }
}

/// Dates lie in the window, and what begins, begins in the storm.
fn dates(scenario: &Scenario, market: &Market, complain: &mut Complain<'_>) {
    let workload = &scenario.workload;
    let last = u32::try_from(market.dates.len() - 1).unwrap_or(u32::MAX);
    let storm = scenario.phases.storm;
    let mut check = |path: String, back: u32, at: Option<When>| {
        if back > last {
            let why = format!("= {back}: must be at most {last}, the window's first date");
            complain(&format!("{path}.business_days_back"), why);
        }
        if let Some(When::At(at)) = at
            && at > storm
        {
            let why = format!("= {at}: must be at most the storm, {storm}");
            complain(&format!("{path}.at"), why);
        }
    };
    for (number, entry) in workload.price_corrections.iter().enumerate() {
        let back = entry.business_days_back_max.unwrap_or(0).max(entry.business_days_back);
        check(format!("workload.price_corrections[{number}]"), back, Some(entry.at));
    }
    for (number, entry) in workload.rate_corrections.iter().enumerate() {
        let path = format!("workload.rate_corrections[{number}]");
        check(path, entry.business_days_back, Some(entry.at));
    }
    for (number, entry) in workload.late_rates.iter().enumerate() {
        let path = format!("workload.late_rates[{number}]");
        check(path, entry.business_days_back, Some(entry.at));
    }
    for (number, entry) in workload.late_prices.iter().enumerate() {
        let path = format!("workload.late_prices[{number}]");
        check(path, entry.business_days.saturating_sub(1), Some(entry.at));
    }
    for (number, entry) in workload.late_dates.iter().enumerate() {
        let path = format!("workload.late_dates[{number}]");
        check(path, entry.business_days_back, Some(entry.at));
    }
    for (number, entry) in workload.next_dates.iter().enumerate() {
        check(format!("workload.next_dates[{number}]"), 0, Some(entry.at));
    }
    for (number, entry) in workload.chains.iter().enumerate() {
        let path = format!("workload.chains[{number}]");
        check(path, entry.business_days_back, Some(entry.at));
    }
    if let Some(backfill) = &workload.backfill {
        check("workload.backfill".into(), 0, Some(backfill.at));
    }
    let portfolios = workload.late_portfolios.iter().map(|late| ("late_portfolios", late.at));
    let instruments = workload.late_instruments.iter().map(|late| ("late_instruments", late.at));
    let changes = workload.currency_changes.iter().map(|change| ("currency_changes", change.at));
    let entries = portfolios.enumerate().chain(instruments.enumerate()).chain(changes.enumerate());
    for (number, (list, at)) in entries {
        check(format!("workload.{list}[{number}]"), 0, Some(at));
    }
}

fn faults(scenario: &Scenario, complain: &mut Complain<'_>) {
    if let Err((field, why)) = scenario.tasks.expand(0, &scenario.cluster) {
        complain(field, why);
    }
    for (number, fault) in scenario.faults.iter().enumerate() {
        // Which fields are wrong does not depend on the seed.
        let storm = scenario.phases.storm;
        if let Err((field, why)) = fault.expand(0, number, &scenario.cluster, storm) {
            complain(&format!("faults[{number}].{field}"), why);
        }
    }
}

fn between(complain: &mut Complain<'_>, path: &str, value: u32, least: u32, most: u32) {
    if value < least {
        complain(path, format!("= {value}: must be at least {least}"));
    } else if value > most {
        complain(path, format!("= {value}: must be at most {most}"));
    }
}

fn share(complain: &mut Complain<'_>, path: &str, value: f64) {
    if !(0.0..=1.0).contains(&value) {
        complain(path, format!("= {value}: must be between 0 and 1"));
    }
}

fn weights(complain: &mut Complain<'_>, path: &str, weights: &Weights, names: &[&str]) {
    for name in weights.keys().filter(|name| !names.contains(&name.as_str())) {
        let cure = hint(name, names.iter().copied());
        complain(&format!("{path}.{name}"), format!("unknown name: {cure}"));
    }
    if weights.values().all(|weight| *weight == 0) {
        complain(path, "has no weight above 0: give at least one".into());
    }
}
