//! Runs and feeds on a real Kafka and a real PostgreSQL, beside the simulated ones: what comes out
//! is the same, what is wrong is seen, and nothing stays behind.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use backdate_engine::adapters::kafka::admin;
use backdate_engine::adapters::postgres;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tempfile::tempdir;

use crate::feed_cases;
use crate::services::Services;
use crate::support::{Ran, assert_same_tables, comparable_tables, feed, run, run_with};
use crate::telemetry;

/// Runs the binary on the services of this process.
fn on_real(arguments: &[&str], paths: &[(&str, &Path)]) -> Ran {
    on_real_with(&[], arguments, paths)
}

fn on_real_with(variables: &[(&str, &str)], arguments: &[&str], paths: &[(&str, &Path)]) -> Ran {
    let services = Services::get();
    let mut all: Vec<OsString> = arguments.iter().map(OsString::from).collect();
    all.extend(["--on", "real", "--quiet", "--kafka"].map(OsString::from));
    all.push(services.kafka().address().into());
    all.extend(["--postgres".into(), services.postgres().address().into()]);
    for (flag, path) in paths {
        all.extend([OsString::from(flag), path.as_os_str().to_owned()]);
    }
    run_with(variables, all)
}

fn scenario(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios").join(name);
    path.to_str().expect("paths of the repository are UTF-8").to_owned()
}

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases").join(name)
}

fn assert_passed(ran: &Ran, what: &str) {
    assert_eq!(ran.code, 0, "{what}\n{}\n{}", ran.stdout, ran.stderr);
}

fn summary(folder: &Path) -> Value {
    let text = fs::read_to_string(folder.join("summary.json")).expect("a run writes its summary");
    serde_json::from_str(&text).expect("a summary is JSON")
}

/// Feeds a case to real services: it meets its expectations, and comes to the tables of the
/// simulator after each step. How many expectations are met.
fn feed_case(folder: &Path) -> usize {
    let name = feed_cases::name(folder);
    let (sim, real) = (tempdir().expect("a folder"), tempdir().expect("a folder"));
    feed(folder, sim.path(), &["--seed", "1"]);
    let input = folder.to_str().expect("UTF-8");
    let ran = on_real(&["feed", input, "--seed", "1"], &[("--out", real.path())]);
    assert_passed(&ran, &name);
    assert_eq!(summary(real.path())["on"], "real");
    let expected = comparable_tables(sim.path());
    assert_same_tables(&expected, &comparable_tables(real.path()), &name);
    let steps = fs::read_dir(sim.path()).expect("a folder").filter_map(Result::ok);
    for step in steps.filter(|entry| entry.path().is_dir()) {
        let expected = comparable_tables(&step.path());
        let found = comparable_tables(&real.path().join(step.file_name()));
        assert_same_tables(&expected, &found, &format!("{name} {:?}", step.file_name()));
    }
    feed_cases::assert_met(folder, real.path())
}

#[test]
#[allow(clippy::disallowed_methods, reason = "real services do not mind the order of threads")]
fn every_case_meets_its_expectations_with_the_tables_of_the_simulator() {
    // They wait for servers more than for a processor.
    let met: usize = std::thread::scope(|scope| {
        let run = |case: PathBuf| scope.spawn(move || feed_case(&case));
        let running: Vec<_> = feed_cases::cases().into_iter().map(run).collect();
        running.into_iter().map(|case| case.join().expect("a case passes")).sum()
    });
    assert!(met >= 59, "only {met} expectations");
}

#[test]
fn files_for_others_tools_say_what_the_summary_says() {
    let folder = tempdir().expect("a folder");
    let input = case("01_backdated_sell_reprocessing");
    let arguments = ["feed", input.to_str().expect("UTF-8"), "--seed", "1"];
    let folders = [("--out", folder.path()), ("--save", folder.path())];
    assert_passed(&on_real(&arguments, &folders), "a feed");
    telemetry::assert_same_latencies(folder.path());
    telemetry::assert_same_counts(folder.path());
}

