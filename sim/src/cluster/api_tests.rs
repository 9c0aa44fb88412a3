//! Claims about `query-api`, asked over the simulated network.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use backdate_engine::domain::time::Timestamp;
use backdate_reports::recording::CrashCause;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;

use super::{API_PORT, Cluster, ClusterConfig, POSTGRES};
use crate::world::{Control, Process, TaskChoice, World, WorldConfig};

/// A portfolio that has bought twice and cannot sell what it has not, and one that has nothing.
const INPUTS: [(&str, &str, &str); 5] = [
    (
        "/portfolios",
        "text/csv",
        "portfolio_id,base_currency,open_date,cost_basis_method\n\
         P/1,EUR,2025-01-01,FIFO\nP2,EUR,2025-01-01,FIFO\n",
    ),
    (
        "/instruments",
        "application/json; charset=utf-8",
        r#"[{"security_id":"S","name":"S","isin":"S","currency":"EUR","product_type":"Stock"}]"#,
    ),
    (
        "/business-dates",
        "application/json",
        r#"[{"business_date":"2025-01-02"},{"business_date":"2025-01-03"}]"#,
    ),
    (
        "/market-prices",
        "application/json",
        r#"[{"security_id":"S","price_date":"2025-01-02","price":12.5,"currency":"EUR"}]"#,
    ),
    ("/transactions", "text/csv", TRANSACTIONS),
];

const TRANSACTIONS: &str = "\
     transaction_id,portfolio_id,instrument_id,security_id,transaction_ts,transaction_type,\
     quantity,price,gross_transaction_amount,trade_fee,trade_currency,currency\n\
     T1,P/1,S,S,2025-01-02T10:00:00Z,BUY,2,10,20,0,EUR,EUR\n\
     T2,P/1,S,S,2025-01-03T10:00:00Z,BUY,1,10,10,0,EUR,EUR\n\
     T3,P/1,S,S,2025-01-03T11:00:00Z,SELL,9,10,90,0,EUR,EUR\n";

/// An answer.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// A client on its machine.
struct Client {
    process: Process,
    control: Control,
    sender: RefCell<Option<SendRequest<Full<Bytes>>>>,
}

impl Client {
    async fn ask(&self, request: Request<Full<Bytes>>) -> Option<Answer> {
        let idle = self.sender.borrow_mut().take().filter(|sender| !sender.is_closed());
        let mut sender = match idle {
            Some(sender) => sender,
            None => {
                let stream = self.process.connect_bytes("query-api-1", API_PORT).await.ok()?;
                let begun = http1::handshake(TokioIo::new(stream)).await;
                let (sender, carrier) = begun.expect("HTTP begins with a request");
                self.process.spawn(async { drop(carrier.await) });
                sender
            }
        };
        sender.ready().await.ok()?;
        let answer = sender.send_request(request).await.ok()?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.into_body().collect().await.ok()?.to_bytes();
        *self.sender.borrow_mut() = Some(sender);
        let body = match body.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&body).expect("every body is JSON"),
        };
        Some(Answer { status, headers, body })
    }

    async fn get(&self, path: &str) -> Answer {
        let request = Request::get(path).body(Full::default()).expect("an address");
        self.ask(request).await.expect("the instance is up")
    }

    async fn get_unless(&self, path: &str, tag: &str) -> Answer {
        let request = Request::get(path).header("if-none-match", tag).body(Full::default());
        self.ask(request.expect("an address")).await.expect("the instance is up")
    }

    async fn post(&self, path: &str, kind: &str, body: impl Into<Bytes>) -> Answer {
        let request = Request::post(path).header("content-type", kind);
        let request = request.body(Full::new(body.into())).expect("an address");
        self.ask(request).await.expect("the instance is up")
    }

    /// Posts all inputs and waits until both purchases are valued.
    async fn settle(&self) {
        for (path, kind, body) in INPUTS {
            let answer = self.post(path, kind, body).await;
            assert_eq!(answer.status, 202, "{path}: {}", answer.body);
            self.process.sleep(Duration::from_millis(500)).await;
        }
        for _ in 0..600 {
            self.process.sleep(Duration::from_millis(100)).await;
            let answer = self.get(POSITIONS).await;
            let position = &answer.body["positions"][0];
            if position["watermark_date"] == "2025-01-03" && position["quantity"] == "3" {
                return;
            }
        }
        panic!("a minute was not enough");
    }
}

