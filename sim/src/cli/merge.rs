//! `merge`: the results of all shards as those of the whole sweep.

use backdate_reports::sweep::{Context, SweepSummary};

use super::Failure;
use super::arguments::MergeCommand;
use super::suite::{context, known, publish};
use crate::sweep::merge;

pub(super) fn merge(command: &MergeCommand) -> Result<u8, Failure> {
    let known = known(command.outputs.known.as_deref())?;
    let merged = merge::read(&command.shards)?;
    let folder = merge::open(&command.save, &merged, &command.shards)?;
    let commit = merged.manifest.commit.clone();
    let must_reach = merged.manifest.must_reach;
    let defect = merged.manifest.defect.clone();
    let context = Context { commit, defect, known, must_reach, ..context() };
    let summary = SweepSummary::of(&merged.results, &context);
    folder.finish(&merged.results, &summary)?;
    publish(&summary, None, &command.outputs, Some(&command.save))?;
    Ok(summary.exit_code)
}
