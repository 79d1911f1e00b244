//! One column of one row group: its pages become levels and values.

use super::budget::Budget;
use super::footer::{Chunk, SizeStatistics};
use super::hybrid;
use super::kind::Physical;
use super::page::{Page, PageLevels, Pages};
use super::schema::Leaf;
use super::values::{Decoder, Dictionary, Encoded, Values};
use super::{Fault, Result, broken};

const RLE: i32 = 3;
const BIT_PACKED: i32 = 4;
/// Levels that others read at least in one go.
const LEVEL_BATCH: usize = 1024;

/// What was read of a column.
#[derive(Debug, Default)]
pub(crate) struct Column {
    /// Places: values and nulls.
    pub(crate) slots: usize,
    /// Levels of all places, when they were asked for.
    pub(crate) definition: Vec<u16>,
    pub(crate) repetition: Vec<u16>,
}

/// The values of a page, and which of its places have one.
pub(crate) struct View<'a> {
    pub(crate) values: &'a Values<'a>,
    /// How many values there are.
    pub(crate) count: usize,
    /// A level for each place, when some may be null.
    pub(crate) definition: Option<&'a [u16]>,
    /// The level of a value that is there.
    pub(crate) max: u16,
    /// What the places are counted from.
    pub(crate) first: usize,
}

/// How much of a column is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// Records, as the row group declares them.
    pub(crate) records: i64,
    /// More rows than this are refused.
    pub(crate) most: usize,
    pub(crate) keep_levels: bool,
}

struct Reading<'a, 'b, S> {
    pages: Pages<'a>,
    leaf: &'b Leaf,
    wanted: Wanted,
    decoder: Decoder,
    column: Column,
    sink: S,
    /// Room for the levels of one page.
    definition: Vec<u16>,
    repetition: Vec<u16>,
}

