use super::*;

fn row(clip_id: &str) -> RowRef<'_> {
    RowRef {
        clip_id,
        clip_uri: "clips/ä.mp4",
        first_frame_uri: "frames/a.jpg",
        source_video_id: "abcdefghijk",
        split_group_id: "group",
        split: "train",
        caption: "a calm lake",
        source_video_url: "https://www.youtube.com/watch?v=abcdefghijk",
        clip_sha256: Some(Digest::of(b"clip")),
        first_frame_sha256: None,
        clip_start_sec: 10.5,
        duration_sec: 5.0,
        width: 1280,
        height: u128::MAX,
        num_frames: 150,
        fps: f64::INFINITY,
        has_audio: true,
    }
}

fn three() -> Rows {
    let mut rows = Rows::default();
    for id in ["a", "bb", "日本"] {
        rows.push(row(id)).unwrap();
    }
    rows
}

#[test]
fn a_duration_is_inside_when_both_ends_of_the_tolerance_are() {
    let profile = Profile::default();
    let (least, most) = profile.clip_duration_bounds_sec();
    for value in [5.0, least, most] {
        assert_eq!(duration(value, &profile), Ok(value));
    }
    let float32 = [f64::from(5.15_f32), f64::from(4.85_f32)];
    for value in [
        float32[0],
        float32[1],
        0.0,
        -5.0,
        f64::NAN,
        f64::INFINITY,
        least.next_down(),
        most.next_up(),
    ] {
        assert_eq!(
            duration(value, &profile),
            Err(CellFault::OutOfBounds),
            "{value}"
        );
    }
}

#[test]
fn infinity_is_above_every_lower_bound_and_nan_above_none() {
    assert_eq!(start(0.0), Ok(0.0));
    assert_eq!(start(-0.0), Ok(-0.0));
    assert_eq!(start(f64::INFINITY), Ok(f64::INFINITY));
    assert_eq!(fps(f64::INFINITY), Ok(f64::INFINITY));
    assert_eq!(fps(f64::MIN_POSITIVE), Ok(f64::MIN_POSITIVE));
    for value in [-1e-300, f64::NEG_INFINITY, f64::NAN] {
        assert!(start(value).is_err() && fps(value).is_err(), "{value}");
    }
    assert!(fps(0.0).is_err());
}

#[test]
fn counts_are_above_zero() {
    assert_eq!(positive(1), Ok(1));
    assert_eq!(positive(i128::MAX), Ok(i128::MAX.cast_unsigned()));
    assert!(positive(0).is_err() && positive(-1).is_err() && positive(i128::MIN).is_err());
}

#[test]
fn a_digest_is_any_64_characters_but_only_lower_hex_can_match() {
    let hex = Digest::of(b"").to_string();
    assert_eq!(
        digest(&format!("\u{a0} {hex}\n")),
        Ok(Some(Digest::of(b"")))
    );
    assert_eq!(digest(&hex.to_uppercase()), Ok(None));
    assert_eq!(digest(&"ä".repeat(64)), Ok(None));
    assert_eq!(
        digest(&"ä".repeat(32)),
        Err(CellFault::NotDigest),
        "64 bytes are no 64 characters"
    );
    for wrong in ["", &hex[1..], &format!("{hex}0")] {
        assert_eq!(digest(wrong), Err(CellFault::NotDigest), "{wrong}");
    }
}

#[test]
fn texts_are_stripped_of_unicode_white_space_only() {
    let mut column = TextColumn::default();
    column.push_stripped("\u{2003} lake\u{85}\t").unwrap();
    column.push_stripped("\u{200b}").unwrap();
    column.push_stripped("\u{1c}").unwrap();
    let texts: Vec<_> = (0..4).map(|at| column.get(at)).collect();
    assert_eq!(
        texts,
        [Some("lake"), Some("\u{200b}"), Some("\u{1c}"), None]
    );
    for blank in ["", " ", "\u{a0}\u{3000}\n"] {
        assert_eq!(column.push_stripped(blank), Err(CellFault::Blank));
    }
    assert_eq!((column.len(), column.bytes()), (3, 8));
}

#[test]
fn reserved_room_is_no_row_and_a_guess_has_a_bound() {
    let mut column = TextColumn::default();
    column.push(&"x".repeat(1 << 20)).unwrap();
    column.reserve(1_000_000);
    assert!(column.text.capacity() <= (65 << 20) + 16);
    assert_eq!((column.len(), column.get(1)), (1, None));
    let mut columns = Columns::default();
    columns.reserve(10);
    assert_eq!(Rows::try_from(columns).unwrap().len(), 0);
}

#[test]
fn rows_come_back_in_order_and_by_place() {
    let rows = three();
    let ids: Vec<_> = rows.iter().map(|row| row.clip_id).collect();
    assert_eq!(ids, ["a", "bb", "日本"]);
    assert_eq!(rows.get(1), Some(row("bb")));
    assert_eq!(rows.get(3), None);
    let ids: Vec<_> = rows
        .select(&[2, 9, 0, 2])
        .iter()
        .map(|row| row.clip_id.to_owned())
        .collect();
    assert_eq!(ids, ["日本", "a", "日本"]);
}

#[test]
fn rows_survive_the_wire() {
    for rows in [Rows::default(), three()] {
        let bytes = postcard::to_stdvec(&rows).unwrap();
        assert_eq!(postcard::from_bytes::<Rows>(&bytes).unwrap(), rows);
        for end in 0..bytes.len() {
            assert!(postcard::from_bytes::<Rows>(&bytes[..end]).is_err());
        }
    }
}

#[test]
fn columns_that_make_no_rows_are_refused_on_arrival() {
    let columns = || Columns::from(three());
    assert!(Rows::try_from(columns()).is_ok());
    let mut ragged = columns();
    ragged.has_audio.pop();
    let mut short = columns();
    short.caption = TextColumn::default();
    for columns in [ragged, short] {
        assert_eq!(Rows::try_from(columns.clone()), Err(RowsError::Ragged));
        let bytes = postcard::to_stdvec(&columns).unwrap();
        assert!(postcard::from_bytes::<Rows>(&bytes).is_err());
    }
    for ends in [
        vec![1, 3, 8],
        vec![1, 4, 9],
        vec![3, 1, 9],
        vec![1, 3, 10],
        vec![1, 3, u32::MAX],
    ] {
        let mut cut = columns();
        cut.clip_id.ends = ends;
        assert_eq!(Rows::try_from(cut), Err(RowsError::BadCut));
    }
}
