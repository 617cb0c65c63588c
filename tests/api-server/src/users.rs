//! Who sends a request.

/// A user, as the token of a request names one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum User {
    /// In the group `system:masters`, which may do everything.
    Admin,
    /// Without credentials.
    Anonymous,
    /// With credentials that the server does not accept: each request gets 401.
    Unknown,
    ServiceAccount {
        namespace: String,
        name: String,
    },
    Named {
        name: String,
        groups: Vec<String>,
    },
}

/// A user's name and groups, as RBAC and admission know them.
#[derive(Clone, Debug)]
pub struct Identity {
    pub name: String,
    pub groups: Vec<String>,
}

impl User {
    /// None if the credentials are not accepted.
    pub fn identity(&self) -> Option<Identity> {
        let authenticated = || "system:authenticated".to_owned();
        let (name, groups) = match self {
            Self::Unknown => return None,
            Self::Admin => ("admin".to_owned(), vec!["system:masters".to_owned(), authenticated()]),
            Self::Anonymous => ("system:anonymous".to_owned(), vec!["system:unauthenticated".to_owned()]),
            Self::ServiceAccount { namespace, name } => {
                let all = "system:serviceaccounts";
                let groups = vec![all.to_owned(), format!("{all}:{namespace}"), authenticated()];
                (format!("system:serviceaccount:{namespace}:{name}"), groups)
            }
            Self::Named { name, groups } => {
                let mut groups = groups.clone();
                groups.push(authenticated());
                (name.clone(), groups)
            }
        };
        Some(Identity { name, groups })
    }
}

impl Identity {
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }
}
