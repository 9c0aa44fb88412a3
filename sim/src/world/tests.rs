//! Claims about the world, each shown by a small world of its own.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use backdate_engine::domain::time::Timestamp;
use backdate_engine::ports::host::Side;
use backdate_reports::recording::{CrashCause, Event, EventKind, SimTime};

use super::{
    Connection, Control, CrashPointPlan, Main, Process, RunEnd, TaskChoice, World, WorldConfig,
};

mod faults;
mod network;

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
    let fifo = WorldConfig { task_choice: TaskChoice::Fifo, ..config(1) };
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
    world.control().add_process("sleepers", main(&log, sleepers));
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
        ["2025-01-01T00:00:08.010000Z 10.000000s", "2025-01-01T00:00:20Z 20.000000s"]
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
    let cause = CrashCause::Point {
        process: "worker".into(),
        call: "commit".into(),
        side: Side::Before,
        pass: 3,
    };
    let last = events.borrow().last().map(|event| (event.at, event.kind.clone()));
    assert_eq!(last, Some((at_ms(20), EventKind::Crashed(cause))));
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

#[test]
fn a_starved_process_has_its_turn_after_many_of_the_others() {
    type Turns = Rc<RefCell<u32>>;
    async fn busy(process: Process, turns: Turns) {
        for _ in 0..5 {
            let (process, turns) = (process.clone(), turns.clone());
            process.clone().spawn(async move {
                loop {
                    process.sleep(ms(1)).await;
                    *turns.borrow_mut() += 1;
                }
            });
        }
    }
    let (rich, poor) = (Turns::default(), Turns::default());
    let mut world = world(1);
    let control = world.control();
    control.add_process("rich", main(&rich, busy));
    control.add_process("poor", main(&poor, busy));
    control.starve(Some("poor"));
    world.run_until(at_ms(1_000));
    let (of_rich, of_poor) = (rich.take(), poor.take());
    assert!((4_000..=5_100).contains(&of_rich), "{of_rich}");
    assert!((of_rich / 25..=of_rich / 19).contains(&of_poor), "{of_poor} and {of_rich}");
    control.starve(None);
    world.run_until(at_ms(2_000));
    assert!(*poor.borrow() * 10 > *rich.borrow() * 9, "{poor:?} {rich:?}");
}
