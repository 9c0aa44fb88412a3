//! Small packets that do not wait: `TCP_NODELAY` for the sessions of this process.
//!
//! sqlx opens its sockets without it and offers no way to set it. The end of a COPY, a few bytes
//! behind its last rows, would then wait for the server's acknowledgement of these, which the
//! server delays by some 40 ms, as it has nothing to say yet. So the sockets are found among the
//! open files of the process. Duplicates of them are taken by their numbers, as the number alone is
//! no permission to use a file.
//!
//! Where the system does not allow that (a container that denies `pidfd_getfd`), sessions are
//! slower and nothing else.

use std::net::TcpStream;
use std::os::fd::{AsFd as _, BorrowedFd, RawFd};

use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

/// Lets all connections of this process to that port send at once.
pub(super) fn send_at_once(port: u16) {
    let Ok(own) = pidfd_open(getpid(), PidfdFlags::empty()) else { return };
    let Ok(files) = std::fs::read_dir("/proc/self/fd") else { return };
    for file in files.flatten() {
        let is_socket = std::fs::read_link(file.path())
            .is_ok_and(|target| target.as_os_str().as_encoded_bytes().starts_with(b"socket:"));
        let number = file.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok());
        if let (true, Some(number)) = (is_socket, number) {
            set(own.as_fd(), number, port);
        }
    }
}

fn set(own: BorrowedFd<'_>, number: RawFd, port: u16) {
    // It may have been closed meanwhile, which is nothing to complain about.
    let Ok(duplicate) = pidfd_getfd(own, number, PidfdGetfdFlags::empty()) else { return };
    let socket = TcpStream::from(duplicate);
    // Sockets of another kind have no port.
    if socket.peer_addr().is_ok_and(|peer| peer.port() == port) {
        let _ = socket.set_nodelay(true);
    }
}
