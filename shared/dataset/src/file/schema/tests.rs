use super::*;

fn leaf(name: &'static str, repetition: i32) -> Element<'static> {
    Element {
        name: name.as_bytes(),
        physical: Some(1),
        repetition,
        ..Element::default()
    }
}

fn group(name: &'static str, repetition: i32, children: i32) -> Element<'static> {
    Element {
        name: name.as_bytes(),
        repetition,
        children,
        ..Element::default()
    }
}

fn list(name: &'static str) -> Element<'static> {
    Element {
        logical: Some(Logical::List),
        ..group(name, OPTIONAL, 1)
    }
}

fn levels(definition: u16, repetition: u16, slot: u16) -> Levels {
    Levels {
        definition,
        repetition,
        slot,
    }
}

#[test]
fn a_list_of_three_levels_has_the_levels_that_the_format_says() {
    let elements = [
        group("schema", REQUIRED, 1),
        list("words"),
        group("list", REPEATED, 1),
        leaf("element", OPTIONAL),
    ];
    let schema = Schema::of(&elements, None).unwrap();
    let [words] = &schema.fields[..] else {
        panic!("{:?}", schema.fields);
    };
    assert_eq!(words.levels, levels(2, 1, 0));
    assert!(matches!(&words.shape, Shape::List(ListKind::List, item) if item.nullable));
    let [leaf] = &schema.leaves[..] else {
        panic!("{:?}", schema.leaves);
    };
    assert_eq!(leaf.levels, levels(3, 1, 2));
}

#[test]
fn lists_of_older_writers_are_lists() {
    let one_level = [group("schema", REQUIRED, 1), leaf("words", REPEATED)];
    let two_levels = [
        group("schema", REQUIRED, 1),
        list("words"),
        leaf("element", REPEATED),
    ];
    let tuple = [
        group("schema", REQUIRED, 1),
        list("words"),
        group("words_tuple", REPEATED, 1),
        leaf("x", REQUIRED),
    ];
    for (elements, is_struct) in [
        (&one_level[..], false),
        (&two_levels, false),
        (&tuple, true),
    ] {
        let schema = Schema::of(elements, None).unwrap();
        let Shape::List(_, item) = &schema.fields[0].shape else {
            panic!("{:?}", schema.fields);
        };
        assert_eq!(matches!(item.shape, Shape::Struct { .. }), is_struct);
    }
}

#[test]
fn what_makes_no_tree_is_refused() {
    let root = |children| group("schema", REQUIRED, children);
    let deep = |depth: usize| {
        let mut elements = vec![root(1)];
        elements.extend((0..depth).map(|_| group("x", REQUIRED, 1)));
        elements.push(leaf("x", REQUIRED));
        elements
    };
    for (what, elements) in [
        ("no element", Vec::new()),
        ("too few", vec![root(2), leaf("a", REQUIRED)]),
        (
            "too many",
            vec![root(1), leaf("a", REQUIRED), leaf("b", REQUIRED)],
        ),
        ("a negative number", vec![root(1), group("a", REQUIRED, -1)]),
        ("a root without columns", vec![root(0), leaf("a", REQUIRED)]),
        (
            "a group without columns",
            vec![root(1), group("a", REQUIRED, 0)],
        ),
        (
            "a list of what is not repeated",
            vec![root(1), list("a"), leaf("b", REQUIRED)],
        ),
        (
            "more children than elements",
            vec![root(i32::MAX), leaf("a", REQUIRED)],
        ),
        ("too deep", deep(99)),
    ] {
        assert!(Schema::of(&elements, None).is_err(), "{what}");
    }
    assert!(Schema::of(&deep(98), None).is_ok());
    let one = [root(1), leaf("a", REQUIRED)];
    assert!(Schema::of(&one, Some(1)).is_ok());
    assert!(Schema::of(&one, Some(2)).is_err(), "orders of two columns");
}

#[test]
fn logical_types_apply_to_what_they_can_describe() {
    let kind = |physical, logical, length| {
        let element = Element {
            physical: Some(physical),
            logical,
            length,
            ..leaf("a", REQUIRED)
        };
        leaf_kind(&element).map(|(_, kind)| kind)
    };
    let decimal = |precision| {
        Some(Logical::Decimal {
            scale: 2,
            precision,
        })
    };
    assert_eq!(kind(6, Some(Logical::Text), 0), Ok(Kind::Text));
    let ignored = Ok(Kind::Int {
        bits: 32,
        signed: true,
    });
    assert_eq!(kind(1, Some(Logical::Text), 0), ignored, "ignored");
    assert_eq!(kind(7, Some(Logical::Uuid), 16), Ok(Kind::Uuid));
    assert_eq!(kind(7, Some(Logical::Uuid), 15), Ok(Kind::FixedBinary));
    assert_eq!(
        kind(7, decimal(38), 16),
        Ok(Kind::Decimal {
            scale: 2,
            bytes: 16
        })
    );
    assert_eq!(
        kind(7, decimal(39), 17),
        Ok(Kind::Decimal {
            scale: 2,
            bytes: 32
        })
    );
    assert_eq!(
        kind(7, decimal(39), 16),
        Ok(Kind::FixedBinary),
        "it does not fit"
    );
    assert!(
        kind(7, decimal(1), 2).is_err(),
        "more behind the point than there are"
    );
    assert!(kind(7, None, 0).is_err() && kind(8, None, 0).is_err());
}
