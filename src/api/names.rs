//! What Kubernetes takes for a name.

/// Whether `id` can be the name of a Kubernetes object (an RFC 1123 subdomain).
///
/// AI API ids may hold capitals and underscores, which names cannot: such an id names nothing here.
#[must_use]
pub fn is_dns_subdomain(id: &str) -> bool {
    let label = |l: &str| {
        let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        edge(l.as_bytes().first())
            && edge(l.as_bytes().last())
            && l.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    id.len() <= 253 && id.split('.').all(label)
}

/// Whether it can be the name of a namespace (an RFC 1123 label).
#[must_use]
pub fn is_dns_label(name: &str) -> bool {
    name.len() <= 63 && !name.contains('.') && is_dns_subdomain(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_can_be_names() {
        for id in ["aa97b177-9383-4934-8543-0f91a7a0283a", "a.b-c.d", "0000"] {
            assert!(is_dns_subdomain(id), "{id}");
        }
        for id in ["", "Abcd", "ab_cd", "-abc", "abc-", "ab..cd", ".abc", "abc.", "ab.-c", "äbcd"] {
            assert!(!is_dns_subdomain(id), "{id}");
        }
        assert!(!is_dns_subdomain(&"a".repeat(254)));
    }
}
