use super::*;

fn headers(of: &[(&'static str, &str)]) -> HeaderMap {
    of.iter()
        .map(|(name, value)| {
            (http::HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap())
        })
        .collect()
}

#[test]
fn a_token_is_passed_on_as_it_is_and_never_shown() {
    for value in ["Bearer a.b-c_d~e+f/g=", "bearer a.b-c_d~e+f/g=", "BEARER  a.b-c_d~e+f/g="] {
        let passed_on = bearer(&headers(&[("authorization", value)])).unwrap();
        assert_eq!(passed_on, "Bearer a.b-c_d~e+f/g=", "{value}");
        assert_eq!(format!("{passed_on:?}"), "Sensitive");
    }
}

#[test]
fn what_is_no_token_is_refused() {
    let long = format!("Bearer {}", "x".repeat(LONGEST_TOKEN + 1));
    for value in
        ["", "Bearer", "Bearer ", "Basic dTpw", "token", "Bearer a b", "Bearer a,b", "Bearer ä", &long]
    {
        let refused = bearer(&headers(&[("authorization", value)])).unwrap_err();
        assert_eq!(refused.code.status(), StatusCode::UNAUTHORIZED, "{value}");
    }
    assert_eq!(bearer(&headers(&[])).unwrap_err().code.status(), StatusCode::UNAUTHORIZED);
    let twice = headers(&[("authorization", "Bearer a"), ("authorization", "Bearer b")]);
    assert_eq!(twice.len(), 2);
    assert_eq!(bearer(&twice).unwrap_err().code.status(), StatusCode::UNAUTHORIZED);
}

#[test]
fn a_resource_group_is_a_namespace() {
    let group =
        |name: &str| resource_group(&headers(&[("ai-resource-group", name)])).map_err(|p| p.code.status());
    for name in ["a", "team-a", "0", &"x".repeat(63)] {
        assert_eq!(group(name), Ok(name.to_owned()));
    }
    let long = "x".repeat(64);
    for name in ["", "Team", "a.b", "-a", "a-", "a/b", "../kube-system", "a b", "a%2fb", "ä", &long] {
        assert_eq!(group(name), Err(StatusCode::BAD_REQUEST), "{name}");
    }
    assert_eq!(resource_group(&headers(&[])).unwrap_err().code.status(), StatusCode::BAD_REQUEST);
}
