//! Rows of the engine's tables out of the texts of their cells.
//!
//! It reads them by itself and shares nothing with the adapter that writes them but the names of
//! tables and columns: what is recorded is what the database holds, not what the engine believes.

mod series;

use std::rc::Rc;

use backdate_engine::domain::ids::{
    Currency, Epoch, Key, PortfolioId, Revision, SecurityId, Token, TransactionId,
};
use backdate_engine::domain::money::FxRate;
use backdate_engine::domain::records::{
    BusinessDate, CostMethod, Costs, ExchangeRate, Fate, FoldTerms, Instrument, KeyStatus, Lot,
    MarketPrice, Outcome, ParkReason, Place, Portfolio, Position, Terms, Transaction,
    TransactionType, ValuationStatus, Values,
};
use backdate_engine::domain::records::{Cashflow, Classification, Timing};
use backdate_engine::domain::time::Timestamp;
use backdate_engine::ports::log::Topic;
use backdate_engine::ports::store::rows::{
    CashflowRow, EpochRow, HistoryRow, InstrumentRow, JobKey, JobStatus, KeyState, LotRow,
    OutboxRow, PortfolioRow, PriceRow, RateRow, ReplayRow, ReprocessingJobRow, SnapshotRow,
    Subject, Table, TimelineRow, TransactionRow, TriggerRow, ValuationJobRow,
};
use backdate_reports::recording::Row;

use super::cells::{BadCell, Cells};

/// A row from its cells in the order of its columns.
pub(super) fn read(table: Table, values: &[Option<&str>]) -> Result<Row, BadCell> {
    let cells = &mut Cells::new(values);
    Ok(match table {
        Table::Transactions => Row::Transaction(Rc::new(transaction(cells)?)),
        Table::MarketPrices => Row::Price(Rc::new(PriceRow {
            price: MarketPrice {
                security_id: SecurityId::new(cells.text()?),
                price_date: cells.date()?,
                price: cells.amount()?,
                currency: Currency::new(cells.text()?),
            },
            source_version: cells.number()?,
        })),
        Table::FxRates => Row::Rate(Rc::new(RateRow {
            rate: ExchangeRate {
                from_currency: Currency::new(cells.text()?),
                to_currency: Currency::new(cells.text()?),
                rate_date: cells.date()?,
                rate: cells.amount()?,
            },
            source_version: cells.number()?,
        })),
        Table::Portfolios => Row::Portfolio(Rc::new(PortfolioRow {
            portfolio: Portfolio {
                portfolio_id: PortfolioId::new(cells.text()?),
                base_currency: Currency::new(cells.text()?),
                open_date: cells.text()?.into(),
                cost_basis_method: cells.named(CostMethod::parse)?,
            },
            source_version: cells.number()?,
        })),
        Table::Instruments => Row::Instrument(Rc::new(InstrumentRow {
            instrument: Instrument {
                security_id: SecurityId::new(cells.text()?),
                currency: Currency::new(cells.text()?),
                product_type: cells.text()?.into(),
            },
            source_version: cells.number()?,
        })),
        Table::BusinessDates => Row::BusinessDate(Rc::new(BusinessDate {
            calendar_code: cells.text()?.into(),
            business_date: cells.date()?,
        })),
        Table::OutboxEvents => Row::Outbox(Rc::new(OutboxRow {
            id: cells.number()?,
            lane: cells.number()?,
            topic: cells.named(Topic::parse)?,
            key: cells.text()?.into(),
            payload: cells.text()?.to_owned(),
            correlation_id: cells.optional_text(),
        })),
        Table::InstrumentReprocessingState => Row::Trigger(Rc::new(TriggerRow {
            subject: subject(cells)?,
            earliest_date: cells.date()?,
        })),
        Table::ReprocessingJobs => Row::ReprocessingJob(Rc::new(ReprocessingJobRow {
            id: cells.number()?,
            subject: subject(cells)?,
            date: cells.date()?,
            cursor: cursor_key(cells),
        })),
        Table::PortfolioValuationJobs => Row::ValuationJob(Rc::new(valuation_job(cells)?)),
        Table::PortfolioTimeseries => Row::PortfolioSeries(Rc::new(series::of_portfolio(cells)?)),
        of_a_key => read_of_key(of_a_key, cells)?,
    })
}

