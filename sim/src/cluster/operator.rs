//! The operator of a simulated cluster: what befalls its database, and what people do by mistake.
//!
//! The world does to processes and links what is done to them (`world::faults`); it knows neither a
//! database nor an engine. What it cannot do is done here, with the handles that the harness holds.
//!
//! # Invariants
//! - Whatever is done to the database is taken back when its fault is over; faults may overlap.

#[cfg(test)]
mod tests;

use std::rc::Rc;
use std::time::Duration;

use backdate_engine::domain::messages;
use backdate_engine::ports::log::{Headers, Log, LogProducer, NewRecord, Record, Topic};
use backdate_engine::ports::store::rows::Table;
use backdate_engine::ports::store::statements::LockKeys;
use backdate_engine::ports::store::{Store, Transaction};
use backdate_engine::runtime::ProcessKind;
use backdate_reports::recording::{CrashCause, Row};
use smol_str::{SmolStr, format_smolstr};

use super::Cluster;
use crate::world::faults::{DatabaseFault, Fault, OperatorFault};
use crate::world::{Control, Process};

/// How often it is looked whether an answer has been lost.
const LOOK: Duration = Duration::from_millis(20);
/// Pause before another session is tried.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);
/// Shorter than a server waits for a client with an open transaction.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);
/// Messages of each topic that a zombie still has.
const REMEMBERED: usize = 50;
/// Pause before a send that failed is tried again, and how often it is.
const RESEND_PAUSE: Duration = Duration::from_millis(500);
const RESENDS_MAX: u32 = 40;

/// Who does it.
#[derive(Clone)]
pub(super) struct Operator {
    pub(super) cluster: Cluster,
    pub(super) control: Control,
}

impl Operator {
    /// Does it, from begin to end.
    pub(super) async fn perform(&self, fault: Fault, process: &Process) {
        match fault {
            Fault::Database(fault) => self.trouble_database(fault, process).await,
            Fault::Operator(fault) => self.blunder(fault, process).await,
            _ => unreachable!("all other faults are done elsewhere"),
        }
    }

    async fn trouble_database(&self, fault: DatabaseFault, process: &Process) {
        let server = &self.cluster.postgres.control;
        match fault {
            DatabaseFault::SlowDisk { factor, for_ms } => {
                server.slow_disk(f64::from(factor));
                process.sleep(Duration::from_millis(for_ms)).await;
                server.mend_disk(f64::from(factor));
            }
            DatabaseFault::LockPileUp { for_ms } => self.hold_all_keys(for_ms, process).await,
            DatabaseFault::Failover { for_ms } => {
                server.refuse_writes(true);
                server.kill_all_sessions();
                process.sleep(Duration::from_millis(for_ms)).await;
                server.refuse_writes(false);
            }
            DatabaseFault::LostAnswer { process: whose, times, within_ms } => {
                let deadline = process.now() + Duration::from_millis(within_ms);
                let loss = server.lose_answers(&whose, times);
                while server.answers_to_lose(loss) > 0 && process.now() < deadline {
                    process.sleep(LOOK.min(deadline.since(process.now()))).await;
                }
                server.keep_answers(loss);
            }
        }
    }

    /// A transaction that is left open.
    async fn hold_all_keys(&self, for_ms: u64, process: &Process) {
        let until = process.now() + Duration::from_millis(for_ms);
        let rows = self.cluster.postgres.disk.rows(Table::PositionState).into_iter();
        let keys = rows.filter_map(|row| match row {
            Row::Key(state) => Some(state.key.clone()),
            _ => None,
        });
        let lock = LockKeys { keys: keys.collect(), skip_locked: false };
        let store = self.cluster.store(process.clone());
        let mut open = loop {
            match store.begin().await {
                Ok(open) => break open,
                // Nobody holds the locks of a database that is down; once it is back, he does.
                Err(_) if process.now() < until => process.sleep(RECONNECT_PAUSE).await,
                Err(_) => return,
            }
        };
        while process.now() < until {
            // Whoever ends the session lets the locks go: that is the end of the fault as well.
            if open.execute(lock.clone()).await.is_err() {
                return;
            }
            process.sleep(SIGN_OF_LIFE.min(until.since(process.now()))).await;
        }
        open.rollback().await;
    }

