//! Doctored results: G1 to G7, each broken alone.

use super::*;

#[test]
fn g1_breaks_on_a_wrong_cost_column() {
    breaks(RuleId::G1, "B2 must be", |tape| {
        for change in tape.changes("replayed") {
            let Row::Timeline(row) = &mut change.row else {
                continue;
            };
            let mut wrong: TimelineRow = (**row).clone();
            if let Some(Outcome { fate: Fate::Applied(costs), .. }) = &mut wrong.outcome {
                costs.gross_cost += units(1);
            }
            if wrong.place == LATER.place() {
                *row = Rc::new(wrong);
            }
        }
    });
}

#[test]
fn g1_breaks_on_a_snapshot_that_should_not_be_there() {
    breaks(RuleId::G1, "there is a snapshot of 2025-01-04", |tape| {
        let extra = snapshot(4, (1, 2), (17, 178));
        tape.changes("backdated valued").push(put(Row::Snapshot(Rc::new(extra))));
        let row = series::row(4, (1, 2), (17, 178), 170, 0);
        tape.changes("rebuilt series").push(put(Row::PositionSeries(Rc::new(row))));
        tape.changes("rebuilt sums").push(series::sum(4, 170, 170));
        edit_read(tape, "last read", |positions| {
            positions[0].snapshot = Some(snapshot(4, (1, 2), (17, 178)));
        });
        let last = tape.at("last read");
        let same = tape.events[last].kind.clone();
        tape.events[last - 1].kind = same;
    });
}

#[test]
fn g2_breaks_when_a_stored_trade_leaves_no_news() {
    breaks(RuleId::G2, "nothing pending covers 2025-01-02", |tape| {
        tape.changes("later stored").retain(|change| !matches!(change.row, Row::Outbox(_)));
    });
}

#[test]
fn g3_breaks_when_a_zombie_writes_under_an_old_token() {
    breaks(RuleId::G3, "has token 0.0", |tape| {
        let late = put(Row::Snapshot(Rc::new(snapshot(2, (0, 0), (10, 100)))));
        let commit = committed("position-valuation-calculator-2", vec![late]);
        tape.insert_after("epoch bumped", "postgres", commit);
    });
}

#[test]
fn g3_breaks_on_an_integrity_error_and_on_a_fenced_dead_letter() {
    let token = |epoch| Token { epoch: Epoch(epoch), revision: Revision(7) };
    breaks(RuleId::G3, "newer than the state", |tape| {
        let signal = Signal::IntegrityError {
            topic: Topic::ValuationRequired,
            key: key(),
            message: token(9),
            state: token(0),
        };
        let kind = EventKind::Signal(signal);
        tape.insert_after("later valued", "position-valuation-calculator-1", kind);
    });
    breaks(RuleId::G3, "was dead-lettered", |tape| {
        let stale = r#"{\"portfolio_id\":\"P\",\"security_id\":\"S\",\"epoch\":0,\"revision\":0}"#;
        let value = format!(
            r#"{{"original_topic":"valuation_required",
            "key":"P","value":"{stale}","error":"BAD_FIELD"}}"#
        );
        tape.append(Topic::DeadLetters, &value);
    });
}

#[test]
fn g4_breaks_when_w_falls_without_a_new_revision() {
    breaks(RuleId::G4, "W falls", |tape| {
        let good = state_at(tape, "later current");
        let mut fallen = good.clone();
        fallen.watermark_date = date(2);
        let restored = committed("valuation-scheduler-1", vec![set_state(good)]);
        let fallen = committed("valuation-scheduler-2", vec![set_state(fallen)]);
        tape.insert_after("later current", "postgres", restored);
        tape.insert_after("later current", "postgres", fallen);
    });
}

#[test]
fn g4_breaks_when_w_passes_what_is_not_valued() {
    // Too early by one commit, and not CURRENT, so that nobody relies on it.
    breaks(RuleId::G4, "W passes 2025-01-01", |tape| {
        let mut early = state_at(tape, "backdated valued");
        early.watermark_date = date(1);
        let early = committed("valuation-scheduler-2", vec![set_state(early)]);
        tape.insert_after("replayed", "postgres", early);
    });
}

