//! `query-api` on real services: an HTTP client walks the document, and another one talks nonsense.

use std::collections::BTreeSet;
use std::io::{BufReader, Write};

use backdate_engine::services::query_api::routes::{
    ALL, CASHFLOWS, HISTORY, OPENAPI, REPROCESS, Route,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use super::fixture::{Place, Serving, until};
use super::talk::{Answer, Talk, read_answer};
use crate::schema::problem;

const READ: &str = "a-token-to-see-with";
const OPERATE: &str = "a-token-to-operate-with";
/// Requests without any sense.
const NONSENSE: usize = 10_000;

/// What each route has answered, and the document that says what it may.
struct Seen {
    statuses: BTreeSet<(&'static str, u16)>,
    document: Value,
}

impl Seen {
    #[track_caller]
    fn note(&mut self, route: &Route, answer: &Answer, status: u16) {
        let (name, body) = (route.name, &answer.body);
        assert_eq!(answer.status, status, "{name}: {body}");
        if status >= 400 {
            assert!(body["code"].is_string() && body["detail"].is_string(), "{name}: {body}");
            assert_eq!(body["status"], status, "{name}");
        }
        assert!(route.statuses.contains(&status), "{name} does not document {status}");
        let operation = &self.document["paths"][route.path()][route.method().to_lowercase()];
        let documented = &operation["responses"][status.to_string()]["content"];
        let kind = answer.headers.get("content-type");
        match kind {
            None => assert!(documented.is_null() && body.is_null(), "{name}: {status}"),
            Some(kind) => {
                let wrong = problem(&self.document, &documented[kind]["schema"], body, "");
                assert_eq!(wrong, None, "{name}: {status} {body}");
            }
        }
        self.statuses.insert((name, status));
    }
}

/// A path of a route for a portfolio.
fn path(route: &Route, portfolio: &str) -> String {
    route.path().replace("{portfolio_id}", portfolio).replace("{security_id}", "S")
}

fn is_post(route: &&&'static Route) -> bool {
    route.method() == "POST"
}

/// A good body of a route that takes inputs.
fn input(route: &Route) -> &'static str {
    match route.path() {
        "/portfolios" => {
            r#"[{"portfolio_id":"P","base_currency":"EUR","open_date":"2025-01-01",
                "cost_basis_method":"FIFO"}]"#
        }
        "/instruments" => {
            r#"[{"security_id":"S","name":"S","isin":"S","currency":"EUR","product_type":"Stock"}]"#
        }
        "/business-dates" => r#"[{"business_date":"2025-01-02"}]"#,
        "/market-prices" => {
            r#"[{"security_id":"S","price_date":"2025-01-02","price":"1","currency":"EUR"}]"#
        }
        "/fx-rates" => {
            r#"[{"from_currency":"USD","to_currency":"EUR","rate_date":"2025-01-02","rate":1.1}]"#
        }
        "/transactions" => {
            r#"[{"transaction_id":"T","portfolio_id":"P","instrument_id":"S","security_id":"S",
                "transaction_date":"2025-01-02","transaction_type":"BUY","quantity":2,"price":1,
                "gross_transaction_amount":2,"trade_fee":0,"trade_currency":"EUR",
                "currency":"EUR"}]"#
        }
        _ => r#"{"transaction_ids": ["T"]}"#,
    }
}

const JSON: &str = "application/json";

fn tokens() -> [(&'static str, &'static str); 2] {
    [("BACKDATE_API_READ_TOKEN", READ), ("BACKDATE_API_OPERATE_TOKEN", OPERATE)]
}

#[test]
fn every_documented_status_occurs_and_no_other_does() {
    let place = Place::migrated();
    let mut serving = place.serve_under(&tokens(), &[]);
    serving.until_ready();
    let nobody = Talk::to(serving.next_address());
    let (mut see, mut operate) = (nobody.with(READ), nobody.with(OPERATE));
    let document = see.get(OPENAPI.path()).body;
    let mut seen = Seen { statuses: BTreeSet::new(), document: document.clone() };
    take(&mut seen, &mut operate);
    until("it is valued", || {
        let body = see.get("/portfolios/P/positions").body;
        body["positions"][0]["valuation"].is_object().then_some(()).ok_or(body.to_string())
    });
    // What is asked twice must not change in between.
    place.settle();
    show(&mut seen, &mut see);
    refuse(&mut seen, &nobody);
    time_out(&mut seen, &operate);
    go_without_services(&mut seen, &place);
    be_refused(&mut seen, &place);
    let documented = document["paths"].as_object().expect("an object").iter();
    let documented = documented.flat_map(|(path, operations)| {
        operations.as_object().expect("an object").iter().flat_map(move |(method, operation)| {
            let statuses = operation["responses"].as_object().expect("an object").keys();
            let name = format!("{} {path}", method.to_ascii_uppercase());
            statuses.map(move |status| format!("{name}: {status}"))
        })
    });
    let documented: BTreeSet<String> = documented.collect();
    let occurred = seen.statuses.iter().map(|(name, status)| format!("{name}: {status}"));
    assert_eq!(occurred.collect::<BTreeSet<_>>(), documented);
    check_access_log(&serving);
}

