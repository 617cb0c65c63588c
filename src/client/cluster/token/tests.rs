use super::*;

/// A file of its own with these bytes.
fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = std::env::temp_dir().join(format!("{name}-{}", uuid::Uuid::new_v4()));
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn blanks_around_a_token_are_not_a_part_of_it() {
    for bytes in [&b"abc"[..], b"abc\n", b"abc\r\n", b"\n abc \t\r\n\r\n", b"abc\n\n"] {
        let token = TokenFile::new(file("token", bytes), None).unwrap();
        assert_eq!(token.header(), "Bearer abc", "{bytes:?}");
        assert_eq!(format!("{:?}", token.header()), "Sensitive");
    }
}

#[test]
fn what_is_no_token_is_named_and_not_shown() {
    for bytes in [
        &b""[..],
        b"\r\n",
        b"hush\ndef",
        b"hush def",
        b"hush\0",
        b"\xff\xfea\0b\0",
        b"\x7fELF",
        "ä".as_bytes(),
    ] {
        let path = file("token", bytes);
        let why = TokenFile::new(path.clone(), None).unwrap_err().to_string();
        assert!(why.contains(path.to_str().unwrap()) && !why.contains("hush"), "{bytes:?}: {why}");
    }
    let why = TokenFile::new("/no/such/token".into(), None).unwrap_err().to_string();
    assert!(why.contains("/no/such/token cannot be read: No such file"), "{why}");
    let why = TokenFile::new(std::env::temp_dir(), None).unwrap_err().to_string();
    assert!(why.contains("directory"), "{why}");
}

#[test]
fn a_renewed_token_is_taken_up_after_a_401_or_in_time_and_a_bad_file_leaves_the_last_one() {
    let path = file("token", b"first\n");
    let token = TokenFile::new(path.clone(), None).unwrap();
    std::fs::write(&path, "second\n").unwrap();
    assert_eq!(token.header(), "Bearer first");
    token.take_in(StatusCode::UNAUTHORIZED);
    assert_eq!(token.header(), "Bearer second");
    let time_passes = || token.held.lock().unwrap().fresh_until = Some(Instant::now());
    for bad in [&b""[..], b"\xff"] {
        std::fs::write(&path, bad).unwrap();
        time_passes();
        assert_eq!(token.header(), "Bearer second");
    }
    std::fs::remove_file(&path).unwrap();
    time_passes();
    assert_eq!(token.header(), "Bearer second");
    std::fs::write(&path, "third").unwrap();
    time_passes();
    assert_eq!(token.header(), "Bearer third");
}