    async fn blunder(&self, fault: OperatorFault, process: &Process) {
        match fault {
            OperatorFault::SecondInstance { kind, for_ms } => {
                let name = self.start_another(&kind);
                process.sleep(Duration::from_millis(for_ms)).await;
                self.control.crash(&name, CrashCause::Scheduled);
            }
            OperatorFault::ZombieProducer { process: whose, after_ms } => {
                let records = self.published_by(&whose);
                process.sleep(Duration::from_millis(after_ms)).await;
                self.send(process, records).await;
            }
            OperatorFault::ReprocessTwice { times } => {
                let news = self.news_of_all();
                for run in 1..=times {
                    let (operator, tool) = (self.clone(), process.clone());
                    let news = news.clone();
                    process.spawn(async move {
                        let producer = format_smolstr!("reprocess-{run}");
                        let records = news.into_iter().map(|record| signed(record, &producer));
                        operator.send(&tool, records.collect()).await;
                    });
                }
            }
        }
    }

    /// Starts an instance that nobody has planned; its name.
    fn start_another(&self, kind: &str) -> SmolStr {
        let kind = ProcessKind::parse(kind).expect("a plan names processes of the engine");
        let known = self.control.process_names();
        let mut number = self.cluster.config().instances_of(kind) + 1;
        loop {
            let name = format_smolstr!("{kind}-{number}");
            if !known.contains(&name) {
                self.control.add_process(name.clone(), self.cluster.engine_main(kind));
                return name;
            }
            // One that was there before, and was killed, comes again.
            if !self.control.is_running(&name) {
                self.control.restart(&name);
                return name;
            }
            number += 1;
        }
    }

    /// The last messages that a process has published, as its zombie sends them.
    fn published_by(&self, whose: &str) -> Vec<NewRecord> {
        let disk = self.cluster.kafka.disk();
        let producer = format_smolstr!("{whose}-zombie");
        let of_topic = |topic: &Topic| {
            let records = disk.records(*topic);
            let own: Vec<Rc<Record>> =
                records.filter(|r| r.headers.producer.as_deref() == Some(whose)).collect();
            let first = own.len().saturating_sub(REMEMBERED);
            own[first..].iter().map(|record| copy(record)).collect::<Vec<_>>()
        };
        let topics = Topic::ALL.iter().filter(|topic| **topic != Topic::DeadLetters);
        topics.flat_map(of_topic).map(|record| signed(record, &producer)).collect()
    }

    /// The news of every stored transaction.
    fn news_of_all(&self) -> Vec<NewRecord> {
        let rows = self.cluster.postgres.disk.rows(Table::Transactions).into_iter();
        let news = rows.filter_map(|row| {
            let Row::Transaction(row) = row else { return None };
            let value = messages::transaction_completed(&row.transaction);
            // Said in its own words: it is no event of the outbox that overtakes others.
            let value = value.replacen('{', "{\"requested_by\":\"reprocess\",", 1);
            Some(NewRecord {
                topic: Topic::RawTransactionsCompleted,
                key: row.transaction.key.portfolio_id.as_str().into(),
                value: value.into_bytes(),
                headers: Headers { correlation_id: row.correlation_id.clone(), producer: None },
            })
        });
        news.collect()
    }

    async fn send(&self, process: &Process, records: Vec<NewRecord>) {
        let log = self.cluster.kafka.client(process.clone());
        for _ in 0..RESENDS_MAX {
            if let Ok(mut producer) = log.producer().await
                && producer.send(records.clone()).await.is_ok()
            {
                return;
            }
            process.sleep(RESEND_PAUSE).await;
        }
    }
}

fn copy(record: &Record) -> NewRecord {
    let Record { topic, key, value, headers, .. } = record.clone();
    NewRecord { topic, key, value, headers }
}

/// A message with the name of who sends it.
fn signed(mut record: NewRecord, producer: &SmolStr) -> NewRecord {
    record.headers.producer = Some(producer.clone());
    record
}