/// What is posted rightly.
fn take(seen: &mut Seen, operate: &mut Talk) {
    let inputs = ALL.iter().filter(is_post).filter(|route| route.name != REPROCESS.name);
    for route in inputs {
        let answer = operate.post(route.path(), JSON, input(route));
        seen.note(route, &answer, 202);
        assert_eq!(answer.body["accepted"], 1, "{}", route.name);
    }
    until("it is stored", || {
        let answer = operate.post(REPROCESS.path(), JSON, input(&REPROCESS));
        match answer.status {
            202 => {
                seen.note(&REPROCESS, &answer, 202);
                Ok(())
            }
            _ => Err(answer.body.to_string()),
        }
    });
}

/// What there is to see, twice.
fn show(seen: &mut Seen, see: &mut Talk) {
    for route in ALL.iter().filter(|route| !is_post(route)) {
        let path = path(route, "P");
        let answer = see.get(&path);
        seen.note(route, &answer, 200);
        let known = format!("if-none-match: {}\r\n", answer.headers["etag"]);
        seen.note(route, &see.ask(&format!("GET {path}"), &known, b""), 304);
        if route.statuses.contains(&404) {
            seen.note(route, &see.get(&self::path(route, "Q")), 404);
        }
    }
    let of_another = format!("{}?after=9.0.0.T", path(&HISTORY, "P"));
    seen.note(&HISTORY, &see.get(&of_another), 409);
    let of_another = format!("{}?after=S/9.0.0.T", path(&CASHFLOWS, "P"));
    seen.note(&CASHFLOWS, &see.get(&of_another), 409);
}

/// What is refused for what it is, or for who asks.
fn refuse(seen: &mut Seen, nobody: &Talk) {
    let (mut see, mut operate) = (nobody.with(READ), nobody.with(OPERATE));
    let (mut nobody, mut stranger) = (nobody.without(), nobody.with("not-a-token-of-ours"));
    for route in ALL {
        let line = format!("{} {}", route.method(), path(route, "P"));
        seen.note(route, &nobody.ask(&line, "", b""), 401);
        seen.note(route, &stranger.ask(&line, "", b""), 401);
        seen.note(route, &operate.ask(&format!("{line}?x=1"), "", b""), 400);
        if is_post(&route) {
            seen.note(route, &see.ask(&line, "", b""), 403);
            seen.note(route, &operate.post(route.path(), "text/plain", "[]"), 415);
            seen.note(route, &operate.post(route.path(), JSON, "[[}"), 400);
            let many = match route.statuses.contains(&422) {
                true => format!("[{}1]", "1,".repeat(10_000)),
                false => format!("{{\"transaction_ids\":[{}\"1\"]}}", "\"1\",".repeat(1_000)),
            };
            seen.note(route, &operate.post(route.path(), JSON, &many), 413);
        }
        if route.statuses.contains(&422) {
            seen.note(route, &operate.post(route.path(), JSON, "[{}]"), 422);
        }
    }
    let unknown = operate.post(REPROCESS.path(), JSON, "{\"transaction_ids\":[\"?\"]}");
    seen.note(&REPROCESS, &unknown, 404);
}

/// Bodies that do not come, all at the same time.
fn time_out(seen: &mut Seen, operate: &Talk) {
    let begin = |route: &&'static Route| {
        let mut stream = operate.connected();
        let head = format!(
            "{} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {OPERATE}\r\n\
             content-length: 9\r\n\r\n[",
            route.name
        );
        stream.write_all(head.as_bytes()).expect("it reads");
        (*route, BufReader::new(stream))
    };
    let waiting: Vec<_> = ALL.iter().filter(is_post).map(begin).collect();
    for (route, mut stream) in waiting {
        seen.note(route, &read_answer(&mut stream).expect("an answer"), 408);
    }
}

/// An instance that reaches neither database nor broker.
#[allow(clippy::disallowed_methods, reason = "clients of a real process, side by side")]
fn go_without_services(seen: &mut Seen, place: &Place) {
    let nowhere = ["--kafka", "127.0.0.1:1", "--postgres", "postgres://x@127.0.0.1:1/x"];
    let mut alone = place.serve_under(&tokens(), &[["query-api"].as_slice(), &nowhere].concat());
    let operate = Talk::to(alone.next_address()).with(OPERATE);
    let begin = |route: &&'static Route| {
        let mut talk = operate.with(OPERATE);
        let (route, body) = (*route, if is_post(&route) { input(route) } else { "" });
        // Each waits for as long as an answer may take, so they do it together.
        std::thread::spawn(move || {
            let line = format!("{} {}", route.method(), path(route, "P"));
            (route, talk.ask(&line, "content-type: application/json\r\n", body.as_bytes()))
        })
    };
    let asked = ALL.iter().filter(|route| route.statuses.contains(&503)).map(begin);
    for asked in asked.collect::<Vec<_>>() {
        let (route, answer) = asked.join().expect("it has an answer");
        seen.note(route, &answer, 503);
        assert_eq!(answer.headers["retry-after"], "1", "{}", route.name);
    }
}

