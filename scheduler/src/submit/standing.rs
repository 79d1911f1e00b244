//! Could weights be set now, and does somebody else set them? Looked at all the time, not only when an epoch's turn
//! has come: an operator has the whole epoch to mend what is wrong.

use super::SubmissionRecord;
use super::alarm::Alarm;
use super::record::Attempt;
use crate::context::Scheduler;
use crate::error::SchedulerError;
use nexis_ports::Standing;
use nexis_protocol::{BlockNumber, WeightEpoch};

/// Blocks between two looks.
const EVERY_BLOCKS: u64 = 10;

/// What is remembered between looks.
#[derive(Default)]
pub(super) struct Watch {
    looked_at: Option<BlockNumber>,
    obstacles: Alarm,
    /// Block of the newest change of our weights that is explained: by a record, or because it was there before us.
    explained: Option<u64>,
}

impl Watch {
    pub(super) async fn look(
        &mut self,
        scheduler: &Scheduler,
        era: u32,
        epoch: WeightEpoch,
        head: BlockNumber,
    ) -> Result<(), SchedulerError> {
        let next = |looked: BlockNumber| looked.get().saturating_add(EVERY_BLOCKS);
        if self
            .looked_at
            .is_some_and(|looked| head.get() < next(looked))
        {
            return Ok(());
        }
        let standing = scheduler.ports.chain.standing(scheduler.netuid()).await?;
        self.looked_at = Some(head);
        self.report_obstacles(scheduler, &standing, head);
        self.look_for_another(scheduler, &standing, era, epoch, head)
            .await
    }

    fn report_obstacles(&mut self, scheduler: &Scheduler, standing: &Standing, head: BlockNumber) {
        let names: Vec<&str> = standing.obstacles.iter().map(|o| o.name.as_str()).collect();
        if names.is_empty() {
            if self.obstacles.clear() {
                tracing::info!("weights can be set again");
            }
            return;
        }
        if self.obstacles.is_due(&names.join(","), head) {
            let all: Vec<String> = standing.obstacles.iter().map(ToString::to_string).collect();
            scheduler.alert(&format!("weights cannot be set: {}", all.join("; ")));
        }
    }

    /// A change of our weights that we did not send was sent by another process that has our hotkey.
    async fn look_for_another(
        &mut self,
        scheduler: &Scheduler,
        standing: &Standing,
        era: u32,
        epoch: WeightEpoch,
        head: BlockNumber,
    ) -> Result<(), SchedulerError> {
        let Some(changed) = standing.last_update else {
            return Ok(());
        };
        // What was there when this process came may be another program's that ran here before.
        let explained = *self.explained.get_or_insert(changed);
        if changed <= explained || changed > head.get() {
            return Ok(());
        }
        let archive = scheduler.ports.archive.as_ref();
        let from = epoch.get().saturating_sub(2);
        let epochs = from..=epoch.get();
        for record in SubmissionRecord::of_epochs(archive, era, epochs).await? {
            if record.included.contains(&changed) {
                self.explained = Some(changed);
                return Ok(());
            }
            // One of ours whose ending is not known yet may be it.
            let open = Attempt::open(archive, era, record.epoch).await?;
            let covers = |attempt: &Attempt| {
                let signed = &attempt.signed;
                signed.signed_at < changed && changed <= signed.last_valid
            };
            if open.iter().any(covers) {
                return Ok(());
            }
        }
        self.explained = Some(changed);
        scheduler.alert(&format!(
            "block {changed} changed the weights of this hotkey and this validator did not send them: another process \
             uses the hotkey. Stop one of them; two validators with one hotkey overwrite each other's weights"
        ));
        Ok(())
    }
}