#[test]
fn g5_breaks_when_a_transaction_stands_at_two_places() {
    breaks(RuleId::G5, "B0 stands at 2 places", |tape| {
        let mut twice = BACKDATED.entry(true);
        twice.place.at = LATER.place().at;
        twice.outcome = Some(Outcome { fx: None, fate: Fate::Parked(ParkReason::NoFx) });
        let row = Row::Timeline(Rc::new(twice));
        let healed = committed("position-calculator-2", vec![gone(row.clone())]);
        let doubled = committed("position-calculator-2", vec![put(row)]);
        tape.insert_after("backdated valued", "postgres", healed);
        tape.insert_after("backdated valued", "postgres", doubled);
    });
}

#[test]
fn g5_breaks_when_a_transaction_counts_twice() {
    breaks(RuleId::G5, "must move the quantity from 2 to 12", |tape| {
        let wrong = [BACKDATED.history(1, (2, 18)), FIRST.history(1, (22, 218))];
        let wrong = wrong.map(|row| Row::History(Rc::new(row)));
        let mut state = state_at(tape, "epoch bumped");
        let mut rewind = vec![];
        rewind.extend(wrong.clone().map(gone));
        let mut chunk = wrong.map(put).to_vec();
        chunk.push(put(applied(77)));
        rewind.push(gone(applied(77)));
        state.input_version += 1;
        chunk.push(set_state(state.clone()));
        // Rewound before it is served, so that nothing else suffers from it.
        state.revision = Revision(3);
        rewind.push(set_state(state));
        for event in &mut tape.events {
            raise_revision(event);
        }
        let bumped = tape.at("epoch bumped");
        set_revision(&mut tape.events[bumped], Revision(2));
        let rewind = committed("position-calculator-1", rewind);
        let chunk = committed("position-calculator-2", chunk);
        tape.insert_after("epoch bumped", "postgres", rewind);
        tape.insert_after("epoch bumped", "postgres", chunk);
    });
}

