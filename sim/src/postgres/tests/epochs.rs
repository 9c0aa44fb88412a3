//! Epochs of a key that are pruned: what is valid stays so, and few rows are left.

use std::collections::BTreeMap;

use backdate_engine::domain::ids::{Epoch, Key};
use backdate_engine::ports::store::statements::{LockKeys, PruneEpochs, UpdateKeys, UpsertEpochs};
use rand::RngExt;

use super::fixtures::{date, epoch, key};
use super::{Bench, simulate};

/// Days on which a rebuild may begin.
const DAYS: i32 = 8;

/// First day by epoch.
type Cuts = BTreeMap<u32, i32>;

/// Whether a row of an epoch dated that day is valid for a version, by the words of the contract.
fn is_valid(cuts: &Cuts, row: u32, day: i32, version: u32) -> bool {
    let mut later = cuts.range(row..=version.max(row)).filter(|(epoch, _)| **epoch > row);
    row <= version && later.all(|(_, from)| day < *from)
}

fn kept(bench: &Bench, k: &Key) -> Cuts {
    let rows = bench.backend.storage.borrow().tables.epochs.dump();
    let of_key = rows.iter().filter(|row| row.key == *k);
    of_key.map(|row| (row.epoch.0, row.from_date.days() - date(0).days())).collect()
}

/// Begins an epoch or lowers the newest one's first date.
async fn note(bench: &Bench, k: &Key, all: &mut Cuts, number: u32, day: i32) {
    bench.run(UpsertEpochs { rows: vec![epoch(k, number, day)] }).await;
    let from = all.entry(number).or_insert(day);
    *from = day.min(*from);
}

async fn serve(bench: &Bench, k: &Key, number: u32) {
    let lock = LockKeys { keys: vec![k.clone()], skip_locked: false };
    let mut rows = bench.run(lock).await;
    rows[0].served_epoch = Epoch(number);
    bench.run(UpdateKeys { rows }).await;
    bench.run(PruneEpochs { keys: vec![(k.clone(), Epoch(number))] }).await;
}

#[test]
fn what_is_valid_for_the_served_and_the_newest_epoch_stays_so_when_epochs_are_pruned() {
    simulate(|bench| async move {
        let (k, other) = (key("P", "S"), key("P", "T"));
        bench.add_keys(&[&k, &other]).await;
        bench.run(UpsertEpochs { rows: vec![epoch(&other, 1, 1)] }).await;
        let mut rng = bench.backend.process.rng("epochs");
        let (mut all, mut served, mut newest) = (Cuts::new(), 0, 0);
        for step in 0..400 {
            match rng.random_range(0..6) {
                0..3 => {
                    newest += 1;
                    note(&bench, &k, &mut all, newest, rng.random_range(1..=DAYS)).await;
                }
                3 | 4 if newest > served => {
                    note(&bench, &k, &mut all, newest, rng.random_range(1..=DAYS)).await;
                }
                _ => {
                    served = newest;
                    serve(&bench, &k, served).await;
                }
            }
            let left = kept(&bench, &k);
            for version in [served, newest, newest + 1] {
                for row in 0..=version {
                    for day in 0..=DAYS + 1 {
                        let (now, full) =
                            (is_valid(&left, row, day, version), is_valid(&all, row, day, version));
                        assert_eq!(now, full, "step {step}: {version} {row} {day}, {left:?}");
                    }
                }
            }
            // At most one epoch a day among those that were served, and among those since.
            assert!(left.len() <= 2 * DAYS as usize, "step {step}: {left:?}");
        }
        assert!(newest > 100, "many epochs have come and gone");
        assert_eq!(kept(&bench, &other).len(), 1);
    });
}
