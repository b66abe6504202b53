//! The `like` family: `%` is any text, `_` any one character, `\` takes the next character as it is.
//!
//! Letter case is folded one character by one character with Unicode's simple mapping, as PostgreSQL does in the
//! `C.UTF-8` locale: `É` is `é`, `ß` stays apart from `SS`.

use crate::error::Error;

/// Characters that are looked at to match one text before the match is refused. A text of 4 MiB is looked at once for a pattern
/// as people write them; one that almost matches everywhere would be looked at as often as the pattern is long.
const MOST_STEPS: u32 = 5_000_000;

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern {
    /// As it was compiled: with `%` around for `like` and `ilike`.
    text: String,
    ignore_case: bool,
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    /// Exactly this character.
    One(char),
    /// `_`
    Any,
    /// `%`
    Many,
    /// A `\` with nothing after it: an error where the match reaches it.
    Dangling,
}

impl Pattern {
    /// Compiles a pattern; `contains` puts `%` around it.
    #[must_use]
    pub fn new(text: &str, ignore_case: bool, contains: bool) -> Self {
        let text = if contains { format!("%{text}%") } else { text.to_owned() };
        Self::compile(text, ignore_case)
    }

    /// Compiles a pattern as it stands.
    #[must_use]
    pub fn compile(text: String, ignore_case: bool) -> Self {
        let mut tokens = Vec::new();
        let mut chars = text.chars();
        let fold = |c| if ignore_case { lower(c) } else { c };
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '%' if tokens.last() == Some(&Token::Many) => continue,
                '%' => Token::Many,
                '_' => Token::Any,
                '\\' => chars.next().map_or(Token::Dangling, |c| Token::One(fold(c))),
                c => Token::One(fold(c)),
            });
        }
        Self { text, ignore_case, tokens }
    }

    /// The pattern, `%` included.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether letter case counts.
    #[must_use]
    pub fn ignore_case(&self) -> bool {
        self.ignore_case
    }

    /// The text that all matches start with, when letter case counts.
    #[must_use]
    pub fn prefix(&self) -> String {
        let mut prefix = String::new();
        if !self.ignore_case {
            for token in &self.tokens {
                let Token::One(c) = token else { break };
                prefix.push(*c);
            }
        }
        prefix
    }

    /// The only text that matches, when there is only one: no wildcards, and letter case counts.
    #[must_use]
    pub fn only_match(&self) -> Option<String> {
        let one = |token: &Token| match token {
            Token::One(c) => Some(*c),
            Token::Any | Token::Many | Token::Dangling => None,
        };
        if self.ignore_case { None } else { self.tokens.iter().map(one).collect() }
    }

    /// Whether it is a plain text that ends inside an escape: nothing equals that. With letters whose case does not
    /// count it is no one text.
    #[must_use]
    pub fn is_unfinished_text(&self) -> bool {
        let plain = |token: &Token| match token {
            Token::One(c) => !self.ignore_case || !c.is_alphabetic(),
            Token::Dangling => true,
            Token::Many | Token::Any => false,
        };
        self.tokens.last() == Some(&Token::Dangling) && self.tokens.iter().all(plain)
    }

    /// Whether a text matches.
    ///
    /// # Errors
    /// `bad-domain`: the match reached a `\` at the end of the pattern; it takes more than [`MOST_STEPS`].
    pub fn matches(&self, text: &str) -> Result<bool, Error> {
        let mut rest = text.chars();
        let mut at = 0;
        // Where to go on after a `%` when the rest did not match: the token after it, and the text it has not eaten.
        let mut retry: Option<(usize, std::str::Chars<'_>)> = None;
        let mut steps: u32 = 0;
        loop {
            steps += 1;
            if steps > MOST_STEPS {
                let start: String = self.text.chars().take(50).collect();
                let why =
                    format!("a pattern takes too long to match with a long text; write a shorter one: `{start}…`");
                return Err(Error::invalid("bad-domain", why));
            }
            let token = self.tokens.get(at).copied();
            match token {
                Some(Token::Many) => {
                    at += 1;
                    retry = Some((at, rest.clone()));
                    if at == self.tokens.len() {
                        return Ok(true);
                    }
                    continue;
                }
                Some(Token::Dangling) if rest.clone().next().is_some() => {
                    return Err(Error::invalid(
                        "bad-domain",
                        format!("the pattern `{}` ends in an escape; double the backslash", self.text),
                    ));
                }
                _ => {}
            }
            let matched = match (token, rest.next()) {
                (None, None) => return Ok(true),
                (Some(_), None) => return Ok(false),
                (Some(Token::Any), Some(_)) => true,
                (Some(Token::One(wanted)), Some(c)) => c == wanted || (self.ignore_case && lower(c) == wanted),
                (None | Some(_), Some(_)) => false,
            };
            if matched {
                at += 1;
                continue;
            }
            match &mut retry {
                None => return Ok(false),
                Some((after, unread)) => {
                    // One more character goes to the `%`.
                    if unread.next().is_none() {
                        return Ok(false);
                    }
                    at = *after;
                    rest = unread.clone();
                }
            }
        }
    }
}

/// The lower case of a character, one to one.
#[must_use]
pub fn lower(c: char) -> char {
    if c.is_ascii() { c.to_ascii_lowercase() } else { c.to_lowercase().next().unwrap_or(c) }
}
