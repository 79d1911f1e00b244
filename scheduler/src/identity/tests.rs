use super::*;
use crate::progress;
use nexis_local::{DirArchive, HandClock, LocalBoard};
use nexis_ports::Leadership;
use nexis_protocol::BlockNumber;
use nexis_wire::{JobRules, RoundPlan, Wire};
use std::time::Duration;

fn ours() -> Identity {
    Identity {
        genesis: "0x2f05".to_owned(),
        netuid: Netuid::new(70),
        hotkey: Hotkey::from_public_key(&[1; 32]),
    }
}

fn others() -> [(Identity, &'static str); 3] {
    let (mut genesis, mut netuid, mut hotkey) = (ours(), ours(), ours());
    genesis.genesis = "0x8f9c".to_owned();
    netuid.netuid = Netuid::new(71);
    hotkey.hotkey = Hotkey::from_public_key(&[2; 32]);
    [
        (genesis, "BT_NETWORK"),
        (netuid, "NEXIS_NETUID"),
        (hotkey, "BT_WALLET_HOTKEY"),
    ]
}

fn april() -> Profile {
    Profile::by_name("2026-04-13").unwrap()
}

fn empty() -> (tempfile::TempDir, DirArchive) {
    let folder = tempfile::tempdir().unwrap();
    let archive = DirArchive::open(folder.path()).unwrap();
    (folder, archive)
}

async fn decide(archive: &DirArchive, interval: u64) {
    for what in ["plan.bin", "decisions.json"] {
        let name = ledger::round_object(IntervalId::new(interval), what);
        archive.put(&name, b"x").await.unwrap();
    }
}

fn plan(validator: Hotkey) -> RoundPlan {
    RoundPlan {
        interval: IntervalId::new(1_050),
        rules: JobRules::plain(Netuid::new(70), Profile::default()),
        roster_block: 1_102,
        roster_hash: String::new(),
        validator: Some(validator),
        seed: String::new(),
        invalid: Vec::new(),
        miners: Vec::new(),
        index: nexis_protocol::Digest::of(b""),
        miners_deadline: 1_122,
        clips_deadline: 1_147,
    }
}

#[tokio::test]
async fn an_archive_of_another_chain_subnet_or_hotkey_is_refused_with_the_setting_to_look_at() {
    let (_folder, archive) = empty();
    let profile = Profile::default();
    let era = establish(&archive, &ours(), &profile).await.unwrap();
    assert_eq!(establish(&archive, &ours(), &profile).await.unwrap(), era);
    for (other, setting) in others() {
        let refused = establish(&archive, &other, &profile).await.unwrap_err();
        assert_eq!(refused.class(), FaultClass::Permanent);
        let words = refused.to_string();
        assert!(
            words.contains(setting) && words.contains("NEXIS_WORKDIR"),
            "{words}"
        );
    }
}

#[tokio::test]
async fn an_archive_of_an_earlier_version_is_judged_by_its_newest_plan() {
    let (_folder, archive) = empty();
    decide(&archive, 1_000).await;
    let name = ledger::round_object(IntervalId::new(1_050), "plan.bin");
    let stranger = Hotkey::from_public_key(&[9; 32]);
    archive.put(&name, &plan(stranger).encode()).await.unwrap();
    let profile = Profile::default();
    let refused = establish(&archive, &ours(), &profile).await.unwrap_err();
    assert!(refused.to_string().contains("hotkey"), "{refused}");
    archive
        .put(&name, &plan(ours().hotkey).encode())
        .await
        .unwrap();
    let refused = establish(&archive, &ours(), &april()).await.unwrap_err();
    assert!(
        refused.to_string().contains("nexis archive adopt"),
        "{refused}"
    );
    let era = establish(&archive, &ours(), &profile).await.unwrap();
    assert_eq!((era.number, era.interval_length_blocks), (0, 50));
    let first = first_interval(&archive, 0).await.unwrap();
    assert_eq!(first, Some(IntervalId::new(1_000)));
}

/// The third proof of a burn: the interval after 1050 was taken for 1150, and no window of the new profile held it.
#[tokio::test]
async fn a_change_of_profile_needs_the_command_and_begins_on_the_new_grid() {
    let (_folder, archive) = empty();
    establish(&archive, &ours(), &Profile::default())
        .await
        .unwrap();
    note_first(&archive, 0, IntervalId::new(950)).await.unwrap();
    for interval in [950, 1_000, 1_050] {
        decide(&archive, interval).await;
    }
    let name = ledger::round_object(IntervalId::new(1_100), "plan.bin");
    archive.put(&name, b"x").await.unwrap();
    let refused = establish(&archive, &ours(), &april()).await.unwrap_err();
    assert!(
        refused.to_string().contains("nexis archive adopt"),
        "{refused}"
    );
    let Adoption::Begun { before, era, first } = adopt(&archive, &april()).await.unwrap() else {
        panic!("the lengths differ");
    };
    assert_eq!(
        (before.number, era.number, first),
        (0, 1, IntervalId::new(1_200))
    );
    assert_eq!(era.left_open, [IntervalId::new(1_100)]);
    assert_eq!(establish(&archive, &ours(), &april()).await.unwrap(), era);
    assert_eq!(
        adopt(&archive, &april()).await.unwrap(),
        Adoption::Nothing(era.clone())
    );
    let head = BlockNumber::new(1_502);
    let found = progress::progress(&archive, &april(), &era, head)
        .await
        .unwrap();
    let undecided: Vec<u64> = found.undecided.iter().map(|(id, _)| id.get()).collect();
    assert_eq!(undecided, [1_100, 1_200, 1_300, 1_400]);
    let (profile, epoch) = (april(), nexis_protocol::WeightEpoch::new(5));
    let window = progress::window_state(&archive, &profile, epoch, found.first);
    let window = window.await.unwrap();
    // Interval 1000 is on the new grid, too, and was decided by the old rules: it pays nobody now.
    assert_eq!((window.decided(), window.intervals.len()), (0, 3));
    // Back again: the old grid begins anew after what the new one covers.
    let refused = establish(&archive, &ours(), &Profile::default()).await;
    assert!(refused.is_err());
    let Adoption::Begun { era, first, .. } = adopt(&archive, &Profile::default()).await.unwrap()
    else {
        panic!("the lengths differ");
    };
    assert_eq!((era.number, first), (2, IntervalId::new(1_200)));
}

#[tokio::test]
async fn a_board_of_another_validator_or_profile_is_refused() {
    let board = LocalBoard::in_memory(HandClock::new());
    let campaign = board.campaign("us", Duration::from_secs(60)).await;
    let Ok(Leadership::Leader(leader)) = campaign else {
        panic!("{campaign:?}");
    };
    let era = Era::first(&Profile::default());
    assert!(!check_board(&board, &ours(), &era).await.unwrap());
    bind_board(&board, leader, &ours(), &era).await.unwrap();
    assert!(check_board(&board, &ours(), &era).await.unwrap());
    for (other, setting) in others() {
        let refused = bind_board(&board, leader, &other, &era).await.unwrap_err();
        let words = refused.to_string();
        assert!(
            words.contains(setting) && words.contains("NEXIS_REDIS_URL"),
            "{words}"
        );
    }
    let refused = check_board(&board, &ours(), &Era::first(&april())).await;
    assert!(
        matches!(refused, Err(IdentityError::BoardEra { .. })),
        "{refused:?}"
    );
    // After `nexis archive adopt` the board follows.
    let next = Era {
        number: 1,
        ..Era::first(&april())
    };
    bind_board(&board, leader, &ours(), &next).await.unwrap();
    assert!(check_board(&board, &ours(), &next).await.unwrap());
    assert!(check_board(&board, &ours(), &era).await.is_err());
}
