//! Parquet files in which every declared number can be a lie.

use nexis_dataset::REQUIRED;

/// What a page's header says.
#[derive(Clone, Copy)]
pub struct Page {
    pub kind: i64,
    pub values: i64,
    pub encoding: i64,
    pub decompressed: i64,
}

/// A plain data page of one value.
pub const PAGE_V1: Page = Page {
    kind: 0,
    values: 1,
    encoding: 0,
    decompressed: 30,
};

/// A text column of one row group.
pub struct Chunk {
    pub codec: i64,
    pub values: i64,
    pub pages: Vec<(Page, Vec<u8>)>,
}

impl Chunk {
    pub fn plain(values: i64) -> Self {
        let page = [&26_u32.to_le_bytes()[..], &[b'a'; 26]].concat();
        Self {
            codec: 0,
            values,
            pages: vec![(PAGE_V1, page)],
        }
    }

    pub fn zstd(values: i64) -> Self {
        Self {
            codec: 6,
            ..Self::plain(values)
        }
    }
}

/// All required columns; those that are not given are the first one again. The type of every one is text.
pub fn forge(columns: &[Chunk], rows: i64) -> Vec<u8> {
    let mut file = b"PAR1".to_vec();
    let mut places = Vec::new();
    for column in columns {
        let begin = file.len();
        for (page, body) in &column.pages {
            let length = i64::try_from(body.len()).unwrap();
            let mut header = Thrift::default();
            header
                .small(1, page.kind)
                .small(2, page.decompressed)
                .small(3, length);
            header.begin(if page.kind == 2 { 7 } else { 5 });
            header.small(1, page.values).small(2, page.encoding);
            if page.kind != 2 {
                header.small(3, 3).small(4, 3);
            }
            header.end().end();
            file.extend(header.bytes);
            file.extend(body);
        }
        places.push((begin, file.len() - begin, column));
    }
    let mut footer = Thrift::default();
    footer.small(1, 1).list(2, 12, REQUIRED.len() + 1);
    footer.open().text(4, "schema").small(5, 17).end();
    for name in REQUIRED {
        footer
            .open()
            .small(1, 6)
            .small(3, 0)
            .text(4, name)
            .small(6, 0)
            .end();
    }
    footer
        .int(3, rows)
        .list(4, 12, 1)
        .open()
        .list(1, 12, REQUIRED.len());
    for (at, name) in REQUIRED.iter().enumerate() {
        let (begin, length, column) = places.get(at).unwrap_or(&places[0]);
        let (begin, length) = [*begin, *length]
            .map(|at| i64::try_from(at).unwrap())
            .into();
        footer.open().int(2, begin).begin(3).small(1, 6);
        footer.list(2, 5, 0).list(3, 8, 1).raw_text(name);
        footer.small(4, column.codec).int(5, column.values);
        footer
            .int(6, length)
            .int(7, length)
            .int(9, begin)
            .end()
            .end();
    }
    footer.int(2, 1).int(3, rows).end().end();
    let length = u32::try_from(footer.bytes.len()).unwrap();
    file.extend(footer.bytes);
    file.extend(length.to_le_bytes());
    file.extend(b"PAR1");
    file
}

/// A delta stream: `first`, then `count - 1` times the value after `step`.
pub fn deltas(out: &mut Vec<u8>, count: usize, first: i64, step: i64) {
    const BLOCK: usize = 128;
    varint(out, BLOCK as u64);
    varint(out, 1);
    varint(out, count as u64);
    varint(out, zigzag(first));
    for block in 0..(count - 1).div_ceil(BLOCK) {
        // Differences are all zero, but for the first of all, which needs a width.
        let wide = block == 0 && step != 0;
        let least = if wide { step.min(0) } else { 0 };
        varint(out, zigzag(least));
        if wide {
            out.push(32);
            for place in 0..BLOCK {
                let difference = if place == 0 { step } else { 0 } - least;
                out.extend(&difference.to_le_bytes()[..4]);
            }
        } else {
            out.push(0);
        }
    }
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

#[derive(Default)]
struct Thrift {
    bytes: Vec<u8>,
    last: u8,
    outer: Vec<u8>,
}

impl Thrift {
    fn field(&mut self, id: u8, kind: u8) -> &mut Self {
        self.bytes.push((id - self.last) << 4 | kind);
        self.last = id;
        self
    }

    fn int(&mut self, id: u8, value: i64) -> &mut Self {
        self.field(id, 6);
        varint(&mut self.bytes, zigzag(value));
        self
    }

    /// A field of 32 bits.
    fn small(&mut self, id: u8, value: i64) -> &mut Self {
        self.field(id, 5);
        varint(&mut self.bytes, zigzag(value));
        self
    }

    fn text(&mut self, id: u8, text: &str) -> &mut Self {
        self.field(id, 8).raw_text(text)
    }

    fn raw_text(&mut self, text: &str) -> &mut Self {
        varint(&mut self.bytes, text.len() as u64);
        self.bytes.extend(text.as_bytes());
        self
    }

    fn list(&mut self, id: u8, kind: u8, length: usize) -> &mut Self {
        self.field(id, 9);
        self.bytes.push(0xf0 | kind);
        varint(&mut self.bytes, length as u64);
        self
    }

    fn open(&mut self) -> &mut Self {
        self.outer.push(self.last);
        self.last = 0;
        self
    }

    fn begin(&mut self, id: u8) -> &mut Self {
        self.field(id, 12).open()
    }

    fn end(&mut self) -> &mut Self {
        self.bytes.push(0);
        self.last = self.outer.pop().unwrap_or(0);
        self
    }
}