const POSITIONS: &str = "/portfolios/P%2F1/positions";
const HISTORY: &str = "/portfolios/P%2F1/positions/S/history";

/// Runs a client beside a cluster.
fn with_cluster<F: Future<Output = ()> + 'static>(talk: fn(Client) -> F) {
    let config = WorldConfig {
        seed: 1,
        task_choice: TaskChoice::Seeded,
        latency: (Duration::from_micros(500), Duration::from_micros(1_500)),
        start: Timestamp::parse("2025-01-05").expect("a date"),
    };
    let mut world = World::new(config, Box::new(|_| {}));
    let control = world.control();
    Cluster::start(&control, ClusterConfig::default());
    let is_done = Rc::new(Cell::new(false));
    let handle = (control.clone(), is_done.clone());
    control.add_process(
        "client",
        Rc::new(move |process| {
            let (control, is_done) = handle.clone();
            let client = Client { process, control, sender: RefCell::default() };
            Box::pin(async move {
                client.process.sleep(Duration::from_secs(2)).await;
                talk(client).await;
                is_done.set(true);
            })
        }),
    );
    let end = world.now() + Duration::from_secs(200);
    while !is_done.get() && world.now() < end {
        let next = world.now() + Duration::from_secs(1);
        world.run_until(next);
    }
    assert!(is_done.get(), "the client has not come to its end");
}

#[test]
fn what_is_held_is_told_with_a_tag_of_its_own() {
    with_cluster(|client| async move {
        assert_eq!(client.get(POSITIONS).await.body["code"], "unknown_portfolio");
        client.settle().await;
        let answer = client.get(POSITIONS).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
        assert_eq!(answer.header("cache-control"), "private, no-cache");
        assert!(answer.header("date").ends_with("GMT"), "{}", answer.header("date"));
        let held = &answer.body["positions"][0];
        assert_eq!(held["reprocessing_status"], "CURRENT");
        assert_eq!(held["cost_basis"], "30");
        assert_eq!(held["valuation"]["market_value"], "37.5");
        assert_eq!(held["valuation"]["valuation_status"], "VALUED_STALE");
        let tag = answer.header("etag");
        let known = client.get_unless(POSITIONS, &format!("\"x\", W/{tag}")).await;
        assert_eq!((known.status, &known.body, known.header("etag")), (304, &Value::Null, tag));
        let earlier = client.get(&format!("{POSITIONS}?as_of_date=2025-01-02")).await;
        assert_eq!(earlier.body["positions"][0]["quantity"], "2");
        assert_ne!(earlier.header("etag"), tag);
        let before = client.get(&format!("{POSITIONS}?as_of_date=2025-01-01")).await;
        assert_eq!((before.status, &before.body["positions"]), (200, &serde_json::json!([])));
        let other = client.get("/portfolios/P2/positions").await;
        assert_eq!((other.status, &other.body["positions"]), (200, &serde_json::json!([])));
    });
}

#[test]
fn a_history_comes_in_pages_of_one_version() {
    with_cluster(|client| async move {
        client.settle().await;
        let whole = client.get(HISTORY).await;
        let rows = whole.body["history"].as_array().expect("a list").clone();
        let ids = rows.iter().map(|row| row["transaction_id"].as_str());
        assert_eq!(ids.collect::<Vec<_>>(), [Some("T1"), Some("T2")]);
        assert_eq!(whole.body["next"], Value::Null);
        let mut next = format!("{HISTORY}?limit=1");
        for row in &rows {
            let page = client.get(&next).await;
            assert_eq!(page.body["history"], serde_json::json!([row]));
            next = page.body["next"].as_str().expect("there may be more").to_owned();
        }
        let last = client.get(&next).await;
        assert_eq!((last.status, &last.body["next"]), (200, &Value::Null));
        let of_another = next.replace("after=0.", "after=7.");
        let refused = client.get(&of_another).await;
        assert_eq!((refused.status, &refused.body["code"]), (409, &"version_changed".into()));
        let unknown = client.get("/portfolios/P2/positions/S/history").await;
        assert_eq!((unknown.status, &unknown.body["code"]), (404, &"unknown_position".into()));
    });
}

