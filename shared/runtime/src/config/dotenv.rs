//! `.env` files: `NAME=value` lines, `export ` in front, `#` comments, single or double quotes.

/// One line that sets something, or a line that cannot be read.
pub(super) struct Line {
    /// From 1.
    pub number: usize,
    /// Name and value, or what is wrong.
    pub content: Result<(String, String), &'static str>,
}

/// Reads the whole text; blank lines and comments give nothing.
pub(super) fn parse(text: &str) -> Vec<Line> {
    text.trim_start_matches('\u{feff}')
        .lines()
        .enumerate()
        .filter_map(|(index, line)| {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                return None;
            }
            Some(Line {
                number: index + 1,
                content: assignment(line),
            })
        })
        .collect()
}

fn assignment(line: &str) -> Result<(String, String), &'static str> {
    let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
    let (name, value) = line.split_once('=').ok_or("not of the form NAME=value")?;
    let name = name.trim();
    let letters = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(letters) {
        return Err("the name in front of = has other characters than letters, digits and _");
    }
    Ok((name.to_owned(), unquote(value.trim())?))
}

fn unquote(value: &str) -> Result<String, &'static str> {
    for quote in ['"', '\''] {
        if let Some(rest) = value.strip_prefix(quote) {
            let (inner, after) = rest.split_once(quote).ok_or("a quote is not closed")?;
            let after = after.trim();
            if !(after.is_empty() || after.starts_with('#')) {
                return Err("text after the closing quote");
            }
            return Ok(inner.to_owned());
        }
    }
    // A comment needs a blank in front: `#` may be part of a password.
    let end = value
        .find(" #")
        .or_else(|| value.find("\t#"))
        .unwrap_or(value.len());
    Ok(value.get(..end).unwrap_or(value).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn lines_read_as_shells_and_other_tools_read_them() {
        let text = "\u{feff}A=1\n# c\n\nexport B = \"x # y\" # z\nC='q'\nD=p#w # c\r\nE=\n9bad line\nF=\"open\nG-H=1\n";
        let lines = parse(text);
        let found: Vec<String> = lines
            .iter()
            .map(|line| match &line.content {
                Ok((name, value)) => format!("{} {name}={value}", line.number),
                Err(_) => format!("{} refused", line.number),
            })
            .collect();
        assert_eq!(
            found,
            [
                "1 A=1",
                "4 B=x # y",
                "5 C=q",
                "6 D=p#w",
                "7 E=",
                "8 refused",
                "9 refused",
                "10 refused"
            ]
        );
    }
}
