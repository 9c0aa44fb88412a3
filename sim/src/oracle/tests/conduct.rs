//! Doctored conduct: G8 to G10, each broken alone.

use super::*;

#[test]
fn g8_breaks_when_nothing_moves_while_work_is_pending() {
    breaks(RuleId::G8, "nothing has moved", |tape| {
        let from = tape.at("epoch bumped");
        for event in &mut tape.events[from..] {
            event.at = SimTime(130_000_000_000);
        }
    });
}

#[test]
fn g8_breaks_when_a_run_does_not_settle() {
    let mut tape = clean::tape();
    tape.events.pop();
    let found = broken(&judge(&tape.finished()));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, RuleId::G8);
}

#[test]
fn g8_breaks_when_a_process_panics() {
    breaks(RuleId::G8, "panicked at engine/src/x.rs:7: no such lot", |tape| {
        let (message, place) = ("no such lot".into(), "engine/src/x.rs:7".into());
        let panic = EventKind::Crashed(CrashCause::Panic { message, place });
        tape.insert_after("later valued", "position-calculator-1", panic);
    });
}

#[test]
fn g9_breaks_when_an_epoch_goes_backwards_or_comes_too_early() {
    breaks(RuleId::G9, "saw epoch 1 and now sees 0", |tape| {
        edit_read(tape, "last read", |positions| {
            positions[0].served_epoch = Epoch(0);
            positions[0].snapshot = None;
        });
        // The switch came just before, so that content is not compared.
        let good = state_at(tape, "backdated current");
        let at = tape.at("last read") - 1;
        let rewritten = put(Row::Snapshot(Rc::new(snapshot(3, (1, 2), (17, 178)))));
        let mut event = tape.events[at].clone();
        event.kind = EventKind::Crashed(CrashCause::Scheduled);
        tape.events.insert(at + 1, event.clone());
        event.kind = committed("position-valuation-calculator-1", vec![rewritten, set_state(good)]);
        tape.events.insert(at + 2, event);
    });
    breaks(RuleId::G9, "sees epoch 1, 0 is served", |tape| {
        edit_read(tape, "read in replay", |positions| {
            positions[0].served_epoch = Epoch(1);
        });
    });
}

#[test]
fn g9_breaks_when_a_held_position_disappears() {
    breaks(RuleId::G9, "is not in the answer", |tape| {
        edit_read(tape, "later read", Vec::clear);
    });
}

#[test]
fn g9_breaks_on_a_mixture_of_versions() {
    breaks(RuleId::G9, "the served version holds", |tape| {
        edit_read(tape, "read in replay", |positions| {
            positions[0].position = position((2, 18));
        });
    });
}

#[test]
fn g10_breaks_on_many_locks_a_deadlock_and_repeated_valuation() {
    breaks(RuleId::G10, "keys locked", |tape| {
        let at = tape.at("later valued");
        if let EventKind::Committed { keys_locked, .. } = &mut tape.events[at].kind {
            *keys_locked = 5_000;
        }
    });
    breaks(RuleId::G10, "deadlock", |tape| {
        let aborted = EventKind::Aborted {
            client: SmolStr::new("persistence-1"),
            statement: SmolStr::new("LockKeys"),
            error: StoreError::Deadlock,
        };
        tape.insert_after("later valued", "postgres", aborted);
    });
    breaks(RuleId::G10, "again under the same token", |tape| {
        let again = tape.events[tape.at("later valued")].kind.clone();
        tape.insert_after("later valued", "postgres", again);
    });
}

#[test]
fn reprocessing_is_no_excuse_for_a_status_of_the_past() {
    // The key says CURRENT again before anything of the new token is valued.
    let mut tape = clean::tape();
    let mut early = state_at(&mut tape, "later valued");
    early.status = KeyStatus::Current;
    early.watermark_date = date(3);
    let at = tape.at("later stored");
    let calculated = at + 5;
    let mut event = tape.events[calculated].clone();
    event.kind = committed("valuation-scheduler-2", vec![set_state(early)]);
    tape.events.insert(calculated, event);
    let found: Vec<RuleId> =
        broken(&judge(&tape.finished())).into_iter().map(|(id, _)| id).collect();
    assert!(found.contains(&RuleId::G2) && found.contains(&RuleId::G4), "{found:?}");
}
