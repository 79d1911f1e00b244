//! What goes wrong in a world: as its seed draws it, or one thing that a test is about.

use super::{CALL, LEASE, PERIOD, World, hotkey};
use nexis_devchain::{Fault, GenesisNeuron, Spec};
use nexis_protocol::WeightEpoch;
use nexis_scheduler::{SubmissionRecord, SubmissionState};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long the node says nothing, longer than its clients bear it.
const SILENCE: Duration = Duration::from_millis(400);

impl World {
    pub(super) async fn disturb(&mut self) -> String {
        match self.draws.below(12) {
            0 => self.fault(Fault::Usurped),
            1 => self.fault(Fault::Dropped),
            2 => self.fault(Fault::Invalid),
            3 => self.refuse(1014, "Priority is too low"),
            4 => self.refuse(1012, "Transaction is temporarily banned"),
            5 => self.refuse(1013, "Transaction Already Imported"),
            6 => {
                let depth = self.chain.reorganise(1 + self.draws.below(2));
                format!("reorganised {depth} blocks")
            }
            7 | 8 => {
                let which = self.draws.pick(2);
                self.schedulers.remove(which).0.abort();
                self.clock.advance(LEASE * 2);
                self.scheduler();
                format!("scheduler {which} replaced")
            }
            9 => {
                let spec = [Spec::S439, Spec::S461][self.draws.pick(2)];
                self.chain.set_spec(spec).unwrap();
                format!("runtime {spec:?}")
            }
            10 => {
                let uid = 1 + u16::try_from(self.draws.below(5)).unwrap();
                let stranger = hotkey(&format!("//Stranger{}", self.draws.below(1_000)));
                let neuron = GenesisNeuron {
                    hotkey: stranger.public_key(),
                    stake_rao: 0,
                    permit: false,
                };
                // Never so many that nobody who was scored is left.
                if uid != 1 {
                    self.chain.register_neuron(&neuron, Some(uid));
                }
                format!("slot {uid} changed hands")
            }
            _ => self.disturb_connection().await,
        }
    }

    pub(super) async fn disturb_connection(&mut self) -> String {
        match self.draws.below(6) {
            0 => self.fault(Fault::DropConnections),
            1 => self.fault(Fault::ClosePolicy),
            2 => {
                self.chain.fault(&Fault::Silence(true));
                self.a_block_under_a_fault(SILENCE).await;
                self.fault(Fault::Silence(false))
            }
            3 => {
                self.chain.fault(&Fault::Delay(Duration::from_millis(60)));
                self.a_block_under_a_fault(CALL).await;
                self.fault(Fault::Delay(Duration::ZERO))
            }
            4 => {
                self.chain.fault(&Fault::TurnAway {
                    times: 3,
                    retry_after: 0,
                });
                self.fault(Fault::DropConnections)
            }
            _ => self.fault(Fault::RateLimit(2)),
        }
    }

    /// A block comes while something is wrong: until everybody has seen it nevertheless, or for so long.
    async fn a_block_under_a_fault(&mut self, at_most: Duration) {
        self.chain.new_block();
        self.tell_of_blocks();
        self.is_quiet_within(Instant::now(), at_most).await;
    }

    pub(super) fn fault(&self, fault: Fault) -> String {
        self.chain.fault(&fault);
        format!("{fault:?}")
    }

    fn refuse(&self, code: i32, message: &str) -> String {
        self.fault(Fault::SubmitError {
            code,
            message: message.to_owned(),
        })
    }

    pub(super) async fn take_slots(&mut self, end: u64) {
        let mut taken_in = 0;
        while self.chain.finalized().number < end {
            self.all_saw_the_last().await;
            let epoch = self.chain.head().number / PERIOD;
            if self.chain.pooled() > 0 && taken_in != epoch {
                let stranger = GenesisNeuron {
                    hotkey: hotkey(&format!("//Stranger{epoch}")).public_key(),
                    stake_rao: 0,
                    permit: false,
                };
                self.chain.register_neuron(&stranger, Some(2));
                taken_in = epoch;
            } else {
                self.chain.new_block();
            }
            self.tell_of_blocks();
        }
        assert!(taken_in > 0, "no slot was taken");
    }

    pub(super) async fn sleep_too_long(&mut self, end: u64) {
        let slept = loop {
            self.block().await;
            let (last, best) = (self.chain.finalized().number, self.chain.head().number);
            if let Some(change) = self.chain.weight_changes(0, last + 1..best + 1).first() {
                break change.block;
            }
        };
        for (task, _) in self.schedulers.drain(..) {
            task.abort();
        }
        // Into the next epoch, but not beyond it: it was noted, and is still submitted.
        self.chain.new_blocks(PERIOD);
        self.clock.advance(LEASE * 2);
        self.scheduler();
        self.scheduler();
        self.until(end).await;
        let epoch = WeightEpoch::new(slept / PERIOD);
        let record = SubmissionRecord::load(&self.archive, 0, epoch)
            .await
            .unwrap();
        let record = record.unwrap();
        let SubmissionState::Missed { last } = &record.state else {
            panic!("{record:?}");
        };
        assert!(last.contains("the node has forgotten"), "{last}");
    }

    /// Each of two schedulers is followed by a new one when it dies as the leader.
    pub(super) async fn lose_leaders(&mut self, end: u64) {
        while self.chain.finalized().number + PERIOD < end {
            let turn = (self.chain.finalized().number / PERIOD + 1) * PERIOD;
            self.until(turn - 1).await;
            // The older ones come first.
            let leads = self.leader.load(Ordering::SeqCst);
            let place = usize::from(leads == self.started);
            self.schedulers.remove(place).0.abort();
            self.clock.advance(LEASE * 2);
            let (begun, head) = (Instant::now(), self.chain.head().number);
            self.scheduler();
            let in_block = loop {
                self.block().await;
                let best = self.chain.head().number;
                if let Some(change) = self.chain.weight_changes(0, head + 1..best + 1).first() {
                    break change.block;
                }
            };
            let (blocks, took) = (in_block - head, begun.elapsed());
            eprintln!("takeover to weights in a block: {blocks} blocks, {took:?}");
            // One makes the epoch's first block final, the next one holds them; the rest is for a machine that has
            // other things to do.
            assert!(blocks <= 8, "{blocks} blocks");
        }
        self.until(end).await;
    }

    pub(super) async fn lose_leases(&mut self, end: u64) {
        let mut lost_at = 0;
        while self.chain.finalized().number < end {
            self.block().await;
            let (last, best) = (self.chain.finalized().number, self.chain.head().number);
            let fresh = self.chain.weight_changes(0, last + 1..best + 1);
            if let Some(change) = fresh.last()
                && change.block != lost_at
            {
                lost_at = change.block;
                self.clock.advance(LEASE * 2);
            }
        }
    }
}
