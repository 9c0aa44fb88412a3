//! `GET /lineage/portfolios/{portfolio_id}/securities/{security_id}`: where a key is, its versions,
//! what waits for it and what it waits for, all of one instant.

use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::super::Api;
use super::super::answer::{Answer, Reply};
use super::super::asked::Asked;
use super::super::positions::must_exist;
use super::super::problem::Problem;
use super::{JobView, KeyView, PlaceView, ReplayView};
use crate::domain::ids::{Epoch, Key};
use crate::domain::records::ParkReason;
use crate::domain::time::Date;
use crate::ports::Ports;
use crate::ports::store::statements::ReadLineage;

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineageView {
    /// Where the key is.
    pub state: KeyView,
    /// Its versions.
    pub epochs: Vec<VersionView>,
    /// The open rebuild of its history.
    pub replay: Option<ReplayView>,
    /// Jobs that hold it, the first of them.
    pub valuation_jobs: Vec<JobView>,
    /// News of its security, its portfolio, the calendar or a pair of currencies that it looks up,
    /// that nobody has taken on yet.
    pub triggers: Vec<TriggerView>,
    /// Fan-outs of such news that are under way.
    pub fan_outs: Vec<FanOutView>,
    /// Transactions that its timeline has taken in.
    pub transactions: u64,
    /// Those that cannot be applied, the first of them.
    pub parked: Vec<ParkedView>,
}

/// A version of a history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionView {
    /// Its number.
    pub epoch: Epoch,
    /// Rows of older versions count before this date only.
    pub from_date: Date,
}

/// News that nobody has taken on yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerView {
    /// What it is about.
    pub subject: String,
    /// From which date on.
    pub earliest_date: Date,
}

/// A fan-out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FanOutView {
    /// Its id.
    pub id: u64,
    /// What it is about.
    pub subject: String,
    /// From which date on.
    pub date: Date,
    /// Whether it has passed the key.
    pub has_passed: bool,
}

/// A transaction that cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedView {
    /// Its place.
    #[serde(flatten)]
    pub place: PlaceView,
    /// Why.
    pub reason: ParkReason,
}

/// Answers.
pub(in super::super) async fn view<P: Ports>(api: Rc<Api<P>>, asked: Asked) -> Reply {
    let (portfolio_id, security_id) = (asked.portfolio_id()?, asked.security_id()?);
    let key = Key { portfolio_id, security_id };
    let statement = ReadLineage { key: key.clone(), limit: asked.limit()? };
    let Some(found) = api.look(statement).await? else {
        must_exist(&api, &key.portfolio_id).await?;
        let (portfolio, security) = (key.portfolio_id.to_string(), key.security_id.to_string());
        return Err(Problem::UnknownPosition(portfolio, security));
    };
    let epochs = found.epochs.into_iter();
    let triggers = found.triggers.into_iter().map(|row| TriggerView {
        subject: row.subject.to_string(),
        earliest_date: row.earliest_date,
    });
    let fan_outs = found.fan_outs.into_iter().map(|row| FanOutView {
        id: row.id,
        subject: row.subject.to_string(),
        date: row.date,
        has_passed: row.cursor.is_some_and(|cursor| cursor >= key),
    });
    let parked = found.parked.into_iter();
    Ok(Answer::found(&LineageView {
        state: KeyView::of(found.state),
        epochs: epochs
            .map(|row| VersionView { epoch: row.epoch, from_date: row.from_date })
            .collect(),
        replay: found.replay.map(ReplayView::of),
        valuation_jobs: found.jobs.into_iter().map(JobView::of).collect(),
        triggers: triggers.collect(),
        fan_outs: fan_outs.collect(),
        transactions: found.transactions,
        parked: parked
            .map(|row| ParkedView { place: PlaceView::of(row.place), reason: row.reason })
            .collect(),
    }))
}
