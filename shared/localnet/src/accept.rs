//! The accept loop of our small servers.

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// Gives every connection a task of its own that runs `connection`; all of them end with `stop`.
pub(crate) async fn serve<F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    stop: CancellationToken,
    connection: impl Fn(TcpStream) -> F,
) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Out of file descriptors: let some connections end.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        tokio::spawn(stop.clone().run_until_cancelled_owned(connection(stream)));
    }
}
