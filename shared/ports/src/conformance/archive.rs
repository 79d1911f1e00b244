//! Laws of [`crate::Archive`].

use crate::{Archive, ArchiveError};

/// Runs every law, each on a fresh, empty archive.
pub async fn run_all<A, F, Fut>(make: F)
where
    A: Archive,
    F: Fn() -> Fut,
    Fut: Future<Output = A>,
{
    what_was_put_is_read_back(make().await).await;
    putting_again_replaces(make().await).await;
    creating_keeps_what_is_there(make().await).await;
    one_of_many_creators_wins(make().await).await;
    listing_is_by_prefix_and_ascending(make().await).await;
    a_page_begins_where_the_last_one_ended(make().await).await;
    what_was_removed_is_gone_and_may_be_created_again(make().await).await;
    names_that_leave_the_archive_are_refused(make().await).await;
}

/// Bytes come back as they were, an unknown name is `None`, empty objects are objects.
pub async fn what_was_put_is_read_back<A: Archive>(archive: A) {
    assert_eq!(archive.get("interval/50/evidence").await.unwrap(), None);
    archive
        .put("interval/50/evidence", b"\x00seen\xff")
        .await
        .unwrap();
    archive.put("interval/50/empty", b"").await.unwrap();
    let got = archive.get("interval/50/evidence").await.unwrap();
    assert_eq!(got.as_deref(), Some(&b"\x00seen\xff"[..]));
    assert_eq!(
        archive.get("interval/50/empty").await.unwrap(),
        Some(Vec::new())
    );
}

/// The newest object of a name is the one.
pub async fn putting_again_replaces<A: Archive>(archive: A) {
    archive
        .put("ledger", b"a long first version")
        .await
        .unwrap();
    archive.put("ledger", b"second").await.unwrap();
    assert_eq!(
        archive.get("ledger").await.unwrap().as_deref(),
        Some(&b"second"[..])
    );
    assert_eq!(archive.list("").await.unwrap(), ["ledger"]);
}

/// What was created first stays, whole, and the later one is told.
pub async fn creating_keeps_what_is_there<A: Archive>(archive: A) {
    assert!(archive.create("round/1/plan", b"first").await.unwrap());
    assert!(
        !archive
            .create("round/1/plan", b"second, longer")
            .await
            .unwrap()
    );
    assert_eq!(
        archive.get("round/1/plan").await.unwrap().as_deref(),
        Some(&b"first"[..])
    );
    archive.put("round/1/evidence", b"put").await.unwrap();
    assert!(!archive.create("round/1/evidence", b"late").await.unwrap());
    assert_eq!(
        archive.list("").await.unwrap(),
        ["round/1/evidence", "round/1/plan"]
    );
}

/// However many try at one time, one is told that it was first, and its bytes are what is there.
pub async fn one_of_many_creators_wins<A: Archive>(archive: A) {
    let tries = ["one", "two", "three", "four"];
    let (one, two, three, four) = tokio::join!(
        archive.create("decided", tries[0].as_bytes()),
        archive.create("decided", tries[1].as_bytes()),
        archive.create("decided", tries[2].as_bytes()),
        archive.create("decided", tries[3].as_bytes()),
    );
    let created = [one, two, three, four];
    let winners: Vec<usize> = (0..tries.len())
        .filter(|writer| *created[*writer].as_ref().unwrap())
        .collect();
    assert_eq!(winners.len(), 1, "{created:?}");
    assert_eq!(
        archive.get("decided").await.unwrap().as_deref(),
        Some(tries[winners[0]].as_bytes())
    );
}

/// Listing gives whole names, sorted, only those of the prefix, whether it ends at a slash or not.
pub async fn listing_is_by_prefix_and_ascending<A: Archive>(archive: A) {
    for name in [
        "interval/100/plan",
        "interval/50/plan",
        "interval/500/plan",
        "ledger",
    ] {
        archive.put(name, name.as_bytes()).await.unwrap();
    }
    let all = archive.list("").await.unwrap();
    assert_eq!(
        all,
        [
            "interval/100/plan",
            "interval/50/plan",
            "interval/500/plan",
            "ledger"
        ]
    );
    assert_eq!(
        archive.list("interval/50/").await.unwrap(),
        ["interval/50/plan"]
    );
    let fifties = archive.list("interval/50").await.unwrap();
    assert_eq!(fifties, ["interval/50/plan", "interval/500/plan"]);
    assert!(archive.list("nothing").await.unwrap().is_empty());
}

