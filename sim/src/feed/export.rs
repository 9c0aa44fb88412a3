//! The tables of a settled engine as CSV files: the current valid version only.
//!
//! Rows are sorted by the bytes of their key columns, so any two runs that come to the same result
//! write the same bytes (but for epoch and revision).

mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use backdate_engine::domain::cashflow::CALCULATION_TYPE;
use backdate_engine::domain::ids::{Epoch, Key, SecurityId, TransactionId};
use backdate_engine::domain::messages;
use backdate_engine::domain::money::Amount;
use backdate_engine::domain::records::{Costs, Fate, GLOBAL_CALENDAR, KeyStatus};
use backdate_engine::domain::time::Date;
use backdate_engine::ports::store::rows::{
    CashflowRow, EpochRow, HistoryRow, KeyState, PortfolioSeriesRow, PositionSeriesRow,
    SnapshotRow, Table, TimelineRow, TransactionRow,
};
use backdate_reports::recording::Row;

use self::table::CsvTable;
use crate::runner::Stage;

/// Tables of the database that an export is made of.
const EXPORTED: [Table; 11] = [
    Table::PositionState,
    Table::PositionEpochs,
    Table::Transactions,
    Table::PositionTimeline,
    Table::PositionHistory,
    Table::DailyPositionSnapshots,
    Table::Cashflows,
    Table::PositionTimeseries,
    Table::PortfolioTimeseries,
    Table::Instruments,
    Table::BusinessDates,
];

/// The committed rows that an export is made of.
#[derive(Debug, Default)]
pub struct Tables {
    keys: BTreeMap<Key, KeyState>,
    epochs: BTreeMap<Key, Vec<EpochRow>>,
    transactions: BTreeMap<TransactionId, TransactionRow>,
    timeline: BTreeMap<TransactionId, TimelineRow>,
    history: BTreeMap<(Key, TransactionId), HistoryRow>,
    snapshots: BTreeMap<(Key, Date), SnapshotRow>,
    cashflows: Vec<CashflowRow>,
    position_series: BTreeMap<(Key, Date), PositionSeriesRow>,
    portfolio_series: Vec<PortfolioSeriesRow>,
    dead_letters: Vec<[String; 4]>,
    instruments: BTreeSet<SecurityId>,
    latest_business_date: Option<Date>,
}

impl Tables {
    /// What a stage has committed.
    pub fn of(stage: &mut impl Stage) -> Self {
        let letters = stage.dead_letters();
        Self::new(stage.rows(&EXPORTED), letters.iter().map(Vec::as_slice))
    }

