//! `serve` in trouble: messages that are none, a database that refuses, a broker that dies.
//!
//! Each test compares what is there in the end with an undisturbed run over the same inputs, so
//! that nothing can be lost and nothing can happen twice without being seen.

mod letters;
mod poison;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::OnceLock;

use backdate::runner::stage::GROUPS;
use backdate_engine::adapters::kafka::admin;
use backdate_engine::ports::log::{Position, Topic};

use super::fixture::{Place, Serving, until, wait};
use super::inputs::{Input, market, trades};
use super::{stop, tables};
use crate::services::{Act, Private, Services};

/// Sent before and during the trouble.
const TRADES: u32 = 60;
const BEFORE: usize = 20;

/// What an undisturbed run makes of the inputs.
fn undisturbed() -> &'static Vec<Vec<String>> {
    static TABLES: OnceLock<Vec<Vec<String>>> = OnceLock::new();
    TABLES.get_or_init(|| {
        let place = Place::migrated();
        let mut serving = place.serve(&[]);
        place.send(&market());
        place.send(&trades(TRADES));
        place.settle();
        stop(&mut serving);
        let tables = tables(&place);
        assert!(tables.iter().all(|table| !table.is_empty()), "nothing to compare");
        tables
    })
}

/// A running place with its market and the first trades.
fn begun(place: &Place) -> (Serving, Vec<Input>) {
    let serving = place.serve(&[]);
    serving.until_ready();
    place.send(&market());
    let mut trades = trades(TRADES);
    let rest = trades.split_off(BEFORE);
    place.send(&trades);
    place.settle();
    (serving, rest)
}

/// Waits for the end of the trouble and compares.
fn healed(place: &Place, mut serving: Serving) {
    place.settle();
    serving.until_ready();
    stop(&mut serving);
    assert_eq!(&tables(place), undisturbed());
}

/// Waits until the log says all of these words in one line.
fn until_logged(serving: &Serving, words: &[&str]) {
    until(&format!("the log says {words:?}"), || {
        let log = serving.log();
        let is_said = log.lines().any(|line| words.iter().all(|word| line.contains(word)));
        is_said.then_some(()).ok_or(log)
    });
}

/// All positions that the engine has committed.
fn committed(place: &Place) -> Vec<Position> {
    let of_group = |(group, topics): &(&str, &[Topic])| {
        wait(admin::committed(place.prefix.config(), group, topics)).expect("the broker answers")
    };
    GROUPS.iter().flat_map(of_group).collect()
}

/// How many transactions have been declared done, and how many are stored by then.
fn done_and_stored(place: &Place) -> (u64, u64) {
    let is_trade = |position: &&Position| position.topic == Topic::RawTransactions;
    let done = committed(place).iter().filter(is_trade).map(|p| p.next_offset).sum();
    let stored = place.lines("SELECT count(*)::text FROM transactions");
    (done, stored[0].parse().expect("a number"))
}

