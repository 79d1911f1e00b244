//! JSON as CPython's `json.loads(data.decode("utf-8"))` reads it (PROTOCOL.md §4, §13).
//!
//! Owns: one parser for miners' manifests and the record-info object. It accepts what other validators accept (NaN,
//! Infinity, lone surrogate escapes, duplicate keys, huge integers) and refuses what they refuse (BOM, raw control
//! characters, trailing text). It runs in linear time, needs no recursion to parse, and nests [`MAX_DEPTH`] deep at most.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

/// Deepest nesting of lists and objects that is read; CPython stops near its recursion limit of 1000.
pub const MAX_DEPTH: usize = 990;

/// Most digits of an integer literal; CPython refuses to convert more (`sys.int_info.default_max_str_digits`).
pub const MAX_INT_DIGITS: usize = 4300;

/// Objects with more members than this look keys up by hash instead of by a scan.
const SCAN_KEYS_UP_TO: usize = 8;

/// Why a text is not JSON for CPython.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PyJsonError {
    /// The bytes are not UTF-8.
    #[error("not UTF-8 at byte {at}")]
    NotUtf8 {
        /// Offset of the first wrong byte.
        at: usize,
    },
    /// The text starts with a byte order mark.
    #[error("starts with a byte order mark")]
    Bom,
    /// The grammar is broken.
    #[error("{what} at byte {at}")]
    Syntax {
        /// Offset of the offending byte.
        at: usize,
        /// What was wrong there.
        what: &'static str,
    },
    /// More than [`MAX_DEPTH`] containers inside each other.
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// An integer literal has more than [`MAX_INT_DIGITS`] digits.
    #[error("integer with more than {MAX_INT_DIGITS} digits at byte {at}")]
    IntTooLong {
        /// Offset of the literal.
        at: usize,
    },
}

/// A Python string: text that may hold lone surrogates, which no Rust `str` can.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PyStr(Repr);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Repr {
    Text(String),
    /// Code points; at least one is a surrogate.
    CodePoints(Vec<u32>),
}

impl PyStr {
    /// The text, unless it holds a lone surrogate.
    pub fn as_str(&self) -> Option<&str> {
        match &self.0 {
            Repr::Text(text) => Some(text),
            Repr::CodePoints(_) => None,
        }
    }

    /// The text with every lone surrogate replaced by U+FFFD.
    pub fn to_lossy(&self) -> Cow<'_, str> {
        match &self.0 {
            Repr::Text(text) => Cow::Borrowed(text),
            Repr::CodePoints(points) => Cow::Owned(
                points
                    .iter()
                    .map(|&point| char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER))
                    .collect(),
            ),
        }
    }

    /// The code points, surrogates included.
    pub fn code_points(&self) -> Vec<u32> {
        match &self.0 {
            Repr::Text(text) => text.chars().map(u32::from).collect(),
            Repr::CodePoints(points) => points.clone(),
        }
    }
}

impl From<&str> for PyStr {
    fn from(text: &str) -> Self {
        Self(Repr::Text(text.to_owned()))
    }
}

impl PartialEq<str> for PyStr {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == Some(other)
    }
}

impl fmt::Display for PyStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_lossy())
    }
}

impl fmt::Debug for PyStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_lossy(), f)
    }
}

/// A value as `json.loads` would give it.
#[derive(Debug, Clone, PartialEq)]
pub enum PyValue {
    /// `None`.
    Null,
    /// `True` or `False`.
    Bool(bool),
    /// An integer of any size, as its decimal literal (`-?(0|[1-9][0-9]*)`).
    Int {
        /// The literal.
        text: String,
    },
    /// A float; NaN and both infinities included.
    Float(f64),
    /// A string.
    Str(PyStr),
    /// A list.
    List(Vec<PyValue>),
    /// A dict: keys are unique, in order of first appearance, with the last value given.
    Object(Vec<(PyStr, PyValue)>),
}

impl PyValue {
    /// The member of an object; `None` for a missing key or when this is no object. Linear in the number of members.
    pub fn get(&self, key: &str) -> Option<&PyValue> {
        match self {
            Self::Object(members) => members
                .iter()
                .find(|(name, _)| name == key)
                .map(|(_, value)| value),
            _ => None,
        }
    }
}

