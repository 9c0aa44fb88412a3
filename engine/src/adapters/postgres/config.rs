//! How to reach a PostgreSQL database, and what a session may take.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::adapters::secret::Secret;

/// How to reach a PostgreSQL database.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PostgresConfig {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Role.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// Database.
    pub database: String,
    /// Whether the connection is encrypted, and what is checked about the server.
    pub ssl_mode: SslMode,
    /// File with the certificates of authorities that are trusted beside those of the machine;
    /// empty if there are none.
    pub ssl_root_cert: String,
    /// Put behind the names of instances in `pg_stat_activity`; empty in production. A harness
    /// gives its own, so that the sessions that it ends are never somebody else's.
    pub tag: String,
    /// Schema of all tables. A harness gives its own, so that what it makes and removes is never
    /// somebody else's.
    pub schema: String,
    /// Connections of one instance.
    pub connections: u32,
    /// How long to wait for a connection, new or from the pool.
    pub connect_timeout_ms: u64,
    /// `statement_timeout` of a session.
    pub statement_timeout_ms: u64,
    /// `lock_timeout` of a session.
    pub lock_timeout_ms: u64,
    /// `idle_in_transaction_session_timeout`: frees the locks of an instance that froze.
    pub idle_in_transaction_timeout_ms: u64,
}

impl Default for PostgresConfig {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 5432,
            user: "postgres".to_owned(),
            password: Secret::default(),
            database: "backdate".to_owned(),
            ssl_mode: SslMode::default(),
            ssl_root_cert: String::new(),
            tag: String::new(),
            schema: "public".to_owned(),
            connections: 4,
            connect_timeout_ms: 5_000,
            statement_timeout_ms: 60_000,
            lock_timeout_ms: 30_000,
            idle_in_transaction_timeout_ms: 60_000,
        }
    }
}

/// How a connection is encrypted, by the names that PostgreSQL's own clients have for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// Not at all.
    Disable,
    /// If the server can do it; nothing is checked about the server.
    #[default]
    Prefer,
    /// In any case; nothing is checked about the server.
    Require,
    /// In any case, with a certificate of a trusted authority.
    VerifyCa,
    /// In any case, with a certificate of a trusted authority for the name of the host.
    VerifyFull,
}

/// Why a text is no address of a database. It does not repeat the text, which has a password in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ParseUrlError {
    /// Another scheme, or none.
    #[error("an address of a database begins with postgres://")]
    Scheme,
    /// No host.
    #[error("the address of the database names no host")]
    Host,
    /// A port that is none.
    #[error("the port in the address of the database is not a number up to 65535")]
    Port,
    /// No database.
    #[error("the address of the database does not end with /DATABASE")]
    Database,
    /// A `%` that two hexadecimal digits do not follow.
    #[error("the address of the database has a % that two hexadecimal digits do not follow")]
    Percent,
    /// Something after a `?`.
    #[error(
        "the address of the database has parameters (?..), which are not supported: a file can say \
         `ssl_mode` and `ssl_root_cert` in [postgres]"
    )]
    Parameters,
}

impl PostgresConfig {
    /// What `pg_stat_activity` shows as the application of an instance's sessions.
    pub fn session_name(&self, instance: &str) -> String {
        match self.tag.as_str() {
            "" => instance.to_owned(),
            tag => format!("{instance} {tag}"),
        }
    }

    /// Reads `postgres://user:password@host:port/database`, percent-encoded where needed. User,
    /// password and port may be absent; all else is as in [`PostgresConfig::default`].
    ///
    /// # Errors
    /// A text that is not of this form.
    pub fn parse_url(url: &str) -> Result<Self, ParseUrlError> {
        let schemes = ["postgres://", "postgresql://"];
        let rest = schemes.iter().find_map(|scheme| url.strip_prefix(scheme));
        let rest = rest.ok_or(ParseUrlError::Scheme)?;
        if rest.contains(['?', '#']) {
            return Err(ParseUrlError::Parameters);
        }
        let (authority, database) = rest.split_once('/').ok_or(ParseUrlError::Database)?;
        let (login, place) = match authority.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, authority),
        };
        let mut config = Self { database: decoded(database)?, ..Self::default() };
        if config.database.is_empty() || config.database.contains('/') {
            return Err(ParseUrlError::Database);
        }
        if let Some(login) = login {
            let (user, password) = login.split_once(':').unwrap_or((login, ""));
            config.user = decoded(user)?;
            config.password = Secret::new(decoded(password)?);
        }
        let (host, port) = host_and_port(place);
        config.host = decoded(host)?;
        if config.host.is_empty() {
            return Err(ParseUrlError::Host);
        }
        if let Some(port) = port {
            config.port = port.parse().map_err(|_| ParseUrlError::Port)?;
        }
        Ok(config)
    }
}

/// An address of IPv6 stands in brackets.
fn host_and_port(place: &str) -> (&str, Option<&str>) {
    match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    }
}

fn decoded(text: &str) -> Result<String, ParseUrlError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digit = |at: usize| rest.get(at).and_then(|digit| (*digit as char).to_digit(16));
        let (Some(high), Some(low)) = (digit(0), digit(1)) else {
            return Err(ParseUrlError::Percent);
        };
        bytes.push((high * 16 + low) as u8);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).map_err(|_| ParseUrlError::Percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_all_there_is() {
        let config = PostgresConfig::parse_url("postgres://u%40x:p%3A%2f@db.example:5433/books");
        let config = config.expect("a good address");
        assert_eq!((config.user.as_str(), config.password.reveal()), ("u@x", "p:/"));
        assert_eq!((config.host.as_str(), config.port), ("db.example", 5433));
        assert_eq!(config.database, "books");
        assert_eq!(config.schema, "public");
        let short = PostgresConfig::parse_url("postgresql://[::1]/books").expect("a good address");
        assert_eq!((short.host.as_str(), short.port), ("::1", 5432));
    }

    #[test]
    fn a_session_bears_the_tag_of_a_harness() {
        let mut config = PostgresConfig::default();
        assert_eq!(config.session_name("replayer-1"), "replayer-1");
        config.tag = "a1b2".to_owned();
        assert_eq!(config.session_name("replayer-1"), "replayer-1 a1b2");
    }

    #[test]
    fn a_bad_address_is_refused_without_being_repeated() {
        for (url, error) in [
            ("mysql://u:secret@h/d", ParseUrlError::Scheme),
            ("postgres://u:secret@h", ParseUrlError::Database),
            ("postgres://u:secret@h/", ParseUrlError::Database),
            ("postgres://u:secret@/d", ParseUrlError::Host),
            ("postgres://u:secret@h:x/d", ParseUrlError::Port),
            ("postgres://u:secret@h:66000/d", ParseUrlError::Port),
            ("postgres://u:secret%zz@h/d", ParseUrlError::Percent),
            ("postgres://u:secret@h/d?sslmode=off", ParseUrlError::Parameters),
        ] {
            assert_eq!(PostgresConfig::parse_url(url), Err(error), "{url}");
            assert!(!error.to_string().contains("secret"));
        }
    }
}
