//! Lists and structures, put together from the levels of their columns: whether they fit, and how many there are.

use super::leaf::Column;
use super::schema::{Field, Levels, ListKind, Shape};
use super::{Fault, Result, broken};

const MISFIT: Fault = broken("columns of one structure or list do not fit together");

/// The columns of one field of one row group; those of other fields are not there.
pub(crate) struct Nest<'a> {
    pub(crate) columns: &'a [Option<Column>],
}

impl Nest<'_> {
    /// Puts a field together and answers how many places it has; `upper` is how many it may have.
    pub(crate) fn build(&self, field: &Field<'_>, upper: usize) -> Result<usize> {
        match &field.shape {
            Shape::Leaf(leaf) => Ok(self.column(*leaf)?.slots),
            Shape::List(kind, item) => self.list(field, *kind, item, upper),
            Shape::Struct { fields, unnameable } => {
                if *unnameable && self.is_present(field)? {
                    return Err(Fault::Unconvertible(
                        "a structure in which a name comes twice or is no text",
                    ));
                }
                self.structure(field, fields, upper)
            }
        }
    }

    /// Whether a field that stands in no list is null anywhere.
    pub(crate) fn has_null(&self, field: &Field<'_>) -> Result<bool> {
        let column = self.levels_of(field)?;
        Ok(column
            .definition
            .iter()
            .any(|level| *level < field.levels.definition))
    }

    fn is_present(&self, field: &Field<'_>) -> Result<bool> {
        let column = self.levels_of(field)?;
        if field.levels.definition == 0 {
            return Ok(column.slots > 0);
        }
        Ok(column
            .definition
            .iter()
            .any(|level| *level >= field.levels.definition))
    }

    fn column(&self, leaf: usize) -> Result<&Column> {
        self.columns
            .get(leaf)
            .and_then(Option::as_ref)
            .ok_or(MISFIT)
    }

    /// The column whose levels others use for a field.
    fn levels_of(&self, field: &Field<'_>) -> Result<&Column> {
        match &field.shape {
            Shape::Leaf(leaf) => self.column(*leaf),
            Shape::List(_, item) => self.levels_of(item),
            Shape::Struct { fields, .. } => {
                let flat = fields.iter().find(|field| !is_repeated(field));
                self.levels_of(flat.or(fields.first()).ok_or(MISFIT)?)
            }
        }
    }

    fn list(
        &self,
        field: &Field<'_>,
        kind: ListKind,
        item: &Field<'_>,
        upper: usize,
    ) -> Result<usize> {
        let column = self.levels_of(item)?;
        let lists = Lists::of(column, field.levels, field.nullable, upper)?;
        if let ListKind::FixedSize(size) = kind {
            let size = usize::try_from(size).map_err(|_| MISFIT)?;
            if !lists.all_have(size) {
                return Err(broken("a list of fixed length has another length"));
            }
        }
        let elements = match (kind, &item.shape) {
            (ListKind::Map, Shape::Struct { fields, .. }) => {
                self.structure(item, fields, lists.elements)?
            }
            _ => self.build(item, lists.elements)?,
        };
        if elements < lists.elements {
            return Err(MISFIT);
        }
        Ok(lists.count)
    }

    fn structure(&self, field: &Field<'_>, fields: &[Field<'_>], upper: usize) -> Result<usize> {
        let repeated = fields.iter().all(is_repeated);
        let mut count = upper;
        if repeated {
            let levels = Levels {
                definition: field.levels.definition + 1,
                repetition: field.levels.repetition + 1,
                ..field.levels
            };
            count = Lists::of(self.levels_of(field)?, levels, true, upper)?.count;
        } else if field.nullable {
            count = slots(self.levels_of(field)?, field.levels);
            if count > upper {
                return Err(MISFIT);
            }
        }
        let mut first = None;
        for child in fields {
            let length = self.build(child, count)?;
            if !repeated && !field.nullable {
                count = *first.get_or_insert(length);
            }
            if length < count {
                return Err(MISFIT);
            }
        }
        Ok(count)
    }
}

/// Whether a field is a list, or has nothing but lists below it.
fn is_repeated(field: &Field<'_>) -> bool {
    match &field.shape {
        Shape::Leaf(_) => false,
        Shape::List(..) => true,
        Shape::Struct { fields, .. } => fields.iter().all(is_repeated),
    }
}

fn slots(column: &Column, levels: Levels) -> usize {
    if levels.repetition == 0 {
        column.definition.len()
    } else {
        column
            .definition
            .iter()
            .filter(|level| **level >= levels.slot)
            .count()
    }
}

/// How many lists there are, and elements in them.
#[derive(Debug, Default)]
struct Lists {
    count: usize,
    elements: usize,
    /// Lengths of the shortest and the longest list that is not null.
    lengths: Option<(usize, usize)>,
}

impl Lists {
    /// `nullable`: the list itself may be null; else one inside a null structure counts as empty.
    fn of(column: &Column, levels: Levels, nullable: bool, upper: usize) -> Result<Self> {
        let mut lists = Self::default();
        // The list that is being counted, unless it is null.
        let mut length = None;
        for (&definition, &repetition) in column.definition.iter().zip(&column.repetition) {
            if definition < levels.slot || repetition > levels.repetition {
                continue;
            }
            if repetition == levels.repetition {
                length = length.map(|length| length + 1);
                lists.elements += 1;
                continue;
            }
            if lists.count >= upper {
                return Err(MISFIT);
            }
            lists.end(length);
            lists.count += 1;
            let first = usize::from(definition >= levels.definition);
            lists.elements += first;
            let is_null = nullable && definition + 1 < levels.definition;
            length = (!is_null).then_some(first);
        }
        lists.end(length);
        Ok(lists)
    }

    fn end(&mut self, length: Option<usize>) {
        if let Some(length) = length {
            let (least, most) = self.lengths.unwrap_or((length, length));
            self.lengths = Some((least.min(length), most.max(length)));
        }
    }

    fn all_have(&self, length: usize) -> bool {
        self.lengths
            .is_none_or(|lengths| lengths == (length, length))
    }
}