/// Pages join to the whole listing, in the order of whole names: `a-b` comes before `a/b`.
pub async fn a_page_begins_where_the_last_one_ended<A: Archive>(archive: A) {
    let names = [
        "a-b", "a/b", "a/c/d", "a/c/e", "a/f", "b", "b.c/d", "b0/c", "c/d",
    ];
    for name in names {
        archive.put(name, b"x").await.unwrap();
    }
    assert_eq!(archive.list("").await.unwrap(), names);
    for limit in 1..=names.len() {
        let (mut start, mut found) = (String::new(), Vec::new());
        loop {
            let page = archive.list_from("", &start, limit).await.unwrap();
            assert!(page.len() <= limit, "{page:?}");
            let Some(last) = page.last() else { break };
            // The smallest name that comes after the last one.
            start = format!("{last}-");
            found.extend(page);
        }
        assert_eq!(found, names, "pages of {limit}");
    }
    let from = |prefix: &'static str, start: &'static str, limit| {
        let archive = &archive;
        async move { archive.list_from(prefix, start, limit).await.unwrap() }
    };
    assert_eq!(from("a/", "a/c/e", 9).await, ["a/c/e", "a/f"]);
    assert_eq!(from("a/c", "", 1).await, ["a/c/d"]);
    assert_eq!(from("b", "b0", 9).await, ["b0/c"]);
    assert!(from("a/", "b", 9).await.is_empty());
    assert!(from("a/", "", 0).await.is_empty());
}

/// Removing is idempotent, touches no other object, and leaves the name free.
pub async fn what_was_removed_is_gone_and_may_be_created_again<A: Archive>(archive: A) {
    archive.put("round/1/plan", b"old").await.unwrap();
    archive.put("round/1/decisions", b"kept").await.unwrap();
    assert!(archive.remove("round/1/plan").await.unwrap());
    assert!(!archive.remove("round/1/plan").await.unwrap());
    assert_eq!(archive.get("round/1/plan").await.unwrap(), None);
    assert_eq!(archive.list("").await.unwrap(), ["round/1/decisions"]);
    assert!(archive.remove("round/1/decisions").await.unwrap());
    assert!(archive.list("").await.unwrap().is_empty());
    assert!(!archive.remove("never/there").await.unwrap());
    assert!(archive.create("round/1/plan", b"new").await.unwrap());
    assert_eq!(
        archive.get("round/1/plan").await.unwrap().as_deref(),
        Some(&b"new"[..])
    );
}

/// No name reaches outside, on any call that takes one.
pub async fn names_that_leave_the_archive_are_refused<A: Archive>(archive: A) {
    for name in [
        "",
        "/",
        "/etc/passwd",
        "../up",
        "a/../../b",
        "a//b",
        "a/",
        ".",
        "a/./b",
        "a\0b",
        "a\\b",
    ] {
        let refused = archive.put(name, b"x").await;
        assert!(
            matches!(refused, Err(ArchiveError::Refused(_))),
            "put {name:?}: {refused:?}"
        );
        let refused = archive.get(name).await;
        assert!(
            matches!(refused, Err(ArchiveError::Refused(_))),
            "get {name:?}: {refused:?}"
        );
        let refused = archive.remove(name).await;
        assert!(
            matches!(refused, Err(ArchiveError::Refused(_))),
            "remove {name:?}: {refused:?}"
        );
    }
    for prefix in ["../", "/", "a/../", "./", ".."] {
        let found = archive.list(prefix).await.unwrap();
        assert!(found.is_empty(), "{prefix:?}: {found:?}");
    }
    assert!(archive.list("").await.unwrap().is_empty());
}
