//! Whether the topology is there as it should be: names, types, arguments, bindings.
//!
//! A passive look only knows names: by AMQP's rules it ignores type and arguments. So what exists is declared once more with
//! equal arguments, which changes nothing when they are equal and is refused when they are not. A user that may not
//! declare can only look at names, and the answer says so.

use crate::connection::Link;
use crate::topology::{Part, declare, different, is_forbidden};
use lapin::ExchangeKind;
use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use nexis_ports::QueueError;

/// What a look at the topology could find out. Everything exists in any case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verified {
    /// Names, types, arguments and bindings are right.
    Complete,
    /// The names exist; this user may not declare, so that the rest could not be compared.
    NamesOnly,
}

/// Checks every part; names the first one that is missing or different.
pub(crate) async fn verify(link: &Link) -> Result<Verified, QueueError> {
    let mut verified = Verified::Complete;
    for part in link.options.topology.parts() {
        exists(link, &part).await?;
        if !equals(link, &part).await? {
            verified = Verified::NamesOnly;
        }
    }
    Ok(verified)
}

/// Whether a part is there by its name. Each look has a channel of its own, since a refusal closes it.
async fn exists(link: &Link, part: &Part) -> Result<(), QueueError> {
    let channel = link.channel().await?;
    let none = FieldTable::default();
    let name = part.name().to_owned();
    let looked = match part {
        Part::Exchange { .. } => {
            let passive = ExchangeDeclareOptions {
                passive: true,
                ..ExchangeDeclareOptions::default()
            };
            let look = channel.exchange_declare(name.into(), ExchangeKind::Direct, passive, none);
            link.within("looking at an exchange", look).await
        }
        Part::Queue { .. } => {
            let passive = QueueDeclareOptions {
                passive: true,
                ..QueueDeclareOptions::default()
            };
            let look = async {
                channel
                    .queue_declare(name.into(), passive, none)
                    .await
                    .map(|_| ())
            };
            link.within("looking at a queue", look).await
        }
    };
    match looked {
        Ok(()) => {
            link.done_with(&channel).await;
            Ok(())
        }
        // Newer brokers let only those look who may declare; whether it is there shows when it is used.
        Err(QueueError::Refused(said)) if is_forbidden(&said) => Ok(()),
        Err(QueueError::Refused(said)) => Err(QueueError::Refused(format!(
            "{part} is missing ({said}): run `nexis-scheduler topology apply`"
        ))),
        Err(fault) => Err(fault),
    }
}

/// Whether a part is as we would declare it; `false` when this user may not declare.
async fn equals(link: &Link, part: &Part) -> Result<bool, QueueError> {
    let channel = link.channel().await?;
    let declared = link
        .within("comparing the topology", declare(&channel, part))
        .await;
    match declared {
        Ok(()) => {
            link.done_with(&channel).await;
            Ok(true)
        }
        Err(QueueError::Refused(said)) if is_forbidden(&said) => Ok(false),
        Err(fault) => Err(different(part, fault)),
    }
}
