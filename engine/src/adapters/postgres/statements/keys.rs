//! The fence: locks and updates of `position_state`.

use sqlx::{Error, PgConnection};

use super::super::columns::state_columns;
use super::super::types::Big;
use super::{Bind, Run, done, rows, sql};
use crate::domain::ids::Key;
use crate::ports::store::rows::KeyState;
use crate::ports::store::statements::{LockKeys, RaiseValuedThrough, UpdateKeys};

macro_rules! lock_keys {
    ($skip_locked:literal) => {
        concat!(
            "SELECT ",
            state_columns!(),
            " FROM position_state
            WHERE (portfolio_id, security_id) IN (SELECT * FROM unnest($1, $2))
            ORDER BY portfolio_id, security_id
            FOR NO KEY UPDATE OF position_state",
            $skip_locked
        )
    };
}

impl Run for LockKeys {
    async fn run(self, connection: &mut PgConnection) -> Result<Vec<KeyState>, Error> {
        let text = if self.skip_locked { lock_keys!(" SKIP LOCKED") } else { lock_keys!("") };
        rows(sql(text).keys(&self.keys, |key| key), connection).await
    }
}

impl Run for UpdateKeys {
    async fn run(self, connection: &mut PgConnection) -> Result<(), Error> {
        let text = "UPDATE position_state ps SET
                epoch = r.epoch, revision = r.revision, watermark_date = r.watermark_date,
                valued_through = r.valued_through, status = r.status,
                served_epoch = r.served_epoch, input_version = r.input_version,
                base_currency = r.base_currency, cost_basis_method = r.cost_basis_method,
                quantity = r.quantity, cost_basis = r.cost_basis,
                cost_basis_local = r.cost_basis_local, updated_at = now()
            FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) r(
                portfolio_id, security_id, epoch, revision, watermark_date, valued_through,
                status, served_epoch, input_version, base_currency, cost_basis_method,
                quantity, cost_basis, cost_basis_local)
            WHERE ps.portfolio_id = r.portfolio_id AND ps.security_id = r.security_id";
        let rows = &self.rows;
        let call = sql(text)
            .keys(rows, |row: &KeyState| &row.key)
            .each(rows, |row| row.epoch)
            .each(rows, |row| row.revision)
            .each(rows, |row| row.watermark_date)
            .each(rows, |row| row.valued_through)
            .each(rows, |row| row.status.as_str())
            .each(rows, |row| row.served_epoch)
            .each(rows, |row| Big(row.input_version))
            .each(rows, |row| row.fold_terms.as_ref().map(|terms| &terms.base_currency))
            .each(rows, |row| row.fold_terms.as_ref().map(|terms| terms.method.as_str()))
            .positions(rows, |row| &row.position);
        done(call, connection).await
    }
}

impl Run for RaiseValuedThrough {
    async fn run(self, connection: &mut PgConnection) -> Result<(), Error> {
        let text = "UPDATE position_state ps
            SET valued_through = GREATEST(ps.valued_through, $3), updated_at = now()
            FROM unnest($1, $2) r(portfolio_id, security_id)
            WHERE ps.portfolio_id = r.portfolio_id AND ps.security_id = r.security_id";
        let call = sql(text).keys(&self.keys, |key: &Key| key).bind(self.date);
        done(call, connection).await
    }
}
