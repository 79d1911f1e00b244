//! What became of each epoch.

use super::{LONGEST_LIFE, PERIOD, Plan, RATE_LIMIT, START, Seen, World};
use nexis_devchain::WeightChange;
use nexis_ports::{Archive as _, SubmitOutcome};
use nexis_protocol::{Hotkey, WeightEpoch, weights};
use nexis_scheduler::{SubmissionRecord, SubmissionState};
use std::ops::Range;

impl World {
    pub(super) async fn judge(&mut self, epochs: Range<u64>, plan: &Plan) -> Seen {
        let mut seen = Seen {
            epochs: plan.epochs,
            ..Seen::default()
        };
        let mut bad = Vec::new();
        let mut missed = 0;
        for epoch in epochs.clone() {
            let record = self.settled(epoch).await;
            let changes: Vec<&WeightChange> = self
                .changes
                .iter()
                .filter(|change| change.block / PERIOD == epoch)
                .collect();
            let told = self.told.lock().unwrap().clone();
            let again = told.iter().filter(|told| **told == (epoch, true)).count();
            let lost = record.as_ref().map_or(0, |record| record.missed_reveals);
            missed += u64::from(lost);
            let done = record
                .as_ref()
                .is_some_and(|record| matches!(record.state, SubmissionState::Done(_)));
            // A commit that the chain dropped is made again, and once, when the epoch lasts long enough for that.
            let heard = told.iter().zip(&self.told_at);
            let heard = heard.filter(|(told, _)| **told == (epoch, true));
            let noticed = heard.map(|(_, at)| *at).max().unwrap_or(0);
            let over = changes.last().is_some_and(|last| {
                let from = noticed.max(last.block + RATE_LIMIT);
                from + LONGEST_LIFE >= (epoch + 1) * PERIOD
            });
            let superseded = !done && lost > 0 && (told.contains(&(epoch, false)) || over);
            let made_again = again > 0 && !(superseded && over && changes.len() == 1);
            seen.superseded += u64::from(superseded);
            seen.committed_again += u64::from(made_again);
            if changes.len() != 1 + usize::from(made_again) || !(done || superseded) || again > 1 {
                let record = record.map(|r| (r.state, r.attempts, r.last_error));
                let changes: Vec<u64> = changes.iter().map(|change| change.block).collect();
                bad.push(format!("epoch {epoch}: {changes:?}, {record:?}"));
            } else if !plan.commit_reveal
                && let Err(why) = self.check_owners(&record.unwrap(), changes[0]).await
            {
                bad.push(format!("epoch {epoch}: {why}"));
            }
        }
        self.log.retain(|line| {
            let block: u64 = line.split(':').next().unwrap().parse().unwrap();
            let epoch = format!("epoch {}:", block / PERIOD);
            block == START || bad.iter().any(|bad| bad.starts_with(&epoch))
        });
        let told = self.told.lock().unwrap().clone();
        assert!(
            bad.is_empty(),
            "seed {}: {bad:#?}\n{:#?}\n{told:?}",
            self.seed,
            self.log
        );
        let alerts = self.alerts.lock().unwrap().clone();
        let mistaken = alerts.iter().find(|what| what.contains("another process"));
        assert_eq!(
            mistaken, None,
            "seed {}: nobody else sets weights",
            self.seed
        );
        seen.reveals_lost = u64::try_from(self.chain.reveals_lost()).unwrap();
        // Those of epochs that came later are not counted in the records.
        let within = told.iter().filter(|(epoch, _)| epochs.contains(epoch));
        assert_eq!(missed, u64::try_from(within.count()).unwrap(), "{told:?}");
        // No false alarm, and no loss without one: the last may not have been looked at yet.
        let alarms = u64::try_from(told.len()).unwrap();
        let lost = seen.reveals_lost;
        assert!(alarms <= lost, "{lost}: {told:?}");
        assert!(lost <= alarms + 1, "{lost}: {told:?}");
        seen
    }

    /// An epoch's record when its end is known, or what there is when that does not come to pass.
    async fn settled(&mut self, epoch: u64) -> Option<SubmissionRecord> {
        // The last commits are opened at most two of the chain's epochs later.
        let mut patience = 4 * u64::from(self.tempo);
        loop {
            let epoch = WeightEpoch::new(epoch);
            let found = SubmissionRecord::load(&self.archive, 0, epoch)
                .await
                .unwrap();
            let settled = found.as_ref().is_some_and(|record| {
                matches!(
                    record.state,
                    SubmissionState::Done(_) | SubmissionState::Missed { .. }
                )
            });
            if settled || patience == 0 {
                return found;
            }
            patience -= 1;
            self.block().await;
        }
    }

    /// Each share goes to the hotkey that it was computed for, as the slots were owned when it was signed: they can
    /// change hands between that and the block that holds it, and nobody can help it.
    async fn check_owners(
        &self,
        record: &SubmissionRecord,
        change: &WeightChange,
    ) -> Result<(), String> {
        let uids: Vec<u16> = record.weights.iter().map(|(uid, ..)| *uid).collect();
        let shares: Vec<f64> = record.weights.iter().map(|(.., share)| *share).collect();
        if change.weights != weights::scale_to_u16(&uids, &shares).unwrap() {
            return Err(format!("{change:?} are not {record:?}"));
        }
        let signed_at = self.signed_at(record).await.ok_or("no signature is kept")?;
        let owners = self.owners.get(&signed_at).ok_or("signed long before")?;
        for (uid, hotkey, share) in &record.weights {
            let owner = Hotkey::from_public_key(&owners[usize::from(*uid)]);
            if *share > 0.0 && owner != *hotkey {
                return Err(format!("slot {uid} was not {hotkey}'s at {signed_at}"));
            }
        }
        Ok(())
    }

    /// The block at which what is on the chain was signed. Signatures are kept by its number and their hash.
    async fn signed_at(&self, record: &SubmissionRecord) -> Option<u64> {
        let SubmissionState::Done(SubmitOutcome::Verified { extrinsic, .. }) = &record.state else {
            return None;
        };
        let folder = format!("submissions/{:012}/", record.epoch.get());
        let names = self.archive.list(&folder).await.unwrap();
        let name = names.iter().find(|name| name.contains(extrinsic))?;
        name[folder.len()..].split('-').next()?.parse().ok()
    }
}
