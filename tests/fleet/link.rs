//! A connection that can be cut: a relay between one process and one server.

use std::net::{Ipv4Addr, SocketAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How a link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Carries everything.
    Up,
    /// Breaks what is connected and refuses what is new.
    Cut,
    /// Takes everything and delivers nothing until it is up again.
    Silent,
}

/// A relay in front of a server.
pub struct Link {
    address: SocketAddr,
    state: watch::Sender<State>,
    _running: DropGuard,
}

impl Link {
    pub async fn to(port: u16) -> Self {
        Self::between(Ipv4Addr::LOCALHOST, port).await
    }

    /// A relay that listens on an address of its own.
    pub async fn between(address: Ipv4Addr, port: u16) -> Self {
        let listener = TcpListener::bind((address, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let state = watch::Sender::new(State::Up);
        let stop = CancellationToken::new();
        let (states, stopped) = (state.clone(), stop.clone());
        tokio::spawn(async move {
            let serve = async {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(carry(stream, port, states.subscribe(), stopped.clone()));
                }
            };
            tokio::select! {
                () = stopped.cancelled() => {}
                () = serve => {}
            }
        });
        Self {
            address,
            state,
            _running: stop.drop_guard(),
        }
    }

    /// Host and port, as a process takes them.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    pub fn set(&self, state: State) {
        self.state.send_replace(state);
    }
}

async fn carry(
    from: TcpStream,
    port: u16,
    mut states: watch::Receiver<State>,
    stop: CancellationToken,
) {
    // Closing with zero linger is a reset, as when the other side's machine is gone.
    from.set_zero_linger().ok();
    if *states.borrow() == State::Cut {
        return;
    }
    let Ok(to) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else {
        return;
    };
    for stream in [&from, &to] {
        stream.set_nodelay(true).ok();
    }
    let (from_read, from_write) = from.into_split();
    let (to_read, to_write) = to.into_split();
    let (there, back) = (states.clone(), states.clone());
    tokio::select! {
        () = stop.cancelled() => {}
        _ = states.wait_for(|state| *state == State::Cut) => {}
        () = copy(from_read, to_write, there) => {}
        () = copy(to_read, from_write, back) => {}
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut states: watch::Receiver<State>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read) = from.read(&mut buffer).await {
        if read == 0
            || states
                .wait_for(|state| *state != State::Silent)
                .await
                .is_err()
            || to.write_all(&buffer[..read]).await.is_err()
        {
            return;
        }
    }
}
