//! A client's connection to a broker: one request at a time, opened when it is needed.
//!
//! It does not retry; a call that fails or is given up closes the connection, because the answer
//! that may still come would be taken for the next one's.

use std::time::Duration;

use backdate_engine::ports::log::LogError;
use bytes::Bytes;

use super::{ClusterSpec, PORT};
use crate::world::sync::timeout;
use crate::world::{Connection, Process};

/// A connection that may have to be opened.
pub(super) struct Link {
    process: Process,
    broker: u32,
    connection: Option<Connection>,
}

impl Link {
    pub(super) fn new(process: Process, broker: u32) -> Self {
        Self { process, broker, connection: None }
    }

    /// The broker at the other end.
    pub(super) fn broker(&self) -> u32 {
        self.broker
    }

    /// Sends a request and waits for its answer. On an error the request may have been served.
    pub(super) async fn call(&mut self, frame: &[u8], within: Duration) -> Result<Bytes, LogError> {
        // Taken out, so that a call which is dropped half-way drops the connection too.
        let open = self.connection.take();
        let name = ClusterSpec::broker_name(self.broker);
        let process = self.process.clone();
        let exchange = async {
            let mut connection = match open {
                Some(connection) => connection,
                None => process.connect(&name, PORT).await?,
            };
            connection.write_frame(frame).await?;
            let answer = connection.read_frame().await?;
            std::io::Result::Ok((connection, answer))
        };
        match timeout(&self.process, within, exchange).await {
            Some(Ok((connection, answer))) => {
                self.connection = Some(connection);
                Ok(answer)
            }
            Some(Err(error)) => Err(LogError::Disconnected(format!("{name}: {error}"))),
            None => Err(LogError::Disconnected(format!("{name}: no answer in time"))),
        }
    }
}