/// Reads one JSON document.
pub fn parse(bytes: &[u8]) -> Result<PyValue, PyJsonError> {
    let text = std::str::from_utf8(bytes).map_err(|error| PyJsonError::NotUtf8 {
        at: error.valid_up_to(),
    })?;
    if text.starts_with('\u{feff}') {
        return Err(PyJsonError::Bom);
    }
    Parser {
        text,
        bytes: text.as_bytes(),
        at: 0,
    }
    .document()
}

/// A container that is still open.
enum Open {
    List(Vec<PyValue>),
    Object(Members),
}

#[derive(Default)]
struct Members {
    list: Vec<(PyStr, PyValue)>,
    places: HashMap<PyStr, usize>,
    key: Option<PyStr>,
}

impl Members {
    fn insert(&mut self, value: PyValue) {
        let Some(key) = self.key.take() else { return };
        if self.list.len() < SCAN_KEYS_UP_TO {
            if let Some((_, old)) = self.list.iter_mut().find(|(name, _)| *name == key) {
                *old = value;
                return;
            }
        } else {
            if self.places.is_empty() {
                self.places = self
                    .list
                    .iter()
                    .enumerate()
                    .map(|(place, (name, _))| (name.clone(), place))
                    .collect();
            }
            if let Some((_, old)) = self
                .places
                .get(&key)
                .and_then(|&place| self.list.get_mut(place))
            {
                *old = value;
                return;
            }
            self.places.insert(key.clone(), self.list.len());
        }
        self.list.push((key, value));
    }
}

