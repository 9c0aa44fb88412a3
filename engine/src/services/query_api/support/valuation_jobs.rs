//! `GET /support/valuation-jobs`: what is to be valued, in the order of the jobs' ids.

use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::super::Api;
use super::super::answer::{Answer, Reply};
use super::super::asked::Asked;
use super::super::problem::Problem;
use super::JobView;
use crate::ports::Ports;
use crate::ports::store::rows::JobStatus;
use crate::ports::store::statements::FindValuationJobs;

/// A page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobPage {
    /// Jobs.
    pub jobs: Vec<JobView>,
    /// Address of the next page, if there may be one.
    pub next: Option<String>,
}

/// Answers.
pub(in super::super) async fn page<P: Ports>(api: Rc<Api<P>>, asked: Asked) -> Reply {
    let reason = "must be PENDING, PROCESSING or WAITING";
    let wrong = Problem::InvalidParameter { name: "status", reason };
    let status = asked.text("status").map(|text| JobStatus::parse(text).ok_or(wrong));
    let status = status.transpose()?;
    let (after, limit) = (asked.id_after()?, asked.limit()?);
    let found = api.look(FindValuationJobs { status, after, limit }).await?;
    let last = found.last().filter(|_| found.len() == limit as usize);
    let next = last.map(|last| {
        let status = status.map(|status| format!("&status={status}")).unwrap_or_default();
        format!("/support/valuation-jobs?limit={limit}{status}&after={}", last.id)
    });
    Ok(Answer::found(&JobPage { jobs: found.into_iter().map(JobView::of).collect(), next }))
}
