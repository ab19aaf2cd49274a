//! Takes comments, strings and tests out of Rust text, leaving every line where it was.

use std::iter;

/// A text in which every character that does not count is a space.
pub struct Scrubbed {
    /// Without comments and without what is in strings.
    pub code: String,
    /// Without comments.
    pub text: String,
}

/// What a stretch of source is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    Literal,
    Comment,
}

pub fn comments_and_strings(source: &str) -> Scrubbed {
    let chars: Vec<char> = source.chars().collect();
    let (mut code, mut text) = (String::new(), String::new());
    let mut at = 0;
    while at < chars.len() {
        let (kind, length) = stretch(&chars[at..], at.checked_sub(1).map(|before| chars[before]));
        for &char in &chars[at..at + length] {
            code.push(if kind == Kind::Code || char == '\n' { char } else { ' ' });
            text.push(if kind != Kind::Comment || char == '\n' { char } else { ' ' });
        }
        at += length;
    }
    Scrubbed { code, text }
}

/// What the text begins with, and how long that is. `before` is the character in front of it.
fn stretch(rest: &[char], before: Option<char>) -> (Kind, usize) {
    let second = rest.get(1).copied();
    match rest[0] {
        '/' if second == Some('/') => (Kind::Comment, rest.iter().take_while(|&&char| char != '\n').count()),
        '/' if second == Some('*') => (Kind::Comment, block_comment(rest)),
        '"' => (Kind::Literal, quoted(rest, '"')),
        'r' if !before.is_some_and(is_name_except_b) => match raw_string(rest) {
            Some(length) => (Kind::Literal, length),
            None => (Kind::Code, 1),
        },
        '\'' if second == Some('\\') || rest.get(2) == Some(&'\'') => (Kind::Literal, quoted(rest, '\'')),
        _ => (Kind::Code, 1),
    }
}

fn is_name(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

/// `br"..."` is a raw string too.
fn is_name_except_b(char: char) -> bool {
    is_name(char) && char != 'b'
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match (rest[at], rest.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

fn raw_string(rest: &[char]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|&&char| char == '#').count();
    let body = hashes + 2;
    if rest.get(hashes + 1) != Some(&'"') {
        return None;
    }
    let end: Vec<char> = iter::once('"').chain(iter::repeat_n('#', hashes)).collect();
    let length = rest[body..].windows(end.len()).position(|window| window == end);
    Some(length.map_or(rest.len(), |length| body + length + end.len()))
}

/// Takes out items that exist in tests only. Also gives the names of such modules kept in other files.
pub fn tests(all: &Scrubbed) -> (Scrubbed, Vec<String>) {
    let code: Vec<char> = all.code.chars().collect();
    let mut drop = vec![false; code.len()];
    let mut modules = Vec::new();
    let mut at = 0;
    while at < code.len() {
        let rest = &code[at..];
        if starts(rest, "#[cfg(test)") || starts(rest, "#[cfg(all(test") || starts(rest, "#[test]") {
            let end = at + item_length(rest);
            drop[at..end].fill(true);
            let item: String = code[at..end].iter().collect();
            modules.extend(module_elsewhere(&item));
            at = end;
        } else {
            at += 1;
        }
    }
    let keep = |text: &str| {
        text.chars().zip(&drop).map(|(char, &drop)| if drop && char != '\n' { ' ' } else { char }).collect()
    };
    (Scrubbed { code: keep(&all.code), text: keep(&all.text) }, modules)
}

fn starts(rest: &[char], prefix: &str) -> bool {
    rest.len() >= prefix.len() && prefix.chars().zip(rest).all(|(expected, &char)| expected == char)
}

/// How far an item reaches: to a semicolon, or to the end of its braces. Attributes belong to it.
fn item_length(rest: &[char]) -> usize {
    let mut depth = 0_usize;
    for (at, char) in rest.iter().enumerate() {
        match char {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 && matches!(char, '}' | ';') {
            return at + 1;
        }
    }
    rest.len()
}

fn module_elsewhere(item: &str) -> Option<String> {
    let (_, name) = item.strip_suffix(';')?.rsplit_once("mod ")?;
    Some(name.trim().to_owned())
}

/// Every path that `use` declarations bring in, spelled out, with the line that the declaration starts on.
pub fn uses(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("use ").filter(|(at, _)| !code[..*at].ends_with(is_name)) {
        let line = code[..at].matches('\n').count();
        let tree = code[at + "use ".len()..].split(';').next().unwrap_or_default();
        let tree: String = tree.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut paths = Vec::new();
        spell_out("", &tree, &mut paths);
        found.extend(paths.into_iter().map(|path| (line, path)));
    }
    found
}

fn spell_out(prefix: &str, tree: &str, paths: &mut Vec<String>) {
    let Some((head, rest)) = tree.split_once('{') else {
        return paths.push(format!("{prefix}{}", tree.trim()));
    };
    let prefix = format!("{prefix}{}", head.trim());
    let inner = rest.trim().strip_suffix('}').unwrap_or(rest);
    let (mut depth, mut start) = (0, 0);
    for (at, char) in inner.char_indices().chain(iter::once((inner.len(), ','))) {
        match char {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let branch = inner[start..at].trim();
                if !branch.is_empty() {
                    spell_out(&prefix, branch, paths);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// Whether the line has the name whole: `std::fs` is in `std::fs::read`, `nix` is not in `unix`.
pub fn names(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + name.len()..].chars().next();
        !(before.is_some_and(is_name) || name.ends_with(is_name) && after.is_some_and(is_name))
    })
}

/// Whether the word is a part of a name or a string, in any case: `cni` is in `CniResult`, not in `picnic`.
pub fn has_word(line: &str, word: &str) -> bool {
    line.split(|char: char| !char.is_alphanumeric())
        .flat_map(humps)
        .any(|part| part.eq_ignore_ascii_case(word))
}

/// The words of a name in camel case.
fn humps(name: &str) -> Vec<&str> {
    let chars: Vec<(usize, char)> = name.char_indices().collect();
    let mut starts = vec![0];
    for pair in 1..chars.len() {
        let (before, (at, char)) = (chars[pair - 1].1, chars[pair]);
        let next_is_lower = chars.get(pair + 1).is_some_and(|(_, next)| next.is_lowercase());
        if char.is_uppercase() && (!before.is_uppercase() || next_is_lower) {
            starts.push(at);
        }
    }
    starts.push(name.len());
    starts.windows(2).map(|ends| &name[ends[0]..ends[1]]).collect()
}
