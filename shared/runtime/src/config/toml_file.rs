//! The TOML file, flattened to `section.field` with the line of each.

use toml::de::{DeTable, DeValue};

/// One leaf of the file.
pub(super) struct Leaf {
    /// Dotted key.
    pub key: String,
    /// Line, from 1.
    pub line: usize,
    /// The value as one would write it in the environment, or why it has no such form.
    pub value: Result<String, &'static str>,
}

/// The leaves, and what the parser could not read: (line, message).
pub(super) fn parse(text: &str) -> (Vec<Leaf>, Vec<(usize, String)>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let errors = errors
        .into_iter()
        .map(|error| {
            let start = error.span().map_or(0, |span| span.start);
            (line_at(text, start), error.message().to_owned())
        })
        .collect();
    let mut leaves = Vec::new();
    flatten(text, "", table.get_ref(), &mut leaves);
    leaves.sort_by_key(|leaf| leaf.line);
    (leaves, errors)
}

fn flatten(text: &str, prefix: &str, table: &DeTable<'_>, leaves: &mut Vec<Leaf>) {
    for (name, value) in table {
        let key = if prefix.is_empty() {
            name.get_ref().to_string()
        } else {
            format!("{prefix}.{}", name.get_ref())
        };
        if let DeValue::Table(inner) = value.get_ref() {
            flatten(text, &key, inner, leaves);
        } else {
            let line = line_at(text, name.span().start);
            leaves.push(Leaf {
                key,
                line,
                value: written(value.get_ref()),
            });
        }
    }
}

fn written(value: &DeValue<'_>) -> Result<String, &'static str> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().replace('_', "")),
        DeValue::Integer(_) => Err("a decimal number"),
        DeValue::Float(number) => Ok(number.as_str().replace('_', "")),
        DeValue::Boolean(switch) => Ok(switch.to_string()),
        DeValue::Datetime(_) => Err("a text, number, true/false or a list of texts, not a date"),
        DeValue::Array(items) => {
            let texts: Result<Vec<String>, _> = items
                .iter()
                .map(|item| match item.get_ref() {
                    DeValue::String(text) => Ok(text.to_string()),
                    _ => Err("a list of texts"),
                })
                .collect();
            Ok(texts?.join(","))
        }
        DeValue::Table(_) => Err("a value, not a table"),
    }
}

fn line_at(text: &str, offset: usize) -> usize {
    text.bytes()
        .take(offset)
        .filter(|&byte| byte == b'\n')
        .count()
        + 1
}
