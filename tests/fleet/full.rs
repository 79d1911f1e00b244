//! Every row of every miner, when the operator wants that.

use crate::block_on;
use crate::setup::profile;
use crate::site::{Plan, Site};
use nexis_localnet::Expectation;
use nexis_protocol::{IntervalId, sampling};
use nexis_scheduler::ledger;
use nexis_wire::MinerOutcome;

#[test]
fn with_full_sampling_every_kept_row_of_every_miner_has_a_verdict() {
    block_on(async {
        let mut plan = Plan::new("full");
        plan.env
            .push(("NEXIS_SAMPLING".to_owned(), "full".to_owned()));
        let mut site = Site::start(plan).await;
        let outcome = site.interval(Vec::new()).await;
        let interval = IntervalId::new(outcome.interval);
        let evidence = ledger::load_evidence(&site.archive, interval)
            .await
            .expect("it is decided");
        assert_eq!(
            evidence.plan.miners.len(),
            site.net()
                .miners()
                .iter()
                .filter(|miner| miner.kind.expectation() != Expectation::NotDrawn)
                .count(),
            "every miner with usable credentials is judged"
        );
        let file = ledger::load(&site.archive, interval)
            .await
            .expect("our own disk")
            .expect("it is decided");
        assert_eq!(file.absent, [], "nobody is left out");
        let (mut rows, mut spared) = (0, 0);
        for (miner, outcome) in evidence.plan.miners.iter().zip(&evidence.clips.miners) {
            let MinerOutcome::Judged { kept, sampled, .. } = outcome else {
                continue;
            };
            let drawn: Vec<u32> = sampled.iter().map(|clip| clip.row).collect();
            assert_eq!(&drawn, kept, "{}", miner.hotkey);
            let total = u32::try_from(kept.len()).expect("few rows");
            let by_protocol = sampling::select_rows(
                total,
                miner.hotkey.as_str(),
                None,
                &evidence.plan.seed,
                &profile(),
            );
            rows += kept.len();
            spared += kept.len() - by_protocol.len();
        }
        assert_eq!(evidence.verdicts.len(), rows);
        assert!(
            spared > 0,
            "the protocol's sample would have been everything too"
        );
        site.end().await;
    });
}
