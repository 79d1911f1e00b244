//! The child of the sandbox tests: the worker's child, which also does what a hostile clip's bytes say.

use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};

use nexis_media::{Layers, child_main_with};

fn main() -> ExitCode {
    let layers = match std::env::args().nth(3).as_deref() {
        Some("without-seccomp") => Layers {
            seccomp: false,
            ..Layers::default()
        },
        Some("without-landlock") => Layers {
            landlock: false,
            ..Layers::default()
        },
        _ => Layers::default(),
    };
    match child_main_with(layers, &mut obey) {
        Some(0) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn obey(clip: &[u8], wire: &mut UnixStream) -> bool {
    static VETERAN: AtomicBool = AtomicBool::new(false);
    let veteran = VETERAN.swap(true, Ordering::Relaxed);
    let Some(order) = clip.strip_prefix(b"hostile ") else {
        return false;
    };
    match order {
        b"lingering" if veteran => std::process::abort(),
        b"abort" => std::process::abort(),
        b"panic" => panic!("as ordered"),
        b"loop" => loop {
            std::hint::spin_loop();
        },
        b"sleep" => loop {
            std::thread::park();
        },
        b"hog" => {
            let mut hog = Vec::new();
            loop {
                hog.push(vec![1u8; 64 << 20]);
                std::hint::black_box(&hog);
            }
        }
        b"deep" => drop(std::hint::black_box(deep(1))),
        b"garbage" => drop(wire.write_all(b"\x09\0\0\0nonsense!")),
        b"endless" => drop(wire.write_all(&[0xff; 64])),
        // The answer is told as a crash: abort when it was let through, an ordinary answer when denied.
        b"open" => forbid(std::fs::File::open("/etc/passwd").is_ok()),
        b"create" => forbid(std::fs::File::create("/tmp/nexis-media-hostile").is_ok()),
        b"list" => forbid(std::fs::read_dir("/").is_ok()),
        b"tcp" => forbid(TcpListener::bind("127.0.0.1:0").is_ok()),
        b"udp" => forbid(UdpSocket::bind("127.0.0.1:0").is_ok()),
        b"unix" => forbid(UnixDatagram::unbound().is_ok()),
        b"run" => forbid(Command::new("/bin/true").spawn().is_ok()),
        b"signals" => {
            let flags = rustix::fs::fcntl_getfl(&*wire).unwrap_or(rustix::fs::OFlags::empty());
            let asked = rustix::fs::fcntl_setfl(&*wire, flags | rustix::fs::OFlags::ASYNC);
            forbid(asked.is_ok());
        }
        b"environment" => forbid(std::env::var_os("PATH").is_some()),
        _ => {}
    }
    false
}

fn forbid(let_through: bool) {
    if let_through {
        std::process::abort();
    }
}

fn deep(level: u64) -> u64 {
    let here = std::hint::black_box([level; 64]);
    if here[63] == u64::MAX {
        return 0;
    }
    deep(here[0] + 1) + here[63]
}