/// What happens under revision 2 happens under revision 3, to leave one for a rewind.
fn raise_revision(event: &mut Event) {
    match &mut event.kind {
        EventKind::Read { positions, .. } => {
            for read in positions {
                let snapshot = read.snapshot.iter_mut();
                snapshot
                    .filter(|row| row.revision == Revision(2))
                    .for_each(|row| row.revision = Revision(3));
            }
        }
        EventKind::Committed { changes, .. } => {
            for change in changes {
                match &mut change.row {
                    Row::Key(row) if row.revision == Revision(2) => {
                        let row = Rc::make_mut(row);
                        row.revision = Revision(3);
                        row.input_version += 1;
                    }
                    Row::Snapshot(row) if row.revision == Revision(2) => {
                        Rc::make_mut(row).revision = Revision(3);
                    }
                    Row::PositionSeries(row) if row.revision == Revision(2) => {
                        Rc::make_mut(row).revision = Revision(3);
                    }
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

fn set_revision(event: &mut Event, revision: Revision) {
    let EventKind::Committed { changes, .. } = &mut event.kind else {
        panic!("no commit");
    };
    for change in changes {
        if let Row::Key(row) = &mut change.row {
            let row = Rc::make_mut(row);
            row.revision = revision;
            row.input_version -= 1;
        }
    }
}

#[test]
fn g6_breaks_when_a_lot_holds_more_than_the_position() {
    breaks(RuleId::G6, "its lots hold 18", |tape| {
        let mut state = state_at(tape, "replayed");
        state.input_version += 1;
        let mut lot = LATER.lot();
        lot.lot.quantity += units(1);
        let rows = vec![put(Row::Lot(Rc::new(lot))), set_state(state.clone())];
        let wrong = committed("position-calculator-2", rows);
        state.input_version += 1;
        let rows = vec![put(Row::Lot(Rc::new(LATER.lot()))), set_state(state)];
        let healed = committed("position-calculator-2", rows);
        tape.insert_after("replayed", "postgres", healed);
        tape.insert_after("replayed", "postgres", wrong);
    });
}

#[test]
fn g1_breaks_on_a_cash_flow_of_the_wrong_kind() {
    breaks(RuleId::G1, "the cash flow of B2 must be", |tape| {
        let mut wrong = LATER.flow(1);
        wrong.cashflow.classification = Classification::Transfer;
        tape.changes("replayed flows")[2] = put(Row::Cashflow(Rc::new(wrong)));
    });
}

#[test]
fn g2_breaks_when_news_of_an_applied_transaction_is_lost() {
    breaks(RuleId::G2, "has no cash flow, and no news of it is under way", |tape| {
        let at = tape.at("later flow");
        let flow = tape.events[at].kind.clone();
        tape.events[at].kind = EventKind::Started;
        // It comes too late, after the offset.
        tape.insert_after("later valued", "postgres", flow);
    });
}

#[test]
fn g3_breaks_when_a_cash_flow_of_an_ended_epoch_is_written() {
    breaks(RuleId::G3, "has epoch 0, which has ended", |tape| {
        let late = put(Row::Cashflow(Rc::new(FIRST.flow(0))));
        let late = committed("cashflow-calculator-2", vec![late]);
        tape.insert_after("epoch bumped", "postgres", late);
    });
}

#[test]
fn g5_breaks_when_a_transaction_has_two_cash_flows() {
    breaks(RuleId::G5, "B2 has 2 cash flows", |tape| {
        let mut second = LATER.flow(0);
        second.place.at = FIRST.place().at;
        let second = Row::Cashflow(Rc::new(second));
        // With news of the series that it is in.
        let news = series::valued(29);
        let healed = vec![gone(second.clone()), gone(news.clone())];
        let healed = committed("cashflow-calculator-2", healed);
        let doubled = committed("cashflow-calculator-2", vec![put(second), put(news)]);
        tape.insert_after("later flow", "postgres", healed);
        tape.insert_after("later flow", "postgres", doubled);
    });
}

#[test]
fn g6_breaks_when_a_cash_flow_is_booked_with_the_wrong_sign_or_for_nothing() {
    let then_right = |tape: &mut Tape, wrong: CashflowRow, mut healed: Vec<Change>| {
        // With news of the series that it is in.
        healed.push(gone(series::valued(29)));
        let wrong = put(Row::Cashflow(Rc::new(wrong)));
        let healed = committed("cashflow-calculator-2", healed);
        tape.insert_after("later flow", "postgres", healed);
        tape.insert_after(
            "later flow",
            "postgres",
            committed("cashflow-calculator-2", vec![wrong, put(series::valued(29))]),
        );
    };
    breaks(RuleId::G6, "is booked as", |tape| {
        let mut wrong = LATER.flow(0);
        wrong.cashflow.amount = units(60);
        then_right(tape, wrong, vec![put(Row::Cashflow(Rc::new(LATER.flow(0))))]);
    });
    breaks(RuleId::G6, "B0 has a cash flow and is not applied", |tape| {
        let early = BACKDATED.flow(0);
        then_right(tape, early.clone(), vec![gone(Row::Cashflow(Rc::new(early)))]);
    });
}

#[test]
fn g1_breaks_on_a_cash_flow_of_another_type() {
    breaks(RuleId::G1, "the cash flow of B2 must be of a BUY and is of a SELL", |tape| {
        let mut other = LATER.flow(1);
        other.kind = TransactionType::Sell;
        tape.changes("replayed flows")[2] = put(Row::Cashflow(Rc::new(other)));
    });
}

#[test]
fn g7_breaks_when_an_offset_covers_what_was_not_stored() {
    breaks(RuleId::G7, "nothing is stored for it", |tape| {
        tape.changes("reference data").remove(2);
    });
}

#[test]
fn g7_breaks_when_poison_vanishes_and_when_a_good_input_is_rejected() {
    breaks(RuleId::G7, "MALFORMED_JSON", |tape| {
        let at = tape.at("dead letter");
        tape.events[at].kind = EventKind::Started;
    });
    breaks(RuleId::G7, "is acceptable", |tape| {
        tape.append(
            Topic::DeadLetters,
            r#"{"original_topic":"raw_transactions",
            "key":"P","value":"x","error":"BAD_FIELD"}"#,
        );
    });
}

#[test]
fn g7_breaks_when_an_acknowledged_input_was_never_appended() {
    breaks(RuleId::G7, "never appended", |tape| {
        let sent = EventKind::InputSent {
            id: 99,
            topic: Topic::FxRates,
            key: SmolStr::new("USD"),
            value: Rc::from(&b"{}"[..]),
        };
        tape.push("client-1", sent);
        tape.push("client-1", EventKind::InputAcknowledged { id: 99 });
    });
}
