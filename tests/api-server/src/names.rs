//! Which names are valid, in the words of the server.

use crate::Kubernetes;

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
    and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
    and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

const QUALIFIED: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
    alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
    and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
    validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// How long a name may be.
fn name_too_long(most: usize) -> String {
    format!("must be no more than {most} characters")
}

/// How long a label may be.
fn too_long(most: usize, kubernetes: Kubernetes) -> String {
    match kubernetes {
        Kubernetes::V1_33 => format!("must be no more than {most} characters"),
        Kubernetes::V1_37 => format!("must be no more than {most} bytes"),
    }
}

fn is_lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|b| is_lower(*b))
        && bytes.last().is_some_and(|b| is_lower(*b))
        && bytes.iter().all(|b| is_lower(*b) || *b == b'-')
}

/// What is wrong with a name that has to be a DNS subdomain.
pub fn subdomain(name: &str) -> Vec<String> {
    let too_long = (name.len() > 253).then(|| name_too_long(253));
    too_long.into_iter().chain((!is_subdomain(name)).then(|| SUBDOMAIN.to_owned())).collect()
}

fn is_subdomain(name: &str) -> bool {
    name.split('.').all(is_label)
}

/// What is wrong with a name that has to be a DNS label.
pub fn label(name: &str) -> Vec<String> {
    let mut flaws = Vec::new();
    if name.len() > 63 {
        flaws.push(name_too_long(63));
    }
    if !is_label(name) {
        let why = if is_subdomain(name) { "must not contain dots" } else { LABEL };
        flaws.push(why.to_owned());
    }
    flaws
}

/// What is wrong with a name that is part of a path.
pub fn path_segment(name: &str) -> Vec<String> {
    let mut flaws = Vec::new();
    if name == "." || name == ".." {
        flaws.push(format!("may not be '{name}'"));
    }
    for part in ["/", "%"] {
        if name.contains(part) {
            flaws.push(format!("may not contain '{part}'"));
        }
    }
    flaws
}

/// What is wrong with the key of a label, in any case of letters.
pub fn qualified(name: &str, kubernetes: Kubernetes) -> Vec<String> {
    let mut flaws = Vec::new();
    let parts: Vec<&str> = name.split('/').collect();
    let name = match parts.as_slice() {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                flaws.push("prefix part must be non-empty".to_owned());
            } else {
                if prefix.len() > 253 {
                    flaws.push(format!("prefix part {}", too_long(253, kubernetes)));
                }
                if !is_subdomain(prefix) {
                    flaws.push(format!("prefix part {SUBDOMAIN}"));
                }
            }
            name
        }
        _ => {
            let hint = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            let what = match kubernetes {
                Kubernetes::V1_33 => "a qualified name",
                Kubernetes::V1_37 => "a valid label key",
            };
            return vec![format!("{what} {QUALIFIED} {hint}")];
        }
    };
    if name.is_empty() {
        flaws.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        flaws.push(format!("name part {}", too_long(63, kubernetes)));
    }
    if !is_word(name) {
        flaws.push(format!("name part {QUALIFIED}"));
    }
    flaws
}

fn is_word(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

/// What is wrong with the value of a label.
pub fn label_value(value: &str, kubernetes: Kubernetes) -> Vec<String> {
    let mut flaws = Vec::new();
    if value.len() > 63 {
        flaws.push(too_long(63, kubernetes));
    }
    if !value.is_empty() && !is_word(value) {
        flaws.push(LABEL_VALUE.to_owned());
    }
    flaws
}
