//! A writer of flat parquet files: required columns, one row group, plain and uncompressed.
//!
//! A writer of its own, so that what miners publish here is not the mirror image of what our reader
//! accepts, and so that it can be told to write what a good writer would not.

/// Values of one required column.
pub(crate) enum Column {
    Text(Vec<String>),
    Double(Vec<f64>),
    Long(Vec<i64>),
    Flag(Vec<bool>),
}

const BOOLEAN: i32 = 0;
const INT64: i32 = 2;
const DOUBLE: i32 = 5;
const BYTE_ARRAY: i32 = 6;

impl Column {
    fn kind(&self) -> i32 {
        match self {
            Self::Text(_) => BYTE_ARRAY,
            Self::Double(_) => DOUBLE,
            Self::Long(_) => INT64,
            Self::Flag(_) => BOOLEAN,
        }
    }

    fn plain(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Text(values) => {
                for value in values {
                    let length = u32::try_from(value.len()).expect("texts here are short");
                    out.extend(length.to_le_bytes());
                    out.extend(value.as_bytes());
                }
            }
            Self::Double(values) => values
                .iter()
                .for_each(|value| out.extend(value.to_le_bytes())),
            Self::Long(values) => values
                .iter()
                .for_each(|value| out.extend(value.to_le_bytes())),
            Self::Flag(values) => {
                for eight in values.chunks(8) {
                    let bits = eight.iter().enumerate();
                    out.push(bits.fold(0, |byte, (bit, set)| byte | (u8::from(*set) << bit)));
                }
            }
        }
        out
    }
}

/// The file of `rows` rows with these columns in this order.
pub(crate) fn encode(columns: &[(&str, Column)], rows: usize) -> Vec<u8> {
    let rows = i64::try_from(rows).expect("few rows");
    let mut file = b"PAR1".to_vec();
    let mut chunks = Vec::new();
    for (_, column) in columns {
        let values = column.plain();
        let length = i64::try_from(values.len()).expect("small pages");
        let mut page = Thrift::default();
        page.int(1, 0).int(2, length).int(3, length);
        // Data page: how many values, plain, levels in RLE (there are none: nothing is optional or nested).
        page.begin(5)
            .int(1, rows)
            .int(2, 0)
            .int(3, 3)
            .int(4, 3)
            .end()
            .end();
        let offset = i64::try_from(file.len()).expect("small files");
        let header = i64::try_from(page.bytes.len()).expect("small headers");
        file.extend(&page.bytes);
        file.extend(&values);
        chunks.push((offset, length + header));
    }
    let footer = footer(columns, &chunks, rows);
    let length = u32::try_from(footer.len()).expect("small footers");
    file.extend(&footer);
    file.extend(length.to_le_bytes());
    file.extend(b"PAR1");
    file
}

fn footer(columns: &[(&str, Column)], chunks: &[(i64, i64)], rows: i64) -> Vec<u8> {
    let mut meta = Thrift::default();
    meta.int(1, 1);
    meta.list(2, STRUCT, columns.len() + 1);
    let children = i64::try_from(columns.len()).expect("few columns");
    meta.element().text(4, "schema").int(5, children).end();
    for (name, column) in columns {
        meta.element()
            .int(1, column.kind().into())
            .int(3, 0)
            .text(4, name);
        if column.kind() == BYTE_ARRAY {
            meta.int(6, 0); // UTF8
            meta.begin(10).begin(1).end().end(); // the same as a logical type
        }
        meta.end();
    }
    meta.long(3, rows);
    meta.list(4, STRUCT, 1);
    meta.element();
    meta.list(1, STRUCT, columns.len());
    for ((name, column), (offset, size)) in columns.iter().zip(chunks) {
        meta.element().long(2, *offset).begin(3);
        meta.int(1, column.kind().into());
        meta.list(2, I32, 1).zigzag(0);
        meta.list(3, BINARY, 1).raw_text(name);
        meta.int(4, 0)
            .long(5, rows)
            .long(6, *size)
            .long(7, *size)
            .long(9, *offset)
            .end()
            .end();
    }
    let total = chunks.iter().map(|(_, size)| size).sum();
    meta.long(2, total).long(3, rows).end();
    meta.text(6, "nexis-localnet").end();
    meta.bytes
}

const I32: u8 = 5;
const I64: u8 = 6;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

/// Thrift's compact protocol, as much of it as a footer needs.
#[derive(Default)]
struct Thrift {
    bytes: Vec<u8>,
    last: i16,
    outer: Vec<i16>,
}

impl Thrift {
    fn varint(&mut self, mut value: u64) -> &mut Self {
        while value >= 0x80 {
            self.bytes.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.bytes.push(value.to_le_bytes()[0]);
        self
    }

    fn zigzag(&mut self, value: i64) -> &mut Self {
        self.varint(((value << 1) ^ (value >> 63)).cast_unsigned())
    }

    fn field(&mut self, id: i16, kind: u8) {
        // Ids rise by less than 16 within every structure written here: the short form suffices.
        let step = u8::try_from(id - self.last).expect("fields are written in order");
        self.bytes.push((step << 4) | kind);
        self.last = id;
    }

    fn int(&mut self, id: i16, value: i64) -> &mut Self {
        self.field(id, I32);
        self.zigzag(value)
    }

    fn long(&mut self, id: i16, value: i64) -> &mut Self {
        self.field(id, I64);
        self.zigzag(value)
    }

    fn text(&mut self, id: i16, text: &str) -> &mut Self {
        self.field(id, BINARY);
        self.raw_text(text)
    }

    fn raw_text(&mut self, text: &str) -> &mut Self {
        self.varint(text.len() as u64);
        self.bytes.extend(text.as_bytes());
        self
    }

    fn list(&mut self, id: i16, kind: u8, length: usize) -> &mut Self {
        self.field(id, LIST);
        match u8::try_from(length) {
            Ok(short) if short < 15 => self.bytes.push((short << 4) | kind),
            _ => {
                self.bytes.push(0xf0 | kind);
                self.varint(length as u64);
            }
        }
        self
    }

    /// A structure as an element of a list.
    fn element(&mut self) -> &mut Self {
        self.outer.push(self.last);
        self.last = 0;
        self
    }

    /// A structure as a field.
    fn begin(&mut self, id: i16) -> &mut Self {
        self.field(id, STRUCT);
        self.element()
    }

    fn end(&mut self) -> &mut Self {
        self.bytes.push(0);
        self.last = self.outer.pop().unwrap_or(0);
        self
    }
}
