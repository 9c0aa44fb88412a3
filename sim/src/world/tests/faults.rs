//! Claims about faults: each has its effect, ends, and leaves a world that works.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use backdate_engine::ports::host::Side;
use backdate_reports::recording::{Event, EventKind};
use smol_str::SmolStr;

use super::super::faults::{Fault, Performance, Servers, inject};
use super::super::{Control, Process, World};
use super::{ask, at_ms, config, main, ms};

/// What a client saw, second by second of the run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    rounds: [u32; 6],
    errors: u32,
    clock_off_max_ms: i64,
    longest_ms: u128,
}

async fn serve(process: Process, (): ()) {
    let mut listener = process.listen(7).await.expect("the port is free");
    loop {
        let mut connection = listener.accept().await.expect("accepts");
        let server = process.clone();
        process.spawn(async move {
            while let Ok(frame) = connection.read_frame().await {
                server.point("server", "answer", Side::Before).await;
                if connection.write_frame(&frame).await.is_err() {
                    return;
                }
            }
        });
    }
}

async fn client(process: Process, seen: Rc<RefCell<Seen>>) {
    loop {
        let Ok(mut connection) = process.connect("server", 7).await else {
            seen.borrow_mut().errors += 1;
            process.sleep(ms(20)).await;
            continue;
        };
        loop {
            let begun = process.now();
            if ask(&mut connection, b"question").await.is_err() {
                seen.borrow_mut().errors += 1;
                break;
            }
            let second = usize::try_from(process.now().0 / 1_000_000_000).expect("a second");
            let mut seen = seen.borrow_mut();
            seen.rounds[second] += 1;
            let took = process.now().since(begun).as_millis();
            seen.longest_ms = seen.longest_ms.max(took);
            let right = 1_735_689_600_000 + i64::try_from(process.now().0 / 1_000_000).expect("ms");
            let off = (process.wall().micros() / 1_000 - right).abs();
            seen.clock_off_max_ms = seen.clock_off_max_ms.max(off);
        }
    }
}

/// Servers that write down what they are told.
#[derive(Default)]
struct Desk(RefCell<Vec<String>>);

impl Desk {
    fn note(&self, text: String) {
        self.0.borrow_mut().push(text);
    }
}

impl Servers for Desk {
    fn kill_sessions(&self, process: &str) {
        self.note(format!("kill {process}"));
    }

    fn move_coordinator(&self, group: &str) {
        self.note(format!("move {group}"));
    }

    fn move_leaders(&self, broker: &str) {
        self.note(format!("lead elsewhere than {broker}"));
    }

    fn rebalance(&self, group: &str) {
        self.note(format!("rebalance {group}"));
    }

    fn slow_fetches(&self, broker: &str, extra: Duration) {
        self.note(format!("slow {broker} {extra:?}"));
    }

    fn hurry_fetches(&self, broker: &str, extra: Duration) {
        self.note(format!("hurry {broker} {extra:?}"));
    }

    fn deliver_again(&self, group: &str, records: u64) {
        self.note(format!("again {group} {records}"));
    }

    fn perform(&self, fault: Fault, _: Control, injector: Process) -> Performance {
        Box::pin(async move { injector.sleep(fault.lasts()).await })
    }
}

/// Faults of servers, and what these are told.
fn of_servers() -> Vec<(Fault, &'static [&'static str])> {
    vec![
        (Fault::SessionKill { process: "client".into() }, &["kill client"]),
        (Fault::CoordinatorMove { group: "g".into() }, &["move g"]),
        (Fault::LeaderChange { broker: "server".into() }, &["lead elsewhere than server"]),
        (
            Fault::RebalanceStorm { group: "g".into(), times: 2, every_ms: 300 },
            &["rebalance g", "rebalance g"],
        ),
        (
            Fault::SlowFetch { broker: "server".into(), extra_ms: 40, for_ms: 700 },
            &["slow server 40ms", "hurry server 40ms"],
        ),
        (Fault::DuplicateDelivery { group: "g".into(), records: 7 }, &["again g 7"]),
    ]
}