/// A row that is about one key.
fn read_of_key(table: Table, cells: &mut Cells<'_>) -> Result<Row, BadCell> {
    let key = key(cells)?;
    Ok(match table {
        Table::PositionState => Row::Key(Rc::new(state(key, cells)?)),
        Table::PositionTimeline => Row::Timeline(Rc::new(timeline(key, cells)?)),
        Table::PositionHistory => Row::History(Rc::new(HistoryRow {
            key,
            place: place(cells)?,
            epoch: Epoch(cells.number()?),
            position: position(cells)?,
        })),
        Table::PositionLots => Row::Lot(Rc::new(LotRow {
            key,
            lot: Lot {
                opened: place(cells)?,
                quantity: cells.amount()?,
                cost: cells.amount()?,
                cost_local: cells.amount()?,
            },
        })),
        Table::PositionEpochs => Row::Epoch(Rc::new(EpochRow {
            key,
            epoch: Epoch(cells.number()?),
            from_date: cells.date()?,
        })),
        Table::Replays => Row::Replay(Rc::new(ReplayRow {
            key,
            epoch: Epoch(cells.number()?),
            from_date: cells.date()?,
            cursor: cursor(cells)?,
        })),
        Table::DailyPositionSnapshots => Row::Snapshot(Rc::new(SnapshotRow {
            key,
            date: cells.date()?,
            epoch: Epoch(cells.number()?),
            revision: Revision(cells.number()?),
            position: position(cells)?,
            market_price: cells.optional_amount()?,
            values: values(cells)?,
            valuation_status: cells.named(ValuationStatus::parse)?,
        })),
        Table::Cashflows => Row::Cashflow(Rc::new(cashflow(key, cells)?)),
        Table::PositionTimeseries => Row::PositionSeries(Rc::new(series::of_position(key, cells)?)),
        other => return Err(format!("{other:?} is no table of keys")),
    })
}

fn key(cells: &mut Cells<'_>) -> Result<Key, BadCell> {
    Ok(Key {
        portfolio_id: PortfolioId::new(cells.text()?),
        security_id: SecurityId::new(cells.text()?),
    })
}

fn place(cells: &mut Cells<'_>) -> Result<Place, BadCell> {
    Ok(Place {
        at: cells.instant()?,
        rank: cells.number()?,
        transaction_id: TransactionId::new(cells.text()?),
    })
}

fn position(cells: &mut Cells<'_>) -> Result<Position, BadCell> {
    Ok(Position {
        quantity: cells.amount()?,
        cost_basis: cells.amount()?,
        cost_basis_local: cells.amount()?,
    })
}

fn terms(cells: &mut Cells<'_>, at: Timestamp) -> Result<Terms, BadCell> {
    Ok(Terms {
        at,
        kind: cells.named(TransactionType::parse)?,
        quantity: cells.amount()?,
        price: cells.amount()?,
        gross: cells.amount()?,
        fee: cells.amount()?,
        accrued_interest: cells.amount()?,
        policy: cells.optional_text(),
        trade_currency: Currency::new(cells.text()?),
        currency: Currency::new(cells.text()?),
    })
}

fn transaction(cells: &mut Cells<'_>) -> Result<TransactionRow, BadCell> {
    let transaction_id = TransactionId::new(cells.text()?);
    let key = key(cells)?;
    let instrument_id = cells.text()?.into();
    let settlement_date = cells.optional_text();
    let at = cells.instant()?;
    let terms = terms(cells, at)?;
    Ok(TransactionRow {
        transaction: Transaction { transaction_id, key, instrument_id, settlement_date, terms },
        source_version: cells.number()?,
        correlation_id: cells.optional_text(),
    })
}

fn state(key: Key, cells: &mut Cells<'_>) -> Result<KeyState, BadCell> {
    Ok(KeyState {
        key,
        epoch: Epoch(cells.number()?),
        revision: Revision(cells.number()?),
        watermark_date: cells.date()?,
        valued_through: match cells.optional() {
            Some(text) => Some(Cells::new(&[Some(text)]).date()?),
            None => None,
        },
        status: cells.named(KeyStatus::parse)?,
        served_epoch: Epoch(cells.number()?),
        input_version: cells.number()?,
        fold_terms: fold_terms(cells)?,
        position: position(cells)?,
        updated_at: cells.instant()?,
    })
}

fn fold_terms(cells: &mut Cells<'_>) -> Result<Option<FoldTerms>, BadCell> {
    let (base, method) = (cells.optional(), cells.optional());
    let (Some(base), Some(method)) = (base, method) else { return Ok(None) };
    let method = CostMethod::parse(method).ok_or_else(|| format!("method {method:?}"))?;
    Ok(Some(FoldTerms { base_currency: Currency::new(base), method }))
}

fn timeline(key: Key, cells: &mut Cells<'_>) -> Result<TimelineRow, BadCell> {
    let place = place(cells)?;
    let terms = terms(cells, place.at)?;
    let correlation_id = cells.optional_text();
    Ok(TimelineRow { key, place, terms, correlation_id, outcome: outcome(cells)? })
}

