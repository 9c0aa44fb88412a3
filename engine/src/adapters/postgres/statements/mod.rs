//! Every statement of the port as SQL.
//!
//! Sets are arrays that `unnest` takes apart in their order. Where a statement locks, the order of
//! its locks is that of its ORDER BY; claims lock in a materialized CTE, which cannot be run again
//! for each outer row.
//!
//! # Invariants
//! - What a statement reads is of one snapshot of the database, unless [`Run::STEPS`] says more.

mod cashflows;
mod fan_out;
mod fold;
mod jobs;
mod keys;
mod outbox;
mod persistence;
mod reads;
mod series;
mod support;
mod timeline;
mod valuation;

use std::any::Any;

use sqlx::postgres::PgRow;
use sqlx::{Error, PgConnection};

use super::bind::{Bind, Call, sql};
use super::cells::{Read, read};
use crate::ports::store::{AnyStatement, Statement, statements};

/// A statement that PostgreSQL runs.
pub(super) trait Run: Statement {
    /// SQL statements that it takes; more than one need a transaction around them.
    const STEPS: u32 = 1;

    /// Runs it.
    #[allow(async_fn_in_trait, reason = "instances are single-threaded; no future is sent")]
    async fn run(self, connection: &mut PgConnection) -> Result<Self::Output, Error>;
}

macro_rules! dispatch {
    ($($name:ident),+) => {
        /// Runs any statement; the answer is of its output type.
        ///
        /// # Errors
        /// Those of the database.
        pub(super) async fn run(
            statement: AnyStatement,
            connection: &mut PgConnection,
        ) -> Result<Box<dyn Any>, Error> {
            match statement {
                $(AnyStatement::$name(statement) => {
                    // Boxed, else the future of each statement is as large as the largest of all.
                    let answer = Box::pin(statement.run(connection)).await?;
                    Ok(Box::new(answer))
                })+
            }
        }

        /// [`Run::STEPS`] of any statement.
        pub(super) fn steps(statement: &AnyStatement) -> u32 {
            match statement {
                $(AnyStatement::$name(_) => <statements::$name as Run>::STEPS),+
            }
        }
    };
}

statements::each_statement!(dispatch);

/// Runs a call and reads each row.
async fn rows<T: Read>(call: Call, connection: &mut PgConnection) -> Result<Vec<T>, Error> {
    rows_with(call, connection, read).await
}

/// Runs a call and reads each row in that way.
async fn rows_with<T>(
    call: Call,
    connection: &mut PgConnection,
    read: impl Fn(&PgRow) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    call.fetch_all(connection).await?.iter().map(read).collect()
}

/// Runs a call that answers nothing.
async fn done(call: Call, connection: &mut PgConnection) -> Result<(), Error> {
    call.execute(connection).await?;
    Ok(())
}
