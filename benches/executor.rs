//! What the world costs: simulated seconds per second of wall clock, side by side with turmoil.
//!
//! Twelve processes for thirty simulated seconds, six of them asking and six answering: a frame of
//! 128 bytes, over links of one to five milliseconds (`executor/busy`), or all of them asleep but
//! for one timer a second (`executor/idle`). Ours runs with the seeded choice of tasks and with the
//! fingerprint; `turmoil::Sim` runs with its tick of one millisecond. `executor/queue` is the
//! ceiling: the same questions and answers over queues in memory, without any socket.
//!
//! The ratios that count come from pairs measured in turn, best of several, and go to
//! `target/bench.json`.

#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark measures the machine, and turmoil's hosts sleep on tokio"
)]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use backdate::world::sync::Notify;
use backdate::world::{Main, Process, TaskChoice, World, WorldConfig};
use backdate_benches::measure::clock;
use backdate_benches::{Line, write_results};
use backdate_engine::domain::time::Timestamp;
use backdate_reports::recording::SimTime;
use criterion::Criterion;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PAIRS: usize = 6;
const SECONDS: u64 = 30;
const PORT: u16 = 7;
const FRAME: usize = 128;
const LATENCY: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(5));
/// Runs of each world of which the best counts: what disturbs a run makes it slower, never faster.
const ATTEMPTS: usize = 5;
/// A world is run again until an attempt has taken that long; the shortest run takes 0.1 ms.
const ATTEMPT_SECONDS: f64 = 0.2;

fn main() {
    if !std::env::args().any(|argument| argument == "--profile-time") {
        compare();
    }
    let mut criterion = Criterion::default().sample_size(10).configure_from_args();
    let mut group = criterion.benchmark_group("executor");
    group.bench_function("busy", |bench| bench.iter(ours_busy));
    group.bench_function("idle", |bench| bench.iter(ours_idle));
    group.bench_function("queue", |bench| bench.iter(queue_busy));
    group.bench_function("busy/turmoil", |bench| bench.iter(turmoil_busy));
    group.finish();
    criterion.final_summary();
}

fn compare() {
    let (ours, turmoil) = best_of(ours_busy, turmoil_busy);
    let (idle, turmoil_idle) = best_of(ours_idle, turmoil_idle);
    let (queue, again) = best_of(queue_busy, ours_busy);
    let lines = [
        line("executor/busy", ours, turmoil, "turmoil::Sim 0.7, tick 1 ms, busy"),
        line("executor/idle", idle, turmoil_idle, "turmoil::Sim 0.7, tick 1 ms, idle"),
        line("executor/queue", queue, again, "ceiling: queues, no sockets, against ours"),
    ];
    report(&lines, &[ours, turmoil, queue]);
    write_results(&lines).expect("the target folder is writable");
}

/// Seconds that a run took, and round trips in it.
#[derive(Clone, Copy)]
struct Run {
    wall: f64,
    rounds: u64,
}

fn best_of(ours: fn() -> u64, baseline: fn() -> u64) -> (Run, Run) {
    let mut best = [None::<Run>; 2];
    for _ in 0..ATTEMPTS {
        for (best, run) in best.iter_mut().zip([ours, baseline]) {
            let (begun, mut runs, mut rounds) = (clock(), 0, 0);
            while clock() - begun < ATTEMPT_SECONDS {
                rounds = run();
                runs += 1;
            }
            let wall = (clock() - begun) / f64::from(runs);
            if best.is_none_or(|best| wall / rounds_of(rounds) < best.wall / rounds_of(best.rounds))
            {
                *best = Some(Run { wall, rounds });
            }
        }
    }
    best.map(|run| run.expect("at least one attempt")).into()
}

/// Idle runs have no round trips; they are compared as they are.
fn rounds_of(rounds: u64) -> f64 {
    rounds.max(1) as f64
}

fn line(name: &str, ours: Run, baseline: Run, note: &str) -> Line {
    let speed = |run: Run| SECONDS as f64 / run.wall;
    // Busy worlds make slightly different numbers of round trips; each counts per round trip.
    let cost = |run: Run| run.wall / rounds_of(run.rounds);
    Line {
        name: name.to_owned(),
        ours: speed(ours),
        baseline: speed(baseline),
        ratio: cost(baseline) / cost(ours),
        unit: "simulated seconds per second".to_owned(),
        note: note.to_owned(),
    }
}

#[expect(clippy::print_stdout, reason = "a benchmark talks to a person")]
fn report(lines: &[Line], busy: &[Run]) {
    for line in lines {
        println!(
            "{:15} ours {:10.0}  baseline {:10.0}  ratio {:8.1}  ({})",
            line.name, line.ours, line.baseline, line.ratio, line.note
        );
    }
    for (name, run) in ["ours", "turmoil", "queue"].iter().zip(busy) {
        let micros = run.wall * 1e6 / rounds_of(run.rounds);
        println!("{name:8} {micros:6.2} us per round trip, {} round trips", run.rounds);
    }
}

fn world() -> World {
    let config = WorldConfig {
        seed: 1,
        task_choice: TaskChoice::Seeded,
        latency: LATENCY,
        start: Timestamp::from_micros(0),
    };
    World::new(config, Box::new(|_| {}))
}

fn run(mut world: World) -> World {
    world.run_until(SimTime(SECONDS * 1_000_000_000));
    assert_ne!(world.fingerprint(), 0);
    world
}

