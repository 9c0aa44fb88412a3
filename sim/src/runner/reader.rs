//! What a reader is: a client of `query-api` that polls positions over HTTP, on whatever carries
//! bytes.

use std::rc::Rc;
use std::time::Duration;

use backdate_engine::domain::ids::PortfolioId;
use backdate_engine::ports::network::Connection;
use backdate_engine::ports::store::statements::PositionRead;
use backdate_engine::runtime::ProcessKind;
use backdate_engine::services::query_api::positions::PositionList;
use backdate_reports::recording::EventKind;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use smol_str::{SmolStr, format_smolstr};

use crate::cluster::{API_PORT, Cluster};
use crate::world::sync::timeout;
use crate::world::{Main, Process};

/// How long a reader waits for an answer.
pub(crate) const READ_MAX: Duration = Duration::from_secs(15);

/// A connection to an instance of `query-api`.
pub(crate) struct Session(SendRequest<Empty<Bytes>>);

/// Why a read shows nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The instance says why; the connection is good.
    Refused(SmolStr),
    /// The connection is not.
    Broken,
}

/// What an answer says that shows nothing.
#[derive(Deserialize)]
struct Problem {
    code: SmolStr,
}

impl Session {
    /// Begins to speak HTTP; the future carries it, and ends with the connection.
    pub(crate) async fn begin(
        connection: Box<dyn Connection>,
    ) -> Result<(Self, impl Future<Output = ()>), Failure> {
        let (sender, carrier) = http1::handshake(connection).await.map_err(|_| Failure::Broken)?;
        // How a connection ends is seen by whoever asks on it.
        Ok((Self(sender), async { drop(carrier.await) }))
    }

    /// The positions of a portfolio.
    pub(crate) async fn positions(
        &mut self,
        portfolio: &PortfolioId,
    ) -> Result<Vec<PositionRead>, Failure> {
        let request = Request::get(PositionList::address(portfolio)).header("host", "localhost");
        let request = request.body(Empty::new()).expect("an address of escaped parts");
        self.0.ready().await.map_err(|_| Failure::Broken)?;
        let answer = self.0.send_request(request).await.map_err(|_| Failure::Broken)?;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(|_| Failure::Broken)?.to_bytes();
        match status {
            StatusCode::OK => {
                let list: PositionList =
                    serde_json::from_slice(&body).expect("query-api answers what it documents");
                Ok(list.reads())
            }
            StatusCode::NOT_FOUND | StatusCode::SERVICE_UNAVAILABLE => {
                let problem: Problem =
                    serde_json::from_slice(&body).expect("query-api answers what it documents");
                Err(Failure::Refused(problem.code))
            }
            status => panic!("query-api answers {status} to what readers ask: {body:?}"),
        }
    }
}

/// A simulated reader: polls the positions of one portfolio after the other, as long as it can of
/// one instance of the API.
pub(super) fn polling(cluster: Cluster, portfolios: Rc<[PortfolioId]>, every: Duration) -> Main {
    Rc::new(move |process| {
        let (cluster, portfolios) = (cluster.clone(), portfolios.clone());
        Box::pin(async move {
            let instances = cluster.config().instances_of(ProcessKind::QueryApi);
            let offset = process.next_u64();
            let mut instance = offset;
            let mut session = None;
            for turn in 0_u64.. {
                process.sleep(every).await;
                let portfolio = offset.wrapping_add(turn) as usize % portfolios.len();
                let portfolio = &portfolios[portfolio];
                let number = 1 + instance % u64::from(instances);
                let api = format_smolstr!("{}-{number}", ProcessKind::QueryApi);
                let read = read(&process, &api, &mut session, portfolio);
                let portfolio_id = portfolio.clone();
                match timeout(&process, READ_MAX, read).await {
                    Some(Ok(positions)) => {
                        process.record(EventKind::Read { portfolio_id, positions });
                    }
                    Some(Err(Failure::Refused(code))) => {
                        process.record(EventKind::ReadRefused { portfolio_id, code });
                    }
                    // Nothing was said, and nothing can be wrong with it.
                    Some(Err(Failure::Broken)) | None => {
                        session = None;
                        instance = instance.wrapping_add(1);
                    }
                }
            }
        })
    })
}

async fn read(
    process: &Process,
    api: &str,
    session: &mut Option<Session>,
    portfolio: &PortfolioId,
) -> Result<Vec<PositionRead>, Failure> {
    if session.is_none() {
        let connected = process.connect_bytes(api, API_PORT).await;
        let stream = TokioIo::new(connected.map_err(|_| Failure::Broken)?);
        let (begun, carrier) = Session::begin(Box::new(stream)).await?;
        process.spawn(carrier);
        *session = Some(begun);
    }
    let session = session.as_mut().expect("opened just now");
    session.positions(portfolio).await
}
