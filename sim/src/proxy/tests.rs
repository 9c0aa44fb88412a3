//! The proxy between a client and an echo, and the addresses in frames.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::kafka::{Answers, replace};
use super::{Direction, Link, Protocol, start};

const LONG: Duration = Duration::from_millis(80);

#[allow(clippy::disallowed_methods, reason = "the machine's time is what is tested")]
async fn within<T>(limit: Duration, what: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(limit, what).await.ok()
}

/// Runs a test with a connection through a proxy to a server that answers what it hears.
fn with_echo<F: Future<Output = ()>>(test: impl FnOnce(TcpStream, Link) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("the machine gives a runtime").block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let target = listener.local_addr().expect("it listens").to_string();
        super::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                super::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        let link = Link::default();
        let address = start(&target, Protocol::Plain, link.clone()).await.expect("a free port");
        test(TcpStream::connect(address).await.expect("the proxy listens"), link).await;
    });
}

async fn echo(stream: &mut TcpStream) {
    stream.write_all(b"ping").await.expect("open");
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await.expect("open");
    assert_eq!(&answer, b"ping");
}

#[test]
fn bytes_pass_and_come_late_when_the_link_is_slow() {
    with_echo(|mut stream, link| async move {
        echo(&mut stream).await;
        link.delay(LONG);
        assert!(within(LONG, echo(&mut stream)).await.is_none(), "both ways take as long");
        link.hurry(LONG);
    });
}

#[test]
fn a_held_direction_stands_still_until_the_last_hold_ends() {
    with_echo(|mut stream, link| async move {
        link.hold(Direction::ToClient);
        link.hold(Direction::ToClient);
        stream.write_all(b"ping").await.expect("open");
        let mut answer = [0; 4];
        link.release(Direction::ToClient);
        assert!(within(LONG, stream.read_exact(&mut answer)).await.is_none());
        link.release(Direction::ToClient);
        assert!(within(LONG * 10, stream.read_exact(&mut answer)).await.is_some());
        assert_eq!(&answer, b"ping");
    });
}

#[test]
fn a_reset_ends_open_connections_and_no_later_ones() {
    with_echo(|mut stream, link| async move {
        echo(&mut stream).await;
        let address = stream.peer_addr().expect("connected");
        link.reset();
        let mut rest = Vec::new();
        let ended = within(LONG * 10, stream.read_to_end(&mut rest)).await;
        assert!(ended.is_some() && rest.is_empty());
        echo(&mut TcpStream::connect(address).await.expect("the proxy listens")).await;
    });
}

/// A frame with this content.
fn frame(content: &[&[u8]]) -> Vec<u8> {
    let content = content.concat();
    let size = i32::try_from(content.len()).expect("short").to_be_bytes();
    [&size[..], &content].concat()
}

#[test]
fn addresses_of_brokers_and_coordinators_are_found_and_replaced() {
    let host = b"broker.example";
    let port = 9_092_i32.to_be_bytes();
    let old_host = [&[0, 14][..], host].concat();
    let new_host = [&[15][..], host].concat();
    let (id, node, none) = ([0, 0, 0, 7], [0, 0, 0, 1], [0, 0, 0, 0]);
    let answers: [(i16, i16, Vec<u8>); 4] = [
        (3, 1, frame(&[&id, &[0, 0, 0, 1], &node, &old_host, &port, &[0xff, 0xff], b"rest"])),
        (3, 12, frame(&[&id, &[0], &none, &[2], &node, &new_host, &port, &[0], &[0], b"rest"])),
        (10, 2, frame(&[&id, &none, &[0, 0], &[0xff, 0xff], &node, &old_host, &port])),
        (10, 4, frame(&[&id, &[0], &none, &[2], &[2, b'g'], &node, &new_host, &port, &[0; 4]])),
    ];
    let proxy = "127.0.0.1:7".parse().expect("an address");
    for (key, version, answer) in answers {
        let expected = Answers::default();
        let request = frame(&[&key.to_be_bytes(), &version.to_be_bytes(), &id]);
        expected.expect(&request);
        let found = expected.addresses(&answer);
        assert_eq!(found.len(), 1, "{key} in version {version}");
        assert_eq!((found[0].host.as_str(), found[0].port), ("broker.example", 9_092));
        let changed = replace(&answer, &[(found[0].clone(), proxy)]);
        assert_eq!(changed.len() + 5, answer.len(), "the new name is shorter");
        expected.expect(&request);
        let again = expected.addresses(&changed);
        assert_eq!((again[0].host.as_str(), again[0].port), ("127.0.0.1", 7));
        assert!(expected.addresses(&answer).is_empty(), "an answer that nobody asked for");
    }
}
