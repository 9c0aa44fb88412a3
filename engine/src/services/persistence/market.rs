//! Market data: prices and rates, with the news of them.

use std::collections::BTreeMap;

use super::super::ServiceError;
use super::super::instance::Session;
use super::super::upserts::{Effect, Working, effect};
use super::{Incoming, News, label, sorted};
use crate::domain::messages;
use crate::domain::records::{ExchangeRate, MarketPrice};
use crate::ports::Ports;
use crate::ports::log::Topic;
use crate::ports::store::rows::{PriceRow, RateRow};
use crate::ports::store::statements::{LockPrices, LockRates, UpsertPrices, UpsertRates};

pub(super) async fn rates<P: Ports>(
    session: &mut Session<'_, P>,
    incoming: &[Incoming<'_, ExchangeRate>],
    news: &mut News,
    lanes: u32,
) -> Result<(), ServiceError> {
    if incoming.is_empty() {
        return Ok(());
    }
    let id_of = |r: &ExchangeRate| (r.from_currency.clone(), r.to_currency.clone(), r.rate_date);
    let ids = sorted(incoming.iter().map(|i| id_of(&i.versioned.content)));
    let stored = session.run(LockRates { ids }).await?;
    let mut rows = Working::new(stored.into_iter().map(|row| (id_of(&row.rate), row)));
    let mut headers = BTreeMap::new();
    for Incoming { versioned, record } in incoming {
        let id = id_of(&versioned.content);
        let effect = effect(rows.get(&id).map(|r| (&r.rate, r.source_version)), versioned);
        if effect != Effect::Nothing {
            headers.insert(id.clone(), label(record));
            let rate = versioned.content.clone();
            rows.set(id, RateRow { rate, source_version: versioned.source_version }, effect);
        }
    }
    for row in rows.news() {
        let key = format!("{}/{}", row.rate.from_currency, row.rate.to_currency);
        let header = headers.remove(&id_of(&row.rate)).flatten();
        let payload = messages::rate_persisted(&row.rate);
        news.event(lanes, Topic::FxRatePersisted, &key, payload, header);
    }
    let rows = rows.changed();
    if !rows.is_empty() {
        session.run(UpsertRates { rows }).await?;
    }
    Ok(())
}

pub(super) async fn prices<P: Ports>(
    session: &mut Session<'_, P>,
    incoming: &[Incoming<'_, MarketPrice>],
    news: &mut News,
    lanes: u32,
) -> Result<(), ServiceError> {
    if incoming.is_empty() {
        return Ok(());
    }
    let id_of = |p: &MarketPrice| (p.security_id.clone(), p.price_date);
    let ids = sorted(incoming.iter().map(|i| id_of(&i.versioned.content)));
    let stored = session.run(LockPrices { ids }).await?;
    let mut rows = Working::new(stored.into_iter().map(|row| (id_of(&row.price), row)));
    let mut headers = BTreeMap::new();
    for Incoming { versioned, record } in incoming {
        let id = id_of(&versioned.content);
        let effect = effect(rows.get(&id).map(|r| (&r.price, r.source_version)), versioned);
        if effect != Effect::Nothing {
            headers.insert(id.clone(), label(record));
            let price = versioned.content.clone();
            rows.set(id, PriceRow { price, source_version: versioned.source_version }, effect);
        }
    }
    for row in rows.news() {
        let header = headers.remove(&id_of(&row.price)).flatten();
        let payload = messages::price_persisted(&row.price);
        let key = row.price.security_id.as_str();
        news.event(lanes, Topic::MarketPricePersisted, key, payload, header);
    }
    let rows = rows.changed();
    if !rows.is_empty() {
        session.run(UpsertPrices { rows }).await?;
    }
    Ok(())
}