#[test]
fn what_is_asked_wrongly_is_told_by_the_name_of_the_parameter() {
    with_cluster(|client| async move {
        let long = format!("/portfolios/{}/positions", "x".repeat(513));
        let table = [
            ("/portfolios/P%2F1/positions?as_of_date=2025-02-30", 400, "as_of_date"),
            ("/portfolios/P%2F1/positions?as_of_date=%2B9999-01-01", 400, "as_of_date"),
            ("/portfolios/P%2F1/positions?as_of_date=0000-01-01", 400, "as_of_date"),
            ("/portfolios/P%2F1/positions?as_of_date=2025-01-01&as_of_date=", 400, "as_of_date"),
            ("/portfolios/P%2F1/positions?asof=2025-01-01", 400, "asof"),
            ("/portfolios/%00/positions", 400, "portfolio_id"),
            (&long, 400, "portfolio_id"),
            ("/portfolios/%ff/positions", 400, "path"),
            ("/portfolios/P/positions/S/history?limit=0", 400, "limit"),
            ("/portfolios/P/positions/S/history?limit=1001", 400, "limit"),
            ("/portfolios/P/positions/S/history?after=1.2", 400, "after"),
        ];
        for (path, status, parameter) in table {
            let answer = client.get(path).await;
            assert_eq!((answer.status, &answer.body["parameter"]), (status, &parameter.into()));
            assert_eq!(answer.header("content-type"), "application/problem+json");
        }
        let none = client.get("/portfolio?x=1").await;
        assert_eq!((none.status, &none.body["code"]), (404, &"no_such_path".into()));
        let post = Request::post(POSITIONS).header("x-correlation-id", "mine");
        let post = post.body(Full::default()).expect("an address");
        let refused = client.ask(post).await.expect("the instance is up");
        assert_eq!((refused.status, &refused.body["correlation_id"]), (405, &"mine".into()));
        assert_eq!(refused.header("x-correlation-id"), "mine");
        assert!(refused.header("allow").contains("GET"));
    });
}

#[test]
fn without_a_database_a_client_is_told_when_to_come_again() {
    with_cluster(|client| async move {
        client.settle().await;
        client.control.crash(POSTGRES, CrashCause::Scheduled);
        let answer = client.get(POSITIONS).await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, "1"));
        assert_eq!(answer.body["code"], "database_unavailable");
        client.control.restart(POSTGRES);
        client.process.sleep(Duration::from_secs(2)).await;
        assert_eq!(client.get(POSITIONS).await.status, 200);
    });
}

#[test]
fn an_instance_that_was_killed_answers_again_after_its_restart() {
    with_cluster(|client| async move {
        client.settle().await;
        client.control.crash("query-api-1", CrashCause::Scheduled);
        let request = Request::get(POSITIONS).body(Full::default()).expect("an address");
        assert!(client.ask(request).await.is_none(), "nobody listens");
        client.control.restart("query-api-1");
        client.process.sleep(Duration::from_secs(1)).await;
        assert_eq!(client.get(POSITIONS).await.status, 200);
    });
}

