//! What goes wrong in a world, as its seed draws it.

use super::{LEASE, World, hotkey};
use nexis_devchain::{Fault, GenesisNeuron, Spec};
use std::time::Duration;

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
                tokio::time::sleep(Duration::from_millis(400)).await;
                self.fault(Fault::Silence(false))
            }
            3 => {
                self.chain.fault(&Fault::Delay(Duration::from_millis(60)));
                tokio::time::sleep(Duration::from_millis(300)).await;
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
}
