//! Claims about the world, each shown by a small world of its own.

use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use backdate_engine::domain::time::Timestamp;
use backdate_engine::ports::host::Side;
use backdate_reports::recording::{CrashCause, Event, EventKind, SimTime};

use super::{
    Connection, Control, CrashPointPlan, Main, Process, RunEnd, TaskChoice, World, WorldConfig,
};

type Log = Rc<RefCell<Vec<String>>>;

fn config(seed: u64) -> WorldConfig {
    WorldConfig {
        seed,
        task_choice: TaskChoice::Seeded,
        latency: (ms(1), ms(5)),
        start: Timestamp::parse("2025-01-01").expect("a date"),
    }
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn at_ms(millis: u64) -> SimTime {
    SimTime(millis * 1_000_000)
}

fn world(seed: u64) -> World {
    World::new(config(seed), Box::new(|_| {}))
}

/// A main that runs an async function of its own copy of some context.
fn main<C: Clone + 'static, F: Future<Output = ()> + 'static>(
    context: &C,
    run: fn(Process, C) -> F,
) -> Main {
    let context = context.clone();
    Rc::new(move |process| Box::pin(run(process, context.clone())))
}

async fn echo(process: Process, (): ()) {
    let mut listener = process.listen(7).await.expect("the port is free");
    loop {
        let mut connection = listener.accept().await.expect("accepts");
        process.spawn(async move {
            while let Ok(frame) = connection.read_frame().await {
                if connection.write_frame(&frame).await.is_err() {
                    return;
                }
            }
        });
    }
}

async fn echoed(process: &Process, server: &str, frame: &[u8]) -> std::io::Result<()> {
    let mut connection = process.connect(server, 7).await?;
    ask(&mut connection, frame).await
}

async fn ask(connection: &mut Connection, frame: &[u8]) -> std::io::Result<()> {
    connection.write_frame(frame).await?;
    assert_eq!(connection.read_frame().await?, frame);
    Ok(())
}

async fn chatter(process: Process, log: Log) {
    loop {
        match process.connect("server", 7).await {
            Err(_) => process.sleep(ms(20)).await,
            Ok(mut connection) => {
                for round in 0u32.. {
                    let frame = round.to_le_bytes();
                    if let Err(error) = ask(&mut connection, &frame).await {
                        log.borrow_mut().push(format!("{error:?}"));
                        break;
                    }
                    let pause = process.next_u64() % 3;
                    process.sleep(ms(pause)).await;
                }
            }
        }
    }
}

/// Fingerprint of a busy second with a crash in it, and what was recorded.
fn busy(config: WorldConfig) -> (u128, Vec<Event>) {
    let events: Rc<RefCell<Vec<Event>>> = Rc::default();
    let sink = Rc::clone(&events);
    let mut world = World::new(config, Box::new(move |event| sink.borrow_mut().push(event)));
    let control = world.control();
    control.add_process("server", main(&(), echo));
    for client in 0..4 {
        control.add_process(format!("client-{client}"), main(&Log::default(), chatter));
    }
    world.run_until(at_ms(500));
    control.crash("server", CrashCause::Scheduled);
    world.run_until(at_ms(600));
    control.restart("server");
    assert_eq!(world.run_until(at_ms(1000)), RunEnd::Deadline);
    (world.fingerprint(), events.take())
}

#[test]
fn a_seed_decides_the_whole_run() {
    let (first, events) = busy(config(1));
    assert_eq!((first, &events), (busy(config(1)).0, &busy(config(1)).1));
    assert_ne!(first, busy(config(2)).0);
    let fifo = WorldConfig {
        task_choice: TaskChoice::Fifo,
        ..config(1)
    };
    assert_ne!(first, busy(fifo).0);
    let crashes = |event: &&Event| matches!(event.kind, EventKind::Crashed(_));
    assert_eq!(events.iter().filter(crashes).count(), 1);
    assert!(events.iter().map(|event| event.seq).eq(0..7));
}

#[test]
fn a_crash_frees_ports_and_resets_peers() {
    let log = Log::default();
    let mut world = world(3);
    let control = world.control();
    control.add_process("server", main(&(), echo));
    control.add_process("client", main(&log, chatter));
    for life in 1..=5 {
        world.run_until(at_ms(life * 200));
        control.crash("server", CrashCause::Scheduled);
        assert!(!control.is_running("server"));
        world.run_until(at_ms(life * 200 + 50));
        control.restart("server");
    }
    world.run_until(at_ms(2_000));
    let kind = format!("{:?}", std::io::Error::from(ErrorKind::ConnectionReset));
    assert_eq!(*log.borrow(), vec![kind; 5]);
    assert!(control.is_running("server"));
}

#[test]
fn a_process_that_dies_in_the_middle_of_a_handshake_blocks_no_port() {
    // The client connects and dies all the time, the server restarts: a half-open connection that
    // stayed behind would keep the server's port taken.
    let served = Rc::new(Cell::new(0u32));
    async fn serve(process: Process, served: Rc<Cell<u32>>) {
        let mut listener = process.listen(7).await.expect("the port is free");
        loop {
            listener.accept().await.expect("accepts");
            served.set(served.get() + 1);
        }
    }
    async fn connect(process: Process, (): ()) {
        loop {
            let dial = process.connect("server", 7);
            let _ = super::sync::timeout(&process, ms(3), dial).await;
        }
    }
    let mut world = world(4);
    let control = world.control();
    control.add_process("server", main(&served, serve));
    control.add_process("client", main(&(), connect));
    for step in 1..400 {
        world.run_until(SimTime(step * 2_700_000));
        let victim = if step % 3 == 0 { "server" } else { "client" };
        control.crash(victim, CrashCause::Scheduled);
        control.restart(victim);
    }
    assert!(served.get() > 10, "served {}", served.get());
}

#[test]
fn connecting_never_hangs() {
    let log = Log::default();
    async fn dial(process: Process, log: Log) {
        for (server, port) in [("nobody", 7), ("dead", 7), ("cut", 7), ("cut", 8)] {
            let begun = process.now();
            let error = process.connect(server, port).await.err().expect("fails");
            let took = process.now().since(begun).as_millis() / 1000;
            log.borrow_mut().push(format!("{:?} {took}s", error.kind()));
        }
    }
    let mut world = world(5);
    let control = world.control();
    control.add_process("dead", main(&(), echo));
    control.crash("dead", CrashCause::Scheduled);
    control.add_process("cut", main(&(), echo));
    control.add_process("client", main(&log, dial));
    control.cut("cut", "client");
    world.run_until(at_ms(20_000));
    assert_eq!(
        *log.borrow(),
        [
            "NotFound 0s",
            "ConnectionRefused 0s",
            "TimedOut 5s",
            "TimedOut 5s"
        ]
    );
    control.heal("cut", "client");
    control.restart("client");
    world.run_until(at_ms(40_000));
    assert_eq!(control.packets_under_way(), 0);
}

async fn collect(process: Process, log: Log) {
    let mut listener = process.listen(7).await.expect("the port is free");
    let mut connection = listener.accept().await.expect("accepts");
    while let Ok(frame) = connection.read_frame().await {
        let at = process.now().0 / 1_000_000;
        let number = u32::from_le_bytes(frame.as_ref().try_into().expect("four bytes"));
        log.borrow_mut().push(format!("{number} {}", at / 1000));
    }
}

async fn count(process: Process, (): ()) {
    let mut connection = process.connect("sink", 7).await.expect("connects");
    for number in 0u32..10 {
        process.sleep(ms(100)).await;
        let frame = number.to_le_bytes();
        connection.write_frame(&frame).await.expect("writes");
    }
    process.sleep(ms(60_000)).await;
}

#[test]
fn a_cut_holds_and_a_heal_delivers_in_order() {
    for way in ["there", "back", "both"] {
        let log = Log::default();
        let mut world = world(6);
        let control = world.control();
        control.add_process("sink", main(&log, collect));
        control.add_process("source", main(&(), count));
        world.run_until(at_ms(50));
        if way != "back" {
            control.cut("source", "sink");
        }
        if way != "there" {
            control.cut("sink", "source");
        }
        world.run_until(at_ms(4_000));
        let arrived = if way == "back" { 10 } else { 0 };
        assert_eq!(log.borrow().len(), arrived, "{way}");
        control.heal("source", "sink");
        control.heal("sink", "source");
        world.run_until(at_ms(6_000));
        let second = if way == "back" { [0, 1] } else { [4, 4] };
        let expected: Vec<_> = (0..10)
            .map(|number| format!("{number} {}", second[usize::from(number == 9)]))
            .collect();
        assert_eq!(*log.borrow(), expected, "{way}");
    }
}

#[test]
fn a_paused_process_keeps_its_messages() {
    let log = Log::default();
    let mut world = world(7);
    let control = world.control();
    control.add_process("sink", main(&log, collect));
    control.add_process("source", main(&(), count));
    world.run_until(at_ms(50));
    control.pause("sink");
    world.run_until(at_ms(3_000));
    assert!(log.borrow().is_empty());
    control.resume("sink");
    world.run_until(at_ms(3_500));
    let expected: Vec<_> = (0..10).map(|number| format!("{number} 3")).collect();
    assert_eq!(*log.borrow(), expected);
}

#[test]
fn a_reset_is_seen_by_both_ends() {
    let log = Log::default();
    async fn wait(process: Process, log: Log) {
        let mut connection = if process.name() == "a" {
            let mut listener = process.listen(7).await.expect("the port is free");
            listener.accept().await.expect("accepts")
        } else {
            process.connect("a", 7).await.expect("connects")
        };
        let error = connection.read_frame().await.expect_err("nobody writes");
        log.borrow_mut().push(format!("{:?}", error.kind()));
    }
    let mut world = world(8);
    let control = world.control();
    control.add_process("a", main(&log, wait));
    control.add_process("b", main(&log, wait));
    world.run_until(at_ms(100));
    assert!(log.borrow().is_empty());
    control.reset("b", "a");
    assert_eq!(world.run_until(at_ms(200)), RunEnd::Idle);
    assert_eq!(*log.borrow(), ["ConnectionReset", "ConnectionReset"]);
}

#[test]
fn large_frames_pass_and_a_slow_reader_hangs_nobody() {
    let log = Log::default();
    async fn send(process: Process, (): ()) {
        let frame: Vec<u8> = (0..4u32 << 20).map(|byte| (byte % 251) as u8).collect();
        echoed(&process, "server", &frame)
            .await
            .expect("comes back");
        let mut slow = process.connect("slow", 8).await.expect("connects");
        for _ in 0..40 {
            slow.write_frame(&frame[..100_000]).await.expect("writes");
        }
        assert_eq!(slow.read_frame().await.expect("an answer"), "all");
        process.record(EventKind::Phase(
            backdate_reports::recording::Phase::Settled,
        ));
    }
    async fn slow(process: Process, log: Log) {
        let mut listener = process.listen(8).await.expect("the port is free");
        let mut connection = listener.accept().await.expect("accepts");
        for _ in 0..40 {
            process.sleep(ms(250)).await;
            assert_eq!(connection.read_frame().await.expect("reads").len(), 100_000);
        }
        log.borrow_mut().push(process.now().to_string());
        connection.write_frame(b"all").await.expect("writes");
        process.sleep(ms(1_000)).await;
    }
    let settled = Rc::new(Cell::new(0));
    let seen = Rc::clone(&settled);
    let sink = move |event: Event| {
        if matches!(event.kind, EventKind::Phase(_)) {
            seen.set(event.at.0);
        }
    };
    let mut world = World::new(config(9), Box::new(sink));
    let control = world.control();
    control.add_process("server", main(&(), echo));
    control.add_process("slow", main(&log, slow));
    control.add_process("client", main(&(), send));
    world.run_until(at_ms(60_000));
    assert_eq!(log.borrow().len(), 1);
    assert!(settled.get() > at_ms(10_000).0);
}

#[test]
fn timers_fire_in_order_and_dropped_ones_move_no_time() {
    let log = Log::default();
    async fn sleepers(process: Process, log: Log) {
        for millis in [30u64, 10, 20, 10] {
            let (sleeper, log) = (process.clone(), Rc::clone(&log));
            process.spawn(async move {
                sleeper.sleep(ms(millis)).await;
                log.borrow_mut().push(format!("{}", sleeper.now()));
            });
        }
        let never = std::future::pending::<()>();
        assert_eq!(super::sync::timeout(&process, ms(5), never).await, None);
        let soon = process.sleep(ms(1));
        let done = super::sync::timeout(&process, ms(900_000), soon).await;
        assert_eq!(done, Some(()));
    }
    let mut world = world(10);
    world
        .control()
        .add_process("sleepers", main(&log, sleepers));
    assert_eq!(world.run_until(at_ms(3_600_000)), RunEnd::Idle);
    assert_eq!(world.now(), at_ms(30));
    let times = ["0.010000s", "0.010000s", "0.020000s", "0.030000s"];
    assert_eq!(*log.borrow(), times);
}

#[test]
fn a_skewed_clock_is_wrong_for_itself_alone_and_waits_right() {
    let log = Log::default();
    async fn clock(process: Process, log: Log) {
        process.sleep(ms(10_000)).await;
        let line = format!("{} {}", process.wall(), process.now());
        log.borrow_mut().push(line);
    }
    let mut world = world(11);
    let control = world.control();
    control.add_process("skewed", main(&log, clock));
    control.set_skew("skewed", -2_000_000, 1_000);
    world.run_until(at_ms(10_000));
    control.add_process("right", main(&log, clock));
    world.run_until(at_ms(30_000));
    assert_eq!(
        *log.borrow(),
        [
            "2025-01-01T00:00:08.010000Z 10.000000s",
            "2025-01-01T00:00:20Z 20.000000s"
        ]
    );
}

#[test]
fn a_planned_death_happens_at_its_pass_and_side() {
    async fn work(process: Process, log: Log) {
        loop {
            process.point("worker", "commit", Side::Before).await;
            log.borrow_mut().push(format!("{}", process.incarnation()));
            process.point("worker", "commit", Side::After).await;
            process.sleep(ms(10)).await;
        }
    }
    let log = Log::default();
    let events: Rc<RefCell<Vec<Event>>> = Rc::default();
    let sink = Rc::clone(&events);
    let record = move |event: Event| sink.borrow_mut().push(event);
    let mut world = World::new(config(12), Box::new(record));
    let control = world.control();
    control.add_process("worker-1", main(&log, work));
    control.set_crash_point(CrashPointPlan {
        process_instance: "worker-1".into(),
        process: "worker".into(),
        call: "commit".into(),
        side: Side::Before,
        pass: 3,
    });
    assert_eq!(world.run_until(at_ms(1_000)), RunEnd::Idle);
    assert_eq!(*log.borrow(), ["0", "0"]);
    assert_eq!(world.now(), at_ms(20));
    let cause = CrashCause::Point {
        process: "worker".into(),
        call: "commit".into(),
        side: Side::Before,
        pass: 3,
    };
    let last = events.borrow().last().map(|event| event.kind.clone());
    assert_eq!(last, Some(EventKind::Crashed(cause)));
    control.restart("worker-1");
    world.run_until(at_ms(25));
    assert_eq!(*log.borrow(), ["0", "0", "1"]);
    let passed: Vec<_> = control.points_passed().into_values().collect();
    assert_eq!(passed, [4, 3]);
}

#[test]
fn a_process_may_kill_and_stop_itself() {
    async fn suicide(process: Process, control: Control) {
        if process.incarnation() == 1 {
            control.stop();
            process.sleep(ms(1)).await;
        }
        control.crash(process.name(), CrashCause::Scheduled);
        process.spawn(async { unreachable!("the process is dying") });
        process.sleep(ms(1)).await;
        unreachable!("the process is dead");
    }
    let mut world = world(13);
    let control = world.control();
    control.add_process("lemming", main(&control, suicide));
    assert_eq!(world.run_until(at_ms(10)), RunEnd::Idle);
    control.restart("lemming");
    assert_eq!(world.run_until(at_ms(10)), RunEnd::Stopped);
    assert!(control.is_running("lemming"));
    assert_eq!(world.run_until(at_ms(10)), RunEnd::Idle);
    assert!(!control.is_running("lemming"));
}

#[test]
#[should_panic(expected = "this thread has a World already")]
fn two_worlds_on_one_thread_are_refused() {
    let _first = world(14);
    let _second = world(15);
}
