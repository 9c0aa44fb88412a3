//! `GET /support/reprocessing`: keys that are being reprocessed and have not changed for a while.

use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::super::Api;
use super::super::answer::{Answer, Reply};
use super::super::asked::{Asked, escaped};
use super::{KeyView, ReplayView};
use crate::domain::ids::Key;
use crate::ports::Ports;
use crate::ports::store::statements::{FindStuckKeys, StuckKey};

/// A page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StuckPage {
    /// Keys, in key order.
    pub keys: Vec<StuckView>,
    /// Address of the next page, if there may be one.
    pub next: Option<String>,
}

/// A key that is being reprocessed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StuckView {
    /// Where it is.
    pub state: KeyView,
    /// The open rebuild of its history.
    pub replay: Option<ReplayView>,
    /// Valuation jobs that hold it.
    pub valuation_jobs: u64,
    /// Transactions that are parked.
    pub parked: u64,
}

impl StuckView {
    fn of(key: StuckKey) -> Self {
        Self {
            state: KeyView::of(key.state),
            replay: key.replay.map(ReplayView::of),
            valuation_jobs: key.jobs,
            parked: key.parked,
        }
    }
}

/// Answers.
pub(in super::super) async fn page<P: Ports>(api: Rc<Api<P>>, asked: Asked) -> Reply {
    let older_than_ms = asked.age_ms()?;
    let (after, limit) = (asked.key_after()?, asked.limit()?);
    let found = api.look(FindStuckKeys { older_than_ms, after, limit }).await?;
    let last = found.last().filter(|_| found.len() == limit as usize);
    let next = last.map(|last| next(&asked, &last.state.key, limit));
    Ok(Answer::found(&StuckPage { keys: found.into_iter().map(StuckView::of).collect(), next }))
}

fn next(asked: &Asked, last: &Key, limit: u32) -> String {
    let age = asked.text("older_than").map(|age| format!("&older_than={}", escaped(age)));
    let age = age.unwrap_or_default();
    let after = [last.portfolio_id.as_str(), last.security_id.as_str()].map(escaped).join("/");
    format!("/support/reprocessing?limit={limit}{age}&after={}", escaped(&after))
}
