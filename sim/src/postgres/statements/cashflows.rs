//! Cash flows, and what they follow from.

use backdate_engine::domain::ids::{Epoch, Key, TransactionId};
use backdate_engine::ports::store::StoreError;
use backdate_engine::ports::store::rows::{CashflowRow, HistoryRow};
use backdate_engine::ports::store::statements::{AppliedTransaction, InsertCashflows, ReadApplied};

use super::super::core::session::Session;
use super::super::core::storage::View;
use super::Run;
use super::timeline::entry;
use super::validity::Validity;

impl Run for ReadApplied {
    async fn run(self, session: &mut Session) -> Result<Vec<AppliedTransaction>, StoreError> {
        Ok(session.read(|view| {
            let found = |id: &(Key, Epoch, TransactionId)| applied(view, id);
            self.ids.iter().filter_map(found).collect()
        }))
    }
}

fn applied(
    view: View<'_>,
    (key, version, id): &(Key, Epoch, TransactionId),
) -> Option<AppliedTransaction> {
    let entry = &entry(view, key, id).next()?.row;
    let at = |epoch| (key.clone(), entry.place.clone(), epoch);
    let validity = Validity::of(view, key, *version);
    let is_valid = |epoch| validity.is_valid(epoch, entry.place.date());
    let rows = view.range::<HistoryRow>(at(Epoch(0))..=at(*version));
    let epoch = rows.rev().map(|row| row.epoch).find(|epoch| is_valid(*epoch))?;
    Some(AppliedTransaction {
        key: key.clone(),
        place: entry.place.clone(),
        epoch,
        terms: entry.terms.clone(),
        has_cashflow: view.get::<CashflowRow>(&at(epoch)).is_some(),
    })
}

impl Run for InsertCashflows {
    async fn run(self, session: &mut Session) -> Result<(), StoreError> {
        for row in self.rows {
            session.insert(row).await?;
        }
        Ok(())
    }
}
