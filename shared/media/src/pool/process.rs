//! One child as its parent sees it: started, asked, watched, ended.

use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nexis_protocol::picture::{PictureChecks, Pictures, Sight};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::{Asked, Look, PoolError, PoolOptions, Undecodable};
use crate::facts::Facts;
use crate::frames::Frame;
use crate::probe::Probed;
use crate::sandbox::{
    Answer, Ask, CHILD_ARGUMENT, CHILD_ENVIRONMENT, Hello, Isolation, NoSize, TalkError,
    read_frame, send_ask,
};

/// Longest hello, bytes.
const HELLO_LIMIT: usize = 64 << 10;
/// Longest answer without pictures, bytes.
const SMALL_LIMIT: usize = 8 << 10;
/// Longest answer with pictures, bytes.
const PICTURES_LIMIT: usize = 64 << 20;
/// Longest explanation in an answer, bytes.
const WORDS_LIMIT: usize = 4 << 10;
/// How long a child that has hung up may take to be gone.
const LAST_BREATH: Duration = Duration::from_millis(500);

/// A running child. It is killed and reaped when this is dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    stream: UnixStream,
    /// Held open: its end tells the child that we are gone.
    _lifeline: UnixStream,
    /// Clips it was asked about.
    pub(super) clips: u32,
    id: u64,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Process {
    /// Starts a child with so many bytes of address space without waiting for it.
    pub(super) fn spawn(options: &PoolOptions, memory: u64) -> Result<Self, PoolError> {
        let (stream, theirs) = UnixStream::pair().map_err(PoolError::Start)?;
        let (lifeline, their_end) = UnixStream::pair().map_err(PoolError::Start)?;
        let program = options
            .program
            .clone()
            .unwrap_or_else(|| "/proc/self/exe".into());
        let child = Command::new(program)
            .arg(CHILD_ARGUMENT)
            .arg(memory.to_string())
            .args(&options.arguments)
            .env_clear()
            .envs(CHILD_ENVIRONMENT.iter().copied())
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(OwnedFd::from(their_end)))
            .stderr(Stdio::null())
            .spawn()
            .map_err(PoolError::Start)?;
        // When memory runs out, the kernel takes a child first. A kernel that refuses changes nothing else.
        fs::write(format!("/proc/{}/oom_score_adj", child.id()), "1000").ok();
        Ok(Self {
            child,
            stream,
            _lifeline: lifeline,
            clips: 0,
            id: 0,
        })
    }

    /// Waits for its hello.
    pub(super) fn ready(
        &mut self,
        within: Duration,
    ) -> Result<(Isolation, Vec<String>), PoolError> {
        let deadline = Instant::now() + within;
        let hello: Hello = read_frame(&mut self.stream, HELLO_LIMIT, Some(deadline))
            .map_err(|_| PoolError::NoHello)?;
        Ok((
            hello.isolation,
            hello.plugins.map_err(PoolError::GStreamer)?,
        ))
    }

    /// Starts a child with so many bytes of address space and waits for it.
    pub(super) fn begin(options: &PoolOptions, memory: u64) -> Result<Self, PoolError> {
        let mut process = Self::spawn(options, memory)?;
        process.ready(options.start)?;
        Ok(process)
    }

    /// Asks about a clip. A child that was lost on the way must not be asked again.
    pub(super) fn look(
        &mut self,
        asked: Asked<'_>,
        deadline: Instant,
        cpu: Duration,
    ) -> Result<Look, PoolError> {
        let sight = asked.sight;
        let asset = asked.asset.filter(|_| sight != PictureChecks::Off);
        let asset = asset.unwrap_or_default();
        let memory = in_memory(&[asked.clip, asset]).map_err(PoolError::HandOver)?;
        self.clips += 1;
        self.id += 1;
        self.bound_cpu(cpu);
        let ask = Ask {
            id: self.id,
            length: asked.clip.len() as u64,
            asset: asset.len() as u64,
            sight,
            pictures: asked.pictures,
            frames: asked.budget.frames,
            pixels: asked.budget.pixels,
            time_ms: u64::try_from(asked.budget.time.as_millis()).unwrap_or(u64::MAX),
        };
        if send_ask(&self.stream, ask, &memory).is_err() {
            // It died at rest, which no clip of ours did: this clip gets another child.
            return Ok(Look::nothing(Undecodable::Died(libc::SIGKILL)));
        }
        let size = match self.size(deadline) {
            Ok(size) => size,
            Err(fault) => return Ok(Look::nothing(fault)),
        };
        let mut look = Look {
            size,
            pictures: Ok(Vec::new()),
            facts: Facts::default(),
            seen: Pictures::default(),
            lost: None,
        };
        if asked.pictures > 0 {
            match self.pictures(asked.pictures, deadline) {
                Ok(found) => look.pictures = found.map_err(Undecodable::Refused),
                Err(fault) => {
                    look.pictures = Err(fault.clone());
                    look.lost = Some(fault);
                    return Ok(look);
                }
            }
        }
        look.lost = self.beside(ask, deadline, &mut look).err();
        Ok(look)
    }

    /// Reads the answers that no verdict depends on.
    fn beside(&mut self, ask: Ask, deadline: Instant, look: &mut Look) -> Result<(), Undecodable> {
        match self.answer(SMALL_LIMIT, deadline)? {
            Answer::Facts(id, facts) if id == ask.id && facts.are_plausible() => look.facts = facts,
            _ => return Err(Undecodable::Nonsense),
        }
        if ask.sight == PictureChecks::Off {
            return Ok(());
        }
        // Until something better is known: a child that dies of a picture has not decoded it.
        look.seen.first = Sight::Undecodable;
        match self.answer(SMALL_LIMIT, deadline)? {
            Answer::Sight(id, first, marks) if id == ask.id && marks.len() <= ask.wanted() => {
                look.seen.first = first;
                look.seen.sampled = marks;
            }
            _ => return Err(Undecodable::Nonsense),
        }
        if ask.asset == 0 {
            return Ok(());
        }
        look.seen.asset = Sight::Undecodable;
        match self.answer(SMALL_LIMIT, deadline)? {
            Answer::Asset(id, sight) if id == ask.id => look.seen.asset = sight,
            _ => return Err(Undecodable::Nonsense),
        }
        Ok(())
    }

    fn answer(&mut self, limit: usize, deadline: Instant) -> Result<Answer, Undecodable> {
        read_frame(&mut self.stream, limit, Some(deadline)).map_err(|error| self.fault(&error))
    }

    fn size(&mut self, deadline: Instant) -> Result<Result<Probed, Undecodable>, Undecodable> {
        match self.answer(SMALL_LIMIT, deadline)? {
            Answer::Size(id, Ok(probed)) if id == self.id && plausible(&probed) => Ok(Ok(probed)),
            Answer::Size(id, Err(NoSize::Memory)) if id == self.id => Ok(Err(Undecodable::Memory)),
            Answer::Size(id, Err(NoSize::Refused(words)))
                if id == self.id && words.len() <= WORDS_LIMIT =>
            {
                Ok(Err(Undecodable::Refused(words)))
            }
            _ => Err(Undecodable::Nonsense),
        }
    }

    fn pictures(
        &mut self,
        wanted: u8,
        deadline: Instant,
    ) -> Result<Result<Vec<Frame>, String>, Undecodable> {
        match self.answer(PICTURES_LIMIT, deadline)? {
            Answer::Pictures(id, Ok(found))
                if id == self.id && found.len() <= usize::from(wanted) && all_jpeg(&found) =>
            {
                Ok(Ok(found))
            }
            Answer::Pictures(id, Err(words)) if id == self.id && words.len() <= WORDS_LIMIT => {
                Ok(Err(words))
            }
            _ => Err(Undecodable::Nonsense),
        }
    }

    fn fault(&mut self, error: &TalkError) -> Undecodable {
        match error {
            TalkError::Deadline => Undecodable::Deadline,
            TalkError::TooLong | TalkError::Garbled => Undecodable::Nonsense,
            TalkError::Ended | TalkError::Read(_) => self.last_breath(),
        }
    }

    /// How a child that has hung up ended. One that is still there has only closed its socket.
    fn last_breath(&mut self) -> Undecodable {
        let end = Instant::now() + LAST_BREATH;
        while Instant::now() < end {
            match self.child.try_wait() {
                Ok(Some(status)) => {
                    return status
                        .signal()
                        .map_or(Undecodable::GaveUp, Undecodable::Died);
                }
                Ok(None) => std::thread::sleep(Duration::from_millis(1)),
                Err(_) => break,
            }
        }
        Undecodable::Nonsense
    }

    /// Lets the child use `cpu` more; the kernel ends it with SIGXCPU. Where that cannot be set (it is only
    /// refused when the child runs as somebody else), the wall time still holds.
    fn bound_cpu(&self, cpu: Duration) {
        let Some(used) = used_cpu(self.child.id()) else {
            return;
        };
        let limit = Rlimit {
            current: Some((used + cpu).as_secs() + 1),
            maximum: None,
        };
        prlimit(Some(Pid::from_child(&self.child)), Resource::Cpu, limit).ok();
    }
}

/// CPU time of a process so far (proc(5): `utime` and `stime`, in hundredths of a second).
fn used_cpu(id: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system).saturating_mul(10)))
}

/// The parts, one after the other, in anonymous memory that nobody can change any more.
fn in_memory(parts: &[&[u8]]) -> std::io::Result<OwnedFd> {
    let memory = memfd_create("clip", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = fs::File::from(memory);
    for part in parts {
        file.write_all(part)?;
    }
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    fcntl_add_seals(&file, seals)?;
    Ok(file.into())
}

fn plausible(probed: &Probed) -> bool {
    let name = &probed.codec;
    (1..=32).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

fn all_jpeg(pictures: &[Frame]) -> bool {
    pictures.iter().all(|picture| {
        picture.jpeg.starts_with(&[0xff, 0xd8]) && picture.jpeg.ends_with(&[0xff, 0xd9])
    })
}