#[test]
fn servers_are_told_of_their_faults_and_when_these_end() {
    for (fault, told) in of_servers() {
        let desk = Rc::new(Desk::default());
        let ended = Rc::new(Cell::new(None));
        async fn operate(
            process: Process,
            (control, fault, desk, ended): (Control, Fault, Rc<Desk>, Rc<Cell<Option<u64>>>),
        ) {
            inject(fault, control, process.clone(), desk).await;
            ended.set(Some(process.now().0 / 1_000_000));
        }
        let mut world = super::world(3);
        let control = world.control();
        let context = (control.clone(), fault.clone(), desk.clone(), ended.clone());
        control.add_process("operator", main(&context, operate));
        world.run_until(at_ms(5_000));
        assert_eq!(*desk.0.borrow(), told, "{fault:?}");
        let lasts = u64::try_from(fault.lasts().as_millis()).expect("short");
        assert_eq!(ended.get(), Some(lasts), "{fault:?}");
        let whom = fault.group().or(fault.processes().first().copied());
        assert_eq!(whom, Some(&fault.detail()));
    }
}

/// A run of six seconds in which the fault begins after the first; the recorded fault events.
fn suffer(fault: &Fault) -> (Seen, Vec<(u64, bool)>, u32) {
    let notes: Rc<RefCell<Vec<(u64, bool)>>> = Rc::default();
    let crashes = Rc::new(Cell::new(0));
    let (noted, crashed) = (Rc::clone(&notes), Rc::clone(&crashes));
    let sink = move |event: Event| match event.kind {
        EventKind::Fault { begins, .. } => {
            noted.borrow_mut().push((event.at.0 / 1_000_000, begins));
        }
        EventKind::Crashed(_) => crashed.set(crashed.get() + 1),
        _ => {}
    };
    async fn chaos(process: Process, (control, fault): (Control, Fault)) {
        process.sleep(ms(1_000)).await;
        inject(fault, control, process, Rc::new(Desk::default())).await;
    }
    let seen = Rc::default();
    let mut world = World::new(config(1), Box::new(sink));
    let control = world.control();
    control.add_process("server", main(&(), serve));
    control.add_process("client", main(&seen, client));
    let context = (control.clone(), fault.clone());
    control.add_process("chaos", main(&context, chaos));
    world.run_until(at_ms(5_999));
    (seen.take(), notes.take(), crashes.get())
}

fn names(name: &str) -> Vec<SmolStr> {
    vec![name.into()]
}

/// Faults that take a process or its link away for the third second at least.
fn outages() -> Vec<Fault> {
    let (client, server) = (SmolStr::from("client"), SmolStr::from("server"));
    vec![
        Fault::Crash { process: server.clone(), down_ms: 2_500 },
        Fault::CrashAtPoint {
            process: server.clone(),
            kind: "server".into(),
            call: "answer".into(),
            side: Side::Before,
            pass: 3,
            within_ms: 1_000,
            down_ms: 2_500,
        },
        Fault::Pause { process: server.clone(), for_ms: 2_500 },
        Fault::Partition { a: names("client"), b: names("server"), for_ms: 2_500 },
        Fault::PartitionOneWay { from: names("server"), to: names("client"), for_ms: 2_500 },
        Fault::Flapping { a: client, b: server, times: 1, cut_ms: 2_500, whole_ms: 10 },
    ]
}

/// Faults that leave the client at work.
fn nuisances() -> Vec<Fault> {
    let (client, server) = (SmolStr::from("client"), SmolStr::from("server"));
    vec![
        Fault::RestartLoop { process: server.clone(), times: 5, up_ms: 200, down_ms: 100 },
        Fault::ClockSkew { process: client.clone(), offset_ms: -7_000, for_ms: 2_500 },
        Fault::ClockDrift { process: client.clone(), ppm: 2_800_000, for_ms: 2_500 },
        Fault::ClockJump { process: client.clone(), offset_ms: 7_000, times: 5, every_ms: 250 },
        Fault::LinkDelay {
            a: client.clone(),
            b: server.clone(),
            min_ms: 40,
            max_ms: 60,
            for_ms: 2_500,
        },
        Fault::LatencySpike { process: server.clone(), extra_ms: 50, for_ms: 2_500 },
        Fault::ConnectionReset { a: client, b: server },
    ]
}

#[test]
fn every_fault_is_recorded_ends_in_time_and_leaves_a_world_that_works() {
    for fault in outages().into_iter().chain(nuisances()) {
        let (seen, notes, _) = suffer(&fault);
        let [(1_000, true), (end, false)] = notes[..] else {
            panic!("{fault:?}: {notes:?}");
        };
        assert!(Duration::from_millis(end - 1_000) <= fault.lasts(), "{fault:?}");
        assert!(seen.rounds[0] > 100, "{fault:?}: {seen:?}");
        assert!(seen.rounds[5] > 100, "{fault:?}: {seen:?}");
    }
}