/// An instance that the database does not let in, that may send short messages only, and that asks
/// for no token, so that it is no machine of a stranger's name.
fn be_refused(seen: &mut Seen, place: &Place) {
    place.tune("properties = { \"message.max.bytes\" = \"1000\" }\n", "");
    let mut refused = place.serve_with(&["query-api"], "wrong-horse-battery");
    let mut talk = Talk::to(refused.next_address());
    let long = format!("{{\"note\":\"{}\",", "x".repeat(2_000));
    for route in ALL {
        let line = format!("{} {}", route.method(), path(route, "P"));
        let misdirected = format!("{line} HTTP/1.1\r\nhost: stranger.example\r\n\r\n");
        seen.note(route, &talk.say(misdirected.as_bytes()), 421);
        if !route.statuses.contains(&500) {
            continue;
        }
        let body = match is_post(&route) {
            true if route.name == REPROCESS.name => input(route).to_owned(),
            true => input(route).replacen('{', &long, 1),
            false => String::new(),
        };
        let kind = "content-type: application/json\r\n";
        let answer = talk.ask(&line, kind, body.as_bytes());
        seen.note(route, &answer, 500);
        assert!(!answer.headers.contains_key("retry-after"), "{}", route.name);
        assert!(!answer.body.to_string().contains("28P01"), "{}", answer.body);
    }
    for cause in ["28P01", "message.max.bytes"] {
        until("the log names the cause", || match refused.log() {
            log if log.contains(cause) => Ok(()),
            log => Err(log),
        });
    }
}

/// Every answer has a line; no line has a token.
fn check_access_log(serving: &Serving) {
    let lines = serving.log_lines();
    let answered: Vec<_> = lines.iter().filter(|line| line["message"] == "Answered").collect();
    assert!(answered.iter().any(|line| line["status"] == 304 && line["route"] == OPENAPI.name));
    assert!(answered.iter().all(|line| line["correlation_id"].is_string()));
    let log = serving.log();
    assert!(![READ, OPERATE, "not-a-token-of-ours"].iter().any(|token| log.contains(token)));
    let counted = format!("http_requests_total{{route=\"{}\",status=\"200\"}}", OPENAPI.name);
    assert!(serving.metric(&counted).is_some_and(|count| count >= 2.0));
}

#[test]
fn ten_thousand_malformed_requests_are_refused_as_such() {
    let place = Place::migrated();
    let mut serving = place.serve_under(&tokens(), &["query-api"]);
    let mut talk = Talk::to(serving.next_address()).with(OPERATE);
    for seed in 0..NONSENSE as u64 {
        let request = nonsense(&mut ChaCha8Rng::seed_from_u64(seed));
        let answer = talk.say(&request);
        let said = String::from_utf8_lossy(&request);
        assert!((400..500).contains(&answer.status), "seed {seed}: {} {said}", answer.status);
    }
    assert!(serving.is_running(), "{}", serving.log());
}

/// A request that no server may take for a good one.
fn nonsense(rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut junk = |most: usize| -> String {
        let length = rng.random_range(1..=most);
        (0..length).map(|_| char::from(rng.random_range(33..127_u8))).collect()
    };
    let junk_escaped = junk(20).bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let (text, more) = (junk(40), junk(300));
    let route = ALL[rng.random_range(0..ALL.len())];
    let path = path(route, "P");
    let auth = format!("host: x\r\nauthorization: Bearer {OPERATE}\r\n");
    let with_body = |line: &str, kind: &str, body: &[u8]| {
        let length = body.len();
        let head = format!(
            "{line} HTTP/1.1\r\n{auth}content-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
        );
        [head.as_bytes(), body].concat()
    };
    let line = format!("{} {path}", route.method());
    let takes = ALL.iter().filter(is_post).collect::<Vec<_>>();
    let post = takes[rng.random_range(0..takes.len())];
    match rng.random_range(0..9) {
        0 => with_body(&format!("GET /{junk_escaped}/x"), JSON, b""),
        1 => with_body(&format!("{line}?x{junk_escaped}=1"), JSON, b""),
        2 => with_body(&format!("GET /portfolios/%ff{junk_escaped}/positions"), JSON, b""),
        3 => {
            with_body(&format!("GET /portfolios/P/positions?as_of_date=x{junk_escaped}"), JSON, b"")
        }
        4 => with_body(&format!("GET /support/reprocessing?older_than=x{junk_escaped}"), JSON, b""),
        5 => with_body(&format!("DELETE {path}"), JSON, text.as_bytes()),
        6 => with_body(post.name, JSON, format!("!{more}").as_bytes()),
        7 => with_body(post.name, &format!("x{}", rng.random::<u16>()), more.as_bytes()),
        _ => format!("{line} HTTP/1.1\r\n{text}\0: \r\n\r\n").into_bytes(),
    }
}