#[test]
fn what_migrate_makes_is_waited_for() {
    let place = Place::new();
    let serving = place.serve(&[]);
    serving.until_reason(&["database", "backdate migrate", "topics", "raw_transactions"]);
    // The inputs are there before anything can take them.
    let config = place.prefix.config();
    let mut topics = admin::all_topics(config);
    topics.retain(|(topic, _)| *topic != Topic::DeadLetters);
    wait(admin::create_topics(config, &topics)).expect("the broker answers");
    place.send(&market());
    let mut trades = trades(TRADES);
    let rest = trades.split_off(BEFORE);
    place.send(&trades);
    until_logged(&serving, &["An attempt failed", "does not have the tables", "backdate migrate"]);
    let first = place.migrate();
    assert_eq!(first.code, 0, "{}", first.stderr);
    assert!(first.stdout.contains("applied") && first.stdout.contains("created"));
    let second = place.migrate();
    assert_eq!(second.stdout.matches("nothing to do").count(), 2, "{}", second.stdout);
    serving.until_ready();
    place.settle();
    assert_eq!(place.lines("SELECT count(*)::text FROM position_timeline"), [BEFORE.to_string()]);

    // The same tables under an older version: no session may write to them.
    let version = "UPDATE _sqlx_migrations SET version = -version RETURNING version::text";
    let older = place.lines(version);
    assert_eq!(older.first().map(String::as_str), Some("-1"), "{older:?}");
    assert!(older.iter().all(|version| version.starts_with('-')), "{older:?}");
    let end = "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity";
    let ended = place.lines(&format!("{end} WHERE application_name LIKE '%:{}'", serving.id()));
    assert!(!ended.is_empty(), "the instances have sessions");
    serving.until_reason(&["database", "is at version -1", "backdate migrate"]);
    let (before, done) = (tables(&place), committed(&place));
    place.send(&rest);
    until_logged(&serving, &["An attempt failed", "is at version -1"]);
    assert_eq!((tables(&place), committed(&place)), (before, done), "nothing is written");
    assert_eq!(done_and_stored(&place), (BEFORE as u64, BEFORE as u64));
    let again: Vec<String> = older.iter().map(|version| version[1..].to_owned()).collect();
    assert_eq!(place.lines(version), again);
    healed(&place, serving);
}

#[test]
fn a_read_only_database_is_named_and_waited_for() {
    let server = Private::postgres();
    let schema = server.fresh_schema("postgres");
    let place = Place::of(schema, Services::get().fresh_prefix());
    place.prepare();
    let (serving, rest) = begun(&place);
    let reload = "SELECT pg_reload_conf()::text";
    place.lines("ALTER SYSTEM SET default_transaction_read_only = on");
    place.lines(reload);
    let before = committed(&place);
    place.send(&rest);
    serving.until_reason(&["database", "read-only (25006)", "default_transaction_read_only"]);
    until_logged(&serving, &["An attempt failed", "read-only (25006)", "primary"]);
    assert_eq!(committed(&place), before, "nothing took effect, so nothing is done");
    let (done, stored) = done_and_stored(&place);
    assert_eq!((done, stored), (BEFORE as u64, BEFORE as u64));
    place.lines("ALTER SYSTEM RESET default_transaction_read_only");
    place.lines(reload);
    healed(&place, serving);
}

#[test]
fn a_full_disk_is_named_and_waited_for() {
    let server = Private::postgres();
    let disk = server.disk(48 << 20);
    let place = place_on(&server, disk.as_deref());
    place.prepare();
    let (serving, rest) = begun(&place);
    match &disk {
        Some(disk) => fill(&disk.join("ballast")),
        None => refuse(&place),
    }
    // Pages have room for some rows: so more is sent than fits.
    place.send(&rest);
    let filler = prices_beyond_the_calendar();
    place.send(&filler);
    until_logged(&serving, &["An attempt failed", "is full", "(53100)", "free some space"]);
    let (done, stored) = done_and_stored(&place);
    assert!(done <= stored, "{done} are declared done, {stored} are stored");
    let prices = "SELECT count(*)::text FROM market_prices WHERE price_date > '2026-01-01'";
    assert_ne!(place.lines(prices), [filler.len().to_string()], "the disk was not full");
    match &disk {
        Some(disk) => fs::remove_file(disk.join("ballast")).expect("it is there"),
        None => relent(&place),
    }
    healed(&place, serving);
    assert_eq!(place.lines(prices), [filler.len().to_string()]);
}

/// A place whose database lies on that disk.
fn place_on(server: &Private, disk: Option<&Path>) -> Place {
    let Some(disk) = disk else {
        return Place::of(server.fresh_schema("postgres"), Services::get().fresh_prefix());
    };
    {
        let root = Place::of(server.fresh_schema("postgres"), Services::get().fresh_prefix());
        root.lines(&format!("CREATE TABLESPACE small LOCATION '{}'", disk.display()));
        root.lines("CREATE DATABASE small TABLESPACE small");
    }
    Place::of(server.fresh_schema("small"), Services::get().fresh_prefix())
}

