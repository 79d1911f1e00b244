//! What a child takes from itself before it reads a byte of input.

use std::collections::BTreeMap;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope, path_beneath_rules,
};
use rustix::process::{Resource, Rlimit, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Width, SeccompCmpOp as Op, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};
use serde::{Deserialize, Serialize};

/// Which layers a child puts on. A worker's child puts on all; the tests take one away to see the other hold.
#[derive(Clone, Copy, Debug)]
pub struct Layers {
    /// File system, TCP and signal rules of landlock.
    pub landlock: bool,
    /// The list of allowed system calls.
    pub seccomp: bool,
}

impl Default for Layers {
    fn default() -> Self {
        Self {
            landlock: true,
            seccomp: true,
        }
    }
}

/// How much of the landlock rules the kernel enforces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Landlock {
    /// All of them: files, TCP, abstract sockets and signals.
    Full,
    /// Those that this kernel knows.
    Partial,
    /// None: the kernel has no landlock, or refused.
    Absent,
}

/// What holds a child, as the kernel granted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    /// A program run by the child could gain no privilege.
    pub no_new_privs: bool,
    /// Only GStreamer's plugin and library folders can be read, nothing can be written or run.
    pub landlock: Landlock,
    /// Only listed system calls pass: no opening, no sockets, no new processes, no tracing.
    pub seccomp: bool,
    /// Address space, descriptors, file size and core size are bounded.
    pub rlimits: bool,
}

impl Isolation {
    /// Every layer holds, whole.
    pub fn is_whole(&self) -> bool {
        self.no_new_privs && self.landlock == Landlock::Full && self.seccomp && self.rlimits
    }
}

/// First step, before GStreamer is started and before there is a second thread: privileges and files.
pub(super) fn before_plugins(layers: Layers) -> Isolation {
    let no_new_privs = rustix::thread::set_no_new_privs(true).is_ok();
    let landlock = if layers.landlock {
        lock_files()
    } else {
        Landlock::Absent
    };
    Isolation {
        no_new_privs,
        landlock,
        seccomp: false,
        rlimits: false,
    }
}

/// Second step, when all code is loaded: limits and system calls, for every thread.
pub(super) fn before_input(layers: Layers, address_space: u64, isolation: &mut Isolation) {
    let limits = [
        (Resource::As, address_space),
        (Resource::Nofile, 64),
        (Resource::Fsize, 0),
        (Resource::Core, 0),
        (Resource::Memlock, 0),
        (Resource::Msgqueue, 0),
    ];
    isolation.rlimits = limits.into_iter().all(|(resource, limit)| {
        let limit = Rlimit {
            current: Some(limit),
            maximum: Some(limit),
        };
        setrlimit(resource, limit).is_ok()
    });
    // A process that cannot be traced or dumped by its like.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable).ok();
    isolation.seccomp = layers.seccomp && lock_calls();
}

/// GStreamer's plugins and the libraries they need.
const READABLE: &[&str] = &[
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/lib",
    "/lib64",
    "/etc/ld.so.cache",
];

fn lock_files() -> Landlock {
    let abi = ABI::V6;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let present = READABLE.iter().filter(|path| Path::new(path).exists());
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(abi)))
        .and_then(|rules| rules.scope(Scope::from_all(abi)))
        .and_then(Ruleset::create)
        .and_then(|rules| rules.add_rules(path_beneath_rules(present, read)))
        .and_then(landlock::RulesetCreated::restrict_self);
    match ruleset.map(|status| status.ruleset) {
        Ok(RulesetStatus::FullyEnforced) => Landlock::Full,
        Ok(RulesetStatus::PartiallyEnforced) => Landlock::Partial,
        Ok(RulesetStatus::NotEnforced) | Err(_) => Landlock::Absent,
    }
}

/// System calls that decoding needs once everything is loaded. Nothing here opens, connects, runs or traces.
const CALLS: &[i64] = &[
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_recvmsg,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_lseek,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_eventfd2,
    libc::SYS_pipe2,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_membarrier,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_set_tid_address,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getattr,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_getcpu,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    libc::SYS_getrusage,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Answered "no such call" by the other filter, so that the C library falls back to `clone`.
    libc::SYS_clone3,
];