struct Parser<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn document(mut self) -> Result<PyValue, PyJsonError> {
        let mut open: Vec<Open> = Vec::new();
        loop {
            self.skip_white_space();
            // A value starts here, or a container opens.
            let mut value = match self.peek() {
                Some(b'[') => {
                    self.at += 1;
                    self.skip_white_space();
                    if self.eat(b']') {
                        PyValue::List(Vec::new())
                    } else {
                        push(&mut open, Open::List(Vec::new()))?;
                        continue;
                    }
                }
                Some(b'{') => {
                    self.at += 1;
                    self.skip_white_space();
                    if self.eat(b'}') {
                        PyValue::Object(Vec::new())
                    } else {
                        let key = self.key()?;
                        push(
                            &mut open,
                            Open::Object(Members {
                                key: Some(key),
                                ..Members::default()
                            }),
                        )?;
                        continue;
                    }
                }
                _ => self.scalar()?,
            };
            // A value is complete: hand it to what encloses it, closing as many containers as end here.
            loop {
                self.skip_white_space();
                match open.pop() {
                    None => {
                        if self.at == self.bytes.len() {
                            return Ok(value);
                        }
                        return Err(self.wrong("text after the document"));
                    }
                    Some(Open::List(mut list)) => {
                        list.push(value);
                        if self.eat(b',') {
                            open.push(Open::List(list));
                            break;
                        }
                        if !self.eat(b']') {
                            return Err(self.wrong("expected ',' or ']'"));
                        }
                        value = PyValue::List(list);
                    }
                    Some(Open::Object(mut members)) => {
                        members.insert(value);
                        if self.eat(b',') {
                            self.skip_white_space();
                            members.key = Some(self.key()?);
                            open.push(Open::Object(members));
                            break;
                        }
                        if !self.eat(b'}') {
                            return Err(self.wrong("expected ',' or '}'"));
                        }
                        value = PyValue::Object(members.list);
                    }
                }
            }
        }
    }

    fn key(&mut self) -> Result<PyStr, PyJsonError> {
        if !self.eat(b'"') {
            return Err(self.wrong("expected a key in double quotes"));
        }
        let key = self.string()?;
        self.skip_white_space();
        if !self.eat(b':') {
            return Err(self.wrong("expected ':'"));
        }
        Ok(key)
    }

    fn scalar(&mut self) -> Result<PyValue, PyJsonError> {
        const WORDS: [(&str, PyValue); 6] = [
            ("null", PyValue::Null),
            ("true", PyValue::Bool(true)),
            ("false", PyValue::Bool(false)),
            ("NaN", PyValue::Float(f64::NAN)),
            ("Infinity", PyValue::Float(f64::INFINITY)),
            ("-Infinity", PyValue::Float(f64::NEG_INFINITY)),
        ];
        if self.eat(b'"') {
            return self.string().map(PyValue::Str);
        }
        for (word, value) in WORDS {
            if self
                .bytes
                .get(self.at..)
                .is_some_and(|rest| rest.starts_with(word.as_bytes()))
            {
                self.at += word.len();
                return Ok(value);
            }
        }
        self.number()
    }

    fn number(&mut self) -> Result<PyValue, PyJsonError> {
        let start = self.at;
        let mut end = start + usize::from(self.peek() == Some(b'-'));
        let digits = self.digits_from(end);
        if digits == 0 {
            return Err(self.wrong("expected a value"));
        }
        // A leading zero is a number of its own; what follows is then refused as an unexpected character.
        let digits = if self.bytes.get(end) == Some(&b'0') {
            1
        } else {
            digits
        };
        end += digits;
        let mut float = false;
        if self.bytes.get(end) == Some(&b'.') {
            let fraction = self.digits_from(end + 1);
            if fraction > 0 {
                float = true;
                end += 1 + fraction;
            }
        }
        if matches!(self.bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.bytes.get(end + 1), Some(b'+' | b'-')));
            let exponent = self.digits_from(end + 1 + sign);
            if exponent > 0 {
                float = true;
                end += 1 + sign + exponent;
            }
        }
        let literal = self.text.get(start..end).unwrap_or_default();
        if float {
            let value = literal
                .parse()
                .map_err(|_| self.wrong("expected a number"))?;
            self.at = end;
            return Ok(PyValue::Float(value));
        }
        if digits > MAX_INT_DIGITS {
            return Err(PyJsonError::IntTooLong { at: start });
        }
        self.at = end;
        Ok(PyValue::Int {
            text: literal.to_owned(),
        })
    }

    /// The rest of a string after its opening quote.
    fn string(&mut self) -> Result<PyStr, PyJsonError> {
        let mut text = String::new();
        let mut points: Option<Vec<u32>> = None;
        loop {
            let start = self.at;
            while matches!(self.peek(), Some(byte) if byte >= 0x20 && byte != b'"' && byte != b'\\')
            {
                self.at += 1;
            }
            // Both ends lie beside ASCII bytes, so this never splits a character.
            let run = self.text.get(start..self.at).unwrap_or_default();
            match &mut points {
                None => text.push_str(run),
                Some(points) => points.extend(run.chars().map(u32::from)),
            }
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(PyStr(
                        points.map_or_else(|| Repr::Text(text), Repr::CodePoints),
                    ));
                }
                Some(b'\\') => {
                    self.at += 1;
                    let point = self.escape()?;
                    match (&mut points, char::from_u32(point)) {
                        (None, Some(character)) => text.push(character),
                        (None, None) => {
                            let mut all: Vec<u32> = text.chars().map(u32::from).collect();
                            all.push(point);
                            points = Some(all);
                        }
                        (Some(points), _) => points.push(point),
                    }
                }
                Some(_) => return Err(self.wrong("raw control character in a string")),
                None => return Err(self.wrong("string without an end")),
            }
        }
    }

    /// The code point an escape stands for, after its backslash.
    fn escape(&mut self) -> Result<u32, PyJsonError> {
        let byte = self
            .peek()
            .ok_or_else(|| self.wrong("string without an end"))?;
        let point = match byte {
            b'"' | b'\\' | b'/' => u32::from(byte),
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => 0x0a,
            b'r' => 0x0d,
            b't' => 0x09,
            b'u' => {
                let first = self
                    .hex4(self.at + 1)
                    .ok_or_else(|| self.wrong("wrong \\u escape"))?;
                self.at += 5;
                if (0xd800..0xdc00).contains(&first)
                    && self.bytes.get(self.at..self.at + 2) == Some(b"\\u")
                    && let Some(second @ 0xdc00..0xe000) = self.hex4(self.at + 2)
                {
                    self.at += 6;
                    return Ok(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00));
                }
                return Ok(first);
            }
            _ => return Err(self.wrong("wrong escape")),
        };
        self.at += 1;
        Ok(point)
    }

    fn hex4(&self, from: usize) -> Option<u32> {
        let digits = self.bytes.get(from..from + 4)?;
        digits.iter().try_fold(0, |value, &digit| {
            Some(value * 16 + char::from(digit).to_digit(16)?)
        })
    }

    fn digits_from(&self, from: usize) -> usize {
        self.bytes
            .get(from..)
            .unwrap_or_default()
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count()
    }

    fn skip_white_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn wrong(&self, what: &'static str) -> PyJsonError {
        PyJsonError::Syntax { at: self.at, what }
    }
}

