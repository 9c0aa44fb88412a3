//! From a request to an answer: the same for every route.
//!
//! axum wants futures that may move between threads. An instance lives on one thread, with its
//! store and all of its requests, so what is given to axum is wrapped: it can be moved, and it
//! panics if that is ever done.

use std::error::Error as _;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, DATE, ETAG, HOST, IF_NONE_MATCH, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use futures_util::FutureExt as _;
use futures_util::future::{Either, LocalBoxFuture, select};
use http_body_util::LengthLimitError;
use send_wrapper::SendWrapper;

use super::answer::{Answer, Reply, has_tag};
use super::asked::Asked;
use super::problem::Problem;
use super::routes::{self, Route};
use super::support::{lineage, overview, stuck, valuation_jobs};
use super::{
    ANSWER_MAX, Api, cashflows, history, ingest, openapi, positions, reprocess, timeseries,
};
use crate::domain::time::Timestamp;
use crate::ports::Ports;
use crate::ports::clock::Clock as _;
use crate::ports::host::{Answered, Host as _};
use crate::ports::log::Topic;
use crate::ports::network::{Network, Verdict};
use crate::ports::random::Random as _;

/// Bytes of a body.
const BODY_MAX: usize = 8 * 1024 * 1024;
/// Seconds after which a client may ask again what could not be answered.
const RETRY_SECONDS: &str = "1";
/// Characters of a correlation id.
const CORRELATION_MAX: usize = 128;
const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");

type Path = Result<RawPathParams, RawPathParamsRejection>;
type Handler<P> = fn(Rc<Api<P>>, Asked) -> LocalBoxFuture<'static, Reply>;

