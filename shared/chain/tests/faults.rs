//! What goes wrong between us and a node, and with a subnet while we submit.

mod subnet;

use async_trait::async_trait;
use nexis_chain::preflight::Standing;
use nexis_chain::selfcheck::Need;
use nexis_chain::submit::WeightsOrder;
use nexis_chain::{At, ChainClient, ChainPort, Clock, Outcome};
use nexis_devchain::{
    DevChain, DevChainConfig, DevChainHandle, Fault, GenesisNeuron, Mode, Permits, Spec,
};
use nexis_ports::{
    Chain, ChainError as PortError, SignedSubmission, SubmissionJournal, SubmitOutcome,
    WeightRequest,
};
use nexis_protocol::BlockNumber;
use std::time::{Duration, Instant};
use subnet::{NETUID, config, options, order, start, wallet};
use tokio::time::timeout;

/// Two nodes that claim to be of one chain, and a client that prefers the first.
async fn two_nodes() -> (DevChainHandle, DevChainHandle, ChainClient) {
    let same = || DevChainConfig {
        genesis_hash: Some([7; 32]),
        ..config(Spec::S439)
    };
    let first = DevChain::start(same()).await.unwrap();
    let second = DevChain::start(same()).await.unwrap();
    let urls = format!("{},{}", first.url(), second.url());
    let client = ChainClient::connect(options(&urls)).await.unwrap();
    assert!(client.health().await[0].active);
    (first, second, client)
}

const RETURN_AFTER: Duration = Duration::from_millis(300);

