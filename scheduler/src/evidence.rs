//! A round's evidence in the archive: one object per miner, named after its digest, then the head that names them, then
//! the decisions that follow. Whoever stores the head first decides the interval; a leader that died or slept in the
//! middle leaves objects that no head names. Memory holds one miner's rows at a time.

use crate::barrier;
use crate::context::Scheduler;
use crate::error::SchedulerError;
use crate::jobs::compute;
use crate::ledger::{self, LedgerError, damaged, round_object};
use crate::reduce::{self, Results};
use crate::round::lost;
use nexis_ports::{Archive, Stage};
use nexis_protocol::claim::{Claims, RowFacts};
use nexis_protocol::profile::Profile;
use nexis_protocol::row::Rows;
use nexis_protocol::{Digest, Hotkey, IntervalId, LeaderEpoch};
use nexis_wire::{
    ClipPlan, Evidence, EvidenceEntry, EvidenceHead, MinerEvidence, MinerOutcome, MinerReport,
    PackedRows, ReportOutcome, RoundPlan, Wire,
};
use std::collections::BTreeSet;

fn head_object(interval: IntervalId) -> String {
    round_object(interval, "evidence/head.bin")
}

fn miner_object(interval: IntervalId, digest: Digest) -> String {
    round_object(interval, &format!("evidence/{digest}.bin"))
}

/// What decisions are made of, without the rows.
struct Gathered {
    plan: RoundPlan,
    decided_at: f64,
    clips: ClipPlan,
    reports: Vec<MinerReport>,
    verdicts: Vec<nexis_wire::ClipReport>,
    seen: BTreeSet<Hotkey>,
}

impl Gathered {
    fn new(plan: RoundPlan, decided_at: f64) -> Self {
        Self {
            plan,
            decided_at,
            clips: ClipPlan { miners: Vec::new() },
            reports: Vec::new(),
            verdicts: Vec::new(),
            seen: BTreeSet::new(),
        }
    }

    /// Takes one miner's share; a hotkey that is listed twice has one report and one set of verdicts.
    fn take(&mut self, miner: MinerEvidence, keep_rows: bool) {
        self.clips.miners.push(miner.outcome);
        if !self.seen.insert(miner.hotkey) {
            return;
        }
        let profile = &self.plan.rules.profile;
        let light = |report: MinerReport| match keep_rows {
            true => report,
            false => without_rows(report, profile),
        };
        self.reports.extend(miner.report.map(light));
        self.verdicts.extend(miner.verdicts);
    }

    fn decide(&self) -> ledger::DecisionFile {
        let results = Results {
            plan: &self.plan,
            clips: &self.clips,
            reports: &self.reports,
            verdicts: &self.verdicts,
        };
        let (decisions, absent) = reduce::decide_round(&results, self.decided_at);
        ledger::DecisionFile {
            interval_id: self.plan.interval,
            decisions,
            absent,
        }
    }
}

