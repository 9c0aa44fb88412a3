//! Claims about connections.

use std::cell::Cell;
use std::rc::Rc;

use backdate_reports::recording::{CrashCause, Event, EventKind, Phase, SimTime};

use super::super::{Process, RunEnd, World, sync};
use super::{Log, at_ms, config, echo, echoed, main, ms, world};

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
            let _ = sync::timeout(&process, ms(3), dial).await;
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
        ["NotFound 0s", "ConnectionRefused 0s", "TimedOut 5s", "TimedOut 5s"]
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
        echoed(&process, "server", &frame).await.expect("comes back");
        let mut slow = process.connect("slow", 8).await.expect("connects");
        for _ in 0..40 {
            slow.write_frame(&frame[..100_000]).await.expect("writes");
        }
        assert_eq!(slow.read_frame().await.expect("an answer"), "all");
        process.record(EventKind::Phase(Phase::Settled));
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

/// Sends frames of any size with any pause, and checks those that come.
async fn stream(process: Process, done: Rc<Cell<u32>>) {
    let connection = if process.name() == "a" {
        let mut listener = process.listen(7).await.expect("the port is free");
        listener.accept().await.expect("accepts")
    } else {
        process.connect("a", 7).await.expect("connects")
    };
    let (mut reader, mut writer) = connection.split();
    let (sender, counted) = (process.clone(), Rc::clone(&done));
    let largest = 1 << (process.next_u64() % 19);
    let pauses = [0, 0, 3, 30][usize::try_from(process.next_u64() % 4).expect("small")];
    process.spawn(async move {
        for number in 0..60u8 {
            let length = usize::try_from(sender.next_u64() % largest).expect("small");
            writer.write_frame(&vec![number; length]).await.expect("writes");
            sender.sleep(ms(sender.next_u64() % (pauses + 1))).await;
        }
        counted.set(counted.get() + 1);
        // Dropping the writer ends the stream; the other end sees it behind all frames.
    });
    let pauses = process.next_u64() % 40;
    for number in 0..60u8 {
        let frame = reader.read_frame().await.expect("reads");
        assert!(frame.iter().all(|byte| *byte == number));
        process.sleep(ms(process.next_u64() % (pauses + 1))).await;
    }
    let end = reader.read_frame().await.expect_err("ended");
    assert_eq!(end.kind(), std::io::ErrorKind::UnexpectedEof);
    done.set(done.get() + 1);
}

#[test]
fn streams_of_any_shape_arrive_whole_both_ways() {
    for seed in 0..60 {
        let done = Rc::default();
        let mut world = world(seed);
        let control = world.control();
        control.add_process("a", main(&done, stream));
        control.add_process("b", main(&done, stream));
        let end = world.run_until(at_ms(60_000));
        assert_eq!((end, done.get()), (RunEnd::Idle, 4), "seed {seed}");
        assert_eq!(control.packets_under_way(), 0);
    }
}

#[test]
fn latency_stays_within_its_bounds() {
    let log = Log::default();
    async fn receive(process: Process, log: Log) {
        let mut listener = process.listen(7).await.expect("the port is free");
        let mut connection = listener.accept().await.expect("accepts");
        while let Ok(frame) = connection.read_frame().await {
            let sent = u64::from_le_bytes(frame.as_ref().try_into().expect("a time"));
            log.borrow_mut().push(process.now().since(SimTime(sent)).as_micros().to_string());
        }
    }
    async fn send(process: Process, (): ()) {
        let mut connection = process.connect("sink", 7).await.expect("connects");
        for _ in 0..500 {
            process.sleep(ms(7)).await;
            let now = process.now().0.to_le_bytes();
            connection.write_frame(&now).await.expect("writes");
        }
    }
    let mut world = world(16);
    let control = world.control();
    control.add_process("sink", main(&log, receive));
    control.add_process("source", main(&(), send));
    world.run_until(at_ms(10_000));
    let mut latencies: Vec<u64> =
        log.borrow().iter().map(|micros| micros.parse().expect("a number")).collect();
    latencies.sort_unstable();
    assert_eq!(latencies.len(), 500);
    assert!((1_000..1_100).contains(&latencies[0]), "{latencies:?}");
    assert!((2_700..3_300).contains(&latencies[250]), "{latencies:?}");
    assert!((4_900..=5_000).contains(&latencies[499]), "{latencies:?}");
}
