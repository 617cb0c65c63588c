//! What Kubernetes accepts as a name.

/// Whether `id` can be the name of a Kubernetes object (an RFC 1123 subdomain).
///
/// AI API ids may contain capitals and underscores, which names cannot: no object has such an id.
pub fn is_dns_subdomain(id: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_label = |label: &str| {
        label.starts_with(alphanumeric)
            && label.ends_with(alphanumeric)
            && label.chars().all(|c| alphanumeric(c) || c == '-')
    };
    id.len() <= 253 && id.split('.').all(is_label)
}

/// Whether it can be the name of a namespace (an RFC 1123 label).
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