#[cfg(target_arch = "x86_64")]
const CALLS_OF_ARCH: &[i64] = &[
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_epoll_wait,
    libc::SYS_dup2,
    libc::SYS_time,
    libc::SYS_arch_prctl,
];
#[cfg(not(target_arch = "x86_64"))]
const CALLS_OF_ARCH: &[i64] = &[];

/// `PR_SET_VMA`: naming of anonymous memory.
const NAME_MEMORY: u64 = 0x5356_4d41;

fn lock_calls() -> bool {
    let (Some(listed), Some(fallback)) = (listed_calls(), no_clone3()) else {
        return false;
    };
    // The list comes last: under it no further filter can be put on.
    seccompiler::apply_filter_all_threads(&fallback)
        .and_then(|()| seccompiler::apply_filter_all_threads(&listed))
        .is_ok()
}

fn arch() -> Option<TargetArch> {
    std::env::consts::ARCH.try_into().ok()
}

fn when(index: u8, width: Width, op: Op, value: u64) -> Option<SeccompRule> {
    let condition = SeccompCondition::new(index, width, op, value).ok()?;
    SeccompRule::new(vec![condition]).ok()
}

fn listed_calls() -> Option<BpfProgram> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = CALLS
        .iter()
        .chain(CALLS_OF_ARCH)
        .map(|call| (*call, Vec::new()))
        .collect();
    let thread = u64::try_from(libc::CLONE_THREAD).ok()?;
    let me = u64::try_from(rustix::process::getpid().as_raw_nonzero().get()).ok()?;
    // Threads of this process, never a new process.
    rules.insert(
        libc::SYS_clone,
        vec![when(0, Width::Qword, Op::MaskedEq(thread), thread)?],
    );
    // Signals to itself (abort), never to others.
    rules.insert(libc::SYS_tgkill, vec![when(0, Width::Dword, Op::Eq, me)?]);
    // Descriptors are kept in order, and never send signals: `F_SETOWN` and `O_ASYNC` would send any to any process.
    rules.insert(libc::SYS_fcntl, descriptor_rules()?);
    // Limits can be read, never set.
    rules.insert(libc::SYS_prlimit64, vec![when(2, Width::Qword, Op::Eq, 0)?]);
    // What GStreamer wakes its threads with. Without it a pipeline's bus keeps what it was told, and with that the
    // whole pipeline, for ever. Nothing outside can be reached by it.
    let local = u64::try_from(libc::AF_UNIX).ok()?;
    rules.insert(
        libc::SYS_socketpair,
        vec![when(0, Width::Dword, Op::Eq, local)?],
    );
    let names = [libc::PR_SET_NAME, libc::PR_GET_NAME]
        .into_iter()
        .filter_map(|option| u64::try_from(option).ok())
        .chain([NAME_MEMORY])
        .map(|option| when(0, Width::Dword, Op::Eq, option))
        .collect::<Option<Vec<_>>>()?;
    rules.insert(libc::SYS_prctl, names);
    let denied = SeccompAction::Errno(u32::try_from(libc::EPERM).ok()?);
    SeccompFilter::new(rules, denied, SeccompAction::Allow, arch()?)
        .ok()?
        .try_into()
        .ok()
}

fn descriptor_rules() -> Option<Vec<SeccompRule>> {
    let plain = [
        libc::F_DUPFD,
        libc::F_DUPFD_CLOEXEC,
        libc::F_GETFD,
        libc::F_SETFD,
        libc::F_GETFL,
    ];
    let mut rules = Vec::new();
    for command in plain {
        let command = u64::try_from(command).ok()?;
        rules.push(when(1, Width::Dword, Op::Eq, command)?);
    }
    let set = u64::try_from(libc::F_SETFL).ok()?;
    let set = SeccompCondition::new(1, Width::Dword, Op::Eq, set).ok()?;
    let signals = u64::try_from(libc::O_ASYNC).ok()?;
    let silent = SeccompCondition::new(2, Width::Dword, Op::MaskedEq(signals), 0).ok()?;
    rules.push(SeccompRule::new(vec![set, silent]).ok()?);
    Some(rules)
}

fn no_clone3() -> Option<BpfProgram> {
    let rules = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let absent = SeccompAction::Errno(u32::try_from(libc::ENOSYS).ok()?);
    SeccompFilter::new(rules, SeccompAction::Allow, absent, arch()?)
        .ok()?
        .try_into()
        .ok()
}
