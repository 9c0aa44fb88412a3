//! What `query-api` is told: where to listen, and who may ask.

use std::net::SocketAddr;

use backdate_engine::adapters::secret::Secret;
use backdate_engine::adapters::system::Tokens;
use serde::Deserialize;
use toml::{Table, Value};

use super::HIDDEN;

/// Environment variable with the address.
pub const LISTEN: &str = "BACKDATE_API_LISTEN";
/// Environment variable with the token of those who may see.
pub const READ_TOKEN: &str = "BACKDATE_API_READ_TOKEN";
/// Environment variable with the token of those who may also change something.
pub const OPERATE_TOKEN: &str = "BACKDATE_API_OPERATE_TOKEN";

/// A shorter token can be guessed.
const TOKEN_MIN: usize = 16;

/// What `query-api` is told.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiConfig {
    /// Address and port; port 0 is a free one, which is printed.
    pub listen: String,
    /// Bearer token of those who may see; none if empty.
    pub read_token: Secret,
    /// Bearer token of those who may also change something; none if empty.
    pub operate_token: Secret,
}

impl Default for ApiConfig {
    fn default() -> Self {
        // Loopback: whoever is on this machine may ask without a token.
        Self {
            listen: "127.0.0.1:8080".to_owned(),
            read_token: Secret::default(),
            operate_token: Secret::default(),
        }
    }
}

/// The same from outside the file.
#[derive(Clone, Debug, Default)]
pub struct ApiOverrides {
    /// Address and port.
    pub listen: Option<String>,
    /// Token.
    pub read_token: Option<Secret>,
    /// Token.
    pub operate_token: Option<Secret>,
}

impl ApiConfig {
    /// Puts what comes from outside in its place.
    pub(super) fn redirect(&mut self, overrides: &ApiOverrides) {
        let ApiOverrides { listen, read_token, operate_token } = overrides.clone();
        self.listen = listen.unwrap_or_else(|| std::mem::take(&mut self.listen));
        self.read_token = read_token.unwrap_or_else(|| std::mem::take(&mut self.read_token));
        self.operate_token =
            operate_token.unwrap_or_else(|| std::mem::take(&mut self.operate_token));
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What is wrong with the address.
    pub fn address(&self) -> Result<SocketAddr, String> {
        self.listen.parse().map_err(|_| {
            let example = "must be an IP address and a port, e.g. \"127.0.0.1:8080\"";
            format!("= {:?}: {example}", self.listen)
        })
    }

    /// Who may ask.
    pub fn tokens(&self) -> Tokens {
        let token = |secret: &Secret| Some(secret.clone()).filter(|s| !s.reveal().is_empty());
        Tokens { read: token(&self.read_token), operate: token(&self.operate_token) }
    }

    /// The first thing that is wrong, with its key.
    pub(super) fn problem(&self) -> Option<(&'static str, String)> {
        let address = match self.address() {
            Ok(address) => address,
            Err(message) => return Some(("api.listen", message)),
        };
        let tokens = [
            ("api.read_token", self.read_token.reveal()),
            ("api.operate_token", self.operate_token.reveal()),
        ];
        for (key, token) in tokens {
            let is_plain = token.bytes().all(|byte| byte.is_ascii_graphic());
            if !token.is_empty() && (token.len() < TOKEN_MIN || !is_plain) {
                let wrong = format!("must have {TOKEN_MIN} plain ASCII characters or more");
                return Some((key, wrong));
            }
        }
        let [(_, read), (key, operate)] = tokens;
        if !read.is_empty() && read == operate {
            return Some((key, "must differ from api.read_token".to_owned()));
        }
        if !address.ip().is_loopback() && read.is_empty() && operate.is_empty() {
            let wrong = format!(
                "= {:?}: others reach it there, so set api.read_token or {READ_TOKEN}, \
                 api.operate_token or {OPERATE_TOKEN}, or both",
                self.listen
            );
            return Some(("api.listen", wrong));
        }
        None
    }

    /// The configuration as a file could say it, without secrets.
    pub(super) fn effective(&self) -> Table {
        let tokens = [("read_token", &self.read_token), ("operate_token", &self.operate_token)];
        let tokens = tokens.map(|(name, token)| match token.reveal() {
            "" => (name, Value::from("")),
            // As long as a token must be, and each its own, so that what is shown reads back.
            _ => (name, Value::from(format!("{HIDDEN}-{name}-{HIDDEN}"))),
        });
        let listen = ("listen", Value::from(self.listen.as_str()));
        let values = std::iter::once(listen).chain(tokens);
        values.map(|(name, value)| (name.to_owned(), value)).collect()
    }
}
