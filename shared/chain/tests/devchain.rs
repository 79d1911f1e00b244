//! Against the dev chain: a server of the chain's JSON-RPC with real metadata, real signatures and
//! real timelocks.

mod subnet;

use nexis_chain::preflight::Standing;
use nexis_chain::submit::WeightsOrder;
use nexis_chain::{At, ChainClient, ChainError, Outcome};
use nexis_devchain::{DevChain, DevChainConfig, Fault, GenesisNeuron, Mode, Spec};
use nexis_ports::RevealState;
use nexis_protocol::{BlockNumber, Netuid, Uid};
use std::time::Duration;
use subnet::{NETUID, config, options, order, start, start_by_hand, wallet, with_blocks};
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_subnet_is_read_at_one_block_on_every_runtime() {
    for spec in [Spec::S365, Spec::S419, Spec::S439, Spec::S461] {
        let (chain, client) = start(config(spec)).await;
        let published = client
            .set_commitment(&wallet("//Bob"), NETUID, vec![b'k'; 128])
            .await
            .unwrap();
        assert!(
            matches!(published, Outcome::Included(_)),
            "{spec:?}: {published:?}"
        );
        let snapshot = client.snapshot(NETUID, &At::Finalized).await.unwrap();
        assert_eq!(snapshot.neurons.len(), 3, "{spec:?}");
        let alice = snapshot.neuron(wallet("//Alice").hotkey()).unwrap();
        assert!(alice.validator_permit && alice.uid == Uid::new(0));
        assert_eq!(alice.stake_rao, 7_000_000_000_000);
        let text = snapshot.commitments[wallet("//Bob").hotkey()]
            .text()
            .unwrap();
        assert_eq!(text, "k".repeat(128));
        let head = client.head_at(snapshot.number).await.unwrap();
        assert_eq!(head.hash, snapshot.hash, "{spec:?}");
        chain.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weights_are_read_back_as_sent_and_a_refusal_has_its_name() {
    let (chain, client) = start(config(Spec::S439)).await;
    let mut kept = Vec::new();
    let report = client
        .submit_weights(&wallet("//Alice"), &order(), &mut kept)
        .await
        .unwrap();
    assert!(report.verified, "{report:?}");
    assert_eq!(chain.weights(0), [(1, 65535), (2, 21845)]);
    let Outcome::Included(inclusion) = &report.outcome else {
        panic!("{report:?}")
    };
    assert_eq!(kept[0].extrinsic_hash, inclusion.extrinsic_hash);
    assert_eq!(
        client
            .last_update(NETUID, Uid::new(0), &At::Best)
            .await
            .unwrap(),
        inclusion.block
    );
    // What was kept before sending leads to the same answer after a crash.
    assert_eq!(client.resolve(&kept[0]).await, report.outcome);

    let refused = client
        .submit_weights(&wallet("//Dave"), &order(), &mut Vec::new())
        .await
        .unwrap();
    let Outcome::Failed(refusal) = refused.outcome else {
        panic!("{refused:?}")
    };
    assert!(
        refusal.name.starts_with("HotKeyNotRegistered"),
        "{refusal:?}"
    );

    chain.set_parameter("WeightsSetRateLimit", &1_000u64);
    let refused = client
        .submit_weights(&wallet("//Alice"), &order(), &mut Vec::new())
        .await
        .unwrap();
    let Outcome::Failed(refusal) = refused.outcome else {
        panic!("{refused:?}")
    };
    assert!(refusal.may_pass_later(), "{refusal:?}");
    let preflight = client
        .preflight(NETUID, wallet("//Alice").hotkey(), Some(&order()))
        .await
        .unwrap();
    let limit = preflight
        .conditions
        .iter()
        .find(|c| c.name == "rate limit")
        .unwrap();
    assert_eq!(limit.standing, Standing::Wait(Some(inclusion.block + 999)));
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_is_stored_sealed_and_opened_by_the_chain() {
    for spec in [Spec::S419, Spec::S461] {
        let (chain, client) = start(DevChainConfig {
            commit_reveal: true,
            tempo: 60,
            ..config(spec)
        })
        .await;
        let report = client
            .submit_weights(&wallet("//Alice"), &order(), &mut Vec::new())
            .await
            .unwrap();
        assert!(report.verified, "{spec:?}: {report:?}");
        let ticket = report.commit.unwrap();
        assert_eq!(
            client.check_reveal(&ticket).await.unwrap(),
            RevealState::Waiting,
            "{spec:?}"
        );
        let mut heads = client.stream_finalized(None);
        let end = timeout(Duration::from_secs(60), async {
            loop {
                heads.next().await;
                let state = client.check_reveal(&ticket).await.unwrap();
                if state != RevealState::Waiting {
                    return state;
                }
            }
        });
        assert_eq!(end.await.unwrap(), RevealState::Revealed, "{spec:?}");
        assert_eq!(chain.weights(0), ticket.expected);
        chain.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whether_a_commit_was_opened_is_known_when_later_weights_stand_in_its_place() {
    let (chain, client) = start_by_hand(DevChainConfig {
        commit_reveal: true,
        tempo: 20,
        ..config(Spec::S461)
    })
    .await;
    let alice = wallet("//Alice");
    let mut tickets = Vec::new();
    for (values, opened) in [
        (vec![65535, 1], true),
        (vec![65535, 2], false),
        (vec![65535, 3], true),
    ] {
        if !opened {
            chain.fault(&Fault::LoseReveals(1));
        }
        let order = WeightsOrder { values, ..order() };
        let mut noted = Vec::new();
        let sending = client.submit_weights(&alice, &order, &mut noted);
        let report = with_blocks(&chain, sending).await.unwrap();
        let ticket = report.commit.unwrap();
        let waiting = client.check_reveal(&ticket).await.unwrap();
        assert_eq!(waiting, RevealState::Waiting);
        // It is sealed for three blocks after the first one of its epoch.
        while chain.finalized().number < ticket.reveal_block + 5 {
            chain.new_block();
        }
        assert_eq!(chain.weights(0) == ticket.expected, opened);
        tickets.push((ticket, opened));
    }
    for (ticket, opened) in &tickets {
        let state = client.check_reveal(ticket).await.unwrap();
        let expected = [RevealState::Missed, RevealState::Revealed][usize::from(*opened)];
        assert_eq!(state, expected, "{ticket:?}");
    }
    chain.stop().await;
}

/// Two weight epochs can share one epoch of the chain: the event of the block that opens one of their commits and drops
/// the other says nothing about which.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_dropped_in_the_block_that_opens_another_one_is_known_as_missed() {
    let (chain, client) = start_by_hand(DevChainConfig {
        commit_reveal: true,
        tempo: 60,
        ..config(Spec::S461)
    })
    .await;
    let alice = wallet("//Alice");
    // The first one that would be opened is lost.
    chain.fault(&Fault::LoseReveals(1));
    let mut tickets = Vec::new();
    for values in [vec![65535, 1], vec![65535, 2]] {
        let order = WeightsOrder { values, ..order() };
        let mut noted = Vec::new();
        let sending = client.submit_weights(&alice, &order, &mut noted);
        let report = with_blocks(&chain, sending).await.unwrap();
        tickets.push(report.commit.unwrap());
    }
    let rounds = [tickets[0].reveal_round, tickets[1].reveal_round];
    assert_eq!(rounds[0], rounds[1], "they are not opened in one block");
    while chain.finalized().number < tickets[0].reveal_block + 5 {
        chain.new_block();
    }
    assert_eq!(chain.weights(0), tickets[1].expected);
    for (ticket, expected) in tickets
        .iter()
        .zip([RevealState::Missed, RevealState::Revealed])
    {
        let state = client.check_reveal(ticket).await.unwrap();
        assert_eq!(state, expected, "{ticket:?}");
    }
    // Later weights take the place of the second one's.
    let order = WeightsOrder {
        values: vec![65535, 3],
        ..order()
    };
    let mut noted = Vec::new();
    let sending = client.submit_weights(&alice, &order, &mut noted);
    let later = with_blocks(&chain, sending).await.unwrap().commit.unwrap();
    while chain.finalized().number < later.reveal_block + 5 {
        chain.new_block();
    }
    assert_eq!(chain.weights(0), later.expected);
    for (ticket, expected) in tickets
        .iter()
        .zip([RevealState::Missed, RevealState::Revealed])
    {
        let state = client.check_reveal(ticket).await.unwrap();
        assert_eq!(state, expected, "{ticket:?}");
    }
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_have_no_gaps_over_dropped_and_silent_connections() {
    let (chain, client) = start(config(Spec::S439)).await;
    let mut heads = client
        .stream_finalized(None)
        .silence_limit(Duration::from_secs(1));
    let mut last = heads.next().await.number.get();
    for step in 0..60 {
        match step {
            10 => chain.fault(&Fault::DropConnections),
            35 => {
                chain.fault(&Fault::Silence(true));
                chain.new_blocks(30);
                chain.fault(&Fault::Silence(false));
            }
            _ => {}
        }
        let head = timeout(Duration::from_secs(60), heads.next())
            .await
            .unwrap();
        assert_eq!(head.number.get(), last + 1, "after step {step}");
        assert_eq!(
            client.head_at(head.number).await.map(|h| h.hash),
            Ok(head.hash)
        );
        last = head.number.get();
    }
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_reported_lost_is_looked_for_and_named() {
    let (chain, client) = start(config(Spec::S439)).await;
    for fault in [Fault::Usurped, Fault::Dropped] {
        chain.fault(&fault);
        let report = client
            .submit_weights(&wallet("//Alice"), &order(), &mut Vec::new())
            .await
            .unwrap();
        let Outcome::Failed(refusal) = report.outcome else {
            panic!("{fault:?}: {report:?}")
        };
        assert_eq!(refusal.name, "NeverIncluded", "{fault:?}");
    }
    let report = client
        .submit_weights(&wallet("//Alice"), &order(), &mut Vec::new())
        .await
        .unwrap();
    assert!(report.verified, "{report:?}");
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_connection_while_waiting_ends_as_what_the_chain_says() {
    let (chain, client) = start(DevChainConfig {
        mode: Mode::Manual,
        ..config(Spec::S439)
    })
    .await;
    let flight = tokio::spawn({
        let client = client.clone();
        async move {
            client
                .submit_weights(&wallet("//Alice"), &order(), &mut Vec::new())
                .await
                .unwrap()
        }
    });
    let end = timeout(Duration::from_secs(30), async {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        while chain.weights(0).is_empty() {
            ticks.tick().await;
            chain.new_block();
        }
        chain.fault(&Fault::DropConnections);
        while !flight.is_finished() {
            ticks.tick().await;
            chain.new_block();
        }
        flight.await.unwrap()
    });
    let report = end.await.unwrap();
    assert!(report.verified, "{report:?}");
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_in_mid_connection_is_noticed_and_signed_for() {
    let (chain, client) = start(config(Spec::S419)).await;
    assert_eq!(client.spec_version().await.unwrap(), 419);
    chain.set_spec(Spec::S461).unwrap();
    let report = client
        .submit_weights(&wallet("//Alice"), &order(), &mut Vec::new())
        .await
        .unwrap();
    assert!(report.verified, "{report:?}");
    assert_eq!(client.self_check().unwrap().spec_version, 461);
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_endpoint_serves_when_the_first_is_away() {
    let chain = DevChain::start(config(Spec::S439)).await.unwrap();
    let client = ChainClient::connect(options(&format!("ws://127.0.0.1:1,{}", chain.url())))
        .await
        .unwrap();
    let health = client.health().await;
    assert!(
        !health[0].active && health[0].failures > 0 && health[1].active,
        "{health:?}"
    );
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_chain_is_refused_unless_the_settings_allow_it() {
    let chain = DevChain::start(config(Spec::S439)).await.unwrap();
    let mut options = options(&chain.url());
    options.allow_other_genesis = false;
    let error = ChainClient::connect(options).await.map(|_| ()).unwrap_err();
    assert!(
        matches!(error, ChainError::WrongGenesis { .. }),
        "{error:?}"
    );
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_good_snapshot_outlives_the_chain() {
    let folder = tempfile::tempdir().unwrap();
    let chain = DevChain::start(config(Spec::S439)).await.unwrap();
    let mut options = options(&chain.url());
    options.workdir = Some(folder.path().to_owned());
    let client = ChainClient::connect(options.clone()).await.unwrap();
    let read = client.snapshot(NETUID, &At::Finalized).await.unwrap();
    chain.stop().await;
    let later = ChainClient::new(options);
    assert_eq!(later.last_good(NETUID).unwrap(), Some(read));
    assert_eq!(later.last_good(Netuid::new(1)).unwrap(), None);
    let error = timeout(Duration::from_secs(60), later.snapshot(NETUID, &At::Best))
        .await
        .unwrap();
    assert!(error.unwrap_err().is_transient());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn discarded_state_has_an_error_of_its_own() {
    let (chain, client) = start(DevChainConfig {
        state_blocks: 8,
        mode: Mode::Manual,
        ..config(Spec::S439)
    })
    .await;
    chain.new_blocks(40);
    let old = client
        .snapshot(NETUID, &At::Number(BlockNumber::new(1_005)))
        .await
        .unwrap_err();
    assert!(matches!(old, ChainError::StatePruned(_)), "{old:?}");
    assert!(client.snapshot(NETUID, &At::Finalized).await.is_ok());
    let nowhere = client
        .snapshot(Netuid::new(9), &At::Best)
        .await
        .unwrap_err();
    assert_eq!(nowhere, ChainError::NoSuchSubnet(9));
    chain.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_subnet_is_read_in_a_handful_of_calls() {
    let neuron = |uid: u8| GenesisNeuron {
        hotkey: [uid; 32],
        stake_rao: u64::from(uid) * 1_000_000_000,
        permit: uid < 64,
    };
    let (chain, client) = start(DevChainConfig {
        mode: Mode::Manual,
        neurons: (0..=255).map(neuron).collect(),
        ..config(Spec::S439)
    })
    .await;
    let mut times = Vec::new();
    let before = chain.traffic();
    let count = 10;
    for _ in 0..count {
        let begun = std::time::Instant::now();
        let snapshot = client.snapshot(NETUID, &At::Best).await.unwrap();
        times.push(begun.elapsed());
        assert_eq!(snapshot.neurons.len(), 256);
    }
    let after = chain.traffic();
    let (calls, bytes) = ((after.0 - before.0) / count, (after.1 - before.1) / count);
    times.sort_unstable();
    eprintln!(
        "a snapshot of 256 slots: {calls} calls, {bytes} bytes, {:?}",
        times[5]
    );
    assert!(calls <= 8, "{calls} calls");
    chain.stop().await;
}