#[test]
fn a_broken_rule_is_seen_and_nothing_stays_behind() {
    let services = Services::get();
    let id = format!("test_{}", std::process::id());
    let out = tempdir().expect("a folder");
    let input = case("04_avco");
    let input = input.to_str().expect("UTF-8");
    let arguments = ["feed", input, "--seed", "1", "--run-id", &id];
    let canary = [("BACKDATE_CANARY", "rule")];
    let ran = on_real_with(&canary, &arguments, &[("--out", out.path())]);
    assert_eq!(ran.code, 1, "{}\n{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("broken rule       G4"), "{}", ran.stdout);

    let mut schema = services.postgres_config();
    schema.schema = format!("backdate_{id}");
    let mut kafka = services.kafka_config();
    kafka.prefix = format!("backdate-{id}.");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let exists = runtime.block_on(postgres::schema_exists(&schema));
    assert!(!exists.expect("an answer"), "{} is still there", schema.schema);
    let missing = runtime.block_on(admin::missing_topics(&kafka)).expect("an answer");
    assert_eq!(missing.len(), backdate_engine::ports::log::Topic::ALL.len(), "{missing:?}");

    // What is somebody's is not touched.
    runtime.block_on(postgres::migrate(&schema)).expect("a schema can be made");
    let ran = on_real(&arguments, &[("--out", out.path())]);
    assert_eq!(ran.code, 2, "{}\n{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("exists already"), "{}", ran.stderr);
    assert!(runtime.block_on(postgres::schema_exists(&schema)).expect("an answer"));
    runtime.block_on(postgres::drop_schema(&schema)).expect("the schema goes");
}

/// Moves a watermark back, as no engine may, once there are any keys.
fn meddle(schema: &str) {
    let services = Services::get();
    let sql = format!(
        "UPDATE {schema}.position_state SET watermark_date = watermark_date - 1 \
         WHERE status = 'CURRENT' AND portfolio_id = 'P00007'"
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut connection =
            PgConnection::connect(services.postgres().address()).await.expect("a connection");
        for _ in 0..300 {
            let done = sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(&mut connection).await;
            if done.is_ok_and(|done| done.rows_affected() > 0) {
                return;
            }
            pause(Duration::from_millis(100)).await;
        }
        panic!("no key of P00007 became CURRENT in {schema}");
    });
}

#[allow(clippy::disallowed_methods, reason = "a test of real services waits in real time")]
async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}

#[test]
#[allow(clippy::disallowed_methods, reason = "somebody else works while the run goes on")]
fn what_breaks_a_rule_in_the_database_itself_is_seen() {
    let id = format!("meddled_{}", std::process::id());
    let schema = format!("backdate_{id}");
    let meddler = std::thread::spawn(move || meddle(&schema));
    let herd = scenario("smoke/herd_small.toml");
    let ran = on_real(&["run", &herd, "--seed", "1", "--run-id", &id], &[]);
    meddler.join().expect("the watermark was moved");
    assert_eq!(ran.code, 1, "{}\n{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("without a new revision"), "{}", ran.stdout);
}

#[test]
fn what_cannot_run_there_is_refused_before_it_begins() {
    let refused = |arguments: &[&str], code: i32, words: &str| {
        let ran = on_real(arguments, &[]);
        assert_eq!(ran.code, code, "{arguments:?}\n{}\n{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.contains(words), "{arguments:?}: {}", ran.stderr);
    };
    let elsewhere = scenario("consistency/two_schedulers.toml");
    refused(&["run", &elsewhere, "--seed", "1"], 2, "with --on sim");
    let herd = scenario("smoke/herd_small.toml");
    let with = |fault: &str| format!("faults=[{{at=\"1s\",{fault}}}]");
    let skew = with("kind=\"clock_skew\",process=\"any\",lasts=\"1s\"");
    refused(&["run", &herd, "--seed", "1", "--set", &skew], 2, "one clock");
    let frozen = with("kind=\"pause\",process=\"postgres\",lasts=\"1s\"");
    refused(&["run", &herd, "--seed", "1", "--set", &frozen], 2, "not frozen");
    let nowhere = ["run", &herd, "--on", "real", "--seed", "1", "--kafka", "127.0.0.1:1"];
    let address = Services::get().postgres().address();
    let ran = run([&nowhere[..], &["--postgres", address]].concat());
    assert_eq!(ran.code, 6, "{}", ran.stderr);
    assert!(ran.stderr.contains("127.0.0.1:1"), "{}", ran.stderr);
}
