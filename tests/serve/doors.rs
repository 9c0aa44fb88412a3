//! Clients of `query-api` that are slow, silent or strangers, and what becomes of them at a stop.

use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use backdate_engine::services::query_api::routes::OPENAPI;
use sqlx::{Connection, PgConnection};

use super::fixture::{Place, wait};
use super::stop;
use super::talk::{Talk, read_answer};

/// Longer than any answer may take.
const LOCKED: Duration = Duration::from_secs(12);
/// What is done at once, on two busy cores.
const AT_ONCE: Duration = Duration::from_secs(4);

/// Keeps everybody from portfolios for a while; returns when nobody can read them.
#[allow(clippy::disallowed_methods, reason = "a session of a real database, beside the test")]
fn lock_portfolios(place: &Place) {
    let options = place.schema.options();
    let (locked, is_locked) = mpsc::channel();
    std::thread::spawn(move || {
        wait(async {
            let mut session = PgConnection::connect_with(&options).await.expect("a connection");
            let mut transaction = session.begin().await.expect("a transaction");
            let lock = sqlx::query("LOCK TABLE portfolios IN ACCESS EXCLUSIVE MODE");
            lock.execute(&mut *transaction).await.expect("nobody has it");
            locked.send(()).expect("the test waits");
            tokio::time::sleep(LOCKED).await;
        });
    });
    is_locked.recv().expect("it is locked");
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a real request takes real time to arrive")]
fn a_stop_waits_for_an_answer_that_is_worked_on() {
    let place = Place::migrated();
    let mut serving = place.serve(&["query-api"]);
    let mut talk = Talk::to(serving.next_address());
    assert_eq!(talk.get("/portfolios/P/positions").status, 404);
    lock_portfolios(&place);
    let mut stream = talk.connected();
    let request = "GET /portfolios/P/positions HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("it reads");
    // Only a request that has arrived is waited for.
    wait(async { tokio::time::sleep(Duration::from_millis(500)).await });
    stop(&mut serving);
    let answer = read_answer(&mut BufReader::new(stream)).expect("an answer");
    assert_eq!((answer.status, &answer.body["code"]), (503, &"overdue".into()));
    assert!(!serving.log().contains("cut off"), "{}", serving.log());
}

#[test]
fn a_stop_waits_for_no_client() {
    let place = Place::migrated();
    let mut serving = place.serve(&["query-api"]);
    let talk = Talk::to(serving.next_address());
    let say = |words: &str| -> TcpStream {
        let mut stream = talk.connected();
        stream.write_all(words.as_bytes()).expect("it reads");
        stream
    };
    let silent = talk.connected();
    let in_its_head = say("GET /openapi.json HTTP/1.1\r\nhost: local");
    let head = "POST /portfolios HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n";
    let in_its_body = say(&format!("{head}["));
    // Asks on and on, and takes no answer.
    let mut deaf = talk.connected();
    deaf.set_write_timeout(Some(Duration::from_millis(500))).expect("a time");
    let request = format!("{} HTTP/1.1\r\nhost: localhost\r\n\r\n", OPENAPI.name);
    while deaf.write_all(request.as_bytes()).is_ok() {}
    serving.signal("TERM");
    let (code, took) = serving.ended();
    assert!(code == Some(0) && took < AT_ONCE, "{code:?} {took:?} {}", serving.log());
    let told = read_answer(&mut BufReader::new(in_its_body)).expect("an answer");
    assert_eq!((told.status, &told.body["code"]), (503, &"stopping".into()));
    for stream in [silent, in_its_head] {
        assert!(read_answer(&mut BufReader::new(stream)).is_none());
    }
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a client's patience is of real time")]
fn silent_clients_shut_nobody_out() {
    let place = Place::migrated();
    let mut serving = place.serve(&["query-api"]);
    let mut talk = Talk::to(serving.next_address());
    let silent: Vec<TcpStream> = (0..400).map(|_| talk.connected()).collect();
    let begun = Instant::now();
    assert_eq!(talk.get(OPENAPI.path()).status, 200);
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    // Those that are left are not waited for either, but given up after a while.
    for stream in silent {
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time");
        assert!(read_answer(&mut BufReader::new(stream)).is_none());
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn without_tokens_only_this_machine_is_meant() {
    let place = Place::migrated();
    let mut serving = place.serve(&["query-api"]);
    let mut talk = Talk::to(serving.next_address());
    let own = ["localhost", "127.0.0.1:1", "[::1]:8080"];
    let strange = ["stranger.example:8080", "localhost.stranger.example", "192.168.0.1", ""];
    let status = |name: &str| if own.contains(&name) { 200 } else { 421 };
    for name in own.iter().chain(&strange) {
        let request = format!("{} HTTP/1.1\r\nhost: {name}\r\n\r\n", OPENAPI.name);
        assert_eq!(talk.say(request.as_bytes()).status, status(name), "{name}");
    }
    for request in [
        "GET http://stranger.example/openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "GET /openapi.json HTTP/1.1\r\nhost: localhost\r\nhost: stranger.example\r\n\r\n",
        "GET /openapi.json HTTP/1.1\r\n\r\n",
    ] {
        let answer = talk.say(request.as_bytes());
        assert_eq!(
            (answer.status, &answer.body["code"]),
            (421, &"misdirected".into()),
            "{request}"
        );
    }
}
