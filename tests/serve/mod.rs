//! `serve` and `migrate` on a real Kafka and a real PostgreSQL: what an operator relies on.

mod api;
mod doors;
mod fixture;
mod inputs;
mod relay;
mod talk;
mod trouble;

use std::time::Duration;

use backdate::runner::stage::GROUPS;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::Value;

use crate::support::run;
use fixture::{Place, Serving, until};
use inputs::{market, portfolio, price, trades};

/// Everything that the engine computes, as lines that do not depend on who computed it.
const TABLES: [&str; 5] = [
    "SELECT concat_ws('|', portfolio_id, security_id, watermark_date, status) FROM position_state
        ORDER BY portfolio_id, security_id",
    "SELECT concat_ws('|', h.portfolio_id, h.security_id, h.transaction_id, h.quantity,
            h.cost_basis, h.cost_basis_local)
        FROM position_history h JOIN position_state s USING (portfolio_id, security_id)
        WHERE NOT EXISTS (SELECT FROM position_epochs e WHERE (e.portfolio_id, e.security_id) =
            (h.portfolio_id, h.security_id) AND e.epoch > h.epoch
            AND e.from_date <= (h.transaction_date AT TIME ZONE 'UTC')::date)
        ORDER BY h.portfolio_id, h.security_id, h.transaction_date, h.place_rank, h.transaction_id",
    "SELECT concat_ws('|', d.portfolio_id, d.security_id, d.date, d.quantity, d.cost_basis,
            d.cost_basis_local, d.market_price, d.market_value, d.market_value_local,
            d.unrealized_gain_loss, d.unrealized_gain_loss_local, d.valuation_status)
        FROM daily_position_snapshots d
        WHERE NOT EXISTS (SELECT FROM position_epochs e WHERE (e.portfolio_id, e.security_id) =
            (d.portfolio_id, d.security_id) AND e.epoch > d.epoch AND e.from_date <= d.date)
        ORDER BY d.portfolio_id, d.security_id, d.date",
    "SELECT concat_ws('|', transaction_id, applied, park_reason, net_cost, gross_cost,
            realized_gain_loss, transaction_fx_rate) FROM position_timeline ORDER BY
            transaction_id",
    "SELECT concat_ws('|', portfolio_id, security_id, transaction_id, quantity, cost, cost_local)
        FROM position_lots ORDER BY portfolio_id, security_id, transaction_id",
];

fn tables(place: &Place) -> Vec<Vec<String>> {
    TABLES.iter().map(|sql| place.lines(sql)).collect()
}

/// Asks to stop, and holds the answer to its promise.
fn stop(serving: &mut Serving) {
    serving.signal("TERM");
    let (code, took) = serving.ended();
    assert_eq!(code, Some(0), "{}", serving.log());
    assert!(took < Duration::from_secs(10), "a stop took {took:?}");
}

/// Members of all groups under a prefix.
fn members(place: &Place) -> usize {
    let config = place.prefix.config();
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &config.bootstrap_servers);
    let consumer: BaseConsumer = client.create().expect("a plain client");
    let groups = consumer.fetch_group_list(None, Duration::from_secs(10)).expect("an answer");
    let ours = groups.groups().iter().filter(|group| group.name().starts_with(&config.prefix));
    ours.map(|group| group.members().len()).sum()
}