fn ours_busy() -> u64 {
    let rounds = Rc::new(Cell::new(0));
    let world = world();
    let answer: Main = Rc::new(|process| Box::pin(answer(process)));
    for pair in 0..PAIRS {
        let count = Rc::clone(&rounds);
        let ask: Main = Rc::new(move |process| Box::pin(ask(process, pair, Rc::clone(&count))));
        world.control().add_process(format!("server-{pair}"), Rc::clone(&answer));
        world.control().add_process(format!("client-{pair}"), ask);
    }
    run(world);
    rounds.get()
}

async fn answer(process: Process) {
    let mut listener = process.listen(PORT).await.expect("the port is free");
    while let Ok(mut connection) = listener.accept().await {
        process.spawn(async move {
            while let Ok(frame) = connection.read_frame().await {
                connection.write_frame(&frame).await.expect("writes");
            }
        });
    }
}

async fn ask(process: Process, pair: usize, rounds: Rc<Cell<u64>>) {
    let server = format!("server-{pair}");
    let mut connection = process.connect(&server, PORT).await.expect("connects");
    loop {
        connection.write_frame(&[7; FRAME]).await.expect("writes");
        let answer = connection.read_frame().await.expect("reads");
        assert_eq!(answer.len(), FRAME);
        rounds.set(rounds.get() + 1);
    }
}

fn ours_idle() -> u64 {
    let world = world();
    for host in 0..2 * PAIRS {
        let sleep: Main = Rc::new(|process| {
            Box::pin(async move {
                loop {
                    process.sleep(Duration::from_secs(1)).await;
                }
            })
        });
        world.control().add_process(format!("host-{host}"), sleep);
    }
    run(world);
    0
}

type Frames = VecDeque<(SimTime, Vec<u8>)>;

/// A queue between two processes; the latency is a timer of the receiver.
#[derive(Clone, Default)]
struct Queue {
    frames: Rc<RefCell<Frames>>,
    filled: Notify,
}

impl Queue {
    fn send(&self, process: &Process, frame: Vec<u8>) {
        let span = (LATENCY.1 - LATENCY.0).as_nanos() as u64;
        let latency = LATENCY.0 + Duration::from_nanos(process.next_u64() % span);
        let at = process.now() + latency;
        self.frames.borrow_mut().push_back((at, frame));
        self.filled.notify_one();
    }

    async fn receive(&self, process: &Process) -> Vec<u8> {
        loop {
            let next = self.frames.borrow_mut().pop_front();
            match next {
                Some((at, frame)) => {
                    process.sleep_until(at).await;
                    return frame;
                }
                None => self.filled.notified().await,
            }
        }
    }
}

fn queue_busy() -> u64 {
    let rounds = Rc::new(Cell::new(0));
    let world = world();
    for pair in 0..PAIRS {
        let (questions, answers) = (Queue::default(), Queue::default());
        let (inbox, outbox) = (questions.clone(), answers.clone());
        let server: Main = Rc::new(move |process| {
            let (inbox, outbox) = (inbox.clone(), outbox.clone());
            Box::pin(async move {
                loop {
                    let frame = inbox.receive(&process).await;
                    outbox.send(&process, frame);
                }
            })
        });
        let count = Rc::clone(&rounds);
        let client: Main = Rc::new(move |process| {
            let (questions, answers, count) =
                (questions.clone(), answers.clone(), Rc::clone(&count));
            Box::pin(async move {
                loop {
                    questions.send(&process, vec![7; FRAME]);
                    answers.receive(&process).await;
                    count.set(count.get() + 1);
                }
            })
        });
        world.control().add_process(format!("server-{pair}"), server);
        world.control().add_process(format!("client-{pair}"), client);
    }
    run(world);
    rounds.get()
}

fn turmoil_sim() -> turmoil::Sim<'static> {
    turmoil::Builder::new()
        .simulation_duration(Duration::from_secs(SECONDS + 10))
        .tick_duration(Duration::from_millis(1))
        .min_message_latency(LATENCY.0)
        .max_message_latency(LATENCY.1)
        .rng_seed(1)
        .build()
}

/// Steps the simulation for its thirty seconds.
fn turmoil_run(mut sim: turmoil::Sim<'static>) {
    while sim.elapsed() < Duration::from_secs(SECONDS) {
        sim.step().expect("no host fails");
    }
}

fn turmoil_busy() -> u64 {
    let rounds = Rc::new(Cell::new(0));
    let mut sim = turmoil_sim();
    for pair in 0..PAIRS {
        sim.host(format!("server-{pair}"), || async {
            let listener = turmoil::net::TcpListener::bind(("0.0.0.0", PORT)).await?;
            loop {
                let (mut stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                let mut frame = [0; FRAME];
                while stream.read_exact(&mut frame).await.is_ok() {
                    stream.write_all(&frame).await?;
                }
            }
        });
    }
    for pair in 0..PAIRS {
        let count = Rc::clone(&rounds);
        sim.client(format!("client-{pair}"), async move {
            let server = format!("server-{pair}");
            let mut stream = turmoil::net::TcpStream::connect((server, PORT)).await?;
            stream.set_nodelay(true)?;
            let mut frame = [7; FRAME];
            loop {
                stream.write_all(&frame).await?;
                stream.read_exact(&mut frame).await?;
                count.set(count.get() + 1);
            }
        });
    }
    turmoil_run(sim);
    rounds.get()
}

fn turmoil_idle() -> u64 {
    let mut sim = turmoil_sim();
    for host in 0..2 * PAIRS {
        sim.client(format!("host-{host}"), async {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
    }
    turmoil_run(sim);
    0
}