fn outcome(cells: &mut Cells<'_>) -> Result<Option<Outcome>, BadCell> {
    let (applied, reason) = (cells.optional(), cells.optional());
    let fx = rate(cells)?;
    let fate = match applied {
        None => return Ok(None),
        Some("t") => Fate::Applied(Costs {
            gross_cost: cells.amount()?,
            net_cost: cells.amount()?,
            net_cost_local: cells.amount()?,
            realized_gain_loss: cells.optional_amount()?,
            realized_gain_loss_local: cells.optional_amount()?,
            transaction_fx_rate: cells.amount()?,
        }),
        Some(_) => {
            let known = reason.and_then(ParkReason::parse);
            Fate::Parked(known.ok_or_else(|| format!("parked for {reason:?}"))?)
        }
    };
    Ok(Some(Outcome { fx, fate }))
}

/// A rate as a quotient of products; a second factor of one is null.
fn rate(cells: &mut Cells<'_>) -> Result<Option<FxRate>, BadCell> {
    let mut factor = || match cells.optional() {
        Some(text) => text.parse::<i128>().map(Some).map_err(|_| format!("a factor {text:?}")),
        None => Ok(None),
    };
    let (num, num_2, den, den_2) = (factor()?, factor()?, factor()?, factor()?);
    let (Some(num), Some(den)) = (num, den) else { return Ok(None) };
    let rate = FxRate::from_parts([num, num_2.unwrap_or(1)], [den, den_2.unwrap_or(1)]);
    rate.map(Some).ok_or_else(|| "a rate that is not above zero".to_owned())
}

fn cursor(cells: &mut Cells<'_>) -> Result<Option<Place>, BadCell> {
    let (at, rank, id) = (cells.optional_instant()?, cells.optional(), cells.optional());
    let (Some(at), Some(rank), Some(id)) = (at, rank, id) else { return Ok(None) };
    let rank = rank.parse().map_err(|_| format!("rank {rank:?}"))?;
    Ok(Some(Place { at, rank, transaction_id: TransactionId::new(id) }))
}

fn cursor_key(cells: &mut Cells<'_>) -> Option<Key> {
    let (portfolio, security) = (cells.optional(), cells.optional());
    Some(Key {
        portfolio_id: PortfolioId::new(portfolio?),
        security_id: SecurityId::new(security?),
    })
}

fn values(cells: &mut Cells<'_>) -> Result<Option<Values>, BadCell> {
    let four = [0; 4].map(|_| cells.optional_amount());
    let [market_value, market_value_local, gain, gain_local] = four;
    Ok(match (market_value?, market_value_local?, gain?, gain_local?) {
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

fn cashflow(key: Key, cells: &mut Cells<'_>) -> Result<CashflowRow, BadCell> {
    Ok(CashflowRow {
        key,
        place: place(cells)?,
        epoch: Epoch(cells.number()?),
        kind: cells.named(TransactionType::parse)?,
        cashflow: Cashflow {
            amount: cells.amount()?,
            currency: Currency::new(cells.text()?),
            classification: cells.named(Classification::parse)?,
            timing: cells.named(Timing::parse)?,
            is_position_flow: cells.flag()?,
            is_portfolio_flow: cells.flag()?,
        },
    })
}

fn subject(cells: &mut Cells<'_>) -> Result<Subject, BadCell> {
    let (kind, id, to) = (cells.text()?, cells.text()?, cells.text()?);
    Ok(match kind {
        "0" => Subject::Security(SecurityId::new(id)),
        "1" => Subject::Pair(Currency::new(id), Currency::new(to)),
        "2" => Subject::Calendar,
        "3" => Subject::Portfolio(PortfolioId::new(id)),
        _ => return Err(format!("subject kind {kind:?}")),
    })
}

fn valuation_job(cells: &mut Cells<'_>) -> Result<ValuationJobRow, BadCell> {
    let id = cells.number()?;
    let (portfolios, securities) = (cells.list()?, cells.list()?);
    let (epochs, revisions) = (cells.list()?, cells.list()?);
    let keys = portfolios.iter().zip(&securities).zip(epochs.iter().zip(&revisions));
    let keys = keys.map(|((portfolio, security), (epoch, revision))| {
        let wrong = |_| format!("a token {epoch}/{revision}");
        Ok(JobKey {
            key: Key {
                portfolio_id: PortfolioId::new(portfolio),
                security_id: SecurityId::new(security),
            },
            token: Token {
                epoch: Epoch(epoch.parse().map_err(wrong)?),
                revision: Revision(revision.parse().map_err(wrong)?),
            },
        })
    });
    Ok(ValuationJobRow {
        id,
        keys: keys.collect::<Result<_, BadCell>>()?,
        date_from: cells.date()?,
        date_to: cells.date()?,
        status: cells.named(JobStatus::parse)?,
        attempts: cells.number()?,
        lease_until: cells.optional_instant()?,
        not_before: cells.instant()?,
    })
}