/// Two nodes of one chain, whose blocks are made by hand, the first one so cut off that the client has turned to the second.
async fn failed_over() -> (DevChainHandle, DevChainHandle, ChainClient) {
    let same = || DevChainConfig {
        mode: Mode::Manual,
        start_time: Some(Duration::from_secs(1_800_000_000)),
        ..config(Spec::S439)
    };
    let first = DevChain::start(same()).await.unwrap();
    let second = DevChain::start(same()).await.unwrap();
    assert_eq!(first.head(), second.head());
    let urls = format!("{},{}", first.url(), second.url());
    let mut options = options(&urls);
    options.pool.return_after = RETURN_AFTER;
    options.pool.max_block_age = Duration::from_secs(20);
    options.pool.backoffs.limited_first = Duration::from_millis(100);
    // By this clock a node is behind when it has not made the blocks that the second one has.
    options.pool.clock = Clock::new(second.clock());
    let client = ChainClient::connect(options).await.unwrap();
    first.fault(&Fault::TurnAway {
        times: u64::MAX,
        retry_after: 0,
    });
    first.fault(&Fault::DropConnections);
    serves(&client, 1, Duration::from_secs(30)).await;
    (first, second, client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_answers_and_stands_still_is_left_for_one_that_follows_the_chain() {
    let same = || DevChainConfig {
        mode: Mode::Manual,
        start_time: Some(Duration::from_secs(1_800_000_000)),
        ..config(Spec::S439)
    };
    let first = DevChain::start(same()).await.unwrap();
    let second = DevChain::start(same()).await.unwrap();
    let mut options = options(&format!("{},{}", first.url(), second.url()));
    options.pool.head_silence = Duration::from_millis(500);
    options.pool.clock = Clock::new(second.clock());
    let client = ChainClient::connect(options).await.unwrap();
    let port = ChainPort::new(client.clone(), None);
    let stands = port.head().await.unwrap();
    assert!(client.health().await[0].active);
    second.new_blocks(30);
    let goes_on = timeout(Duration::from_secs(30), async {
        loop {
            let newer = port.next_head(stands.number, Duration::from_millis(200));
            if newer.await.is_ok_and(|head| head.number > stands.number) {
                return;
            }
        }
    });
    goes_on.await.unwrap();
    let health = client.health().await;
    assert!(health[1].active, "{health:?}");
    let why = health[0].last_error.as_deref().unwrap();
    assert!(why.starts_with("no new final block for"), "{why}");
    first.stop().await;
    second.stop().await;
}

fn heal(chain: &DevChainHandle) {
    chain.fault(&Fault::TurnAway {
        times: 0,
        retry_after: 0,
    });
}

/// Asks until the endpoint of this place serves.
async fn serves(client: &ChainClient, place: usize, within: Duration) {
    let asking = timeout(within, async {
        loop {
            let answered = client.head_best().await.is_ok();
            if answered && client.health().await[place].active {
                return;
            }
        }
    });
    asking.await.unwrap();
}

/// Whether the first endpoint is left alone while it is asked for much longer than it takes to look at it.
async fn stays_with_the_second(client: &ChainClient) -> bool {
    let back = timeout(RETURN_AFTER * 4, async {
        while !client.health().await[0].active {
            client.head_best().await.unwrap();
        }
    });
    back.await.is_err()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_better_endpoint_is_returned_to_when_it_is_well_again_and_not_behind() {
    let (first, second, client) = failed_over().await;
    let mut heads = client.stream_finalized(None);
    let mut last = heads.next().await.number;
    assert!(stays_with_the_second(&client).await, "it turns us away");
    second.new_blocks(300);
    heal(&first);
    assert!(stays_with_the_second(&client).await, "it is 30 s behind");
    first.new_blocks(300);
    serves(&client, 0, Duration::from_secs(20)).await;
    let health = client.health().await;
    assert!(!health[1].active && health[0].failures == 0, "{health:?}");
    // A subscription goes on over the connection that it was made on.
    second.new_blocks(5);
    let goes_on = timeout(Duration::from_secs(10), async {
        while last.get() < second.finalized().number {
            last = heads.next().await.number;
        }
    });
    goes_on.await.unwrap();
    assert!(first.finalized().number < last.get());
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_submission_in_flight_ends_where_it_began_before_the_better_endpoint_is_returned_to() {
    let (first, second, client) = failed_over().await;
    let flight = tokio::spawn({
        let client = client.clone();
        async move {
            let (alice, mut noted) = (wallet("//Alice"), Vec::new());
            let sent = client.submit_weights(&alice, &order(), &mut noted).await;
            sent.unwrap()
        }
    });
    let included = timeout(Duration::from_secs(30), async {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        while second.weights(0).is_empty() {
            ticks.tick().await;
            second.new_block();
        }
    });
    included.await.unwrap();
    heal(&first);
    // In a block, but not in a final one.
    assert!(stays_with_the_second(&client).await);
    second.new_blocks(3);
    let report = timeout(Duration::from_secs(10), flight)
        .await
        .unwrap()
        .unwrap();
    assert!(report.verified, "{report:?}");
    assert_eq!(
        second.transactions(&wallet("//Alice").hotkey().public_key()),
        1
    );
    assert!(first.weights(0).is_empty());
    serves(&client, 0, Duration::from_secs(20)).await;
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_is_left_alone_for_as_long_as_its_429_asks() {
    let (chain, client) = start(config(Spec::S439)).await;
    chain.fault(&Fault::TurnAway {
        times: 2,
        retry_after: 2,
    });
    chain.fault(&Fault::DropConnections);
    // The first requests may still be answered on the old connection; one must wait as long as is asked, no longer.
    let longest = timeout(Duration::from_secs(30), async {
        loop {
            let begun = Instant::now();
            let _either_way = client.head_best().await.is_ok();
            let took = begun.elapsed();
            if took >= Duration::from_secs(2) {
                return took;
            }
        }
    });
    let longest = longest.await.unwrap();
    assert!(longest < Duration::from_secs(10), "{longest:?}");
    let back = timeout(Duration::from_secs(10), async {
        while client.head_best().await.is_err() {}
    });
    back.await.unwrap();
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_a_limiting_and_a_closing_gateway_cost_no_answer_while_another_serves() {
    for fault in [
        Fault::Silence(true),
        Fault::RateLimit(1_000),
        Fault::TurnAway {
            times: 1_000,
            retry_after: 60,
        },
    ] {
        let (first, second, client) = two_nodes().await;
        first.fault(&fault);
        if matches!(fault, Fault::TurnAway { .. }) {
            first.fault(&Fault::ClosePolicy);
        }
        let served = timeout(Duration::from_secs(30), async {
            while client.snapshot(NETUID, &At::Best).await.is_err() {}
        });
        served.await.unwrap();
        let health = client.health().await;
        assert!(
            !health[0].active && health[1].active,
            "{fault:?}: {health:?}"
        );
        assert!(health[0].last_error.is_some(), "{fault:?}: {health:?}");
        first.stop().await;
        second.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_node_and_a_policy_close_are_outlived_by_a_submission() {
    let (chain, client) = start(config(Spec::S439)).await;
    for fault in [
        Fault::ClosePolicy,
        Fault::Delay(Duration::from_millis(100)),
        Fault::DropConnections,
    ] {
        chain.fault(&fault);
        let sent = timeout(Duration::from_secs(60), async {
            loop {
                // An error means that nothing was sent.
                let (alice, mut noted) = (wallet("//Alice"), Vec::new());
                let sent = client.submit_weights(&alice, &order(), &mut noted).await;
                if let Ok(report) = sent {
                    return report;
                }
            }
        });
        let report = sent.await.unwrap();
        assert!(report.verified, "{fault:?}: {report:?}");
        chain.fault(&Fault::Delay(Duration::ZERO));
    }
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_storage_says_the_same_where_the_metagraph_call_is_missing() {
    for spec in [Spec::S365, Spec::S461] {
        let api = "SubnetInfoRuntimeApi.get_selective_metagraph".to_owned();
        let (chain, client) = start(DevChainConfig {
            hidden: vec![(spec, api)],
            ..config(spec)
        })
        .await;
        client
            .set_commitment(&wallet("//Bob"), NETUID, vec![b'k'; 128])
            .await
            .unwrap();
        let plain = client.snapshot(NETUID, &At::Best).await.unwrap();
        assert!(client.self_check().unwrap().allows(Need::SetWeights));
        assert_eq!(plain.neurons.len(), 3);
        let whole = DevChain::start(config(spec)).await.unwrap();
        let other = ChainClient::connect(options(&whole.url())).await.unwrap();
        let by_call = other.snapshot(NETUID, &At::Best).await.unwrap();
        for (one, two) in plain.neurons.iter().zip(&by_call.neurons) {
            assert_eq!(
                (one.uid, &one.hotkey, one.validator_permit),
                (two.uid, &two.hotkey, two.validator_permit)
            );
        }
        assert_eq!(plain.hyperparameters, by_call.hyperparameters);
        let published = &plain.commitments[wallet("//Bob").hotkey()];
        assert_eq!(published.text().unwrap(), "k".repeat(128));
        chain.stop().await;
        whole.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_that_takes_a_call_away_stops_submission_by_name_and_nothing_else() {
    let (chain, client) = start(DevChainConfig {
        hidden: vec![(Spec::S461, "SubtensorModule.set_weights".to_owned())],
        ..config(Spec::S439)
    })
    .await;
    assert!(client.self_check().unwrap().allows(Need::SetWeights));
    chain.set_spec(Spec::S461).unwrap();
    let report = client
        .submit_weights(&wallet("//Alice"), &order(), &mut Vec::new())
        .await
        .unwrap();
    let Outcome::Failed(refusal) = report.outcome else {
        panic!("{report:?}")
    };
    assert_eq!(refusal.name, "RuntimeIncompatible");
    assert!(refusal.remedy.contains("update"), "{refusal:?}");
    let missing = client.self_check().unwrap();
    assert_eq!(
        missing.missing_for(Need::SetWeights),
        ["SubtensorModule.set_weights()"]
    );
    let alice = wallet("//Alice");
    let found = client
        .preflight(NETUID, alice.hotkey(), None)
        .await
        .unwrap();
    let runtime = found
        .conditions
        .iter()
        .find(|c| c.name == "runtime")
        .unwrap();
    assert_eq!(runtime.standing, Standing::Unmet);
    assert!(runtime.current.contains("set_weights"), "{runtime:?}");
    // Reading goes on.
    let snapshot = client.snapshot(NETUID, &At::Best).await.unwrap();
    assert_eq!((snapshot.spec_version, snapshot.neurons.len()), (461, 3));
    chain.stop().await;
}

/// Found by seed 9003 of committed epochs: the node parted with the transaction and did not tell, and the client waited
/// for it longer than an epoch lasted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signature_made_at_a_block_that_is_given_up_is_told_to_be_worthless() {
    let (chain, client) = start(DevChainConfig {
        mode: Mode::Manual,
        ..config(Spec::S439)
    })
    .await;
    drop(client);
    // The first block cannot be given up.
    chain.new_blocks(5);
    // Longer than this test may take: it is not the client's patience that ends the wait.
    let mut options = options(&chain.url());
    options.block_time = Some(Duration::from_secs(4));
    let client = ChainClient::connect(options).await.unwrap();
    let flight = tokio::spawn(async move {
        let mut noted = Vec::new();
        let alice = wallet("//Alice");
        client.submit_weights(&alice, &order(), &mut noted).await
    });
    let end = timeout(Duration::from_secs(60), async {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        while chain.weights(0).is_empty() {
            ticks.tick().await;
            if chain.pooled() > 0 {
                chain.new_block();
            }
        }
        // The block that holds it, and the one that it was signed at.
        assert_eq!(chain.reorganise(2), 2);
        assert_eq!(chain.pooled(), 0);
        while !flight.is_finished() {
            ticks.tick().await;
            chain.new_block();
        }
        flight.await.unwrap().unwrap()
    });
    let report = end.await.unwrap();
    let Outcome::Failed(refusal) = report.outcome else {
        panic!("{report:?}")
    };
    assert_eq!(refusal.name, "NeverIncluded");
    assert!(chain.weights(0).is_empty());
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weights_in_a_block_that_is_given_up_count_when_they_are_in_a_final_one() {
    let (chain, client) = start(DevChainConfig {
        mode: Mode::Manual,
        ..config(Spec::S439)
    })
    .await;
    let flight = tokio::spawn(async move {
        let alice = wallet("//Alice");
        let sent = client
            .submit_weights(&alice, &order(), &mut Vec::new())
            .await;
        sent.unwrap()
    });
    let end = timeout(Duration::from_secs(60), async {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        while chain.weights(0).is_empty() {
            ticks.tick().await;
            chain.new_block();
        }
        assert_eq!(chain.reorganise(1), 1);
        while !flight.is_finished() {
            ticks.tick().await;
            chain.new_block();
        }
        flight.await.unwrap()
    });
    let report = end.await.unwrap();
    assert!(report.verified, "{report:?}");
    let Outcome::Included(inclusion) = report.outcome else {
        panic!("{:?}", report.outcome)
    };
    let changes = chain.weight_changes(0, 1_000..chain.head().number + 1);
    let blocks: Vec<u64> = changes.iter().map(|change| change.block).collect();
    assert_eq!(blocks, [inclusion.block]);
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mechanism_has_weights_of_its_own() {
    let (chain, client) = start(config(Spec::S461)).await;
    let second = |mechanism| WeightsOrder {
        mechanism: Some(mechanism),
        ..order()
    };
    let alice = wallet("//Alice");
    let send = |order: WeightsOrder| {
        let (client, alice) = (&client, &alice);
        async move {
            let mut noted = Vec::new();
            client
                .submit_weights(alice, &order, &mut noted)
                .await
                .unwrap()
        }
    };
    let report = send(second(1)).await;
    let Outcome::Failed(refusal) = report.outcome else {
        panic!("{report:?}")
    };
    assert!(
        ["MechanismDoesNotExist", "SubnetNotExists"].contains(&refusal.name.as_str()),
        "{refusal:?}"
    );
    chain.set_parameter("MechanismCountCurrent", &2u8);
    let report = send(second(1)).await;
    assert!(report.verified, "{report:?}");
    assert_eq!(chain.weights(0), [], "the first mechanism's are untouched");
    let report = send(second(0)).await;
    assert!(report.verified, "{report:?}");
    assert_eq!(chain.weights(0), [(1, 65535), (2, 21845)]);
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permit_that_went_to_a_larger_stake_is_named_before_anything_is_sent() {
    let (chain, client) = start(DevChainConfig {
        permits: Permits::LargestStake(1),
        tempo: 5,
        ..config(Spec::S439)
    })
    .await;
    chain.set_stake(wallet("//Bob").hotkey().public_key(), 9_000_000_000_000);
    let alice = wallet("//Alice");
    let lost = timeout(Duration::from_secs(30), async {
        loop {
            let found = client
                .preflight(NETUID, alice.hotkey(), None)
                .await
                .unwrap();
            let permit = found.conditions.into_iter().find(|c| c.name == "permit");
            if permit
                .as_ref()
                .is_some_and(|c| c.standing == Standing::Unmet)
            {
                return permit.unwrap();
            }
        }
    });
    assert!(lost.await.unwrap().remedy.contains("stake"));
    let refused = client
        .submit_weights(&alice, &order(), &mut Vec::new())
        .await
        .unwrap();
    let Outcome::Failed(refusal) = refused.outcome else {
        panic!("{refused:?}")
    };
    assert_eq!(refusal.name, "NeuronNoValidatorPermit");
    chain.stop().await;
}

#[derive(Default)]
struct Noted(Vec<SignedSubmission>);

#[async_trait]
impl SubmissionJournal for Noted {
    async fn signed(&mut self, submission: &SignedSubmission) -> Result<(), PortError> {
        self.0.push(submission.clone());
        Ok(())
    }
}

fn refused_as(outcome: &SubmitOutcome) -> &str {
    match outcome {
        SubmitOutcome::Refused { error, .. } => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_changed_hands_since_scoring_never_gets_its_old_owners_weight() {
    let (chain, client) = start(DevChainConfig {
        finality_lag: 6,
        ..config(Spec::S439)
    })
    .await;
    let port = ChainPort::new(client, Some(wallet("//Alice")));
    let roster = port.roster(NETUID, None).await.unwrap();
    let request = WeightRequest {
        netuid: NETUID,
        uids: roster.neurons.iter().map(|n| n.uid.get()).collect(),
        hotkeys: roster.neurons.iter().map(|n| n.hotkey.clone()).collect(),
        weights: vec![0.0, 0.75, 0.25],
        not_after: None,
    };
    let stranger = GenesisNeuron {
        hotkey: wallet("//Stranger").hotkey().public_key(),
        stake_rao: 0,
        permit: false,
    };
    chain.register_neuron(&stranger, Some(1));
    let mut noted = Noted::default();
    let outcome = port.set_weights(&request, &mut noted).await.unwrap();
    assert_eq!(refused_as(&outcome), "SlotsChanged");
    assert!(noted.0.is_empty() && chain.weights(0).is_empty());
    // A slot without a share may change hands.
    let unpaid = WeightRequest {
        weights: vec![0.0, 0.0, 1.0],
        ..request
    };
    let outcome = port.set_weights(&unpaid, &mut noted).await.unwrap();
    assert!(outcome.is_success(), "{outcome:?}");
    assert_eq!(chain.weights(0), [(2, 65535)]);
    // What was noted before sending tells the same story after a crash.
    assert_eq!(port.resolve(&noted.0[0]).await.unwrap(), outcome);
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_signed_that_could_land_in_the_next_epoch() {
    let (chain, client) = start(config(Spec::S439)).await;
    let port = ChainPort::new(client, Some(wallet("//Alice")));
    let roster = port.roster(NETUID, None).await.unwrap();
    let mut request = WeightRequest {
        netuid: NETUID,
        uids: vec![1],
        hotkeys: vec![roster.neurons[1].hotkey.clone()],
        weights: vec![1.0],
        not_after: Some(BlockNumber::new(chain.head().number + 2)),
    };
    let mut noted = Noted::default();
    let outcome = port.set_weights(&request, &mut noted).await.unwrap();
    assert_eq!(refused_as(&outcome), "EpochOver");
    assert!(noted.0.is_empty());
    request.not_after = Some(BlockNumber::new(chain.head().number + 200));
    let outcome = port.set_weights(&request, &mut noted).await.unwrap();
    assert!(outcome.is_success(), "{outcome:?}");
    chain.stop().await;
}
