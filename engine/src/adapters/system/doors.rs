//! The network of a real process: an address to listen on, and the tokens of those who may ask.
//!
//! A token is compared in full, whatever its first difference: how long it takes tells nothing.

use std::fmt;
use std::future::pending;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;

use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::adapters::secret::Secret;
use crate::ports::network::{Connection, Network, Right, Verdict};

/// Who may ask.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    /// Of those who may see.
    pub read: Option<Secret>,
    /// Of those who may also change something.
    pub operate: Option<Secret>,
}

impl Tokens {
    /// Whether nobody needs one.
    fn are_none(&self) -> bool {
        self.read.is_none() && self.operate.is_none()
    }

    /// Judges a client. Where there is no token at all, everybody may do everything.
    fn judge(&self, shown: Option<&str>, right: Right) -> Verdict {
        if self.are_none() {
            return Verdict::Allowed;
        }
        let Some(shown) = shown else { return Verdict::Unknown };
        // Both are compared in any case.
        let may_read = is_same(self.read.as_ref(), shown);
        let may_operate = is_same(self.operate.as_ref(), shown);
        match (right, may_read, may_operate) {
            (_, _, true) | (Right::Read, true, _) => Verdict::Allowed,
            (Right::Operate, true, false) => Verdict::Forbidden,
            (_, false, false) => Verdict::Unknown,
        }
    }
}

/// Whether a secret was shown. The time depends on the length of what was shown alone.
fn is_same(secret: Option<&Secret>, shown: &str) -> bool {
    let Some(secret) = secret.map(|secret| secret.reveal().as_bytes()) else { return false };
    let mut difference = u8::from(secret.len() != shown.len() || secret.is_empty());
    for (index, byte) in shown.bytes().enumerate() {
        // Of a secret that is shorter, its bytes are gone over again.
        difference |= byte ^ secret.get(index % secret.len().max(1)).copied().unwrap_or_default();
    }
    std::hint::black_box(difference) == 0
}

/// Whether a name, which may be followed by a port, is of the loopback interface: such a one leads
/// nobody's browser here but that of somebody on this machine, to a page that comes from here.
fn is_loopback(name: &str) -> bool {
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let name = match name.rsplit_once(':') {
        Some((name, port)) if is_port(port) && !name.ends_with(':') => name,
        _ => name,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let address: Option<IpAddr> = bare.parse().ok();
    match address {
        Some(address) => address.is_loopback() && address.is_ipv6() == (bare.len() < name.len()),
        None => name.eq_ignore_ascii_case("localhost"),
    }
}

/// The network of one instance; clones are the same.
#[derive(Clone, Default)]
pub struct Doors(Rc<Inner>);

#[derive(Default)]
struct Inner {
    listener: Option<TcpListener>,
    tokens: Tokens,
}

impl Doors {
    /// None: the instance listens on nothing.
    pub fn closed() -> Self {
        Self::default()
    }

    /// Lets in who comes to that address.
    pub fn open(listener: TcpListener, tokens: Tokens) -> Self {
        Self(Rc::new(Inner { listener: Some(listener), tokens }))
    }
}

impl fmt::Debug for Doors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Doors").field("listener", &self.0.listener).finish_non_exhaustive()
    }
}

impl Network for Doors {
    async fn accept(&self) -> io::Result<Box<dyn Connection>> {
        let Some(listener) = &self.0.listener else { return pending().await };
        let (stream, _) = listener.accept().await?;
        // An answer is written at once; nothing is gained by waiting for more.
        stream.set_nodelay(true)?;
        Ok(Box::new(TokioIo::new(stream)))
    }

    fn goes_by(&self, name: &str) -> bool {
        // A page does not know the token, so it needs no other name to be kept out.
        !self.0.tokens.are_none() || is_loopback(name)
    }

    fn judge(&self, token: Option<&str>, right: Right) -> Verdict {
        self.0.tokens.judge(token, right)
    }
}

#[test]
fn a_token_says_what_its_bearer_may_do() {
    let secret = |text: &str| Some(Secret::new(text));
    let both = Tokens { read: secret("see"), operate: secret("touch") };
    let table = [
        (None, Verdict::Unknown, Verdict::Unknown),
        (Some(""), Verdict::Unknown, Verdict::Unknown),
        (Some("se"), Verdict::Unknown, Verdict::Unknown),
        (Some("seesee"), Verdict::Unknown, Verdict::Unknown),
        (Some("see"), Verdict::Allowed, Verdict::Forbidden),
        (Some("touch"), Verdict::Allowed, Verdict::Allowed),
    ];
    for (shown, read, operate) in table {
        assert_eq!(both.judge(shown, Right::Read), read, "{shown:?}");
        assert_eq!(both.judge(shown, Right::Operate), operate, "{shown:?}");
    }
    let one = Tokens { read: secret("see"), operate: None };
    assert_eq!(one.judge(Some("see"), Right::Operate), Verdict::Forbidden);
    assert_eq!(one.judge(Some(""), Right::Operate), Verdict::Unknown);
    assert_eq!(Tokens::default().judge(None, Right::Operate), Verdict::Allowed);
}

#[test]
fn only_names_of_the_loopback_interface_lead_here() {
    for name in ["localhost", "LocalHost", "127.0.0.1", "127.9.9.9:1", "[::1]", "[::1]:8080"] {
        assert!(is_loopback(name), "{name}");
    }
    for name in [
        "",
        ":8080",
        "localhost.evil.example",
        "evil.example:8080",
        "127.0.0.1.evil.example",
        "192.168.0.1",
        "[127.0.0.1]",
        "::1",
        "[::2]:80",
        "127.0.0.1:x",
        "user@localhost",
    ] {
        assert!(!is_loopback(name), "{name}");
    }
}