/// Reads a column and hands its values to `sink`, page by page.
pub(crate) fn read<E: From<Fault>>(
    file: &[u8],
    chunk: &Chunk,
    leaf: &Leaf,
    wanted: Wanted,
    budget: &mut Budget,
    sink: impl FnMut(View<'_>, &mut Budget) -> Result<(), E>,
) -> Result<Column, E> {
    let records =
        usize::try_from(wanted.records).map_err(|_| broken("it has a negative number of rows"))?;
    check_room(leaf, records)?;
    check_sizes(leaf, chunk.sizes)?;
    let mut reading = Reading {
        pages: Pages::of(file, chunk)?,
        leaf,
        wanted,
        decoder: Decoder::default(),
        column: Column::default(),
        sink,
        definition: Vec::new(),
        repetition: Vec::new(),
    };
    if leaf.max_repetition == 0 {
        reading.flat(records, budget)?;
    } else {
        reading.repeated(records, budget)?;
    }
    Ok(reading.column)
}

/// Others make room for all rows that a row group declares before they read one: beyond what a machine has, they fail.
fn check_room(leaf: &Leaf, records: usize) -> Result<()> {
    const MACHINE: u128 = 32 << 30;
    let width = leaf.physical.width().unwrap_or(0) as u128;
    let levels = match (leaf.max_definition, leaf.max_repetition) {
        (0, _) => 0,
        (_, 0) => 2,
        _ => 4,
    };
    let room = (records as u128).next_power_of_two() * (width + levels);
    if room > MACHINE || records >= 1 << 62 {
        return Err(broken("a row group declares more rows than memory holds"));
    }
    Ok(())
}

/// Histograms of levels that do not fit their column are refused by others, though nobody needs them.
fn check_sizes(leaf: &Leaf, sizes: SizeStatistics) -> Result<()> {
    let fits = |length: usize, max: u16| length == 0 || length == usize::from(max) + 1;
    let texts = !sizes.has_texts || leaf.physical == Physical::ByteArray;
    if texts
        && fits(sizes.repetition, leaf.max_repetition)
        && fits(sizes.definition, leaf.max_definition)
    {
        Ok(())
    } else {
        Err(broken("a column has size statistics of another column"))
    }
}

impl<E: From<Fault>, S: FnMut(View<'_>, &mut Budget) -> Result<(), E>> Reading<'_, '_, S> {
    /// A column without lists: a place is a record.
    fn flat(&mut self, records: usize, budget: &mut Budget) -> Result<(), E> {
        let mut left = records;
        // Others give up at the second empty page in a row, and at the first one of all.
        let mut after_empty = true;
        while left > 0 {
            let Some(taken) = self.page(left, budget)? else {
                break;
            };
            if taken == 0 {
                if after_empty {
                    break;
                }
                after_empty = true;
                continue;
            }
            after_empty = false;
            left -= taken;
            if self.column.slots > self.wanted.most {
                return Err(Fault::Beyond {
                    what: crate::limits::ROWS,
                    limit: self.wanted.most,
                }
                .into());
            }
        }
        Ok(())
    }

    /// A column inside lists: a record begins where the repetition level is 0.
    fn repeated(&mut self, records: usize, budget: &mut Budget) -> Result<(), E> {
        let mut begun = 0_usize;
        let mut after_empty = true;
        while records > 0 && begun <= records {
            let before = self.column.repetition.len();
            let Some(taken) = self.page(usize::MAX, budget)? else {
                break;
            };
            if taken == 0 {
                if after_empty {
                    break;
                }
                after_empty = true;
                continue;
            }
            after_empty = false;
            let starts = self.column.repetition[before..]
                .iter()
                .filter(|level| **level == 0);
            begun += starts.count();
        }
        if begun > records {
            self.cut(records);
        }
        if begun.min(records) > self.wanted.most {
            return Err(Fault::Beyond {
                what: crate::limits::ROWS,
                limit: self.wanted.most,
            }
            .into());
        }
        Ok(())
    }

    /// Drops what is behind so many records.
    fn cut(&mut self, records: usize) {
        let column = &mut self.column;
        let starts = column.repetition.iter().enumerate();
        let mut starts = starts.filter(|(_, level)| **level == 0);
        if let Some((end, _)) = starts.nth(records) {
            column.repetition.truncate(end);
            column.definition.truncate(end);
            column.slots = slots_of(self.leaf, Some(&column.definition), end);
        }
    }

    /// The next page with values, as far as `left` places are wanted: how many it brought.
    fn page(&mut self, left: usize, budget: &mut Budget) -> Result<Option<usize>, E> {
        loop {
            let leaf = self.leaf;
            let (slots, encoding, levels, bytes) = match self.pages.next(budget)? {
                None => return Ok(None),
                Some(Page::Dictionary {
                    values,
                    encoding,
                    bytes,
                }) => {
                    if self.decoder.dictionary.is_some() {
                        return Err(broken("a column has two dictionaries").into());
                    }
                    budget.nested(values)?;
                    let dictionary = Dictionary::read(
                        bytes,
                        values,
                        encoding,
                        leaf.physical,
                        leaf.as_dictionary,
                    )?;
                    self.decoder.dictionary = Some(dictionary);
                    continue;
                }
                Some(Page::Data {
                    values,
                    encoding,
                    levels,
                    bytes,
                }) => (values, encoding, levels, bytes),
            };
            let most = slots.min(left.max(LEVEL_BATCH));
            (self.definition, self.repetition) = (Vec::new(), Vec::new());
            let bytes = split_levels(
                leaf,
                levels,
                bytes,
                slots,
                most,
                &mut self.definition,
                &mut self.repetition,
            )?;
            let taken = most.min(left);
            budget.slots(taken)?;
            if self.wanted.keep_levels {
                budget.nested(taken)?;
            }
            let has_levels = leaf.max_definition > 0;
            let definition = has_levels.then(|| &self.definition[..taken]);
            let present = definition.map_or(taken, |levels| {
                levels
                    .iter()
                    .filter(|level| **level == leaf.max_definition)
                    .count()
            });
            let room = budget.bytes_left();
            let page = Encoded {
                bytes,
                encoding,
                slots,
                wanted: present,
                physical: leaf.physical,
                as_dictionary: leaf.as_dictionary,
            };
            let values = self.decoder.decode(page, room)?;
            budget.bytes(values.extra_bytes(bytes.len()))?;
            let view = View {
                values: &values,
                count: present,
                definition,
                max: leaf.max_definition,
                first: self.column.slots,
            };
            (self.sink)(view, budget)?;
            self.column.slots += slots_of(leaf, definition, taken);
            if self.wanted.keep_levels {
                self.column
                    .definition
                    .extend_from_slice(&self.definition[..taken.min(self.definition.len())]);
                self.column
                    .repetition
                    .extend_from_slice(&self.repetition[..taken.min(self.repetition.len())]);
            }
            return Ok(Some(taken));
        }
    }
}

/// Places that a leaf has: not those of lists around it that are empty.
fn slots_of(leaf: &Leaf, definition: Option<&[u16]>, taken: usize) -> usize {
    match definition {
        Some(levels) if leaf.levels.slot > 0 => levels
            .iter()
            .filter(|level| **level >= leaf.levels.slot)
            .count(),
        _ => taken,
    }
}

/// Reads the levels in front of a page's values, and answers the bytes of these.
fn split_levels<'a>(
    leaf: &Leaf,
    levels: PageLevels,
    bytes: &'a [u8],
    slots: usize,
    most: usize,
    definition: &mut Vec<u16>,
    repetition: &mut Vec<u16>,
) -> Result<&'a [u8]> {
    const SHORT: Fault = broken("a page is shorter than its levels");
    let (repetition_bytes, definition_bytes, values) = match levels {
        PageLevels::First {
            repetition,
            definition,
        } => {
            let (first, rest) = first_levels(bytes, repetition, leaf.max_repetition, slots)?;
            let (second, rest) = first_levels(rest, definition, leaf.max_definition, slots)?;
            (first, second, rest)
        }
        PageLevels::Second {
            repetition,
            definition,
        } => {
            let (first, rest) = bytes.split_at_checked(repetition).ok_or(SHORT)?;
            let (second, rest) = rest.split_at_checked(definition).ok_or(SHORT)?;
            (Packing::Runs(first), Packing::Runs(second), rest)
        }
    };
    let has_all = (leaf.max_definition == 0
        || definition_bytes.read(leaf.max_definition, most, definition)? == most)
        && (leaf.max_repetition == 0
            || repetition_bytes.read(leaf.max_repetition, most, repetition)? == most);
    if has_all {
        Ok(values)
    } else {
        Err(broken("a page has fewer levels than values and nulls"))
    }
}

