//! Shortening texts of any length.

use std::sync::Arc;

/// `text`, cut to at most `bytes` bytes as it is written in JSON, with an ellipsis at the end if it was cut.
pub fn cut(text: &str, bytes: usize) -> String {
    let in_json = |c: char| match c {
        '"' | '\\' => 2,
        c if c.is_control() => 6,
        c => c.len_utf8(),
    };
    let (mut length, mut fits) = (0, 0);
    for (at, c) in text.char_indices() {
        length += in_json(c);
        if length > bytes {
            return format!("{}…", &text[..fits]);
        }
        if length + '…'.len_utf8() <= bytes {
            fits = at + c.len_utf8();
        }
    }
    text.to_owned()
}

/// The same for a shared text, which stays shared if it is short enough.
pub fn shortened(text: Arc<str>, bytes: usize) -> Arc<str> {
    match cut(&text, bytes) {
        same if *same == *text => text,
        cut => cut.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cutting_keeps_whole_characters() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("too long", 6), "too…");
        assert_eq!(cut("ääää", 6), "ä…");
        assert_eq!(cut(r#""a""#, 5), r#""a""#);
        assert_eq!(cut(r#""""""""#, 7), r#"""…"#);
        assert_eq!(cut("\n\n", 11), "\n…");
        assert_eq!(cut("abc", 1), "…");
    }
}
