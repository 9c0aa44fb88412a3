//! A client of `query-api` that says what it is told to, and no more.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;

use serde_json::Value;

/// An answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Value,
}

/// A client on a connection that is opened when it is needed.
pub(super) struct Talk {
    address: String,
    token: Option<&'static str>,
    stream: Option<BufReader<TcpStream>>,
}

impl Talk {
    /// One without a token.
    pub(super) fn to(address: String) -> Self {
        Self { address, token: None, stream: None }
    }

    /// Another one without a token.
    pub(super) fn without(&self) -> Self {
        Self::to(self.address.clone())
    }

    /// A connection, for who wants to say something else than requests.
    pub(super) fn connected(&self) -> TcpStream {
        TcpStream::connect(&self.address).expect("it listens")
    }

    /// Another one, with a token.
    pub(super) fn with(&self, token: &'static str) -> Self {
        Self { address: self.address.clone(), token: Some(token), stream: None }
    }

    /// Asks for something.
    pub(super) fn get(&mut self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), "", b"")
    }

    /// Posts something.
    pub(super) fn post(&mut self, path: &str, kind: &str, body: &str) -> Answer {
        self.ask(&format!("POST {path}"), &format!("content-type: {kind}\r\n"), body.as_bytes())
    }

    /// Asks with these headers.
    pub(super) fn ask(&mut self, line: &str, headers: &str, body: &[u8]) -> Answer {
        let token = self.token.map(|token| format!("authorization: Bearer {token}\r\n"));
        let token = token.unwrap_or_default();
        let length = body.len();
        let head = format!(
            "{line} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n{token}{headers}\r\n"
        );
        self.say(&[head.as_bytes(), body].concat())
    }

    /// Says these bytes; a connection that was closed meanwhile is opened once more.
    pub(super) fn say(&mut self, bytes: &[u8]) -> Answer {
        for _ in 0..2 {
            let stream = self.stream.take();
            let mut stream = stream.unwrap_or_else(|| BufReader::new(self.connected()));
            // Who refuses a body may close before all of it was sent.
            let sent = stream.get_mut().write_all(bytes);
            if let Some(answer) = read_answer(&mut stream) {
                let closes = answer.headers.get("connection").is_some_and(|how| how == "close");
                if sent.is_ok() && !closes {
                    self.stream = Some(stream);
                }
                return answer;
            }
        }
        panic!("no answer to {:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(200)]));
    }
}

/// The next answer on a connection; none if it was closed before.
pub(super) fn read_answer(stream: &mut BufReader<TcpStream>) -> Option<Answer> {
    let mut line = String::new();
    match stream.read_line(&mut line) {
        Ok(0) => return None,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
        read => read.expect("an answer is ASCII"),
    };
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        stream.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    let body = serde_json::from_slice(&body).unwrap_or_default();
    Some(Answer { status: status.expect("a status"), headers, body })
}