/// Writes until there is no room.
fn fill(ballast: &Path) {
    let mut file = fs::File::create(ballast).expect("there is room");
    while file.write_all(&[0; 4096]).is_ok() {}
}

/// Where nothing can be mounted, the database says itself what a full disk makes it say.
fn refuse(place: &Place) {
    place.lines(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            RAISE EXCEPTION 'could not extend file: No space left on device'
                USING ERRCODE = '53100';
        END $$",
    );
    for table in ["transactions", "market_prices", "outbox_events"] {
        place.lines(&format!(
            "CREATE TRIGGER refuse BEFORE INSERT ON {table} EXECUTE FUNCTION refuse()"
        ));
    }
}

fn relent(place: &Place) {
    place.lines("DROP FUNCTION refuse CASCADE");
}

/// Prices that take room and change no value: no business date is so late.
fn prices_beyond_the_calendar() -> Vec<Input> {
    let price = |number: u32| {
        let id = format!("FILL{}", "x".repeat(200));
        let date =
            format!("{}-{:02}-{:02}", 2030 + number / 336, number / 28 % 12 + 1, number % 28 + 1);
        let value = format!(
            r#"{{"security_id":"{id}","price_date":"{date}","price":"1","currency":"USD"}}"#
        );
        Input { topic: Topic::MarketPrices, key: id, value }
    };
    (0..2_000).map(price).collect()
}

#[test]
fn a_broker_that_dies_in_the_middle_of_the_load_loses_and_doubles_nothing() {
    let broker = Private::kafka();
    let place = Place::of(Services::get().fresh_schema(), broker.fresh_prefix());
    place.prepare();
    let serving = place.serve(&[]);
    serving.until_ready();
    place.send(&market());
    let mut trades = trades(TRADES);
    let rest = trades.split_off(TRADES as usize / 2);
    place.send(&trades);
    until("the work has begun", || {
        let stored = place.lines("SELECT count(*)::text FROM market_prices");
        (stored != ["0"]).then_some(()).ok_or_else(|| format!("{stored:?}"))
    });
    broker.act(Act::Kill);
    serving.until_reason(&["broker", "cannot be reached", "BACKDATE_KAFKA"]);
    until("the metrics say so", || match serving.metric("ready") {
        Some(0.0) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    // The database is there, so what it has to say is still read.
    let read_at = || serving.metric("db_readings_timestamp_seconds").expect("it is always there");
    let before = read_at();
    until("the gauges are read", || (read_at() > before).then_some(()).ok_or("no".to_owned()));
    broker.act(Act::Start);
    place.send(&rest);
    healed(&place, serving);
}

/// A role that is gone with its guard.
struct Role<'a>(&'a Place, String);

impl Drop for Role<'_> {
    fn drop(&mut self) {
        self.0.lines(&format!("DROP ROLE \"{}\"", self.1));
    }
}

#[test]
fn too_few_connections_are_named_and_waited_for() {
    let place = Place::migrated();
    let database = place.schema.config();
    let role = Role(&place, format!("{}_few", database.schema));
    let name = &role.1;
    place.lines(&format!("CREATE ROLE \"{name}\" LOGIN PASSWORD 'few' CONNECTION LIMIT 2"));
    place.lines(&format!("GRANT \"{}\" TO \"{name}\"", database.user));
    place.configure_for(name, database.port);
    let serving = place.serve_with(&[], "few");
    place.send(&market());
    place.send(&trades(TRADES));
    until_logged(&serving, &["too many connections (53300)", "limit", "postgres.connections"]);
    place.lines(&format!("ALTER ROLE \"{name}\" CONNECTION LIMIT -1"));
    healed(&place, serving);
}
