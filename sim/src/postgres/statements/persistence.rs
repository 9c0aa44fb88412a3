//! What persistence runs: locks and upserts of inputs, new keys, business dates.

use backdate_engine::defects::{Defect, is_planted};
use backdate_engine::domain::ids::{Epoch, Revision, TransactionId};
use backdate_engine::domain::records::{BusinessDate, KeyStatus, Position};
use backdate_engine::domain::time::Date;
use backdate_engine::ports::store::StoreError;
use backdate_engine::ports::store::rows::{
    InstrumentRow, KeyState, PortfolioRow, PriceRow, RateRow, TransactionRow,
};
use backdate_engine::ports::store::statements::{
    InsertBusinessDates, InsertKeys, InsertTransactions, LockCalendar, LockInstruments,
    LockPortfolios, LockPrices, LockRates, LockTransactions, ReadInstruments,
    ReadLatestBusinessDate, ReadPortfolios, ReadTransactions, UpdateTransactions,
    UpsertInstruments, UpsertPortfolios, UpsertPrices, UpsertRates,
};

use super::super::core::locks::LockMode;
use super::super::core::session::Session;
use super::super::core::table::Record;
use super::super::derived::latest_business_date;
use super::super::schema::{CalendarRow, Stored};
use super::{Run, any, owned, read_any};

/// `SELECT .. WHERE pk = ANY(..) ORDER BY pk FOR UPDATE`
async fn for_update<R: Stored + Clone>(
    session: &mut Session,
    pks: Vec<R::Pk>,
) -> Result<Vec<R>, StoreError> {
    let rows = any::<R>(session, pks);
    session.lock(rows, LockMode::Update, false, |_| true).await.map(owned)
}

/// `ON CONFLICT DO UPDATE .. WHERE old.source_version <= excluded.source_version`
async fn upsert_versions<R: Stored + Clone>(
    session: &mut Session,
    rows: Vec<R>,
    version: impl Fn(&R) -> i64,
) -> Result<(), StoreError> {
    for row in rows {
        let merge = |old: &R, new: &R| {
            let is_newer = version(old) <= version(new) || is_planted(Defect::LowerVersionWins);
            is_newer.then(|| new.clone())
        };
        session.upsert(row, merge).await?;
    }
    Ok(())
}

impl Run for LockTransactions {
    async fn run(self, session: &mut Session) -> Result<Vec<TransactionRow>, StoreError> {
        for_update(session, self.ids).await
    }
}

impl Run for InsertTransactions {
    async fn run(self, session: &mut Session) -> Result<Vec<TransactionId>, StoreError> {
        let mut inserted = Vec::new();
        for row in self.rows {
            let id = row.pk();
            if session.insert_or_ignore(row).await? {
                inserted.push(id);
            }
        }
        Ok(inserted)
    }
}

impl Run for UpdateTransactions {
    async fn run(self, session: &mut Session) -> Result<(), StoreError> {
        for row in self.rows {
            let old = any::<TransactionRow>(session, vec![row.pk()]);
            session.update(old, |_| Some(row.clone())).await?;
        }
        Ok(())
    }
}

impl Run for InsertKeys {
    async fn run(self, session: &mut Session) -> Result<(), StoreError> {
        let (latest, new) = session.read(|view| {
            let mut new = self.keys;
            new.retain(|(key, _)| view.get::<KeyState>(key).is_none());
            (latest_business_date(view), new)
        });
        for (key, date) in new {
            let before: Date = date.previous();
            let row = KeyState {
                key,
                epoch: Epoch(0),
                revision: Revision(0),
                watermark_date: latest.map_or(before, |latest| latest.min(before)),
                valued_through: None,
                status: KeyStatus::Current,
                served_epoch: Epoch(0),
                input_version: 0,
                fold_terms: None,
                position: Position::default(),
                updated_at: session.now(),
            };
            session.insert_or_ignore(row).await?;
        }
        Ok(())
    }
}

impl Run for LockPrices {
    async fn run(self, session: &mut Session) -> Result<Vec<PriceRow>, StoreError> {
        for_update(session, self.ids).await
    }
}

impl Run for UpsertPrices {
    async fn run(self, session: &mut Session) -> Result<(), StoreError> {
        upsert_versions(session, self.rows, |row: &PriceRow| row.source_version).await
    }
}

impl Run for LockRates {
    async fn run(self, session: &mut Session) -> Result<Vec<RateRow>, StoreError> {
        for_update(session, self.ids).await
    }
}

impl Run for UpsertRates {
    async fn run(self, session: &mut Session) -> Result<(), StoreError> {
        upsert_versions(session, self.rows, |row: &RateRow| row.source_version).await
    }
}

impl Run for LockPortfolios {
    async fn run(self, session: &mut Session) -> Result<Vec<PortfolioRow>, StoreError> {
        for_update(session, self.ids).await
    }
}

impl Run for UpsertPortfolios {
    async fn run(self, session: &mut Session) -> Result<(), StoreError> {
        upsert_versions(session, self.rows, |row: &PortfolioRow| row.source_version).await
    }
}

impl Run for LockInstruments {
    async fn run(self, session: &mut Session) -> Result<Vec<InstrumentRow>, StoreError> {
        for_update(session, self.ids).await
    }
}

impl Run for UpsertInstruments {
    async fn run(self, session: &mut Session) -> Result<(), StoreError> {
        upsert_versions(session, self.rows, |row: &InstrumentRow| row.source_version).await
    }
}

impl Run for LockCalendar {
    async fn run(self, session: &mut Session) -> Result<(), StoreError> {
        session.insert_or_ignore(CalendarRow { code: self.code.clone() }).await?;
        // A statement of its own: it sees the row that the first one may have waited for.
        let row = any::<CalendarRow>(session, vec![self.code]);
        session.lock(row, LockMode::Update, false, |_| true).await?;
        Ok(())
    }
}

impl Run for InsertBusinessDates {
    async fn run(self, session: &mut Session) -> Result<Vec<BusinessDate>, StoreError> {
        let mut inserted = Vec::new();
        for row in self.rows {
            if session.insert_or_ignore(row.clone()).await? {
                inserted.push(row);
            }
        }
        Ok(inserted)
    }
}

impl Run for ReadLatestBusinessDate {
    async fn run(self, session: &mut Session) -> Result<Option<Date>, StoreError> {
        Ok(session.read(latest_business_date))
    }
}

impl Run for ReadTransactions {
    async fn run(self, session: &mut Session) -> Result<Vec<TransactionRow>, StoreError> {
        Ok(read_any(session, self.ids))
    }
}

impl Run for ReadPortfolios {
    async fn run(self, session: &mut Session) -> Result<Vec<PortfolioRow>, StoreError> {
        Ok(read_any(session, self.ids))
    }
}

impl Run for ReadInstruments {
    async fn run(self, session: &mut Session) -> Result<Vec<InstrumentRow>, StoreError> {
        Ok(read_any(session, self.ids))
    }
}
