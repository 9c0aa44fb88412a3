//! Reading of rows, cell by cell, in the order of [`super::columns`].
//!
//! # Invariants
//! - A list of columns and the reading of its row stand for the same order.

use smol_str::SmolStr;
use sqlx::postgres::PgRow;
use sqlx::{Decode, Error, Postgres, Row as _, Type};

use super::types::{Big, Small, Text, Whole};
use crate::domain::ids::{Currency, Epoch, Key, Token};
use crate::domain::money::FxRate;
use crate::domain::records::{
    BusinessDate, CostMethod, Costs, ExchangeRate, Fate, FoldTerms, Instrument, KeyStatus, Lot,
    MarketPrice, Outcome, ParkReason, Place, Portfolio, Position, Terms, Transaction,
    TransactionType, ValuationStatus, Values,
};
use crate::ports::log::Topic;
use crate::ports::store::rows::{
    EpochRow, HistoryRow, InstrumentRow, JobKey, JobStatus, KeyState, LotRow, OutboxRow,
    PortfolioRow, PriceRow, RateRow, ReplayRow, ReprocessingJobRow, SnapshotRow, Subject,
    TimelineRow, TransactionRow, TriggerRow, ValuationJobRow,
};

/// The cells of a row, read from the left to the right.
pub(super) struct Cells<'r> {
    row: &'r PgRow,
    next: usize,
}

impl<'r> Cells<'r> {
    /// The next cell.
    pub(super) fn take<T>(&mut self) -> Result<T, Error>
    where
        T: Decode<'r, Postgres> + Type<Postgres>,
    {
        let at = self.next;
        self.next += 1;
        self.row.try_get(at)
    }

    /// The next cell, a text.
    pub(super) fn text(&mut self) -> Result<SmolStr, Error> {
        self.take::<Text>().map(|text| text.0)
    }

    /// The next cell, a text or nothing.
    pub(super) fn optional_text(&mut self) -> Result<Option<SmolStr>, Error> {
        Ok(self.take::<Option<Text>>()?.map(|text| text.0))
    }

    /// The next cell, one of fixed names.
    pub(super) fn named<T>(&mut self, parse: fn(&str) -> Option<T>) -> Result<T, Error> {
        let name: &str = self.take()?;
        parse(name).ok_or_else(|| unexpected(format!("{name:?} in column {}", self.next)))
    }

    /// Leaves cells out.
    pub(super) fn skip(&mut self, cells: usize) {
        self.next += cells;
    }

    /// The next cells.
    pub(super) fn row<T: Read>(&mut self) -> Result<T, Error> {
        T::read(self)
    }
}

/// A content of the database that this build did not write.
pub(super) fn unexpected(what: impl Into<String>) -> Error {
    Error::Decode(what.into().into())
}