    /// Sorts rows of the database, and messages of the dead-letter topic, by table.
    pub fn new<'d>(
        rows: impl IntoIterator<Item = Row>,
        dead_letters: impl IntoIterator<Item = &'d [u8]>,
    ) -> Self {
        let mut tables = Tables::default();
        let (mut history, mut snapshots, mut series) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            match row {
                Row::Key(row) => drop(tables.keys.insert(row.key.clone(), (*row).clone())),
                Row::Epoch(row) => {
                    tables.epochs.entry(row.key.clone()).or_default().push((*row).clone());
                }
                Row::Transaction(row) => {
                    let id = row.transaction.transaction_id.clone();
                    tables.transactions.insert(id, (*row).clone());
                }
                Row::Timeline(row) => {
                    let id = row.place.transaction_id.clone();
                    tables.timeline.insert(id, (*row).clone());
                }
                Row::Instrument(row) => {
                    tables.instruments.insert(row.instrument.security_id.clone());
                }
                Row::BusinessDate(row) if row.calendar_code == GLOBAL_CALENDAR => {
                    let date = Some(row.business_date);
                    tables.latest_business_date = tables.latest_business_date.max(date);
                }
                Row::History(row) => history.push(row),
                Row::Snapshot(row) => snapshots.push(row),
                Row::Cashflow(row) => tables.cashflows.push((*row).clone()),
                Row::PositionSeries(row) => series.push(row),
                Row::PortfolioSeries(row) => tables.portfolio_series.push((*row).clone()),
                _ => {}
            }
        }
        // Of several valid rows of one identity, the one of the newest version counts: a price may
        // revalue dates that lie before the first date of a rebuilt history.
        history.retain(|row| tables.is_valid(&row.key, row.epoch, row.place.date()));
        history.sort_by_key(|row| row.epoch);
        for row in history {
            let id = (row.key.clone(), row.place.transaction_id.clone());
            tables.history.insert(id, (*row).clone());
        }
        snapshots.retain(|row| tables.is_valid(&row.key, row.epoch, row.date));
        snapshots.sort_by_key(|row| row.epoch);
        for row in snapshots {
            tables.snapshots.insert((row.key.clone(), row.date), (*row).clone());
        }
        series.retain(|row| tables.is_valid(&row.key, row.epoch, row.date));
        series.sort_by_key(|row| row.epoch);
        for row in series {
            tables.position_series.insert((row.key.clone(), row.date), (*row).clone());
        }
        let mut cashflows = std::mem::take(&mut tables.cashflows);
        cashflows.retain(|row| tables.is_valid(&row.key, row.epoch, row.place.date()));
        tables.cashflows = cashflows;
        tables.dead_letters = dead_letters
            .into_iter()
            .filter_map(messages::read_dead_letter)
            .map(|letter| [letter.topic, letter.key, letter.value, letter.error])
            .collect();
        tables
    }

    /// Writes one file per table into a folder, which is made if it is not there.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        self.position_state().write(folder)?;
        self.transactions().write(folder)?;
        self.position_history().write(folder)?;
        self.snapshots().write(folder)?;
        self.cashflows().write(folder)?;
        self.position_series().write(folder)?;
        self.portfolio_series().write(folder)?;
        self.parked().write(folder)?;
        self.waiting_table().write(folder)?;
        self.dead_letters().write(folder)
    }

    fn position_state(&self) -> CsvTable {
        let header = "portfolio_id,security_id,epoch,revision,watermark_date,status";
        let mut table = CsvTable::new("position_state", header, 2);
        let waiting: BTreeMap<Key, Date> = self.waiting_since().collect();
        for state in self.keys.values() {
            // A key that waits rests as it was when its data was missed, which depends on the order
            // of arrival; here it stands as what it is: nothing is valued from its first date on.
            let since = waiting.get(&state.key).map(|first| first.previous());
            let status = since.map_or(state.status, |_| KeyStatus::Reprocessing);
            table.push(vec![
                state.key.portfolio_id.to_string(),
                state.key.security_id.to_string(),
                state.epoch.0.to_string(),
                state.revision.0.to_string(),
                since.unwrap_or(state.watermark_date).to_string(),
                status.to_string(),
            ]);
        }
        table
    }

    fn transactions(&self) -> CsvTable {
        let header = "transaction_id,portfolio_id,security_id,transaction_date,transaction_type,\
                      quantity,price,gross_transaction_amount,trade_fee,trade_currency,currency,\
                      gross_cost,net_cost,net_cost_local,realized_gain_loss,\
                      realized_gain_loss_local,transaction_fx_rate";
        let mut table = CsvTable::new("transactions", header, 1);
        for (id, row) in &self.transactions {
            let terms = &row.transaction.terms;
            let mut cells = vec![
                id.to_string(),
                row.transaction.key.portfolio_id.to_string(),
                row.transaction.key.security_id.to_string(),
                terms.at.to_string(),
                terms.kind.to_string(),
                terms.quantity.to_string(),
                terms.price.to_string(),
                terms.gross.to_string(),
                terms.fee.to_string(),
                terms.trade_currency.to_string(),
                terms.currency.to_string(),
            ];
            cells.extend(cost_cells(self.costs_of(id)));
            table.push(cells);
        }
        table
    }

    fn costs_of(&self, id: &TransactionId) -> Option<&Costs> {
        match &self.timeline.get(id)?.outcome.as_ref()?.fate {
            Fate::Applied(costs) => Some(costs),
            Fate::Parked(_) => None,
        }
    }

    fn position_history(&self) -> CsvTable {
        let header = "portfolio_id,security_id,transaction_id,position_date,quantity,cost_basis,\
                      cost_basis_local";
        let mut table = CsvTable::new("position_history", header, 3);
        for row in self.history.values() {
            table.push(vec![
                row.key.portfolio_id.to_string(),
                row.key.security_id.to_string(),
                row.place.transaction_id.to_string(),
                row.place.date().to_string(),
                row.position.quantity.to_string(),
                row.position.cost_basis.to_string(),
                row.position.cost_basis_local.to_string(),
            ]);
        }
        table
    }

    fn snapshots(&self) -> CsvTable {
        let header = "portfolio_id,security_id,date,quantity,cost_basis,cost_basis_local,\
                      market_price,market_value,market_value_local,unrealized_gain_loss,\
                      unrealized_gain_loss_local,valuation_status";
        let mut table = CsvTable::new("daily_position_snapshots", header, 3);
        for row in self.snapshots.values() {
            let values = row.values.as_ref();
            table.push(vec![
                row.key.portfolio_id.to_string(),
                row.key.security_id.to_string(),
                row.date.to_string(),
                row.position.quantity.to_string(),
                row.position.cost_basis.to_string(),
                row.position.cost_basis_local.to_string(),
                cell(row.market_price),
                cell(values.map(|v| v.market_value)),
                cell(values.map(|v| v.market_value_local)),
                cell(values.map(|v| v.unrealized_gain_loss)),
                cell(values.map(|v| v.unrealized_gain_loss_local)),
                row.valuation_status.to_string(),
            ]);
        }
        table
    }

    fn cashflows(&self) -> CsvTable {
        let header = "transaction_id,portfolio_id,security_id,cashflow_date,amount,currency,\
                      classification,timing,is_position_flow,is_portfolio_flow,calculation_type";
        let mut table = CsvTable::new("cashflows", header, 1);
        for row in &self.cashflows {
            let flow = &row.cashflow;
            table.push(vec![
                row.place.transaction_id.to_string(),
                row.key.portfolio_id.to_string(),
                row.key.security_id.to_string(),
                row.place.date().to_string(),
                flow.amount.to_string(),
                flow.currency.to_string(),
                flow.classification.to_string(),
                flow.timing.to_string(),
                flow.is_position_flow.to_string(),
                flow.is_portfolio_flow.to_string(),
                CALCULATION_TYPE.to_owned(),
            ]);
        }
        table
    }

    fn position_series(&self) -> CsvTable {
        let header = "portfolio_id,security_id,date,bod_market_value,bod_cashflow_position,\
                      eod_cashflow_position,bod_cashflow_portfolio,eod_cashflow_portfolio,\
                      eod_market_value,fees,quantity,cost";
        let mut table = CsvTable::new("position_timeseries", header, 3);
        for row in self.position_series.values() {
            let series = &row.series;
            table.push(vec![
                row.key.portfolio_id.to_string(),
                row.key.security_id.to_string(),
                row.date.to_string(),
                series.bod_market_value.to_string(),
                series.bod_cashflow_position.to_string(),
                series.eod_cashflow_position.to_string(),
                series.bod_cashflow_portfolio.to_string(),
                series.eod_cashflow_portfolio.to_string(),
                series.eod_market_value.to_string(),
                series.fees.to_string(),
                series.quantity.to_string(),
                cell(series.cost),
            ]);
        }
        table
    }

    fn portfolio_series(&self) -> CsvTable {
        let header = "portfolio_id,date,bod_market_value,bod_cashflow,eod_cashflow,\
                      eod_market_value,fees";
        let mut table = CsvTable::new("portfolio_timeseries", header, 2);
        for row in &self.portfolio_series {
            let series = &row.series;
            table.push(vec![
                row.portfolio_id.to_string(),
                row.date.to_string(),
                series.bod_market_value.to_string(),
                series.bod_cashflow.to_string(),
                series.eod_cashflow.to_string(),
                series.eod_market_value.to_string(),
                series.fees.to_string(),
            ]);
        }
        table
    }

    fn parked(&self) -> CsvTable {
        let mut table = CsvTable::new("parked", "transaction_id,reason", 1);
        for (id, row) in &self.timeline {
            if let Some(Fate::Parked(reason)) = row.outcome.as_ref().map(|outcome| &outcome.fate) {
                table.push(vec![id.to_string(), reason.to_string()]);
            }
        }
        table
    }

    fn dead_letters(&self) -> CsvTable {
        let mut table = CsvTable::new("dead_letters", "topic,key,value,error", 4);
        for letter in &self.dead_letters {
            table.push(letter.to_vec());
        }
        table
    }

    /// Keys that wait for named missing data, and what is missing.
    pub fn waiting(&self) -> Vec<(Key, String)> {
        let missing = |key: &Key| format!("instrument {}", key.security_id);
        self.waiting_since().map(|(key, _)| (key.clone(), missing(&key))).collect()
    }

    /// Keys without their instrument that have something due, with their first applied date.
    fn waiting_since(&self) -> impl Iterator<Item = (Key, Date)> {
        let mut first: BTreeMap<Key, Date> = BTreeMap::new();
        for row in self.timeline.values().filter(|row| row.is_applied()) {
            let date = row.place.date();
            let earliest = first.entry(row.key.clone()).or_insert(date);
            *earliest = (*earliest).min(date);
        }
        first.into_iter().filter(|(key, date)| {
            let is_due = self.latest_business_date.is_some_and(|latest| *date <= latest);
            is_due && !self.instruments.contains(&key.security_id)
        })
    }

    fn waiting_table(&self) -> CsvTable {
        let mut table = CsvTable::new("waiting", "portfolio_id,security_id,missing", 2);
        for (key, missing) in self.waiting() {
            let cells = [key.portfolio_id.to_string(), key.security_id.to_string(), missing];
            table.push(cells.to_vec());
        }
        table
    }

    /// Whether a row of that epoch and date belongs to the newest version of its key. Of a settled
    /// key that is the served one; a key that waits for its instrument serves nothing yet.
    fn is_valid(&self, key: &Key, epoch: Epoch, date: Date) -> bool {
        let Some(state) = self.keys.get(key) else { return false };
        let epochs = self.epochs.get(key).map_or(&[][..], Vec::as_slice);
        let replaced =
            epochs.iter().any(|e| e.epoch > epoch && e.epoch <= state.epoch && e.from_date <= date);
        epoch <= state.epoch && !replaced
    }
}

fn cost_cells(costs: Option<&Costs>) -> [String; 6] {
    [
        cell(costs.map(|c| c.gross_cost)),
        cell(costs.map(|c| c.net_cost)),
        cell(costs.map(|c| c.net_cost_local)),
        cell(costs.and_then(|c| c.realized_gain_loss)),
        cell(costs.and_then(|c| c.realized_gain_loss_local)),
        cell(costs.map(|c| c.transaction_fx_rate)),
    ]
}

fn cell(amount: Option<Amount>) -> String {
    amount.map_or_else(String::new, |amount| amount.to_string())
}
