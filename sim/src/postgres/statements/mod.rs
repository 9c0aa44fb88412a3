//! Every statement of the engine over the core, a few lines each that mirror its SQL.
//!
//! # Invariants
//! - What a statement reads it reads in one `read` at its start; locks come after that.

mod cashflows;
mod keys;
mod outbox;
mod persistence;
pub(super) mod reads;
mod series;
mod support;
mod timeline;
mod triggers;
mod validity;
mod valuation;

use backdate_engine::ports::store::statements::Backlog;
use backdate_engine::ports::store::{AnyStatement, Statement, StoreError, statements as sql};

use super::core::session::Session;
use super::core::table::Version;
use super::schema::Stored;

/// A statement that the simulated server can run.
pub trait Run: Statement {
    /// Runs it in the session's transaction.
    #[allow(async_fn_in_trait, reason = "the server is single-threaded; no future is sent")]
    async fn run(self, session: &mut Session) -> Result<Self::Output, StoreError>;
}

/// An answer whose rows are counted for the cost model.
pub trait Rows {
    /// Number of rows returned.
    fn rows(&self) -> usize;
}

impl Rows for () {
    fn rows(&self) -> usize {
        0
    }
}

impl<T> Rows for Vec<T> {
    fn rows(&self) -> usize {
        self.len()
    }
}

impl<T> Rows for Option<T> {
    fn rows(&self) -> usize {
        usize::from(self.is_some())
    }
}

impl Rows for Backlog {
    fn rows(&self) -> usize {
        1
    }
}

/// Runs a statement and counts its rows.
///
/// # Errors
/// Those of the statement; the transaction is then over.
pub async fn run<S: Run>(statement: S, session: &mut Session) -> Result<S::Output, StoreError>
where
    S::Output: Rows,
{
    session.begin();
    let output = statement.run(session).await;
    match &output {
        Ok(output) => session.count_rows(output.rows()),
        Err(_) => session.abort(),
    }
    output
}

macro_rules! dispatch {
    ($($name:ident),+) => {
        /// Runs any statement; its answer, encoded.
        ///
        /// # Errors
        /// Those of the statement; the transaction is then over.
        pub async fn run_encoded(
            statement: AnyStatement,
            session: &mut Session,
        ) -> Result<Vec<u8>, StoreError> {
            match statement {
                $(AnyStatement::$name(statement) => {
                    // Boxed, else the future of each statement is as large as the largest of all.
                    let run = Box::pin(run(statement, session));
                    let output: <sql::$name as Statement>::Output = run.await?;
                    Ok(encode(&output))
                })+
            }
        }
    };
}

backdate_engine::for_each_statement!(dispatch);

fn encode<T: serde::Serialize>(output: &T) -> Vec<u8> {
    postcard::to_stdvec(&Ok::<&T, StoreError>(output)).expect("rows can be encoded")
}

/// The visible rows with these keys, in key order, each once.
fn any<R: Stored>(session: &mut Session, mut pks: Vec<R::Pk>) -> Vec<Version<R>> {
    pks.sort_unstable();
    pks.dedup();
    session.read(|view| pks.iter().filter_map(|pk| view.version::<R>(pk).cloned()).collect())
}

/// Copies rows out.
fn owned<R: Clone>(rows: Vec<std::rc::Rc<R>>) -> Vec<R> {
    rows.into_iter().map(|row| (*row).clone()).collect()
}

/// The visible rows with these keys, copied.
fn read_any<R: Stored + Clone>(session: &mut Session, pks: Vec<R::Pk>) -> Vec<R> {
    any::<R>(session, pks).into_iter().map(|version| (*version.row).clone()).collect()
}