#[test]
fn inputs_are_taken_as_a_whole_or_not_at_all() {
    with_cluster(|client| async move {
        let wrong =
            TRANSACTIONS.replace(",2,10,20,", ",-2,10,20,").replace(",9,10,90,", ",x,10,90,");
        let refused = client.post("/transactions", "text/csv", wrong).await;
        assert_eq!((refused.status, &refused.body["code"]), (422, &"invalid_rows".into()));
        let rows = serde_json::json!([
            {"row": 1, "code": "QUANTITY_NOT_POSITIVE"},
            {"row": 3, "code": "BAD_FIELD"},
        ]);
        assert_eq!(refused.body["rows"], rows);
        client.process.sleep(Duration::from_secs(5)).await;
        let nothing = client.get("/lineage/portfolios/P%2F1/securities/S").await;
        assert_eq!((nothing.status, &nothing.body["code"]), (404, &"unknown_portfolio".into()));
        let table = [
            ("text/plain", "[]".to_owned(), 415, "unsupported_media_type"),
            ("application/json", "{}".to_owned(), 400, "malformed_body"),
            ("application/json", format!("[{}]", "1,".repeat(10_000) + "1"), 413, "too_many_rows"),
            ("application/json", " ".repeat(8 * 1024 * 1024 + 1), 413, "body_too_large"),
        ];
        for (kind, body, status, code) in table {
            let answer = client.post("/fx-rates", kind, body).await;
            assert_eq!((answer.status, &answer.body["code"]), (status, &code.into()));
        }
        let none = client.post("/fx-rates", "application/json", "[]").await;
        assert_eq!((none.status, &none.body["accepted"]), (202, &0.into()));
    });
}

#[test]
fn an_operator_sees_where_a_key_is_and_may_have_it_looked_at_again() {
    with_cluster(|client| async move {
        client.settle().await;
        let overview = client.get("/support/portfolios/P%2F1/overview").await.body;
        assert_eq!((&overview["keys"], &overview["reprocessing_keys"]), (&1.into(), &0.into()));
        let parked = serde_json::json!([{"reason": "NO_LOTS", "transactions": 1}]);
        assert_eq!(overview["parked"], parked);
        assert_eq!(overview["latest_business_date"], "2025-01-03");
        let lineage = client.get("/lineage/portfolios/P%2F1/securities/S").await.body;
        assert_eq!(lineage["state"]["status"], "CURRENT");
        assert_eq!(lineage["transactions"], 3);
        assert_eq!(lineage["parked"][0]["transaction_id"], "T3");
        assert_eq!(lineage["parked"][0]["reason"], "NO_LOTS");
        let stuck = client.get("/support/reprocessing?older_than=1h&after=P%252F1%2FS").await;
        assert_eq!((stuck.status, &stuck.body["keys"]), (200, &serde_json::json!([])));
        let jobs = client.get("/support/valuation-jobs?status=WAITING&limit=5").await;
        assert_eq!((jobs.status, &jobs.body["jobs"]), (200, &serde_json::json!([])));
        let again = |ids: &str| {
            let body = format!("{{\"transaction_ids\": [{ids}]}}");
            let client = &client;
            async move { client.post("/reprocess/transactions", "application/json", body).await }
        };
        let unknown = again("\"T1\", \"T9\"").await;
        assert_eq!((unknown.status, &unknown.body["code"]), (404, &"unknown_transactions".into()));
        assert_eq!(unknown.body["transaction_ids"], serde_json::json!(["T9"]));
        let taken = again("\"T1\", \"T1\", \"T2\"").await;
        assert_eq!((taken.status, &taken.body["accepted"]), (202, &2.into()));
        assert_eq!(taken.body["correlation_id"].as_str(), Some(taken.header("x-correlation-id")));
        client.process.sleep(Duration::from_secs(3)).await;
        assert_eq!(client.get("/support/portfolios/P%2F1/overview").await.body, overview);
    });
}

#[test]
fn what_was_given_up_does_not_overtake_its_correction() {
    with_cluster(|client| async move {
        client.settle().await;
        let price = |price: &str| {
            let body = format!(
                "[{{\"security_id\":\"S\",\"price_date\":\"2025-01-03\",\
                 \"price\":{price},\"currency\":\"EUR\"}}]"
            );
            let client = &client;
            async move { client.post("/market-prices", "application/json", body).await }
        };
        client.control.crash("kafka-1", CrashCause::Scheduled);
        let given_up = price("13").await;
        assert_eq!((given_up.status, &given_up.body["code"]), (503, &"unacknowledged".into()));
        client.control.restart("kafka-1");
        let corrected = price("14").await;
        assert_eq!(corrected.status, 202, "{}", corrected.body);
        for _ in 0..200 {
            client.process.sleep(Duration::from_millis(100)).await;
        }
        let answer = client.get(POSITIONS).await;
        assert_eq!(answer.body["positions"][0]["valuation"]["market_price"], "14");
    });
}