enum Packing<'a> {
    Runs(&'a [u8]),
    Bits(&'a [u8]),
}

impl Packing<'_> {
    fn read(&self, max: u16, count: usize, into: &mut Vec<u16>) -> Result<usize> {
        const HIGH: Fault = broken("a page has levels out of range");
        match self {
            Self::Runs(bytes) => hybrid::levels(bytes, max, count, into).ok_or(HIGH),
            Self::Bits(bytes) => {
                let width = hybrid::level_width(max);
                let count = count.min(bytes.len() * 8 / width as usize);
                into.extend(
                    (0..count).map(|at| {
                        u16::try_from(hybrid::packed(bytes, at, width)).unwrap_or(u16::MAX)
                    }),
                );
                if into.iter().all(|level| *level <= max) {
                    Ok(count)
                } else {
                    Err(HIGH)
                }
            }
        }
    }
}

/// The levels of a page of the first kind, which say themselves how long they are.
fn first_levels(
    bytes: &[u8],
    encoding: i32,
    max: u16,
    slots: usize,
) -> Result<(Packing<'_>, &[u8])> {
    const SHORT: Fault = broken("a page is shorter than its levels");
    if max == 0 {
        return Ok((Packing::Runs(&[]), bytes));
    }
    match encoding {
        RLE => {
            let (length, rest) = bytes.split_first_chunk::<4>().ok_or(SHORT)?;
            let length = usize::try_from(i32::from_le_bytes(*length)).map_err(|_| SHORT)?;
            let (runs, rest) = rest.split_at_checked(length).ok_or(SHORT)?;
            Ok((Packing::Runs(runs), rest))
        }
        BIT_PACKED => {
            let bits = slots
                .checked_mul(hybrid::level_width(max) as usize)
                .ok_or(SHORT)?;
            let length = bits.div_ceil(8);
            // Others want four bytes more to be there.
            if length + 4 > bytes.len() {
                return Err(SHORT);
            }
            let (packed, rest) = bytes.split_at_checked(length).ok_or(SHORT)?;
            Ok((Packing::Bits(packed), rest))
        }
        _ => Err(broken(
            "a page has levels in an encoding that others do not read",
        )),
    }
}