/// All routes.
pub(super) fn router<P: Ports>(api: Rc<Api<P>>) -> Router {
    let handlers: [(&'static Route, Handler<P>); 16] = [
        (&routes::POSITIONS, |api, asked| positions::list(api, asked).boxed_local()),
        (&routes::HISTORY, |api, asked| history::page(api, asked).boxed_local()),
        (&routes::CASHFLOWS, |api, asked| cashflows::page(api, asked).boxed_local()),
        (&routes::TIMESERIES, |api, asked| timeseries::page(api, asked).boxed_local()),
        (&routes::OVERVIEW, |api, asked| overview::view(api, asked).boxed_local()),
        (&routes::STUCK, |api, asked| stuck::page(api, asked).boxed_local()),
        (&routes::VALUATION_JOBS, |api, asked| valuation_jobs::page(api, asked).boxed_local()),
        (&routes::LINEAGE, |api, asked| lineage::view(api, asked).boxed_local()),
        (&routes::OPENAPI, |_, _| openapi::view().boxed_local()),
        (&routes::REPROCESS, |api, asked| reprocess::take(api, asked).boxed_local()),
        (&routes::PUT_PORTFOLIOS, |api, asked| {
            ingest::take(api, asked, Topic::RawPortfolios).boxed_local()
        }),
        (&routes::PUT_INSTRUMENTS, |api, asked| {
            ingest::take(api, asked, Topic::Instruments).boxed_local()
        }),
        (&routes::PUT_BUSINESS_DATES, |api, asked| {
            ingest::take(api, asked, Topic::RawBusinessDates).boxed_local()
        }),
        (&routes::PUT_TRANSACTIONS, |api, asked| {
            ingest::take(api, asked, Topic::RawTransactions).boxed_local()
        }),
        (&routes::PUT_PRICES, |api, asked| {
            ingest::take(api, asked, Topic::MarketPrices).boxed_local()
        }),
        (&routes::PUT_RATES, |api, asked| ingest::take(api, asked, Topic::FxRates).boxed_local()),
    ];
    let api = SendWrapper::new(api);
    let mut router = Router::new();
    for (route, handler) in handlers {
        let api = api.clone();
        let endpoint = move |path: Path, request: Request| {
            let call = Call { api: (*api).clone(), route, handler };
            SendWrapper::new(call.answer(Some(path), request))
        };
        let endpoint = match route.method() {
            "POST" => post(endpoint),
            _ => get(endpoint),
        };
        router = router.route(route.path(), endpoint);
    }
    let unanswerable = |handler: Handler<P>| {
        let api = api.clone();
        move |request: Request| {
            let call = Call { api: (*api).clone(), route: &routes::ELSE, handler };
            SendWrapper::new(call.answer(None, request))
        }
    };
    router
        .fallback(unanswerable(|_, _| async { Err(Problem::NoRoute) }.boxed_local()))
        .method_not_allowed_fallback(unanswerable(|_, _| {
            async { Err(Problem::NoMethod) }.boxed_local()
        }))
}

/// A request to a route.
struct Call<P: Ports> {
    api: Rc<Api<P>>,
    route: &'static Route,
    handler: Handler<P>,
}

impl<P: Ports> Call<P> {
    async fn answer(self, path: Option<Path>, request: Request) -> Response {
        let ports = &self.api.instance.ports;
        let begun = ports.clock().now();
        let (parts, body) = request.into_parts();
        let correlation_id = self.correlation_id(&parts);
        let reply = self.reply(path, &parts, body, &correlation_id).await;
        match &reply {
            Err(Problem::Database(error) | Problem::DatabaseRefuses(error)) => {
                self.api.instance.trouble("query-api", error);
            }
            Err(Problem::Broker(error) | Problem::BrokerRefuses(error)) => {
                self.api.instance.trouble("query-api", error);
            }
            _ => {}
        }
        let code = reply.as_ref().err().map(|problem| problem.code().1);
        let now = ports.clock().now();
        let (mut response, bytes) = respond(reply, &parts, &correlation_id);
        if let Some(date) = http_date(now) {
            response.headers_mut().insert(DATE, date);
        }
        if let Ok(id) = HeaderValue::try_from(&correlation_id) {
            response.headers_mut().insert(CORRELATION_ID, id);
        }
        ports.host().answered(Answered {
            route: self.route.name,
            path: parts.uri.path(),
            status: response.status().as_u16(),
            code,
            bytes,
            took: Duration::from_micros(
                u64::try_from(now.micros() - begun.micros()).unwrap_or_default(),
            ),
            correlation_id: &correlation_id,
        });
        response
    }

    /// The client's own, if it can be one; else a new one.
    fn correlation_id(&self, parts: &Parts) -> String {
        let own = parts.headers.get(CORRELATION_ID).and_then(|value| value.to_str().ok());
        match own {
            Some(own) if !own.is_empty() && own.len() <= CORRELATION_MAX => own.to_owned(),
            _ => format!("{:016x}", self.api.instance.ports.random().next_u64()),
        }
    }

    async fn reply(
        &self,
        path: Option<Path>,
        parts: &Parts,
        body: Body,
        correlation_id: &str,
    ) -> Reply {
        let instance = &self.api.instance;
        if !is_ours(parts, instance.ports.network()) {
            return Err(Problem::Misdirected);
        }
        match instance.ports.network().judge(token(parts), self.route.right) {
            Verdict::Allowed => {}
            Verdict::Unknown => return Err(Problem::Unauthorized),
            Verdict::Forbidden => return Err(Problem::Forbidden),
        }
        // What has no route is told that first, whatever its parameters are.
        let query = parts.uri.query().filter(|_| path.is_some());
        let asked = Asked::read(self.route, path, query)?;
        let mut overdue = pin!(instance.sleep(ANSWER_MAX));
        let body = match self.route.method() {
            "POST" => {
                let late = select(overdue.as_mut(), self.api.stopping.clone());
                match select(pin!(to_bytes(body, BODY_MAX)), late).await {
                    Either::Left((Ok(body), _)) => body,
                    Either::Left((Err(error), _)) => return Err(unread(&error)),
                    Either::Right((Either::Left(_), _)) => return Err(Problem::BodyOverdue),
                    Either::Right((Either::Right(_), _)) => return Err(Problem::Stopping),
                }
            }
            _ => Bytes::new(),
        };
        let asked = asked.with_body(parts.headers.get(CONTENT_TYPE), body, correlation_id);
        let sending = asked.sending();
        let answer = (self.handler)(self.api.clone(), asked);
        match select(answer, overdue).await {
            Either::Left((reply, _)) => reply,
            Either::Right(_) if sending.get() => Err(Problem::Unacknowledged),
            Either::Right(_) => Err(Problem::Overdue),
        }
    }
}

/// Why a body was not read to its end.
fn unread(error: &axum::Error) -> Problem {
    let mut cause = error.source();
    while let Some(found) = cause {
        if found.is::<LengthLimitError>() {
            return Problem::BodyTooLarge;
        }
        cause = found.source();
    }
    Problem::MalformedBody("did not come whole")
}

/// Whether every name by which a request calls this machine is one that it goes by.
fn is_ours(parts: &Parts, network: &impl Network) -> bool {
    let named = parts.headers.get_all(HOST).iter().map(|name| name.to_str().unwrap_or_default());
    let mut named = named.chain(parts.uri.host()).peekable();
    if named.peek().is_none() {
        return network.goes_by("");
    }
    named.all(|name| network.goes_by(name))
}

/// The bearer token of a request.
fn token(parts: &Parts) -> Option<&str> {
    let (scheme, token) = parts.headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// The response, and the bytes of its body.
fn respond(reply: Reply, parts: &Parts, correlation_id: &str) -> (Response, usize) {
    let (status, kind, body, tag) = match reply {
        Ok(answer) => {
            let tag = answer.tag();
            let known = parts.headers.get_all(IF_NONE_MATCH).iter();
            let mut known = known.filter_map(|known| known.to_str().ok());
            let is_known = tag.as_ref().is_some_and(|tag| known.any(|known| has_tag(known, tag)));
            let Answer { status, body } = answer;
            match is_known {
                true => (StatusCode::NOT_MODIFIED, None, Vec::new(), tag),
                false => (status, Some("application/json"), body, tag),
            }
        }
        Err(problem) => {
            let (status, _) = problem.code();
            (status, Some("application/problem+json"), problem.body(correlation_id), None)
        }
    };
    let bytes = body.len();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if let Some(kind) = kind {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    if let Some(tag) = tag.and_then(|tag| HeaderValue::try_from(tag).ok()) {
        headers.insert(ETAG, tag);
    }
    // An answer is the caller's alone, and is asked for anew each time.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    match status {
        StatusCode::SERVICE_UNAVAILABLE => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_SECONDS));
        }
        StatusCode::UNAUTHORIZED => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        _ => {}
    }
    (response, bytes)
}

/// The time of the instance's machine, as HTTP writes it.
fn http_date(now: Timestamp) -> Option<HeaderValue> {
    let since = Duration::from_micros(u64::try_from(now.micros()).ok()?);
    let date = SystemTime::UNIX_EPOCH.checked_add(since)?;
    HeaderValue::try_from(httpdate::fmt_http_date(date)).ok()
}
