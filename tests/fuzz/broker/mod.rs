//! Schedules of a consumer group on one topic: producers, commits, seeks, joins, leaves, deaths.
//!
//! A line of a course is an act with its outcome; below it, which records were delivered because of
//! it, to whom does not matter, and what the group has committed; at the end, all records.

mod drive;
mod places;
mod schedule;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use backdate::proxy::{self, Direction, Link, Protocol};
use backdate_engine::adapters::kafka::{self, KafkaConfig, admin};
use backdate_engine::ports::log::Log as _;
use futures_util::{StreamExt, stream};

use super::{Plan, Stopwatch, Verdict, say, side_by_side};
use crate::contract::real::{RealLog, beside, run};
use crate::contract::sim::{self, SimLog};
use crate::contract::site::{LogSettings, LogSite};
use drive::{GROUP, Stage, TOPIC, drive};
use places::Places;
use schedule::Schedule;

/// A member that is silent for so long is dead.
const SESSION_MS: u64 = 1_500;
/// A member that does not poll for so long is dead.
pub(super) const MAX_POLL_MS: u64 = 2_500;
/// Schedules that run on the real broker at the same time: most of their time is waiting.
const AT_ONCE: usize = 8;
/// How often a schedule may differ before it counts: on a machine that is busy with other things a
/// member may be too late for the real broker, and is fenced.
const ATTEMPTS: u32 = 3;
/// One schedule in so many may be run again, and these few.
const AGAIN_ONE_IN: usize = 10;
const AGAIN_FEW: usize = 2;

fn settings(partitions: u32) -> LogSettings {
    LogSettings {
        partitions,
        session_ms: SESSION_MS,
        max_poll_ms: MAX_POLL_MS,
        ..LogSettings::default()
    }
}

impl Stage for SimLog {
    type Life = ();

    async fn join(&self) -> (Self::Consumer, ()) {
        let member = self.log().consumer(GROUP, &[TOPIC]).await;
        (member.expect("the broker is up"), ())
    }

    fn die(&self, member: Self::Consumer, (): ()) {
        drop(member);
    }

    async fn committed(&self) -> BTreeMap<u32, u64> {
        let committed = self.cluster().disk().committed(GROUP);
        committed.into_iter().map(|((_, partition), next)| (partition, next)).collect()
    }
}

/// A real member that is dropped would leave its group, so each has a link of its own to be cut.
impl Stage for RealLog {
    type Life = Link;

    async fn join(&self) -> (Self::Consumer, Link) {
        let link = Link::default();
        let brokers = &self.config().bootstrap_servers;
        let broker = brokers.split(',').next().unwrap_or(brokers);
        let address = proxy::start(broker, Protocol::Kafka, link.clone()).await;
        let bootstrap_servers = address.expect("loopback has a free port").to_string();
        let config = KafkaConfig { bootstrap_servers, ..self.config().clone() };
        let member = kafka::Client::new(&config, "member").consumer(GROUP, &[TOPIC]).await;
        (member.expect("the broker is up"), link)
    }

    fn die(&self, member: Self::Consumer, life: Link) {
        life.hold(Direction::ToServer);
        life.hold(Direction::ToClient);
        drop(member);
    }

    async fn committed(&self) -> BTreeMap<u32, u64> {
        let positions = admin::committed(self.config(), GROUP, &[TOPIC]).await;
        let positions = positions.expect("the broker is up");
        positions.iter().map(|position| (position.partition, position.next_offset)).collect()
    }
}

fn simulate(schedule: &Schedule, keys: &[String]) -> Vec<String> {
    let course = Rc::new(RefCell::new(Vec::new()));
    let (written, given) = (Rc::clone(&course), (schedule.clone(), keys.to_vec()));
    sim::log(settings(schedule.partitions), move |site| {
        let (written, (schedule, keys)) = (Rc::clone(&written), given.clone());
        async move {
            let lines = drive(&site, &schedule, &keys).await;
            *written.borrow_mut() = lines;
        }
    });
    course.take()
}

async fn on_the_real_broker(schedule: &Schedule, keys: &[String]) -> Vec<String> {
    let site = RealLog::new(&settings(schedule.partitions)).await;
    drive(&site, schedule, keys).await
}

/// A schedule on both services.
struct Trial {
    seed: u64,
    simulated: Vec<String>,
    real: Vec<String>,
    verdict: Verdict,
    attempts: u32,
}

async fn check(seed: u64, places: &Places) -> Trial {
    let schedule = Schedule::generate(seed);
    let keys = places.keys(schedule.partitions);
    let given = (schedule.clone(), keys.to_vec());
    let simulated = beside(move || simulate(&given.0, &given.1)).await;
    let mut attempts = 0;
    loop {
        attempts += 1;
        let real = on_the_real_broker(&schedule, keys).await;
        let differs = |n: &usize| simulated.get(*n) != real.get(*n);
        let verdict = match (0..simulated.len().max(real.len())).find(differs) {
            None => Verdict::Agrees,
            Some(at) => Verdict::Differs(at),
        };
        if verdict == Verdict::Agrees || attempts == ATTEMPTS {
            return Trial { seed, simulated, real, verdict, attempts };
        }
    }
}

#[test]
fn broker_schedules_agree() {
    let plan = Plan::of("BACKDATE_FUZZ_BROKER", 25, include_str!("../seeds/broker.txt"));
    run(Duration::from_secs(86_400), async move || {
        let watch = Stopwatch::start();
        let places = Places::find().await;
        let runs = stream::iter(&plan.seeds).map(|seed| check(*seed, &places));
        let mut runs = runs.buffer_unordered(AT_ONCE);
        let (mut differing, mut fenced, mut deliveries, mut late) = (Vec::new(), 0, 0, 0);
        while let Some(Trial { seed, simulated, real, verdict, attempts }) = runs.next().await {
            fenced += real.iter().filter(|line| line.ends_with("error Fenced")).count();
            deliveries += real.iter().filter(|line| line.contains("delivers")).count();
            late += usize::from(attempts > 1);
            if plan.is_single {
                say(&simulated.join("\n"));
            }
            if let Verdict::Differs(at) = verdict {
                say(&format!("broker seed {seed}:\n{}", side_by_side(&simulated, &real, at)));
                differing.push(seed);
            }
        }
        let seconds = watch.seconds();
        say(&format!(
            "broker: {} schedules ({plan}), {deliveries} deliveries, {fenced} fenced, {late} run \
             again, {} differ; {seconds:.0} s, {:.2} schedules/s",
            plan.seeds.len(),
            differing.len(),
            plan.seeds.len() as f64 / seconds
        ));
        assert!(differing.is_empty(), "differing seeds: {differing:?}");
        assert!(
            late <= AGAIN_FEW + plan.seeds.len() / AGAIN_ONE_IN,
            "{late} schedules had to be run again: the machine is too busy to tell, or a \
             difference comes and goes"
        );
        assert!(plan.is_single || fenced > 0, "nobody was fenced");
    });
}
