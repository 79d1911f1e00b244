//! Arrow arrays as protocol cells.

use nexis_protocol::row::{Cell, CellFault};
use polars_arrow::array::{
    Array, BinaryArray, BinaryViewArray, BooleanArray, DictionaryArray, FixedSizeBinaryArray,
    PrimitiveArray, Utf8Array, Utf8ViewArray,
};
use polars_arrow::datatypes::ArrowDataType as T;
use polars_arrow::types::NativeType;
use polars_utils::float16::pf16;

/// A cell that broke its rule, by its place in the array.
pub(crate) type Fault = (usize, CellFault);

/// Bytes of text that are still read. A dictionary makes one long text stand in every row, and every rule reads it
/// again: what was decompressed says nothing about that.
pub(crate) struct TextBudget {
    left: usize,
}

impl TextBudget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { left: bytes }
    }

    fn spend(&mut self, cell: Cell<'_>) -> Result<(), CellFault> {
        let bytes = match cell {
            Cell::Text(text) => text.len(),
            Cell::Bytes(bytes) => bytes.len(),
            _ => 0,
        };
        self.left = self.left.checked_sub(bytes).ok_or(CellFault::TooMuchText)?;
        Ok(())
    }
}

/// Hands every cell to `take`, in order.
pub(crate) fn each(
    array: &dyn Array,
    budget: &mut TextBudget,
    mut take: impl FnMut(Cell<'_>) -> Result<(), CellFault>,
) -> Result<(), Fault> {
    let mut take = |cell: Cell<'_>| {
        budget.spend(cell)?;
        take(cell)
    };
    // The types that nearly all columns have get loops of their own: no look at the type per cell.
    if let Some(texts) = array
        .as_any()
        .downcast_ref::<Utf8ViewArray>()
        .filter(|texts| texts.null_count() == 0)
    {
        for (place, text) in texts.values_iter().enumerate() {
            take(Cell::Text(text)).map_err(|fault| (place, fault))?;
        }
        return Ok(());
    }
    macro_rules! plain {
        ($native:ty, $cell:expr) => {
            if let Some(values) = array
                .as_any()
                .downcast_ref::<PrimitiveArray<$native>>()
                .filter(|values| {
                    values.null_count() == 0 && *values.dtype() == <$native>::PRIMITIVE.into()
                })
            {
                for (place, value) in values.values_iter().enumerate() {
                    take($cell(*value)).map_err(|fault| (place, fault))?;
                }
                return Ok(());
            }
        };
    }
    plain!(f64, Cell::Float);
    plain!(i64, |value| Cell::Int(i128::from(value)));
    for place in 0..array.len() {
        take(at(array, place)).map_err(|fault| (place, fault))?;
    }
    Ok(())
}

/// One cell.
fn at(array: &dyn Array, place: usize) -> Cell<'_> {
    if array.is_null(place) {
        return Cell::Null;
    }
    let any = array.as_any();
    macro_rules! get {
        ($array:ty) => {
            any.downcast_ref::<$array>().map(|array| array.value(place))
        };
    }
    macro_rules! int {
        ($native:ty) => {
            get!(PrimitiveArray<$native>).map(|value| Cell::Int(i128::from(value)))
        };
    }
    let cell = match array.dtype() {
        T::Utf8View => get!(Utf8ViewArray).map(Cell::Text),
        T::Utf8 => get!(Utf8Array<i32>).map(Cell::Text),
        T::LargeUtf8 => get!(Utf8Array<i64>).map(Cell::Text),
        T::BinaryView => get!(BinaryViewArray).map(Cell::Bytes),
        T::Binary => get!(BinaryArray<i32>).map(Cell::Bytes),
        T::LargeBinary => get!(BinaryArray<i64>).map(Cell::Bytes),
        T::FixedSizeBinary(_) => get!(FixedSizeBinaryArray).map(Cell::Bytes),
        T::Boolean => get!(BooleanArray).map(Cell::Bool),
        T::Int8 => int!(i8),
        T::Int16 => int!(i16),
        T::Int32 => int!(i32),
        T::Int64 => int!(i64),
        T::UInt8 => int!(u8),
        T::UInt16 => int!(u16),
        T::UInt32 => int!(u32),
        T::UInt64 => int!(u64),
        T::Float16 => any
            .downcast_ref::<PrimitiveArray<pf16>>()
            .map(|array| Cell::Float(f64::from(array.value(place)))),
        T::Float32 => get!(PrimitiveArray<f32>).map(|value| Cell::Float(f64::from(value))),
        T::Float64 => get!(PrimitiveArray<f64>).map(Cell::Float),
        T::Decimal(_, scale) => u32::try_from(*scale).ok().and_then(|scale| {
            get!(PrimitiveArray<i128>).map(|unscaled| Cell::Decimal { unscaled, scale })
        }),
        T::Dictionary(..) => behind_key(array, place),
        _ => None,
    };
    cell.unwrap_or(Cell::Other)
}

fn behind_key(array: &dyn Array, place: usize) -> Option<Cell<'_>> {
    macro_rules! try_keys {
        ($($key:ty),*) => {
            $(if let Some(array) = array.as_any().downcast_ref::<DictionaryArray<$key>>() {
                let key = usize::try_from(array.keys().value(place)).ok()?;
                let values = array.values();
                return (key < values.len()).then(|| at(values.as_ref(), key));
            })*
        };
    }
    try_keys!(u32, u8, u16, u64, i8, i16, i32, i64);
    None
}