fn push(open: &mut Vec<Open>, container: Open) -> Result<(), PyJsonError> {
    if open.len() >= MAX_DEPTH {
        return Err(PyJsonError::TooDeep);
    }
    open.push(container);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int(text: &str) -> PyValue {
        PyValue::Int { text: text.into() }
    }

    #[test]
    fn what_python_accepts_is_accepted() {
        assert_eq!(parse(b" 1 "), Ok(int("1")));
        assert_eq!(parse(b"-Infinity"), Ok(PyValue::Float(f64::NEG_INFINITY)));
        assert!(
            matches!(parse(b"[NaN]"), Ok(PyValue::List(list)) if matches!(list[..], [PyValue::Float(x)] if x.is_nan()))
        );
        assert_eq!(parse(b"1e999"), Ok(PyValue::Float(f64::INFINITY)));
        assert_eq!(parse(b"[]"), Ok(PyValue::List(vec![])));
        assert_eq!(parse(br#""\ud83d\ude00""#), Ok(PyValue::Str("😀".into())));
        let big = "9".repeat(MAX_INT_DIGITS);
        assert_eq!(parse(big.as_bytes()), Ok(int(&big)));
        let nested = parse(br#"{"a":[1,{"b":[[],{}]}],"c":null}"#).unwrap();
        assert_eq!(nested.get("c"), Some(&PyValue::Null));
    }

    #[test]
    fn lone_surrogates_are_kept() {
        let Ok(PyValue::Str(text)) = parse(br#""a\ud800\u0041\udc00z""#) else {
            panic!("no string")
        };
        assert_eq!(text.as_str(), None);
        assert_eq!(text.code_points(), [0x61, 0xd800, 0x41, 0xdc00, 0x7a]);
        assert_eq!(text.to_string(), "a\u{fffd}A\u{fffd}z");
    }

    #[test]
    fn of_duplicate_keys_the_last_value_and_the_first_place_count() {
        let few = parse(br#"{"a":1,"b":2,"a":3}"#).unwrap();
        assert_eq!(
            few,
            PyValue::Object(vec![("a".into(), int("3")), ("b".into(), int("2"))])
        );
        let many: Vec<_> = (0..40).map(|i| format!("\"k{}\":{i},", i % 20)).collect();
        let many = many.concat();
        let many = parse(format!("{{{many}\"k0\":7}}").as_bytes()).unwrap();
        assert_eq!(many.get("k0"), Some(&int("7")));
        assert_eq!(many.get("k19"), Some(&int("39")));
        assert!(matches!(many, PyValue::Object(members) if members.len() == 20));
    }

    #[test]
    fn what_python_refuses_is_refused() {
        for text in [
            "",
            " ",
            "1 2",
            "01",
            "1.",
            ".5",
            "+1",
            "-",
            "1e",
            "nul",
            "[1,]",
            "[,1]",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\" 1}",
            "'a'",
            "\"a",
            "\"a\nb\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\\u+123\"",
            "[1",
            "[1}",
            "{\"a\":}",
            "\u{feff}1",
            "\u{a0}1",
            "nan",
            "infinity",
            "--1",
            "-NaN",
            "[1]]",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "accepted {text:?}");
        }
        assert_eq!(parse(b"\xff"), Err(PyJsonError::NotUtf8 { at: 0 }));
        assert!(parse(b"\xff\xfe1\0").is_err(), "accepted UTF-16");
        assert!(matches!(
            parse("1".repeat(MAX_INT_DIGITS + 1).as_bytes()),
            Err(PyJsonError::IntTooLong { at: 0 })
        ));
    }

    #[test]
    fn depth_is_limited_without_using_the_stack() {
        assert_eq!(
            parse("[".repeat(1_000_000).as_bytes()),
            Err(PyJsonError::TooDeep)
        );
        let fits = format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        assert!(parse(fits.as_bytes()).is_ok());
    }
}
