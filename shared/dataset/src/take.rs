//! Values of a required column into the rows, by the column's rule.

use crate::cells::{self, Wish};
use crate::error::DatasetError;
use crate::file::Fault;
use crate::file::budget::Budget;
use crate::file::kind::{Kind, Physical};
use crate::file::leaf::View;
use crate::file::schema::Leaf;
use crate::file::values::Values;
use nexis_protocol::profile::Profile;
use nexis_protocol::row::{
    Cell, CellFault, Columns, TextColumn, coerce, digest, duration, fps, positive, start,
};

/// A column that every row must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    ClipId,
    ClipUri,
    ClipDigest,
    FrameUri,
    FrameDigest,
    SourceId,
    SplitGroup,
    Split,
    ClipStart,
    Duration,
    Width,
    Height,
    Fps,
    Frames,
    HasAudio,
    Caption,
    SourceUrl,
}

/// In the order of [`crate::REQUIRED`].
const TARGETS: [Target; 17] = [
    Target::ClipId,
    Target::ClipUri,
    Target::ClipDigest,
    Target::FrameUri,
    Target::FrameDigest,
    Target::SourceId,
    Target::SplitGroup,
    Target::Split,
    Target::ClipStart,
    Target::Duration,
    Target::Width,
    Target::Height,
    Target::Fps,
    Target::Frames,
    Target::HasAudio,
    Target::Caption,
    Target::SourceUrl,
];

impl Target {
    pub(crate) fn of(name: &[u8]) -> Option<Self> {
        let place = crate::REQUIRED
            .iter()
            .position(|required| required.as_bytes() == name)?;
        TARGETS.get(place).copied()
    }

    pub(crate) fn name(self) -> &'static str {
        let place = TARGETS.iter().position(|target| *target == self);
        place
            .and_then(|place| crate::REQUIRED.get(place))
            .copied()
            .unwrap_or_default()
    }

    fn wish(self) -> Wish {
        match self {
            Self::ClipStart | Self::Duration | Self::Fps => Wish::Float,
            Self::Width | Self::Height | Self::Frames => Wish::Int,
            Self::HasAudio => Wish::Bool,
            _ => Wish::Text,
        }
    }

    /// What is wrong with a list or structure in this column.
    pub(crate) fn fault(self, row: usize) -> DatasetError {
        let fault = match self.wish() {
            Wish::Text => CellFault::NotText,
            Wish::Float => CellFault::NotNumber,
            Wish::Int => CellFault::NotInteger,
            Wish::Bool => CellFault::NotBool,
        };
        DatasetError::Row {
            row,
            column: self.name(),
            fault,
        }
    }
}

/// What ended a page.
#[derive(Debug)]
pub(crate) enum TakeError {
    /// A value breaks its column's rule.
    Cell {
        place: usize,
        target: Target,
        fault: CellFault,
    },
    /// The file is not read further.
    File(Fault),
}

impl From<Fault> for TakeError {
    fn from(fault: Fault) -> Self {
        Self::File(fault)
    }
}

impl TakeError {
    /// The error of a page that begins at that row.
    pub(crate) fn at(self, first: usize) -> DatasetError {
        match self {
            Self::Cell {
                place,
                target,
                fault,
            } => DatasetError::Row {
                row: first + place,
                column: target.name(),
                fault,
            },
            Self::File(fault) => fault.into(),
        }
    }
}

