//! Faults on demand, and the door through which every connection comes: it can drop, silence, delay and turn away.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A fault that the chain plays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Closes every connection.
    DropConnections,
    /// Stops sending anything on every connection, old and new, without closing it; `false` ends it, and closes the
    /// connections that were silent.
    Silence(bool),
    /// Holds back everything the node sends for so long. Zero ends it.
    Delay(Duration),
    /// Turns away so many new connections with HTTP 429 and `Retry-After` in seconds.
    TurnAway {
        /// How many.
        times: u64,
        /// Seconds that the answer asks to wait.
        retry_after: u64,
    },
    /// Closes every connection with WebSocket code 1008, as gateways do.
    ClosePolicy,
    /// Answers so many calls with -32004, as gateways do when a client asks for too much.
    RateLimit(u64),
    /// Fails the next submission with this code and message, after which the transaction is not in the pool.
    SubmitError {
        /// JSON-RPC error code.
        code: i32,
        /// Message.
        message: String,
    },
    /// The next transaction is taken, then reported as usurped and never included.
    Usurped,
    /// The next transaction is taken, then reported as dropped and never included.
    Dropped,
    /// The next transaction is taken, then reported as invalid and never included.
    Invalid,
    /// So many timelocked commits are dropped when their time comes, without an event: what the real chain does with
    /// one that it cannot open or whose weights it refuses.
    LoseReveals(u64),
}

/// What is going wrong at the moment.
pub(crate) struct Faults {
    turn_away: AtomicU64,
    retry_after: AtomicU64,
    rate_limit: AtomicU64,
    delay_ms: AtomicU64,
    silent: AtomicBool,
    /// Calls answered or refused since the start.
    pub calls: AtomicU64,
    /// Bytes sent to clients since the start.
    pub bytes: AtomicU64,
    /// Submissions that fail: code and message.
    pub submissions: Mutex<VecDeque<(i32, String)>>,
    /// Changes when connections must end; the flag says whether with code 1008.
    cut: watch::Sender<(u64, bool)>,
}

impl Faults {
    /// Nothing goes wrong.
    pub fn none() -> Self {
        Self {
            turn_away: AtomicU64::new(0),
            retry_after: AtomicU64::new(1),
            rate_limit: AtomicU64::new(0),
            delay_ms: AtomicU64::new(0),
            silent: AtomicBool::new(false),
            calls: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            submissions: Mutex::new(VecDeque::new()),
            cut: watch::Sender::new((0, false)),
        }
    }

    /// Plays a fault of the connection. Those of transactions belong to the chain.
    pub fn play(&self, fault: &Fault) {
        match fault {
            Fault::DropConnections => self
                .cut
                .send_modify(|(n, policy)| (*n, *policy) = (*n + 1, false)),
            Fault::ClosePolicy => self
                .cut
                .send_modify(|(n, policy)| (*n, *policy) = (*n + 1, true)),
            Fault::Silence(on) => {
                self.silent.store(*on, Ordering::SeqCst);
                if !on {
                    self.play(&Fault::DropConnections);
                }
            }
            Fault::Delay(by) => {
                let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
                self.delay_ms.store(by, Ordering::SeqCst);
            }
            Fault::TurnAway { times, retry_after } => {
                self.retry_after.store(*retry_after, Ordering::SeqCst);
                self.turn_away.store(*times, Ordering::SeqCst);
            }
            Fault::RateLimit(calls) => self.rate_limit.store(*calls, Ordering::SeqCst),
            Fault::SubmitError { code, message } => {
                let mut queue = self
                    .submissions
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                queue.push_back((*code, message.clone()));
            }
            Fault::Usurped | Fault::Dropped | Fault::Invalid | Fault::LoseReveals(_) => {}
        }
    }

    /// Whether this call is refused for asking too much.
    pub fn limited(&self) -> bool {
        self.calls.fetch_add(1, Ordering::Relaxed);
        spend(&self.rate_limit)
    }
}

fn spend(counter: &AtomicU64) -> bool {
    counter
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
        .is_ok()
}

/// A WebSocket close frame with code 1008, from a server.
const CLOSE_1008: &[u8] = &[0x88, 0x02, 0x03, 0xf0];

/// Lets connections through to the node behind until the token is cancelled.
pub(crate) async fn stand_at_door(
    listener: TcpListener,
    behind: SocketAddr,
    faults: std::sync::Arc<Faults>,
    stop: CancellationToken,
) {
    let mut guests = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = guests.join_next(), if !guests.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((guest, _)) => {
                    let faults = std::sync::Arc::clone(&faults);
                    guests.spawn(async move {
                        if let Err(error) = attend(guest, behind, &faults).await {
                            tracing::trace!(%error, "a connection ended");
                        }
                    });
                }
                Err(error) => tracing::debug!(%error, "accepting a connection"),
            },
        }
    }
    guests.shutdown().await;
}

async fn attend(mut guest: TcpStream, behind: SocketAddr, faults: &Faults) -> std::io::Result<()> {
    let mut cut = faults.cut.subscribe();
    if spend(&faults.turn_away) {
        // The request is read first: closing on unread bytes would reset the connection before the answer arrives.
        let mut request = [0; 4_096];
        let _read = guest.read(&mut request).await?;
        let wait = faults.retry_after.load(Ordering::SeqCst);
        let answer = format!(
            "HTTP/1.1 429 Too Many Requests\r\nRetry-After: {wait}\r\nX-RateLimit-Policy: devchain\r\n\
             X-RateLimit-Reason: fault injection\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        guest.write_all(answer.as_bytes()).await?;
        return guest.shutdown().await;
    }
    guest.set_nodelay(true)?;
    let node = TcpStream::connect(behind).await?;
    node.set_nodelay(true)?;
    let (mut from_node, mut to_node) = node.into_split();
    let (mut from_guest, mut to_guest) = guest.split();
    let upwards = async {
        tokio::io::copy(&mut from_guest, &mut to_node)
            .await
            .map(|_| ())
    };
    let downwards = async {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = from_node.read(&mut buffer).await?;
            if count == 0 {
                return Ok(());
            }
            let delay = faults.delay_ms.load(Ordering::SeqCst);
            if delay > 0 {
                tokio::time::sleep(Duration::from_millis(delay)).await;
            }
            if !faults.silent.load(Ordering::SeqCst) {
                let sent = u64::try_from(count).unwrap_or(u64::MAX);
                faults.bytes.fetch_add(sent, Ordering::Relaxed);
                to_guest
                    .write_all(buffer.get(..count).unwrap_or_default())
                    .await?;
            }
        }
    };
    let ended = tokio::select! {
        ended = upwards => Some(ended),
        ended = downwards => Some(ended),
        _ = cut.changed() => None,
    };
    if let Some(ended) = ended {
        return ended;
    }
    if cut.borrow().1 {
        to_guest.write_all(CLOSE_1008).await?;
        to_guest.shutdown().await?;
    }
    Ok(())
}
