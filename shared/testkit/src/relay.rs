use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// A service address: new connections go to the target of the moment, old ones stay where they are, as with a DNS name
/// or a virtual address after a failover.
pub struct Relay {
    port: u16,
    target: Arc<Mutex<u16>>,
}

impl Relay {
    /// Listens on a free port and passes everything on to the target's.
    pub fn to(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let target = Arc::new(Mutex::new(target));
        let current = Arc::clone(&target);
        // Ends with the test process: a blocked accept cannot be asked to stop.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let port = *current.lock().unwrap_or_else(PoisonError::into_inner);
                // A target that is down shows as a connection that closes at once.
                if let Ok(server) =
                    TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
                {
                    pass_on(&client, &server);
                    pass_on(&server, &client);
                }
            }
        });
        Self { port, target }
    }

    /// The port that clients connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on new connections go to this port.
    pub fn point_to(&self, target: u16) {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = target;
    }
}

fn pass_on(from: &TcpStream, to: &TcpStream) {
    let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else {
        return;
    };
    std::thread::spawn(move || {
        copy(&mut from, &mut to).ok();
        to.shutdown(Shutdown::Both).ok();
        from.shutdown(Shutdown::Both).ok();
    });
}

fn copy(from: &mut TcpStream, to: &mut TcpStream) -> io::Result<()> {
    let mut buffer = [0; 16 << 10];
    loop {
        let count = from.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
            return Ok(());
        };
        to.write_all(bytes)?;
    }
}