/// Puts the values of a page into the rows.
pub(crate) fn take(
    target: Target,
    leaf: &Leaf,
    view: &View<'_>,
    profile: &Profile,
    c: &mut Columns,
    budget: &mut Budget,
) -> Result<(), TakeError> {
    let mut page = Page {
        target,
        leaf,
        view,
        budget,
    };
    if let Some(place) = page.first_null() {
        return Err(page.fault(place, Cell::Null));
    }
    match target {
        Target::ClipId => page.texts(&mut c.clip_id),
        Target::ClipUri => page.texts(&mut c.clip_uri),
        Target::FrameUri => page.texts(&mut c.first_frame_uri),
        Target::SourceId => page.texts(&mut c.source_video_id),
        Target::SplitGroup => page.texts(&mut c.split_group_id),
        Target::Split => page.texts(&mut c.split),
        Target::Caption => page.texts(&mut c.caption),
        Target::SourceUrl => page.texts(&mut c.source_video_url),
        Target::ClipDigest => page.each(&mut c.clip_sha256, |cell| digest(coerce::text(cell)?)),
        Target::FrameDigest => page.each(&mut c.first_frame_sha256, |cell| {
            digest(coerce::text(cell)?)
        }),
        Target::ClipStart => page.floats(&mut c.clip_start_sec, start),
        Target::Duration => page.floats(&mut c.duration_sec, |value| duration(value, profile)),
        Target::Fps => page.floats(&mut c.fps, fps),
        Target::Width => page.each(&mut c.width, |cell| positive(coerce::int(cell)?)),
        Target::Height => page.each(&mut c.height, |cell| positive(coerce::int(cell)?)),
        Target::Frames => page.each(&mut c.num_frames, |cell| positive(coerce::int(cell)?)),
        Target::HasAudio => page.each(&mut c.has_audio, coerce::bool),
    }
}

struct Page<'a, 'b> {
    target: Target,
    leaf: &'a Leaf,
    view: &'a View<'b>,
    budget: &'a mut Budget,
}

impl Page<'_, '_> {
    fn first_null(&self) -> Option<usize> {
        let levels = self.view.definition?;
        levels.iter().position(|level| *level != self.view.max)
    }

    /// The error of a cell that no rule lets pass.
    fn fault(&self, place: usize, cell: Cell<'_>) -> TakeError {
        let fault = match self.target.wish() {
            Wish::Text => coerce::text(cell).err(),
            Wish::Float => coerce::float(cell).err(),
            Wish::Int => coerce::int(cell).err(),
            Wish::Bool => coerce::bool(cell).err(),
        };
        self.cell_error(place, fault.unwrap_or(CellFault::NotText))
    }

    fn cell_error(&self, place: usize, fault: CellFault) -> TakeError {
        TakeError::Cell {
            place,
            target: self.target,
            fault,
        }
    }

    fn texts(&mut self, into: &mut TextColumn) -> Result<(), TakeError> {
        let (kind, physical, values) = (&self.leaf.kind, self.leaf.physical, self.view.values);
        for place in 0..self.view.count {
            let bytes = values.get(place);
            self.budget.text(bytes.len())?;
            let cell = cells::cell(kind, physical, bytes, Wish::Text)?;
            let pushed = coerce::text(cell).and_then(|text| into.push_stripped(text));
            pushed.map_err(|fault| self.cell_error(place, fault))?;
        }
        Ok(())
    }

    fn floats(
        &mut self,
        into: &mut Vec<f64>,
        rule: impl Fn(f64) -> Result<f64, CellFault>,
    ) -> Result<(), TakeError> {
        // Nearly all columns of floats are plain doubles: no look at the type per value.
        if let (Values::Fixed { bytes, width: 8 }, Kind::Double, Physical::Double) =
            (self.view.values, &self.leaf.kind, self.leaf.physical)
        {
            for (place, value) in bytes.as_chunks::<8>().0.iter().enumerate() {
                let value = rule(f64::from_le_bytes(*value));
                into.push(value.map_err(|fault| self.cell_error(place, fault))?);
            }
            return Ok(());
        }
        self.each(into, |cell| rule(coerce::float(cell)?))
    }

    fn each<V>(
        &mut self,
        into: &mut Vec<V>,
        rule: impl Fn(Cell<'_>) -> Result<V, CellFault>,
    ) -> Result<(), TakeError> {
        let wish = self.target.wish();
        for place in 0..self.view.count {
            let bytes = self.view.values.get(place);
            if self.leaf.physical == Physical::ByteArray {
                self.budget.text(bytes.len())?;
            }
            let cell = cells::cell(&self.leaf.kind, self.leaf.physical, bytes, wish)?;
            into.push(rule(cell).map_err(|fault| self.cell_error(place, fault))?);
        }
        Ok(())
    }
}