/// What is read from consecutive cells.
pub(super) trait Read: Sized {
    /// Reads it.
    fn read(cells: &mut Cells<'_>) -> Result<Self, Error>;
}

/// Reads a row.
pub(super) fn read<T: Read>(row: &PgRow) -> Result<T, Error> {
    T::read(&mut Cells { row, next: 0 })
}

macro_rules! reads {
    ($($name:ty: |$cells:ident| $value:expr;)+) => {$(
        impl Read for $name {
            fn read($cells: &mut Cells<'_>) -> Result<Self, Error> {
                Ok($value)
            }
        }
    )+};
}

reads! {
    Key: |cells| Key { portfolio_id: cells.take()?, security_id: cells.take()? };
    Place: |cells| Place {
        at: cells.take()?,
        rank: place_rank(cells.take()?)?,
        transaction_id: cells.take()?,
    };
    Position: |cells| Position {
        quantity: cells.take()?,
        cost_basis: cells.take()?,
        cost_basis_local: cells.take()?,
    };
    TransactionRow: |cells| {
        let transaction_id = cells.take()?;
        let key = cells.row()?;
        let instrument_id = cells.text()?;
        let settlement_date = cells.optional_text()?;
        let at = cells.take()?;
        let terms = terms(cells, at)?;
        TransactionRow {
            transaction: Transaction { transaction_id, key, instrument_id, settlement_date, terms },
            source_version: cells.take()?,
            correlation_id: cells.optional_text()?,
        }
    };
    PriceRow: |cells| PriceRow {
        price: MarketPrice {
            security_id: cells.take()?,
            price_date: cells.take()?,
            price: cells.take()?,
            currency: cells.take()?,
        },
        source_version: cells.take()?,
    };
    RateRow: |cells| RateRow {
        rate: ExchangeRate {
            from_currency: cells.take()?,
            to_currency: cells.take()?,
            rate_date: cells.take()?,
            rate: cells.take()?,
        },
        source_version: cells.take()?,
    };
    PortfolioRow: |cells| PortfolioRow {
        portfolio: Portfolio {
            portfolio_id: cells.take()?,
            base_currency: cells.take()?,
            open_date: cells.text()?,
            cost_basis_method: cells.named(CostMethod::parse)?,
        },
        source_version: cells.take()?,
    };
    InstrumentRow: |cells| InstrumentRow {
        instrument: Instrument {
            security_id: cells.take()?,
            currency: cells.take()?,
            product_type: cells.text()?,
        },
        source_version: cells.take()?,
    };
    BusinessDate: |cells| BusinessDate {
        calendar_code: cells.text()?,
        business_date: cells.take()?,
    };
    KeyState: |cells| KeyState {
        key: cells.row()?,
        epoch: cells.take()?,
        revision: cells.take()?,
        watermark_date: cells.take()?,
        valued_through: cells.take()?,
        status: cells.named(KeyStatus::parse)?,
        served_epoch: cells.take()?,
        input_version: cells.take::<Big>()?.0,
        fold_terms: fold_terms(cells)?,
        position: cells.row()?,
        updated_at: cells.take()?,
    };
    TimelineRow: |cells| {
        let key = cells.row()?;
        let place: Place = cells.row()?;
        let terms = terms(cells, place.at)?;
        let correlation_id = cells.optional_text()?;
        TimelineRow { key, place, terms, correlation_id, outcome: outcome(cells)? }
    };
    HistoryRow: |cells| HistoryRow {
        key: cells.row()?,
        place: cells.row()?,
        epoch: cells.take()?,
        position: cells.row()?,
    };
    LotRow: |cells| LotRow {
        key: cells.row()?,
        lot: Lot {
            opened: cells.row()?,
            quantity: cells.take()?,
            cost: cells.take()?,
            cost_local: cells.take()?,
        },
    };
    EpochRow: |cells| EpochRow {
        key: cells.row()?,
        epoch: cells.take()?,
        from_date: cells.take()?,
    };
    ReplayRow: |cells| ReplayRow {
        key: cells.row()?,
        epoch: cells.take()?,
        from_date: cells.take()?,
        cursor: cursor(cells)?,
    };
    SnapshotRow: |cells| SnapshotRow {
        key: cells.row()?,
        date: cells.take()?,
        epoch: cells.take()?,
        revision: cells.take()?,
        position: cells.row()?,
        market_price: cells.take()?,
        values: values(cells)?,
        valuation_status: cells.named(ValuationStatus::parse)?,
    };
    Subject: |cells| {
        let kind = cells.take()?;
        subject(kind, &cells.text()?, &cells.text()?)?
    };
    TriggerRow: |cells| TriggerRow { subject: cells.row()?, earliest_date: cells.take()? };
    ReprocessingJobRow: |cells| ReprocessingJobRow {
        id: cells.take::<Big>()?.0,
        subject: cells.row()?,
        date: cells.take()?,
        cursor: optional_key(cells)?,
    };
    ValuationJobRow: |cells| ValuationJobRow {
        id: cells.take::<Big>()?.0,
        keys: job_keys(cells)?,
        date_from: cells.take()?,
        date_to: cells.take()?,
        status: cells.named(JobStatus::parse)?,
        attempts: cells.take::<Small>()?.0,
        lease_until: cells.take()?,
        not_before: cells.take()?,
    };
    OutboxRow: |cells| OutboxRow {
        id: cells.take::<Big>()?.0,
        lane: cells.take::<Small>()?.0,
        topic: cells.named(Topic::parse)?,
        key: cells.text()?,
        payload: cells.take()?,
        correlation_id: cells.optional_text()?,
    };
}

/// Kind and texts of a subject; kinds are in the order of subjects.
pub(super) fn subject_cells(subject: &Subject) -> (i16, &str, &str) {
    match subject {
        Subject::Security(id) => (0, id.as_str(), ""),
        Subject::Pair(from, to) => (1, from.as_str(), to.as_str()),
        Subject::Calendar => (2, "", ""),
        Subject::Portfolio(id) => (3, id.as_str(), ""),
    }
}

/// The subject of a kind and texts.
pub(super) fn subject(kind: i16, id: &str, to: &str) -> Result<Subject, Error> {
    match kind {
        0 => Ok(Subject::Security(id.into())),
        1 => Ok(Subject::Pair(id.into(), to.into())),
        2 => Ok(Subject::Calendar),
        3 => Ok(Subject::Portfolio(id.into())),
        _ => Err(unexpected(format!("subject kind {kind}"))),
    }
}

/// The rank of a place.
pub(super) fn place_rank(rank: i16) -> Result<u8, Error> {
    u8::try_from(rank).map_err(|_| unexpected(format!("rank {rank}")))
}

/// The terms after their instant.
pub(super) fn terms(
    cells: &mut Cells<'_>,
    at: crate::domain::time::Timestamp,
) -> Result<Terms, Error> {
    Ok(Terms {
        at,
        kind: cells.named(TransactionType::parse)?,
        quantity: cells.take()?,
        price: cells.take()?,
        gross: cells.take()?,
        fee: cells.take()?,
        accrued_interest: cells.take()?,
        policy: cells.optional_text()?,
        trade_currency: cells.take()?,
        currency: cells.take()?,
    })
}

fn fold_terms(cells: &mut Cells<'_>) -> Result<Option<FoldTerms>, Error> {
    let base_currency: Option<Currency> = cells.take()?;
    let method: Option<&str> = cells.take()?;
    let (Some(base_currency), Some(method)) = (base_currency, method) else { return Ok(None) };
    let method = CostMethod::parse(method).ok_or_else(|| unexpected(method))?;
    Ok(Some(FoldTerms { base_currency, method }))
}

fn outcome(cells: &mut Cells<'_>) -> Result<Option<Outcome>, Error> {
    let applied: Option<bool> = cells.take()?;
    let park_reason: Option<&str> = cells.take()?;
    let fx = rate(cells)?;
    let fate = match (applied, park_reason) {
        (None, _) => return Ok(None),
        (Some(true), _) => Fate::Applied(Costs {
            gross_cost: cells.take()?,
            net_cost: cells.take()?,
            net_cost_local: cells.take()?,
            realized_gain_loss: cells.take()?,
            realized_gain_loss_local: cells.take()?,
            transaction_fx_rate: cells.take()?,
        }),
        (Some(false), reason) => {
            let reason = reason.and_then(ParkReason::parse);
            Fate::Parked(reason.ok_or_else(|| unexpected("parked for no known reason"))?)
        }
    };
    Ok(Some(Outcome { fx, fate }))
}

/// A rate as it was folded with.
pub(super) fn rate(cells: &mut Cells<'_>) -> Result<Option<FxRate>, Error> {
    let mut factor = || Ok::<_, Error>(cells.take::<Option<Whole>>()?.map(|number| number.0));
    let (num, num_2, den, den_2) = (factor()?, factor()?, factor()?, factor()?);
    let (Some(num), Some(den)) = (num, den) else { return Ok(None) };
    let rate = FxRate::from_parts([num, num_2.unwrap_or(1)], [den, den_2.unwrap_or(1)]);
    rate.map(Some).ok_or_else(|| unexpected("a rate that is not above zero"))
}

fn cursor(cells: &mut Cells<'_>) -> Result<Option<Place>, Error> {
    let at = cells.take()?;
    let rank: Option<i16> = cells.take()?;
    let transaction_id = cells.take()?;
    let (Some(at), Some(rank), Some(transaction_id)) = (at, rank, transaction_id) else {
        return Ok(None);
    };
    Ok(Some(Place { at, rank: place_rank(rank)?, transaction_id }))
}

fn optional_key(cells: &mut Cells<'_>) -> Result<Option<Key>, Error> {
    let (portfolio_id, security_id) = (cells.take()?, cells.take()?);
    let (Some(portfolio_id), Some(security_id)) = (portfolio_id, security_id) else {
        return Ok(None);
    };
    Ok(Some(Key { portfolio_id, security_id }))
}

fn values(cells: &mut Cells<'_>) -> Result<Option<Values>, Error> {
    let (market_value, market_value_local) = (cells.take()?, cells.take()?);
    let (gain, gain_local) = (cells.take()?, cells.take()?);
    Ok(match (market_value, market_value_local, gain, gain_local) {
        (Some(market_value), Some(market_value_local), Some(gain), Some(gain_local)) => {
            Some(Values {
                market_value,
                market_value_local,
                unrealized_gain_loss: gain,
                unrealized_gain_loss_local: gain_local,
            })
        }
        _ => None,
    })
}

fn job_keys(cells: &mut Cells<'_>) -> Result<Vec<JobKey>, Error> {
    let portfolios: Vec<crate::domain::ids::PortfolioId> = cells.take()?;
    let securities: Vec<crate::domain::ids::SecurityId> = cells.take()?;
    let epochs: Vec<Epoch> = cells.take()?;
    let revisions: Vec<crate::domain::ids::Revision> = cells.take()?;
    let keys = portfolios.into_iter().zip(securities);
    let tokens = epochs.into_iter().zip(revisions);
    let job_key = |((portfolio_id, security_id), (epoch, revision))| JobKey {
        key: Key { portfolio_id, security_id },
        token: Token { epoch, revision },
    };
    Ok(keys.zip(tokens).map(job_key).collect())
}
