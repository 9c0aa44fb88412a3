//! Readers of a real run: clients of the instances of `query-api`, over the loopback.

use std::net::SocketAddr;
use std::time::Duration;

use backdate_engine::adapters::postgres::config::PostgresConfig;
use backdate_engine::domain::ids::PortfolioId;
use backdate_engine::ports::store::statements::PositionRead;
use hyper_util::rt::TokioIo;
use smol_str::{SmolStr, format_smolstr};
use sqlx::PgConnection;
use tokio::net::TcpStream;

use super::backstage::{Observation, Observe};
use super::clock;
use super::commits::Commits;
use crate::runner::reader::{Failure, READ_MAX, Session};

/// A reader.
pub(super) struct Reader {
    name: SmolStr,
    /// Instances of the API; one is asked as long as it answers.
    apis: Vec<SocketAddr>,
    turn: usize,
    session: Option<Session>,
    postgres: PostgresConfig,
    database: Option<PgConnection>,
}

impl Reader {
    /// A reader that asks these.
    pub(super) fn new(number: u32, apis: Vec<SocketAddr>, postgres: PostgresConfig) -> Self {
        let turn = usize::try_from(number).unwrap_or(0);
        let name = format_smolstr!("reader-{number}");
        Self { name, apis, turn, session: None, postgres, database: None }
    }

    /// Polls the positions of one portfolio after the other.
    pub(super) async fn poll(
        mut self,
        portfolios: Vec<PortfolioId>,
        every: Duration,
        observe: Observe,
    ) {
        for turn in self.turn.. {
            clock::sleep(every).await;
            let portfolio = &portfolios[turn % portfolios.len()];
            // Where nothing was said, nothing can be wrong with it.
            let Ok(flushed) = self.flushed().await else { continue };
            match clock::within(READ_MAX, self.read(portfolio)).await {
                Some(Ok(positions)) => {
                    let portfolio_id = portfolio.clone();
                    observe.see(&self.name, Observation::Read { portfolio_id, positions, flushed });
                }
                Some(Err(Failure::Refused(code))) => {
                    let portfolio_id = portfolio.clone();
                    observe.see(&self.name, Observation::ReadRefused { portfolio_id, code });
                }
                Some(Err(Failure::Broken)) | None => {
                    self.session = None;
                    self.turn = self.turn.wrapping_add(1);
                }
            }
        }
    }

    async fn read(&mut self, portfolio: &PortfolioId) -> Result<Vec<PositionRead>, Failure> {
        if self.session.is_none() {
            let address = self.apis[self.turn % self.apis.len()];
            let stream = TcpStream::connect(address).await.map_err(|_| Failure::Broken)?;
            let stream = Box::new(TokioIo::new(stream));
            let (session, carrier) = Session::begin(stream).await?;
            clock::spawn(carrier);
            self.session = Some(session);
        }
        let session = self.session.as_mut().expect("opened just now");
        session.positions(portfolio).await
    }

    /// How much of the write-ahead log is on disk.
    async fn flushed(&mut self) -> Result<u64, String> {
        if self.database.is_none() {
            self.database = Some(Commits::session(&self.postgres).await?);
        }
        let connection = self.database.as_mut().expect("connected just now");
        let answer = Commits::flushed(connection).await;
        if answer.is_err() {
            self.database = None;
        }
        answer
    }
}