#[test]
fn an_outage_stops_the_work_of_a_second() {
    for fault in outages() {
        let (seen, _, crashes) = suffer(&fault);
        assert_eq!(seen.rounds[2], 0, "{fault:?}: {seen:?}");
        let deadly = matches!(fault, Fault::Crash { .. } | Fault::CrashAtPoint { .. });
        assert_eq!(crashes, u32::from(deadly), "{fault:?}");
        assert_eq!(seen.errors > 0, deadly, "{fault:?}: {seen:?}");
    }
}

#[test]
fn a_nuisance_has_its_own_effect_and_no_other() {
    for fault in nuisances() {
        let (seen, _, crashes) = suffer(&fault);
        let loops = matches!(fault, Fault::RestartLoop { .. });
        assert_eq!(crashes, if loops { 5 } else { 0 }, "{fault:?}");
        let breaks = loops || matches!(fault, Fault::ConnectionReset { .. });
        assert_eq!(seen.errors > 0, breaks, "{fault:?}: {seen:?}");
        let clock = fault.kind().starts_with("clock");
        let off = seen.clock_off_max_ms;
        assert_eq!(off, if clock { off.clamp(6_900, 7_001) } else { 0 }, "{fault:?}");
        let slow = matches!(fault, Fault::LinkDelay { .. } | Fault::LatencySpike { .. });
        assert_eq!(seen.longest_ms > 80, slow, "{fault:?}: {seen:?}");
        if !loops && !slow {
            assert!(seen.rounds[2] > 100, "{fault:?}: {seen:?}");
        }
    }
}

#[test]
fn a_fault_at_a_point_begins_when_the_point_is_passed_or_not_at_all() {
    let at_point = |side| Fault::AtPoint {
        process: "server".into(),
        kind: "server".into(),
        call: "answer".into(),
        side,
        pass: 200,
        within_ms: 4_000,
        fault: Box::new(Fault::Pause { process: "client".into(), for_ms: 300 }),
    };
    let (_, notes, _) = suffer(&at_point(Side::Before));
    let [(begun, true), (ended, false)] = notes[..] else { panic!("{notes:?}") };
    assert!(begun > 1_100, "200 answers take their time");
    assert_eq!(ended, begun + 300);
    assert!(suffer(&at_point(Side::After)).1.is_empty(), "nobody passes there");
}

#[test]
fn a_death_at_a_point_that_is_never_passed_does_not_happen() {
    let fault = Fault::CrashAtPoint {
        process: "server".into(),
        kind: "server".into(),
        call: "answer".into(),
        side: Side::After,
        pass: 1,
        within_ms: 500,
        down_ms: 100,
    };
    let (seen, notes, crashes) = suffer(&fault);
    assert_eq!(notes, [(1_000, true), (1_500, false)]);
    assert_eq!((crashes, seen.errors), (0, 0));
}

#[test]
fn faults_are_read_as_they_are_written_and_nothing_else() {
    let of_servers = of_servers().into_iter().map(|(fault, _)| fault);
    for fault in outages().into_iter().chain(nuisances()).chain(of_servers) {
        let json = serde_json::to_string(&fault).expect("writes");
        assert!(json.starts_with(&format!("{{\"{}\"", fault.kind())), "{json}");
        assert_eq!(serde_json::from_str::<Fault>(&json).expect("reads"), fault);
        let more = json.replacen(":{", ":{\"surprise\":1,", 1);
        assert!(serde_json::from_str::<Fault>(&more).is_err(), "{more}");
    }
}

#[test]
fn overlapping_cuts_and_pauses_end_one_by_one_and_calm_ends_all() {
    let seen: Rc<RefCell<Seen>> = Rc::default();
    let mut world = super::world(2);
    let control = world.control();
    control.add_process("server", main(&(), serve));
    control.add_process("client", main(&seen, client));
    world.run_until(at_ms(900));
    for _ in 0..2 {
        control.cut("client", "server");
        control.pause("server");
    }
    control.heal("client", "server");
    control.resume("server");
    world.run_until(at_ms(2_900));
    assert_eq!(seen.borrow().rounds[1..3], [0, 0]);
    control.calm();
    world.run_until(at_ms(4_000));
    assert!(seen.borrow().rounds[3] > 100);
}
