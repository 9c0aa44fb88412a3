//! G9, reads: readers see complete versions, never one that goes backwards, and nothing held
//! disappears.
//!
//! - Execution: every answer to a reader that polls, storms included; also one that shows nothing.
//! - Allowed interference: anything. An answer is recorded later than the instant it shows, so it
//!   is compared with what the database held at some instant since the reader's event before it;
//!   where that has changed meanwhile, only order and validity are judged.
//! - Assertion: per key and reader the served epoch never falls, and never exceeds the committed
//!   one; the snapshot is of a version that is valid for it; where nothing has changed, epoch,
//!   position and snapshot are the committed ones. A key that was seen holding something and that
//!   still holds something, by its timeline and by the stored inputs, is in the answer; while the
//!   served version holds nothing it need not be, whatever a newer version holds. The served epoch
//!   moves only in a commit that leaves the key `CURRENT`, and a key that is `CURRENT`
//!   serves its newest epoch. Rows of the served version stay as long as it is served. A portfolio
//!   of which somebody was shown positions is never unknown afterwards, and while nothing is wrong
//!   with the database or on the way to it nobody is told that it is away ([`refused`]).

mod refused;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use backdate_engine::domain::ids::{Epoch, PortfolioId};
use backdate_engine::domain::money::Amount;
use backdate_engine::domain::records::KeyStatus;
use backdate_engine::ports::store::statements::PositionRead;
use backdate_reports::recording::{Change, EventKind, Row};
use smol_str::SmolStr;

use super::mirror::{KeyIndex, KeyMirror, Mark, Mirror};
use super::rule::{Rule, RuleReport, Scene};
use refused::{Shown, Trouble};

#[derive(Default)]
pub(super) struct Reads {
    readers: HashMap<SmolStr, Reader>,
    /// Portfolios that somebody was shown, and since when.
    shown: Shown,
    trouble: Trouble,
    /// Keys that some reader saw holding something.
    held: BTreeMap<PortfolioId, BTreeMap<KeyIndex, Held>>,
}

/// What readers must see of a key that one of them saw holding something.
#[derive(Clone, Copy)]
enum Held {
    /// That it holds something, since then.
    Since(Mark),
    /// Nothing, until the served version holds something again.
    Nothing,
}

#[derive(Default)]
struct Reader {
    /// Its event before this one.
    last: Option<Mark>,
    /// How often in a row it was told that the database is away.
    turned_away: u32,
    served: HashMap<KeyIndex, Epoch>,
}

impl Rule for Reads {
    fn observe(&mut self, scene: &Scene<'_>, report: &mut RuleReport) {
        for touch in scene.step.touched.iter().filter(|touch| touch.state) {
            switch(touch.before.as_deref(), &scene.mirror.keys[touch.key], scene, report);
        }
        for touch in scene.step.touched.iter().filter(|touch| touch.history || touch.state) {
            self.follow(touch.key, scene);
        }
        if let EventKind::Committed { changes, .. } = &scene.event.kind {
            deletions(changes, scene, report);
        }
        self.trouble.note(scene.event);
        let (portfolio_id, positions) = match &scene.event.kind {
            EventKind::Read { portfolio_id, positions } => (portfolio_id, positions),
            EventKind::ReadRefused { portfolio_id, code } => {
                return self.refused(portfolio_id, code, scene, report);
            }
            _ => return,
        };
        let name = &scene.event.process;
        if !self.readers.contains_key(name) {
            self.readers.insert(name.clone(), Reader::default());
        }
        let reader = self.readers.get_mut(name).expect("inserted just now");
        let since = reader.last;
        let mut seen = BTreeSet::new();
        for read in positions {
            let Some(index) = scene.mirror.find(&read.key) else {
                report.check(false, scene.event, || {
                    format!("a reader sees {}, which does not exist", read.key)
                });
                continue;
            };
            seen.insert(index);
            let wrong = answer(read, &scene.mirror.keys[index], since)
                .or_else(|| backwards(read, reader.served.get(&index).copied()));
            report.check(wrong.is_none(), scene.event, || {
                format!("{}: {}", read.key, wrong.unwrap_or_default())
            });
            reader.served.insert(index, read.served_epoch);
        }
        reader.last = Some(Mark::of(scene.event));
        reader.turned_away = 0;
        self.shown.entry(portfolio_id.clone()).or_insert(Mark::of(scene.event));
        self.disappeared(portfolio_id, &seen, since, scene, report);
        self.remember(portfolio_id, positions, scene);
    }
}

impl Reads {
    /// A position of the served version that reaches zero has not disappeared, even if a newer
    /// version, which is not served yet, holds something again. It must be seen again once the
    /// served version does.
    fn follow(&mut self, index: KeyIndex, scene: &Scene<'_>) {
        let mirrored = &scene.mirror.keys[index];
        let held = self.held.get_mut(&mirrored.key.portfolio_id);
        let Some(held) = held.and_then(|held| held.get_mut(&index)) else { return };
        let Some(last) = mirrored.valid_history(mirrored.served()).next() else { return };
        match (last.position.quantity.is_zero(), *held) {
            (true, _) => *held = Held::Nothing,
            (false, Held::Nothing) => *held = Held::Since(Mark::of(scene.event)),
            (false, Held::Since(_)) => {}
        }
    }