/// Decisions need no rows and no claims any more.
fn without_rows(mut report: MinerReport, profile: &Profile) -> MinerReport {
    if let ReportOutcome::Screened(screened) = &mut report.outcome {
        screened.rows = PackedRows::pack(Rows::default());
        screened.claims = Claims::collect(Vec::<RowFacts<'_>>::new(), profile);
    }
    report
}

/// What reading a closed round came to.
enum Found {
    /// The board has it no more.
    Gone,
    /// Somebody else's head was first.
    Theirs,
    Ours(Box<Gathered>),
}

impl Scheduler {
    /// Stores a closed round's evidence and the decisions that follow from it. False when the round is gone meanwhile.
    pub(crate) async fn store(
        &self,
        epoch: LeaderEpoch,
        plan: &RoundPlan,
    ) -> Result<bool, SchedulerError> {
        let archive = self.ports.archive.as_ref();
        let interval = plan.interval;
        if load_head(archive, interval).await?.is_none() && !has_old(archive, interval).await? {
            match self.gather(epoch, plan).await? {
                Found::Gone => return Ok(false),
                Found::Theirs => {}
                Found::Ours(gathered) => {
                    let file = compute(move || Ok(gathered.decide())).await?;
                    ledger::store_decisions(archive, &file).await?;
                    return Ok(true);
                }
            }
        }
        // Somebody else's evidence is there: what follows from it is what is decided.
        let file = decisions_of(archive, interval).await?;
        ledger::store_decisions(archive, &file).await?;
        Ok(true)
    }

    /// Reads the round off the board miner by miner, storing what was read.
    async fn gather(&self, epoch: LeaderEpoch, plan: &RoundPlan) -> Result<Found, SchedulerError> {
        let board = self.ports.board.as_ref();
        let archive = self.ports.archive.as_ref();
        let interval = plan.interval;
        let Some(clips) = self.clip_plan(interval).await? else {
            return Ok(Found::Gone);
        };
        let late = board.late(interval).await?;
        let late = late.into_iter().map(|(id, _)| id.to_string()).collect();
        // The archive knows no epochs, but what it holds of a round is written once; this only spares an old
        // leader's useless evidence.
        board
            .set_fact(epoch, "deciding", interval.to_string().into_bytes())
            .await?;
        let mut gathered = Gathered::new(plan.clone(), (self.options.clock)());
        let (mut entries, mut counted) = (Vec::new(), 0);
        for (miner, outcome) in plan.miners.iter().zip(clips.miners) {
            let (miner, verdicts) = self.read_miner(interval, &miner.hotkey, outcome).await?;
            if !gathered.seen.contains(&miner.hotkey) {
                counted += verdicts;
            }
            let (bytes, miner) = compute(move || Ok((miner.encode_checked()?, miner))).await?;
            let digest = Digest::of(&bytes);
            archive
                .create(&miner_object(interval, digest), &bytes)
                .await?;
            entries.push(EvidenceEntry {
                hotkey: miner.hotkey.clone(),
                digest,
            });
            gathered.take(miner, false);
        }
        self.check_closed(interval, counted).await?;
        let head = EvidenceHead {
            plan: gathered.plan.clone(),
            late,
            decided_at: gathered.decided_at,
            miners: entries,
        };
        let bytes = head.encode_checked()?;
        let first = archive.create(&head_object(interval), &bytes).await?;
        Ok(if first {
            Found::Ours(Box::new(gathered))
        } else {
            Found::Theirs
        })
    }

    /// One miner's share of a closed round, and the number of its verdicts on the board.
    async fn read_miner(
        &self,
        interval: IntervalId,
        hotkey: &Hotkey,
        outcome: MinerOutcome,
    ) -> Result<(MinerEvidence, u64), SchedulerError> {
        let board = self.ports.board.as_ref();
        let report = match &outcome {
            // One that came after the barrier counts for nothing.
            MinerOutcome::Absent => None,
            MinerOutcome::Rejected { .. } | MinerOutcome::Judged { .. } => {
                let reports = board.results_of(interval, Stage::Miners, hotkey).await?;
                let read = reports
                    .into_iter()
                    .map(|(id, bytes)| (barrier::read_report(&id, &bytes), id))
                    .next();
                match (read, &outcome) {
                    (Some((Ok(report), _)), _) => Some(report),
                    // What arbitration took for it as well.
                    (Some((Err(why), id)), MinerOutcome::Rejected { .. }) => {
                        Some(barrier::exception(&id, &why))
                    }
                    (Some((Err(why), _)), _) => {
                        return Err(lost(&format!("the report of {hotkey}: {why}")));
                    }
                    (None, _) => return Err(lost(&format!("the report of {hotkey} is gone"))),
                }
            }
        };
        let verdicts = board.results_of(interval, Stage::Clips, hotkey).await?;
        let count = verdicts.len() as u64;
        let verdicts = verdicts
            .iter()
            .filter_map(|(id, bytes)| barrier::read_verdict(id, bytes))
            .collect();
        let miner = MinerEvidence {
            hotkey: hotkey.clone(),
            report,
            outcome,
            verdicts,
        };
        Ok((miner, count))
    }

    /// Compares the verdicts that were read with those that were counted when the stage was closed.
    async fn check_closed(&self, interval: IntervalId, read: u64) -> Result<(), SchedulerError> {
        let board = self.ports.board.as_ref();
        let counted = board.plan(interval, Stage::Closed).await?;
        // A version before this one wrote no count.
        let counted = counted.and_then(|text| String::from_utf8(text).ok()?.parse::<u64>().ok());
        match counted {
            Some(counted) if counted != read => Err(lost(&format!(
                "{counted} verdicts were counted when its last stage closed and {read} are there"
            ))),
            _ => Ok(()),
        }
    }
}

async fn has_old(archive: &dyn Archive, interval: IntervalId) -> Result<bool, LedgerError> {
    let name = round_object(interval, "evidence.bin");
    Ok(archive.get(&name).await?.is_some())
}

async fn load_head(
    archive: &dyn Archive,
    interval: IntervalId,
) -> Result<Option<EvidenceHead>, LedgerError> {
    let name = head_object(interval);
    let Some(bytes) = archive.get(&name).await? else {
        return Ok(None);
    };
    EvidenceHead::decode(&bytes)
        .map(Some)
        .map_err(|fault| damaged(&name, fault))
}

async fn load_miner(
    archive: &dyn Archive,
    interval: IntervalId,
    entry: &EvidenceEntry,
) -> Result<MinerEvidence, LedgerError> {
    let name = miner_object(interval, entry.digest);
    let bytes = archive
        .get(&name)
        .await?
        .ok_or_else(|| LedgerError::Missing(name.clone()))?;
    if Digest::of(&bytes) != entry.digest {
        return Err(damaged(&name, "its digest is not the one in its name"));
    }
    let miner = MinerEvidence::decode(&bytes).map_err(|fault| damaged(&name, fault))?;
    if miner.hotkey != entry.hotkey {
        return Err(damaged(&name, "it is another miner's"));
    }
    Ok(miner)
}

async fn gather_stored(
    archive: &dyn Archive,
    head: EvidenceHead,
    keep_rows: bool,
) -> Result<Gathered, LedgerError> {
    let interval = head.plan.interval;
    let mut gathered = Gathered::new(head.plan, head.decided_at);
    for entry in &head.miners {
        let miner = load_miner(archive, interval, entry).await?;
        gathered.take(miner, keep_rows);
    }
    Ok(gathered)
}

/// The decisions that follow from what is stored.
async fn decisions_of(
    archive: &dyn Archive,
    interval: IntervalId,
) -> Result<ledger::DecisionFile, SchedulerError> {
    let gathered = match load_head(archive, interval).await? {
        Some(head) => gather_stored(archive, head, false).await?,
        None => from_old(load_old(archive, interval).await?),
    };
    compute(move || Ok(gathered.decide())).await
}

fn from_old(evidence: Evidence) -> Gathered {
    Gathered {
        plan: evidence.plan,
        decided_at: evidence.decided_at,
        clips: evidence.clips,
        reports: evidence.reports,
        verdicts: evidence.verdicts,
        seen: BTreeSet::new(),
    }
}

/// Evidence in one piece, as versions before this one stored it.
async fn load_old(archive: &dyn Archive, interval: IntervalId) -> Result<Evidence, LedgerError> {
    let name = round_object(interval, "evidence.bin");
    let bytes = archive
        .get(&name)
        .await?
        .ok_or_else(|| LedgerError::Missing(head_object(interval)))?;
    Evidence::decode(&bytes).map_err(|fault| damaged(&name, fault))
}

/// The stored evidence of an interval, in one piece.
pub(crate) async fn load(
    archive: &dyn Archive,
    interval: IntervalId,
) -> Result<Evidence, LedgerError> {
    let Some(head) = load_head(archive, interval).await? else {
        return load_old(archive, interval).await;
    };
    let late = head.late.clone();
    let mut gathered = gather_stored(archive, head, true).await?;
    gathered.reports.sort_by(|a, b| a.hotkey.cmp(&b.hotkey));
    let key = |one: &nexis_wire::ClipReport| (one.hotkey.clone(), one.row);
    gathered.verdicts.sort_by_key(key);
    Ok(Evidence {
        plan: gathered.plan,
        reports: gathered.reports,
        clips: gathered.clips,
        verdicts: gathered.verdicts,
        late,
        decided_at: gathered.decided_at,
    })
}