#[test]
fn one_process_takes_inputs_to_positions_and_stops_cleanly() {
    let place = Place::migrated();
    let mut serving = place.serve(&[]);
    serving.until_ready();
    assert_eq!(serving.get("/healthz").0, 200);
    assert_eq!(serving.get("/else").0, 404);
    place.send(&market());
    place.send(&trades(60));
    place.settle();
    place.send(&[price(0, 3, 250)]);
    let key = "topic=\"raw_transactions\",group_id=\"persistence\"";
    let consumed = format!("kafka_messages_consumed_total{{{key}}}");
    until("all are consumed", || match serving.metric(&consumed) {
        Some(60.0) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    place.settle();
    let mut asked = talk::Talk::to(serving.next_address());
    let list = asked.get(&format!("/portfolios/{}/positions", portfolio(0))).body;
    let held = list["positions"].as_array().expect("a list");
    assert!(!held.is_empty() && held.iter().all(|held| held["valuation"].is_object()));
    for counted in [
        "valuation_jobs_created_total",
        "valuation_jobs_completed_total",
        "outbox_events_published_total{topic=\"valuation_required\"}",
        "watermark_resets_total",
        "db_operation_latency_seconds_count{operation=\"LockKeys\"}",
        "scheduler_gap_days_count",
    ] {
        let value = serving.metric(counted);
        assert!(value.is_some_and(|value| value > 0.0), "{counted} {value:?}");
    }
    until("the gauges follow", || match serving.metric("outbox_events_pending") {
        Some(0.0) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(members(&place), GROUPS.len());
    stop(&mut serving);
    assert_eq!(members(&place), 0, "it has left its groups");
    let lines = serving.log_lines();
    let said = |message: &str| lines.iter().find(|line| line["message"] == message).cloned();
    let priced = said("Back-dated price event detected").expect("a price was back-dated");
    assert!(priced["signal"]["BackdatedPrice"].is_object() && priced["instance"].is_string());
    let current = said("Key is current").expect("keys have become current");
    for field in ["portfolio_id", "security_id", "epoch", "revision", "watermark_date"] {
        assert!(!current[field].is_null(), "no {field}: {current}");
    }
    assert!(!serving.log().contains(place.schema.config().password.reveal()));
}

/// Partitions of each topic, more than there are instances.
const PARTITIONS: u32 = 12;

/// Kinds of work that a process with one instance of everything has had no share of.
fn idle_in(serving: &Serving) -> Vec<String> {
    let (_, text) = serving.get("/metrics");
    let sum = |name: &str, label: &str| -> f64 {
        let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
        lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    };
    let consumed = GROUPS.iter().map(|(group, _)| {
        let label = format!("group_id=\"{group}\"");
        (format!("messages for {group}"), sum("kafka_messages_consumed_total", &label) > 0.0)
    });
    let published = sum("outbox_events_published_total", "") > 0.0;
    let lines = serving.log_lines();
    let claimed = [
        ("valuation-scheduler", "Valuation jobs created"),
        ("reprocessing-worker", "Watermark reset"),
        ("position-valuation-calculator", "Valuation job completed"),
    ];
    let claimed = claimed.into_iter().map(|(process, message)| {
        let is_of =
            |line: &Value| line["instance"].as_str().is_some_and(|i| i.starts_with(process));
        let done = lines.iter().any(|line| line["message"] == message && is_of(line));
        (format!("work for {process}"), done)
    });
    let all = consumed.chain(claimed).chain([("outbox".to_owned(), published)]);
    all.filter(|(_, done)| !done).map(|(name, _)| name).collect()
}

/// Some of the trades with another fee: news for every portfolio.
fn amended(fee: &str) -> Vec<inputs::Input> {
    let amend = |input: inputs::Input| {
        let value =
            input.value.replace(r#""trade_fee":"1.25""#, &format!("\"trade_fee\":\"{fee}\""));
        inputs::Input { value, ..input }
    };
    trades(48).into_iter().map(amend).collect()
}

/// Starts that many processes with one instance of everything, gives them work until each has had
/// a share of each kind, and returns what they have computed; the end does not depend on how long
/// that took.
#[allow(clippy::print_stdout, reason = "a test says how long sharing took")]
fn computed_by(processes: usize) -> Vec<Vec<String>> {
    let place = Place::new();
    place.tune(&format!("partitions = {PARTITIONS}\n"), "job_keys = 1\nfanout_batch = 4\n");
    place.prepare();
    let mut fleet: Vec<Serving> = (0..processes).map(|_| place.serve(&[])).collect();
    fleet.iter().for_each(Serving::until_ready);
    let joined = GROUPS.len() * processes;
    until("all have joined their groups", || match members(&place) {
        found if found == joined => Ok(()),
        found => Err(format!("{found} of {joined}")),
    });
    place.send(&market());
    place.send(&trades(240));
    let mut round = 0;
    until("every instance has had its share", || {
        round += 1;
        // Prices of what nobody holds are news for the watchers all the same.
        place.send(&(0..60).map(|number| price(number, 0, 300 + round)).collect::<Vec<_>>());
        place.send(&amended(&format!("2.{round:02}")));
        place.settle();
        let idle: Vec<_> = fleet.iter().map(idle_in).collect();
        idle.iter().all(Vec::is_empty).then_some(()).ok_or_else(|| format!("{idle:?}"))
    });
    println!("{processes} processes: a share of everything for each after {round} rounds");
    place.send(&(0..60).map(|number| price(number, 0, 999)).collect::<Vec<_>>());
    place.send(&amended("1.25"));
    place.settle();
    fleet.iter_mut().for_each(stop);
    tables(&place)
}

#[test]
fn two_and_six_processes_share_all_work_and_compute_the_same() {
    let one = computed_by(1);
    assert!(one.iter().all(|table| !table.is_empty()), "nothing to compare");
    assert_eq!(one, computed_by(2), "two processes");
    assert_eq!(one, computed_by(6), "six processes");
}

#[test]
fn instances_of_one_process_compute_what_one_does() {
    let computed = |more: &[&str]| {
        let place = Place::migrated();
        let mut serving = place.serve(more);
        serving.until_ready();
        place.send(&market());
        place.send(&trades(240));
        place.settle();
        stop(&mut serving);
        tables(&place)
    };
    let one = computed(&[]);
    assert!(one.iter().all(|table| !table.is_empty()), "nothing to compare");
    assert_eq!(one, computed(&["--instances", "3"]));
}

#[test]
fn an_instance_that_dies_at_a_crash_point_leaves_its_work_to_the_others() {
    let place = Place::migrated();
    let mut dying = place.serve(&["position-calculator", "--name", "position-calculator-7"]);
    let mut others = place.serve(&[]);
    dying.until_ready();
    others.until_ready();
    dying.tell("crash position-calculator Commit after 1");
    place.send(&market());
    // The one that is to die may join only when the others have done all there is.
    let mut batches = trades(1_000).chunks(10).map(<[_]>::to_vec).collect::<Vec<_>>().into_iter();
    let mut sent = 0;
    until("a commit has passed", || {
        place.send(&batches.next().ok_or("no trades are left")?);
        sent += 10;
        if dying.is_running() { Err(dying.log()) } else { Ok(()) }
    });
    assert_eq!(dying.ended().0, None, "an abort is a signal");
    place.settle();
    let taken = place.lines("SELECT count(*)::text FROM position_timeline");
    assert_eq!(taken, [sent.to_string()]);
    others.hang_up();
    let (code, took) = others.ended();
    assert!(code == Some(0) && took < Duration::from_secs(2), "{code:?} {took:?}");
}

#[test]
fn a_database_that_cannot_be_reached_is_named_once_and_waited_for() {
    let place = Place::migrated();
    let mut relay = relay::Relay::reserve();
    place.configure(relay.port());
    let mut serving = place.serve(&["persistence", "outbox-dispatcher"]);
    serving.until_reason(&["database", "cannot be reached", "BACKDATE_POSTGRES"]);
    assert_eq!(serving.get("/healthz").0, 200);
    let database = place.schema.config();
    relay.open(&format!("{}:{}", database.host, database.port));
    serving.until_ready();
    place.send(&market());
    until("the inputs are stored", || {
        let count = place.lines("SELECT count(*)::text FROM market_prices");
        (count == ["100"]).then_some(()).ok_or_else(|| format!("{count:?}"))
    });
    stop(&mut serving);
    let is_cause = |line: &&Value| line["message"] == "Not ready: database";
    let causes: Vec<Value> = serving.log_lines().iter().filter(is_cause).cloned().collect();
    // Not asked yet is no cause; refused is one.
    assert_eq!(causes.len(), 1, "{causes:?}");
}

#[test]
fn a_wrong_password_is_refused_with_a_cure_and_shown_nowhere() {
    let place = Place::migrated();
    let wrong = "wrong-horse-battery";
    let ran = place.ran("migrate", &[], wrong);
    assert_eq!(ran.code, 6, "{}", ran.stderr);
    assert!(ran.stderr.contains("28P01") && ran.stderr.contains("password"), "{}", ran.stderr);
    let mut serving = place.serve_with(&["price-watcher"], wrong);
    serving.until_reason(&["database", "28P01"]);
    let ready = serving.get("/readyz").1;
    let metrics = serving.get("/metrics").1;
    stop(&mut serving);
    let checked = place.ran("serve", &["--check"], wrong);
    assert_eq!(checked.code, 0, "{}", checked.stderr);
    assert!(checked.stdout.contains("password = \"***\""), "{}", checked.stdout);
    let said =
        [ran.stdout, ran.stderr, ready, metrics, checked.stdout, checked.stderr, serving.log()];
    assert!(said.iter().all(|text| !text.contains(wrong)), "{said:?}");
}

#[test]
fn nothing_about_a_session_comes_from_the_environment() {
    let place = Place::new();
    let ignored = [
        ("PGPASSWORD", "wrong"),
        ("PGHOST", "nowhere.invalid"),
        ("PGPORT", "1"),
        ("PGUSER", "nobody"),
        ("PGDATABASE", "none"),
        ("PGSSLMODE", "verify-full"),
        ("PGSSLROOTCERT", "/nowhere"),
    ];
    let ran = place.migrate_under(&ignored);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    for refused in ["PGOPTIONS", "PGSSLCERT", "PGSSLKEY"] {
        let ran = place.migrate_under(&[(refused, "-c synchronous_commit=off")]);
        assert_eq!(ran.code, 6, "{}", ran.stderr);
        assert!(ran.stderr.contains(&format!("{refused}, which")), "{}", ran.stderr);
    }
}

#[test]
fn a_malformed_configuration_ends_with_place_and_cure() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("serve.toml");
    let path = file.to_str().unwrap();
    for (text, complaint) in [
        ("[kafca]\n", "serve.toml:1: kafca: unknown key: did you mean kafka?"),
        ("[knobs]\nclaim_batch = 0\n", "serve.toml:2: knobs.claim_batch = 0: must be at least 1"),
        ("[postgres]\nport = \"x\"\n", "serve.toml:2: postgres.port: "),
        ("[postgres\n", "serve.toml:1: is no TOML: "),
    ] {
        std::fs::write(&file, text).unwrap();
        for command in ["serve", "migrate"] {
            let ran = run([command, "--config", path]);
            assert_eq!(ran.code, 2, "{}", ran.stderr);
            assert!(ran.stderr.contains(complaint), "{}", ran.stderr);
        }
    }
    let ran = run(["serve", "--postgres", "postgres://me:hunter2@nowhere", "--check"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.starts_with("--postgres: ") && !ran.stderr.contains("hunter2"));
    let ran = run(["serve", "price-wacher"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("did you mean price-watcher?"), "{}", ran.stderr);
}