    fn disappeared(
        &mut self,
        portfolio: &PortfolioId,
        seen: &BTreeSet<KeyIndex>,
        since: Option<Mark>,
        scene: &Scene<'_>,
        report: &mut RuleReport,
    ) {
        let (Some(held), Some(since)) = (self.held.get_mut(portfolio), since) else {
            return;
        };
        for (index, held) in held {
            let mirrored = &scene.mirror.keys[*index];
            let Held::Since(first) = *held else { continue };
            let settled = mirrored.timeline_changed <= since && first <= since;
            if seen.contains(index) || !settled {
                continue;
            }
            let holds = holds_something(mirrored, scene.mirror);
            report.check(!holds, scene.event, || {
                format!("{} holds something and is not in the answer", mirrored.key)
            });
            if !holds {
                *held = Held::Nothing;
            }
        }
    }

    fn remember(&mut self, portfolio: &PortfolioId, positions: &[PositionRead], scene: &Scene<'_>) {
        let held = self.held.entry(portfolio.clone()).or_default();
        for read in positions {
            let Some(index) = scene.mirror.find(&read.key) else {
                continue;
            };
            let first = Held::Since(Mark::of(scene.event));
            match (read.position.quantity == Amount::ZERO, held.get(&index)) {
                (true, _) => drop(held.remove(&index)),
                (false, None) => drop(held.insert(index, first)),
                (false, Some(_)) => {}
            }
        }
    }
}

/// By what the timeline has taken in, and by what persistence has stored.
fn holds_something(mirrored: &KeyMirror, mirror: &Mirror) -> bool {
    let taken_in = mirrored.timeline.iter();
    let taken_in = taken_in.map(|(place, row)| (place, &row.terms));
    let by_timeline = mirror.inputs.fold_terms(&mirrored.key, taken_in);
    let by_inputs = mirror.inputs.fold(&mirrored.key);
    !by_timeline.position.quantity.is_zero() && !by_inputs.position.quantity.is_zero()
}

fn switch(
    before: Option<&backdate_engine::ports::store::rows::KeyState>,
    mirrored: &KeyMirror,
    scene: &Scene<'_>,
    report: &mut RuleReport,
) {
    if let (Some(before), Some(after)) = (before, &mirrored.state)
        && before.served_epoch < after.served_epoch
    {
        let whole = after.status == KeyStatus::Current;
        report.check(whole, scene.event, || {
            let (key, epoch) = (&mirrored.key, after.served_epoch.0);
            format!("{key} serves epoch {epoch} before it is CURRENT")
        });
    }
    if let Some(after) = &mirrored.state
        && after.status == KeyStatus::Current
    {
        let (served, newest) = (after.served_epoch.0, after.epoch.0);
        report.check(served == newest, scene.event, || {
            format!("{} is CURRENT with epoch {newest} and serves {served}", mirrored.key)
        });
    }
}

/// Rows of an older epoch may go once nobody is shown them any more.
fn deletions(changes: &[Change], scene: &Scene<'_>, report: &mut RuleReport) {
    for (change, index) in changes.iter().zip(&scene.step.rows) {
        let (true, Some(index)) = (change.deleted, index) else { continue };
        let (epoch, date) = match &change.row {
            Row::History(row) => (row.epoch, row.place.date()),
            Row::Snapshot(row) => (row.epoch, row.date),
            _ => continue,
        };
        let mirrored = &scene.mirror.keys[*index];
        let is_old = epoch < mirrored.newest();
        let is_shown = is_old && mirrored.is_valid(epoch, date, mirrored.served());
        report.check(!is_shown, scene.event, || {
            let (key, epoch) = (&mirrored.key, epoch.0);
            format!("a row of {key} on {date} of epoch {epoch} is gone, and it is still served")
        });
    }
}

fn backwards(read: &PositionRead, last: Option<Epoch>) -> Option<String> {
    let last = last.filter(|last| *last > read.served_epoch)?;
    let (from, to) = (last.0, read.served_epoch.0);
    Some(format!("a reader saw epoch {from} and now sees {to}"))
}

fn answer(read: &PositionRead, mirrored: &KeyMirror, since: Option<Mark>) -> Option<String> {
    let served = mirrored.served();
    let shown = read.served_epoch;
    if shown > served {
        let (shown, served) = (shown.0, served.0);
        return Some(format!("a reader sees epoch {shown}, {served} is served"));
    }
    if let Some(snapshot) = &read.snapshot {
        let valid = mirrored.is_valid(snapshot.epoch, snapshot.date, shown);
        if snapshot.key != read.key || !valid {
            let (epoch, date) = (snapshot.epoch.0, snapshot.date);
            return Some(format!(
                "epoch {} is shown with a snapshot of {date} of epoch {epoch}",
                shown.0
            ));
        }
    }
    if since.is_none_or(|since| mirrored.served_changed > since) {
        return None;
    }
    if shown != served {
        let (shown, served) = (shown.0, served.0);
        return Some(format!("a reader sees epoch {shown}, {served} was served all the time"));
    }
    let position = mirrored.valid_history(served).next().map(|row| row.position);
    if position != Some(read.position) {
        let is = &read.position;
        return Some(format!("a reader sees {is:?}, the served version holds {position:?}"));
    }
    let snapshot = mirrored.latest_snapshot(served).map(|row| &**row);
    if snapshot != read.snapshot.as_ref() {
        let is = &read.snapshot;
        return Some(format!("a reader sees {is:?}, the served version has {snapshot:?}"));
    }
    None
}
